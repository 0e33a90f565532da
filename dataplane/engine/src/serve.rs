//! `zeroserve-engine serve`: the engine process. Starts the log writer, the password pool, one worker per core and then
//! control; gives up its rights when all workers are ready and before the first byte of a client.

use crate::access_log::writing::{self, Writers};
use crate::access_log::{AccessLog, log as log_line};
use crate::control::{Control, WorkerReceiver, WorkerSender, worker_channel};
use crate::exchange::surroundings::note_machine;
use crate::files::pool::Files;
use crate::metrics::{Counter, Lot, Region, WorkerMetrics};
use crate::passwords::Passwords;
use crate::plugins::fetching::Fetches;
use crate::program::{abi, image};
use crate::snapshot::{Snapshot, Store, system_roots};
use crate::tls::tickets::Key;
use crate::tokens::{self, asking};
use crate::{landlock, protocol, seccomp, worker};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoChoice {
    Auto,
    IoUring,
    Epoll,
}

impl IoChoice {
    pub fn name(self) -> &'static str {
        match self {
            IoChoice::Auto => "auto",
            IoChoice::IoUring => "io_uring",
            IoChoice::Epoll => "epoll",
        }
    }
}

/// What a worker found when it set up its ring: goes into Hello.
#[derive(Clone, Debug)]
pub struct IoReport {
    /// "io_uring" or "epoll".
    pub backend: &'static str,
    /// Why not io_uring.
    pub reason: String,
}

/// Everything `worker::run(context)` gets. It returns when drained with `exit`, or with a fatal error.
pub struct WorkerContext {
    pub index: usize,
    pub io: IoChoice,
    pub snapshot: Arc<Snapshot>,
    pub messages: WorkerReceiver,
    /// To this worker itself, for the password pool's answers.
    pub myself: WorkerSender,
    pub metrics: WorkerMetrics,
    pub access_log: AccessLog,
    pub passwords: Arc<Passwords>,
    pub files: Arc<Files>,
    pub fetches: Arc<Fetches>,
    /// Send exactly once, when the ring is up and before the first accept: seccomp follows when all have.
    pub ready: Sender<IoReport>,
}

/// What the supervisor passes on.
pub struct Options {
    pub control: OwnedFd,
    pub metrics: OwnedFd,
    /// Which blocks of the shared counters are this engine's.
    pub lot: Lot,
    pub io: IoChoice,
    /// This engine may read files: its configuration is its owner's, not a tenant's.
    pub files: bool,
    /// What the keys of session tickets are derived from.
    pub ticket_key: Key,
    /// Where the agent takes log lines of files and networks.
    pub log_socket: Option<PathBuf>,
    /// Where the agent leases tokens of shared rate limits.
    pub token_socket: Option<PathBuf>,
}

/// The kernel keeps the first 15 characters.
pub const PROCESS_NAME: &str = "zeroserve-engine";

/// Runs the engine until it is drained, or the supervisor is gone.
pub fn run(options: Options) -> io::Result<()> {
    // It may have been started as /proc/self/exe: what lists processes shall show it by its name.
    let _ = std::fs::write("/proc/self/comm", PROCESS_NAME);
    if options.files
        && let Err(error) = landlock::refuse_writing()
    {
        log_line("engine", &format!("no Landlock: {error}"));
    }
    let workers = options.lot.workers;
    let region = Region::map(options.metrics.as_fd(), Lot::all_blocks(workers))?;
    region.reset_gauges(options.lot);
    drop(options.metrics);
    let own_metrics = region.block_of(options.lot, workers);
    system_roots();
    note_machine();
    let native = image::probe_native();
    own_metrics.set(Counter::NativeAllowed, u64::from(native.is_ok()));
    let store = Store::with_ticket_key(options.ticket_key);
    let (log, log_threads) = writing::start(options.log_socket, own_metrics.clone())?;
    asking::start(tokens::table(), options.token_socket, own_metrics.clone())?;
    let started = Started {
        log,
        passwords: Passwords::start()?,
        files: Files::start(options.files)?,
        fetches: Fetches::start()?,
        region,
        lot: options.lot,
    };
    let (ready, reports) = channel();
    let (senders, threads) = start_workers(options.io, &store.initial_snapshot(), &started, &ready)?;
    drop(ready);
    let report = wait_until_ready(&reports, workers)?;
    let hello = protocol::Hello {
        abi: abi::ABI_VERSION as u32,
        version: env!("CARGO_PKG_VERSION").into(),
        target: image::TARGET.into(),
        io: report.backend.into(),
        io_reason: report.reason,
        native: native.is_ok(),
        native_reason: native.err().unwrap_or_default(),
    };
    log_line("engine", &format!("{workers} workers on {} {}", hello.io, hello.io_reason));
    if !hello.native {
        log_line("engine", &format!("programs are interpreted: {}", hello.native_reason));
    }
    let rings = if hello.io == "io_uring" { seccomp::Rings::IoUring } else { seccomp::Rings::Epoll };
    let mut control = Control::new(options.control, store, senders, own_metrics);
    thread::Builder::new().name("control".into()).spawn(move || {
        let result = seccomp::restrict(rings, options.files).and_then(|()| control.run(hello));
        if let Err(error) = result {
            log_line("control", &error.to_string());
        }
        // Without the supervisor nobody keeps the sockets: leave them to its successor at once.
        std::process::exit(1);
    })?;
    join_workers(threads)?;
    // What is logged is written before the process ends; the supervisor waits for it only so long.
    drop(started);
    for thread in log_threads {
        let _ = thread.join();
    }
    Ok(())
}

/// What workers share.
struct Started {
    log: Writers,
    passwords: Arc<Passwords>,
    files: Arc<Files>,
    fetches: Arc<Fetches>,
    region: Arc<Region>,
    lot: Lot,
}

type Workers = (Vec<WorkerSender>, Vec<JoinHandle<io::Result<()>>>);

fn start_workers(
    io: IoChoice,
    snapshot: &Arc<Snapshot>,
    started: &Started,
    ready: &Sender<IoReport>,
) -> io::Result<Workers> {
    let (mut senders, mut threads) = (Vec::new(), Vec::new());
    for index in 0..started.lot.workers {
        let (sender, messages) = worker_channel()?;
        let metrics = started.region.block_of(started.lot, index);
        let context = WorkerContext {
            index,
            io,
            snapshot: snapshot.clone(),
            messages,
            myself: sender.clone(),
            access_log: AccessLog::new(started.log.clone(), metrics.clone()),
            metrics,
            passwords: started.passwords.clone(),
            files: started.files.clone(),
            fetches: started.fetches.clone(),
            ready: ready.clone(),
        };
        senders.push(sender);
        threads.push(
            thread::Builder::new().name(format!("worker-{index}")).spawn(move || worker::run(context))?,
        );
    }
    Ok((senders, threads))
}

/// The last report stands for all: the kernel gives every worker the same.
fn wait_until_ready(reports: &Receiver<IoReport>, workers: usize) -> io::Result<IoReport> {
    let mut last = None;
    for _ in 0..workers {
        last = Some(reports.recv().map_err(|_| io::Error::other("a worker did not start"))?);
    }
    last.ok_or_else(|| io::Error::other("no workers"))
}

/// A worker that fails takes the process with it: the supervisor starts the next one.
fn join_workers(threads: Vec<JoinHandle<io::Result<()>>>) -> io::Result<()> {
    for thread in threads {
        match thread.join() {
            Ok(result) => result?,
            Err(_) => return Err(io::Error::other("a worker panicked")),
        }
    }
    Ok(())
}
