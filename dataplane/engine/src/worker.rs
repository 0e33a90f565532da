//! One worker: the event loop of one core, and everything its connections share. `serve` starts one per core with a
//! `WorkerContext`; the ring calls the handler methods at the end of this file; the behaviour is in `connection`.
//!
//! Rule: nothing here is shared with another worker but the snapshot (by Arc), the password pool and the log writer.

use crate::access_log::AccessLog;
use crate::connection::including::Ended;
use crate::connection::{Downstream, Phase};
use crate::control::{WorkerMessage, WorkerReceiver, WorkerSender};
use crate::datagrams::{Datagrams, SESSION_KEY};
use crate::exchange::{Clock, Exchange, HeaderSpan};
use crate::files::descriptors::Descriptors;
use crate::files::pool::Files;
use crate::http2::Code;
use crate::limits::{DOWNSTREAM_SOCKETS_PERCENT, POOLED_BUFFERS_MAX};
use crate::metrics::{Counter, WorkerMetrics};
use crate::passwords::Passwords;
use crate::plugins::fetching::Fetches;
use crate::program::run::Machine;
use crate::ring::{Close, End, Handler, Io, SocketId, epoll::Epoll, uring::Uring};
use crate::serve::{IoChoice, IoReport, WorkerContext};
use crate::snapshot::Snapshot;
use crate::timers::{Entry, Wheel};
use crate::upstream::Upstream;
use crate::upstream::pool::Pool;
use crate::upstream::sharing::Shared;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Timer keys of upstream connections carry this bit beside the socket's index.
pub const UPSTREAM_KEY: u32 = 1 << 31;

/// Buffers that one callback fills and empties, kept for their capacity.
#[derive(Default)]
pub struct Scratch {
    /// Decrypted bytes from a peer.
    pub plain: Vec<u8>,
    /// Records to send that a read caused.
    pub wire: Vec<u8>,
    /// A head, chunk or body on its way out.
    pub message: Vec<u8>,
    /// Bytes of a file on their way out.
    pub file: Vec<u8>,
    spans: Vec<HeaderSpan<'static>>,
}

impl Scratch {
    /// An empty vector with the capacity of the one before, for spans of any buffer.
    pub fn take_spans<'a>(&mut self) -> Vec<HeaderSpan<'a>> {
        std::mem::take(&mut self.spans)
            .into_iter()
            .map(|span: HeaderSpan<'static>| -> HeaderSpan<'a> { span })
            .collect()
    }

    pub fn give_spans(&mut self, mut spans: Vec<HeaderSpan<'_>>) {
        spans.clear();
        // In-place collection of an empty vector keeps its allocation and ends the borrow.
        self.spans = spans.into_iter().map(|_| HeaderSpan { name: b"", value: b"" }).collect();
    }
}

/// A drain under way.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    pub deadline_ms: u64,
    pub exit: bool,
}

/// State of one worker.
pub struct Worker {
    pub downstreams: Vec<Option<Box<Downstream>>>,
    pub upstreams: Vec<Option<Box<Upstream>>>,
    pub open_downstreams: u32,
    pub downstreams_max: u32,
    pub pool: Pool,
    pub shared: Shared,
    pub wheel: Wheel,
    pub machine: Machine,
    pub snapshot: Arc<Snapshot>,
    pub tls: Arc<rustls::ServerConfig>,
    pub metrics: WorkerMetrics,
    pub access_log: AccessLog,
    pub passwords: Arc<Passwords>,
    pub files: Arc<Files>,
    pub datagrams: Datagrams,
    pub descriptors: Descriptors,
    pub fetches: Arc<Fetches>,
    pub myself: WorkerSender,
    pub scratch: Scratch,
    pub drain: Option<Drain>,
    /// Ids from here on are streams of HTTP/2 connections.
    pub streams_base: u32,
    pub streams_opened: u32,
    /// Copies of requests under way, for mirrors.
    pub copies: usize,
    /// Requests of pages under way, and those that are over.
    pub inclusions: usize,
    pub ended_inclusions: Vec<Ended>,
    pub free_streams: Vec<u32>,
    // Boxed: they are the boxes of `downstreams`.
    #[allow(clippy::vec_box)]
    pub spare_streams: Vec<Box<Downstream>>,
    /// HTTP/2 connections with frames to send at the end of this turn.
    pub marked: Vec<SocketId>,
    pub second_goaway_ms: Option<u64>,
    // Boxed: they move between here and connections, and are large.
    #[allow(clippy::vec_box)]
    exchanges: Vec<Box<Exchange>>,
    messages: WorkerReceiver,
    generation: u32,
    due: Vec<Entry>,
    clock: Clock,
    system_calls: u64,
}

