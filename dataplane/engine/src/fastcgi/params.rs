//! The variables of a request (RFC 3875, 4.1; Caddy: fastcgi.go buildEnv).

use super::records;
use crate::exchange::texts::Text;
use crate::exchange::{Exchange, TlsVersion, Unknown, fields::Fields};
use crate::snapshot::ProxyCall;
use std::io::Write;

/// Text of any encoding.
type Bytes = Box<[u8]>;

/// What a proxy call says about FastCGI.
pub struct FastCgi {
    pub root: Text,
    /// Where relative roots begin.
    pub base: Bytes,
    /// Lower case; the script's path ends with the first of these that is found.
    pub split: Box<[Bytes]>,
    pub environment: Box<[(Bytes, Text)]>,
    pub capture_stderr: bool,
    /// Roots and the directories that they are, without links.
    pub resolved: Box<[(Bytes, Bytes)]>,
}

/// Variables by name; the first value of a name counts.
struct Variables(Vec<(Vec<u8>, Vec<u8>)>);

impl Variables {
    fn set(&mut self, name: &[u8], value: &[u8]) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.to_vec(),
            None => self.0.push((name.to_vec(), value.to_vec())),
        }
    }
}

impl FastCgi {
    /// Appends the records of a request up to its body. `length`: the body's bytes.
    pub fn write_request(&self, exchange: &mut Exchange, call: &ProxyCall, length: u64, out: &mut Vec<u8>) {
        let fields = exchange.take_upstream_fields(call);
        let variables = self.build(exchange, &fields, length);
        exchange.restore_request(fields);
        let mut pairs = Vec::with_capacity(2048);
        variables.0.iter().for_each(|(name, value)| records::push_pair(name, value, &mut pairs));
        records::write_begin(out);
        records::write_params(&pairs, out);
    }

    fn build(&self, exchange: &Exchange, fields: &UpstreamFields, length: u64) -> Variables {
        let mut variables = Variables(Vec::with_capacity(48));
        self.add_script(exchange, &mut variables);
        add_connection(exchange, &mut variables);
        add_message(exchange, &fields.fields, length, &mut variables);
        for (name, text) in &self.environment {
            let mut value = Vec::new();
            exchange.expand(text, Unknown::Empty, &mut value);
            variables.set(name, &value);
        }
        add_fields(&fields.fields, &mut variables);
        variables
    }

    fn add_script(&self, exchange: &Exchange, variables: &mut Variables) {
        let root = self.find_root(exchange);
        let mut path = exchange.decoded_path();
        path.drain(..exchange.bare_bytes());
        // Without suffixes all of the path is PATH_INFO, as in Caddy.
        let end = if self.split.is_empty() { Some(0) } else { split_position(&path, &self.split) };
        let (script, rest) = path.split_at(end.unwrap_or(path.len()));
        // Where nothing was split off, a `file` matcher may have (Caddy issue 3718).
        let remainder = exchange.variables.get(b"http.matchers.file.remainder").filter(|_| rest.is_empty());
        let path_info = remainder.unwrap_or(rest);
        variables.set(b"PATH_INFO", path_info);
        variables.set(b"DOCUMENT_ROOT", &root);
        variables.set(b"DOCUMENT_URI", script);
        variables.set(b"SCRIPT_FILENAME", &join_path(&root, script));
        let slash: &[u8] = if script.is_empty() || script.starts_with(b"/") { b"" } else { b"/" };
        variables.set(b"SCRIPT_NAME", &[slash, script].concat());
        if !path_info.is_empty() {
            variables.set(b"PATH_TRANSLATED", &join_path(&root, path_info));
        }
    }

    fn find_root(&self, exchange: &Exchange) -> Vec<u8> {
        let mut root = Vec::new();
        exchange.expand(&self.root, Unknown::Empty, &mut root);
        if let Some((_, resolved)) = self.resolved.iter().find(|(known, _)| known[..] == root[..]) {
            return resolved.to_vec();
        }
        match root.starts_with(b"/") {
            true => clean(&root),
            false => clean(&[&self.base[..], b"/", &root].concat()),
        }
    }
}

fn add_connection(exchange: &Exchange, variables: &mut Variables) {
    let scheme = exchange.scheme();
    let (host, port) = exchange.authority.split_at(exchange.host_end);
    let mut remote_port = Vec::new();
    // Writing to a Vec cannot fail.
    let _ = write!(remote_port, "{}", exchange.remote.port());
    let remote = exchange.remote.ip().to_string();
    let name = match (host, port) {
        // With a port, the brackets of an address go (Go: net.SplitHostPort).
        ([b'[', inner @ .., b']'], [_, ..]) => inner,
        (host, _) => host,
    };
    let port = match (port.strip_prefix(b":").unwrap_or_default(), scheme) {
        ([], "https") => &b"443"[..],
        ([], _) => b"80",
        (port, _) => port,
    };
    for (variable, value) in [
        (&b"AUTH_TYPE"[..], &b""[..]),
        (b"GATEWAY_INTERFACE", b"CGI/1.1"),
        (b"REMOTE_ADDR", remote.as_bytes()),
        (b"REMOTE_HOST", remote.as_bytes()),
        (b"REMOTE_PORT", &remote_port),
        (b"REMOTE_IDENT", b""),
        (b"REMOTE_USER", exchange.variables.get(crate::exchange::texts::USER_VARIABLE).unwrap_or_default()),
        (b"REQUEST_SCHEME", scheme.as_bytes()),
        (b"SERVER_NAME", name),
        (b"SERVER_ADDR", exchange.local.ip().to_string().as_bytes()),
        (b"SERVER_PORT", port),
        (b"SERVER_SOFTWARE", concat!("zeroserve/", env!("CARGO_PKG_VERSION")).as_bytes()),
        (b"SERVER_PROTOCOL", if exchange.http_minor == 0 { b"HTTP/1.0" } else { b"HTTP/1.1" }),
    ] {
        variables.set(variable, value);
    }
    if let Some(tls) = &exchange.tls {
        variables.set(b"HTTPS", b"on");
        let version: &[u8] = match tls.version {
            TlsVersion::Tls12 => b"TLSv1.2",
            TlsVersion::Tls13 => b"TLSv1.3",
        };
        variables.set(b"SSL_PROTOCOL", version);
    }
}

