//! The way of a datagram: from a listener to the client's session, which may begin with it, and back.

use super::sessions::Client;
use super::{LISTENER_KEY, SESSION_KEY, Session, Upstream};
use crate::access_log::Outcome;
use crate::connection::Deadline;
use crate::exchange::{Exchange, ListenerId, Peer};
use crate::limits::*;
use crate::metrics::Counter;
use crate::program::run::Decision;
use crate::protocol::{Stream, Transport};
use crate::ring::{Io, datagrams, unix_paths};
use crate::snapshot::{Attempt, Cluster, EndpointKey, VirtualHost};
use crate::timers::Entry;
use crate::upstream;
use crate::worker::Worker;
use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

impl Worker {
    /// Whether the listener, which the snapshot has, takes datagrams.
    pub fn takes_datagrams(&self, listener: ListenerId) -> bool {
        self.snapshot.listener(listener).is_some_and(|found| found.transport == Transport::Udp)
    }

    /// Takes datagrams from a socket; sessions of the listener's former one go on.
    pub fn listen_datagrams<I: Io>(&mut self, io: &mut I, listener: ListenerId, socket: OwnedFd) {
        self.close_datagram_socket(io, listener);
        if self.drain.is_none() {
            io.watch(LISTENER_KEY | listener.0, socket.as_fd());
        }
        self.datagrams.listening.push((listener, socket));
    }

    /// No more from this socket. Its sessions end where the listener is gone, and not where it moves.
    pub fn unlisten_datagrams<I: Io>(&mut self, io: &mut I, listener: ListenerId) {
        self.close_datagram_socket(io, listener);
        if !self.takes_datagrams(listener) {
            for slot in self.datagrams.table.slots(Some(listener)) {
                self.end_session(io, slot, "");
            }
        }
    }

    fn close_datagram_socket<I: Io>(&mut self, io: &mut I, listener: ListenerId) {
        if self.datagrams.socket(listener).is_some() {
            io.unwatch(LISTENER_KEY | listener.0);
            self.datagrams.listening.retain(|(id, _)| *id != listener);
        }
    }

    /// Another engine takes what clients send from now on; what was asked here may still be answered.
    pub fn drain_datagrams<I: Io>(&mut self, io: &mut I) {
        for index in 0..self.datagrams.listening.len() {
            io.unwatch(LISTENER_KEY | self.datagrams.listening[index].0.0);
        }
        for slot in self.datagrams.table.slots(None) {
            if let Some((_, session)) = self.datagrams.table.get(slot) {
                session.idle_ms = session.idle_ms.min(DATAGRAM_DRAIN_IDLE_MS);
            }
            self.keep_session(slot);
        }
    }

    pub fn end_sessions<I: Io>(&mut self, io: &mut I) {
        for slot in self.datagrams.table.slots(None) {
            self.end_session(io, slot, "drained");
        }
    }

    pub fn datagrams_readable<I: Io>(&mut self, io: &mut I, key: u32) {
        match key & LISTENER_KEY {
            0 => self.pass_down(key),
            _ => self.take_from_clients(io, ListenerId(key & !LISTENER_KEY)),
        }
    }

    pub fn session_timer<I: Io>(&mut self, io: &mut I, entry: Entry, now_ms: u64) {
        let slot = entry.key & !SESSION_KEY;
        let Worker { datagrams, wheel, .. } = self;
        let Some((_, session)) = datagrams.table.get(slot) else { return };
        if session.generation == entry.generation && session.deadline.is_due(wheel, entry, now_ms) {
            self.end_session(io, slot, "");
        }
    }

