//! Connections to endpoints that speak HTTP/2, each shared by the requests of many clients: how a request joins one or
//! waits for it, its frames, GOAWAY, PING, its end. `calling` serves the single request on its stream.
//!
//! Rule: a connection takes as many streams as its peer's SETTINGS and `HTTP2_UPSTREAM_STREAMS_MAX` allow, further
//! requests open another; what ends a connection ends no request that the endpoint did not take up (RFC 9113 6.8, 8.7).

use super::Waiting;
use crate::error::Failure;
use crate::http2::frames::Code;
use crate::http2::multiplex::NOBODY;
use crate::http2::{Event, Multiplex, Role};
use crate::limits::*;
use crate::metrics::Counter;
use crate::ring::{Close, Io, SocketId};
use crate::tls::Session;
use crate::upstream::pool::PoolKey;
use crate::upstream::sharing::Room;
use crate::upstream::{Phase, Upstream};
use crate::worker::Worker;
use std::sync::atomic::Ordering;

use super::streams::StreamLink;

impl Worker {
    /// A connection with room for one more request. `reuse`: one that stands already will do.
    pub fn find_shared(&self, key: &PoolKey, reuse: bool) -> Option<(SocketId, Room)> {
        self.shared.of(key).iter().find_map(|socket| {
            let up = self.upstreams.get(socket.index())?.as_deref()?;
            match up.room() {
                Room::None => None,
                Room::Now if !reuse => None,
                room => Some((*socket, room)),
            }
        })
    }

    /// The client's request goes up on a shared connection, now or once that is ready.
    pub fn join<I: Io>(&mut self, io: &mut I, client: SocketId, connection: SocketId, room: Room) {
        let wait_ms = self.cluster_timeout(client, |state| state.connect_timeout_ms, CONNECT_TIMEOUT_MS);
        let deadline_ms = self.now_ms() + wait_ms;
        let call = self.add_call(client, connection, room == Room::Now);
        self.metrics.add(Counter::UpstreamReused, u64::from(room == Room::Now));
        if room == Room::Now {
            return self.send_request(io, client, call);
        }
        if let Some(up) = self.upstream(connection) {
            up.waiting.push(call);
        }
        self.set_upstream_deadline(call, deadline_ms);
    }

    /// An `Upstream` for one request of a shared connection.
    fn add_call(&mut self, client: SocketId, connection: SocketId, reused: bool) -> SocketId {
        let (call, generation) = (self.take_stream_id(), self.next_generation());
        let keepalive_ms = self.attempt_limits(client).keepalive_timeout_ms;
        if let Some(up) = self.upstream(connection) {
            up.keepalive_ms = keepalive_ms;
            let endpoint = up.endpoint.clone();
            let key = PoolKey { endpoint: endpoint.key, name: None };
            let mut stream = Upstream::new(generation, client, endpoint, key);
            stream.reused = reused;
            stream.stream = Some(Box::new(StreamLink { connection, ..StreamLink::default() }));
            self.insert_upstream(call, stream);
        }
        if let Some(down) = self.downstream(client) {
            down.serving.upstream = Some(call);
        }
        call
    }

    /// A connection is ready: it speaks HTTP/2 where TLS agreed on it, or the cluster's endpoints take it in clear text.
    /// False: it speaks HTTP/1.1, and serves its client alone.
    pub fn begin_shared<I: Io>(&mut self, io: &mut I, client: SocketId, connection: SocketId) -> bool {
        let now_ms = self.now_ms();
        let clear = self.cluster_timeout(client, |state| u64::from(state.http2), 0) != 0;
        let websocket = self.wants_websocket(client);
        let upgrades = self.downstream(client).is_some_and(|down| down.serving.switch.is_some());
        let Worker { upstreams, shared, .. } = self;
        let Some(Some(up)) = upstreams.get_mut(connection.index()) else { return false };
        if up.session.is_some() && upgrades {
            // It was told to speak HTTP/1.1, whatever the endpoint speaks besides.
            return false;
        }
        if !up.session.as_ref().map_or(clear, Session::is_http2) {
            up.endpoint.streams_max.store(0, Ordering::Relaxed);
            self.unlist(connection);
            self.place_waiting(io, connection);
            return false;
        }
        up.multiplex = Some(Box::new(Multiplex::new(Role::Client, now_ms)));
        up.phase = Phase::Multiplex;
        (up.client, up.heard_ms) = (None, now_ms);
        up.count(false);
        if !up.exclusive && !std::mem::replace(&mut up.listed, true) {
            shared.add(&up.key, connection);
        }
        self.set_upstream_deadline(connection, now_ms + HTTP2_PING_AFTER_MS);
        if websocket {
            self.join(io, client, connection, Room::Soon);
        } else {
            let call = self.add_call(client, connection, false);
            self.send_request(io, client, call);
        }
        true
    }

