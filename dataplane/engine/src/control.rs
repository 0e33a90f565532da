//! The engine's end of the control socket: frames in, the next snapshot out to every worker.

use crate::exchange::ListenerId;
use crate::snapshot::Snapshot;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// From control to one worker. The worker's ring polls `WorkerReceiver::descriptor` and then drains the queue.
pub enum WorkerMessage {
    /// Serve this from the next request on; drop the acknowledgement when that holds.
    Snapshot(Arc<Snapshot>, Acknowledgement),
    /// A listening socket of this worker's own, to accept from until `Unlisten`.
    Listen(ListenerId, OwnedFd),
    Unlisten(ListenerId),
    /// Stop accepting, `Connection: close` on answers, end what is left at the deadline; then, with `exit`, return.
    Drain {
        timeout_ms: u64,
        exit: bool,
    },
    /// The answer of the password pool to the connection that asked (`ticket` is the connection's own).
    PasswordChecked {
        ticket: u64,
        right: bool,
    },
}

/// Dropping it tells control that this worker serves the snapshot.
pub struct Acknowledgement {
    _done: Option<Sender<()>>,
}

impl Acknowledgement {
    /// For tests and simulations: nobody waits for it.
    pub fn ignored() -> Self {
        Self { _done: None }
    }
}

pub struct WorkerSender {
    queue: Sender<WorkerMessage>,
    event: Arc<OwnedFd>,
}

impl Clone for WorkerSender {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), event: self.event.clone() }
    }
}

pub struct WorkerReceiver {
    queue: Receiver<WorkerMessage>,
    event: Arc<OwnedFd>,
}

/// A worker's queue: any thread sends, the eventfd becomes readable.
pub fn worker_channel() -> io::Result<(WorkerSender, WorkerReceiver)> {
    let event = Arc::new(create_event()?);
    let (sender, receiver) = channel();
    Ok((WorkerSender { queue: sender, event: event.clone() }, WorkerReceiver { queue: receiver, event }))
}

impl WorkerSender {
    /// False when the worker is gone.
    pub fn send(&self, message: WorkerMessage) -> bool {
        let sent = self.queue.send(message).is_ok();
        // SAFETY: writes eight bytes of a local to a descriptor that `self` keeps open.
        unsafe { libc::write(self.event.as_raw_fd(), (&raw const ONE).cast(), 8) };
        sent
    }
}

impl WorkerReceiver {
    /// Readable (eventfd, non-blocking) when messages wait. Poll it, then call `take` until None.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
    /// Resets the eventfd: call before the `take` loop.
    pub fn reset(&self) {
        let mut value = 0u64;
        // SAFETY: reads eight bytes into a local.
        unsafe { libc::read(self.event.as_raw_fd(), (&raw mut value).cast(), 8) };
    }
    pub fn take(&self) -> Option<WorkerMessage> {
        self.queue.try_recv().ok()
    }
}

static ONE: u64 = 1;

fn create_event() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let descriptor: RawFd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just created, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
