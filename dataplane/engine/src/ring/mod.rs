//! Sockets of one worker behind a small trait, with three backends: `uring` (default), `epoll` (where io_uring is
//! refused) and `sim` (driven by a seed, for tests). Bytes come in by `Handler` callbacks; bytes go out by appending to
//! `Io::out`, flushed once per socket and loop turn.
//!
//! Rules that all backends keep and the simulation provokes: a socket that was closed delivers nothing but `on_closed`,
//! once, after which its id may be reused; `on_end` comes once, or `Reset` once after `Finished`; at most what was already
//! in flight is still delivered after `pause`.

pub mod addresses;
pub mod datagrams;
pub mod epoll;
#[cfg(test)]
mod relay_tests;
pub mod relaying;
mod resting;
mod sendfile;
#[cfg(test)]
pub mod sim;
#[cfg(test)]
mod turn_tests;
pub mod unix_paths;
pub mod uring;

use crate::exchange::Clock;
use crate::limits::{POOLED_BUFFER_BYTES_MAX, POOLED_BUFFERS_MAX, POOLED_BYTES_MAX};
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Slot of a socket in its backend. The backend's generation keeps stale completions away from a reused slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u32);

impl SocketId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// How the peer ended its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// FIN: no more bytes will come, ours may still be read.
    Finished,
    /// Reset or any other error: the connection is gone in both directions.
    Reset,
}

/// When to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// When all of `out` was taken by the kernel; the owner watches over the progress and may still say `Now`.
    AfterFlush,
    Now,
}

/// What became of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSent {
    /// The kernel has this many; 0 is the file's end.
    Taken(usize),
    /// None now.
    Full,
    /// They have to be copied.
    Unable,
}

