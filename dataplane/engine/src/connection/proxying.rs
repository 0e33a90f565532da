//! A request on its way up: picks endpoints, takes pooled connections or dials, and sends the head. `retrying` tries
//! again where that is safe.
//!
//! Rule: another endpoint is tried only where no byte of the request can have been acted on, or where a reused
//! connection closed before any byte of an answer and the request may be repeated (RFC 9110 9.2.2, reliability.md 2.14).

use super::accepting::or_default;
use super::switching::NO_WEBSOCKET;
use super::{AttemptLimits, Downstream, Phase, Serving, Waiting};
use crate::error::Failure;
use crate::exchange::{Body, Connection, Exchange, Framing};
use crate::fastcgi::records;
use crate::http1::chunked;
use crate::http2::Code;
use crate::limits::*;
use crate::metrics::Counter;
use crate::proxy_protocol;
use crate::ring::{Close, End, Io, SocketId};
use crate::snapshot::Attempt;
use crate::tls::Session;
use crate::upstream;
use crate::worker::Worker;

impl Worker {
    /// The program chose row `row` of the host's proxy calls.
    pub fn start_proxy<I: Io>(&mut self, io: &mut I, socket: SocketId, row: u32) {
        let now_ms = self.now_ms();
        let Some(down) = self.downstream(socket) else { return };
        if let Some(exchange) = down.exchange.as_mut() {
            exchange.attempts.begin_call();
        }
        let serving = &mut down.serving;
        serving.row = row;
        // A route may proxy again after it saw another upstream's answer.
        (serving.attempts, serving.last_failure, serving.withholds_body) = (0, None, false);
        serving.hedges = 0;
        (serving.place, serving.ticket) = (None, None);
        serving.tried.clear();
        serving.proxy_calls += 1;
        if serving.proxy_calls > PROXY_CALLS_MAX {
            return self.fail(io, socket, Failure::Program("too many proxy calls"));
        }
        if let Err(failure) = serving.check_body(down.exchange.as_deref()) {
            return self.fail(io, socket, failure);
        }
        serving.waiting = Waiting::Upstream;
        let unlimited_ms = u64::MAX - now_ms;
        if let Some(host) = serving.host.as_ref() {
            let state = host.proxy(row).cluster.state();
            serving.attempts_until_ms = now_ms + or_default(state.try_duration_ms, unlimited_ms);
            serving.stream_until_ms = now_ms + or_default(state.stream_timeout_ms, unlimited_ms);
        }
        let caches =
            |down: &mut Downstream| down.exchange.as_ref().is_some_and(|exchange| exchange.cache.is_some());
        if self.downstream(socket).is_some_and(caches) && self.ask_cache(io, socket) {
            return;
        }
        if self.waits_for_body(socket) {
            return self.await_body(io, socket);
        }
        self.enter_cluster(io, socket);
    }