    /// Its SETTINGS came: those that waited go up, as far as they have room.
    fn shared_ready<I: Io>(&mut self, io: &mut I, connection: SocketId) {
        let Some(up) = self.upstream(connection) else { return };
        let Some(multiplex) = up.multiplex.as_deref() else { return };
        up.endpoint.streams_max.store(multiplex.streams_max().max(1), Ordering::Relaxed);
        while let Some(up) = self.upstream(connection)
            && up.room() == Room::Now
            && !up.waiting.is_empty()
        {
            let call = up.waiting.remove(0);
            if let Some(client) = self.upstream(call).and_then(|up| up.client) {
                self.send_request(io, client, call);
                self.advance_input(io, client);
            }
        }
        self.place_waiting(io, connection);
    }

    /// Those that still wait for a connection look for another one.
    fn place_waiting<I: Io>(&mut self, io: &mut I, connection: SocketId) {
        let Some(up) = self.upstream(connection) else { return };
        for call in std::mem::take(&mut up.waiting) {
            let Some(client) = self.upstream(call).and_then(|up| up.client) else { continue };
            self.end_call(io, call, Code::Cancel);
            if let Some(down) = self.downstream(client) {
                down.serving.upstream = None;
                down.serving.attempts = down.serving.attempts.saturating_sub(1);
                down.serving.tried.pop();
                self.try_endpoint(io, client, true);
            }
        }
    }

    /// No further request joins this connection.
    pub fn unlist(&mut self, connection: SocketId) {
        let Worker { upstreams, shared, .. } = self;
        if let Some(Some(up)) = upstreams.get_mut(connection.index())
            && std::mem::take(&mut up.listed)
        {
            shared.remove(&up.key, connection);
        }
    }

    /// The one that dials a connection does not want it any more: it serves the first of those that wait. False: none.
    pub fn pass_dialled_on(&mut self, connection: SocketId) -> bool {
        let Some(up) = self.upstream(connection) else { return false };
        if !matches!(up.phase, Phase::Connecting | Phase::Handshake) || up.waiting.is_empty() {
            return false;
        }
        let call = up.waiting.remove(0);
        let client = self.upstreams.get_mut(call.index()).and_then(Option::take).and_then(|call| call.client);
        self.free_streams.push(call.0);
        let Some(up) = self.upstream(connection) else { return false };
        up.client = client;
        if let Some(down) = client.and_then(|client| self.downstream(client)) {
            down.serving.upstream = Some(connection);
        }
        client.is_some()
    }

    /// Frames of a shared connection.
    pub fn shared_frames<I: Io>(&mut self, io: &mut I, connection: SocketId, bytes: &[u8]) {
        let now_ms = self.now_ms();
        let Some(up) = self.upstream(connection) else { return };
        up.heard_ms = now_ms;
        let mut held = std::mem::take(&mut up.input);
        let input = match held.is_empty() {
            true => bytes,
            false => {
                held.extend_from_slice(bytes);
                &held
            }
        };
        if let Some(multiplex) = self.multiplex(connection) {
            multiplex.budget.fill(now_ms);
        }
        self.mark_multiplex(connection);
        let mut at = 0;
        loop {
            let Some(up) = self.upstream(connection) else { return };
            let (Phase::Multiplex, Some(multiplex)) = (up.phase, up.multiplex.as_deref_mut()) else { return };
            match multiplex.receive(input, &mut at) {
                Ok(None) => break,
                Ok(Some(event)) => self.shared_event(io, connection, event, input),
                Err(violation) => {
                    multiplex.end(violation.code);
                    return self.end_shared(io, connection, Failure::BadResponse(violation.rule));
                }
            }
        }
        let Some(up) = self.upstream(connection) else { return };
        match held.is_empty() {
            true => up.input.extend_from_slice(&bytes[at..]),
            false => {
                held.drain(..at);
                up.input = held;
            }
        }
    }

