//! One request on a stream of a shared HTTP/2 connection (`sharing`): its head and body go up, the answer and gRPC's
//! trailers come down.
//!
//! Rule: a malformed answer costs its stream and its client gets a 502, or an answer that ends in the middle; a stream
//! whose client does not read is not credited, and holds no other back.

use crate::error::Failure;
use crate::exchange::{Body, HTTP_2, HeaderSpan, ResponseHead};
use crate::http1::body::BodyDecoder;
use crate::http2::fields::Answer;
use crate::http2::frames::Code;
use crate::http2::hpack::decoder::FieldList;
use crate::http2::hpack::encoder;
use crate::limits::*;
use crate::metrics::Histogram;
use crate::ring::{End, Io, SocketId};
use crate::upstream::Phase;
use crate::worker::Worker;

use super::caching::Verdict;
use super::intercepting::Regard;
use super::responding::Origin;

/// What a head led to.
enum Head {
    /// An interim one.
    Passed,
    Begun,
    /// The program sees it first.
    Held,
    /// What is kept is sent instead.
    Instead,
    /// A WebSocket: bytes pass unread.
    Switched,
}

impl Worker {
    /// Sends a request's head, which was written for HTTP/1.1, on a stream of its own. False: no stream is left.
    pub fn call_http2(&mut self, client: SocketId, call: SocketId, head: &[u8], end: bool) -> bool {
        let trailers = self.downstream(client).is_some_and(|down| down.serving.takes_trailers);
        let websocket = self.wants_websocket(client);
        let Some(connection) = self.link_mut(call).map(|link| link.connection) else { return false };
        let Some(up) = self.upstream(connection).filter(|up| up.phase == Phase::Multiplex) else {
            return false;
        };
        let secure = up.session.is_some();
        let Some(multiplex) = up.multiplex.as_deref_mut() else { return false };
        let Some(id) = multiplex.open(call.0) else { return false };
        let mut block = Vec::with_capacity(head.len());
        encode_request(head, Kind { secure, trailers, websocket }, &mut block);
        // Both sides of a WebSocket stay open.
        multiplex.send_head(id, &block, end && !websocket);
        if let Some(link) = self.link_mut(call) {
            link.id = id;
        }
        self.note_opened(connection);
        self.mark_multiplex(connection);
        true
    }

    fn client_of(&mut self, call: SocketId) -> Option<SocketId> {
        self.upstream(call)?.client
    }

    /// The head of an answer, or an interim one; its fields are in the connection's `fields`.
    pub fn call_head<I: Io>(&mut self, io: &mut I, call: SocketId, id: u32, end: bool) {
        let Some(client) = self.client_of(call) else { return };
        self.settle_rivals(io, client, call);
        let Some((multiplex, _)) = self.stream_of(call) else { return };
        let fields = std::mem::take(&mut multiplex.fields);
        let result = self.take_call_head(io, client, call, (id, end), &fields);
        if let Some((multiplex, _)) = self.stream_of(call) {
            multiplex.fields = fields;
        }
        match result {
            Ok(Head::Passed) => {}
            Ok(Head::Instead) => self.answer_instead(io, client, call, end),
            Ok(Head::Switched) => self.switch_stream(io, client, call),
            Ok(Head::Held) => self.show_answer(io, client, call, &[]),
            Ok(Head::Begun) if end => self.answer_done(io, client, call, true),
            Ok(Head::Begun) => self.hold_back(io, client, call),
            Err(failure) => self.attempt_failed(io, call, failure),
        }
    }

