//! Strict HTTP/1.x request heads (RFC 9112 3, 5, 6). In: one whole head as found by `HeadScanner`. Out: its parts as
//! spans of that buffer, the body's framing and what the client wants of the connection. Called by `connection`.

use super::Violation;
use super::body::BodyDecoder;
use super::chunked::ChunkDecoder;
use super::fields::{Framing, has_token};
use crate::limits::{HEADER_FIELDS_MAX, METHOD_BYTES_MAX, REQUEST_TARGET_BYTES_MAX};
use std::mem::MaybeUninit;

pub use httparse::Header as Field;

/// Uninitialised room for the fields of one head, on the caller's stack.
pub type FieldSpace<'b> = [MaybeUninit<Field<'b>>; HEADER_FIELDS_MAX];

/// So many bytes tell a request from a TLS record.
pub const BEGINNING_BYTES: usize = 5;
const BEGINNINGS: [&[u8; BEGINNING_BYTES]; 5] = [b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO"];

/// Whether bytes that should be TLS begin a request, by Go's word for it (net/http tlsRecordHeaderLooksLikeHTTP).
pub fn may_begin(bytes: &[u8]) -> bool {
    BEGINNINGS.iter().any(|beginning| bytes.starts_with(&beginning[..]))
}

/// Whether more bytes are needed to tell.
pub fn begins_undecided(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && BEGINNINGS.iter().any(|beginning| beginning.len() > bytes.len() && beginning.starts_with(bytes))
}

/// Fresh room for `parse`.
pub fn field_space<'b>() -> FieldSpace<'b> {
    [const { MaybeUninit::uninit() }; HEADER_FIELDS_MAX]
}

/// One request head.
#[derive(Debug)]
pub struct Request<'h, 'b> {
    pub method: &'b [u8],
    pub target: &'b [u8],
    /// 0 or 1.
    pub minor: u8,
    pub fields: &'h [Field<'b>],
    pub body: BodyDecoder,
    /// Content-Length as declared, 0 too.
    pub length: Option<u64>,
    /// The client keeps the connection unless we say close.
    pub persistent: bool,
    /// `Expect: 100-continue` with a body to wait for (RFC 9110 10.1.1).
    pub expects_continue: bool,
    /// The protocol of a switch that may be passed on: HTTP/1.1, no body, not HTTP itself.
    pub upgrade: Option<&'b [u8]>,
}

/// Parses `head`, which ends with its empty line.
pub fn parse<'h, 'b>(head: &'b [u8], space: &'h mut FieldSpace<'b>) -> Result<Request<'h, 'b>, Violation> {
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, space) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Violation::bad("malformed head")),
        Err(error) => return Err(violation(error, head)),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Violation::bad("malformed request line"));
    };
    check_request_line(method, target)?;
    let fields: &'h [Field<'b>] = parsed.headers;
    let mut framing = Framing::default();
    let mut upgrade: Option<&[u8]> = None;
    let mut expects_continue = false;
    for field in fields {
        if framing.take(field.name.as_bytes(), field.value)? {
            continue;
        }
        if field.name.eq_ignore_ascii_case("upgrade") {
            // Of several lines the first counts (Caddy: upgradeType); the others go nowhere.
            upgrade.get_or_insert(field.value);
        } else if field.name.eq_ignore_ascii_case("expect") && minor >= 1 {
            if !field.value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Violation::with(417, "unknown expectation"));
            }
            expects_continue = true;
        }
    }
    framing.check(minor)?;
    let body = match (framing.chunked, framing.length) {
        (true, _) => BodyDecoder::Chunked(ChunkDecoder::default()),
        (false, Some(length)) if length > 0 => BodyDecoder::Length(length),
        _ => BodyDecoder::Empty,
    };
    let has_body = body != BodyDecoder::Empty;
    // An upgrade with a body, or to another HTTP, is served as if it had not been asked (RFC 9110 7.8).
    let switches = minor >= 1 && framing.connection_upgrade && !has_body;
    Ok(Request {
        method: method.as_bytes(),
        target: target.as_bytes(),
        minor,
        fields,
        body,
        length: framing.length,
        persistent: framing.persistent(minor),
        expects_continue: expects_continue && has_body,
        upgrade: upgrade.filter(|protocol| switches && is_foreign_protocol(protocol)),
    })
}

fn check_request_line(method: &str, target: &str) -> Result<(), Violation> {
    if method.len() > METHOD_BYTES_MAX {
        return Err(Violation::with(501, "method too long"));
    }
    if method == "CONNECT" {
        return Err(Violation::with(405, "CONNECT is not served"));
    }
    if target.len() > REQUEST_TARGET_BYTES_MAX {
        return Err(Violation::with(414, "request target too long"));
    }
    if !target.is_ascii() {
        return Err(Violation::bad("request target is not ASCII"));
    }
    Ok(())
}

/// A protocol that is not HTTP itself: h2c or HTTP/… would put a second request parser behind our back.
pub fn is_foreign_protocol(value: &[u8]) -> bool {
    let http = |item: &[u8]| {
        let item = item.trim_ascii();
        item.len() >= 4 && item[..4].eq_ignore_ascii_case(b"http")
    };
    !value.is_empty()
        && !has_token(value, b"h2c")
        && !has_token(value, b"h2")
        && !value.split(|byte| *byte == b',').any(http)
}

/// HTTP/D.D (RFC 9112 2.3), of any digits.
fn is_version(word: &[u8]) -> bool {
    matches!(word, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

fn violation(error: httparse::Error, head: &[u8]) -> Violation {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or(b"");
    let other_version = line.split(|byte| *byte == b' ').nth(2).is_some_and(is_version);
    match error {
        httparse::Error::HeaderName => Violation::bad("malformed field name"),
        httparse::Error::HeaderValue => Violation::bad("malformed field value"),
        httparse::Error::NewLine => Violation::bad("line ends without CRLF"),
        httparse::Error::Token => Violation::bad("malformed request line"),
        httparse::Error::TooManyHeaders => Violation::with(431, "too many header fields"),
        httparse::Error::Version if other_version => Violation::with(505, "HTTP version is not 1.0 or 1.1"),
        _ => Violation::bad("malformed head"),
    }
}
