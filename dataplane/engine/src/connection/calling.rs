//! An upstream connection that speaks HTTP/2: by ALPN, or in clear text (h2c) where the cluster says so. It serves one
//! request at a time, as HTTP/1.1 connections do, and goes back to the pool in between; gRPC's trailers come through.
//!
//! Rule: an upstream's violation costs it the connection and its client gets a 502, or an answer that ends in the
//! middle; a refused stream was not acted on and may be tried elsewhere (RFC 9113 8.7).

use crate::error::Failure;
use crate::exchange::{Body, HTTP_2, HeaderSpan, ResponseHead};
use crate::http1::body::BodyDecoder;
use crate::http2::fields::Answer;
use crate::http2::frames::Code;
use crate::http2::hpack::decoder::FieldList;
use crate::http2::hpack::encoder;
use crate::http2::{Event, Multiplex, Role};
use crate::limits::*;
use crate::metrics::Histogram;
use crate::ring::{Io, SocketId};
use crate::tls::Session;
use crate::upstream;
use crate::worker::Worker;

use super::caching::Verdict;
use super::responding::Origin;

impl Worker {
    /// True where requests of this connection are streams.
    pub fn calls_http2(&self, upstream: SocketId) -> bool {
        self.upstreams
            .get(upstream.index())
            .is_some_and(|up| up.as_ref().is_some_and(|up| up.multiplex.is_some()))
    }

    /// A connection is ready: it speaks HTTP/2 where TLS agreed on it, or the cluster's endpoints take it in clear text.
    pub fn choose_protocol(&mut self, client: SocketId, upstream: SocketId) {
        let now_ms = self.now_ms();
        let clear = self.cluster_timeout(client, |state| u64::from(state.http2), 0) != 0;
        let Some(up) = self.upstream(upstream) else { return };
        if up.multiplex.is_none() && up.session.as_ref().map_or(clear, Session::is_http2) {
            up.multiplex = Some(Box::new(Multiplex::new(Role::Client, now_ms)));
        }
    }

    /// Sends a request's head, which was written for HTTP/1.1, on a stream of its own. False: no stream is left.
    pub fn call_http2(&mut self, client: SocketId, upstream: SocketId, head: &[u8], end: bool) -> bool {
        let trailers = self.downstream(client).is_some_and(|down| down.serving.takes_trailers);
        let Some(up) = self.upstream(upstream) else { return false };
        let secure = up.session.is_some();
        let Some(multiplex) = up.multiplex.as_deref_mut() else { return false };
        let Some(id) = multiplex.open(upstream.0) else { return false };
        up.stream_id = id;
        let mut block = Vec::with_capacity(head.len());
        encode_request(head, secure, trailers, &mut block);
        multiplex.send_head(id, &block, end);
        self.mark_multiplex(upstream);
        true
    }

    /// Body bytes of the request; `end` with the last.
    pub fn call_data<I: Io>(&mut self, io: &I, upstream: SocketId, data: &[u8], end: bool) {
        let pending = io.pending(upstream);
        let Some(up) = self.upstream(upstream) else { return };
        let id = up.stream_id;
        let Some(multiplex) = up.multiplex.as_deref_mut() else { return };
        let room = multiplex.out.len() + pending < HTTP2_PENDING_BYTES_HIGH;
        if !data.is_empty() || end {
            multiplex.send_data(id, data, end, room);
        }
        self.mark_multiplex(upstream);
    }

    /// Frames of an upstream.
    pub fn call_frames<I: Io>(&mut self, io: &mut I, upstream: SocketId, bytes: &[u8]) {
        let now_ms = self.now_ms();
        let Some(up) = self.upstream(upstream) else { return };
        let mut held = std::mem::take(&mut up.input);
        held.extend_from_slice(bytes);
        let mut at = 0;
        if let Some(multiplex) = up.multiplex.as_deref_mut() {
            multiplex.budget.fill(now_ms);
        }
        self.mark_multiplex(upstream);
        loop {
            let Some(multiplex) = self.multiplex(upstream) else { return };
            let step = match multiplex.receive(&held, &mut at) {
                Ok(None) => break,
                Ok(Some(event)) => self.call_event(io, upstream, event, &held),
                Err(violation) => Err(Failure::BadResponse(violation.rule)),
            };
            if let Err(failure) = step {
                if let Some(multiplex) = self.multiplex(upstream) {
                    multiplex.end(Code::Protocol);
                }
                return self.call_failed(io, upstream, failure);
            }
        }
        held.drain(..at);
        let Some(up) = self.upstream(upstream) else { return };
        up.input = held;
        if let (upstream::Phase::Body, Some(client)) = (up.phase, up.client) {
            self.hold_back(io, client, upstream);
        }
    }

