//! Deadlines: slow heads, bodies and readers of clients, silent upstreams, idle connections.
//!
//! Rule: every phase has a deadline, on plain and TLS ports (reliability.md 2.5). While an exchange is served, progress is
//! judged in windows, so that bytes that trickle do not count as life.

use super::{Phase, Waiting, Window};
use crate::error::Failure;
use crate::exchange::Refuse;
use crate::limits::*;
use crate::metrics::Counter;
use crate::ring::{Close, Io, SocketId};
use crate::snapshot::ProxyPolicy;
use crate::timers::Entry;
use crate::upstream;
use crate::worker::Worker;

impl Worker {
    pub fn downstream_timer<I: Io>(&mut self, io: &mut I, socket: SocketId, entry: Entry, now_ms: u64) {
        let Worker { downstreams, wheel, .. } = self;
        let Some(Some(down)) = downstreams.get_mut(socket.index()) else { return };
        if down.generation != entry.generation {
            return;
        }
        if !down.deadline.is_due(wheel, entry, now_ms) {
            return self.rest(socket);
        }
        match down.phase {
            Phase::ProxyHeader(policy) if policy != ProxyPolicy::Require => {
                self.go_without_header(io, socket)
            }
            Phase::ProxyHeader(_) | Phase::Beginning | Phase::Hello | Phase::Handshake | Phase::Lingering => {
                let counted = down.phase != Phase::Lingering;
                self.metrics.add(Counter::RefusedTimeout, u64::from(counted));
                self.abort(io, socket);
            }
            Phase::Head if down.input.is_empty() => self.close_after_flush(io, socket, Close::AfterFlush),
            Phase::Head => {
                self.metrics.add(Counter::RefusedTimeout, 1);
                self.refuse_head(io, socket, Refuse { status: 408, reason: "request head timed out" });
            }
            Phase::Serving | Phase::Closing if now_ms >= down.serving.until_ms() => {
                self.end_overdue(io, socket, now_ms)
            }
            Phase::Serving | Phase::Closing => self.judge_progress(io, socket, now_ms),
            Phase::Tunnel => self.abort(io, socket),
            Phase::Multiplex => self.multiplex_timer(io, socket, now_ms),
        }
    }

    /// All of the answer should be sent by now, or all of the request be here.
    fn end_overdue<I: Io>(&mut self, io: &mut I, socket: SocketId, now_ms: u64) {
        self.metrics.add(Counter::RefusedTimeout, 1);
        let Some(down) = self.downstream(socket) else { return };
        if now_ms >= down.serving.answer_until_ms {
            self.fail_exchange(socket, Failure::ClientSlow("answer took too long"));
            return self.abort(io, socket);
        }
        down.serving.request_until_ms = u64::MAX;
        self.fail(io, socket, Failure::ClientSlow("request took too long"));
    }

    /// The end of a window: a client that moved too little, while it had something to move, is ended.
    fn judge_progress<I: Io>(&mut self, io: &mut I, socket: SocketId, now_ms: u64) {
        if self.is_vain(socket, now_ms) {
            return self.abort(io, socket);
        }
        let pauses =
            |waiting| matches!(waiting, Waiting::Retry | Waiting::Room | Waiting::Fetch | Waiting::Pause(_));
        if self.downstream(socket).is_some_and(|down| pauses(down.serving.waiting)) {
            return self.retry_due(io, socket);
        }
        if self.pace_due(io, socket, now_ms) {
            return;
        }
        let (sent, pending) = (self.sent(io, socket), self.pending(io, socket) > 0);
        let Some(down) = self.downstream(socket) else { return };
        let serving = &down.serving;
        // What is sent without copies is never pending here.
        let pending = pending || serving.file.as_ref().is_some_and(|file| !file.reading);
        let expecting = down.phase == Phase::Serving
            && matches!(
                serving.waiting,
                Waiting::Answer | Waiting::Body | Waiting::ReadBody(_) | Waiting::PluginBody(_)
            )
            && !serving.upload_done()
            && !serving.blocked;
        let (body_pace, answer_pace) = down.paces();
        let window = down.window;
        let is_sent_judged = now_ms >= window.sent_since_ms + answer_pace.window_ms;
        let is_body_judged = now_ms >= window.body_since_ms + body_pace.window_ms;
        let sends_little = is_sent_judged && sent - window.sent < answer_pace.bytes_min;
        let slow_reader = pending && window.was_pending && sends_little;
        let received = serving.body_bytes - window.body_bytes;
        let slow_sender =
            expecting && window.was_expecting_body && is_body_judged && received < body_pace.bytes_min;
        let stuck = down.phase == Phase::Closing && sends_little;
        if is_sent_judged {
            down.window = Window { sent, was_pending: pending, sent_since_ms: now_ms, ..window };
        }
        if is_body_judged {
            let body_bytes = serving.body_bytes;
            down.window =
                Window { body_bytes, was_expecting_body: expecting, body_since_ms: now_ms, ..down.window };
        }
        let next_ms = (down.window.sent_since_ms + answer_pace.window_ms)
            .min(down.window.body_since_ms + body_pace.window_ms);
        if slow_reader || stuck {
            self.metrics.add(Counter::RefusedTimeout, 1);
            self.fail_exchange(socket, Failure::ClientSlow("answer was not read"));
            self.abort(io, socket);
        } else if slow_sender {
            self.metrics.add(Counter::RefusedTimeout, 1);
            self.fail(io, socket, Failure::ClientSlow("request body timed out"));
        } else {
            self.set_downstream_deadline(socket, next_ms);
        }
    }