    fn take_call_head<I: Io>(
        &mut self,
        io: &mut I,
        client: SocketId,
        call: SocketId,
        (id, end): (u32, bool),
        fields: &FieldList,
    ) -> Result<Head, Failure> {
        let answer = match Answer::read(fields) {
            Ok(answer) if !fields.too_large => answer,
            _ => return Err(Failure::BadResponse("malformed answer of HTTP/2")),
        };
        let Some(up) = self.upstream(call) else { return Ok(Head::Passed) };
        up.answering = true;
        if answer.status < 200 {
            up.interim_bytes += fields.size();
            if up.interim_bytes > INTERIM_BYTES_MAX {
                return Err(Failure::BadResponse("too many interim responses"));
            }
            self.send_interim(io, client, answer.status, &spans_of(fields));
            return Ok(Head::Passed);
        }
        if !end && self.accepts_websocket(client, answer.status) {
            self.observe_answer(client, call, answer.status);
            let spans = spans_of(fields);
            if self.holds_acceptance(client, call, &spans) {
                return Ok(Head::Held);
            }
            self.send_acceptance(io, client, &spans);
            return Ok(Head::Switched);
        }
        if let Some(up) = self.upstream(call) {
            up.body = if end { BodyDecoder::Empty } else { BodyDecoder::UntilClose };
            up.phase = Phase::Body;
        }
        let Some(down) = self.downstream(client) else { return Ok(Head::Passed) };
        let (asks_head, head_method) = (down.serving.asks_head, down.serving.head_method);
        let bodiless = asks_head || answer.status == 204 || answer.status == 304;
        if end && !bodiless && answer.length.is_some_and(|length| length > 0) {
            return Err(Failure::BadResponse("content-length without a body"));
        }
        if let Some((multiplex, _)) = self.stream_of(call)
            && let Some(stream) = multiplex.streams.get_mut(id)
        {
            stream.length_left = if bodiless { None } else { answer.length };
        }
        let body = match (answer.length, end) {
            // Its length is that of a body that does not come.
            _ if asks_head && !head_method => Body::Length(0),
            (Some(length), _) if answer.status != 204 => Body::Length(length),
            (_, true) if !bodiless => Body::Length(0),
            (_, true) => Body::Unframed,
            _ => Body::Chunked,
        };
        let spans = spans_of(fields);
        let mut head =
            ResponseHead { status: answer.status, reason: b"", http_minor: HTTP_2, headers: &spans };
        let mut body = body;
        match self.judge_call(client, &head, body) {
            Verdict::Pass => {}
            Verdict::NotModified => (head.status, body) = (304, Body::Unframed),
            Verdict::Instead => {
                self.observe_answer(client, call, answer.status);
                return Ok(Head::Instead);
            }
        }
        if self.judge_answer(client, call, &head, body)? {
            return Ok(Head::Held);
        }
        self.send_written(io, client, |worker, out| {
            let origin = Origin::Upstream { head: &head, body, ahead: 0, switches: None };
            worker.write_answer_head(client, origin, out);
            if end {
                worker.write_answer_end(client, out);
            }
        });
        Ok(Head::Begun)
    }

    /// What the cache says to an answer's head.
    fn judge_call(&mut self, client: SocketId, head: &ResponseHead, body: Body) -> Verdict {
        let now = (self.now_ms(), self.now().unix_ms);
        let Some(down) = self.downstream(client) else { return Verdict::Pass };
        match down.exchange.as_mut().filter(|_| down.serving.caching.is_some()) {
            Some(exchange) => down.serving.judge_kept(exchange, head, body, now),
            None => Verdict::Pass,
        }
    }

    fn observe_answer(&mut self, client: SocketId, call: SocketId, status: u16) {
        let now_ns = self.now().monotonic_ns;
        let latency_ns = self.upstream(call).map_or(0, |up| now_ns - up.requested_ns);
        self.metrics.observe(Histogram::UpstreamResponse, latency_ns);
        self.note_answer(client, status, latency_ns);
    }

    /// Reports an answer; true where the program is to see it first. Fails where its route wants another.
    fn judge_answer(
        &mut self,
        client: SocketId,
        call: SocketId,
        head: &ResponseHead,
        body: Body,
    ) -> Result<bool, Failure> {
        let now_ns = self.now().monotonic_ns;
        let latency_ns = self.upstream(call).map_or(0, |up| now_ns - up.requested_ns);
        self.metrics.observe(Histogram::UpstreamResponse, latency_ns);
        let Some(down) = self.downstream(client) else { return Ok(false) };
        let Some(exchange) = down.exchange.as_mut() else { return Ok(false) };
        let Regard { is_seen, is_judged } = down.serving.regard_answer(exchange, head, body);
        if is_judged && self.is_unwanted_answer(client, head.status, latency_ns) {
            return Err(Failure::UnwantedAnswer(head.status));
        }
        self.note_answer(client, head.status, latency_ns);
        if is_seen && let Some(up) = self.upstream(call) {
            up.phase = Phase::Held;
        }
        Ok(is_seen)
    }