    fn call_failed<I: Io>(&mut self, io: &mut I, upstream: SocketId, failure: Failure) {
        let serving = self.upstream(upstream).is_some_and(|up| up.client.is_some());
        match serving {
            true => self.attempt_failed(io, upstream, failure),
            false => self.close_upstream(io, upstream),
        }
    }

    fn call_event<I: Io>(
        &mut self,
        io: &mut I,
        upstream: SocketId,
        event: Event,
        input: &[u8],
    ) -> Result<(), Failure> {
        let Some(up) = self.upstream(upstream) else { return Ok(()) };
        let client = up.client;
        match (event, client) {
            (Event::Head { id, end }, Some(client)) => {
                up.answering = true;
                self.call_head(io, client, upstream, id, end)?;
            }
            (Event::Data { id, bytes, end, .. }, Some(client)) => {
                if let Some(multiplex) = up.multiplex.as_deref_mut() {
                    multiplex.credit(id, bytes.len());
                }
                let data = &input[bytes];
                self.send_written(io, client, |worker, out| {
                    worker.write_answer_data(client, data, out);
                    match worker.downstream(client) {
                        Some(down) if !end => down.serving.write_pause(out),
                        _ => worker.write_answer_end(client, out),
                    }
                });
                if end {
                    self.answer_done(io, client, upstream, true);
                }
            }
            (Event::Trailers { .. }, Some(client)) => {
                self.take_trailers(client, upstream);
                self.send_written(io, client, |worker, out| worker.write_answer_end(client, out));
                self.answer_done(io, client, upstream, true);
            }
            (Event::Reset { code, .. }, Some(_)) => {
                return Err(match code == Code::RefusedStream as u32 {
                    true => Failure::ConnectFailed,
                    false => Failure::UpstreamClosed,
                });
            }
            (Event::GoingAway { last, .. }, client) => {
                up.going_away = true;
                let lost = client.is_some() && up.stream_id > last;
                if lost {
                    return Err(Failure::ConnectFailed);
                }
                if client.is_none() {
                    self.close_upstream(io, upstream);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn call_head<I: Io>(
        &mut self,
        io: &mut I,
        client: SocketId,
        upstream: SocketId,
        id: u32,
        end: bool,
    ) -> Result<(), Failure> {
        let now_ns = self.now().monotonic_ns;
        let Some(up) = self.upstream(upstream) else { return Ok(()) };
        let Some(multiplex) = up.multiplex.as_deref_mut() else { return Ok(()) };
        let fields = std::mem::take(&mut multiplex.fields);
        let answer = match Answer::read(&fields) {
            Ok(answer) if !fields.too_large => answer,
            _ => return Err(Failure::BadResponse("malformed answer of HTTP/2")),
        };
        if answer.status < 200 {
            up.interim_responses += 1;
            return match up.interim_responses > INTERIM_RESPONSES_MAX {
                true => Err(Failure::BadResponse("too many interim responses")),
                false => Ok(()),
            };
        }
        let asked_head = self.downstream(client).is_some_and(|down| down.serving.head_method);
        let Some(up) = self.upstream(upstream) else { return Ok(()) };
        let requested_ns = up.requested_ns;
        up.body = BodyDecoder::Empty;
        up.persistent = !up.going_away;
        up.phase = upstream::Phase::Body;
        let bodiless = asked_head || answer.status == 204 || answer.status == 304;
        if let Some(multiplex) = up.multiplex.as_deref_mut()
            && let Some(stream) = multiplex.streams.get_mut(id)
        {
            stream.length_left = if bodiless { None } else { answer.length };
        }
        if end && !bodiless && answer.length.is_some_and(|length| length > 0) {
            return Err(Failure::BadResponse("content-length without a body"));
        }
        let body = match (answer.length, end) {
            (Some(length), _) if answer.status != 204 => Body::Length(length),
            (_, true) => Body::Unframed,
            _ => Body::Chunked,
        };
        let body = if end && !bodiless && answer.length.is_none() { Body::Length(0) } else { body };
        let latency_ns = now_ns - requested_ns;
        self.metrics.observe(Histogram::UpstreamResponse, latency_ns);
        let verdict = self.judge_call(client, &fields, answer.status, body);
        let (status, body) = match verdict {
            Verdict::Pass => (answer.status, body),
            Verdict::NotModified => (304, Body::Unframed),
            Verdict::Instead => {
                self.note_answer(client, answer.status, latency_ns);
                self.answer_instead(io, client, upstream, end);
                return Ok(());
            }
        };
        if self.downstream(client).is_some_and(|down| down.serving.judges_answers()) {
            let spans = spans_of(&fields);
            if let Some(exchange) = self.downstream(client).and_then(|down| down.exchange.as_mut()) {
                exchange.keep_upstream_answer(&ResponseHead {
                    status: answer.status,
                    reason: b"",
                    http_minor: HTTP_2,
                    headers: &spans,
                });
            }
            if self.is_unwanted_answer(client, answer.status, latency_ns) {
                return Err(Failure::UnwantedAnswer(answer.status));
            }
        }
        self.note_answer(client, answer.status, latency_ns);
        let spans = spans_of(&fields);
        let head = ResponseHead { status, reason: b"", http_minor: HTTP_2, headers: &spans };
        self.send_written(io, client, |worker, out| {
            let origin = Origin::Upstream { head: &head, body, ahead: 0, switches: None };
            worker.write_answer_head(client, origin, out);
            if end {
                worker.write_answer_end(client, out);
            }
        });
        drop(spans);
        if let Some(multiplex) = self.multiplex(upstream) {
            multiplex.fields = fields;
        }
        if end {
            self.answer_done(io, client, upstream, true);
        }
        Ok(())
    }

    /// What the cache says to an answer's head.
    fn judge_call(&mut self, client: SocketId, fields: &FieldList, status: u16, body: Body) -> Verdict {
        let now = (self.now_ms(), self.now().unix_ms);
        let Some(down) = self.downstream(client) else { return Verdict::Pass };
        let Some(exchange) = down.exchange.as_mut().filter(|_| down.serving.caching.is_some()) else {
            return Verdict::Pass;
        };
        let spans = spans_of(fields);
        let head = ResponseHead { status, reason: b"", http_minor: HTTP_2, headers: &spans };
        down.serving.judge_kept(exchange, &head, body, now)
    }

    /// Trailers go on to the client.
    fn take_trailers(&mut self, client: SocketId, upstream: SocketId) {
        let Worker { upstreams, downstreams, .. } = self;
        if let (Some(Some(up)), Some(Some(down))) =
            (upstreams.get_mut(upstream.index()), downstreams.get_mut(client.index()))
            && let Some(multiplex) = up.multiplex.as_deref()
        {
            down.serving.take_trailers(multiplex.fields.iter());
        }
    }
}

/// An answer's fields, without what HTTP/2 says by pseudo-header fields.
fn spans_of(fields: &FieldList) -> Vec<HeaderSpan<'_>> {
    let plain = fields.iter().filter(|(name, _)| !name.starts_with(b":"));
    plain.map(|(name, value)| HeaderSpan { name, value }).collect()
}

/// Our own HTTP/1.1 head as a header block: well-formed by construction, Host first.
fn encode_request(head: &[u8], secure: bool, trailers: bool, block: &mut Vec<u8>) {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut words = lines.next().unwrap_or_default().split(|byte| *byte == b' ');
    encoder::field(b":method", words.next().unwrap_or_default(), block);
    encoder::field(b":scheme", if secure { b"https" } else { b"http" }, block);
    encoder::field(b":path", words.next().unwrap_or_default(), block);
    for line in lines {
        let Some(at) = memchr::memchr(b':', line) else { continue };
        let (name, value) = (&line[..at], line[at + 1..].trim_ascii());
        match name.to_ascii_lowercase().as_slice() {
            b"host" => encoder::field(b":authority", value, block),
            b"connection" | b"upgrade" | b"transfer-encoding" | b"keep-alive" | b"proxy-connection" => {}
            _ => encoder::field(name, value, block),
        }
    }
    if trailers {
        encoder::field(b"te", b"trailers", block);
    }
}
