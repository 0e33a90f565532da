//! Further attempts of a request, and room for it at its cluster: when to try again, when to wait, when to give up.
//!
//! Rule: a request is repeated only where no upstream can have acted on it, or where its method or its route allows it;
//! whatever waits is bounded in number and in time.

use super::{Downstream, Serving, Waiting};
use crate::error::Failure;
use crate::limits::{ATTEMPTS_MAX, PROGRESS_WINDOW_MS, QUEUE_POLL_MS};
use crate::metrics::Counter;
use crate::program::run::Decision;
use crate::ring::{Io, SocketId};
use crate::snapshot::Attempt;
use crate::worker::Worker;

impl Worker {
    /// After a failure that another attempt may mend: at once, after the cluster's interval, or not at all
    /// (Caddy: tryAgain).
    pub fn try_again<I: Io>(&mut self, io: &mut I, socket: SocketId, failure: Failure) {
        if self.fall_back(socket) {
            return;
        }
        let now_ms = self.now_ms();
        let Some(down) = self.downstream(socket) else { return };
        let Some(host) = down.serving.host.as_ref() else { return };
        let cluster = &host.proxy(down.serving.row).cluster;
        let state = cluster.state();
        let (retries, duration_ms, interval_ms) =
            (state.retries, state.try_duration_ms, state.try_interval_ms);
        let attempts = down.serving.attempts;
        let spent = (retries == 0 && duration_ms == 0)
            || (retries > 0 && attempts > retries)
            || attempts >= ATTEMPTS_MAX
            || now_ms >= down.serving.attempts_until_ms;
        if spent {
            return self.fail(io, socket, failure);
        }
        let budget = state.retry_budget_percent;
        if budget > 0 && !cluster.load().take_retry(budget, now_ms) {
            self.metrics.add(Counter::UpstreamRetriesDenied, 1);
            return self.fail(io, socket, failure);
        }
        self.metrics.add(Counter::UpstreamRetries, 1);
        if interval_ms == 0 {
            return self.try_endpoint(io, socket, true);
        }
        if let Some(down) = self.downstream(socket) {
            down.serving.waiting = Waiting::Retry;
        }
        self.set_downstream_deadline(socket, now_ms + interval_ms);
    }

    /// The interval between two attempts is over, or that between two looks for room.
    pub fn retry_due<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let deadline_ms = self.now_ms() + PROGRESS_WINDOW_MS;
        let Some(down) = self.downstream(socket) else { return };
        let waited = std::mem::replace(&mut down.serving.waiting, Waiting::Upstream);
        self.set_downstream_deadline(socket, deadline_ms);
        match waited {
            Waiting::Room => self.enter_cluster(io, socket),
            Waiting::Pause(entry) => self.run_program(io, socket, entry),
            Waiting::Fetch if self.ask_cache(io, socket) => {}
            Waiting::Fetch => self.enter_cluster(io, socket),
            _ => self.try_endpoint(io, socket, true),
        }
        self.advance_input(io, socket);
    }

    /// A request comes to its cluster: goes on where there is room, else waits, or is refused.
    pub fn enter_cluster<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let now_ms = self.now_ms();
        let Some(down) = self.downstream(socket) else { return };
        let has_mirrors = |down: &Downstream| {
            let call = down.serving.host.as_ref().map(|host| host.proxy(down.serving.row));
            down.serving.ticket.is_none() && call.is_some_and(|call| !call.mirrors.is_empty())
        };
        if has_mirrors(down) {
            self.mirror(io, socket);
        }
        let Some(down) = self.downstream(socket) else { return };
        let serving = &mut down.serving;
        let Some(host) = serving.host.as_ref() else { return };
        let cluster = &host.proxy(serving.row).cluster;
        let state = cluster.state();
        let is_new = serving.ticket.is_none();
        if state.counts_requests() && is_new {
            cluster.load().count_request(now_ms);
        }
        let max = state.requests_under_way_max;
        if max > 0 && serving.place.is_none() {
            let stands_behind = is_new && cluster.has_queue();
            serving.place = if stands_behind { None } else { cluster.take_place(max) };
            if serving.place.is_none() {
                return self.wait_for_room(io, socket, Failure::Overloaded);
            }
        }
        self.try_endpoint(io, socket, true);
    }

    /// Waits until there is room, the queue's time is up, or at once not at all.
    pub fn wait_for_room<I: Io>(&mut self, io: &mut I, socket: SocketId, failure: Failure) {
        let now_ms = self.now_ms();
        let Some(down) = self.downstream(socket) else { return };
        let serving = &mut down.serving;
        let Some(host) = serving.host.as_ref() else { return };
        let cluster = &host.proxy(serving.row).cluster;
        let state = cluster.state();
        let mut begins = false;
        if serving.ticket.is_none() {
            let until_ms = now_ms + state.queue_timeout_ms;
            serving.ticket = cluster.take_ticket(state.queue_max).map(|ticket| (ticket, until_ms));
            begins = serving.ticket.is_some();
        }
        let until_ms = serving.ticket.as_ref().map_or(0, |(_, until_ms)| *until_ms);
        if now_ms >= until_ms {
            return self.fail(io, socket, failure);
        }
        serving.waiting = Waiting::Room;
        self.metrics.add(Counter::UpstreamQueued, u64::from(begins));
        self.set_downstream_deadline(socket, until_ms.min(now_ms + QUEUE_POLL_MS));
    }

    /// An answer that the route does not want: the request is to be repeated (Caddy: lb_retry_match on answers). The
    /// exchange has kept it.
    pub fn is_unwanted_answer(&mut self, client: SocketId, status: u16, latency_ns: u64) -> bool {
        let Some(Some(down)) = self.downstreams.get_mut(client.index()) else { return false };
        let (Some(host), Some(exchange)) = (down.serving.host.as_ref(), down.exchange.as_mut()) else {
            return false;
        };
        let entry = host.proxy(down.serving.row).answer_retry_entry;
        let unwanted = matches!(self.machine.run(host, exchange, entry), Ok(Decision::Proxy(_)));
        if unwanted {
            down.serving.held = None;
            self.report_attempt(client, Attempt::Answered { status, latency_ns });
        }
        unwanted
    }

    /// Whether a request that an upstream may have acted on may be repeated: its bytes are all here, and it is a GET
    /// or the route asks for it (Caddy: lb_retry_match).
    pub fn may_repeat(&mut self, socket: SocketId) -> bool {
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return false };
        let serving = &down.serving;
        let (Some(host), Some(exchange)) = (serving.host.as_ref(), down.exchange.as_mut()) else {
            return false;
        };
        let call = host.proxy(serving.row);
        let state = call.cluster.state();
        if !serving.bodiless || (state.retries == 0 && state.try_duration_ms == 0) {
            return false;
        }
        match call.retry_entry {
            0 => exchange.method() == b"GET",
            entry => {
                exchange.transport_error = true;
                let decision = self.machine.run(host, exchange, entry);
                exchange.transport_error = false;
                matches!(decision, Ok(Decision::Proxy(_)))
            }
        }
    }
}

impl Serving {
    /// The route is asked whether it wants answers, and the request could be repeated.
    pub fn judges_answers(&self) -> bool {
        let entry = self.host.as_ref().map_or(0, |host| host.proxy(self.row).answer_retry_entry);
        entry != 0 && self.bodiless
    }
}