    /// Body bytes of an answer; `end` with the last.
    pub fn call_bytes<I: Io>(&mut self, io: &mut I, call: SocketId, data: &[u8], end: bool) {
        let Some(client) = self.client_of(call) else { return };
        let held_back = self.is_held_back(client);
        let Some(up) = self.upstream(call) else { return };
        if let Some(link) = up.stream.as_deref_mut() {
            link.held += data.len();
        }
        if up.phase == Phase::Tunnel {
            return self.tunnel_stream(io, client, call, data, end);
        }
        if up.phase == Phase::Held || held_back {
            up.input.extend_from_slice(data);
            up.ended = end.then_some(End::Finished);
            return;
        }
        self.send_written(io, client, |worker, out| {
            worker.write_answer_data(client, data, out);
            match worker.downstream(client) {
                Some(down) if !end => down.serving.write_pause(out),
                _ => worker.write_answer_end(client, out),
            }
        });
        if end {
            return self.answer_done(io, client, call, true);
        }
        self.hold_back(io, client, call);
        self.credit_used(call, 0);
    }

    /// The answer's end, with trailers for the client.
    pub fn call_trailers<I: Io>(&mut self, io: &mut I, call: SocketId) {
        let Some(client) = self.client_of(call) else { return };
        let Some((multiplex, _)) = self.stream_of(call) else { return };
        let fields = std::mem::take(&mut multiplex.fields);
        if let Some(down) = self.downstream(client) {
            down.serving.take_trailers(fields.iter());
        }
        if let Some((multiplex, _)) = self.stream_of(call) {
            multiplex.fields = fields;
        }
        let held_back = self.is_held_back(client);
        let Some(up) = self.upstream(call) else { return };
        if up.phase == Phase::Tunnel {
            return self.tunnel_stream(io, client, call, &[], true);
        }
        if up.phase == Phase::Held || held_back {
            up.ended = Some(End::Finished);
            return;
        }
        self.send_written(io, client, |worker, out| worker.write_answer_end(client, out));
        self.answer_done(io, client, call, true);
    }

    /// The stream ended badly, by the endpoint or by what it sent.
    pub fn call_reset<I: Io>(&mut self, io: &mut I, call: SocketId, code: u32) {
        let Some(up) = self.upstream(call) else { return };
        // Whatever it meant, the connection stands: this is no idle one that closed.
        up.reused = false;
        let failure = match code == Code::RefusedStream as u32 {
            true => Failure::StreamRefused,
            false => Failure::UpstreamClosed,
        };
        self.attempt_failed(io, call, failure);
    }
}

/// An answer's fields, without what HTTP/2 says by pseudo-header fields.
fn spans_of(fields: &FieldList) -> Vec<HeaderSpan<'_>> {
    let plain = fields.iter().filter(|(name, _)| !name.starts_with(b":"));
    plain.map(|(name, value)| HeaderSpan { name, value }).collect()
}

/// What a request's block says beside its head.
#[derive(Clone, Copy)]
struct Kind {
    secure: bool,
    trailers: bool,
    /// Extended CONNECT (RFC 8441 4).
    websocket: bool,
}

/// Our own HTTP/1.1 head as a header block: well-formed by construction, Host first.
fn encode_request(head: &[u8], kind: Kind, block: &mut Vec<u8>) {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut words = lines.next().unwrap_or_default().split(|byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    encoder::field(b":method", if kind.websocket { b"CONNECT" } else { method }, block);
    if kind.websocket {
        encoder::field(b":protocol", b"websocket", block);
    }
    encoder::field(b":scheme", if kind.secure { b"https" } else { b"http" }, block);
    encoder::field(b":path", words.next().unwrap_or_default(), block);
    for line in lines {
        let Some(at) = memchr::memchr(b':', line) else { continue };
        let (name, value) = (&line[..at], line[at + 1..].trim_ascii());
        match name.to_ascii_lowercase().as_slice() {
            b"host" => encoder::field(b":authority", value, block),
            b"connection" | b"upgrade" | b"transfer-encoding" | b"keep-alive" | b"proxy-connection" => {}
            b"sec-websocket-key" if kind.websocket => {}
            _ => encoder::field(name, value, block),
        }
    }
    if kind.trailers {
        encoder::field(b"te", b"trailers", block);
    }
}
