//! The connections of a load, each in a slot, and what they count. Readiness and due requests in, counts out.
//! Called by `load`. Rule: every request given to a slot ends as exactly one answer or one failure.

use crate::answer::Answer;
use crate::connection::{Connection, Progress};
use crate::report::{Counts, Failure, Latencies};
use crate::target::{Target, is_right};
use mio::{Interest, Registry, Token};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Pause before a failed connection is tried again.
const REOPEN_DELAY: Duration = Duration::from_millis(10);
/// Source addresses used in turn when each request has its own connection.
const SOURCES: u32 = 200;
const SCRATCH_LEN: usize = 64 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    KeepAlive,
    HandshakePerRequest,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Loop {
    /// Each slot sends its next request when it has the answer to the last.
    Closed,
    /// Requests come from outside, by [`Slots::give`].
    Open,
}

enum State {
    /// No connection; keep-alive slots reopen at this time.
    Down(Instant),
    Opening,
    Idle,
    Awaiting,
}

struct Slot {
    connection: Option<Connection>,
    state: State,
    /// The request under way: when it was due, and the mark wanted.
    due: Option<Instant>,
    mark: u8,
    /// When the present wait for the proxy began (connect or request).
    since: Instant,
}

pub struct Slots {
    registry: Registry,
    target: Target,
    reuse: Reuse,
    mode: Loop,
    timeout: Duration,
    slots: Vec<Slot>,
    /// Slots free for a request, longest idle first: all connections take part.
    idle: VecDeque<usize>,
    random: fastrand::Rng,
    source: u32,
    scratch: Vec<u8>,
    /// No new requests: the closed loop stops.
    pub draining: bool,
    pub counts: Counts,
    pub latencies: Latencies,
}

impl Slots {
    pub fn new(
        registry: Registry,
        target: Target,
        count: usize,
        reuse: Reuse,
        mode: Loop,
        timeout: Duration,
    ) -> Self {
        let now = Instant::now();
        let slots = (0..count).map(|_| Slot {
            connection: None,
            state: State::Down(now),
            due: None,
            mark: 0,
            since: now,
        });
        Self {
            registry,
            target,
            reuse,
            mode,
            timeout,
            slots: slots.collect(),
            idle: VecDeque::new(),
            random: fastrand::Rng::with_seed(1),
            source: 0,
            scratch: vec![0; SCRATCH_LEN],
            draining: false,
            counts: Counts::default(),
            latencies: Latencies::new(),
        }
    }

    /// Opens what is down: keep-alive connections at once; with a handshake per request, slots become free.
    pub fn open_due(&mut self, now: Instant) {
        for id in 0..self.slots.len() {
            if !matches!(self.slots[id].state, State::Down(at) if at <= now) || self.draining {
                continue;
            }
            match (self.reuse, self.mode) {
                (Reuse::KeepAlive, _) => self.open(id),
                (Reuse::HandshakePerRequest, Loop::Closed) => self.start(id, now),
                (Reuse::HandshakePerRequest, Loop::Open) => self.rest(id),
            }
        }
    }

    /// True when every keep-alive connection is up.
    pub fn all_up(&self) -> bool {
        self.slots
            .iter()
            .all(|slot| !matches!(slot.state, State::Down(_) | State::Opening))
    }

    /// Number of requests that have neither an answer nor a failure yet.
    pub fn under_way(&self) -> usize {
        self.slots.iter().filter(|slot| slot.due.is_some()).count()
    }

    /// Forgets what was counted; requests under way belong to the new count.
    pub fn begin_counting(&mut self) {
        self.counts = Counts {
            sent: self.under_way() as u64,
            ..Counts::default()
        };
        self.latencies.clear();
    }

    pub fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    /// Gives a request that was due at `due` to the slot idle longest; only when there is one.
    pub fn give(&mut self, due: Instant) {
        if let Some(id) = self.idle.pop_front() {
            self.start(id, due);
        }
    }

    pub fn advance(&mut self, id: usize, to_the_end: bool) {
        let Some(connection) = &mut self.slots[id].connection else {
            return;
        };
        match connection.advance(to_the_end, &mut self.scratch) {
            Ok(Progress::Nothing) => {}
            Ok(Progress::Up) => self.up(id),
            Ok(Progress::Answered(answer)) => self.answered(id, answer),
            Ok(Progress::Closed) => self.closed(id),
            Err(failure) => self.fail(id, failure),
        }
    }