/// What a handler may do with sockets.
pub trait Io {
    /// Append-only output of a socket, flushed at the end of the turn (of a connecting one: once it is connected).
    fn out(&mut self, socket: SocketId) -> &mut Vec<u8>;
    /// Bytes of `out` that the kernel has not taken yet.
    fn pending(&self, socket: SocketId) -> usize;
    /// Bytes that the kernel took over the socket's life.
    fn sent(&self, socket: SocketId) -> u64;
    /// Sends what is in `out`, then bytes of a file without copying them. One `on_drained` follows `Full`. The caller has
    /// seen that the bytes are in memory.
    fn send_file(&mut self, id: SocketId, file: BorrowedFd<'_>, offset: u64, length: usize) -> FileSent;
    /// Asks for one `on_drained` when the kernel takes bytes again, after `send_file` took some.
    fn await_room(&mut self, socket: SocketId) {
        self.notify_drained(socket);
    }
    /// Passes what comes of one socket to another in the kernel from now on, after what is in the other's `out`, until it
    /// ends or either closes: `on_relayed` instead of `on_data`, but for what was in flight. The owner writes nothing to the
    /// other of its own. False: not here, or not now.
    fn relay(&mut self, _from: SocketId, _to: SocketId) -> bool {
        false
    }
    /// Starts a connection; `on_connect` follows. None: no socket is left.
    fn connect(&mut self, address: &SocketAddr) -> Option<SocketId>;
    /// Ends our side after what is in `out`; the socket is still read.
    fn shutdown(&mut self, socket: SocketId);
    fn close(&mut self, socket: SocketId, when: Close);
    /// Stops reading; the peer's window fills.
    fn pause(&mut self, socket: SocketId);
    fn resume(&mut self, socket: SocketId);
    /// Bounds what comes in one turn, and so after `pause`: this and a receive buffer. Backends that read piece by piece
    /// need no bound.
    fn set_read_ahead(&mut self, _socket: SocketId, _bytes: u32) {}
    /// Asks for one `on_drained` when `pending` is at most `PENDING_OUTPUT_BYTES_LOW`.
    fn notify_drained(&mut self, socket: SocketId);
    /// Accepts from a listening socket; `key` comes back in `on_accept`.
    fn listen(&mut self, key: u32, descriptor: OwnedFd);
    fn unlisten(&mut self, key: u32);
    /// Whether `on_accept` gets the address that each client of a listening socket came to, in place of the one that the
    /// socket is bound to. It costs a few system calls a connection.
    fn read_local(&mut self, _key: u32, _wanted: bool) {}
    /// Pauses and resumes all accepting; what is in flight is still delivered.
    fn set_accepting(&mut self, accepting: bool);
    /// No more connections, ever: another process takes them from the same sockets.
    fn stop_accepting(&mut self) {
        self.set_accepting(false);
    }
    /// A connection may still be accepted after `stop_accepting`: the kernel was asked for it before.
    fn accepts_late(&self) -> bool {
        false
    }
    /// Tells of a socket of the caller's own, by `on_readable` with this key, whenever there is something to read, until
    /// `unwatch`; the caller keeps it open so long.
    fn watch(&mut self, key: u32, socket: BorrowedFd<'_>);
    fn unwatch(&mut self, key: u32);
    /// Sockets that can be open at once, both sides.
    fn sockets_max(&self) -> u32;
    /// The time of this turn.
    fn now(&self) -> Clock;
    /// System calls made so far.
    fn system_calls(&self) -> u64;
    /// Ends `run` after this turn.
    fn stop(&mut self);
}

/// The owner of all sockets: the worker.
pub trait Handler<I: Io> {
    fn on_accept(
        &mut self,
        io: &mut I,
        socket: SocketId,
        listener: u32,
        remote: SocketAddr,
        local: SocketAddr,
    );
    fn on_connect(&mut self, io: &mut I, socket: SocketId, connected: bool);
    fn on_data(&mut self, io: &mut I, socket: SocketId, data: &mut [u8]);
    /// So many bytes of this socket passed without `on_data`.
    fn on_relayed(&mut self, _io: &mut I, _from: SocketId, _bytes: usize) {}
    fn on_end(&mut self, io: &mut I, socket: SocketId, end: End);
    fn on_drained(&mut self, io: &mut I, socket: SocketId);
    /// The socket is gone and its id free.
    fn on_closed(&mut self, io: &mut I, socket: SocketId);
    /// A watched socket has something to read.
    fn on_readable(&mut self, io: &mut I, key: u32);
    /// The wake descriptor became readable.
    fn on_wake(&mut self, io: &mut I);
    /// The thread is about to wait for events; nothing else is called before `on_awake`.
    fn on_asleep(&mut self) {}
    /// That wait has ended; the events that ended it follow.
    fn on_awake(&mut self, _io: &mut I) {}
    /// After the events of a turn, before its flush. Returns how long the next turn may sleep at most, None: for ever.
    /// Whatever was called since, by the flush too, has another turn at once.
    fn on_turn(&mut self, io: &mut I) -> Option<u64>;
}

/// Output buffers for reuse, so that an idle connection owns no memory and a warm one allocates none.
#[derive(Default)]
pub struct BufferPool {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl BufferPool {
    pub fn take(&mut self) -> Vec<u8> {
        let Some(buffer) = self.buffers.pop() else { return Vec::with_capacity(4096) };
        self.bytes -= buffer.capacity();
        buffer
    }

    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let bytes = self.bytes + buffer.capacity();
        let has_room = self.buffers.len() < POOLED_BUFFERS_MAX && bytes <= POOLED_BYTES_MAX;
        if has_room && buffer.capacity() != 0 && buffer.capacity() <= POOLED_BUFFER_BYTES_MAX {
            buffer.clear();
            self.bytes = bytes;
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_keeps_buffers_as_far_as_its_bytes_go() {
        let mut pool = BufferPool::default();
        pool.give(Vec::with_capacity(POOLED_BUFFER_BYTES_MAX + 1));
        assert_eq!(pool.bytes, 0);
        let most = POOLED_BYTES_MAX / POOLED_BUFFER_BYTES_MAX;
        (0..=most).for_each(|_| pool.give(Vec::with_capacity(POOLED_BUFFER_BYTES_MAX)));
        assert_eq!((pool.buffers.len(), pool.bytes), (most, most * POOLED_BUFFER_BYTES_MAX));
        (0..most).for_each(|_| assert_eq!(pool.take().capacity(), POOLED_BUFFER_BYTES_MAX));
        assert_eq!(pool.bytes, 0);
    }

    #[test]
    fn pool_gives_an_empty_buffer() {
        let mut pool = BufferPool::default();
        pool.give(vec![1]);
        assert!(pool.take().is_empty());
    }
}