    pub fn upstream_timer<I: Io>(&mut self, io: &mut I, socket: SocketId, entry: Entry, now_ms: u64) {
        let Worker { upstreams, wheel, .. } = self;
        let Some(Some(up)) = upstreams.get_mut(socket.index()) else { return };
        if up.generation != entry.generation || !up.deadline.is_due(wheel, entry, now_ms) {
            return;
        }
        match up.phase {
            upstream::Phase::Connecting => self.attempt_failed(io, socket, Failure::ConnectTimeout),
            upstream::Phase::Handshake => self.attempt_failed(io, socket, Failure::ConnectTimeout),
            upstream::Phase::Head => self.head_overdue(io, socket, now_ms),
            // The client does not read: its own deadline decides.
            upstream::Phase::Body if up.paused => {
                self.set_upstream_deadline(socket, now_ms + PROGRESS_WINDOW_MS)
            }
            upstream::Phase::Body => self.attempt_failed(io, socket, Failure::UpstreamTimeout),
            // The program decides, and nobody waits for this upstream.
            upstream::Phase::Held => self.set_upstream_deadline(socket, now_ms + PROGRESS_WINDOW_MS),
            upstream::Phase::Idle => self.close_upstream(io, socket),
            upstream::Phase::Multiplex => self.shared_timer(io, socket, now_ms),
            // Whoever owns the tunnel watches over it.
            upstream::Phase::Tunnel => {}
            upstream::Phase::Closing => self.flush_overdue(io, socket, now_ms),
        }
    }

    /// What waits at the end of a tunnel goes out as long as the upstream takes enough of it.
    fn flush_overdue<I: Io>(&mut self, io: &mut I, socket: SocketId, now_ms: u64) {
        let sent = io.sent(socket);
        let Some(up) = self.upstream(socket) else { return };
        if sent - std::mem::replace(&mut up.sent_mark, sent) < PROGRESS_BYTES_MIN {
            return io.close(socket, Close::Now);
        }
        self.set_upstream_deadline(socket, now_ms + PROGRESS_WINDOW_MS);
    }

    /// While the request goes up, only an upstream that takes none of what waits is to blame.
    fn head_overdue<I: Io>(&mut self, io: &mut I, socket: SocketId, now_ms: u64) {
        let (sent, pending) = (self.sent(io, socket), self.pending(io, socket));
        let Some(up) = self.upstream(socket) else { return };
        let Some(client) = up.client else { return };
        if let Some(rest_ms) = up.hedge_rest_ms.take() {
            self.set_upstream_deadline(socket, now_ms + rest_ms);
            return self.hedge(io, client, socket);
        }
        let moved = sent > up.sent_mark || pending == 0;
        up.sent_mark = sent;
        let request_done = self.downstream(client).is_none_or(|down| down.serving.upload_done());
        if request_done || !moved {
            return self.attempt_failed(io, socket, Failure::UpstreamTimeout);
        }
        let timeout_ms = self.attempt_limits(client).write_timeout_ms;
        self.set_upstream_deadline(socket, now_ms + timeout_ms);
    }
}
