//! A kept answer goes to the client: the same way as an upstream's, past all handlers around it, judged by the request's
//! own conditions and range (RFC 9110 13, 14).
//!
//! Rule: a client that reads slowly holds a reference to what is kept, not a copy of it.

use super::Phase;
use super::caching::{NAME, seconds};
use super::responding::Origin;
use crate::cache::freshness::first;
use crate::cache::kept::Kept;
use crate::exchange::{Body, Exchange, HeaderSpan, ResponseHead, is_bodiless};
use crate::files::conditional::{self, Validators, parse_date};
use crate::files::ranges::{Wanted, push_content_range, read_range};
use crate::ring::{Io, SocketId};
use crate::worker::Worker;
use std::ops::Range;
use std::sync::Arc;

pub use crate::files::conditional::Verdict as Condition;

/// A kept body on its way.
pub struct SendingKept {
    kept: Arc<Kept>,
    left: Range<usize>,
}

/// Which part of a kept answer a request gets, and as what.
struct Part {
    status: u16,
    bytes: Range<usize>,
    content_range: Vec<u8>,
}

impl Worker {
    /// Sends a kept answer; `note`: what Cache-Status says of it.
    pub fn send_kept_answer<I: Io>(&mut self, io: &mut I, client: SocketId, kept: &Arc<Kept>, note: &str) {
        let (now_ms, bytes_max) = (self.now_ms(), self.piece_bytes(io, client));
        let Some(down) = self.downstream(client) else { return };
        down.serving.caching = None;
        let Some(exchange) = down.exchange.as_mut() else { return };
        let part = choose_part(exchange, kept);
        let status_note = format!("{NAME}; {note}");
        let age = seconds(kept.lifetime.age_ms_at(now_ms) as i64).to_string();
        let mut spans: Vec<HeaderSpan> = kept.fields.iter().collect();
        if part.status != kept.status && part.status != 304 {
            spans.retain(|field| part.status == 206 || !field.name.eq_ignore_ascii_case(b"content-type"));
        }
        let mut push = |name: &'static [u8], value| spans.push(HeaderSpan { name, value });
        push(b"Age", age.as_bytes());
        push(b"Cache-Status", status_note.as_bytes());
        // Spans borrow; the list ends with what only some answers have.
        if !part.content_range.is_empty() {
            push(b"Content-Range", &part.content_range);
        }
        let reason: &[u8] = if part.status == kept.status { &kept.reason } else { b"" };
        let head = ResponseHead { status: part.status, reason, http_minor: 1, headers: &spans };
        if exchange.has_interceptions() {
            let content = kept.body[part.bytes].to_vec();
            return self.show_kept_answer(io, client, &head, content);
        }
        let body = match is_bodiless(part.status) {
            true => Body::Unframed,
            false => Body::Length(part.bytes.len() as u64),
        };
        let first = part.bytes.start..part.bytes.end.min(part.bytes.start + bytes_max);
        let left = first.end..part.bytes.end;
        self.send_written(io, client, |worker, out| {
            let origin = Origin::Upstream { head: &head, body, ahead: first.len() as u64, switches: None };
            worker.write_answer_head(client, origin, out);
            worker.write_answer_data(client, &kept.body[first], out);
            if left.is_empty() {
                worker.write_answer_end(client, out);
            }
        });
        if left.is_empty() {
            return self.finish_exchange(io, client);
        }
        if let Some(down) = self.downstream(client) {
            down.serving.kept = Some(Box::new(SendingKept { kept: Arc::clone(kept), left }));
        }
        self.send_kept(io, client);
    }

    /// Sends as much of a kept body as the client takes.
    pub fn send_kept<I: Io>(&mut self, io: &mut I, client: SocketId) {
        loop {
            if self.is_full(io, client) {
                return self.notify_drained(io, client);
            }
            if self.holds_pace(client) {
                return;
            }
            let bytes_max = self.piece_bytes(io, client);
            let Some(down) = self.downstream(client).filter(|down| down.phase == Phase::Serving) else {
                return;
            };
            let Some(sending) = down.serving.kept.as_mut() else { return };
            let kept = Arc::clone(&sending.kept);
            let start = sending.left.start;
            sending.left.start = sending.left.end.min(start + bytes_max);
            let (end, is_done) = (sending.left.start, sending.left.is_empty());
            self.answer_data(io, client, &kept.body[start..end]);
            if is_done {
                if let Some(down) = self.downstream(client) {
                    down.serving.kept = None;
                }
                return self.end_answer(io, client);
            }
        }
    }
}

impl Exchange {
    /// What an answer's fields say to conditions.
    pub fn validators_of<'a>(&self, fields: &[HeaderSpan<'a>]) -> Validators<'a> {
        Validators {
            etag: first(fields, b"etag").unwrap_or_default(),
            modified_s: first(fields, b"last-modified").and_then(parse_date),
        }
    }

    /// Judges the request's conditions.
    pub fn judge_conditions(&self, validators: Validators) -> Condition {
        conditional::judge(|name| self.request.get(name), true, validators)
    }
}

fn choose_part(exchange: &Exchange, kept: &Kept) -> Part {
    let size = kept.body.len();
    let whole = |status| Part { status, bytes: 0..size, content_range: Vec::new() };
    let empty = |status| Part { status, bytes: 0..0, content_range: Vec::new() };
    if kept.status != 200 {
        return whole(kept.status);
    }
    let fields: Vec<HeaderSpan> = kept.fields.iter().collect();
    match exchange.judge_conditions(exchange.validators_of(&fields)) {
        Condition::NotModified => return empty(304),
        Condition::Failed => return empty(412),
        Condition::ServeWhole => return whole(200),
        Condition::Serve => {}
    }
    let Some(range) = exchange.request.get(b"range").filter(|_| exchange.method() == b"GET") else {
        return whole(200);
    };
    match read_range(range, size as u64) {
        Wanted::Parts(spans) if spans.len() == 1 => {
            let span = spans[0];
            let mut content_range = Vec::new();
            push_content_range(span, size as u64, &mut content_range);
            let start = span.start as usize;
            Part { status: 206, bytes: start..start + span.length as usize, content_range }
        }
        Wanted::Refused { malformed: false } => {
            Part { content_range: format!("bytes */{size}").into_bytes(), ..empty(416) }
        }
        // Several parts, or a field that is none: all of it (RFC 9110 14.2 lets us).
        _ => whole(200),
    }
}
