//! io_uring backend: one ring per worker thread, direct descriptors, a ring of provided receive buffers, one
//! enter per loop turn. The ring is restricted to the operations below before it is enabled.
//!
//! Rules of memory: a buffer given to the kernel stays where it is until its completion came (`flying` while `sending`,
//! the connect address while `connecting`, accept addresses for ever); a socket is closed only after both.
#![allow(unsafe_code)]

mod buffers;
mod files;
mod opening;
mod relaying;
mod setup;
mod sockets;
#[cfg(test)]
mod tests;

use self::buffers::ReceiveBuffers;
use super::addresses::{self, RawAddress};
use super::resting::AcceptRest;
use super::{BufferPool, Close, End, FileSent, Handler, Io, SocketId};
use crate::exchange::Clock;
use crate::limits::*;
use io_uring::types::{DestinationSlot, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

const ACCEPT: u64 = 1;
const RECEIVE: u64 = 2;
const SEND: u64 = 3;
const CONNECT: u64 = 4;
const CLOSE: u64 = 5;
const WAKE: u64 = 6;
const IGNORED: u64 = 7;
const INSTALL: u64 = 8;
const ROOM: u64 = 9;
const WATCH: u64 = 10;
const RELAY: u64 = 11;
const SHUTDOWN: u64 = 12;

const SUBMISSIONS: u32 = 4096;
const COMPLETIONS: u32 = 16384;
const BUFFER_GROUP: u16 = 0;
const GENERATION_MASK: u32 = 0xff_ffff;
/// IORING_RECVSEND_POLL_FIRST: a fresh socket has nothing to read yet, do not try.
const POLL_FIRST: u16 = 1;

#[derive(Default)]
struct Socket {
    generation: u32,
    open: bool,
    /// A multishot receive is armed in the kernel.
    receiving: bool,
    /// Bytes that the armed one may still bring, and those of the next one.
    receivable: u32,
    read_ahead: u32,
    wants_data: bool,
    sending: bool,
    connecting: bool,
    closing: bool,
    dirty: bool,
    ended: bool,
    /// Nobody takes our bytes any more; what came before that is being received.
    broken: bool,
    notify: bool,
    shutdown: bool,
    /// Under way in a thread of the kernel, which will look for the socket by its place: nobody else may have that yet.
    shutting: bool,
    offset: usize,
    sent: u64,
    flying: Vec<u8>,
    out: Vec<u8>,
    address: Option<Box<RawAddress>>,
    lent: files::Lent,
    /// A poll for room to send is armed in the kernel.
    polling: bool,
    relay: Option<Box<relaying::Relay>>,
    /// Whose relay brings bytes to this socket.
    relayed_from: Option<u32>,
}

struct Acceptor {
    address: RawAddress,
    listener: usize,
    slot: u32,
    armed: bool,
    /// The kernel was asked for an ordinary descriptor.
    reads_local: bool,
}

struct Listening {
    key: u32,
    descriptor: Option<OwnedFd>,
    local: SocketAddr,
    reads_local: bool,
}

/// The backend.
pub struct Uring {
    ring: IoUring,
    sockets: Vec<Socket>,
    free: Vec<u32>,
    sockets_max: u32,
    dirty: Vec<u32>,
    rearm: Vec<u32>,
    pool: BufferPool,
    buffers: ReceiveBuffers,
    listenings: Vec<Listening>,
    // Boxed: the kernel writes the address while the vector may grow.
    #[allow(clippy::vec_box)]
    acceptors: Vec<Box<Acceptor>>,
    accepting: bool,
    rest: AcceptRest,
    /// Accepts are cancelled for good.
    leaving: bool,
    wake: RawFd,
    /// Sockets of others by their key: generation and descriptor.
    watched: HashMap<u32, (u32, RawFd)>,
    watches: u32,
    clock: Clock,
    system_calls: u64,
    stopped: bool,
    /// Sockets that have a descriptor besides; None: they cannot (before Linux 6.8).
    lent: Option<u32>,
    relays: usize,
    receiving: setup::Receiving,
}

fn user_data(operation: u64, generation: u32, index: u32) -> u64 {
    operation << 56 | u64::from(generation & GENERATION_MASK) << 32 | u64::from(index)
}

impl Uring {
    /// Fails where io_uring is refused or too old; the error is the reason to log. `wake` stays open and
    /// readable events on it come as `on_wake`. Must be called on the thread that runs the ring.
    pub fn new(wake: BorrowedFd<'_>) -> io::Result<Uring> {
        let mut builder = IoUring::<squeue::Entry, cqueue::Entry>::builder();
        builder.setup_single_issuer().setup_coop_taskrun().setup_defer_taskrun();
        builder.setup_cqsize(COMPLETIONS).setup_submit_all().setup_r_disabled();
        let mut ring: IoUring = builder.build(SUBMISSIONS)?;
        let sockets_max = addresses::sockets_max();
        ring.submitter().register_files_sparse(sockets_max)?;
        let buffers = ReceiveBuffers::register(&ring, BUFFER_GROUP)?;
        let lends = setup::restrict(&ring)?;
        let receiving = setup::Receiving::probe(&mut ring)?;
        let mut uring = Uring {
            ring,
            sockets: Vec::new(),
            free: (0..sockets_max).rev().collect(),
            sockets_max,
            dirty: Vec::new(),
            rearm: Vec::new(),
            pool: BufferPool::default(),
            buffers,
            listenings: Vec::new(),
            acceptors: Vec::new(),
            accepting: true,
            rest: AcceptRest::default(),
            leaving: false,
            wake: wake.as_raw_fd(),
            watched: HashMap::new(),
            watches: 0,
            clock: addresses::read_clock(),
            system_calls: 0,
            stopped: false,
            lent: lends.then_some(0),
            relays: 0,
            receiving,
        };
        // A registered ring descriptor saves a lookup per enter; older kernels do without.
        let _ = uring.ring.submitter().register_ring_fd();
        uring.arm_wake();
        Ok(uring)
    }

    /// Runs until `stop`.
    pub fn run<H: Handler<Self>>(&mut self, handler: &mut H) -> io::Result<()> {
        let mut wait_ms = Some(0);
        while !self.stopped {
            handler.on_asleep();
            self.enter(self.rest.bound(wait_ms))?;
            self.clock = addresses::read_clock();
            handler.on_awake(self);
            self.rest.ends(self.clock);
            for _ in 0..EVENTS_PER_TURN {
                let Some(completion) = self.ring.completion().next() else { break };
                self.complete(handler, completion.user_data(), completion.result(), completion.flags());
            }
            wait_ms = handler.on_turn(self);
            self.buffers.publish();
            self.rearm_all();
            let mut dirty = std::mem::take(&mut self.dirty);
            for index in dirty.drain(..) {
                self.sockets[index as usize].dirty = false;
                self.flush(index);
                self.try_close(index);
            }
            self.dirty = dirty;
        }
        Ok(())
    }

    fn enter(&mut self, wait_ms: Option<u64>) -> io::Result<()> {
        self.system_calls += 1;
        let result = match wait_ms {
            None => self.ring.submit_and_wait(1),
            Some(0) => self.ring.submit_and_wait(0),
            Some(wait) => {
                let time = Timespec::new().sec(wait / 1000).nsec((wait % 1000) as u32 * 1_000_000);
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        };
        match result {
            Ok(_) => Ok(()),
            // Nothing came in time, a signal, or completions first: all are an ordinary turn.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: every caller keeps the memory that its entry names alive until the completion, see the module's rules.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.system_calls += 1;
            let _ = self.ring.submit();
        }
    }

    fn arm_receive(&mut self, index: u32, poll_first: bool) {
        let socket = &mut self.sockets[index as usize];
        if socket.receiving || socket.closing || socket.ended || socket.relay.is_some() {
            return;
        }
        socket.receiving = true;
        socket.receivable = socket.read_ahead;
        let generation = socket.generation;
        let mut entry = self.receiving.entry(index, BUFFER_GROUP, socket.read_ahead);
        if poll_first {
            // SAFETY: an entry is a io_uring_sqe, whose u16 `ioprio` is at byte 2; the crate has no setter for it.
            unsafe { *(&raw mut entry).cast::<u16>().add(1) |= POLL_FIRST };
        }
        self.push(entry.user_data(user_data(RECEIVE, generation, index)));
    }

    fn rearm_all(&mut self) {
        for index in std::mem::take(&mut self.rearm) {
            let socket = &self.sockets[index as usize];
            if socket.open && socket.wants_data && !socket.connecting {
                self.arm_receive(index, false);
            }
        }
        if self.accepting && !self.rest.is_on() {
            (0..self.acceptors.len()).for_each(|index| self.arm_accept(index, 0));
        }
    }

    fn open(&mut self, index: u32) -> &mut Socket {
        while self.sockets.len() <= index as usize {
            self.sockets.push(Socket::default());
        }
        let socket = &mut self.sockets[index as usize];
        *socket = Socket {
            generation: socket.generation,
            open: true,
            wants_data: true,
            read_ahead: READ_AHEAD_BYTES,
            ..Socket::default()
        };
        socket
    }

    fn mark_dirty(&mut self, index: u32) {
        let socket = &mut self.sockets[index as usize];
        if !socket.dirty {
            socket.dirty = true;
            self.dirty.push(index);
        }
    }

    fn flush(&mut self, index: u32) {
        let socket = &mut self.sockets[index as usize];
        if socket.sending || socket.connecting || !socket.open {
            return;
        }
        if socket.out.is_empty() {
            if socket.shutdown && !socket.closing && !socket.shutting {
                socket.shutdown = false;
                socket.shutting = true;
                let entry = opcode::Shutdown::new(Fixed(index), libc::SHUT_WR).build();
                self.push(entry.user_data(user_data(SHUTDOWN, 0, index)));
            }
            return;
        }
        std::mem::swap(&mut socket.out, &mut socket.flying);
        socket.offset = 0;
        self.send_rest(index);
    }

    fn send_rest(&mut self, index: u32) {
        let socket = &mut self.sockets[index as usize];
        socket.sending = true;
        let rest = &socket.flying[socket.offset..];
        let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(Fixed(index), rest.as_ptr(), length).flags(libc::MSG_NOSIGNAL).build();
        let entry = entry.user_data(user_data(SEND, socket.generation, index));
        self.push(entry);
    }

    fn cancel(&mut self, operation: u64, generation: u32, index: u32) {
        let entry = opcode::AsyncCancel::new(user_data(operation, generation, index)).build();
        let entry = entry.flags(squeue::Flags::SKIP_SUCCESS);
        self.push(entry.user_data(user_data(IGNORED, 0, 0)));
    }

    fn try_close(&mut self, index: u32) {
        let socket = &mut self.sockets[index as usize];
        if !socket.closing || !socket.open || socket.sending || socket.connecting || socket.shutting {
            return;
        }
        self.end_relays(index);
        let socket = &mut self.sockets[index as usize];
        socket.open = false;
        let (generation, receiving) = (socket.generation, socket.receiving);
        socket.generation = (generation + 1) & GENERATION_MASK;
        let (out, flying) = (std::mem::take(&mut socket.out), std::mem::take(&mut socket.flying));
        socket.address = None;
        self.pool.give(out);
        self.pool.give(flying);
        self.take_back(index, generation);
        if receiving {
            // The multishot receive pins the file: without the cancel no FIN is ever sent.
            self.cancel(RECEIVE, generation, index);
        }
        self.push(opcode::Close::new(Fixed(index)).build().user_data(user_data(CLOSE, 0, index)));
    }

    fn complete<H: Handler<Self>>(&mut self, handler: &mut H, user: u64, result: i32, flags: u32) {
        let (operation, generation, index) = (user >> 56, (user >> 32) as u32 & GENERATION_MASK, user as u32);
        match operation {
            RECEIVE => self.received(handler, index, generation, result, flags),
            SEND => self.sent_some(handler, index, result),
            ACCEPT => self.accepted(handler, index as usize, result),
            CONNECT => self.connected(handler, index, result),
            INSTALL => self.installed(handler, index, generation, result),
            ROOM => self.has_room(handler, index, generation),
            WATCH => self.readable(handler, index, generation),
            RELAY => self.relay_polled(handler, index, generation),
            SHUTDOWN => {
                self.sockets[index as usize].shutting = false;
                self.try_close(index);
            }
            CLOSE => {
                handler.on_closed(self, SocketId(index));
                self.free.push(index);
            }
            WAKE => {
                handler.on_wake(self);
                if !cqueue::more(flags) {
                    self.arm_wake();
                }
            }
            _ => {}
        }
    }

    fn received<H: Handler<Self>>(
        &mut self,
        handler: &mut H,
        index: u32,
        generation: u32,
        result: i32,
        flags: u32,
    ) {
        let live = |uring: &Uring| {
            let socket = &uring.sockets[index as usize];
            socket.generation == generation && socket.open
        };
        let more = cqueue::more(flags);
        let is_live = live(self);
        if is_live && !more {
            self.sockets[index as usize].receiving = false;
        }
        if let Some(first) = cqueue::buffer_select(flags) {
            let (mut buffer, mut left) = (first, usize::try_from(result).unwrap_or(0));
            loop {
                let length = left.min(RECEIVE_BUFFER_BYTES);
                left -= length;
                let next = self.buffers.after(buffer);
                if length > 0 && live(self) && !self.sockets[index as usize].closing {
                    let socket = &mut self.sockets[index as usize];
                    socket.receivable = socket.receivable.saturating_sub(length as u32);
                    // SAFETY: the kernel filled `length` bytes of this buffer and lends it to us until we give it back.
                    let data = unsafe { std::slice::from_raw_parts_mut(self.buffers.start(buffer), length) };
                    handler.on_data(self, SocketId(index), data);
                }
                // Also for stale completions: a buffer that is not returned is lost for ever.
                self.buffers.give(buffer);
                if left == 0 {
                    break;
                }
                buffer = next;
            }
        }
        if more || !live(self) {
            return;
        }
        let socket = &mut self.sockets[index as usize];
        let is_passing = matches!(-result, libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN);
        match result {
            ..=0 if !is_passing => {
                // Nothing passed yet of a relay that waited for this.
                self.end_relay(index);
                let is_finished = result == 0 && !self.sockets[index as usize].broken;
                self.ended(handler, index, if is_finished { End::Finished } else { End::Reset });
            }
            _ if socket.relay.is_some() => self.relay_on(handler, index),
            _ if is_passing || socket.wants_data => self.rearm.push(index),
            _ => {}
        }
    }

    fn ended<H: Handler<Self>>(&mut self, handler: &mut H, index: u32, end: End) {
        let socket = &mut self.sockets[index as usize];
        if socket.open && !socket.closing && !socket.ended {
            socket.ended = true;
            handler.on_end(self, SocketId(index), end);
        }
    }

    fn sent_some<H: Handler<Self>>(&mut self, handler: &mut H, index: u32, result: i32) {
        let socket = &mut self.sockets[index as usize];
        socket.sending = false;
        match usize::try_from(result) {
            Ok(count) => {
                socket.offset += count;
                socket.sent += count as u64;
            }
            Err(_) if matches!(-result, libc::EINTR | libc::EAGAIN) => {}
            Err(_) => {
                socket.flying.clear();
                socket.out.clear();
                socket.offset = 0;
                // An answer may have come before the reset (413 to a body that goes on): the receive brings it, then the end.
                socket.broken = socket.receiving && !socket.ended && socket.relay.is_none();
                if socket.broken {
                    return self.try_close(index);
                }
                // A receive that already said Finished must not hide that nobody takes our bytes any more.
                socket.ended = false;
                self.ended(handler, index, End::Reset);
                return self.try_close(index);
            }
        }
        let socket = &mut self.sockets[index as usize];
        if socket.offset < socket.flying.len() {
            self.send_rest(index);
        } else if socket.out.is_empty() {
            // `out` had a buffer of its own where it was written while another was under way.
            let (out, flying) = (std::mem::take(&mut socket.out), std::mem::take(&mut socket.flying));
            socket.offset = 0;
            self.pool.give(out);
            self.pool.give(flying);
            self.flush(index);
            self.try_close(index);
        } else {
            socket.flying.clear();
            self.flush(index);
        }
        let socket = &mut self.sockets[index as usize];
        if socket.notify
            && socket.open
            && !socket.closing
            && self.pending(SocketId(index)) <= PENDING_OUTPUT_BYTES_LOW
        {
            self.sockets[index as usize].notify = false;
            handler.on_drained(self, SocketId(index));
        }
        if let Some(from) = self.sockets[index as usize].relayed_from {
            self.relay_on(handler, from);
        }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // The kernel may still read what flies and write accepted addresses: that memory is given up, not freed.
        std::mem::forget(std::mem::take(&mut self.sockets));
        std::mem::forget(std::mem::take(&mut self.acceptors));
    }
}
