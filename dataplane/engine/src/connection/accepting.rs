//! A new client connection: limits, PROXY header, TLS. Afterwards its plaintext goes to `receiving`.

use super::{Downstream, Phase};
use crate::addresses::narrow;
use crate::error::Failure;
use crate::exchange::{ListenerId, Peer, TlsVersion};
use crate::limits::*;
use crate::metrics::Counter;
use crate::protocol::{Stream, Transport};
use crate::proxy_protocol;
use crate::ring::{Close, End, Io, SocketId};
use crate::snapshot::{Listener, ProxyPolicy};
use crate::tls::{Arrival, Session};
use crate::worker::Worker;
use std::net::SocketAddr;

impl Worker {
    pub fn accept<I: Io>(
        &mut self,
        io: &mut I,
        socket: SocketId,
        key: u32,
        remote: SocketAddr,
        local: SocketAddr,
    ) {
        self.open_downstreams += 1;
        self.metrics.add(Counter::ConnectionsAccepted, 1);
        if self.open_downstreams >= self.downstreams_max {
            self.metrics.add(Counter::RefusedOverload, 1);
            io.set_accepting(false);
        }
        let id = ListenerId(key);
        let remote = SocketAddr::new(narrow(remote.ip()), remote.port());
        let trusted = self.snapshot.trusts(id, remote.ip());
        let listener = self.snapshot.listener(id);
        let policy = listener.and_then(|listener| listener.header_policy(remote.ip(), trusted));
        let timeout_ms = listener.map_or(PROXY_HEADER_TIMEOUT_MS, Listener::header_timeout_ms);
        let is_known = listener.is_some();
        let is_tls = listener.is_some_and(|listener| listener.tls);
        let external_port = listener.map_or(0, |listener| listener.external_port);
        let bounds = listener.and_then(|listener| listener.bounds.clone());
        let peer = Peer { listener: id, remote, local, external_port, tls: None, trusted };
        let generation = self.next_generation();
        let phase = match policy {
            None | Some(ProxyPolicy::Skip) => Phase::Head,
            Some(policy) => Phase::ProxyHeader(policy),
        };
        self.insert_downstream(
            socket,
            Downstream { bounds, ..Downstream::new(generation, peer, phase, is_tls) },
        );
        match policy {
            // A listener that is gone, or a peer that must send a header and may not.
            None => {
                self.metrics.add(Counter::RefusedProxyProtocol, u64::from(is_known));
                self.abort(io, socket);
            }
            Some(ProxyPolicy::Skip) => self.begin_transport(io, socket),
            Some(_) => self.set_downstream_deadline(socket, self.now_ms() + timeout_ms),
        }
    }