/// Runs a worker on this thread until it is drained with `exit`.
pub fn run(context: WorkerContext) -> io::Result<()> {
    let (choice, ready, metrics) = (context.io, context.ready.clone(), context.metrics.clone());
    let reason = match choice {
        IoChoice::Epoll => "asked for".to_owned(),
        IoChoice::Auto | IoChoice::IoUring => match Uring::new(context.messages.descriptor()) {
            Ok(mut ring) => {
                let mut worker = Worker::new(context, &ring)?;
                metrics.set(Counter::IoUring, 1);
                let _ = ready.send(IoReport { backend: "io_uring", reason: String::new() });
                return ring.run(&mut worker);
            }
            Err(error) if choice == IoChoice::IoUring => return Err(error),
            Err(error) => format!("io_uring: {error}"),
        },
    };
    let mut ring = Epoll::new(context.messages.descriptor())?;
    let mut worker = Worker::new(context, &ring)?;
    metrics.set(Counter::IoEpoll, 1);
    let _ = ready.send(IoReport { backend: "epoll", reason });
    ring.run(&mut worker)
}

impl Worker {
    pub fn new(context: WorkerContext, io: &impl Io) -> io::Result<Worker> {
        let tls = context.snapshot.tls_policies().own().map_err(io::Error::other)?;
        Ok(Worker {
            downstreams: Vec::new(),
            upstreams: Vec::new(),
            open_downstreams: 0,
            downstreams_max: (io.sockets_max() / 100 * DOWNSTREAM_SOCKETS_PERCENT).max(1),
            pool: Pool::default(),
            shared: Shared::default(),
            wheel: Wheel::new(io.now().monotonic_ns / 1_000_000),
            machine: Machine::new()?,
            snapshot: context.snapshot,
            tls,
            metrics: context.metrics,
            access_log: context.access_log,
            passwords: context.passwords,
            files: context.files,
            datagrams: Datagrams::new(io.sockets_max()),
            descriptors: Descriptors::default(),
            fetches: context.fetches,
            myself: context.myself,
            scratch: Scratch::default(),
            drain: None,
            streams_base: io.sockets_max(),
            streams_opened: 0,
            copies: 0,
            inclusions: 0,
            ended_inclusions: Vec::new(),
            free_streams: Vec::new(),
            spare_streams: Vec::new(),
            marked: Vec::new(),
            second_goaway_ms: None,
            exchanges: Vec::new(),
            messages: context.messages,
            generation: 0,
            due: Vec::new(),
            clock: io.now(),
            system_calls: 0,
        })
    }

    pub fn now(&self) -> Clock {
        self.clock
    }

    /// Milliseconds of the monotonic clock, as deadlines count.
    pub fn now_ms(&self) -> u64 {
        self.clock.monotonic_ns / 1_000_000
    }

    /// Tells connections of one slot apart.
    pub fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    pub fn take_exchange(&mut self) -> Box<Exchange> {
        self.exchanges.pop().unwrap_or_default()
    }

    pub fn give_exchange(&mut self, mut exchange: Box<Exchange>) {
        exchange.rest();
        if self.exchanges.len() < POOLED_BUFFERS_MAX && exchange.is_ordinary() {
            self.exchanges.push(exchange);
        }
    }

    pub fn downstream(&mut self, socket: SocketId) -> Option<&mut Downstream> {
        self.downstreams.get_mut(socket.index())?.as_deref_mut()
    }

    pub fn upstream(&mut self, socket: SocketId) -> Option<&mut Upstream> {
        self.upstreams.get_mut(socket.index())?.as_deref_mut()
    }

    pub fn insert_downstream(&mut self, socket: SocketId, downstream: Downstream) {
        if self.downstreams.len() <= socket.index() {
            self.downstreams.resize_with(socket.index() + 1, || None);
        }
        self.downstreams[socket.index()] = Some(Box::new(downstream));
    }

    pub fn insert_upstream(&mut self, socket: SocketId, upstream: Upstream) {
        if self.upstreams.len() <= socket.index() {
            self.upstreams.resize_with(socket.index() + 1, || None);
        }
        self.upstreams[socket.index()] = Some(Box::new(upstream));
    }

