//! Plaintext from a client: request heads, bodies on their way up, pipelined bytes that wait, tunnels.

use super::{Phase, Serving, Waiting, Window};
use crate::error::Failure;
use crate::exchange::{HeaderSpan, Refuse, RequestHead};
use crate::fastcgi::records;
use crate::http1::head::{HeadScanner, skip_blank_lines};
use crate::http1::{Violation, chunked, fields, request};
use crate::http2::frames::PREFACE;
use crate::limits::*;
use crate::metrics::Counter;
use crate::ring::{Io, SocketId};
use crate::worker::Worker;

impl Worker {
    /// Takes plaintext: straight from the receive buffer where nothing waits, else behind what waits.
    pub fn receive<I: Io>(&mut self, io: &mut I, socket: SocketId, bytes: &[u8]) {
        let Some(down) = self.downstream(socket) else { return };
        if down.phase == Phase::Lingering {
            down.lingered_bytes = down.lingered_bytes.saturating_add(bytes.len() as u32);
            if down.lingered_bytes > LINGER_BYTES_MAX {
                self.abort(io, socket);
            }
            return;
        }
        if down.phase == Phase::Multiplex {
            return self.multiplex_data(io, socket, bytes);
        }
        if down.advancing || !down.input.is_empty() {
            down.input.extend_from_slice(bytes);
            if !down.advancing {
                self.advance_input(io, socket);
            }
        } else {
            let consumed = self.advance(io, socket, bytes);
            if let Some(down) = self.downstream(socket) {
                down.input.extend_from_slice(&bytes[consumed..]);
            }
        }
        self.limit_input(io, socket);
    }

