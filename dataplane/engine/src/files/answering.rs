//! The answer with a file: its head, as Go's http.ServeContent makes it, and the pieces of its body.

use super::conditional::{Validators, Verdict, judge};
use super::descriptors::OpenFile;
use super::finding::Found;
use super::mime;
use super::opening::{Patience, read};
use super::ranges::{Span, Wanted, push_content_range, read_range};
use crate::exchange::answering::ANSWERED;
use crate::exchange::fields::Fields;
use crate::exchange::statuses::push_old_date;
use crate::exchange::{Body, Exchange, Unknown, random};
use crate::snapshot::FileServer;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;

/// A file on its way to the client.
pub struct Sending {
    pub file: Arc<OpenFile>,
    /// Of the file.
    pub size: u64,
    pub pieces: VecDeque<Piece>,
    /// The pool reads the next bytes.
    pub reading: bool,
}

/// What is sent, in order.
pub enum Piece {
    Bytes(Vec<u8>),
    Part(Span),
}

/// One step of a file's way.
pub enum Taken {
    Some,
    All,
    /// Not in memory.
    Later(Arc<OpenFile>, Span),
    /// Shorter than its status said.
    Cut,
}

impl Sending {
    /// Appends the next bytes, of the file at most `bytes_max`.
    pub fn take(&mut self, bytes_max: usize, out: &mut Vec<u8>) -> Taken {
        match self.pieces.front_mut() {
            None => Taken::All,
            Some(Piece::Bytes(bytes)) => {
                out.append(bytes);
                self.pieces.pop_front();
                Taken::Some
            }
            Some(Piece::Part(Span { length: 0, .. })) => {
                self.pieces.pop_front();
                Taken::Some
            }
            Some(&mut Piece::Part(span)) => {
                let length = span.length.min(bytes_max as u64) as usize;
                match read(self.file.as_fd(), span.start, length, Patience::Cached, out) {
                    Ok(Some(count)) if count > 0 => {
                        self.advance(count as u64);
                        Taken::Some
                    }
                    Ok(None) => {
                        self.reading = true;
                        Taken::Later(self.file.clone(), span)
                    }
                    Ok(Some(_)) | Err(_) => Taken::Cut,
                }
            }
        }
    }

    /// `count` bytes of the first piece are sent.
    pub fn advance(&mut self, count: u64) {
        let Some(Piece::Part(span)) = self.pieces.front_mut() else { return };
        span.start += count;
        span.length = span.length.saturating_sub(count);
        if span.length == 0 {
            self.pieces.pop_front();
        }
    }
}

/// The status that the configuration or an error asks for; 0 is that of the answer. None: it is no number.
pub fn override_status(exchange: &Exchange, server: &FileServer, in_error_routes: bool) -> Option<u16> {
    let mut status = if in_error_routes { exchange.status } else { 0 };
    if !server.status.is_empty() {
        let mut text = Vec::new();
        exchange.expand(&server.status, Unknown::Empty, &mut text);
        let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<u16>().ok());
        status = number.filter(|number| *number == 0 || ANSWERED.contains(number))?;
    }
    Some(status)
}

/// The head of a file's answer and what follows it (Go: http.ServeContent).
pub struct Built {
    pub status: u16,
    pub fields: Fields,
    pub body: Body,
    pub pieces: Vec<Piece>,
}

impl Built {
    pub fn new(exchange: &mut Exchange, found: &Found, reads: bool) -> Built {
        let etag = exchange
            .answer
            .get(b"etag")
            .map_or(Cow::Borrowed(&found.etag[..]), |etag| Cow::Owned(etag.to_vec()));
        let modified_s = found.status.useful_time_s();
        let request = &exchange.request;
        let field = |name: &'static [u8]| request.get(name);
        let verdict = judge(field, reads, Validators { etag: &etag, modified_s });
        let range = request.get(b"range").filter(|_| verdict == Verdict::Serve);
        let wanted = range.map_or(Wanted::Whole, |range| read_range(range, found.size));
        let mut built =
            Built { status: 200, fields: Fields::with_room(), body: Body::Length(0), pieces: Vec::new() };
        let kind = match exchange.answer.contains(b"content-type") {
            true => exchange.answer.get(b"content-type").map(|kind| Cow::Owned(kind.to_vec())),
            false => mime::types().find(&found.filename).map(|kind| Cow::Borrowed(kind.as_bytes())),
        };
        if !etag.is_empty() {
            built.fields.push_checked(b"Etag", &etag);
        }
        match verdict {
            Verdict::NotModified => {
                if etag.is_empty() {
                    built.push_modified(modified_s);
                }
                exchange.answer.remove(b"content-type");
                return Built { status: 304, ..built };
            }
            Verdict::Failed => {
                built.push_modified(modified_s);
                built.push_kind(kind.as_deref());
                built.push_encoding(found);
                return Built { status: 412, body: Body::Length(0), ..built };
            }
            Verdict::Serve | Verdict::ServeWhole => {}
        }
        if let Wanted::Refused { malformed } = wanted {
            return Built::refused(exchange, malformed, found.size);
        }
        built.push_modified(modified_s);
        built.push_encoding(found);
        built.fields.push_checked(b"Accept-Ranges", b"bytes");
        match wanted {
            Wanted::Parts(spans) if spans.len() > 1 => built.take_parts(&spans, kind.as_deref(), found.size),
            Wanted::Parts(spans) => {
                let mut value = Vec::new();
                push_content_range(spans[0], found.size, &mut value);
                built.fields.push_checked(b"Content-Range", &value);
                built.push_kind(kind.as_deref());
                built.status = 206;
                built.take_span(spans[0]);
            }
            _ => {
                built.push_kind(kind.as_deref());
                built.take_span(Span { start: 0, length: found.size });
            }
        }
        built
    }