    pub fn set_downstream_deadline(&mut self, socket: SocketId, at_ms: u64) {
        let Worker { downstreams, wheel, .. } = self;
        if let Some(Some(down)) = downstreams.get_mut(socket.index()) {
            let generation = down.generation;
            let at_ms = match down.phase {
                Phase::Serving | Phase::Closing => at_ms.min(down.serving.until_ms()),
                _ => at_ms,
            };
            down.deadline.set(wheel, socket.0, generation, at_ms);
        }
    }

    pub fn set_upstream_deadline(&mut self, socket: SocketId, at_ms: u64) {
        let Worker { upstreams, wheel, .. } = self;
        if let Some(Some(up)) = upstreams.get_mut(socket.index()) {
            let generation = up.generation;
            up.deadline.set(wheel, socket.0 | UPSTREAM_KEY, generation, at_ms);
        }
    }

    /// True where the socket belongs to an upstream connection.
    fn is_upstream(&self, socket: SocketId) -> bool {
        self.upstreams.get(socket.index()).is_some_and(Option::is_some)
    }

    fn handle<I: Io>(&mut self, io: &mut I, message: WorkerMessage) {
        match message {
            WorkerMessage::Snapshot(snapshot, acknowledgement) => {
                self.machine.plugins.index = snapshot.plugins().clone();
                self.machine.set_sampling(snapshot.settings().trace_sampling);
                self.snapshot = snapshot;
                for listener in self.snapshot.listeners() {
                    io.read_local(listener.id.0, listener.reads_local);
                }
                drop(acknowledgement);
            }
            WorkerMessage::Listen(listener, descriptor) if self.takes_datagrams(listener) => {
                self.listen_datagrams(io, listener, descriptor);
            }
            WorkerMessage::Listen(listener, descriptor) => {
                io.listen(listener.0, descriptor);
                let reads_local = self.snapshot.listener(listener).is_some_and(|one| one.reads_local);
                io.read_local(listener.0, reads_local);
            }
            WorkerMessage::Unlisten(listener) => {
                io.unlisten(listener.0);
                self.unlisten_datagrams(io, listener);
            }
            WorkerMessage::Drain { timeout_ms, exit } => {
                io.stop_accepting();
                self.drain_datagrams(io);
                self.drain = Some(Drain { deadline_ms: self.now_ms() + timeout_ms, exit });
                self.drain_multiplexes();
            }
            WorkerMessage::PasswordChecked { ticket, right } => self.password_checked(io, ticket, right),
            WorkerMessage::TokenTaken { ticket, told } => self.token_taken(io, ticket, told),
            WorkerMessage::Fetched { ticket, fetched } => self.fetched(io, ticket, *fetched),
            WorkerMessage::FileDone { ticket, done } => self.file_done(io, ticket, done),
        }
    }

    fn fire_timers<I: Io>(&mut self, io: &mut I) {
        let now_ms = self.now_ms();
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(now_ms, &mut due);
        for entry in due.drain(..) {
            match entry.key & (UPSTREAM_KEY | SESSION_KEY) {
                0 => self.downstream_timer(io, SocketId(entry.key), entry, now_ms),
                SESSION_KEY => self.session_timer(io, entry, now_ms),
                _ => self.upstream_timer(io, SocketId(entry.key & !UPSTREAM_KEY), entry, now_ms),
            }
        }
        self.due = due;
    }

    /// Ends what is left at the drain's deadline, and the loop when nothing is.
    fn go_on_draining<I: Io>(&mut self, io: &mut I, drain: Drain) -> Option<u64> {
        let now_ms = self.now_ms();
        if self.open_downstreams == 0 && self.datagrams.open() == 0 {
            let mut left = 0;
            for index in 0..self.upstreams.len() {
                if self.upstreams[index].is_some() {
                    self.close_upstream(io, SocketId(index as u32));
                    left += 1;
                }
            }
            if drain.exit && left == 0 && !io.accepts_late() {
                io.stop();
            }
            return None;
        }
        if now_ms >= drain.deadline_ms {
            for index in 0..self.downstreams.len() {
                let socket = SocketId(index as u32);
                match self.downstream(socket) {
                    None => {}
                    // It was silent all the time: an ordinary end, no reset.
                    Some(down) if down.phase == Phase::Head && down.input.is_empty() => {
                        self.close_after_flush(io, socket, Close::AfterFlush);
                    }
                    Some(_) => self.abort(io, socket),
                }
            }
            self.end_sessions(io);
            return None;
        }
        Some(drain.deadline_ms - now_ms)
    }
}

