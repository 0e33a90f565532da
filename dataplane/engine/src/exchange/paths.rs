//! The one normalised path: what comes in is a request path as sent, what goes out is matched, checked and forwarded.
//!
//! reliability.md 2.10: unreserved characters decoded, other escapes in upper case, `//` merged, dot segments resolved
//! (also `%2e`); `%2F` stays as sent and is no separator; what readers could take for another path is refused.

/// Why a path is refused (400).
pub type PathResult<T> = Result<T, &'static str>;

const PLAIN: u8 = 0;
const SLASH: u8 = 1;
const PERCENT: u8 = 2;
const DOT: u8 = 3;
const ENCODE: u8 = 4;
const REFUSED: u8 = 5;
const SEMICOLON: u8 = 6;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [ENCODE; 256];
    let mut byte = 0;
    while byte < 256 {
        let c = byte as u8;
        table[byte] = match c {
            b'/' => SLASH,
            b'%' => PERCENT,
            b'.' => DOT,
            b';' => SEMICOLON,
            b'\\' | b'#' | b'?' | 0..=0x20 | 0x7f => REFUSED,
            _ if is_kept(c) => PLAIN,
            _ => ENCODE,
        };
        byte += 1;
    }
    table
}

/// RFC 3986 pchar without '%', plus '/'.
const fn is_kept(c: u8) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(
            c,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
                | b'/'
                | b'['
                | b']'
        )
}

const fn is_unreserved(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~')
}

/// What normalising found besides the path itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Normalised {
    /// `%2F` is in it.
    pub encoded_slash: bool,
}

/// Appends the normalised form of `raw`, which begins with `/` and has no query.
pub fn normalise(raw: &[u8], out: &mut Vec<u8>) -> PathResult<Normalised> {
    let start = out.len();
    if raw.first() != Some(&b'/') {
        return Err("path does not begin with a slash");
    }
    if is_normal(raw) {
        out.extend_from_slice(raw);
        return Ok(Normalised::default());
    }
    decode_escapes(raw, out)?;
    let escaped = memchr::memchr(b'%', &out[start..]).is_some();
    resolve_segments(out, start)?;
    check_semicolons(&out[start..])?;
    let mut found = Normalised::default();
    if escaped {
        check_utf8(&out[start..])?;
        found.encoded_slash = check_encoded_slashes(&out[start..])?;
    }
    Ok(found)
}

/// True for a path that normalising would not change: one pass, no branch on most bytes.
fn is_normal(raw: &[u8]) -> bool {
    let mut before = 0u8;
    for &byte in raw {
        let class = CLASS[byte as usize];
        if class != PLAIN && (class >= ENCODE || class == PERCENT || before == b'/') {
            return false;
        }
        before = byte;
    }
    true
}

/// No byte is in it that had to be escaped (Go: validEncoded).
pub fn is_well_encoded(raw: &[u8]) -> bool {
    raw.iter().all(|&byte| CLASS[byte as usize] != ENCODE)
}

/// First pass: escapes and raw bytes. Appends; merges nothing yet.
fn decode_escapes(raw: &[u8], out: &mut Vec<u8>) -> PathResult<()> {
    let mut at = 0;
    while at < raw.len() {
        let byte = raw[at];
        match CLASS[byte as usize] {
            PERCENT => {
                let value = decode_escape(&raw[at..]).ok_or("malformed percent escape in path")?;
                match value {
                    b'\\' => return Err("encoded backslash in path"),
                    0..=0x1f | 0x7f => return Err("encoded control character in path"),
                    _ if is_unreserved(value) => out.push(value),
                    _ => push_escape(value, out),
                }
                at += 3;
                continue;
            }
            REFUSED => return Err("character not allowed in path"),
            ENCODE => push_escape(byte, out),
            _ => out.push(byte),
        }
        at += 1;
    }
    Ok(())
}

/// Second pass, in place from `start`: merges slashes and resolves dot segments (RFC 3986 5.2.4).
fn resolve_segments(out: &mut Vec<u8>, start: usize) -> PathResult<()> {
    let end = out.len();
    let mut read = start;
    let mut write = start;
    while read < end {
        let next = memchr::memchr(b'/', &out[read + 1..end]).map_or(end, |n| read + 1 + n);
        let last = next == end;
        match &out[read + 1..next] {
            b"" | b"." if last => {
                out[write] = b'/';
                write += 1;
            }
            b"" | b"." => {}
            b".." => {
                while write > start {
                    write -= 1;
                    if out[write] == b'/' {
                        break;
                    }
                }
                if last {
                    out[write] = b'/';
                    write += 1;
                }
            }
            _ => {
                out.copy_within(read..next, write);
                write += next - read;
            }
        }
        read = next;
    }
    if write == start {
        out[write] = b'/';
        write += 1;
    }
    out.truncate(write);
    Ok(())
}

