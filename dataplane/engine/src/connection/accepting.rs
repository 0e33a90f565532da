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
use crate::tls::Session;
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
        let listener = self.snapshot.listeners().iter().find(|listener| listener.id == id);
        let (is_tls, proxy_protocol) =
            listener.map_or((false, false), |found| (found.tls, found.proxy_protocol));
        let known = listener.is_some();
        let external_port = listener.map_or(0, |found| found.external_port);
        let peer = Peer { listener: id, remote, local, external_port, tls: None, trusted };
        let generation = self.next_generation();
        let phase = if proxy_protocol { Phase::ProxyHeader } else { Phase::Head };
        self.insert_downstream(socket, Downstream::new(generation, peer, phase, is_tls));
        if !known || (proxy_protocol && !trusted) {
            self.metrics.add(Counter::RefusedProxyProtocol, u64::from(proxy_protocol));
            return self.abort(io, socket);
        }
        match proxy_protocol {
            true => self.set_downstream_deadline(socket, self.now_ms() + PROXY_HEADER_TIMEOUT_MS),
            false => self.begin_transport(io, socket),
        }
    }

    /// After the PROXY header: the handshake, or the first head.
    fn begin_transport<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let now_ms = self.now_ms();
        let settings = self.snapshot.settings();
        let (handshake, head) = (settings.handshake_timeout_ms, settings.request_head_timeout_ms);
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
            return self.set_downstream_deadline(socket, now_ms + or_default(head, REQUEST_HEAD_TIMEOUT_MS));
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
        down.phase = Phase::Handshake;
        match Session::server(policy.map_or(&own, |policy| &policy.config)) {
            Ok(session) => down.session = Some(session),
            Err(_) => self.abort(io, socket),
        }
    }

    /// Bytes from a client as they come from the ring.
    pub fn downstream_data<I: Io>(&mut self, io: &mut I, socket: SocketId, data: &mut [u8]) {
        let Some(down) = self.downstream(socket) else { return };
        match down.phase {
            Phase::Closing => {}
            Phase::ProxyHeader => self.proxy_header(io, socket, data),
            Phase::Hello => self.hello_data(io, socket, data),
            _ if down.session.is_some() => self.records(io, socket, data),
            _ => self.receive(io, socket, data),
        }
    }

    fn proxy_header<I: Io>(&mut self, io: &mut I, socket: SocketId, data: &[u8]) {
        let Some(down) = self.downstream(socket) else { return };
        down.input.extend_from_slice(data);
        match proxy_protocol::parse(&down.input) {
            Ok(None) => {}
            Err(_) => {
                self.metrics.add(Counter::RefusedProxyProtocol, 1);
                self.abort(io, socket);
            }
            Ok(Some(header)) => {
                let mut rest = std::mem::take(&mut down.input).split_off(header.length);
                if let Some(addresses) = header.addresses {
                    down.peer.remote =
                        SocketAddr::new(narrow(addresses.source.ip()), addresses.source.port());
                    down.peer.local = addresses.destination;
                }
                let (listener, ip) = (down.peer.listener, down.peer.remote.ip());
                let trusted = self.snapshot.trusts(listener, ip);
                if let Some(down) = self.downstream(socket) {
                    down.peer.trusted = trusted;
                }
                self.begin_transport(io, socket);
                if !rest.is_empty() {
                    self.downstream_data(io, socket, &mut rest);
                }
            }
        }
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
        let head = or_default(self.snapshot.settings().request_head_timeout_ms, REQUEST_HEAD_TIMEOUT_MS);
        let deadline_ms = self.now_ms() + head;
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