impl<I: Io> Handler<I> for Worker {
    fn on_accept(
        &mut self,
        io: &mut I,
        socket: SocketId,
        listener: u32,
        remote: SocketAddr,
        local: SocketAddr,
    ) {
        self.clock = io.now();
        self.accept(io, socket, listener, remote, local);
    }

    fn on_connect(&mut self, io: &mut I, socket: SocketId, connected: bool) {
        self.clock = io.now();
        self.upstream_connected(io, socket, connected);
    }

    fn on_data(&mut self, io: &mut I, socket: SocketId, data: &mut [u8]) {
        self.clock = io.now();
        if self.is_upstream(socket) {
            self.metrics.add(Counter::UpstreamBytesReceived, data.len() as u64);
            self.upstream_data(io, socket, data);
        } else {
            self.metrics.add(Counter::DownstreamBytesReceived, data.len() as u64);
            self.downstream_data(io, socket, data);
        }
    }

    fn on_relayed(&mut self, io: &mut I, from: SocketId, bytes: usize) {
        self.clock = io.now();
        self.relayed(from, bytes as u64);
    }

    fn on_end(&mut self, io: &mut I, socket: SocketId, end: End) {
        self.clock = io.now();
        match self.is_upstream(socket) {
            true => self.upstream_ended(io, socket, end),
            false => self.downstream_ended(io, socket, end),
        }
    }

    fn on_drained(&mut self, io: &mut I, socket: SocketId) {
        match self.is_upstream(socket) {
            true => self.upstream_drained(io, socket),
            false => self.downstream_drained(io, socket),
        }
    }

    fn on_closed(&mut self, io: &mut I, socket: SocketId) {
        if self.is_upstream(socket) {
            self.metrics.add(Counter::UpstreamBytesSent, io.sent(socket));
            self.upstreams[socket.index()] = None;
        } else if let Some(Some(_)) = self.downstreams.get(socket.index()) {
            self.end_streams(io, socket);
            self.metrics.add(Counter::DownstreamBytesSent, io.sent(socket));
            self.metrics.add(Counter::ConnectionsClosed, 1);
            self.downstreams[socket.index()] = None;
            self.open_downstreams -= 1;
            if self.drain.is_none() && self.open_downstreams + 1 == self.downstreams_max {
                io.set_accepting(true);
            }
        }
    }

    fn on_readable(&mut self, io: &mut I, key: u32) {
        self.clock = io.now();
        self.datagrams_readable(io, key);
    }

    fn on_wake(&mut self, io: &mut I) {
        self.messages.reset();
        while let Some(message) = self.messages.take() {
            self.handle(io, message);
        }
    }

    fn on_asleep(&mut self) {
        self.messages.fall_asleep();
    }

    fn on_awake(&mut self, io: &mut I) {
        if self.messages.wake_up() {
            self.on_wake(io);
        }
    }

    fn on_turn(&mut self, io: &mut I) -> Option<u64> {
        self.clock = io.now();
        self.fire_timers(io);
        self.settle_inclusions(io);
        let goaway_ms = self.finish_goaways();
        self.flush_marked(io);
        self.access_log.flush();
        self.metrics.add(Counter::LoopTurns, 1);
        self.metrics.add(Counter::SystemCalls, io.system_calls() - self.system_calls);
        self.system_calls = io.system_calls();
        self.metrics.set(Counter::ConnectionsOpen, u64::from(self.open_downstreams));
        self.metrics.set(Counter::DatagramSessionsOpen, self.datagrams.open() as u64);
        self.metrics.set(Counter::UpstreamIdle, self.pool.len() as u64);
        let wait_ms = self.wheel.wait_ms(self.now_ms());
        let kept_ms = self.descriptors.expire(self.now_ms());
        let wait_ms = [wait_ms, goaway_ms, kept_ms].into_iter().flatten().min();
        match self.drain {
            None => wait_ms,
            Some(drain) => match (self.go_on_draining(io, drain), wait_ms) {
                (Some(left), Some(wait)) => Some(left.min(wait)),
                (left, wait) => left.or(wait),
            },
        }
    }
}

impl Worker {
    /// Ends a client connection at once, whatever it is doing.
    pub fn abort<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        self.release_upstream(io, socket);
        self.end_exchange_badly(socket);
        if self.is_stream(socket) {
            return self.drop_stream(socket, Code::Internal);
        }
        self.end_streams(io, socket);
        if let Some(down) = self.downstream(socket) {
            down.phase = Phase::Closing;
            io.close(socket, Close::Now);
        }
    }
}

#[cfg(test)]
mod tests;
