//! Listening sockets of the epoll backend: what they begin with, and the connections that they give.
#![allow(unsafe_code)]

use super::*;
use std::os::fd::{AsFd, FromRawFd};

pub(super) struct Listening {
    pub key: u32,
    pub descriptor: Option<OwnedFd>,
    pub local: SocketAddr,
    pub reads_local: bool,
}

impl Epoll {
    pub(super) fn start_listening(&mut self, key: u32, descriptor: OwnedFd) {
        addresses::set_no_delay(&descriptor);
        // SAFETY: no pointers.
        unsafe {
            let flags = libc::fcntl(descriptor.as_raw_fd(), libc::F_GETFL);
            libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK);
        }
        let local = addresses::local_address(descriptor.as_fd());
        let raw = descriptor.as_raw_fd();
        self.listenings.push(Listening { key, descriptor: Some(descriptor), local, reads_local: false });
        let data = LISTENER << 56 | (self.listenings.len() - 1) as u64;
        let events = self.listener_events();
        let _ = self.control(libc::EPOLL_CTL_ADD, raw, events, data);
    }

    /// What is polled for on listeners.
    pub(super) fn listener_events(&self) -> i32 {
        if self.accepting && !self.rest.is_on() { libc::EPOLLIN } else { 0 }
    }

    pub(super) fn accept_all<H: Handler<Self>>(&mut self, handler: &mut H, listener: usize) {
        for _ in 0..ACCEPTS_IN_FLIGHT {
            let Some(listening) = self.listenings.get(listener).filter(|_| self.accepting) else { return };
            let Some(descriptor) = listening.descriptor.as_ref() else { return };
            let (key, mut local, reads_local) = (listening.key, listening.local, listening.reads_local);
            let mut address = RawAddress::empty();
            let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            self.system_calls += 1;
            // SAFETY: address and length live in this frame.
            let raw = unsafe {
                let (pointer, length) = (address.pointer_mut(), &raw mut address.length);
                libc::accept4(descriptor.as_raw_fd(), pointer, length, flags)
            };
            if raw < 0 {
                let error = io::Error::last_os_error().raw_os_error().unwrap_or_default();
                if self.rest.begin(error, self.clock) {
                    self.poll_listeners();
                }
                return;
            }
            // SAFETY: just accepted, owned by nobody else.
            let accepted = unsafe { OwnedFd::from_raw_fd(raw) };
            if reads_local {
                self.system_calls += 1;
                local = addresses::local_address(accepted.as_fd());
            }
            if let Some(index) = self.add(accepted, false) {
                handler.on_accept(self, SocketId(index), key, address.get(), local);
            }
        }
    }
}
