//! epoll backend: the same batching as `uring` (output flushed once per socket and turn), for kernels and sandboxes that
//! refuse io_uring. Edge-triggered sockets, level-triggered listeners.
#![allow(unsafe_code)]

mod files;
mod listening;
mod relaying;
mod watching;

use self::listening::Listening;
use super::addresses::{self, RawAddress};
use super::resting::AcceptRest;
use super::{BufferPool, Close, End, FileSent, Handler, Io, SocketId};
use crate::exchange::Clock;
use crate::limits::*;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

const SOCKET: u64 = 0;
const LISTENER: u64 = 1;
const WAKE: u64 = 2;
const WATCH: u64 = 3;

#[derive(Default)]
struct Socket {
    descriptor: Option<OwnedFd>,
    generation: u32,
    connecting: bool,
    /// The connect failed at once, which SO_ERROR does not tell.
    refused: bool,
    closing: bool,
    dirty: bool,
    /// The kernel's send buffer is full; an EPOLLOUT edge will come.
    blocked: bool,
    paused: bool,
    /// Readable bytes were left behind.
    unread: bool,
    ended: bool,
    broken: bool,
    notify: bool,
    shutdown: bool,
    offset: usize,
    sent: u64,
    out: Vec<u8>,
    relay: Option<Box<relaying::Relay>>,
    /// Whose relay brings bytes to this socket.
    relayed_from: Option<u32>,
}

/// The backend.
pub struct Epoll {
    epoll: OwnedFd,
    sockets: Vec<Socket>,
    free: Vec<u32>,
    sockets_max: u32,
    open: u32,
    relays: usize,
    dirty: Vec<u32>,
    again: Vec<u32>,
    pool: BufferPool,
    buffer: Vec<u8>,
    listenings: Vec<Listening>,
    accepting: bool,
    rest: AcceptRest,
    watched: watching::Watched,
    clock: Clock,
    system_calls: u64,
    stopped: bool,
}

impl Epoll {
    /// `wake` stays open; its readable events come as `on_wake`.
    pub fn new(wake: BorrowedFd<'_>) -> io::Result<Epoll> {
        // SAFETY: no pointers; the result is checked before it is owned.
        let raw = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        let epoll = Epoll {
            // SAFETY: just created, owned by nobody else.
            epoll: unsafe { OwnedFd::from_raw_fd(raw) },
            sockets: Vec::new(),
            free: Vec::new(),
            sockets_max: addresses::sockets_max(),
            open: 0,
            relays: 0,
            dirty: Vec::new(),
            again: Vec::new(),
            pool: BufferPool::default(),
            buffer: vec![0; RECEIVE_BUFFER_BYTES],
            listenings: Vec::new(),
            accepting: true,
            rest: AcceptRest::default(),
            watched: watching::Watched::default(),
            clock: addresses::read_clock(),
            system_calls: 0,
            stopped: false,
        };
        epoll.control(libc::EPOLL_CTL_ADD, wake.as_raw_fd(), libc::EPOLLIN, WAKE << 56)?;
        Ok(epoll)
    }

