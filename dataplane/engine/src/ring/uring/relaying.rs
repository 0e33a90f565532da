//! Relays: both sockets lend a descriptor for splice(2), and one poll at a time waits for whichever stopped it.
//! IORING_OP_SPLICE would go to the kernel's threads.

use super::files::Lent;
use super::*;
use crate::ring::relaying::{Pipe, Stopped};
use std::os::fd::AsFd;

/// What a socket's bytes go through, and where to.
pub(super) struct Relay {
    to: u32,
    pipe: Pipe,
    /// A poll is armed in the kernel, for room in the receiver where `awaits_room`.
    polling: bool,
    awaits_room: bool,
}

impl Uring {
    pub(super) fn start_relay(&mut self, from: SocketId, to: SocketId) -> bool {
        let (sender, receiver) = (&self.sockets[from.index()], &self.sockets[to.index()]);
        if sender.relay.is_some() {
            return true;
        }
        let is_live = |socket: &Socket| socket.open && !socket.closing && !socket.connecting;
        if self.relays >= RELAYS_MAX || sender.ended || !is_live(sender) || !is_live(receiver) {
            return false;
        }
        if !self.asks_descriptor(from.0) || !self.asks_descriptor(to.0) {
            return false;
        }
        self.system_calls += 2;
        let Ok(pipe) = Pipe::open() else { return false };
        self.relays += 1;
        let relay = Relay { to: to.0, pipe, polling: false, awaits_room: false };
        self.sockets[to.index()].relayed_from = Some(from.0);
        let sender = &mut self.sockets[from.index()];
        sender.relay = Some(Box::new(relay));
        if sender.receiving {
            let generation = sender.generation;
            self.cancel(RECEIVE, generation, from.0);
        }
        self.poll_relay(from.0);
        true
    }

    /// Moves what there is, once both descriptors are here, what was in flight came in, and what goes ahead went out: each
    /// of them calls again.
    pub(super) fn relay_on<H: Handler<Self>>(&mut self, handler: &mut H, from: u32) {
        let sender = &mut self.sockets[from as usize];
        let is_ready = sender.open && !sender.closing && !sender.receiving && sender.wants_data;
        let Some(mut relay) = sender.relay.take_if(|relay| is_ready && !relay.polling) else { return };
        let to = relay.to;
        let (sender, receiver) = (&self.sockets[from as usize], &self.sockets[to as usize]);
        let has_room = !receiver.closing && !receiver.sending && receiver.out.is_empty();
        let (Lent::Here(input), Lent::Here(output), true) = (&sender.lent, &receiver.lent, has_room) else {
            self.sockets[from as usize].relay = Some(relay);
            return self.give_up_relay(from, to);
        };
        let passed = relay.pipe.pass(input.as_fd(), output.as_fd());
        // The pipe may hold bytes wherever it did not stop for want of them: the sender may have no more.
        relay.awaits_room = passed.stopped != Stopped::Empty;
        self.sockets[from as usize].relay = Some(relay);
        self.system_calls += passed.system_calls;
        self.sockets[to as usize].sent += passed.bytes as u64;
        if passed.bytes > 0 {
            handler.on_relayed(self, SocketId(from), passed.bytes);
        }
        if passed.stopped == Stopped::Stuck {
            return self.copy_on(from);
        }
        let Some((ended, end)) = passed.stopped.find_ended(from, to) else { return self.poll_relay(from) };
        self.end_relay(from);
        // A receiver that sent all it had may break all the same.
        self.sockets[ended as usize].ended = false;
        self.ended(handler, ended, end);
    }

    /// The sender has something, or the receiver has room.
    pub(super) fn relay_polled<H: Handler<Self>>(&mut self, handler: &mut H, from: u32, generation: u32) {
        let socket = &mut self.sockets[from as usize];
        if socket.generation != generation || !socket.open {
            return;
        }
        if let Some(relay) = socket.relay.as_mut() {
            relay.polling = false;
            self.relay_on(handler, from);
        }
    }

    /// A socket's descriptor is here, or its output went out: relays that waited for it go on.
    pub(super) fn relays_on<H: Handler<Self>>(&mut self, handler: &mut H, index: u32) {
        self.relay_on(handler, index);
        if let Some(from) = self.sockets[index as usize].relayed_from {
            self.relay_on(handler, from);
        }
    }

    /// Before a socket closes: neither side of a relay outlives the other's, and polls hold their sockets open.
    pub(super) fn end_relays(&mut self, index: u32) {
        self.end_relay(index);
        if let Some(from) = self.sockets[index as usize].relayed_from {
            self.end_relay(from);
        }
    }

    pub(super) fn poll_relay(&mut self, from: u32) {
        let socket = &mut self.sockets[from as usize];
        let generation = socket.generation;
        let Some(relay) = socket.relay.as_mut().filter(|relay| !relay.polling) else { return };
        relay.polling = true;
        let (index, event) = if relay.awaits_room {
            (relay.to, libc::POLLOUT)
        } else {
            (from, libc::POLLIN | libc::POLLRDHUP)
        };
        let entry = opcode::PollAdd::new(Fixed(index), event as u32).build();
        self.push(entry.user_data(user_data(RELAY, generation, from)));
    }

    /// Copies go on where a descriptor is not to be had.
    fn give_up_relay(&mut self, from: u32, to: u32) {
        let refused = |index: u32| matches!(self.sockets[index as usize].lent, Lent::Refused);
        if refused(from) || refused(to) {
            self.copy_on(from);
        }
    }

    fn copy_on(&mut self, from: u32) {
        self.end_relay(from);
        self.rearm.push(from);
    }

    pub(super) fn end_relay(&mut self, from: u32) {
        let socket = &mut self.sockets[from as usize];
        let generation = socket.generation;
        let Some(relay) = socket.relay.take() else { return };
        self.relays -= 1;
        self.sockets[relay.to as usize].relayed_from = None;
        if relay.polling {
            self.cancel(RELAY, generation, from);
        }
    }
}