/// `..;` and `.;` (also `%3B`) are dot segments to servers that cut path parameters (Tomcat).
fn check_semicolons(path: &[u8]) -> PathResult<()> {
    for segment in path.split(|&byte| byte == b'/') {
        let rest = segment.strip_prefix(b"..").or_else(|| segment.strip_prefix(b"."));
        if let Some(rest) = rest
            && (rest.first() == Some(&b';') || rest.starts_with(b"%3B"))
        {
            return Err("dot segment with a path parameter");
        }
    }
    Ok(())
}

/// Non-shortest UTF-8 is another spelling of a character, for readers that accept it (RFC 3629 10).
fn check_utf8(path: &[u8]) -> PathResult<()> {
    let mut before = 0;
    for at in memchr::memchr_iter(b'%', path) {
        let value = decode_escape(&path[at..]).unwrap_or(0);
        let adjacent_lead = if at >= 3 && path[at - 3] == b'%' { before } else { 0 };
        let overlong = matches!(value, 0xc0 | 0xc1)
            || (adjacent_lead == 0xe0 && (0x80..0xa0).contains(&value))
            || (adjacent_lead == 0xf0 && (0x80..0x90).contains(&value));
        if overlong {
            return Err("non-shortest UTF-8 in path");
        }
        before = value;
    }
    Ok(())
}

/// True when `%2F` occurs. A segment whose decoded form would hold a dot segment is refused.
fn check_encoded_slashes(path: &[u8]) -> PathResult<bool> {
    if memchr::memmem::find(path, b"%2F").is_none() {
        return Ok(false);
    }
    for segment in path.split(|&byte| byte == b'/') {
        let mut rest = segment;
        while let Some(at) = memchr::memmem::find(rest, b"%2F") {
            check_hidden_segment(&rest[..at])?;
            rest = &rest[at + 3..];
        }
        if rest.len() != segment.len() {
            check_hidden_segment(rest)?;
        }
    }
    Ok(true)
}

fn check_hidden_segment(segment: &[u8]) -> PathResult<()> {
    if matches!(segment, b"." | b"..") || segment.starts_with(b"..;") || segment.starts_with(b".;") {
        return Err("dot segment behind an encoded slash");
    }
    Ok(())
}

/// Value of `%XX` at the start of `text`.
pub fn decode_escape(text: &[u8]) -> Option<u8> {
    let (&[b'%', high, low], _) = text.split_first_chunk::<3>()? else { return None };
    Some(hex(high)? << 4 | hex(low)?)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Appends `%XX`.
pub fn push_escape(value: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[usize::from(value >> 4)], DIGITS[usize::from(value & 15)]]);
}

/// Appends the decoded bytes; False, with the text as it is appended, when an escape is malformed (Go: url.PathUnescape).
pub fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'%', rest) {
        let Some(value) = decode_escape(&rest[at..]) else {
            out.truncate(start);
            out.extend_from_slice(text);
            return false;
        };
        out.extend_from_slice(&rest[..at]);
        out.push(value);
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
    true
}

/// Appends decoded bytes in path encoding.
pub fn encode(decoded: &[u8], out: &mut Vec<u8>) {
    for &byte in decoded {
        if is_kept(byte) { out.push(byte) } else { push_escape(byte, out) }
    }
}

/// Appends decoded bytes as Go escapes a path of which it knows no other spelling (url.URL.EscapedPath).
pub fn encode_as_go(decoded: &[u8], out: &mut Vec<u8>) {
    for &byte in decoded {
        let escaped = matches!(byte, b'!' | b'\'' | b'(' | b')' | b'*' | b'[' | b']');
        if is_kept(byte) && !escaped { out.push(byte) } else { push_escape(byte, out) }
    }
}

/// Whether a segment is `.` or `..`, however its dots are written.
pub fn has_dot_segment(path: &[u8]) -> bool {
    count_dot_segments(&decode_dots(path)) > 0
}

pub fn count_dot_segments(path: &[u8]) -> usize {
    path.split(|&byte| byte == b'/').filter(|segment| matches!(segment, [b'.'] | [b'.', b'.'])).count()
}

/// The path with `%2E` as `.`.
pub fn decode_dots(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        let is_dot = decode_escape(&rest[at..]) == Some(b'.');
        out.push(if is_dot { b'.' } else { b'%' });
        rest = &rest[at + if is_dot { 3 } else { 1 }..];
    }
    out.extend_from_slice(rest);
    out
}

