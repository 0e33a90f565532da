//! An upstream's answer on its way down: strict head, re-framed body, tunnels after 101.
//!
//! Rule: whatever the upstream does wrong, the client gets a 502 where nothing was sent yet, or a connection that ends in
//! the middle; never bytes that the upstream's framing does not account for.

use super::caching::Verdict;
use super::intercepting::Regard;
use super::responding::Origin;
use crate::error::Failure;
use crate::exchange::{Body, HeaderSpan, ResponseHead};
use crate::http1::body::BodyDecoder;
use crate::http1::{Violation, request, response};
use crate::limits::*;
use crate::metrics::Histogram;
use crate::ring::{End, Io, SocketId};
use crate::upstream;
use crate::worker::Worker;

/// What one piece of an answer led to.
enum Step {
    /// All bytes used; more of the answer is to come.
    More,
    /// The head is not complete.
    Incomplete,
    Switched(usize),
    /// The program sees the head first.
    Held(usize),
    /// What is kept is sent instead.
    Instead(usize),
    Done(usize),
}

/// What a head led to.
enum Head {
    /// The answer began, or an interim one passed.
    Begun,
    Switched,
    /// The first bytes of the body must be here first.
    Waits,
    /// The program sees it first.
    Held,
    /// The program sees the switch first, which is read again after it.
    SwitchHeld,
    /// What is kept is sent instead.
    Instead,
}

impl Worker {
    /// Bytes from an upstream as they come from the ring.
    pub fn upstream_data<I: Io>(&mut self, io: &mut I, upstream: SocketId, data: &mut [u8]) {
        let Some(up) = self.upstream(upstream) else { return };
        if up.phase == upstream::Phase::Closing {
            return;
        }
        let (plain, client) = (up.session.is_none(), up.client);
        if let Some(host) =
            client.and_then(|client| self.downstream(client)).and_then(|down| down.serving.host.as_ref())
        {
            host.prefetch_for_answer();
        }
        if plain {
            return self.upstream_plain(io, upstream, data);
        }
        let mut plain = std::mem::take(&mut self.scratch.plain);
        let mut wire = std::mem::take(&mut self.scratch.wire);
        let Some(up) = self.upstream(upstream) else { return };
        let Some(session) = up.session.as_mut() else { return };
        let result = session.read(data, &mut plain, &mut wire);
        if !wire.is_empty() {
            io.out(upstream).extend_from_slice(&wire);
            wire.clear();
        }
        let client = up.client;
        match (result, client) {
            (Err(_), _) if up.phase == upstream::Phase::Handshake => {
                self.attempt_failed(io, upstream, Failure::UpstreamTls);
            }
            (Err(_), _) => self.upstream_ended(io, upstream, End::Reset),
            (Ok(progress), client) => {
                if let (true, Some(client)) = (progress.established, client) {
                    self.upstream_ready(io, client, upstream);
                }
                if !plain.is_empty() {
                    self.upstream_plain(io, upstream, &plain);
                }
                if progress.closed {
                    self.upstream_ended(io, upstream, End::Finished);
                }
            }
        }
        plain.clear();
        self.scratch.plain = plain;
        self.scratch.wire = wire;
    }

    fn upstream_plain<I: Io>(&mut self, io: &mut I, upstream: SocketId, bytes: &[u8]) {
        let Some(up) = self.upstream(upstream) else { return };
        if up.multiplex.is_some() {
            return self.shared_frames(io, upstream, bytes);
        }
        match (up.phase, up.client) {
            (upstream::Phase::Head | upstream::Phase::Body | upstream::Phase::Held, Some(client)) => {
                match up.cgi.is_some() {
                    true => self.cgi_bytes(io, client, upstream, bytes),
                    false => self.answer_bytes(io, client, upstream, bytes),
                }
            }
            (upstream::Phase::Tunnel, Some(client)) => self.tunnel_down(io, client, upstream, bytes),
            // Bytes that nobody asked for: this connection cannot be trusted with a request.
            (upstream::Phase::Idle, _) => self.upstream_ended(io, upstream, End::Reset),
            _ => {}
        }
    }

