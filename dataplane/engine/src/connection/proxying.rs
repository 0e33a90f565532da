//! A request on its way up: picks endpoints, takes pooled connections or dials, retries where that is safe, and sends
//! the head.
//!
//! Rule: another endpoint is tried only where no byte of the request can have been acted on, or where a reused
//! connection closed before any byte of an answer and the request may be repeated (RFC 9110 9.2.2, reliability.md 2.14).

use super::accepting::or_default;
use super::{Phase, Waiting};
use crate::error::Failure;
use crate::exchange::{Body, Connection, Framing};
use crate::limits::*;
use crate::metrics::Counter;
use crate::ring::{Close, End, Io, SocketId};
use crate::snapshot::EndpointRef;
use crate::tls::Session;
use crate::upstream::pool::PoolKey;
use crate::upstream::{self, Upstream};
use crate::worker::Worker;
use rustls_pki_types::ServerName;

impl Worker {
    /// The program chose row `row` of the host's proxy calls.
    pub fn start_proxy<I: Io>(&mut self, io: &mut I, socket: SocketId, row: u32) {
        let now_ms = self.now_ms();
        let Some(down) = self.downstream(socket) else { return };
        let serving = &mut down.serving;
        serving.row = row;
        if serving.length.is_some_and(|length| length > serving.body_bytes_max) {
            return self.fail(io, socket, Failure::BodyTooLarge);
        }
        serving.waiting = Waiting::Upstream;
        let unlimited_ms = u64::MAX - now_ms;
        let duration_ms = self.cluster_timeout(socket, |state| state.try_duration_ms, unlimited_ms);
        if let Some(down) = self.downstream(socket) {
            down.serving.attempts_until_ms = now_ms + duration_ms;
        }
        self.try_endpoint(io, socket, true);
    }