    fn take_from_clients<I: Io>(&mut self, io: &mut I, listener: ListenerId) {
        let mut batch = self.datagrams.batch.take().unwrap_or_default();
        for _ in 0..DATAGRAM_CALLS_PER_EVENT {
            let Some(socket) = self.datagrams.socket(listener) else { break };
            let Ok(count) = batch.receive(socket) else { break };
            self.metrics.add(Counter::DatagramsFromClients, count as u64);
            self.metrics.add(Counter::DownstreamBytesReceived, batch.total_bytes());
            for index in 0..count {
                let client = Client { listener, address: batch.source(index), local: batch.local(index) };
                self.pass_up(io, client, batch.payload(index));
            }
            if count < DATAGRAMS_PER_CALL {
                break;
            }
        }
        self.datagrams.batch = Some(batch);
    }

    fn pass_up<I: Io>(&mut self, io: &mut I, client: Client, payload: &[u8]) {
        // Nobody can be answered there.
        if client.address.port() == 0 {
            return;
        }
        let found = match self.datagrams.table.find(&client) {
            Some(slot) => self.judge_session(io, slot, &client).then_some(slot),
            None => self.open_session(io, client),
        };
        let Some(slot) = found else { return };
        self.keep_session(slot);
        let send = |worker: &mut Worker| match worker.datagrams.table.get(slot) {
            Some((_, session)) => {
                session.received_bytes += payload.len() as u64;
                datagrams::send(session.upstream.socket.as_fd(), payload)
            }
            None => Ok(()),
        };
        let sent = match send(self) {
            // The answer to a datagram before: nobody was there.
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::InvalidInput) => {
                self.upstream_refused(slot);
                self.move_session(io, slot, &client) && send(self).is_ok()
            }
            sent => sent.is_ok(),
        };
        match sent {
            true => {
                self.metrics.add(Counter::DatagramsToUpstreams, 1);
                self.metrics.add(Counter::UpstreamBytesSent, payload.len() as u64);
            }
            false => self.metrics.add(Counter::DatagramsDropped, 1),
        }
    }

    fn pass_down(&mut self, slot: u32) {
        let now_ns = self.now().monotonic_ns;
        let mut batch = self.datagrams.batch.take().unwrap_or_default();
        for _ in 0..DATAGRAM_CALLS_PER_EVENT {
            let Some((client, session)) = self.datagrams.table.get(slot) else { break };
            let client = *client;
            let count = match batch.receive(session.upstream.socket.as_fd()) {
                Ok(count) => count,
                Err(error) => {
                    if error.kind() != ErrorKind::WouldBlock {
                        self.upstream_refused(slot);
                    }
                    break;
                }
            };
            session.sent_bytes += batch.total_bytes();
            let (standing, answered) =
                (session.upstream.standing.take(), Attempt::Answered { status: 101, latency_ns: 0 });
            upstream::report(&self.metrics, &session.upstream.cluster, standing, answered, now_ns);
            self.keep_session(slot);
            self.metrics.add(Counter::UpstreamBytesReceived, batch.total_bytes());
            self.metrics.add(Counter::DownstreamBytesSent, batch.total_bytes());
            let Some(socket) = self.datagrams.socket(client.listener) else { break };
            let taken = batch.send_to(socket, client.address, client.local);
            self.metrics.add(Counter::DatagramsToClients, taken as u64);
            self.metrics.add(Counter::DatagramsDropped, (count - taken) as u64);
            if count < DATAGRAMS_PER_CALL {
                break;
            }
        }
        self.datagrams.batch = Some(batch);
    }

    /// The endpoint of a session is not there.
    fn upstream_refused(&mut self, slot: u32) {
        let now_ns = self.now().monotonic_ns;
        let Some((_, session)) = self.datagrams.table.get(slot) else { return };
        session.broken = true;
        self.metrics.add(Counter::UpstreamConnectFailures, 1);
        let standing = session.upstream.standing.take();
        upstream::report(&self.metrics, &session.upstream.cluster, standing, Attempt::Failed, now_ns);
    }

    /// The session lasts from now on.
    fn keep_session(&mut self, slot: u32) {
        let now_ms = self.now_ms();
        let Worker { datagrams, wheel, .. } = self;
        if let Some((_, session)) = datagrams.table.get(slot) {
            let generation = session.generation;
            session.deadline.set(wheel, slot | SESSION_KEY, generation, now_ms + session.idle_ms);
        }
    }

    fn open_session<I: Io>(&mut self, io: &mut I, client: Client) -> Option<u32> {
        if !self.datagrams.table.has_room() {
            self.metrics.add(Counter::RefusedOverload, 1);
            return None;
        }
        let (host, row, exchange) = self.admit_client(&client)?;
        let upstream = self.dial_datagrams(&host.proxy(row).cluster, &exchange, Vec::new());
        self.give_exchange(exchange);
        let Some((upstream, tries)) = upstream else {
            self.metrics.add(Counter::UpstreamErrors, 1);
            return None;
        };
        let generation = self.next_generation();
        let listener = self.snapshot.listener(client.listener);
        let session = Session {
            generation,
            host,
            upstream,
            broken: false,
            started: self.now(),
            idle_ms: listener.map_or(DATAGRAM_IDLE_TIMEOUT_MS, |listener| listener.idle_timeout_ms),
            judged_ms: self.now_ms(),
            deadline: Deadline::default(),
            received_bytes: 0,
            sent_bytes: 0,
            tries,
        };
        let slot = self.datagrams.table.insert(client, session)?;
        self.metrics.add(Counter::DatagramSessions, 1);
        self.watch_session(io, slot);
        Some(slot)
    }

    fn watch_session<I: Io>(&mut self, io: &mut I, slot: u32) {
        if let Some((_, session)) = self.datagrams.table.get(slot) {
            io.watch(slot, session.upstream.socket.as_fd());
        }
    }

    /// Whether a session may go on: what is served has changed, its endpoint has gone, or it refused.
    fn judge_session<I: Io>(&mut self, io: &mut I, slot: u32, client: &Client) -> bool {
        let now_ms = self.now_ms();
        let Some((_, session)) = self.datagrams.table.get(slot) else { return false };
        if session.broken {
            return self.move_session(io, slot, client);
        }
        if now_ms < session.judged_ms + DATAGRAM_JUDGED_EVERY_MS {
            return true;
        }
        let key = session.upstream.endpoint.key;
        let Some((host, row, exchange)) = self.admit_client(client) else {
            self.end_session(io, slot, "not admitted any more");
            return false;
        };
        self.give_exchange(exchange);
        let stays = host.proxy(row).cluster.state().has(key);
        if let Some((_, session)) = self.datagrams.table.get(slot) {
            (session.host, session.judged_ms) = (host, now_ms);
        }
        stays || self.move_session(io, slot, client)
    }

    /// To another endpoint; where there is no other, to any.
    fn move_session<I: Io>(&mut self, io: &mut I, slot: u32, client: &Client) -> bool {
        let Some((_, session)) = self.datagrams.table.get(slot) else { return false };
        let former = session.upstream.endpoint.key;
        let Some((host, row, exchange)) = self.admit_client(client) else {
            self.end_session(io, slot, "not admitted any more");
            return false;
        };
        let cluster = &host.proxy(row).cluster;
        let dialled = self.dial_datagrams(cluster, &exchange, vec![former]);
        let dialled = dialled.or_else(|| self.dial_datagrams(cluster, &exchange, Vec::new()));
        self.give_exchange(exchange);
        let Some((upstream, tries)) = dialled else {
            self.metrics.add(Counter::UpstreamErrors, 1);
            self.end_session(io, slot, "no upstream");
            return false;
        };
        self.metrics.add(Counter::UpstreamRetries, 1);
        io.unwatch(slot);
        if let Some((_, session)) = self.datagrams.table.get(slot) {
            (session.host, session.upstream, session.broken) = (host, upstream, false);
            session.tries += tries;
        }
        self.watch_session(io, slot);
        true
    }

    /// The route program's word on a client, and the proxy call that it names. Whatever else it says is a refusal.
    fn admit_client(&mut self, client: &Client) -> Option<(Arc<VirtualHost>, u32, Box<Exchange>)> {
        let host = self.snapshot.find(client.listener, b"").cloned();
        let host = host.filter(|host| host.stream == Stream::PassThrough && host.deny().is_none());
        let decided = host.and_then(|host| {
            let exchange = self.begin_datagrams(client);
            let (decision, exchange) = self.decide_stream(&host, exchange);
            match decision {
                Some(row) => Some((host, row, exchange)),
                None => {
                    self.give_exchange(exchange);
                    None
                }
            }
        });
        self.metrics.add(Counter::RefusedPolicy, u64::from(decided.is_none()));
        decided
    }

    fn begin_datagrams(&mut self, client: &Client) -> Box<Exchange> {
        let mut exchange = self.take_exchange();
        let listener = self.snapshot.listener(client.listener);
        let (port, external_port) = listener.map_or((0, 0), |found| (found.port, found.external_port));
        let local = client.local.unwrap_or(Ipv6Addr::UNSPECIFIED.into());
        let peer = Peer {
            listener: client.listener,
            remote: client.address,
            local: SocketAddr::new(local, port),
            tls: None,
            trusted: false,
            external_port,
        };
        exchange.begin_stream(b"", &peer, self.snapshot.settings(), self.now());
        exchange
    }

    /// The proxy call that the program chose for a connection or session; None: it may not go on.
    pub fn decide_stream(
        &mut self,
        host: &Arc<VirtualHost>,
        mut exchange: Box<Exchange>,
    ) -> (Option<u32>, Box<Exchange>) {
        match self.machine.run(host, &mut exchange, 0) {
            Ok(Decision::Proxy(row)) => (Some(row), exchange),
            _ => (None, exchange),
        }
    }

    /// A socket to an endpoint that is none of `tried`, and how many were tried for it.
    fn dial_datagrams(
        &mut self,
        cluster: &Arc<Cluster>,
        exchange: &Exchange,
        mut tried: Vec<EndpointKey>,
    ) -> Option<(Upstream, u32)> {
        let now = self.now();
        for tries in 1..=DATAGRAM_DIALS_MAX {
            let picked = cluster.pick(exchange, &tried, now.monotonic_ns / 1_000_000)?;
            let address = picked.endpoint.address;
            tried.push(picked.endpoint.key);
            if unix_paths::is_stand_in(address.ip()) {
                continue;
            }
            self.metrics.add(Counter::UpstreamConnects, 1);
            match datagrams::connect(&address) {
                Ok(socket) => {
                    let upstream = Upstream::new(socket, cluster.clone(), picked.endpoint, picked.standing);
                    return Some((upstream, tries));
                }
                Err(_) => {
                    self.metrics.add(Counter::UpstreamConnectFailures, 1);
                    let (standing, now_ns) = (picked.standing, now.monotonic_ns);
                    upstream::report(&self.metrics, cluster, standing, Attempt::Failed, now_ns);
                }
            }
        }
        None
    }

    fn end_session<I: Io>(&mut self, io: &mut I, slot: u32, reason: &'static str) {
        let Some((client, session)) = self.datagrams.table.remove(slot) else { return };
        io.unwatch(slot);
        if !self.snapshot.settings().access_log {
            return;
        }
        let exchange = self.begin_datagrams(&client);
        let outcome = Outcome {
            status: 101,
            request_bytes: session.received_bytes,
            response_bytes: session.sent_bytes,
            withheld_bytes: 0,
            duration_ns: self.now().monotonic_ns.saturating_sub(session.started.monotonic_ns),
            upstream: Some(session.upstream.address()),
            tries: session.tries,
            host: &session.host.name,
            marker: &session.host.marker,
            reason,
            answered: session.sent_bytes > 0,
            unhandled: false,
            aborted: false,
            told_length: None,
            untyped: false,
        };
        self.access_log.line(&exchange, &outcome);
        self.give_exchange(exchange);
    }
}