    /// Fails what waits too long.
    pub fn expire(&mut self, now: Instant) {
        for id in 0..self.slots.len() {
            let slot = &self.slots[id];
            if slot.connection.is_some()
                && !matches!(slot.state, State::Idle)
                && now - slot.since > self.timeout
            {
                self.fail(id, Failure::Timeout);
            }
        }
    }

    /// Begins a request: on the slot's connection, or by making one.
    fn start(&mut self, id: usize, due: Instant) {
        self.slots[id].due = Some(due);
        self.counts.sent += 1;
        match self.slots[id].connection {
            Some(_) => self.send(id),
            None => self.open(id),
        }
    }

    fn open(&mut self, id: usize) {
        let source = (self.reuse == Reuse::HandshakePerRequest
            && self.target.address.ip().is_loopback())
        .then(|| {
            self.source = (self.source + 1) % SOURCES;
            Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 1, 1)) + self.source)
        });
        self.slots[id].since = Instant::now();
        self.slots[id].state = State::Opening;
        let opened = Connection::open(&self.target, source).and_then(|mut connection| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.registry
                .register(&mut connection.stream, Token(id), interest)?;
            Ok(connection)
        });
        match opened {
            Ok(connection) => self.slots[id].connection = Some(connection),
            Err(_) => self.fail(id, Failure::Connect),
        }
    }

    fn up(&mut self, id: usize) {
        self.counts.opened += 1;
        if self.slots[id].due.is_some() {
            return self.send(id);
        }
        // Nothing to send with it: the handshake's last message goes alone.
        if let Some(connection) = &mut self.slots[id].connection
            && connection.flush().is_err()
        {
            return self.fail(id, Failure::Connect);
        }
        self.next(id);
    }

    /// The slot is free: the closed loop goes on, the open loop waits.
    fn next(&mut self, id: usize) {
        match self.mode {
            Loop::Closed if !self.draining => self.start(id, Instant::now()),
            Loop::Closed | Loop::Open => self.rest(id),
        }
    }

    fn rest(&mut self, id: usize) {
        self.slots[id].state = State::Idle;
        self.idle.push_back(id);
    }

    fn send(&mut self, id: usize) {
        let host = self.random.u32(0..self.target.hosts());
        let (request, mark) = self.target.request(host, self.random.usize(..));
        let slot = &mut self.slots[id];
        slot.mark = mark;
        slot.since = Instant::now();
        slot.state = State::Awaiting;
        if let Some(connection) = &mut slot.connection
            && let Err(failure) = connection.send(&request)
        {
            self.fail(id, failure);
        }
    }

    fn answered(&mut self, id: usize, answer: Answer) {
        let slot = &mut self.slots[id];
        if let Some(due) = slot.due.take() {
            if is_right(answer, slot.mark) {
                self.counts.answered += 1;
                self.latencies.add(due.elapsed());
            } else {
                self.counts.fail(Failure::Wrong);
            }
        }
        let ended = slot.connection.as_ref().is_some_and(Connection::has_ended);
        match self.reuse {
            Reuse::HandshakePerRequest => {
                slot.connection = None;
                self.next(id);
            }
            Reuse::KeepAlive if answer.close || ended => self.closed(id),
            Reuse::KeepAlive => self.next(id),
        }
    }

    /// The proxy closed a connection with no answer awaited: no failed request, but counted.
    fn closed(&mut self, id: usize) {
        self.counts.closed += 1;
        self.take_down(id, Instant::now());
    }

    fn fail(&mut self, id: usize, failure: Failure) {
        self.counts.fail(failure);
        if failure != Failure::Connect && failure != Failure::Timeout {
            self.counts.closed += 1;
        }
        self.take_down(id, Instant::now() + REOPEN_DELAY);
    }

    fn take_down(&mut self, id: usize, reopen_at: Instant) {
        if matches!(self.slots[id].state, State::Idle) {
            self.idle.retain(|idle| *idle != id);
        }
        let slot = &mut self.slots[id];
        slot.connection = None;
        slot.due = None;
        slot.state = State::Down(reopen_at);
    }
}
