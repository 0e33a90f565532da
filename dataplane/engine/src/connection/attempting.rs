//! One attempt at an endpoint: by a stream of a shared connection, by a pooled connection, or by one of its own.

use super::{AttemptLimits, Serving};
use crate::error::Failure;
use crate::limits::*;
use crate::metrics::Counter;
use crate::ring::{Io, SocketId};
use crate::snapshot::{Endpoint, EndpointRef, Picked};
use crate::upstream::Upstream;
use crate::upstream::pool::PoolKey;
use crate::worker::Worker;
use rustls_pki_types::ServerName;
use std::sync::atomic::Ordering;

impl Worker {
    /// Takes the request to the endpoint that was picked. Err: it cannot be asked at all.
    pub fn begin_attempt<I: Io>(
        &mut self,
        io: &mut I,
        socket: SocketId,
        picked: Picked,
        reuse: bool,
    ) -> Result<(), Failure> {
        let now_ms = self.now_ms();
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return Ok(()) };
        let (serving, Some(exchange)) = (&mut down.serving, down.exchange.as_mut()) else { return Ok(()) };
        let Serving { host: Some(host), tried, row, .. } = serving else { return Ok(()) };
        let cluster = &host.proxy(*row).cluster;
        serving.ticket = None;
        let (endpoint, state) = (picked.endpoint, cluster.state());
        let name = match state.tls.as_ref().filter(|_| !endpoint.plain) {
            Some(tls) => match tls.server_name.clone().or_else(|| name_of(&endpoint, exchange.host())) {
                Some(name) => Some(name),
                None => return Err(Failure::UpstreamTls),
            },
            None => None,
        };
        serving.limits = AttemptLimits {
            write_timeout_ms: state.write_timeout_ms,
            response_head_timeout_ms: state.response_head_timeout_ms,
            read_timeout_ms: state.read_timeout_ms,
            keepalive_timeout_ms: state.keepalive_timeout_ms,
            idle_max: state.idle_max,
        };
        exchange.begin_attempt(endpoint.clone(), &state, picked.standing.as_deref(), now_ms * 1_000_000);
        let asked = serving.upgrade.as_ref();
        serving.switch = asked.and_then(|_| exchange.upstream_protocol(host.proxy(*row)));
        serving.standing = picked.standing;
        serving.sticky = picked.cookie;
        tried.push(endpoint.key);
        serving.upstream_address = Some(endpoint.address);
        let key = PoolKey { endpoint: endpoint.key, name };
        let may_share = state.proxy_protocol == 0 && !serving.stream;
        let is_clear = key.name.is_none();
        // Over TLS a WebSocket gets a connection of HTTP/1.1.
        let may_multiplex = may_share && (is_clear || serving.switch.is_none());
        let multiplexes = may_multiplex
            && if is_clear { state.http2 } else { endpoint.streams_max.load(Ordering::Relaxed) > 0 };
        if multiplexes && let Some((connection, room)) = self.find_shared(&key, reuse) {
            self.join(io, socket, connection, room);
            return Ok(());
        }
        let pooled = reuse && may_share && !(multiplexes && is_clear);
        match if pooled { self.pool.take(&key) } else { None } {
            Some(pooled) => self.reuse(io, socket, pooled),
            None => return self.dial(io, socket, endpoint, key, multiplexes),
        }
        Ok(())
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
        io.set_read_ahead(pooled, self.read_ahead_first(socket));
        self.send_request(io, socket, pooled);
    }

    /// `multiplexes`: other requests may wait for this connection to share it.
    fn dial<I: Io>(
        &mut self,
        io: &mut I,
        socket: SocketId,
        endpoint: EndpointRef,
        key: PoolKey,
        multiplexes: bool,
    ) -> Result<(), Failure> {
        let timeout_ms = self.cluster_timeout(socket, |state| state.connect_timeout_ms, CONNECT_TIMEOUT_MS);
        let Some(upstream) = io.connect(&endpoint.address) else {
            return Err(Failure::Exhausted);
        };
        self.metrics.add(Counter::UpstreamConnects, 1);
        let read_ahead = self.read_ahead_first(socket);
        // Of HTTP/2 the windows of its streams bound what comes.
        io.set_read_ahead(upstream, if multiplexes { read_ahead.max(READ_AHEAD_BYTES) } else { read_ahead });
        let generation = self.next_generation();
        if multiplexes {
            self.shared.add(&key, upstream);
        }
        let mut dialled = Upstream::new(generation, socket, endpoint, key);
        dialled.listed = multiplexes;
        self.insert_upstream(upstream, dialled);
        if let Some(down) = self.downstream(socket) {
            down.serving.upstream = Some(upstream);
        }
        let deadline_ms = self.now_ms() + timeout_ms;
        self.set_upstream_deadline(upstream, deadline_ms);
        Ok(())
    }
}

/// The TLS name: the endpoint's own, else what the request's host asks for, without the port.
fn name_of(endpoint: &Endpoint, host: &[u8]) -> Option<ServerName<'static>> {
    if !endpoint.name.is_empty() && !endpoint.is_unix() {
        return ServerName::try_from(&*endpoint.name).ok().map(|name| name.to_owned());
    }
    let host = std::str::from_utf8(host).ok()?;
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => host.split(':').next()?,
    };
    ServerName::try_from(bare).ok().map(|name| name.to_owned())
}
