//! URLs and paths as Go's net/url and path have them, for `urlParse`, `urlJoin` and `clean`.

use super::sprig::Outcome;
use super::values::Value;
use super::{Failure, escaping};
use std::collections::BTreeMap;

/// Go's path.Clean.
pub fn clean(path: &str) -> String {
    let is_rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if is_rooted => {}
            part => parts.push(part),
        }
    }
    match (is_rooted, parts.join("/")) {
        (true, joined) => format!("/{joined}"),
        (false, joined) if joined.is_empty() => ".".to_owned(),
        (false, joined) => joined,
    }
}

/// A dict of the parts of a URL.
pub fn parse(url: &str) -> Outcome {
    if url.bytes().any(|byte| byte.is_ascii_control()) {
        return Failure::new("unable to parse url: invalid control character in URL");
    }
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (scheme, rest) = cut_scheme(rest)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let is_opaque = !scheme.is_empty() && !rest.starts_with('/');
    let (opaque, rest) = if is_opaque { (rest, "") } else { ("", rest) };
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    let (userinfo, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let hostname = match (host.strip_prefix('[').and_then(|host| host.split_once(']')), host.rsplit_once(':'))
    {
        (Some((address, _)), _) => address,
        (None, Some((name, port))) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        (None, Some(_)) => return Failure::new("unable to parse url: invalid port after host"),
        (None, None) => host,
    };
    let parts = [
        ("scheme", scheme.to_ascii_lowercase()),
        ("host", host.to_owned()),
        ("hostname", hostname.to_owned()),
        ("path", unescape(path)?),
        ("query", query.to_owned()),
        ("opaque", opaque.to_owned()),
        ("fragment", unescape(fragment)?),
        ("userinfo", userinfo.to_owned()),
    ];
    Ok(Value::dict(parts.map(|(name, value)| (name.to_owned(), value.into()))))
}

fn cut_scheme(url: &str) -> Result<(&str, &str), Failure> {
    let Some(end) = url.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))) else {
        return Ok(("", url));
    };
    if !url[end..].starts_with(':') {
        return Ok(("", url));
    }
    match url.starts_with(|c: char| c.is_ascii_alphabetic()) {
        true => Ok((&url[..end], &url[end + 1..])),
        false if end == 0 => Failure::new("unable to parse url: missing protocol scheme"),
        false => Failure::new("unable to parse url: first path segment in URL cannot contain colon"),
    }
}

fn unescape(text: &str) -> Result<String, Failure> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((byte, left)) = rest.split_first() {
        rest = left;
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits
            .filter(|digits| !digits.starts_with('+'))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match value {
            Some(value) => out.push(value),
            None => return Failure::new("unable to parse url: invalid URL escape"),
        }
        rest = &rest[2..];
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// The URL that a dict of parts says (Go: URL.String).
pub fn join(parts: &BTreeMap<String, Value>) -> Outcome {
    let part = |name: &str| match parts.get(name) {
        None => Ok(String::new()),
        Some(Value::Text(text)) => Ok(text.to_string()),
        Some(other) => Failure::new(format!(
            "unable to parse {name} key, must be of type string, but {} found",
            other.kind()
        )),
    };
    let (scheme, host, path) = (part("scheme")?, part("host")?, escaping::path_of_url(&part("path")?));
    let (query, opaque, fragment) = (part("query")?, part("opaque")?, part("fragment")?);
    let userinfo = part("userinfo")?;
    let mut url = String::new();
    if !scheme.is_empty() {
        url += &format!("{scheme}:");
    }
    if opaque.is_empty() {
        let user = if userinfo.is_empty() { String::new() } else { format!("{userinfo}@") };
        if !scheme.is_empty() || !host.is_empty() || !user.is_empty() {
            if !host.is_empty() || !path.is_empty() || !user.is_empty() {
                url += "//";
            }
            url += &user;
            url += &host;
        }
        if !path.is_empty() && !path.starts_with('/') && !host.is_empty() {
            url.push('/');
        }
        if url.is_empty() && path.split('/').next().is_some_and(|first| first.contains(':')) {
            url += "./";
        }
        url += &path;
    } else {
        url += &opaque;
    }
    if !query.is_empty() {
        url += &format!("?{query}");
    }
    if !fragment.is_empty() {
        url += &format!("#{}", escaping::path_of_url(&fragment));
    }
    Ok(url.into())
}