    /// Starts the next attempt. `reuse`: pooled connections may be taken.
    pub fn try_endpoint<I: Io>(&mut self, io: &mut I, socket: SocketId, reuse: bool) {
        let now_ms = self.now_ms();
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return };
        let (serving, Some(exchange)) = (&mut down.serving, down.exchange.as_mut()) else { return };
        let Serving { host: Some(host), tried, row, .. } = serving else { return };
        let cluster = &host.proxy(*row).cluster;
        serving.attempts += 1;
        let mut picked = cluster.pick(exchange, tried, now_ms);
        if picked.is_none() && !tried.is_empty() {
            // All were tried: the next round begins.
            tried.clear();
            picked = cluster.pick(exchange, &[], now_ms);
        }
        let Some(picked) = picked else {
            let failure = serving.last_failure.unwrap_or(Failure::NoEndpoint);
            if failure == Failure::NoEndpoint && cluster.state().may_queue(now_ms) {
                serving.attempts -= 1;
                return self.wait_for_room(io, socket, failure);
            }
            return self.try_again(io, socket, failure);
        };
        if let Err(failure) = self.begin_attempt(io, socket, picked, reuse)
            && !self.fall_back(socket)
        {
            self.fail(io, socket, failure);
        }
    }

    /// An upstream's answer begins: the cluster learns of it, the client may be told to stick.
    pub fn note_answer(&mut self, client: SocketId, status: u16, latency_ns: u64) {
        self.report_attempt(client, Attempt::Answered { status, latency_ns });
        let Some(down) = self.downstream(client) else { return };
        if let Some(exchange) = down.exchange.as_mut() {
            exchange.note_latency(latency_ns);
        }
        if let (Some(cookie), Some(exchange)) = (down.serving.sticky.take(), down.exchange.as_mut()) {
            exchange.answer.push_checked(b"Set-Cookie", &cookie);
        }
    }

    /// Tells the cluster how an attempt ended.
    pub fn report_attempt(&mut self, client: SocketId, attempt: Attempt) {
        let now_ns = self.now().monotonic_ns;
        let Worker { downstreams, metrics, .. } = self;
        let Some(Some(down)) = downstreams.get_mut(client.index()) else { return };
        let standing = down.serving.standing.take();
        if let Some(host) = down.serving.host.as_ref() {
            upstream::report(metrics, &host.proxy(down.serving.row).cluster, standing, attempt, now_ns);
        }
    }

    /// The limits of the attempt that serves this client's request.
    pub fn attempt_limits(&mut self, client: SocketId) -> AttemptLimits {
        self.downstream(client).map(|down| down.serving.limits).unwrap_or_default()
    }

    /// A deadline of the cluster that serves this client's request.
    pub fn cluster_timeout<T: Into<u64>>(
        &mut self,
        client: SocketId,
        of: impl FnOnce(&crate::snapshot::ClusterState) -> T,
        default_ms: u64,
    ) -> u64 {
        let Some(down) = self.downstream(client) else { return default_ms };
        let Some(host) = down.serving.host.as_ref() else { return default_ms };
        or_default(of(&host.proxy(down.serving.row).cluster.state()), default_ms)
    }

    pub fn upstream_connected<I: Io>(&mut self, io: &mut I, upstream: SocketId, connected: bool) {
        let Some(up) = self.upstream(upstream) else { return };
        let Some(client) = up.client else { return io.close(upstream, Close::Now) };
        if !connected {
            return self.attempt_failed(io, upstream, Failure::ConnectFailed);
        }
        let (name, plain) = (up.key.name.clone(), up.endpoint.plain);
        let Some(down) = self.downstream(client) else { return };
        let config = down.serving.host.as_ref().and_then(|host| {
            let state = host.proxy(down.serving.row).cluster.state();
            let upgrades = down.serving.switch.is_some();
            state.tls.as_ref().map(|tls| if upgrades { tls.http1.clone() } else { tls.config.clone() })
        });
        self.greet_upstream(io, client, upstream);
        match (name, config) {
            (None, _) if plain => self.upstream_ready(io, client, upstream),
            (None, None) => self.upstream_ready(io, client, upstream),
            (Some(name), Some(config)) => match Session::client(&config, name) {
                Ok(session) => self.begin_upstream_handshake(io, upstream, session),
                Err(_) => self.attempt_failed(io, upstream, Failure::UpstreamTls),
            },
            // The cluster's TLS policy changed while we dialled: this connection fits neither.
            _ => self.attempt_failed(io, upstream, Failure::ConnectFailed),
        }
    }

    /// The PROXY header that begins a connection, before TLS. Such a connection serves its client alone.
    fn greet_upstream<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId) {
        let version = self.cluster_timeout(client, |state| state.proxy_protocol, 0);
        let Some(exchange) = self.downstream(client).and_then(|down| down.exchange.as_ref()) else { return };
        let (source, dialled) = (exchange.client_address(), exchange.local);
        let Some(up) = self.upstream(upstream).filter(|_| version > 0) else { return };
        up.exclusive = true;
        proxy_protocol::write(version == 2, source, dialled, io.out(upstream));
    }

    fn begin_upstream_handshake<I: Io>(&mut self, io: &mut I, upstream: SocketId, session: Session) {
        let client = self.upstream(upstream).and_then(|up| up.client);
        let timeout_ms = client.map_or(UPSTREAM_HANDSHAKE_TIMEOUT_MS, |client| {
            self.cluster_timeout(client, |state| state.handshake_timeout_ms, UPSTREAM_HANDSHAKE_TIMEOUT_MS)
        });
        let deadline_ms = self.now_ms() + timeout_ms;
        if let Some(up) = self.upstream(upstream) {
            up.session = Some(session);
            up.phase = upstream::Phase::Handshake;
        }
        self.set_upstream_deadline(upstream, deadline_ms);
        self.upstream_data(io, upstream, &mut []);
    }

    /// Connected, and encrypted where it must be: the request goes up.
    pub fn upstream_ready<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId) {
        if self.downstream(client).is_some_and(|down| down.serving.stream) {
            return self.stream_ready(io, client, upstream);
        }
        if !self.begin_shared(io, client, upstream) {
            self.send_request(io, client, upstream);
        }
        self.advance_input(io, client);
    }

    pub fn send_request<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId) {
        let now_ns = self.now().monotonic_ns;
        let mut message = std::mem::take(&mut self.scratch.message);
        message.clear();
        let Some(down) = self.downstream(client) else { return };
        let serving = &mut down.serving;
        let timeout_ms = serving.limits.write_timeout_ms;
        let (Some(host), Some(exchange)) = (serving.host.as_ref(), down.exchange.as_mut()) else { return };
        let call = host.proxy(serving.row);
        let replaced = exchange.replaced_body.as_ref().filter(|_| !call.omits_body());
        let body = match (replaced, serving.chunked, serving.length) {
            _ if call.omits_body() => Body::Unframed,
            (Some(body), ..) => Body::Length(body.len() as u64),
            (None, true, _) => Body::Chunked,
            (None, false, Some(length)) => Body::Length(length),
            (None, false, None) => Body::Unframed,
        };
        serving.withholds_body = call.omits_body() || replaced.is_some();
        let connection = serving.upgrade.as_deref().map_or(Connection::Default, Connection::Upgrade);
        let framing = Framing { body, connection, expect_continue: false };
        serving.waiting = Waiting::Answer;
        let interim = !serving.withholds_body && std::mem::take(&mut serving.expects_continue);
        let (done, fastcgi) = (serving.upload_done(), serving.fastcgi);
        serving.asks_head = exchange.method() == b"HEAD";
        let mut is_last = false;
        if !serving.fastcgi {
            is_last = exchange.write_upstream_head(call, framing, &mut message);
            if let Some(caching) = serving.caching.as_deref() {
                caching.condition_head(&mut message);
            }
            if let (Some(body), false) = (&exchange.replaced_body, call.omits_body()) {
                message.extend_from_slice(body);
            }
            serving.asks_head = message.starts_with(b"HEAD ");
        }
        let head_bytes = message.len();
        let sent = self.sent(io, upstream);
        if let Some(up) = self.upstream(upstream) {
            up.begin(now_ns, sent);
            up.exclusive |= is_last && up.stream.is_none();
        }
        if fastcgi {
            self.write_fastcgi_request(client, upstream, &mut message);
        }
        let http2 = self.is_stream(upstream);
        if http2 && self.refuses_websocket(client, upstream) {
            self.scratch.message = message;
            return self.attempt_failed(io, upstream, NO_WEBSOCKET);
        }
        self.write_buffered_body(client, !http2, &mut message);
        let sent = match http2 {
            true => {
                let (head, body) = message.split_at(head_bytes);
                let opened = self.call_http2(client, upstream, head, done && body.is_empty());
                if opened && !body.is_empty() {
                    self.write_stream(io, upstream, 0, body, done, &[]);
                }
                opened
            }
            false => {
                self.send_upstream(io, upstream, &message);
                true
            }
        };
        self.scratch.message = message;
        if !sent {
            return self.attempt_failed(io, upstream, Failure::StreamRefused);
        }
        if interim {
            // Expect is ours to answer, hop by hop (RFC 9110 10.1.1): the route has accepted the request by now.
            self.send_continue(io, client);
        }
        match done {
            true => self.request_sent(upstream),
            false => {
                let deadline_ms = self.now_ms() + timeout_ms;
                self.set_upstream_deadline(upstream, deadline_ms);
            }
        }
    }

    /// All of the request was handed over: from now on the answer's head is due.
    pub fn request_sent(&mut self, upstream: SocketId) {
        let Some(up) = self.upstream(upstream) else { return };
        if up.phase != upstream::Phase::Head {
            return;
        }
        let Some(client) = up.client else { return };
        let timeout_ms = self.attempt_limits(client).response_head_timeout_ms;
        let first_ms = self.hedge_after_ms(client).filter(|after_ms| *after_ms < timeout_ms);
        if let (Some(first_ms), Some(up)) = (first_ms, self.upstream(upstream)) {
            up.hedge_rest_ms = Some(timeout_ms - first_ms);
        }
        let deadline_ms = self.now_ms() + first_ms.unwrap_or(timeout_ms);
        self.set_upstream_deadline(upstream, deadline_ms);
    }

    /// Appends bytes to the upstream's output, encrypted where it has a session.
    pub fn send_upstream<I: Io>(&mut self, io: &mut I, upstream: SocketId, bytes: &[u8]) {
        let Some(up) = self.upstream(upstream) else { return };
        if up.phase == upstream::Phase::Closing || bytes.is_empty() {
            return;
        }
        if up.stream.is_some() {
            return self.write_stream(io, upstream, 0, bytes, false, &[]);
        }
        match up.session.as_mut() {
            None => io.out(upstream).extend_from_slice(bytes),
            Some(session) => {
                // A session that cannot be written any more ends with the next read or deadline.
                let _ = session.write(bytes, io.out(upstream));
            }
        }
    }

    /// Ends a body whose length was not known.
    pub fn end_upstream_body<I: Io>(&mut self, io: &mut I, upstream: SocketId) {
        let fastcgi = self.upstream(upstream).is_some_and(|up| up.cgi.is_some());
        match self.is_stream(upstream) {
            false if fastcgi => {
                let mut end = Vec::new();
                records::write_stdin_end(&mut end);
                self.send_upstream(io, upstream, &end);
            }
            false => self.send_upstream(io, upstream, chunked::LAST_CHUNK),
            true => self.write_stream(io, upstream, 0, &[], true, &[]),
        }
    }

    /// An attempt ended before the request was acted on, or may have been: tries again where that is safe.
    pub fn attempt_failed<I: Io>(&mut self, io: &mut I, upstream: SocketId, failure: Failure) {
        let Some(up) = self.upstream(upstream) else { return };
        let (client, reused, answering) = (up.client.take(), up.reused, up.answering);
        let waiting = std::mem::take(&mut up.waiting);
        match up.stream.is_some() {
            true => self.end_call(io, upstream, Code::Cancel),
            false => {
                up.phase = upstream::Phase::Closing;
                up.count(false);
                self.unlist(upstream);
                io.close(upstream, Close::Now);
            }
        }
        if let Some(client) = client.filter(|client| !self.outlives(*client, upstream)) {
            self.client_failed(io, client, failure, reused && !answering);
        }
        self.fail_calls(io, upstream, waiting, failure);
    }

    /// The attempt of this client failed, its upstream is gone. `unanswered`: on a connection that had served before, with
    /// no byte of an answer.
    fn client_failed<I: Io>(&mut self, io: &mut I, client: SocketId, failure: Failure, unanswered: bool) {
        let Some(down) = self.downstream(client) else { return };
        if down.phase != Phase::Serving {
            return self.abort(io, client);
        }
        down.serving.upstream = None;
        down.serving.blocked = false;
        down.serving.filling = None;
        down.serving.last_failure = Some(failure);
        let stale = failure == Failure::UpstreamClosed && unanswered && down.serving.replayable;
        if down.serving.answered {
            return self.fail(io, client, failure);
        }
        down.serving.waiting = Waiting::Upstream;
        if stale {
            // The endpoint is fine, its idle connection was not: this attempt does not count.
            down.serving.attempts -= 1;
            down.serving.tried.pop();
            self.metrics.add(Counter::UpstreamRetries, 1);
            self.try_endpoint(io, client, false);
        } else if failure != Failure::StreamRefused || !self.place_refused(io, client) {
            self.report_attempt(client, Attempt::Failed);
            self.metrics.add(Counter::UpstreamConnectFailures, u64::from(failure.nothing_was_sent()));
            let unwanted = matches!(failure, Failure::UnwantedAnswer(_));
            match unwanted || failure.nothing_was_sent() || self.may_repeat(client) {
                true => self.try_again(io, client, failure),
                false => self.fail(io, client, failure),
            }
        }
        self.advance_input(io, client);
    }

    /// FIN, close_notify or reset of an upstream.
    pub fn upstream_ended<I: Io>(&mut self, io: &mut I, upstream: SocketId, end: End) {
        let client = self.upstream(upstream).and_then(|up| up.client);
        let held_back = client.is_some_and(|client| self.is_held_back(client));
        let Some(up) = self.upstream(upstream) else { return };
        up.finished = true;
        // A FastCGI answer ends with its last record only.
        let cut_off = up.cgi.as_ref().is_some_and(|response| !response.is_ended());
        let end = if cut_off { End::Reset } else { end };
        match up.phase {
            upstream::Phase::Connecting => {}
            upstream::Phase::Handshake => self.attempt_failed(io, upstream, Failure::UpstreamTls),
            upstream::Phase::Head => self.head_ended(io, upstream, end),
            upstream::Phase::Body if held_back => up.ended = Some(end),
            upstream::Phase::Body => self.answer_ended(io, upstream, end),
            upstream::Phase::Held => up.ended = Some(end),
            upstream::Phase::Idle => self.close_upstream(io, upstream),
            upstream::Phase::Multiplex => self.end_shared(io, upstream, Failure::UpstreamClosed),
            upstream::Phase::Tunnel => self.tunnel_upstream_ended(io, upstream, end),
            upstream::Phase::Closing => {
                if end == End::Reset {
                    io.close(upstream, Close::Now);
                }
            }
        }
    }
}

impl Serving {
    /// Whether the body can go up: not too large, and not sent to another upstream before.
    fn check_body(&self, exchange: Option<&Exchange>) -> Result<(), Failure> {
        let host = self.host.as_ref();
        if host.is_some_and(|host| host.proxy(self.row).omits_body()) {
            return Ok(());
        }
        let replaced = exchange.and_then(|exchange| exchange.replaced_body.as_ref());
        let length = replaced.map(|body| body.len() as u64).or(self.length);
        if length.is_some_and(|length| length > self.body_bytes_max) {
            return Err(Failure::BodyTooLarge);
        }
        match replaced.is_none() && self.body_bytes > 0 && !self.has_whole_body() {
            true => Err(Failure::BodySpent),
            false => Ok(()),
        }
    }
}
