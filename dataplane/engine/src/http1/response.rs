//! Strict HTTP/1.x response heads of backends, which are no more trusted than clients (reliability.md 2.7).
//! In: one whole head as found by `HeadScanner`, and what was asked. Out: its parts and the body's framing. A violation
//! means 502 and a connection that is never used again.

use super::Violation;
use super::body::BodyDecoder;
use super::chunked::ChunkDecoder;
use super::fields::{Framing, has_token};
use super::request::{Field, FieldSpace};

/// What the answered request allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// The method was HEAD: the answer has no body whatever its fields say (RFC 9110 9.3.2).
    pub head: bool,
    /// The protocol of an Upgrade that we passed on: 101 to it is a possible answer (RFC 9110 7.8).
    pub upgrade: Option<&'a [u8]>,
}

/// One response head.
#[derive(Debug)]
pub struct Response<'h, 'b> {
    pub status: u16,
    pub minor: u8,
    pub reason: &'b [u8],
    pub fields: &'h [Field<'b>],
    pub body: BodyDecoder,
    /// Content-Length as declared; for HEAD and 304 it describes a body that does not come.
    pub length: Option<u64>,
    /// The backend keeps the connection after this answer.
    pub persistent: bool,
    /// The protocol switched to (101), or offered.
    pub upgrade: Option<&'b [u8]>,
}

impl Response<'_, '_> {
    /// 1xx but 101: another head follows (RFC 9110 15.2).
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}

/// Parses `head`, which ends with its empty line.
pub fn parse<'h, 'b>(
    head: &'b [u8],
    asked: Asked<'_>,
    space: &'h mut FieldSpace<'b>,
) -> Result<Response<'h, 'b>, Violation> {
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, head, space) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        _ => return Err(Violation::bad("malformed response head")),
    }
    let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
        return Err(Violation::bad("malformed status line"));
    };
    if status < 100 {
        return Err(Violation::bad("status below 100"));
    }
    let fields: &'h [Field<'b>] = parsed.headers;
    let mut framing = Framing::default();
    let mut upgrade = None;
    for field in fields {
        if !framing.take(field.name.as_bytes(), field.value)? && field.name.eq_ignore_ascii_case("upgrade") {
            upgrade = Some(field.value);
        }
    }
    framing.check(minor)?;
    let declares_body = framing.chunked || framing.length.is_some_and(|length| length > 0);
    let is_asked =
        matches!((asked.upgrade, upgrade), (Some(asked), Some(given)) if is_choice_of(asked, given));
    if status == 101 && !(is_asked && framing.connection_upgrade) {
        return Err(Violation::bad("switching protocols was not asked for"));
    }
    if status < 200 && declares_body {
        return Err(Violation::bad("interim response with a body"));
    }
    let bodiless = asked.head || status < 200 || status == 204 || status == 304;
    let body = match (bodiless, framing.chunked, framing.length) {
        (true, ..) | (_, false, Some(0)) => BodyDecoder::Empty,
        (_, true, _) => BodyDecoder::Chunked(ChunkDecoder::default()),
        (_, _, Some(length)) => BodyDecoder::Length(length),
        (_, false, None) => BodyDecoder::UntilClose,
    };
    // A 204 that announces a body may be followed by one: nobody knows, so the connection is not used again.
    let doubtful = status == 204 && declares_body;
    Ok(Response {
        status,
        minor,
        reason: parsed.reason.unwrap_or("").as_bytes(),
        fields,
        body,
        length: framing.length,
        persistent: framing.persistent(minor) && body != BodyDecoder::UntilClose && !doubtful,
        upgrade,
    })
}

/// True where all of the protocols that are switched to are among those that were asked for (RFC 9110 7.8).
fn is_choice_of(asked: &[u8], given: &[u8]) -> bool {
    given.split(|byte| *byte == b',').all(|protocol| has_token(asked, protocol.trim_ascii()))
}