    fn shared_event<I: Io>(&mut self, io: &mut I, connection: SocketId, event: Event, input: &[u8]) {
        let now_ms = self.now_ms();
        match event {
            Event::Head { id, end } => {
                let stream = self.multiplex(connection).and_then(|multiplex| multiplex.streams.get(id));
                let owner = stream.map_or(NOBODY, |stream| stream.owner);
                self.call_head(io, SocketId(owner), id, end);
            }
            Event::Data { owner, bytes, end, .. } => {
                self.call_bytes(io, SocketId(owner), &input[bytes], end);
            }
            Event::Trailers { owner, .. } => self.call_trailers(io, SocketId(owner)),
            Event::Reset { owner, code, .. } => return self.call_reset(io, SocketId(owner), code),
            Event::GoingAway { last, .. } => return self.shared_goes_away(io, connection, last),
            Event::Ready => return self.shared_ready(io, connection),
        }
        if let Some(up) = self.upstream(connection) {
            up.answered_ms = now_ms;
        }
    }

    /// GOAWAY: streams above `last` were not taken up, those below are still served, none is opened.
    fn shared_goes_away<I: Io>(&mut self, io: &mut I, connection: SocketId, last: u32) {
        self.unlist(connection);
        let Some(up) = self.upstream(connection) else { return };
        up.going_away = true;
        let Some(multiplex) = up.multiplex.as_deref() else { return };
        let above = multiplex.streams.iter().filter(|(id, _)| **id > last);
        let lost = above.map(|(_, stream)| SocketId(stream.owner)).collect();
        self.fail_calls(io, connection, lost, Failure::StreamRefused);
        self.place_waiting(io, connection);
        self.settle_shared(io, connection);
    }

    pub fn fail_calls<I: Io>(
        &mut self,
        io: &mut I,
        connection: SocketId,
        calls: Vec<SocketId>,
        failure: Failure,
    ) {
        for call in calls {
            let link = self.upstream(call).and_then(|up| up.stream.as_deref());
            // Another request may have got the number of one that ended with its neighbour.
            if link.is_some_and(|link| link.connection == connection) {
                self.attempt_failed(io, call, failure);
            }
        }
    }

    /// A shared connection, or one that was to be, ended badly; so do its requests.
    pub fn end_shared<I: Io>(&mut self, io: &mut I, connection: SocketId, failure: Failure) {
        let deadline_ms = self.now_ms() + PROGRESS_WINDOW_MS;
        self.unlist(connection);
        let Some(up) = self.upstream(connection) else { return };
        let mut calls = std::mem::take(&mut up.waiting);
        let finished = up.finished;
        if let Some(multiplex) = up.multiplex.as_deref() {
            calls.extend(multiplex.streams.iter().map(|(_, stream)| SocketId(stream.owner)));
            self.flush_multiplex(io, connection);
        }
        if let Some(up) = self.upstream(connection) {
            up.phase = Phase::Closing;
            up.count(false);
            io.close(connection, if finished { Close::Now } else { Close::AfterFlush });
            self.set_upstream_deadline(connection, deadline_ms);
        }
        self.fail_calls(io, connection, calls, failure);
    }

    /// A request is done with its stream, which is reset where a side of it is still open.
    pub fn end_call<I: Io>(&mut self, io: &mut I, call: SocketId, code: Code) {
        let Some(up) = self.upstreams.get_mut(call.index()).and_then(Option::take) else { return };
        self.free_streams.push(call.0);
        let Some(link) = up.stream.as_deref() else { return };
        let connection = link.connection;
        if let Some(shared) = self.upstream(connection) {
            shared.waiting.retain(|waiting| *waiting != call);
        }
        if let Some(multiplex) = self.multiplex(connection) {
            multiplex.leave(link.id, code);
            self.mark_multiplex(connection);
        }
        self.settle_shared(io, connection);
    }

    /// A connection without requests is kept for a while, or ended where none can join it.
    fn settle_shared<I: Io>(&mut self, io: &mut I, connection: SocketId) {
        let surplus = self.pool.len() >= IDLE_UPSTREAMS_MAX;
        let now_ms = self.now_ms();
        let Some(up) = self.upstream(connection) else { return };
        let Some(multiplex) = up.multiplex.as_deref_mut() else { return };
        if up.phase != Phase::Multiplex || !multiplex.streams.is_empty() || !up.waiting.is_empty() {
            return;
        }
        let spent = up.requests >= REQUESTS_PER_UPSTREAM_MAX || !up.listed || surplus;
        let keepalive_ms = up.keepalive_ms;
        match spent || up.going_away || up.exclusive {
            true => self.close_shared(io, connection),
            false => self.set_upstream_deadline(connection, now_ms + keepalive_ms),
        }
    }

