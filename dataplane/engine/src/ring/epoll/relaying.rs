//! Relays: readable and writable edges of both sockets move bytes from one to the other.

use super::{AsFd, Epoll, Handler, SocketId};
use crate::limits::RELAYS_MAX;
use crate::ring::relaying::{Pipe, Stopped};

/// What a socket's bytes go through, and where to.
pub(super) struct Relay {
    to: u32,
    pipe: Pipe,
}

impl Epoll {
    pub(super) fn start_relay(&mut self, from: SocketId, to: SocketId) -> bool {
        let (sender, receiver) = (&self.sockets[from.index()], &self.sockets[to.index()]);
        if sender.relay.is_some() {
            return true;
        }
        let is_live =
            |socket: &super::Socket| socket.descriptor.is_some() && !socket.closing && !socket.connecting;
        if self.relays >= RELAYS_MAX || sender.ended || !is_live(sender) || !is_live(receiver) {
            return false;
        }
        self.system_calls += 2;
        let Ok(pipe) = Pipe::open() else { return false };
        self.relays += 1;
        self.sockets[from.index()].relay = Some(Box::new(Relay { to: to.0, pipe }));
        self.sockets[to.index()].relayed_from = Some(from.0);
        true
    }

    /// Moves what there is; whatever stopped it brings an edge of its own.
    pub(super) fn relay_on<H: Handler<Self>>(&mut self, handler: &mut H, from: u32) {
        let sender = &mut self.sockets[from as usize];
        if sender.paused {
            sender.unread = true;
            return;
        }
        let Some(mut relay) = sender.relay.take() else { return };
        let to = relay.to;
        let (sender, receiver) = (&self.sockets[from as usize], &self.sockets[to as usize]);
        // The flush of what goes ahead, or the edge that it waits for, calls again.
        let is_ready = !receiver.closing && !receiver.blocked && receiver.out.is_empty();
        let (Some(input), Some(output), true) = (&sender.descriptor, &receiver.descriptor, is_ready) else {
            self.sockets[from as usize].relay = Some(relay);
            return;
        };
        let passed = relay.pipe.pass(input.as_fd(), output.as_fd());
        self.sockets[from as usize].relay = Some(relay);
        self.system_calls += passed.system_calls;
        self.sockets[to as usize].sent += passed.bytes as u64;
        if passed.bytes > 0 {
            handler.on_relayed(self, SocketId(from), passed.bytes);
        }
        if let Some((ended, end)) = passed.stopped.find_ended(from, to) {
            self.end_relay(from);
            return self.ended(handler, ended, end);
        }
        match passed.stopped {
            Stopped::Full => self.sockets[to as usize].blocked = true,
            Stopped::Later => self.again.push(from),
            Stopped::Stuck => {
                self.end_relay(from);
                self.again.push(from);
            }
            _ => {}
        }
    }

    fn end_relay(&mut self, from: u32) {
        if let Some(relay) = self.sockets[from as usize].relay.take() {
            self.relays -= 1;
            self.sockets[relay.to as usize].relayed_from = None;
        }
    }

    /// Before a socket closes: neither side of a relay outlives the other's.
    pub(super) fn end_relays(&mut self, index: u32) {
        self.end_relay(index);
        if let Some(from) = self.sockets[index as usize].relayed_from {
            self.end_relay(from);
        }
    }
}
