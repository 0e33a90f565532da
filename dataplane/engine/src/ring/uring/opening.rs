//! Sockets that come to be: accepted and connected ones.

use super::*;

impl Uring {
    pub(super) fn accepted<H: Handler<Self>>(&mut self, handler: &mut H, index: usize, result: i32) {
        let acceptor = &mut self.acceptors[index];
        acceptor.armed = false;
        let (slot, remote, listener) = (acceptor.slot, acceptor.address.get(), acceptor.listener);
        if result < 0 {
            self.free.push(slot);
            // Re-armed at the end of the turn; EMFILE and ENOMEM thus retry once per turn, not in a loop.
            return;
        }
        self.open(slot);
        self.arm_receive(slot, true);
        let (key, local) = (self.listenings[listener].key, self.listenings[listener].local);
        handler.on_accept(self, SocketId(slot), key, remote, local);
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
