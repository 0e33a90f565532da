//! `zeroserve-engine supervise`: the process that outlives engines. It binds and keeps listening sockets, keeps what was
//! committed, starts an engine again at once when it ends, replaces it when told to, and parses no traffic.
//!
//! One thread around poll(2): the agent's socket, the engine's socket, signals. A commit is answered only after the
//! engine serves it; an engine that dies over a commit twice has that commit refused, and serves on with the former.

mod engine;
mod frame_log;
mod listening;
mod retaining;
mod signals;
mod spawning;
mod unix_sockets;
mod upgrading;

pub use spawning::{CONTROL_DESCRIPTOR, METRICS_DESCRIPTOR};

use crate::access_log::log;
use crate::frames::{self, Fill, FrameReader};
use crate::metrics::{self, Lot, Region};
use crate::protocol::{self, frame};
use crate::ring::addresses;
use crate::serve::IoChoice;
use crate::{memory, program};
use engine::Engine;
use retaining::{Book, Staging};
use signals::Signals;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use upgrading::Upgrades;

pub struct Options {
    pub socket: PathBuf,
    pub workers: usize,
    pub io: IoChoice,
    pub exit_with_parent: bool,
    /// Engines may read files.
    pub files: bool,
    /// Passed on to engines.
    pub log_socket: Option<PathBuf>,
    pub token_socket: Option<PathBuf>,
}

/// An engine that falls this often in `CRASH_WINDOW` is started again only after `RESTART_DELAY`.
const CRASHES_MAX: usize = 5;
const CRASH_WINDOW: Duration = Duration::from_secs(10);
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// Engines that died over the same commit before it is refused.
const COMMIT_ATTEMPTS_MAX: u32 = 2;
/// After a drain's own deadline, until the engine is killed.
const EXIT_GRACE: Duration = Duration::from_secs(5);
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

struct Agent {
    socket: UnixStream,
    reader: FrameReader,
    staged: Staging,
    /// There was no room for a descriptor that came with what is staged.
    lacks_descriptor: bool,
}

impl Agent {
    fn new(socket: UnixStream) -> Self {
        Self { socket, reader: FrameReader::default(), staged: Staging::default(), lacks_descriptor: false }
    }

    fn stage_put(&mut self, put: protocol::Put) -> io::Result<()> {
        match self.reader.take_descriptors(usize::from(put.descriptor))? {
            Some(mut descriptors) => self.staged.put(put, descriptors.pop()),
            None => {
                self.lacks_descriptor = true;
                Ok(())
            }
        }
    }
}

/// A commit that the engine has not answered yet.
struct Pending {
    commit: protocol::Commit,
    staged: Staging,
    refused: Vec<protocol::RefusedResource>,
    attempts: u32,
    sent: bool,
}

struct Supervisor {
    options: Options,
    listener: UnixListener,
    signals: Signals,
    metrics: OwnedFd,
    region: Arc<Region>,
    /// Where the engine's binary lay when this process started: what lies there now is the next version.
    path: PathBuf,
    agent: Option<Agent>,
    engine: Option<Engine>,
    upgrades: Upgrades,
    book: Book,
    pending: Option<Pending>,
    restarts: u64,
    crashes: VecDeque<Instant>,
    start_at: Option<Instant>,
    /// Set once: when the engine is killed, if it has not left by then.
    stopping: Option<Instant>,
}

/// Runs until told to stop. Ok: the engine has drained.
pub fn run(options: Options) -> io::Result<()> {
    addresses::raise_descriptor_limit();
    let signals = Signals::block()?;
    if options.exit_with_parent {
        signals::follow_parent()?;
    }
    let blocks = Lot::all_blocks(options.workers);
    let metrics = metrics::create(blocks)?;
    let region = Region::map(metrics.as_fd(), blocks)?;
    let path = std::env::current_exe()?;
    let listener = bind_socket(&options.socket)?;
    let mut supervisor = Supervisor {
        options,
        listener,
        signals,
        metrics,
        region,
        path,
        agent: None,
        engine: None,
        upgrades: Upgrades::default(),
        book: Book::default(),
        pending: None,
        restarts: 0,
        crashes: VecDeque::new(),
        start_at: Some(Instant::now()),
        stopping: None,
    };
    let result = supervisor.serve();
    let _ = std::fs::remove_file(&supervisor.options.socket);
    result
}

