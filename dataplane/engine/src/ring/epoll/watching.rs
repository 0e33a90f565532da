//! Events of sockets that are not this backend's own: listeners, and those that their owners read themselves.
#![allow(unsafe_code)]

use super::*;
use std::collections::HashMap;

/// Sockets of others by their key: generation and descriptor.
#[derive(Default)]
pub(super) struct Watched {
    sockets: HashMap<u32, (u32, RawFd)>,
    generation: u32,
}

impl Epoll {
    pub(super) fn poll_listeners(&self) {
        (0..self.listenings.len()).for_each(|listener| self.poll_listener(listener));
    }

    pub(super) fn poll_listener(&self, listener: usize) {
        let listening = &self.listenings[listener];
        if let Some(descriptor) = &listening.descriptor {
            let events = self.listener_events();
            let data = LISTENER << 56 | listener as u64;
            let _ = self.control(libc::EPOLL_CTL_MOD, descriptor.as_raw_fd(), events, data);
        }
    }

    pub(super) fn unpoll_listener(&self, descriptor: &OwnedFd) {
        // The supervisor keeps the socket open, so closing our descriptor would not end its events.
        let _ = self.control(libc::EPOLL_CTL_DEL, descriptor.as_raw_fd(), 0, 0);
    }

    pub(super) fn start_watch(&mut self, key: u32, socket: BorrowedFd<'_>) {
        self.watched.generation = (self.watched.generation + 1) & 0xff_ffff;
        let generation = self.watched.generation;
        let data = WATCH << 56 | u64::from(generation) << 32 | u64::from(key);
        self.system_calls += 1;
        // A socket that cannot be watched stays silent, as one whose peer does.
        let _ = self.control(libc::EPOLL_CTL_ADD, socket.as_raw_fd(), libc::EPOLLIN, data);
        self.watched.sockets.insert(key, (generation, socket.as_raw_fd()));
    }

    pub(super) fn end_watch(&mut self, key: u32) {
        if let Some((_, descriptor)) = self.watched.sockets.remove(&key) {
            self.system_calls += 1;
            let _ = self.control(libc::EPOLL_CTL_DEL, descriptor, 0, 0);
        }
    }

    /// Level-triggered: what the handler leaves comes again.
    pub(super) fn readable<H: Handler<Self>>(&mut self, handler: &mut H, key: u32, generation: u32) {
        if self.watched.sockets.get(&key).is_some_and(|(live, _)| *live == generation) {
            handler.on_readable(self, key);
        }
    }
}