/// Appends Go's url.QueryEscape.
pub fn encode_query(value: &[u8], out: &mut Vec<u8>) {
    for &byte in value {
        match byte {
            b' ' => out.push(b'+'),
            _ if is_unreserved(byte) => out.push(byte),
            _ => push_escape(byte, out),
        }
    }
}

/// Like `clean`, but empty segments stay (Caddy: CleanPath without collapsing slashes).
pub(crate) fn clean_unmerged(path: &[u8], out: &mut Vec<u8>) {
    const NO_BYTE_OF_A_PATH: u8 = 0xff;
    let mut held = Vec::with_capacity(path.len() + 4);
    for &byte in path {
        if byte == b'/' && held.last() == Some(&b'/') {
            held.push(NO_BYTE_OF_A_PATH);
        }
        held.push(byte);
    }
    clean(&held, out);
    out.retain(|&byte| byte != NO_BYTE_OF_A_PATH);
}

/// Appends Caddy's CleanPath with merged slashes (Go: path.Clean, trailing slash kept).
pub fn clean(path: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    if path.first() != Some(&b'/') {
        out.push(b'/');
    }
    out.extend_from_slice(path);
    let needs = out[start..].windows(2).any(|pair| pair[0] == b'/' && matches!(pair[1], b'/' | b'.'));
    if !needs {
        return;
    }
    let slash = out.last() == Some(&b'/');
    // Cannot fail: only normalise refuses.
    let _ = resolve_segments(out, start);
    if !slash && out.len() > start + 1 && out.last() == Some(&b'/') {
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(raw: &str) -> Result<String, &'static str> {
        let mut out = Vec::new();
        normalise(raw.as_bytes(), &mut out).map(|_| String::from_utf8(out).unwrap())
    }

    #[test]
    fn one_spelling_for_each_path() {
        for (raw, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/%61dmin", "/admin"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%2Fb", "/a%2Fb"),
            ("//a///b//", "/a/b/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/../../a", "/a"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/%2E./b", "/b"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/...", "/a/..."),
            ("/..a/b", "/..a/b"),
            ("/%7euser", "/~user"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("/a%20b", "/a%20b"),
            ("/a|b\"", "/a%7Cb%22"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/%25zz", "/%25zz"),
            ("/%3Fq", "/%3Fq"),
            ("/(a)!*'", "/(a)!*'"),
        ] {
            assert_eq!(normal(raw).as_deref(), Ok(expected), "{raw}");
        }
    }

    #[test]
    fn what_others_would_read_differently_is_refused() {
        for raw in [
            "/a\\b",
            "/a%5cb",
            "/a%5Cb",
            "/%00",
            "/%0a",
            "/%7f",
            "/a\x01",
            "/a b",
            "/#x",
            "/a%2",
            "/a%",
            "/a%zz",
            "/..;/b",
            "/a/..;x/b",
            "/.;/b",
            "/%2e%2e;/b",
            "/..%3b/b",
            "/%c0%ae%c0%ae/",
            "/%e0%80%af",
            "/%f0%80%80%af",
            "/a/..%2fb",
            "/a%2f..%2fb",
            "/a%2f..",
            "/%2e%2e%2fb",
            "/a%2f%2e/b",
            "a",
            "",
        ] {
            assert!(normal(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn encoded_slash_is_reported() {
        let mut out = Vec::new();
        assert!(normalise(b"/a%2fb", &mut out).unwrap().encoded_slash);
        assert!(!normalise(b"/a/b", &mut out).unwrap().encoded_slash);
    }

    #[test]
    fn cleaning_is_that_of_go() {
        for (path, expected) in [
            ("", "/"),
            ("a", "/a"),
            ("/a//b/", "/a/b/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a"),
            ("/a/.", "/a"),
            ("/a/../", "/"),
        ] {
            let mut out = Vec::new();
            clean(path.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn normalising_is_idempotent(raw in "/([a-z./;%]|%2[eEfF]|%[0-9a-fA-F]{2}|\\.\\.){0,24}") {
            if let Ok(once) = normal(&raw) {
                prop_assert_eq!(normal(&once), Ok(once.clone()));
                prop_assert!(once.starts_with('/') && !once.contains("//"));
                prop_assert!(!once.split('/').any(|segment| segment == "." || segment == ".."));
            }
        }

        #[test]
        fn any_bytes_normalise_or_are_refused(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut out = b"kept".to_vec();
            let _ = normalise(&raw, &mut out);
            prop_assert!(out.starts_with(b"kept"));
        }

        #[test]
        fn encoding_and_decoding_are_inverse(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let (mut encoded, mut decoded) = (Vec::new(), Vec::new());
            encode(&bytes, &mut encoded);
            prop_assert!(decode(&encoded, &mut decoded));
            prop_assert_eq!(decoded, bytes);
        }
    }
}
