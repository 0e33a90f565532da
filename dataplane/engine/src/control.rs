//! The engine's end of the control socket: frames in, the next snapshot out to every worker.
//!
//! One thread. A commit is answered when all workers serve it from the next event on; what it refused is named in the
//! answer.

use crate::access_log::log;
use crate::cache;
use crate::exchange::ListenerId;
use crate::files::pool::Done;
use crate::frames::{self, FrameReader};
use crate::memory;
use crate::metrics::{Counter, WorkerMetrics};
use crate::plugins::memory::Fetched;
use crate::protocol::{self, ResourceType, frame};
use crate::snapshot::{Change, Refusal, Snapshot, Store};
use crate::tokens::Told;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
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
    /// What the wait for a token of a shared rate limit came to.
    TokenTaken {
        ticket: u64,
        told: Told,
    },
    /// The answer to a plugin's own request, to the connection that waits for it.
    Fetched {
        ticket: u64,
        fetched: Box<Fetched>,
    },
    /// The answer of the file pool to the connection that asked.
    FileDone {
        ticket: u64,
        done: Done,
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

#[derive(Clone)]
pub struct WorkerSender {
    queue: Sender<WorkerMessage>,
    bell: Arc<Bell>,
}

pub struct WorkerReceiver {
    queue: Receiver<WorkerMessage>,
    bell: Arc<Bell>,
}

/// How a worker hears of messages: asleep by the eventfd, and before anything else when its sleep ends by `rung`.
struct Bell {
    event: OwnedFd,
    /// Something was sent since the worker looked.
    rung: AtomicBool,
    /// The worker sleeps, or wakes and has not looked yet.
    asleep: AtomicBool,
}

/// A worker's queue: any thread sends, the eventfd becomes readable.
pub fn worker_channel() -> io::Result<(WorkerSender, WorkerReceiver)> {
    let bell = Arc::new(Bell {
        event: create_event()?,
        rung: AtomicBool::new(false),
        asleep: AtomicBool::new(false),
    });
    let (queue, receiver) = channel();
    Ok((WorkerSender { queue, bell: bell.clone() }, WorkerReceiver { queue: receiver, bell }))
}

impl WorkerSender {
    /// False when the worker is gone.
    pub fn send(&self, message: WorkerMessage) -> bool {
        let sent = self.queue.send(message).is_ok();
        self.bell.rung.store(true, SeqCst);
        // SAFETY: writes eight bytes of a local to a descriptor that `self` keeps open.
        unsafe { libc::write(self.bell.event.as_raw_fd(), (&raw const ONE).cast(), 8) };
        sent
    }

    /// Whether the worker will take what was sent before this call ahead of any event.
    ///
    /// True while it sleeps: it says that it is awake before it looks for messages, and both orders are total.
    fn is_asleep(&self) -> bool {
        self.bell.asleep.load(SeqCst)
    }
}

impl WorkerReceiver {
    /// Readable (eventfd, non-blocking) when messages wait. Poll it, then `reset`, then `take` until None.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.bell.event.as_fd()
    }

    /// The worker is about to wait for events; `wake_up` must follow before it handles one.
    pub fn fall_asleep(&self) {
        self.bell.asleep.store(true, SeqCst);
    }

    /// Its wait has ended: whether there are messages, to be taken before any event is handled.
    pub fn wake_up(&self) -> bool {
        self.bell.asleep.store(false, SeqCst);
        self.bell.rung.load(SeqCst)
    }

    /// Resets the eventfd: call before the `take` loop.
    pub fn reset(&self) {
        self.bell.rung.swap(false, SeqCst);
        let mut value = 0u64;
        // SAFETY: reads eight bytes into a local.
        unsafe { libc::read(self.bell.event.as_raw_fd(), (&raw mut value).cast(), 8) };
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

/// The control thread's state.
pub struct Control {
    socket: OwnedFd,
    reader: FrameReader,
    store: Store,
    staged: Vec<Change>,
    /// There was no room for a descriptor that came with what is staged.
    lacks_descriptor: bool,
    /// Sockets of listeners that are staged: one per worker.
    sockets: HashMap<Box<str>, Vec<OwnedFd>>,
    listening: HashMap<Box<str>, ListenerId>,
    workers: Vec<WorkerSender>,
    metrics: WorkerMetrics,
}

impl Control {
    pub fn new(socket: OwnedFd, store: Store, workers: Vec<WorkerSender>, metrics: WorkerMetrics) -> Self {
        Self {
            socket,
            reader: FrameReader::default(),
            store,
            staged: Vec::new(),
            lacks_descriptor: false,
            sockets: HashMap::new(),
            listening: HashMap::new(),
            workers,
            metrics,
        }
    }

    /// Says hello, then obeys until the supervisor is gone (Ok) or speaks nonsense (Err).
    pub fn run(&mut self, hello: protocol::Hello) -> io::Result<()> {
        frames::send(self.socket.as_fd(), frame::Frame::Hello(hello), &[])?;
        while let Some(frame) = self.reader.wait(self.socket.as_fd())? {
            self.handle(frame)?;
        }
        Ok(())
    }

    fn handle(&mut self, frame: frame::Frame) -> io::Result<()> {
        match frame {
            frame::Frame::Put(put) => self.stage_put(put)?,
            frame::Frame::Remove(remove) => {
                self.staged.push(Change::Remove { kind: remove.r#type(), name: remove.name });
            }
            frame::Frame::Commit(commit) => self.commit(&commit)?,
            frame::Frame::Drain(drain) => self.drain(&drain),
            frame::Frame::Purge(purge) => {
                let tenant = Some(purge.tenant.as_bytes()).filter(|tenant| !tenant.is_empty());
                let answers = cache::store::store().purge(tenant, purge.target.as_bytes());
                let purged = frame::Frame::Purged(protocol::Purged { answers });
                frames::send(self.socket.as_fd(), purged, &[])?;
            }
            // The supervisor and the engine are one binary: nothing to compare.
            frame::Frame::Hello(_) => {}
            other => return Err(io::Error::other(format!("unexpected frame {other:?}"))),
        }
        Ok(())
    }

    fn stage_put(&mut self, put: protocol::Put) -> io::Result<()> {
        let resource = put.resource.ok_or_else(|| io::Error::other("put without resource"))?;
        let kind = resource.r#type();
        let wanted = match (put.descriptor, kind) {
            (false, _) => 0,
            (true, ResourceType::Listener) => self.workers.len(),
            (true, _) => 1,
        };
        let Some(mut descriptors) = self.reader.take_descriptors(wanted)? else {
            log("control", &format!("{} {}: {}", kind.as_str_name(), resource.name, frames::NO_DESCRIPTOR));
            self.lacks_descriptor = true;
            return Ok(());
        };
        let descriptor = if kind == ResourceType::Listener {
            self.sockets.insert(resource.name.as_str().into(), descriptors);
            None
        } else {
            descriptors.pop()
        };
        self.staged.push(Change::Put { kind, name: resource.name, payload: resource.payload, descriptor });
        Ok(())
    }

    fn commit(&mut self, commit: &protocol::Commit) -> io::Result<()> {
        let staged = std::mem::take(&mut self.staged);
        // What an engine starts with is served as far as it came; a change is taken whole.
        if std::mem::take(&mut self.lacks_descriptor) && commit.sequence != 0 {
            self.sockets.clear();
            return self.answer(protocol::Committed::lacking_descriptors(commit.sequence));
        }
        let changes = staged.len();
        let (snapshot, refusals) = self.store.commit(&commit.snapshot, staged);
        for refusal in &refusals {
            let Refusal { kind, name, reason } = refusal;
            log("control", &format!("refused {} {name}: {reason}", kind.as_str_name()));
        }
        publish(&self.workers, &snapshot);
        self.update_listening(&snapshot);
        self.count(refusals.len());
        drop(snapshot);
        let refused = refusals.into_iter().map(|refusal| protocol::RefusedResource {
            r#type: refusal.kind.into(),
            name: refusal.name,
            reason: refusal.reason,
        });
        let (sequence, refused) = (commit.sequence, refused.collect());
        self.answer(protocol::Committed { sequence, refused, ..protocol::Committed::default() })?;
        if changes >= memory::GIVE_BACK_AT_CHANGES {
            memory::give_back();
        }
        Ok(())
    }

    fn answer(&self, committed: protocol::Committed) -> io::Result<()> {
        frames::send(self.socket.as_fd(), frame::Frame::Committed(committed), &[])
    }

    fn update_listening(&mut self, snapshot: &Snapshot) {
        let gone: Vec<_> = self.listening.extract_if(|_, id| snapshot.listener(*id).is_none()).collect();
        for (_, id) in gone {
            for worker in &self.workers {
                worker.send(WorkerMessage::Unlisten(id));
            }
        }
        for listener in snapshot.listeners() {
            let Some(sockets) = self.sockets.remove(&*listener.name) else { continue };
            let former = self.listening.insert((*listener.name).into(), listener.id);
            for (worker, socket) in self.workers.iter().zip(sockets) {
                if former.is_some() {
                    worker.send(WorkerMessage::Unlisten(listener.id));
                }
                worker.send(WorkerMessage::Listen(listener.id, socket));
            }
        }
    }

    fn count(&self, refused: usize) {
        let (images, native) = self.store.image_counts();
        self.metrics.add(Counter::Snapshots, 1);
        self.metrics.add(Counter::ResourcesRefused, refused as u64);
        self.metrics.set(Counter::VirtualHosts, self.store.host_count());
        self.metrics.set(Counter::ImagesNative, native);
        self.metrics.set(Counter::ImagesInterpreted, images - native);
    }

    fn drain(&self, drain: &protocol::Drain) {
        let timeout_ms = match drain.timeout_ms {
            0 => self.store.drain_timeout_ms(),
            timeout_ms => u64::from(timeout_ms),
        };
        if drain.exit {
            // The next engine counts what it serves; both are added up.
            for gauge in [Counter::VirtualHosts, Counter::ImagesNative, Counter::ImagesInterpreted] {
                self.metrics.set(gauge, 0);
            }
            self.metrics.set(Counter::NativeAllowed, 0);
        }
        for worker in &self.workers {
            worker.send(WorkerMessage::Drain { timeout_ms, exit: drain.exit });
        }
    }
}

/// Hands the snapshot to every worker and waits until all that are awake serve it: the others begin with it.
fn publish(workers: &[WorkerSender], snapshot: &Arc<Snapshot>) {
    let mut awaited = Vec::new();
    for worker in workers {
        let (done, is_done) = channel();
        let acknowledgement = Acknowledgement { _done: Some(done) };
        worker.send(WorkerMessage::Snapshot(snapshot.clone(), acknowledgement));
        if !worker.is_asleep() {
            awaited.push(is_done);
        }
    }
    for is_done in awaited {
        // Nothing is ever sent: the wait ends when the acknowledgement is dropped.
        let _ = is_done.recv();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::RecvTimeoutError;
    use std::time::Duration;

    /// Sleeps and looks for messages as the rings do, and answers who asks with the snapshot that it has.
    fn serve(messages: &WorkerReceiver, asked: &Receiver<Sender<Arc<Snapshot>>>, first: Arc<Snapshot>) {
        let mut served = first;
        loop {
            messages.fall_asleep();
            let event = asked.recv_timeout(Duration::from_micros(50));
            if messages.wake_up() {
                messages.reset();
                while let Some(WorkerMessage::Snapshot(snapshot, _)) = messages.take() {
                    served = snapshot;
                }
            }
            match event {
                Ok(answer) => answer.send(served.clone()).unwrap(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    #[test]
    fn what_is_published_is_served_at_once_by_workers_awake_and_asleep() {
        let mut store = Store::default();
        let (first, _) = store.commit("first", Vec::new());
        let (workers, asking): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| {
                let (worker, messages) = worker_channel().unwrap();
                let (asking, asked) = channel();
                let first = first.clone();
                std::thread::spawn(move || serve(&messages, &asked, first));
                (worker, asking)
            })
            .unzip();
        for _ in 0..2_000 {
            let (published, _) = store.commit("next", Vec::new());
            publish(&workers, &published);
            for one in &asking {
                let (answer, answered) = channel();
                one.send(answer).unwrap();
                assert!(Arc::ptr_eq(&answered.recv().unwrap(), &published));
            }
        }
    }
}