    /// Runs until `stop`.
    pub fn run<H: Handler<Self>>(&mut self, handler: &mut H) -> io::Result<()> {
        let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_PER_TURN];
        let mut wait_ms = Some(0);
        while !self.stopped {
            handler.on_asleep();
            let count = self.wait(&mut events, self.rest.bound(wait_ms))?;
            self.clock = addresses::read_clock();
            handler.on_awake(self);
            if self.rest.ends(self.clock) {
                self.poll_listeners();
            }
            for index in std::mem::take(&mut self.again) {
                self.read(handler, index, true);
            }
            for event in &events[..count] {
                self.dispatch(handler, event.u64, event.events as i32);
            }
            wait_ms = handler.on_turn(self);
            // Flushing can call the handler, which may write again: until nothing is left.
            while !self.dirty.is_empty() {
                for index in std::mem::take(&mut self.dirty) {
                    let socket = &mut self.sockets[index as usize];
                    socket.dirty = false;
                    // Its owner is told, and has another turn before it may sleep.
                    wait_ms = if socket.notify || socket.closing { Some(0) } else { wait_ms };
                    self.flush(handler, index);
                    self.try_close(handler, index);
                }
            }
            if !self.again.is_empty() {
                wait_ms = Some(0);
            }
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut [libc::epoll_event], wait_ms: Option<u64>) -> io::Result<usize> {
        self.system_calls += 1;
        let timeout = wait_ms.map_or(-1, |wait| i32::try_from(wait).unwrap_or(i32::MAX));
        let count = events.len() as i32;
        // SAFETY: the kernel writes at most `count` events into the slice.
        let ready = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), count, timeout) };
        match usize::try_from(ready) {
            Ok(ready) => Ok(ready),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
                error => Err(error),
            },
        }
    }

    fn control(&self, operation: i32, descriptor: RawFd, events: i32, data: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: data };
        // SAFETY: the event lives in this frame.
        let result =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, descriptor, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Owns a connected or connecting socket; None where the bound is reached.
    fn add(&mut self, descriptor: OwnedFd, connecting: bool) -> Option<u32> {
        if self.open >= self.sockets_max {
            return None;
        }
        let index = self.free.pop().unwrap_or(self.sockets.len() as u32);
        if index as usize == self.sockets.len() {
            self.sockets.push(Socket::default());
        }
        let generation = self.sockets[index as usize].generation.wrapping_add(1) & 0xff_ffff;
        let data = SOCKET << 56 | u64::from(generation) << 32 | u64::from(index);
        let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        if self.control(libc::EPOLL_CTL_ADD, descriptor.as_raw_fd(), events, data).is_err() {
            self.free.push(index);
            return None;
        }
        self.system_calls += 1;
        self.open += 1;
        let socket = Socket { descriptor: Some(descriptor), generation, connecting, ..Socket::default() };
        self.sockets[index as usize] = socket;
        Some(index)
    }

    fn dispatch<H: Handler<Self>>(&mut self, handler: &mut H, data: u64, events: i32) {
        let (kind, generation, index) = (data >> 56, (data >> 32) as u32 & 0xff_ffff, data as u32);
        match kind {
            WAKE => return handler.on_wake(self),
            LISTENER => return self.accept_all(handler, index as usize),
            WATCH => return self.readable(handler, index, generation),
            _ => {}
        }
        let socket = &mut self.sockets[index as usize];
        if socket.generation != generation || socket.descriptor.is_none() {
            return;
        }
        if socket.connecting {
            if events & (libc::EPOLLOUT | libc::EPOLLERR | libc::EPOLLHUP) != 0 {
                self.connected(handler, index);
            }
            return;
        }
        if events & libc::EPOLLOUT != 0 && socket.blocked {
            socket.blocked = false;
            self.mark_dirty(index);
        }
        let gone = libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;
        if events & (libc::EPOLLIN | gone) != 0 {
            self.read(handler, index, events & gone != 0);
        }
    }

    fn connected<H: Handler<Self>>(&mut self, handler: &mut H, index: u32) {
        let socket = &mut self.sockets[index as usize];
        let Some(descriptor) = socket.descriptor.as_ref() else { return };
        socket.connecting = false;
        let mut error: libc::c_int = 0;
        let mut length = size_of::<libc::c_int>() as libc::socklen_t;
        self.system_calls += 1;
        // SAFETY: the option's value and length live in this frame.
        unsafe {
            let value = (&raw mut error).cast();
            let descriptor = descriptor.as_raw_fd();
            libc::getsockopt(descriptor, libc::SOL_SOCKET, libc::SO_ERROR, value, &raw mut length);
        }
        let connected = error == 0 && !socket.refused;
        socket.ended = !connected;
        let closing = socket.closing;
        self.mark_dirty(index);
        if !closing {
            handler.on_connect(self, SocketId(index), connected);
        }
    }

    fn read<H: Handler<Self>>(&mut self, handler: &mut H, index: u32, to_the_end: bool) {
        for _ in 0..READS_PER_EVENT {
            let socket = &mut self.sockets[index as usize];
            if socket.closing || socket.ended || socket.connecting {
                return;
            }
            if socket.relay.is_some() {
                return self.relay_on(handler, index);
            }
            if socket.paused {
                socket.unread = true;
                return;
            }
            let Some(descriptor) = socket.descriptor.as_ref().map(AsRawFd::as_raw_fd) else { return };
            let (start, length) = (self.buffer.as_mut_ptr(), self.buffer.len());
            self.system_calls += 1;
            // SAFETY: the kernel writes at most `length` bytes into the buffer.
            let count = unsafe { libc::recv(descriptor, start.cast(), length, 0) };
            match usize::try_from(count) {
                Ok(0) => return self.ended(handler, index, End::Finished),
                Ok(count) => {
                    let mut buffer = std::mem::take(&mut self.buffer);
                    handler.on_data(self, SocketId(index), &mut buffer[..count]);
                    self.buffer = buffer;
                    // A short read emptied the socket, and the next bytes bring an edge of their own.
                    if count < length && !to_the_end {
                        return;
                    }
                }
                Err(_) => match io::Error::last_os_error().kind() {
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted => {}
                    _ => return self.ended(handler, index, End::Reset),
                },
            }
        }
        self.again.push(index);
    }

    fn ended<H: Handler<Self>>(&mut self, handler: &mut H, index: u32, end: End) {
        let socket = &mut self.sockets[index as usize];
        if socket.closing || socket.broken || (socket.ended && end == End::Finished) {
            return;
        }
        socket.ended = true;
        socket.broken = end == End::Reset;
        handler.on_end(self, SocketId(index), end);
    }

    fn mark_dirty(&mut self, index: u32) {
        let socket = &mut self.sockets[index as usize];
        if !socket.dirty {
            socket.dirty = true;
            self.dirty.push(index);
        }
    }

    fn flush<H: Handler<Self>>(&mut self, handler: &mut H, index: u32) {
        let socket = &mut self.sockets[index as usize];
        let Some(descriptor) = socket.descriptor.as_ref().map(AsRawFd::as_raw_fd) else { return };
        if socket.connecting || socket.blocked {
            return;
        }
        while socket.offset < socket.out.len() {
            let rest = &socket.out[socket.offset..];
            self.system_calls += 1;
            // SAFETY: reads the rest of our own buffer.
            let count =
                unsafe { libc::send(descriptor, rest.as_ptr().cast(), rest.len(), libc::MSG_NOSIGNAL) };
            match usize::try_from(count) {
                Ok(count) => {
                    socket.offset += count;
                    socket.sent += count as u64;
                }
                Err(_) => match io::Error::last_os_error().kind() {
                    io::ErrorKind::WouldBlock => {
                        socket.blocked = true;
                        break;
                    }
                    io::ErrorKind::Interrupted => {}
                    _ => {
                        socket.out.clear();
                        socket.offset = 0;
                        // An answer may have come before the reset (413 to a body that goes on).
                        self.read(handler, index, true);
                        return self.ended(handler, index, End::Reset);
                    }
                },
            }
        }
        self.flushed(handler, index, descriptor);
    }

    fn flushed<H: Handler<Self>>(&mut self, handler: &mut H, index: u32, descriptor: RawFd) {
        let socket = &mut self.sockets[index as usize];
        let pending = socket.out.len() - socket.offset;
        if pending == 0 {
            socket.offset = 0;
            self.pool.give(std::mem::take(&mut socket.out));
            self.again.extend(socket.relayed_from);
            if socket.shutdown && !socket.closing {
                socket.shutdown = false;
                self.system_calls += 1;
                // SAFETY: no pointers.
                unsafe { libc::shutdown(descriptor, libc::SHUT_WR) };
            }
        } else if socket.offset >= PENDING_OUTPUT_BYTES_HIGH {
            socket.out.drain(..socket.offset);
            socket.offset = 0;
        }
        if socket.notify && !socket.closing && pending <= PENDING_OUTPUT_BYTES_LOW {
            socket.notify = false;
            handler.on_drained(self, SocketId(index));
        }
    }

    fn try_close<H: Handler<Self>>(&mut self, handler: &mut H, index: u32) {
        let socket = &mut self.sockets[index as usize];
        if !socket.closing || socket.offset < socket.out.len() || socket.descriptor.is_none() {
            return;
        }
        self.system_calls += 1;
        self.end_relays(index);
        let socket = &mut self.sockets[index as usize];
        socket.descriptor = None;
        self.pool.give(std::mem::take(&mut socket.out));
        self.open -= 1;
        handler.on_closed(self, SocketId(index));
        self.free.push(index);
    }
}