    /// Goes on with the bytes that waited: after an answer, or when the upstream is ready for the body.
    pub fn advance_input<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let Some(down) = self.downstream(socket) else { return };
        if down.advancing {
            return;
        }
        let mut input = std::mem::take(&mut down.input);
        let consumed = if input.is_empty() { 0 } else { self.advance(io, socket, &input) };
        if let Some(down) = self.downstream(socket) {
            input.drain(..consumed);
            input.append(&mut down.input);
            if !input.is_empty() {
                down.input = input;
            }
            if down.finished {
                self.settle_finished(io, socket);
            }
        }
        self.limit_input(io, socket);
    }

    /// Stops reading a client whose bytes may not go on, and reads it again when they may.
    fn limit_input<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        if self.is_stream(socket) {
            return self.settle_stream(io, socket);
        }
        let Some(down) = self.downstream(socket) else { return };
        if matches!(down.phase, Phase::Closing | Phase::Lingering) {
            return;
        }
        let full = down.input.len() >= BUFFERED_INPUT_BYTES_MAX && down.phase == Phase::Serving;
        let wanted = full || (down.serving.blocked && matches!(down.phase, Phase::Serving | Phase::Tunnel));
        if wanted != down.paused {
            down.paused = wanted;
            if wanted { io.pause(socket) } else { io.resume(socket) }
        }
    }

    /// Uses up bytes as far as the phase allows; returns how many.
    fn advance<I: Io>(&mut self, io: &mut I, socket: SocketId, bytes: &[u8]) -> usize {
        let Some(down) = self.downstream(socket) else { return bytes.len() };
        down.advancing = true;
        let mut at = 0;
        while at < bytes.len() {
            let Some(down) = self.downstream(socket) else { return bytes.len() };
            let step = match down.phase {
                Phase::Head => self.head(io, socket, &bytes[at..]),
                Phase::Serving => self.body(io, socket, &bytes[at..]),
                Phase::Tunnel => self.tunnel_up(io, socket, &bytes[at..]),
                Phase::ProxyHeader(_)
                | Phase::Beginning
                | Phase::Hello
                | Phase::Handshake
                | Phase::Multiplex => None,
                Phase::Lingering | Phase::Closing => Some(bytes.len() - at),
            };
            match step {
                Some(consumed) => at += consumed,
                None => break,
            }
        }
        if let Some(down) = self.downstream(socket) {
            down.advancing = false;
        }
        at
    }

    /// One request head. None: incomplete.
    fn head<I: Io>(&mut self, io: &mut I, socket: SocketId, bytes: &[u8]) -> Option<usize> {
        let begins = self.downstream(socket)?.scanner == HeadScanner::default();
        let is_preface = begins && bytes.starts_with(&PREFACE[..PREFACE_BYTES_MIN.min(bytes.len())]);
        if is_preface && self.takes_preface(socket) {
            return self.preface(io, socket, bytes);
        }
        let down = self.downstream(socket)?;
        if begins {
            match skip_blank_lines(bytes, &mut down.blank_lines, LEADING_BLANK_LINES_MAX) {
                Ok(0) => {}
                Ok(skipped) => return Some(skipped),
                Err(violation) => return self.violated(io, socket, violation, bytes.len()),
            }
        }
        let bytes_max = down.head_bytes_max();
        match down.scanner.scan(bytes, bytes_max) {
            Ok(Some(length)) => {
                down.scanner = HeadScanner::default();
                down.blank_lines = 0;
                self.begin_exchange(io, socket, &bytes[..length]);
                Some(length)
            }
            Ok(None) if !may_begin(bytes) => {
                self.violated(io, socket, Violation::bad("malformed request line"), bytes.len())
            }
            Ok(None) => {
                if std::mem::take(&mut down.idle) {
                    // The idle deadline ends with the first byte of the next head.
                    let deadline_ms = self.now_ms() + self.head_timeout_ms(socket);
                    self.set_downstream_deadline(socket, deadline_ms);
                }
                None
            }
            Err(violation) => self.violated(io, socket, violation, bytes.len()),
        }
    }

    /// A plain connection whose listener takes HTTP/2 as well.
    fn takes_preface(&mut self, socket: SocketId) -> bool {
        let Some(down) = self.downstream(socket).filter(|down| !down.is_tls && down.stream.is_none()) else {
            return false;
        };
        let listener = down.peer.listener;
        self.snapshot.listener(listener).is_some_and(|listener| listener.http2)
    }

    /// Bytes that begin as HTTP/2 does, which no request of HTTP/1.1 can.
    fn preface<I: Io>(&mut self, io: &mut I, socket: SocketId, bytes: &[u8]) -> Option<usize> {
        if bytes.len() < PREFACE_BYTES_MIN {
            return None;
        }
        self.begin_multiplex(socket);
        self.multiplex_data(io, socket, bytes);
        Some(bytes.len())
    }

    fn violated<I: Io>(
        &mut self,
        io: &mut I,
        socket: SocketId,
        rule: Violation,
        length: usize,
    ) -> Option<usize> {
        self.refuse_head(io, socket, Refuse { status: rule.status, reason: rule.rule });
        Some(length)
    }

    fn begin_exchange<I: Io>(&mut self, io: &mut I, socket: SocketId, head: &[u8]) {
        let mut space = request::field_space();
        let request = match request::parse(head, &mut space) {
            Ok(request) => request,
            Err(rule) => {
                return self.refuse_head(io, socket, Refuse { status: rule.status, reason: rule.rule });
            }
        };
        let mut spans = self.scratch.take_spans();
        spans.extend(
            request.fields.iter().map(|field| HeaderSpan { name: field.name.as_bytes(), value: field.value }),
        );
        let parsed = RequestHead {
            method: request.method,
            target: request.target,
            http_minor: request.minor,
            headers: &spans,
        };
        let serving = Serving {
            body: request.body,
            length: request.length,
            chunked: matches!(request.body, crate::http1::body::BodyDecoder::Chunked(_)),
            head_method: request.method == b"HEAD",
            replayable: request.body.is_done() && is_idempotent(request.method),
            bodiless: request.body.is_done(),
            http_minor: request.minor,
            persistent: request.persistent,
            expects_continue: request.expects_continue,
            upgrade: request.upgrade.map(Box::from),
            ..Serving::default()
        };
        self.open_exchange(io, socket, &parsed, serving);
        self.scratch.give_spans(spans);
    }

    /// A request of either protocol begins: its exchange, its deadline, then the host's program.
    pub fn open_exchange<I: Io>(
        &mut self,
        io: &mut I,
        socket: SocketId,
        head: &RequestHead,
        serving: Serving,
    ) {
        if let Some(field) = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(b"host")) {
            self.snapshot.foresee(field.value);
        }
        let mut exchange = self.take_exchange();
        let (now, now_ms, sent) = (self.now(), self.now_ms(), self.sent(io, socket));
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return };
        let settings = self.snapshot.settings();
        let begun = exchange.begin(head, &down.peer, settings, now);
        if begun.is_ok()
            && let Some(loggers) = &settings.loggers
            && loggers.are_requests_logged()
            && let Some(listener) = self.snapshot.listener(down.peer.listener)
            && loggers.covers(&listener.name, &exchange)
        {
            exchange.keep_sent(head, settings.trust(down.peer.listener));
        }
        let bodiless = serving.request_done();
        let mut tried = std::mem::take(&mut down.serving.tried);
        tried.clear();
        down.serving = serving;
        down.serving.started_ns = now.monotonic_ns;
        down.serving.tried = tried;
        down.exchange = Some(exchange);
        down.phase = Phase::Serving;
        down.window = Window {
            sent,
            was_expecting_body: !bodiless,
            sent_since_ms: now_ms,
            body_since_ms: now_ms,
            ..Window::default()
        };
        if let Some(bounds) = &down.bounds {
            let until =
                |timeout_ms: Option<u64>| timeout_ms.map_or(u64::MAX, |timeout_ms| now_ms + timeout_ms);
            down.serving.request_until_ms = until(bounds.request_timeout_ms);
            down.serving.answer_until_ms = until(bounds.answer_timeout_ms);
        }
        let (body_pace, answer_pace) = down.paces();
        self.set_downstream_deadline(socket, now_ms + body_pace.window_ms.min(answer_pace.window_ms));
        match begun {
            Ok(()) => self.decide_request(io, socket),
            Err(refuse) => {
                self.metrics.add(Counter::RefusedHead, 1);
                self.refuse(io, socket, refuse);
            }
        }
    }

    /// Body bytes towards the upstream. None: nothing may go on now.
    fn body<I: Io>(&mut self, io: &mut I, socket: SocketId, bytes: &[u8]) -> Option<usize> {
        let down = self.downstream(socket)?;
        if let Waiting::ReadBody(entry) = down.serving.waiting {
            return Some(self.keep_body(io, socket, entry, bytes));
        }
        if down.serving.waiting == Waiting::Body {
            return Some(self.buffer_body(io, socket, bytes));
        }
        if let Waiting::PluginBody(peek) = down.serving.waiting {
            return self.peek_body(io, socket, peek, bytes);
        }
        let serving = &mut down.serving;
        if serving.upload_done() || serving.waiting != Waiting::Answer || serving.blocked {
            return None;
        }
        let upstream = serving.upstream?;
        let mut message = std::mem::take(&mut self.scratch.message);
        message.clear();
        let http2 = self.is_stream(upstream);
        let (outcome, consumed) = self.frame_body(socket, bytes, !http2, &mut message);
        if outcome.is_ok() && http2 {
            let done = self.downstream(socket).is_some_and(|down| down.serving.request_done());
            if done || !message.is_empty() {
                self.write_stream(io, upstream, 0, &message, done, &[]);
            }
        } else if outcome.is_ok() && !message.is_empty() {
            self.send_upstream(io, upstream, &message);
        }
        self.scratch.message = message;
        match outcome {
            Ok(()) => {
                self.body_sent(io, socket, upstream);
                Some(consumed)
            }
            Err(failure) => {
                self.fail(io, socket, failure);
                Some(bytes.len())
            }
        }
    }

    /// Decodes body bytes and frames them for the upstream, by chunks where it speaks HTTP/1.1 and no length is known.
    /// Returns how many input bytes were used.
    fn frame_body(
        &mut self,
        socket: SocketId,
        bytes: &[u8],
        may_chunk: bool,
        out: &mut Vec<u8>,
    ) -> (Result<(), Failure>, usize) {
        let Some(down) = self.downstream(socket) else { return (Err(Failure::ClientGone), bytes.len()) };
        let serving = &mut down.serving;
        let chunks = serving.chunked && may_chunk;
        let mut at = 0;
        while at < bytes.len() && !serving.request_done() {
            let piece = match serving.body.next(&bytes[at..]) {
                Ok(piece) => piece,
                Err(rule) => return (Err(Failure::BadRequest(rule.status, rule.rule)), at),
            };
            let data = piece.body(&bytes[at..]);
            serving.body_bytes += data.len() as u64;
            if serving.body_bytes > serving.body_bytes_max {
                return (Err(Failure::BodyTooLarge), at);
            }
            match (serving.fastcgi, chunks) {
                (true, _) => records::write_stdin(data, out),
                (false, true) => chunked::write_chunk(data, out),
                (false, false) => out.extend_from_slice(data),
            }
            at += piece.consumed;
        }
        if serving.request_done() {
            match (serving.fastcgi, chunks) {
                (true, _) => records::write_stdin_end(out),
                (false, true) => out.extend_from_slice(chunked::LAST_CHUNK),
                (false, false) => {}
            }
        }
        (Ok(()), at)
    }

    /// After body bytes went up: backpressure, and the answer's deadline once the request is complete.
    fn body_sent<I: Io>(&mut self, io: &mut I, socket: SocketId, upstream: SocketId) {
        let full = self.is_full(io, upstream);
        if full {
            self.notify_drained(io, upstream);
        }
        if let Some(down) = self.downstream(socket) {
            down.serving.blocked = full;
            if down.serving.request_done() {
                self.request_sent(upstream);
            }
        }
    }

    fn tunnel_up<I: Io>(&mut self, io: &mut I, socket: SocketId, bytes: &[u8]) -> Option<usize> {
        let down = self.downstream(socket)?;
        if down.serving.blocked {
            return None;
        }
        let upstream = down.serving.upstream?;
        self.send_upstream(io, upstream, bytes);
        if self.is_full(io, upstream)
            && let Some(down) = self.downstream(socket)
        {
            down.serving.blocked = true;
            self.notify_drained(io, upstream);
        }
        let deadline_ms = self.tunnel_deadline_ms(socket);
        self.set_downstream_deadline(socket, deadline_ms);
        if let Some(down) = self.downstream(socket) {
            let before = down.serving.body_bytes;
            down.serving.body_bytes += bytes.len() as u64;
            self.offer_relay(io, socket, (socket, upstream), before..before + bytes.len() as u64);
        }
        Some(bytes.len())
    }

    /// The upstream took enough: the client's body or tunnel goes on.
    pub fn upstream_drained<I: Io>(&mut self, io: &mut I, upstream: SocketId) {
        if self.upstream(upstream).is_some_and(|up| up.multiplex.is_some()) {
            return self.mark_multiplex(upstream);
        }
        let Some(client) = self.upstream(upstream).and_then(|up| up.client) else { return };
        let Some(down) = self.downstream(client) else { return };
        if down.serving.blocked {
            down.serving.blocked = false;
            self.advance_input(io, client);
        }
    }
}

/// So much of a preface tells it from a request line: "PRI * HTTP/2.0".
const PREFACE_BYTES_MIN: usize = 14;

/// Methods that may be repeated (RFC 9110 9.2.2).
pub fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
}

/// False where no request line can begin so: a TLS hello on a plain port is refused at once, not at its deadline.
fn may_begin(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .take(8)
        .take_while(|byte| **byte != b' ')
        .all(|byte| fields::is_token_byte(*byte) || *byte == b'\r')
}