    pub fn answer_bytes<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId, bytes: &[u8]) {
        let mut message = std::mem::take(&mut self.scratch.message);
        message.clear();
        let held_back = self.is_held_back(client);
        let Some(up) = self.upstream(upstream) else { return };
        if up.phase == upstream::Phase::Held || (held_back && up.phase == upstream::Phase::Body) {
            // What was on its way when reading stopped.
            return up.input.extend_from_slice(bytes);
        }
        if !std::mem::replace(&mut up.answering, true) {
            self.settle_rivals(io, client, upstream);
        }
        let Some(up) = self.upstream(upstream) else { return };
        let mut held = std::mem::take(&mut up.input);
        let rest = if held.is_empty() {
            bytes
        } else {
            held.extend_from_slice(bytes);
            &held
        };
        let answered = self.downstream(client).is_some_and(|down| down.serving.answered);
        let result = match self.pass_body(io, client, upstream, rest) {
            Some(step) => Ok(step),
            None => self.answer_steps(client, upstream, rest, &mut message),
        };
        if !message.is_empty() && result.is_ok() {
            self.send_downstream(io, client, &message);
        }
        self.scratch.message = message;
        match result {
            Err(failure) => {
                if !answered {
                    self.take_back_answer(client);
                }
                self.attempt_failed(io, upstream, failure);
            }
            Ok(Step::Incomplete) => {
                if let Some(up) = self.upstream(upstream) {
                    up.input.extend_from_slice(rest);
                }
            }
            Ok(Step::More) => self.hold_back(io, client, upstream),
            Ok(Step::Done(used)) => self.answer_done(io, client, upstream, used == rest.len()),
            Ok(Step::Instead(used)) => {
                let clean = used == rest.len();
                self.answer_instead(io, client, upstream, clean);
            }
            Ok(Step::Held(used)) => self.show_answer(io, client, upstream, &rest[used..]),
            Ok(Step::Switched(used)) => self.switch(io, client, upstream, &rest[used..]),
        }
    }

    /// Body bytes that go down as they came, without a copy. None: there is more to them.
    fn pass_body<I: Io>(
        &mut self,
        io: &mut I,
        client: SocketId,
        upstream: SocketId,
        bytes: &[u8],
    ) -> Option<Step> {
        let Worker { upstreams, downstreams, .. } = self;
        let up = upstreams.get_mut(upstream.index())?.as_mut()?;
        let serving = &mut downstreams.get_mut(client.index())?.as_mut()?.serving;
        let BodyDecoder::Length(left) = &mut up.body else { return None };
        if up.phase != upstream::Phase::Body || !serving.passes_data() {
            return None;
        }
        let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
        *left -= count as u64;
        let is_done = *left == 0;
        serving.response_bytes += count as u64;
        serving.answer_ended |= is_done;
        self.send_downstream(io, client, &bytes[..count]);
        Some(if is_done { Step::Done(count) } else { Step::More })
    }

    /// Takes heads and body off `bytes` and writes what goes down to `out`. `Incomplete` leaves all input to the caller,
    /// which only heads do; interim heads before it are skipped again then, and counted once by their scanner.
    fn answer_steps(
        &mut self,
        client: SocketId,
        upstream: SocketId,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, Failure> {
        let mut at = 0;
        loop {
            let Some(up) = self.upstream(upstream) else { return Err(Failure::UpstreamClosed) };
            if up.phase == upstream::Phase::Body {
                return self.answer_body(client, upstream, bytes, at, out);
            }
            let scanned = up.scanner.scan(&bytes[at..], RESPONSE_HEAD_BYTES_MAX).map_err(bad)?;
            let Some(length) = scanned else {
                if at > 0 {
                    // Interim heads are gone; keep only what follows them.
                    up.input.extend_from_slice(&bytes[at..]);
                    return Ok(Step::More);
                }
                return Ok(Step::Incomplete);
            };
            up.scanner = Default::default();
            let (head, rest) = bytes[at..].split_at(length);
            match self.answer_head(client, upstream, head, rest, out)? {
                Head::Begun => at += length,
                Head::Switched => return Ok(Step::Switched(at + length)),
                Head::Instead => return Ok(Step::Instead(at + length)),
                Head::Held => return Ok(Step::Held(at + length)),
                Head::SwitchHeld => return Ok(Step::Held(at)),
                Head::Waits if at == 0 => return Ok(Step::Incomplete),
                Head::Waits => {
                    keep_input(self, upstream, &bytes[at..]);
                    return Ok(Step::More);
                }
            }
        }
    }

    /// One head of the answer, written or, where the program wants to see it, kept; `rest` is what came with it.
    fn answer_head(
        &mut self,
        client: SocketId,
        upstream: SocketId,
        head: &[u8],
        rest: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Head, Failure> {
        let mut spans: Vec<HeaderSpan<'_>> = self.scratch.take_spans();
        let now_ns = self.now().monotonic_ns;
        let now = (self.now_ms(), self.now().unix_ms);
        let Worker { upstreams, downstreams, metrics, .. } = self;
        let (Some(Some(up)), Some(Some(down))) =
            (upstreams.get_mut(upstream.index()), downstreams.get_mut(client.index()))
        else {
            return Err(Failure::UpstreamClosed);
        };
        let serving = &down.serving;
        let mut space = request::field_space();
        let asked = response::Asked { head: serving.asks_head, upgrade: serving.switch.as_deref() };
        let answer = response::parse(head, asked, &mut space).map_err(bad)?;
        spans.extend(
            answer.fields.iter().map(|field| HeaderSpan { name: field.name.as_bytes(), value: field.value }),
        );
        let parsed = ResponseHead {
            status: answer.status,
            reason: answer.reason,
            http_minor: answer.minor,
            headers: &spans,
        };
        let Some(exchange) = down.exchange.as_mut() else { return Err(Failure::ClientGone) };
        if answer.is_interim() {
            up.interim_bytes += head.len();
            if up.interim_bytes > INTERIM_BYTES_MAX {
                return Err(Failure::BadResponse("too many interim responses"));
            }
            self.write_interim(client, &parsed, out);
            self.scratch.give_spans(spans);
            return Ok(Head::Begun);
        }
        let switches = answer.status == 101;
        let body = match (&answer.body, answer.length) {
            _ if switches => Body::Unframed,
            // Its length is that of a body that does not come.
            _ if serving.asks_head && !serving.head_method => Body::Length(0),
            (BodyDecoder::Empty, Some(length)) if answer.status != 204 => Body::Length(length),
            (BodyDecoder::Empty, _) => Body::Unframed,
            (BodyDecoder::Length(length), _) => Body::Length(*length),
            (BodyDecoder::Chunked(_) | BodyDecoder::UntilClose, _) => Body::Chunked,
        };
        let ahead = match body {
            Body::Chunked if exchange.needs_length() => {
                let ahead = ahead_of(answer.body, rest);
                // The first bytes decide (Caddy: responseWriter.Write); an event stream's client must not wait for them.
                if ahead == Some(0) && !up.finished && !is_event_stream(&spans) {
                    self.scratch.give_spans(spans);
                    return Ok(Head::Waits);
                }
                ahead.unwrap_or(0)
            }
            _ => 0,
        };
        up.body = answer.body;
        up.persistent = answer.persistent;
        up.phase = upstream::Phase::Body;
        let (parsed, body) = match &serving.caching {
            None => (parsed, body),
            Some(_) => match down.serving.judge_kept(exchange, &parsed, body, now) {
                Verdict::Pass => (parsed, body),
                Verdict::NotModified => (ResponseHead { status: 304, reason: b"", ..parsed }, Body::Unframed),
                Verdict::Instead => {
                    let latency_ns = now_ns - up.requested_ns;
                    metrics.observe(Histogram::UpstreamResponse, latency_ns);
                    self.note_answer(client, answer.status, latency_ns);
                    self.scratch.give_spans(spans);
                    return Ok(Head::Instead);
                }
            },
        };
        let was_seen = switches && down.serving.held.take().is_some();
        let Regard { is_seen, is_judged } = match switches {
            true if was_seen => Regard::default(),
            true => down.serving.regard_switch(exchange, &parsed),
            false => down.serving.regard_answer(exchange, &parsed, body),
        };
        if is_seen {
            up.phase = upstream::Phase::Held;
        }
        if !was_seen {
            let latency_ns = now_ns - up.requested_ns;
            metrics.observe(Histogram::UpstreamResponse, latency_ns);
            if is_judged && self.is_unwanted_answer(client, answer.status, latency_ns) {
                self.scratch.give_spans(spans);
                return Err(Failure::UnwantedAnswer(answer.status));
            }
            self.note_answer(client, answer.status, latency_ns);
        }
        if is_seen {
            self.scratch.give_spans(spans);
            return Ok(if switches { Head::SwitchHeld } else { Head::Held });
        }
        if !switches && self.would_seem_to_switch(client, answer.status) {
            self.scratch.give_spans(spans);
            return Err(Failure::BadResponse("the upstream took no WebSocket"));
        }
        let protocol = answer.upgrade.filter(|_| switches);
        self.write_answer_head(
            client,
            Origin::Upstream { head: &parsed, body, ahead, switches: protocol },
            out,
        );
        self.scratch.give_spans(spans);
        Ok(if switches { Head::Switched } else { Head::Begun })
    }

    fn answer_body(
        &mut self,
        client: SocketId,
        upstream: SocketId,
        bytes: &[u8],
        from: usize,
        out: &mut Vec<u8>,
    ) -> Result<Step, Failure> {
        let Worker { upstreams, downstreams, .. } = self;
        let (Some(Some(up)), Some(Some(down))) =
            (upstreams.get_mut(upstream.index()), downstreams.get_mut(client.index()))
        else {
            return Err(Failure::UpstreamClosed);
        };
        let mut at = from;
        while at < bytes.len() && !up.body.is_done() {
            let piece = up.body.next(&bytes[at..]).map_err(bad)?;
            down.serving.write_data(piece.body(&bytes[at..]), out);
            down.serving.trailer_lines.extend_from_slice(piece.trailer_lines(&bytes[at..]));
            at += piece.consumed;
        }
        if !up.body.is_done() {
            down.serving.write_pause(out);
            return Ok(Step::More);
        }
        down.serving.take_trailer_lines();
        down.serving.write_end(out);
        Ok(Step::Done(at))
    }

    /// More of the answer is to come: its next deadline, and backpressure where the client does not read.
    pub fn hold_back<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId) {
        let deadline_ms = self.now_ms() + self.attempt_limits(client).read_timeout_ms;
        if self.is_full(io, client) {
            let kept_max = self.cluster_timeout(client, |state| state.response_buffer_bytes as u64, 0);
            if self.pending(io, client) as u64 > kept_max {
                self.pause_upstream(io, client, upstream);
            }
        } else if self.holds_pace(client) {
            self.pause_upstream(io, client, upstream);
        } else if !self.is_stream(upstream) {
            io.set_read_ahead(upstream, self.read_ahead(io, client));
        }
        let Some(up) = self.upstream(upstream) else { return };
        if up.phase != upstream::Phase::Head {
            self.set_upstream_deadline(upstream, deadline_ms);
        }
    }

    pub fn pause_upstream<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId) {
        if self.upstream(upstream).is_some_and(|up| !std::mem::replace(&mut up.paused, true)) {
            self.pause(io, upstream);
            self.notify_drained(io, client);
        }
    }

    /// The client took enough of what waited for it.
    pub fn downstream_drained<I: Io>(&mut self, io: &mut I, client: SocketId) {
        if self.downstream(client).is_some_and(|down| down.multiplex.is_some()) {
            return self.mark_multiplex(client);
        }
        if self.is_held_back(client) {
            return;
        }
        if self.downstream(client).is_some_and(|down| down.serving.kept.is_some()) {
            return self.send_kept(io, client);
        }
        if self.downstream(client).is_some_and(|down| down.serving.file.is_some()) {
            return self.send_file(io, client);
        }
        let Some(upstream) = self.downstream(client).and_then(|down| down.serving.upstream) else { return };
        let deadline_ms = self.now_ms() + self.attempt_limits(client).read_timeout_ms;
        if let Some(up) = self.upstream(upstream)
            && up.paused
        {
            up.paused = false;
            if up.phase == upstream::Phase::Body {
                self.set_upstream_deadline(upstream, deadline_ms);
            }
            self.resume(io, upstream);
        }
    }

    /// The upstream closed before its answer began: a head that waited for its body's first bytes goes on without them.
    pub fn head_ended<I: Io>(&mut self, io: &mut I, upstream: SocketId, end: End) {
        let Some(up) = self.upstream(upstream) else { return };
        let Some(client) = up.client.filter(|_| end == End::Finished && !up.input.is_empty()) else {
            return self.attempt_failed(io, upstream, Failure::UpstreamClosed);
        };
        self.answer_bytes(io, client, upstream, &[]);
        match self.upstream(upstream).map(|up| up.phase) {
            Some(upstream::Phase::Head) => self.attempt_failed(io, upstream, Failure::UpstreamClosed),
            Some(upstream::Phase::Body) => self.answer_ended(io, upstream, end),
            Some(upstream::Phase::Held) => {
                if let Some(up) = self.upstream(upstream) {
                    up.ended = Some(end);
                }
            }
            _ => {}
        }
    }

    /// The upstream closed while its answer's body was under way.
    pub fn answer_ended<I: Io>(&mut self, io: &mut I, upstream: SocketId, end: End) {
        let Some(up) = self.upstream(upstream) else { return };
        let Some(client) = up.client else { return };
        if up.body != BodyDecoder::UntilClose || end != End::Finished {
            return self.attempt_failed(io, upstream, Failure::UpstreamClosed);
        }
        up.body = BodyDecoder::Empty;
        up.persistent = false;
        self.send_written(io, client, |worker, out| worker.write_answer_end(client, out));
        self.answer_done(io, client, upstream, true);
    }

    /// The answer is complete: the upstream's connection goes to the pool where it may, the exchange ends.
    pub fn answer_done<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId, clean: bool) {
        self.give_back(io, client, upstream, clean);
        self.finish_exchange(io, client);
    }
}

/// Keeps bytes for the next call.
fn keep_input(worker: &mut Worker, upstream: SocketId, bytes: &[u8]) {
    if let Some(up) = worker.upstream(upstream) {
        up.input.extend_from_slice(bytes);
    }
}

/// Body bytes in `rest`; None where the body is over there, or wrong.
fn ahead_of(mut body: BodyDecoder, rest: &[u8]) -> Option<u64> {
    let (mut at, mut ahead) = (0, 0);
    while at < rest.len() && !body.is_done() {
        let piece = body.next(&rest[at..]).ok()?;
        at += piece.consumed;
        ahead += piece.data as u64;
    }
    (ahead > 0 || !body.is_done()).then_some(ahead)
}

fn is_event_stream(fields: &[HeaderSpan]) -> bool {
    let kind = fields.iter().find(|field| field.name.eq_ignore_ascii_case(b"content-type"));
    crate::encoding::is_event_stream(kind.map(|field| field.value))
}

fn bad(violation: Violation) -> Failure {
    Failure::BadResponse(violation.rule)
}
