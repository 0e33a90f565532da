//! Tunnels after 101: bytes pass unread, both ways, until both sides finished, one fell silent, or its time is up.

use super::Phase;
use crate::http2::Code;
use crate::limits::*;
use crate::metrics::Counter;
use crate::ring::{Close, End, Io, SocketId};
use crate::upstream;
use crate::worker::Worker;
use std::ops::Range;

impl Worker {
    /// A tunnel ends when it idles, or when its time is up.
    pub fn tunnel_deadline_ms(&mut self, client: SocketId) -> u64 {
        let idle_ms = self.now_ms() + TUNNEL_IDLE_TIMEOUT_MS;
        self.downstream(client).map_or(idle_ms, |down| down.serving.stream_until_ms.min(idle_ms))
    }

    /// 101: from here on bytes pass unread, both ways; what came too early goes first.
    pub fn switch<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId, rest: &[u8]) {
        self.metrics.add(Counter::Tunnels, 1);
        let deadline_ms = self.tunnel_deadline_ms(client);
        if let Some(up) = self.upstream(upstream) {
            up.phase = upstream::Phase::Tunnel;
        }
        if let Some(down) = self.downstream(client) {
            down.phase = Phase::Tunnel;
        }
        self.set_downstream_deadline(client, deadline_ms);
        if !rest.is_empty() {
            self.tunnel_down(io, client, upstream, rest);
        }
        self.advance_input(io, client);
    }

    pub fn tunnel_down<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId, bytes: &[u8]) {
        self.send_downstream(io, client, bytes);
        let deadline_ms = self.tunnel_deadline_ms(client);
        self.set_downstream_deadline(client, deadline_ms);
        let Some(down) = self.downstream(client) else { return };
        let before = down.serving.response_bytes;
        down.serving.response_bytes += bytes.len() as u64;
        if self.is_full(io, client) {
            self.pause_upstream(io, client, upstream);
        }
        self.offer_relay(io, client, (upstream, client), before..before + bytes.len() as u64);
    }

    /// A stream of which much passed one way goes on in the kernel; asked again for each part of that size.
    pub fn offer_relay<I: Io>(
        &mut self,
        io: &mut I,
        client: SocketId,
        (from, to): (SocketId, SocketId),
        passed: Range<u64>,
    ) {
        if passed.start / RELAY_BYTES_MIN == passed.end / RELAY_BYTES_MIN {
            return;
        }
        let Some(down) = self.downstream(client).filter(|down| down.serving.stream) else { return };
        let is_plain = down.session.is_none();
        let upstream = if from == client { to } else { from };
        if is_plain && self.upstream(upstream).is_some_and(|up| up.session.is_none() && up.stream.is_none()) {
            io.relay(from, to);
        }
    }

    /// So many bytes of one side of a stream went to the other.
    pub fn relayed(&mut self, from: SocketId, bytes: u64) {
        let upstream = self.upstream(from).map(|up| up.client);
        let client = upstream.map_or(Some(from), |client| client);
        let Some(client) = client else { return };
        let deadline_ms = self.tunnel_deadline_ms(client);
        let Some(down) = self.downstream(client) else { return };
        if upstream.is_some() {
            down.serving.response_bytes += bytes;
            self.metrics.add(Counter::UpstreamBytesReceived, bytes);
        } else {
            down.serving.body_bytes += bytes;
            self.metrics.add(Counter::DownstreamBytesReceived, bytes);
        }
        self.set_downstream_deadline(client, deadline_ms);
    }

    /// The upstream finished: the client hears of it after the bytes before. The tunnel is over once both sides have heard, or
    /// where the upstream reset: that is an end for the client, as behind nginx and HAProxy.
    pub fn tunnel_upstream_ended<I: Io>(&mut self, io: &mut I, upstream: SocketId, end: End) {
        let Some(client) = self.upstream(upstream).and_then(|up| up.client) else { return };
        let Some(down) = self.downstream(client) else { return };
        if end == End::Reset {
            self.release_upstream(io, client);
            return self.cut_answer(io, client);
        }
        if down.is_spent() {
            return self.end_tunnel(io, client);
        }
        if let Some(session) = down.session.as_mut() {
            session.close(io.out(client));
        }
        self.shutdown(io, client);
    }

    /// The counterpart: the client finished, and the upstream was sent all that came.
    pub fn tunnel_client_ended<I: Io>(&mut self, io: &mut I, client: SocketId) {
        let Some(upstream) = self.downstream(client).and_then(|down| down.serving.upstream) else { return };
        let Some(up) = self.upstream(upstream) else { return };
        if up.finished {
            return self.end_tunnel(io, client);
        }
        if let Some(session) = up.session.as_mut() {
            session.close(io.out(upstream));
        }
        self.shutdown(io, upstream);
    }

    fn end_tunnel<I: Io>(&mut self, io: &mut I, client: SocketId) {
        if let Some(upstream) = self.downstream(client).and_then(|down| down.serving.upstream.take()) {
            let sent = self.sent(io, upstream);
            if let Some(up) = self.upstream(upstream) {
                up.client = None;
                up.count(false);
                up.phase = upstream::Phase::Closing;
                up.sent_mark = sent;
                if let Some(session) = up.session.as_mut() {
                    session.close(io.out(upstream));
                }
            }
            if self.is_stream(upstream) {
                self.end_call(io, upstream, Code::Cancel);
            } else {
                io.close(upstream, Close::AfterFlush);
                let deadline_ms = self.now_ms() + PROGRESS_WINDOW_MS;
                self.set_upstream_deadline(upstream, deadline_ms);
            }
        }
        if let Some(down) = self.downstream(client) {
            down.serving.persistent = false;
        }
        self.finish_exchange(io, client);
    }
}