    /// Ends a connection that serves nobody.
    fn close_shared<I: Io>(&mut self, io: &mut I, connection: SocketId) {
        let deadline_ms = self.now_ms() + PROGRESS_WINDOW_MS;
        self.unlist(connection);
        if let Some(multiplex) = self.multiplex(connection) {
            multiplex.end(Code::None);
        }
        self.flush_multiplex(io, connection);
        let Some(up) = self.upstream(connection) else { return };
        up.phase = Phase::Closing;
        io.close(connection, Close::AfterFlush);
        self.set_upstream_deadline(connection, deadline_ms);
    }

    /// A stream was opened on a connection: it is watched, and retires after many.
    pub fn note_opened(&mut self, connection: SocketId) {
        let now_ms = self.now_ms();
        let Some(up) = self.upstream(connection) else { return };
        up.requests += 1;
        let (requests, first) =
            (up.requests, up.multiplex.as_ref().is_some_and(|one| one.streams.len() == 1));
        if first {
            // What it said to the last request says nothing about now.
            up.heard_ms = now_ms;
            self.set_upstream_deadline(connection, now_ms + HTTP2_PING_AFTER_MS);
        }
        if requests >= REQUESTS_PER_UPSTREAM_MAX {
            self.unlist(connection);
        }
    }

    /// The deadline of a shared connection: idle long enough, or silent while requests wait for it.
    pub fn shared_timer<I: Io>(&mut self, io: &mut I, connection: SocketId, now_ms: u64) {
        let Some(up) = self.upstream(connection) else { return };
        let Some(multiplex) = up.multiplex.as_deref_mut() else { return };
        if multiplex.streams.is_empty() && up.waiting.is_empty() {
            return self.close_shared(io, connection);
        }
        let next_ms = match (multiplex.ping_pending, up.heard_ms + HTTP2_PING_AFTER_MS) {
            (true, _) if now_ms >= up.pinged_ms + HTTP2_PING_TIMEOUT_MS => {
                return self.end_shared(io, connection, Failure::UpstreamTimeout);
            }
            (true, _) => up.pinged_ms + HTTP2_PING_TIMEOUT_MS,
            (false, silent_ms) if now_ms < silent_ms => silent_ms,
            _ if may_ping(up.answered_ms, up.pinged_ms, now_ms) => {
                multiplex.ping();
                up.pinged_ms = now_ms;
                self.mark_multiplex(connection);
                now_ms + HTTP2_PING_TIMEOUT_MS
            }
            _ => now_ms + HTTP2_PING_AFTER_MS,
        };
        self.set_upstream_deadline(connection, next_ms);
    }

    /// A request that its endpoint did not take up goes to another, or to another connection, and this attempt does not
    /// count; as long as all of it is here. False: it cannot, or was refused too often.
    pub fn place_refused<I: Io>(&mut self, io: &mut I, client: SocketId) -> bool {
        let Some(down) = self.downstream(client) else { return false };
        let serving = &mut down.serving;
        let is_here = serving.withholds_body || serving.buffered.len() as u64 == serving.body_bytes;
        serving.refusals += 1;
        if !is_here || serving.refusals > REFUSALS_MAX {
            return false;
        }
        serving.attempts = serving.attempts.saturating_sub(1);
        serving.waiting = Waiting::Upstream;
        self.metrics.add(Counter::UpstreamRetries, 1);
        self.try_endpoint(io, client, true);
        true
    }
}

/// One PING in a silence: gRPC servers count more as abuse unless they answered requests in between.
fn may_ping(answered_ms: u64, pinged_ms: u64, now_ms: u64) -> bool {
    pinged_ms == 0 || answered_ms > pinged_ms || now_ms >= pinged_ms + HTTP2_PINGS_APART_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ping_in_a_silence_and_the_next_after_an_answer_or_five_minutes() {
        assert!(may_ping(0, 0, 30_000));
        assert!(!may_ping(10_000, 30_000, 60_000));
        assert!(may_ping(31_000, 30_000, 60_000));
        assert!(may_ping(10_000, 30_000, 30_000 + HTTP2_PINGS_APART_MS));
    }
}