fn add_message(exchange: &Exchange, fields: &Fields, length: u64, variables: &mut Variables) {
    let has_body = !matches!(&exchange.method[..], b"GET" | b"HEAD" | b"OPTIONS");
    let told = fields.get(b"content-type").unwrap_or_default();
    // A body without a type is a form's (Caddy: client.go Post).
    let kind: &[u8] = if has_body && told.is_empty() { b"application/x-www-form-urlencoded" } else { told };
    let (path, query) = exchange.original();
    let uri = match query.is_empty() {
        true => path.to_vec(),
        false => [path, b"?", query].concat(),
    };
    variables.set(b"CONTENT_LENGTH", length.to_string().as_bytes());
    variables.set(b"CONTENT_TYPE", kind);
    variables.set(b"QUERY_STRING", &exchange.query);
    variables.set(b"REQUEST_METHOD", &exchange.method);
    variables.set(b"REQUEST_URI", &uri);
    variables.set(b"HTTP_HOST", &exchange.authority);
    variables.set(b"HTTP_CONTENT_LENGTH", length.to_string().as_bytes());
    // Caddy's proxy says so where there is none, lest a library adds its own.
    variables.set(b"HTTP_USER_AGENT", b"");
}

/// Fields as HTTP_ variables; one that would set HTTP_PROXY is left out (httpoxy.org).
fn add_fields(fields: &Fields, variables: &mut Variables) {
    let mut named: Vec<(Vec<u8>, Vec<u8>)> = Vec::with_capacity(fields.len());
    for field in fields.iter() {
        let mut name = b"HTTP_".to_vec();
        name.extend(field.name.iter().map(|byte| match byte {
            b'-' | b' ' => b'_',
            byte => byte.to_ascii_uppercase(),
        }));
        if name == b"HTTP_PROXY" || name == b"HTTP_HOST" {
            continue;
        }
        match named.iter_mut().find(|(known, _)| *known == name) {
            Some((_, value)) => {
                value.extend_from_slice(b", ");
                value.extend_from_slice(field.value);
            }
            None => named.push((name, field.value.to_vec())),
        }
    }
    named.iter().for_each(|(name, value)| variables.set(name, value));
}

/// Where the script's path ends, ASCII without case: bytes above 127 fit nothing (Caddy: splitPos).
fn split_position(path: &[u8], split: &[Box<[u8]>]) -> Option<usize> {
    split.iter().filter(|end| !end.is_empty()).find_map(|end| {
        path.windows(end.len()).position(|window| window.eq_ignore_ascii_case(end)).map(|at| at + end.len())
    })
}

/// A path below a root: `..` never leaves it (Caddy: SanitizedPathJoin). A closing slash stays.
fn join_path(root: &[u8], path: &[u8]) -> Vec<u8> {
    let below = clean(&[b"/", path].concat());
    let mut joined = match (root, &below[..]) {
        (b"/", below) => below.to_vec(),
        (root, b"/") => root.to_vec(),
        (root, below) => [root, below].concat(),
    };
    if path.ends_with(b"/") && !joined.ends_with(b"/") {
        joined.push(b'/');
    }
    joined
}

/// Go's path.Clean of an absolute path.
fn clean(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut cleaned = Vec::with_capacity(path.len());
    for part in &parts {
        cleaned.push(b'/');
        cleaned.extend_from_slice(part);
    }
    if cleaned.is_empty() { b"/".to_vec() } else { cleaned }
}

/// What goes up with a request, and what the call's rewrite took the place of.
pub struct UpstreamFields {
    pub fields: Fields,
    pub kept: crate::exchange::KeptTarget,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(path: &str, ends: &[&str]) -> Option<usize> {
        let ends: Vec<Box<[u8]>> = ends.iter().map(|end| end.as_bytes().into()).collect();
        split_position(path.as_bytes(), &ends)
    }

    #[test]
    fn scripts_end_with_the_first_suffix_that_is_found() {
        for (path, ends, expected) in [
            ("/a.php", &[".php"][..], Some(6)),
            ("/a.PHP/info", &[".php"], Some(6)),
            ("/a.php/b.php", &[".php"], Some(6)),
            ("/a.php5/x", &[".php5", ".php"], Some(7)),
            ("/a.txt", &[".php"], None),
            ("/a", &[""], None),
            ("/a.ph\u{ff50}", &[".php"], None),
            ("", &[".php"], None),
        ] {
            assert_eq!(split(path, ends), expected, "{path}");
        }
    }

    #[test]
    fn no_path_leaves_its_root() {
        for (root, path, expected) in [
            ("/srv", "/a.php", "/srv/a.php"),
            ("/srv", "/../../etc/passwd", "/srv/etc/passwd"),
            ("/", "/a", "/a"),
            ("/srv", "", "/srv"),
            ("/srv", "/a/", "/srv/a/"),
            ("/srv", "a//b/./c", "/srv/a/b/c"),
        ] {
            assert_eq!(join_path(root.as_bytes(), path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn joined_paths_stay_below(path: Vec<u8>) {
            let joined = join_path(b"/srv/www", &path);
            prop_assert!(joined.starts_with(b"/srv/www"));
            prop_assert!(!joined.windows(4).any(|window| window == b"/../"));
        }
    }
}
