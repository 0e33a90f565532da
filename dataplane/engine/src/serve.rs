//! `zeroserve-engine serve`: the engine process. Starts control, the log writer and one worker per core.

use crate::access_log::AccessLog;
use crate::control::{WorkerReceiver, WorkerSender};
use crate::metrics::WorkerMetrics;
use crate::passwords::Passwords;
use crate::snapshot::Snapshot;
use std::sync::Arc;
use std::sync::mpsc::Sender;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoChoice {
    Auto,
    IoUring,
    Epoll,
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
    /// Send exactly once, when the ring is up and before the first accept: seccomp follows when all have.
    pub ready: Sender<IoReport>,
}