fn bind_socket(path: &std::path::Path) -> io::Result<UnixListener> {
    // A socket that a killed supervisor left behind.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Supervisor {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            if self.start_at.is_some_and(|at| at <= Instant::now()) {
                self.start_engine()?;
            }
            if self.stopping.is_some_and(|deadline| deadline <= Instant::now()) {
                log("supervisor", "the engine did not leave in time and is killed");
                self.engine.as_mut().map_or(Ok(()), Engine::kill)?;
            }
            let ready = self.wait()?;
            if ready.signals {
                self.take_signals()?;
            }
            if ready.engine {
                self.read_engine();
            }
            if ready.next {
                self.read_next();
            }
            self.reap_engine();
            self.reap_upgrades()?;
            if self.stopping.is_some() && self.engine.is_none() && self.upgrades.has_left() {
                return Ok(());
            }
            if ready.listener {
                self.accept_agent();
            }
            if ready.agent {
                self.read_agent();
            }
        }
    }

    fn wait(&self) -> io::Result<signals::Ready> {
        let wake = [self.start_at, self.stopping, self.upgrades.wake_at()].into_iter().flatten().min();
        let timeout = wake.map(|at| at.saturating_duration_since(Instant::now()));
        // While a commit is under way the agent waits, and so does what it sends.
        let agent = self.agent.as_ref().filter(|_| self.pending.is_none());
        signals::poll(
            &self.signals,
            &self.listener,
            agent.map(|agent| agent.socket.as_fd()),
            self.engine.as_ref().map(Engine::socket),
            self.upgrades.next.as_ref().map(Engine::socket),
            timeout,
        )
    }

    fn take_signals(&mut self) -> io::Result<()> {
        for signal in self.signals.take()? {
            match signal {
                // It only wakes: `reap_engine` follows every turn.
                libc::SIGCHLD => {}
                libc::SIGUSR2 => self.ask_for_upgrade(),
                _ => self.stop(0),
            }
        }
        Ok(())
    }

    /// Drains and leaves. 0: the settings' deadline.
    fn stop(&mut self, timeout_ms: u32) {
        if self.stopping.is_some() {
            return;
        }
        let drain =
            if timeout_ms == 0 { Duration::from_secs(60) } else { Duration::from_millis(timeout_ms.into()) };
        let deadline = Instant::now() + drain;
        self.stopping = Some(deadline + EXIT_GRACE);
        self.start_at = None;
        self.stop_upgrading(deadline);
        self.book.close_listeners();
        if let Some(engine) = &self.engine {
            // A dead engine has nothing to drain.
            let _ = engine.send(frame::Frame::Drain(protocol::Drain { timeout_ms, exit: true }));
        }
    }

    fn start_engine(&mut self) -> io::Result<()> {
        self.start_at = None;
        let lot = self.free_lot().unwrap_or_default();
        // What this process itself was made of, whatever lies at its path by now.
        let engine = Engine::start(&self.options, Path::new("/proc/self/exe"), lot, self.metrics.as_fd())?;
        // An engine that dies while it is fed is seen by `reap_engine`.
        let _ = self.feed(&engine);
        self.engine = Some(engine);
        self.tell_state();
        Ok(())
    }

    /// Hands all that was committed to an engine that has just been started.
    fn feed(&self, engine: &Engine) -> io::Result<()> {
        self.book.feed(engine.socket())?;
        let commit = protocol::Commit { sequence: 0, start: true, ..protocol::Commit::default() };
        engine.send(frame::Frame::Commit(commit))
    }

    fn reap_engine(&mut self) {
        let Some(status) = self.engine.as_mut().and_then(Engine::ended) else { return };
        if let Some(engine) = self.engine.take() {
            self.region.reset_gauges(engine.counters());
        }
        if self.stopping.is_some() {
            return self.tell_state();
        }
        log("supervisor", &format!("the engine ended ({status}) and is started again"));
        self.restarts += 1;
        self.engine = self.upgrades.take_next();
        self.tell_state();
        if self.engine.is_some() {
            return;
        }
        let now = Instant::now();
        self.crashes.push_back(now);
        self.crashes.retain(|&at| now - at < CRASH_WINDOW);
        let delay = if self.crashes.len() > CRASHES_MAX { RESTART_DELAY } else { Duration::ZERO };
        self.start_at = Some(now + delay);
        if self
            .pending
            .as_ref()
            .is_some_and(|pending| pending.sent && pending.attempts >= COMMIT_ATTEMPTS_MAX)
        {
            self.refuse_commit();
        } else if let Some(pending) = &mut self.pending {
            pending.sent = false;
        }
    }

    fn refuse_commit(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        self.book.reject(&pending.staged);
        let reason = "the engine ended while it took the change".to_owned();
        let puts = pending.staged.describe().into_iter();
        let refused =
            puts.map(|(r#type, name)| protocol::RefusedResource { r#type, name, reason: reason.clone() });
        let (sequence, refused) = (pending.commit.sequence, refused.collect());
        let committed = protocol::Committed { sequence, refused, ..protocol::Committed::default() };
        self.tell(frame::Frame::Committed(committed), &[]);
    }

    fn read_engine(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        match engine.read() {
            Ok(frames) => frames.into_iter().for_each(|frame| self.take_from_engine(frame)),
            Err(error) => {
                log("supervisor", &format!("the engine's socket: {error}"));
                // It is of no use any more; the next one starts clean.
                let _ = self.engine.as_mut().map_or(Ok(()), Engine::kill);
            }
        }
    }

    fn take_from_engine(&mut self, frame: frame::Frame) {
        match frame {
            frame::Frame::Hello(hello) => {
                if let Some(engine) = &mut self.engine {
                    engine.hello = Some(hello);
                }
                self.tell_state();
            }
            frame::Frame::Committed(committed) if committed.sequence == 0 => {
                if let Some(engine) = &mut self.engine {
                    engine.fed = true;
                }
                self.send_pending();
                self.go_on_upgrading();
            }
            frame::Frame::Committed(committed) => self.finish_commit(committed),
            frame::Frame::Purged(purged) => self.tell(frame::Frame::Purged(purged), &[]),
            other => log("supervisor", &format!("unexpected frame of the engine: {other:?}")),
        }
    }

    fn finish_commit(&mut self, mut committed: protocol::Committed) {
        let Some(pending) = self.pending.take_if(|pending| pending.commit.sequence == committed.sequence)
        else {
            return;
        };
        let changes = pending.staged.len();
        let is_taken = committed.shortage.is_empty();
        if is_taken {
            committed.refused.splice(..0, pending.refused);
        }
        let refused = committed.refused.clone();
        // The agent is told first: now and then, what is kept is packed, which takes as long as all else.
        self.tell(frame::Frame::Committed(committed), &[]);
        if is_taken {
            self.book.adopt(pending.staged, &refused);
        } else {
            self.book.reject(&pending.staged);
        }
        if changes >= memory::GIVE_BACK_AT_CHANGES {
            memory::give_back();
        }
        self.go_on_upgrading();
    }

    /// Hands the waiting commit to an engine that has everything before it.
    fn send_pending(&mut self) {
        // The next engine was fed what was committed when it started.
        if self.upgrades.is_under_way() {
            return;
        }
        let Some(engine) = self.engine.as_ref().filter(|engine| engine.fed) else { return };
        let Some(pending) = self.pending.as_mut().filter(|pending| !pending.sent) else { return };
        pending.sent = true;
        pending.attempts += 1;
        // Err: the engine is gone; `reap_engine` sees it and the next one gets the commit again.
        let forwarded =
            self.book.forward(&pending.staged, &pending.commit, self.options.workers, engine.socket());
        let Ok(refused) = forwarded else { return };
        for one in &refused {
            log("supervisor", &format!("listener {}: {}", one.name, one.reason));
        }
        pending.refused = refused;
    }

    fn accept_agent(&mut self) {
        let Ok((socket, _)) = self.listener.accept() else { return };
        // Whoever is refused is none that could count.
        if let Err(error) = signals::check_peer(&socket) {
            return log("supervisor", &format!("agent: {error}"));
        }
        if let Err(error) = self.greet(socket) {
            self.lose_agent(&error);
        }
    }

    /// The newest agent is the one that counts.
    fn greet(&mut self, socket: UnixStream) -> io::Result<()> {
        socket.set_nonblocking(false)?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        let region = metrics::describe(Lot::all_blocks(self.options.workers));
        frames::send(socket.as_fd(), frame::Frame::Hello(self.hello()), &[])?;
        frames::send(socket.as_fd(), frame::Frame::Metrics(region), &[self.metrics.as_fd()])?;
        frames::send(socket.as_fd(), frame::Frame::State(self.state()), &[])?;
        frames::send(socket.as_fd(), frame::Frame::Retained(self.book.describe()), &[])?;
        self.agent = Some(Agent::new(socket));
        Ok(())
    }

    fn hello(&self) -> protocol::Hello {
        let engine = self.engine.as_ref().and_then(|engine| engine.hello.clone());
        engine.unwrap_or_else(|| protocol::Hello {
            abi: program::abi::ABI_VERSION as u32,
            version: env!("CARGO_PKG_VERSION").into(),
            target: program::image::TARGET.into(),
            ..protocol::Hello::default()
        })
    }

    fn state(&self) -> protocol::EngineState {
        let mut state = protocol::EngineState {
            running: self.engine.as_ref().is_some_and(|engine| engine.hello.is_some()),
            pid: self.engine.as_ref().map_or(0, Engine::pid),
            restarts: self.restarts,
            hello: self.engine.as_ref().and_then(|engine| engine.hello.clone()),
            ..protocol::EngineState::default()
        };
        self.upgrades.describe(&mut state);
        state
    }

    fn tell_state(&mut self) {
        self.tell(frame::Frame::State(self.state()), &[]);
    }

    fn tell(&mut self, frame: frame::Frame, descriptors: &[BorrowedFd<'_>]) {
        let told = self.agent.as_ref().map(|agent| frames::send(agent.socket.as_fd(), frame, descriptors));
        if let Some(Err(_)) = told {
            self.agent = None;
        }
    }

    fn read_agent(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        let result = agent.reader.fill(agent.socket.as_fd()).and_then(|fill| match fill {
            Fill::End => Ok(false),
            _ => self.take_agent_frames().map(|()| true),
        });
        match result {
            Ok(true) => {}
            Ok(false) => self.agent = None,
            Err(error) => self.lose_agent(&error),
        }
    }

    fn lose_agent(&mut self, error: &io::Error) {
        // One that left has said why itself.
        if !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) {
            log("supervisor", &format!("agent: {error}"));
        }
        self.agent = None;
    }

    /// Stops at a commit: what follows waits for its answer.
    fn take_agent_frames(&mut self) -> io::Result<()> {
        while self.pending.is_none() {
            let Some(agent) = &mut self.agent else { return Ok(()) };
            let Some(frame) = agent.reader.take()? else { return Ok(()) };
            match frame {
                frame::Frame::Hello(_) => {}
                frame::Frame::Put(put) => agent.stage_put(put)?,
                frame::Frame::Remove(remove) => agent.staged.remove(remove),
                frame::Frame::Commit(commit) => {
                    let staged = std::mem::take(&mut agent.staged);
                    if std::mem::take(&mut agent.lacks_descriptor) {
                        let committed = protocol::Committed::lacking_descriptors(commit.sequence);
                        self.tell(frame::Frame::Committed(committed), &[]);
                        continue;
                    }
                    self.pending =
                        Some(Pending { commit, staged, refused: Vec::new(), attempts: 0, sent: false });
                    self.send_pending();
                }
                frame::Frame::Upgrade(_) => self.ask_for_upgrade(),
                frame::Frame::Purge(purge) => match &self.engine {
                    Some(engine) => engine.send(frame::Frame::Purge(purge))?,
                    // What is kept went with the engine.
                    None => self.tell(frame::Frame::Purged(protocol::Purged::default()), &[]),
                },
                frame::Frame::Drain(drain) if drain.exit => self.stop(drain.timeout_ms),
                frame::Frame::Drain(drain) => {
                    if let Some(engine) = &self.engine {
                        engine.send(frame::Frame::Drain(drain))?;
                    }
                }
                other => return Err(io::Error::other(format!("unexpected frame {other:?}"))),
            }
        }
        Ok(())
    }
}

/// For `signals::poll`.
fn raw(descriptor: Option<BorrowedFd<'_>>) -> i32 {
    descriptor.map_or(-1, |descriptor| descriptor.as_raw_fd())
}