    /// 416 as Go's http.Error writes it: the fields of the file go.
    fn refused(exchange: &mut Exchange, malformed: bool, size: u64) -> Built {
        for name in [&b"cache-control"[..], b"content-encoding", b"etag", b"last-modified"] {
            exchange.answer.remove(name);
        }
        let mut fields = Fields::default();
        let text: &[u8] = match malformed {
            true => b"invalid range\n",
            false => b"invalid range: failed to overlap\n",
        };
        if !malformed {
            fields.push_checked(b"Content-Range", format!("bytes */{size}").as_bytes());
        }
        fields.push_checked(b"Content-Type", b"text/plain; charset=utf-8");
        fields.push_checked(b"X-Content-Type-Options", b"nosniff");
        let body = Body::Length(text.len() as u64);
        Built { status: 416, fields, body, pieces: vec![Piece::Bytes(text.to_vec())] }
    }

    fn push_modified(&mut self, modified_s: Option<i64>) {
        if let Some(modified_s) = modified_s {
            self.fields.push_checked(b"Last-Modified", &date(modified_s));
        }
    }

    fn push_kind(&mut self, kind: Option<&[u8]>) {
        if let Some(kind) = kind {
            self.fields.push_checked(b"Content-Type", kind);
        }
    }

    fn push_encoding(&mut self, found: &Found) {
        if let Some(encoding) = found.encoding {
            self.fields.push_checked(b"Content-Encoding", encoding.name().as_bytes());
        }
    }

    fn take_span(&mut self, span: Span) {
        self.body = Body::Length(span.length);
        if span.length > 0 {
            self.pieces.push(Piece::Part(span));
        }
    }

    /// multipart/byteranges (RFC 9110 14.6), laid out as Go's mime/multipart does.
    fn take_parts(&mut self, spans: &[Span], kind: Option<&[u8]>, size: u64) {
        let boundary = random_boundary();
        self.status = 206;
        let mut length = 0;
        for (index, span) in spans.iter().enumerate() {
            let mut head = if index == 0 { b"--".to_vec() } else { b"\r\n--".to_vec() };
            head.extend_from_slice(&boundary);
            head.extend_from_slice(b"\r\nContent-Range: ");
            push_content_range(*span, size, &mut head);
            head.extend_from_slice(b"\r\nContent-Type: ");
            head.extend_from_slice(kind.unwrap_or_default());
            head.extend_from_slice(b"\r\n\r\n");
            length += head.len() as u64 + span.length;
            self.pieces.push(Piece::Bytes(head));
            self.pieces.push(Piece::Part(*span));
        }
        let end = [b"\r\n--", &boundary[..], b"--\r\n"].concat();
        length += end.len() as u64;
        self.pieces.push(Piece::Bytes(end));
        self.body = Body::Length(length);
        let kind = [b"multipart/byteranges; boundary=", &boundary[..]].concat();
        self.fields.push_checked(b"Content-Type", &kind);
    }
}

/// Thirty random bytes in hex, as long as Go's.
fn random_boundary() -> Vec<u8> {
    use std::io::Write;
    let mut boundary = Vec::with_capacity(60);
    for _ in 0..4 {
        // Writing to a Vec cannot fail.
        let _ = write!(boundary, "{:016x}", random());
    }
    boundary.truncate(60);
    boundary
}

/// An IMF-fixdate.
pub fn date(seconds: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(29);
    push_old_date(u64::try_from(seconds).unwrap_or(0), &mut out);
    out
}
