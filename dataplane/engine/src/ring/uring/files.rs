//! Files and relays without copies: a socket lends an ordinary descriptor of itself (IORING_OP_FIXED_FD_INSTALL, Linux 6.8) for
//! sendfile(2) and splice(2), and polls tell when there is room again. IORING_OP_SPLICE would go to the kernel's threads, one for each
//! slow client.
#![allow(unsafe_code)]

use super::*;
use crate::ring::sendfile;
use std::os::fd::{AsFd, FromRawFd};

/// The descriptor that a socket of the ring has besides; kept until the socket closes.
#[derive(Default)]
pub(super) enum Lent {
    #[default]
    Never,
    Asked,
    Refused,
    Here(OwnedFd),
}

impl Uring {
    pub(super) fn lend(
        &mut self,
        id: SocketId,
        file: BorrowedFd<'_>,
        offset: u64,
        length: usize,
    ) -> FileSent {
        let socket = &self.sockets[id.index()];
        if !socket.open || socket.closing || socket.connecting || !self.asks_descriptor(id.0) {
            return FileSent::Unable;
        }
        let socket = &mut self.sockets[id.index()];
        let Lent::Here(descriptor) = &socket.lent else { return FileSent::Full };
        if socket.sending {
            socket.notify = true;
            return FileSent::Full;
        }
        self.system_calls += 1;
        if !socket.out.is_empty() {
            self.system_calls += 1;
            match sendfile::send_ahead(descriptor.as_fd(), &socket.out) {
                Ok(count) => {
                    socket.sent += count as u64;
                    socket.out.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return FileSent::Unable,
            }
            if !socket.out.is_empty() {
                // The rest goes by the ring, at the turn's end.
                socket.notify = true;
                self.mark_dirty(id.0);
                return FileSent::Full;
            }
            self.pool.give(std::mem::take(&mut socket.out));
        }
        match sendfile::send(descriptor.as_fd(), file, offset, length) {
            Ok(count) => {
                socket.sent += count as u64;
                FileSent::Taken(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.poll_room(id.0);
                FileSent::Full
            }
            // The copy meets the same error, and tells it as every send does.
            Err(_) => FileSent::Unable,
        }
    }

    /// An open socket has a descriptor of its own, or will be told that it has; false: it cannot have one.
    pub(super) fn asks_descriptor(&mut self, index: u32) -> bool {
        let Some(lent) = self.lent else { return false };
        let socket = &mut self.sockets[index as usize];
        match &socket.lent {
            Lent::Never if lent < LENT_DESCRIPTORS_MAX => {
                self.lent = Some(lent + 1);
                socket.lent = Lent::Asked;
                let entry = opcode::FixedFdInstall::new(Fixed(index), 0).build();
                let entry = entry.user_data(user_data(INSTALL, socket.generation, index));
                self.push(entry);
                true
            }
            Lent::Asked | Lent::Here(_) => true,
            Lent::Never | Lent::Refused => false,
        }
    }

    pub(super) fn poll_room(&mut self, index: u32) {
        let socket = &mut self.sockets[index as usize];
        if !std::mem::replace(&mut socket.polling, true) {
            let entry = opcode::PollAdd::new(Fixed(index), libc::POLLOUT as u32).build();
            let entry = entry.user_data(user_data(ROOM, socket.generation, index));
            self.push(entry);
        }
    }

    /// The descriptor is here, or is not to be had; the owner is told as if the socket had drained.
    pub(super) fn installed<H: Handler<Self>>(
        &mut self,
        handler: &mut H,
        index: u32,
        generation: u32,
        result: i32,
    ) {
        // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
        let descriptor = (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) });
        let socket = &mut self.sockets[index as usize];
        if socket.generation != generation || !socket.open {
            return;
        }
        socket.lent = match descriptor {
            Some(descriptor) if sendfile::set_nonblocking(&descriptor) => Lent::Here(descriptor),
            _ => Lent::Refused,
        };
        self.tell_drained(handler, index);
        self.relays_on(handler, index);
    }

    pub(super) fn has_room<H: Handler<Self>>(&mut self, handler: &mut H, index: u32, generation: u32) {
        let socket = &mut self.sockets[index as usize];
        if socket.generation == generation && socket.open {
            socket.polling = false;
            self.tell_drained(handler, index);
        }
    }

    fn tell_drained<H: Handler<Self>>(&mut self, handler: &mut H, index: u32) {
        let id = SocketId(index);
        if !self.sockets[id.index()].closing && self.pending(id) <= PENDING_OUTPUT_BYTES_LOW {
            handler.on_drained(self, id);
        }
    }

    /// Before the socket closes: the descriptor and the poll hold it open.
    pub(super) fn take_back(&mut self, index: u32, generation: u32) {
        let socket = &mut self.sockets[index as usize];
        if !matches!(std::mem::take(&mut socket.lent), Lent::Never) {
            self.lent = self.lent.map(|lent| lent.saturating_sub(1));
        }
        if std::mem::take(&mut socket.polling) {
            self.cancel(ROOM, generation, index);
        }
    }
}
