//! The end of an exchange and of a connection: log line, metrics, keep-alive, lingering, closing.

use super::{Phase, Waiting};
use crate::access_log::Outcome;
use crate::access_log::errors::IncompleteAnswer;
use crate::error::Failure;
use crate::http2::Code;
use crate::limits::*;
use crate::ring::addresses::read_clock;
use crate::ring::{Close, End, Io, SocketId};
use crate::upstream;
use crate::worker::Worker;

impl Worker {
    /// Appends bytes to the client's output, encrypted where it has a session.
    pub fn send_downstream<I: Io>(&mut self, io: &mut I, socket: SocketId, bytes: &[u8]) {
        if self.is_stream(socket) {
            return self.send_stream(io, socket, bytes);
        }
        let Some(down) = self.downstream(socket) else { return };
        if matches!(down.phase, Phase::Closing | Phase::Lingering) || bytes.is_empty() {
            return;
        }
        match down.session.as_mut() {
            None => io.out(socket).extend_from_slice(bytes),
            Some(session) => {
                // A session that cannot be written any more ends with the next read or deadline.
                let _ = session.write(bytes, io.out(socket));
            }
        }
    }

    /// The answer is complete: keeps the connection for the next request, or ends it.
    pub fn finish_exchange<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        if let Some(down) = self.downstream(socket).filter(|down| down.serving.cut_off) {
            down.serving.reason = "an encoder failed";
            return self.abort(io, socket);
        }
        if self.downstream(socket).is_some_and(|down| down.serving.page.is_some()) {
            return self.evaluate_page(io, socket);
        }
        self.log_exchange(socket);
        if self.is_stream(socket) {
            return self.finish_stream(io, socket);
        }
        let deadline_ms = self.now_ms() + self.idle_timeout_ms(socket);
        let Some(down) = self.downstream(socket) else { return };
        let request_done = down.serving.request_done();
        let keep = down.serving.persistent
            && request_done
            && (!down.finished || down.advancing || !down.input.is_empty());
        if !keep {
            return match request_done {
                true => self.close_after_flush(io, socket, Close::AfterFlush),
                false => self.linger(io, socket),
            };
        }
        down.phase = Phase::Head;
        down.idle = true;
        down.serving.waiting = Waiting::Decision;
        (down.serving.request_until_ms, down.serving.answer_until_ms) = (u64::MAX, u64::MAX);
        self.set_downstream_deadline(socket, deadline_ms);
        self.advance_input(io, socket);
    }

    /// Writes the log line and the metrics of the exchange, and gives its buffers back.
    fn log_exchange(&mut self, socket: SocketId) {
        let now_ns = self.now().monotonic_ns;
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return };
        let Some(mut exchange) = down.exchange.take() else { return };
        let serving = &mut down.serving;
        serving.leave_cache();
        if serving.is_copy {
            return self.give_exchange(exchange);
        }
        // The turn's clock is enough for metrics; Caddy's lines and spans tell how long it really took.
        let is_told = exchange.is_logged() || serving.error.is_some() || !exchange.spans.is_empty();
        let now_ns = if is_told { read_clock().monotonic_ns } else { now_ns };
        let duration_ns = now_ns.saturating_sub(serving.started_ns);
        let (host, marker) =
            serving.host.as_ref().map_or(("", ""), |host| (host.name.as_ref(), host.marker.as_ref()));
        let outcome = Outcome {
            status: serving.status,
            request_bytes: serving.body_bytes,
            response_bytes: serving.response_bytes,
            withheld_bytes: serving.withheld_bytes,
            duration_ns,
            upstream: serving.upstream_address,
            tries: serving.attempts,
            host,
            marker,
            reason: serving.reason,
            answered: serving.answered,
            unhandled: serving.unhandled,
            aborted: serving.aborted,
            told_length: serving.told_length,
            untyped: serving.untyped,
        };
        let settings = self.snapshot.settings();
        if settings.access_log {
            self.access_log.line(&exchange, &outcome);
        }
        if settings.exports_spans && !exchange.spans.is_empty() {
            self.access_log.spans(&exchange, &outcome);
        }
        let error = serving.error.take().filter(|error| error.is_told(serving.in_error_routes));
        if (exchange.is_logged() || error.is_some())
            && let (Some(loggers), Some(listener)) =
                (&settings.loggers, self.snapshot.listener(down.peer.listener))
        {
            if exchange.is_logged() {
                exchange.writing_answer = true;
                self.access_log.record(loggers, &listener.name, &exchange, &outcome);
            }
            if let Some(error) = error {
                self.access_log.record_error(loggers, &listener.name, &exchange, &outcome, &error);
            }
        }
        (serving.host, serving.place, serving.ticket) = (None, None, None);
        serving.buffered = Vec::new();
        self.metrics.request(serving.status, duration_ns);
        self.give_exchange(exchange);
    }

    /// The upstream failed in the middle of its answer: a line of the proxy's, where a Caddyfile has loggers.
    pub fn log_incomplete(&mut self, socket: SocketId, failure: Failure) {
        let unix_ms = self.now().unix_ms;
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return };
        let serving = &down.serving;
        let settings = self.snapshot.settings();
        let (Some(host), Some(exchange)) = (serving.host.as_ref(), down.exchange.as_mut()) else { return };
        let (Some(loggers), Some(listener)) =
            (&settings.loggers, self.snapshot.listener(down.peer.listener).filter(|_| !serving.is_copy))
        else {
            return;
        };
        let (method, authority, uri, fields) = exchange.find_upstream_request(host.proxy(serving.row));
        let answer = IncompleteAnswer {
            upstream: exchange.upstream.as_ref().map(|endpoint| endpoint.hostport()).unwrap_or_default(),
            latency_ns: exchange.latency_ns(),
            method,
            host: authority,
            uri,
            fields,
            chunked: serving.chunked,
            error: format!("reading: {}", failure.cut_message()),
        };
        self.access_log.record_incomplete(loggers, &listener.name, exchange, unix_ms, &answer);
    }

    /// An exchange that ends without a complete answer is logged all the same.
    pub fn end_exchange_badly(&mut self, socket: SocketId) {
        let Some(down) = self.downstream(socket) else { return };
        if down.exchange.is_some() {
            if !down.serving.answered {
                down.serving.status = 499;
            }
            if down.serving.reason.is_empty() {
                down.serving.reason = "cut off";
            }
            self.log_exchange(socket);
        }
    }

    /// Notes why, for the log line.
    pub fn fail_exchange(&mut self, socket: SocketId, failure: Failure) {
        if let Some(down) = self.downstream(socket) {
            down.serving.reason = failure.reason();
        }
    }

    /// Closes once the answer is on its way; `timing` watches over its progress.
    pub fn close_after_flush<I: Io>(&mut self, io: &mut I, socket: SocketId, when: Close) {
        if self.is_stream(socket) {
            return self.finish_stream(io, socket);
        }
        let Some(down) = self.downstream(socket) else { return };
        if down.phase == Phase::Closing {
            return;
        }
        let session = down.session.as_mut().filter(|session| session.is_established());
        if let Some(session) = session.filter(|_| down.phase != Phase::Lingering) {
            session.close(io.out(socket));
        }
        self.close_silently(io, socket, when);
    }

    /// An answer that was begun cannot go on: the client gets what there is of it, and its connection ends without
    /// close_notify. To HTTP/1.0, whose answers may end by their connection's end, nothing more is sent.
    pub fn cut_answer<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let is_framed =
            self.downstream(socket).is_some_and(|down| down.serving.http_minor > 0 && !down.serving.is_copy);
        if !is_framed || self.is_stream(socket) {
            return self.abort(io, socket);
        }
        self.end_exchange_badly(socket);
        self.close_silently(io, socket, Close::AfterFlush);
    }

    fn close_silently<I: Io>(&mut self, io: &mut I, socket: SocketId, when: Close) {
        let now_ms = self.now_ms();
        let Some(down) = self.downstream(socket) else { return };
        down.phase = Phase::Closing;
        (down.window.sent, down.window.sent_since_ms) = (io.sent(socket), now_ms);
        let window_ms = down.paces().1.window_ms;
        io.close(socket, when);
        self.set_downstream_deadline(socket, now_ms + window_ms);
    }

    /// Closes after the client had time to read the answer: unread input would make the kernel send a reset.
    pub fn linger<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        if self.is_stream(socket) {
            return self.finish_stream(io, socket);
        }
        let deadline_ms = self.now_ms() + LINGER_TIMEOUT_MS;
        let Some(down) = self.downstream(socket) else { return };
        if matches!(down.phase, Phase::Closing | Phase::Lingering) {
            return;
        }
        if down.finished {
            return self.close_after_flush(io, socket, Close::AfterFlush);
        }
        if let Some(session) = down.session.as_mut().filter(|session| session.is_established()) {
            session.close(io.out(socket));
        }
        down.phase = Phase::Lingering;
        down.input = Vec::new();
        if std::mem::take(&mut down.paused) {
            io.resume(socket);
        }
        io.shutdown(socket);
        self.set_downstream_deadline(socket, deadline_ms);
    }

    /// FIN, close_notify or reset of a client.
    pub fn downstream_ended<I: Io>(&mut self, io: &mut I, socket: SocketId, end: End) {
        let Some(down) = self.downstream(socket) else { return };
        let again = std::mem::replace(&mut down.finished, true);
        match (down.phase, end) {
            (Phase::Closing, End::Finished) => {}
            (Phase::Closing, End::Reset) => io.close(socket, Close::Now),
            (Phase::Tunnel, End::Finished) if again => {}
            (Phase::Serving | Phase::Head | Phase::Tunnel, End::Finished) => {
                self.settle_finished(io, socket);
            }
            (Phase::Serving, End::Reset) => {
                self.fail_exchange(socket, Failure::ClientGone);
                self.abort(io, socket);
            }
            (Phase::Lingering, End::Finished) => self.close_after_flush(io, socket, Close::AfterFlush),
            (Phase::Multiplex, End::Finished) => self.mark_multiplex(socket),
            _ => self.abort(io, socket),
        }
    }

    /// A client that sends nothing more: half-close after whole requests is legal (RFC 9112 9.6), so what it sent before
    /// is answered; a request that can no longer become whole ends it. A tunnel's upstream hears of it once it has all.
    pub fn settle_finished<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let Some(down) = self.downstream(socket) else { return };
        if down.advancing {
            return;
        }
        match down.phase {
            Phase::Head => self.close_after_flush(io, socket, Close::AfterFlush),
            Phase::Tunnel if down.is_spent() => self.tunnel_client_ended(io, socket),
            Phase::Serving if !down.serving.request_done() && down.input.is_empty() => {
                self.fail_exchange(socket, Failure::ClientGone);
                self.abort(io, socket);
            }
            _ => {}
        }
    }

    /// Takes the upstream's connection off a client whose exchange is over before its answer is.
    pub fn release_upstream<I: Io>(&mut self, io: &mut I, client: SocketId) {
        self.drop_rival(io, client);
        let Some(down) = self.downstream(client) else { return };
        down.serving.blocked = false;
        if let Some(upstream) = down.serving.upstream.take() {
            self.close_upstream(io, upstream);
        }
    }

    /// Takes the upstream's connection off a client whose answer is complete: to the pool where it may be used again.
    pub fn give_back<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId, clean: bool) {
        let limits = self.attempt_limits(client);
        let deadline_ms = self.now_ms() + limits.keepalive_timeout_ms;
        let mut request_done = false;
        if let Some(down) = self.downstream(client) {
            request_done = down.serving.upload_done();
            down.serving.upstream = None;
            down.serving.blocked = false;
        }
        if self.is_stream(upstream) {
            return self.end_call(io, upstream, Code::Cancel);
        }
        let Worker { upstreams, pool, .. } = self;
        let Some(Some(up)) = upstreams.get_mut(upstream.index()) else { return };
        up.client = None;
        up.count(false);
        let reusable = up.persistent && !up.exclusive && clean && request_done && !up.finished;
        if reusable && up.requests < REQUESTS_PER_UPSTREAM_MAX {
            up.phase = upstream::Phase::Idle;
            if std::mem::take(&mut up.paused) {
                io.resume(upstream);
            }
            let surplus = pool.put(&up.key, upstream, limits.idle_max);
            self.set_upstream_deadline(upstream, deadline_ms);
            if let Some(surplus) = surplus {
                self.close_upstream(io, surplus);
            }
        } else {
            self.close_upstream(io, upstream);
        }
    }

    pub fn close_upstream<I: Io>(&mut self, io: &mut I, upstream: SocketId) {
        if self.is_stream(upstream) {
            return self.end_call(io, upstream, Code::Cancel);
        }
        if self.pass_dialled_on(upstream) {
            return;
        }
        self.unlist(upstream);
        let Worker { upstreams, pool, .. } = self;
        if let Some(Some(up)) = upstreams.get_mut(upstream.index())
            && up.phase != upstream::Phase::Closing
        {
            if up.phase == upstream::Phase::Idle {
                pool.remove(&up.key, upstream);
            }
            up.client = None;
            up.count(false);
            up.phase = upstream::Phase::Closing;
            io.close(upstream, Close::Now);
        }
    }
}