    /// Starts the next attempt. `reuse`: pooled connections may be taken.
    fn try_endpoint<I: Io>(&mut self, io: &mut I, socket: SocketId, reuse: bool) {
        let now_ms = self.now_ms();
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return };
        let (Some(host), Some(exchange)) = (down.serving.host.as_ref(), down.exchange.as_ref()) else {
            return;
        };
        let cluster = &host.proxy(down.serving.row).cluster;
        let serving = &down.serving;
        let attempts_max = (cluster.state().retries as usize + 1).min(ATTEMPTS_MAX);
        let spent = serving.attempts as usize >= attempts_max
            || (serving.attempts > 0 && now_ms >= serving.attempts_until_ms);
        let picked = if spent { None } else { cluster.pick(exchange, &serving.tried, &mut self.picker) };
        let Some(endpoint) = picked else {
            let failure = serving.last_failure.unwrap_or(Failure::NoEndpoint);
            return self.fail(io, socket, failure);
        };
        let name = match &cluster.state().tls {
            Some(tls) => match tls.server_name.clone().or_else(|| name_of(exchange.host())) {
                Some(name) => Some(name),
                None => return self.fail(io, socket, Failure::UpstreamTls),
            },
            None => None,
        };
        down.serving.attempts += 1;
        down.serving.tried.push(endpoint.key);
        down.serving.upstream_address = Some(endpoint.address);
        let key = PoolKey { endpoint: endpoint.key, name };
        match if reuse { self.pool.take(&key) } else { None } {
            Some(pooled) => self.reuse(io, socket, pooled),
            None => self.dial(io, socket, endpoint, key),
        }
    }

    fn reuse<I: Io>(&mut self, io: &mut I, socket: SocketId, pooled: SocketId) {
        self.metrics.add(Counter::UpstreamReused, 1);
        if let Some(up) = self.upstream(pooled) {
            up.client = Some(socket);
            up.reused = true;
            up.count(true);
        }
        if let Some(down) = self.downstream(socket) {
            down.serving.upstream = Some(pooled);
        }
        self.send_request(io, socket, pooled);
    }

    fn dial<I: Io>(&mut self, io: &mut I, socket: SocketId, endpoint: EndpointRef, key: PoolKey) {
        let timeout_ms = self.cluster_timeout(socket, |state| state.connect_timeout_ms, CONNECT_TIMEOUT_MS);
        let Some(upstream) = io.connect(&endpoint.address) else {
            return self.fail(io, socket, Failure::Exhausted);
        };
        self.metrics.add(Counter::UpstreamConnects, 1);
        let generation = self.next_generation();
        self.insert_upstream(upstream, Upstream::new(generation, socket, endpoint, key));
        if let Some(down) = self.downstream(socket) {
            down.serving.upstream = Some(upstream);
        }
        let deadline_ms = self.now_ms() + timeout_ms;
        self.set_upstream_deadline(upstream, deadline_ms);
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
        let name = up.key.name.clone();
        let Some(down) = self.downstream(client) else { return };
        let config = down.serving.host.as_ref().and_then(|host| {
            host.proxy(down.serving.row).cluster.state().tls.as_ref().map(|tls| tls.config.clone())
        });
        match (name, config) {
            (None, None) => self.upstream_ready(io, client, upstream),
            (Some(name), Some(config)) => match Session::client(&config, name) {
                Ok(session) => self.begin_upstream_handshake(io, upstream, session),
                Err(_) => self.attempt_failed(io, upstream, Failure::UpstreamTls),
            },
            // The cluster's TLS policy changed while we dialled: this connection fits neither.
            _ => self.attempt_failed(io, upstream, Failure::ConnectFailed),
        }
    }

    fn begin_upstream_handshake<I: Io>(&mut self, io: &mut I, upstream: SocketId, session: Session) {
        let deadline_ms = self.now_ms() + UPSTREAM_HANDSHAKE_TIMEOUT_MS;
        if let Some(up) = self.upstream(upstream) {
            up.session = Some(session);
            up.phase = upstream::Phase::Handshake;
        }
        self.set_upstream_deadline(upstream, deadline_ms);
        self.upstream_data(io, upstream, &mut []);
    }

    /// Connected, and encrypted where it must be: the request goes up.
    pub fn upstream_ready<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId) {
        self.send_request(io, client, upstream);
        self.advance_input(io, client);
    }

    fn send_request<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId) {
        let (now_ns, timeout_ms) = (
            self.now().monotonic_ns,
            self.cluster_timeout(client, |state| state.write_timeout_ms, UPSTREAM_WRITE_TIMEOUT_MS),
        );
        let mut message = std::mem::take(&mut self.scratch.message);
        message.clear();
        let Some(down) = self.downstream(client) else { return };
        let serving = &mut down.serving;
        let body = match (serving.chunked, serving.length) {
            (true, _) => Body::Chunked,
            (false, Some(length)) => Body::Length(length),
            (false, None) => Body::Unframed,
        };
        let connection = serving.upgrade.as_deref().map_or(Connection::Default, Connection::Upgrade);
        let framing = Framing { body, connection, expect_continue: false };
        serving.waiting = Waiting::Answer;
        let interim = std::mem::take(&mut serving.expects_continue);
        let done = serving.request_done();
        let (Some(host), Some(exchange)) = (serving.host.as_ref(), down.exchange.as_mut()) else { return };
        if let Some(address) = serving.upstream_address {
            exchange.set_upstream(address);
        }
        exchange.write_upstream_head(host.proxy(serving.row), framing, &mut message);
        let sent = io.sent(upstream);
        if let Some(up) = self.upstream(upstream) {
            up.begin(now_ns, sent);
        }
        self.send_upstream(io, upstream, &message);
        self.scratch.message = message;
        if interim {
            // Expect is ours to answer, hop by hop (RFC 9110 10.1.1): the route has accepted the request by now.
            self.send_downstream(io, client, b"HTTP/1.1 100 Continue\r\n\r\n");
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
        let timeout_ms =
            self.cluster_timeout(client, |state| state.response_head_timeout_ms, RESPONSE_HEAD_TIMEOUT_MS);
        let deadline_ms = self.now_ms() + timeout_ms;
        self.set_upstream_deadline(upstream, deadline_ms);
    }

    /// Appends bytes to the upstream's output, encrypted where it has a session.
    pub fn send_upstream<I: Io>(&mut self, io: &mut I, upstream: SocketId, bytes: &[u8]) {
        let Some(up) = self.upstream(upstream) else { return };
        if up.phase == upstream::Phase::Closing || bytes.is_empty() {
            return;
        }
        match up.session.as_mut() {
            None => io.out(upstream).extend_from_slice(bytes),
            Some(session) => {
                // A session that cannot be written any more ends with the next read or deadline.
                let _ = session.write(bytes, io.out(upstream));
            }
        }
    }

    /// An attempt ended before the request was acted on, or may have been: tries again where that is safe.
    pub fn attempt_failed<I: Io>(&mut self, io: &mut I, upstream: SocketId, failure: Failure) {
        let Some(up) = self.upstream(upstream) else { return };
        let (client, reused, answering) = (up.client.take(), up.reused, up.answering);
        up.phase = upstream::Phase::Closing;
        up.count(false);
        io.close(upstream, Close::Now);
        let Some(client) = client else { return };
        let Some(down) = self.downstream(client) else { return };
        if down.phase != Phase::Serving {
            return self.abort(io, client);
        }
        down.serving.upstream = None;
        down.serving.blocked = false;
        down.serving.last_failure = Some(failure);
        let stale = failure == Failure::UpstreamClosed && reused && !answering && down.serving.replayable;
        if down.serving.answered || !(failure.nothing_was_sent() || stale) {
            return self.fail(io, client, failure);
        }
        down.serving.waiting = Waiting::Upstream;
        if stale {
            // The endpoint is fine, its idle connection was not: this attempt does not count.
            down.serving.attempts -= 1;
            down.serving.tried.pop();
        }
        self.metrics.add(Counter::UpstreamConnectFailures, u64::from(!stale));
        self.metrics.add(Counter::UpstreamRetries, 1);
        self.try_endpoint(io, client, !stale);
        self.advance_input(io, client);
    }

    /// FIN, close_notify or reset of an upstream.
    pub fn upstream_ended<I: Io>(&mut self, io: &mut I, upstream: SocketId, end: End) {
        let Some(up) = self.upstream(upstream) else { return };
        up.finished = true;
        match up.phase {
            upstream::Phase::Connecting => {}
            upstream::Phase::Handshake => self.attempt_failed(io, upstream, Failure::UpstreamTls),
            upstream::Phase::Head => self.head_ended(io, upstream, end),
            upstream::Phase::Body => self.answer_ended(io, upstream, end),
            upstream::Phase::Idle => self.close_upstream(io, upstream),
            upstream::Phase::Tunnel => self.tunnel_upstream_ended(io, upstream, end),
            upstream::Phase::Closing => {
                if end == End::Reset {
                    io.close(upstream, Close::Now);
                }
            }
        }
    }
}

/// The TLS name that the request's host asks for: without the port.
fn name_of(host: &[u8]) -> Option<ServerName<'static>> {
    let host = std::str::from_utf8(host).ok()?;
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => host.split(':').next()?,
    };
    ServerName::try_from(bare).ok().map(|name| name.to_owned())
}
