//! Redirects to canonical paths, as Go's http.Redirect writes them.

use super::paths::clean;
use std::io::Write;

/// Where a redirect leads and its page (for GET only).
pub struct Redirect {
    pub location: Vec<u8>,
    pub page: Vec<u8>,
}

/// A redirect to a decoded path on the same host; `query` is kept.
pub fn redirect(path: &[u8], query: Option<&[u8]>) -> Redirect {
    // Two slashes would begin another host's name.
    let slashes = path.iter().take_while(|&&byte| byte == b'/').count();
    let path = &path[slashes.saturating_sub(1)..];
    let mut target = if is_parsed_by_go(path) { clean_target(path) } else { path.to_vec() };
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    let mut page = b"<a href=\"".to_vec();
    push_html(&target, &mut page);
    page.extend_from_slice(b"\">Permanent Redirect</a>.\n\n");
    let mut location = Vec::with_capacity(target.len());
    for &byte in &target {
        match byte {
            // Writing to a Vec cannot fail.
            0x80.. => drop(write!(location, "%{byte:x}")),
            _ => location.push(byte),
        }
    }
    Redirect { location, page }
}

fn clean_target(path: &[u8]) -> Vec<u8> {
    let mut rooted = Vec::with_capacity(path.len() + 1);
    if path.first() != Some(&b'/') {
        rooted.push(b'/');
    }
    rooted.extend_from_slice(path);
    let mut cleaned = clean(&rooted);
    if path.ends_with(b"/") && !cleaned.ends_with(b"/") {
        cleaned.push(b'/');
    }
    cleaned
}

/// url.Parse refuses control characters and broken escapes.
fn is_parsed_by_go(path: &[u8]) -> bool {
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped =
            byte != b'%' || matches!(after, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
        if byte < 0x20 || byte == 0x7f || !escaped {
            return false;
        }
        rest = after;
    }
    true
}

/// Go's html escaping of text and attributes.
pub fn push_html(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_stay_on_this_host() {
        for (path, query, expected) in [
            ("/a/", None, "/a/"),
            ("//evil.example/", None, "/evil.example/"),
            ("///a/..//b/", Some("x=1"), "/b/?x=1"),
            ("/a b/", Some(""), "/a b/"),
            ("/\u{e9}/", None, "/%c3%a9/"),
            ("/100%/", None, "/100%/"),
        ] {
            let found = redirect(path.as_bytes(), query.map(str::as_bytes));
            assert_eq!(String::from_utf8(found.location).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn the_page_is_escaped() {
        let page = redirect(b"/\"><script>/", None).page;
        assert_eq!(page, b"<a href=\"/&#34;&gt;&lt;script&gt;/\">Permanent Redirect</a>.\n\n");
    }
}