impl Io for Epoll {
    fn out(&mut self, socket: SocketId) -> &mut Vec<u8> {
        self.mark_dirty(socket.0);
        let socket = &mut self.sockets[socket.index()];
        if socket.out.capacity() == 0 {
            socket.out = self.pool.take();
        }
        &mut socket.out
    }

    fn pending(&self, socket: SocketId) -> usize {
        let socket = &self.sockets[socket.index()];
        socket.out.len() - socket.offset
    }

    fn sent(&self, socket: SocketId) -> u64 {
        self.sockets[socket.index()].sent
    }

    fn send_file(&mut self, id: SocketId, file: BorrowedFd<'_>, offset: u64, length: usize) -> FileSent {
        self.lend(id, file, offset, length)
    }

    fn relay(&mut self, from: SocketId, to: SocketId) -> bool {
        self.start_relay(from, to)
    }

    fn connect(&mut self, address: &SocketAddr) -> Option<SocketId> {
        let descriptor = addresses::upstream_socket(address, libc::SOCK_NONBLOCK).ok()?;
        let raw = RawAddress::new(address);
        self.system_calls += 3;
        // SAFETY: the address lives in this frame.
        let result = unsafe { libc::connect(descriptor.as_raw_fd(), raw.pointer(), raw.length) };
        let refused = result < 0 && io::Error::last_os_error().raw_os_error() != Some(libc::EINPROGRESS);
        let index = self.add(descriptor, true)?;
        // Told with the event that an unconnected socket raises (EPOLLHUP): the caller expects no callback now.
        self.sockets[index as usize].refused = refused;
        Some(SocketId(index))
    }

