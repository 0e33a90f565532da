//! Sockets that come to be: accepted and connected ones.

use super::*;
use std::os::fd::{AsFd, FromRawFd};

/// Accept what is there already, or end with EAGAIN (Linux 6.10; EINVAL before).
const ACCEPT_DONTWAIT: u16 = 2;

impl Uring {
    /// `flags`: io_uring's own, 0 or ACCEPT_DONTWAIT.
    pub(super) fn arm_accept(&mut self, index: usize, flags: u16) {
        let acceptor = &self.acceptors[index];
        if acceptor.armed || self.free.is_empty() {
            return;
        }
        let Some(listener) = self.listenings[acceptor.listener].descriptor.as_ref().map(AsRawFd::as_raw_fd)
        else {
            return;
        };
        let Some(slot) = self.free.pop() else { return };
        let acceptor = &mut self.acceptors[index];
        acceptor.armed = true;
        acceptor.slot = slot;
        acceptor.address = RawAddress::empty();
        let (address, length) = (acceptor.address.pointer_mut(), &raw mut acceptor.address.length);
        let Ok(target) = DestinationSlot::try_from_slot_target(slot) else { return };
        let reads_local = self.listenings[acceptor.listener].reads_local;
        acceptor.reads_local = reads_local;
        let accept = opcode::Accept::new(Fd(listener), address, length);
        let mut entry = match reads_local {
            true => accept.flags(libc::SOCK_CLOEXEC).build(),
            false => accept.file_index(Some(target)).build(),
        };
        if flags != 0 {
            // SAFETY: an entry is a io_uring_sqe, whose u16 `ioprio` is at byte 2; the crate has no setter for it.
            unsafe { *(&raw mut entry).cast::<u16>().add(1) |= flags };
        }
        self.push(entry.user_data(user_data(ACCEPT, 0, index as u32)));
    }

    pub(super) fn accepted<H: Handler<Self>>(&mut self, handler: &mut H, index: usize, result: i32) {
        let acceptor = &mut self.acceptors[index];
        acceptor.armed = false;
        let (slot, remote, listener) = (acceptor.slot, acceptor.address.get(), acceptor.listener);
        if result < 0 {
            self.free.push(slot);
            // The kernel may have woken this accept alone for a connection just before it was cancelled: nobody else
            // would hear of it.
            if self.leaving && result == -libc::ECANCELED {
                self.arm_accept(index, ACCEPT_DONTWAIT);
            }
            // Re-armed at the end of the turn, or after a rest.
            self.rest.begin(-result, self.clock);
            return;
        }
        let (key, mut local) = (self.listenings[listener].key, self.listenings[listener].local);
        if acceptor.reads_local {
            // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
            let descriptor = unsafe { OwnedFd::from_raw_fd(result) };
            local = addresses::local_address(descriptor.as_fd());
            self.system_calls += 3;
            if self.ring.submitter().register_files_update(slot, &[descriptor.as_raw_fd()]).is_err() {
                return self.free.push(slot);
            }
        }
        self.open(slot);
        self.arm_receive(slot, true);
        handler.on_accept(self, SocketId(slot), key, remote, local);
        if self.leaving {
            self.arm_accept(index, ACCEPT_DONTWAIT);
        }
    }

    pub(super) fn connected<H: Handler<Self>>(&mut self, handler: &mut H, index: u32, result: i32) {
        let socket = &mut self.sockets[index as usize];
        socket.connecting = false;
        if socket.closing {
            return self.try_close(index);
        }
        if result == 0 {
            self.arm_receive(index, true);
        } else {
            socket.ended = true;
        }
        self.mark_dirty(index);
        handler.on_connect(self, SocketId(index), result == 0);
    }
}