    /// After the PROXY header: plain HTTP is redirected where it is to be, else TLS or the first head begins.
    fn begin_transport<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let Some(Some(down)) = self.downstreams.get(socket.index()) else { return };
        match self.snapshot.listener(down.peer.listener).is_some_and(|listener| listener.http_redirect) {
            true => self.await_beginning(socket),
            false => self.open_transport(io, socket),
        }
    }

    /// The handshake, or the first head.
    pub fn open_transport<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let now_ms = self.now_ms();
        let head_ms = self.head_timeout_ms(socket);
        let handshake = self.snapshot.settings().handshake_timeout_ms;
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return };
        let listener = self.snapshot.listener(down.peer.listener);
        let streams = listener.is_some_and(|listener| listener.transport == Transport::Tcp);
        let reads_hello = streams || self.snapshot.reads_hello();
        if streams && !down.is_tls {
            let host = self.snapshot.find(down.peer.listener, b"").cloned();
            return self.start_stream(io, socket, host);
        }
        if !down.is_tls {
            down.phase = Phase::Head;
            return self.set_downstream_deadline(socket, now_ms + head_ms);
        }
        down.phase = Phase::Hello;
        self.set_downstream_deadline(socket, now_ms + or_default(handshake, HANDSHAKE_TIMEOUT_MS));
        if !reads_hello {
            self.begin_handshake(io, socket);
        }
    }

    /// By the policy that the ClientHello found, else by the engine's own.
    pub fn begin_handshake<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let own = self.tls.clone();
        let Some(down) = self.downstream(socket) else { return };
        let policy = down.greeting.as_ref().and_then(|greeting| greeting.policy.as_ref());
        let arrival = Arrival { listener: down.peer.listener, local: down.peer.local.ip() };
        down.phase = Phase::Handshake;
        match Session::server(policy.map_or(&own, |policy| &policy.config), arrival) {
            Ok(session) => down.session = Some(session),
            Err(_) => self.abort(io, socket),
        }
    }

    /// Bytes from a client as they come from the ring.
    pub fn downstream_data<I: Io>(&mut self, io: &mut I, socket: SocketId, data: &mut [u8]) {
        let Some(down) = self.downstream(socket) else { return };
        match down.phase {
            Phase::Closing => {}
            Phase::ProxyHeader(policy) => self.proxy_header(io, socket, policy, data),
            Phase::Beginning => self.beginning_data(io, socket, data),
            Phase::Hello => self.hello_data(io, socket, data),
            _ if down.session.is_some() => self.records(io, socket, data),
            _ => self.receive(io, socket, data),
        }
    }

    fn proxy_header<I: Io>(&mut self, io: &mut I, socket: SocketId, policy: ProxyPolicy, data: &[u8]) {
        let Some(down) = self.downstream(socket) else { return };
        down.input.extend_from_slice(data);
        let begins = proxy_protocol::begins(&down.input);
        if !begins && policy != ProxyPolicy::Require {
            return self.go_without_header(io, socket);
        }
        match proxy_protocol::parse(&down.input) {
            Ok(None) => {}
            Ok(Some(header)) if policy != ProxyPolicy::Reject => {
                let mut rest = std::mem::take(&mut down.input).split_off(header.length);
                if let Some(addresses) = header.addresses.filter(|_| policy != ProxyPolicy::Ignore) {
                    self.adopt_addresses(socket, &addresses);
                }
                self.begin_transport(io, socket);
                if !rest.is_empty() {
                    self.downstream_data(io, socket, &mut rest);
                }
            }
            Ok(Some(_)) | Err(_) => {
                self.metrics.add(Counter::RefusedProxyProtocol, 1);
                self.abort(io, socket);
            }
        }
    }

    fn adopt_addresses(&mut self, socket: SocketId, addresses: &proxy_protocol::Addresses) {
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return };
        down.peer.remote = SocketAddr::new(narrow(addresses.source.ip()), addresses.source.port());
        down.peer.local = addresses.destination;
        down.peer.trusted = self.snapshot.trusts(down.peer.listener, down.peer.remote.ip());
    }

    /// No PROXY header came, and none had to.
    pub fn go_without_header<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let Some(down) = self.downstream(socket) else { return };
        let mut input = std::mem::take(&mut down.input);
        self.begin_transport(io, socket);
        if !input.is_empty() {
            self.downstream_data(io, socket, &mut input);
        }
    }

    /// From the first byte of a head, or from where it could begin.
    pub fn head_timeout_ms(&mut self, socket: SocketId) -> u64 {
        let default = or_default(self.snapshot.settings().request_head_timeout_ms, REQUEST_HEAD_TIMEOUT_MS);
        let bounds = self.downstream(socket).and_then(|down| down.bounds.as_ref());
        bounds.and_then(|bounds| bounds.request_head_timeout_ms).unwrap_or(default)
    }

    pub fn idle_timeout_ms(&mut self, socket: SocketId) -> u64 {
        let default = or_default(self.snapshot.settings().idle_timeout_ms, IDLE_TIMEOUT_MS);
        let bounds = self.downstream(socket).and_then(|down| down.bounds.as_ref());
        bounds.and_then(|bounds| bounds.idle_timeout_ms).unwrap_or(default)
    }

    pub fn records<I: Io>(&mut self, io: &mut I, socket: SocketId, data: &mut [u8]) {
        let mut plain = std::mem::take(&mut self.scratch.plain);
        let mut wire = std::mem::take(&mut self.scratch.wire);
        let Some(down) = self.downstream(socket) else { return };
        let Some(session) = down.session.as_mut() else { return };
        let result = session.read(data, &mut plain, &mut wire);
        if !wire.is_empty() {
            io.out(socket).extend_from_slice(&wire);
            wire.clear();
        }
        match result {
            Err(_) => self.tls_failed(io, socket),
            Ok(progress) => {
                if progress.established {
                    match self.established(socket) {
                        true if self.ends_tls_of_stream(socket) => self.start_terminated_stream(io, socket),
                        true => {}
                        false => {
                            plain.clear();
                            self.tls_failed(io, socket);
                        }
                    }
                }
                if !plain.is_empty() {
                    self.receive(io, socket, &plain);
                }
                if progress.closed {
                    self.downstream_ended(io, socket, End::Finished);
                }
            }
        }
        plain.clear();
        self.scratch.plain = plain;
        self.scratch.wire = wire;
    }

    fn ends_tls_of_stream(&self, socket: SocketId) -> bool {
        let Some(Some(down)) = self.downstreams.get(socket.index()) else { return false };
        let name = down.peer.tls.as_ref().and_then(|tls| tls.server_name.as_deref()).unwrap_or_default();
        self.snapshot.reads_hello()
            && self
                .snapshot
                .find(down.peer.listener, name.as_bytes())
                .is_some_and(|host| host.stream == Stream::Terminate)
    }

    /// False: rustls read another name than we, whose policy may be another one.
    fn established(&mut self, socket: SocketId) -> bool {
        let deadline_ms = self.now_ms() + self.head_timeout_ms(socket);
        let Some(down) = self.downstream(socket) else { return true };
        if !down.take_greeting() {
            return false;
        }
        down.phase = Phase::Head;
        let counter = match down.peer.tls.as_ref().map(|info| info.version) {
            Some(TlsVersion::Tls12) => Counter::TlsHandshakes12,
            _ => Counter::TlsHandshakes13,
        };
        let http2 = down.session.as_ref().is_some_and(Session::is_http2) && !self.ends_tls_of_stream(socket);
        self.metrics.add(counter, 1);
        match http2 {
            true => self.begin_multiplex(socket),
            false => self.set_downstream_deadline(socket, deadline_ms),
        }
        true
    }

    /// The alert is in `out` already: it is sent, then the socket closes.
    fn tls_failed<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let Some(down) = self.downstream(socket) else { return };
        if matches!(down.phase, Phase::Hello | Phase::Handshake) {
            self.metrics.add(Counter::TlsHandshakesFailed, 1);
        }
        self.fail_exchange(socket, Failure::ClientTls);
        self.release_upstream(io, socket);
        self.end_exchange_badly(socket);
        self.close_after_flush(io, socket, Close::AfterFlush);
    }
}

/// Settings count 0 as "the engine's default".
pub fn or_default(setting_ms: impl Into<u64>, default_ms: u64) -> u64 {
    match setting_ms.into() {
        0 => default_ms,
        setting_ms => setting_ms,
    }
}