    fn shutdown(&mut self, socket: SocketId) {
        self.sockets[socket.index()].shutdown = true;
        self.mark_dirty(socket.0);
    }

    fn close(&mut self, id: SocketId, when: Close) {
        let socket = &mut self.sockets[id.index()];
        if socket.descriptor.is_none() {
            return;
        }
        socket.closing = true;
        if when == Close::Now || socket.connecting {
            socket.out.clear();
            socket.offset = 0;
        }
        self.mark_dirty(id.0);
    }

    fn pause(&mut self, id: SocketId) {
        self.sockets[id.index()].paused = true;
    }

    fn resume(&mut self, id: SocketId) {
        let socket = &mut self.sockets[id.index()];
        socket.paused = false;
        if std::mem::take(&mut socket.unread) {
            self.again.push(id.0);
        }
    }

    fn notify_drained(&mut self, id: SocketId) {
        self.sockets[id.index()].notify = true;
        self.mark_dirty(id.0);
    }

    fn listen(&mut self, key: u32, descriptor: OwnedFd) {
        self.unlisten(key);
        self.start_listening(key, descriptor);
    }

    fn unlisten(&mut self, key: u32) {
        let of_key = self.listenings.iter_mut().filter(|listening| listening.key == key);
        let ended: Vec<OwnedFd> = of_key.filter_map(|listening| listening.descriptor.take()).collect();
        ended.iter().for_each(|descriptor| self.unpoll_listener(descriptor));
    }

    fn read_local(&mut self, key: u32, wanted: bool) {
        let of_key = self.listenings.iter_mut().filter(|listening| listening.key == key);
        of_key.for_each(|listening| listening.reads_local = wanted);
    }

    fn set_accepting(&mut self, accepting: bool) {
        if self.accepting != accepting {
            self.accepting = accepting;
            self.poll_listeners();
        }
    }

    fn watch(&mut self, key: u32, socket: BorrowedFd<'_>) {
        self.start_watch(key, socket);
    }

    fn unwatch(&mut self, key: u32) {
        self.end_watch(key);
    }

    fn sockets_max(&self) -> u32 {
        self.sockets_max
    }

    fn now(&self) -> Clock {
        self.clock
    }

    fn system_calls(&self) -> u64 {
        self.system_calls
    }

    fn stop(&mut self) {
        self.stopped = true;
    }
}
