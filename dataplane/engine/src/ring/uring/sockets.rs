//! What handlers may do with sockets of the ring: all of it becomes submissions of the turn's end.
#![allow(unsafe_code)]

use super::*;

impl Io for Uring {
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
        let flying = if socket.sending { socket.flying.len() - socket.offset } else { 0 };
        socket.out.len() + flying
    }

    fn sent(&self, socket: SocketId) -> u64 {
        self.sockets[socket.index()].sent
    }

    fn send_file(&mut self, id: SocketId, file: BorrowedFd<'_>, offset: u64, length: usize) -> FileSent {
        self.lend(id, file, offset, length)
    }

    fn await_room(&mut self, socket: SocketId) {
        self.poll_room(socket.0);
    }

    fn relay(&mut self, from: SocketId, to: SocketId) -> bool {
        self.start_relay(from, to)
    }

    fn connect(&mut self, address: &SocketAddr) -> Option<SocketId> {
        let index = self.free.pop()?;
        self.system_calls += 4;
        // SETSOCKOPT on the ring would need URING_CMD, which the restrictions rightly refuse: plain calls, once a socket.
        let registered = addresses::upstream_socket(address, 0)
            .and_then(|fd| self.ring.submitter().register_files_update(index, &[fd.as_raw_fd()]));
        if registered.is_err() {
            self.free.push(index);
            return None;
        }
        let raw = Box::new(RawAddress::new(address));
        let socket = self.open(index);
        socket.connecting = true;
        let (pointer, length, generation) = (raw.pointer(), raw.length, socket.generation);
        socket.address = Some(raw);
        let entry = opcode::Connect::new(Fixed(index), pointer, length).build();
        self.push(entry.user_data(user_data(CONNECT, generation, index)));
        Some(SocketId(index))
    }

    fn shutdown(&mut self, socket: SocketId) {
        self.sockets[socket.index()].shutdown = true;
        self.mark_dirty(socket.0);
    }

    fn close(&mut self, id: SocketId, when: Close) {
        let socket = &mut self.sockets[id.index()];
        if !socket.open {
            return;
        }
        socket.closing = true;
        let generation = socket.generation;
        if when == Close::Now {
            socket.out.clear();
            if socket.sending {
                self.cancel(SEND, generation, id.0);
                // Whatever the send still reports, there is no rest to send.
                let socket = &mut self.sockets[id.index()];
                socket.offset = socket.flying.len();
            }
        }
        if self.sockets[id.index()].connecting {
            self.cancel(CONNECT, generation, id.0);
        }
        self.mark_dirty(id.0);
    }

    fn pause(&mut self, id: SocketId) {
        let socket = &mut self.sockets[id.index()];
        socket.wants_data = false;
        if socket.receiving {
            let generation = socket.generation;
            self.cancel(RECEIVE, generation, id.0);
        }
    }

    fn resume(&mut self, id: SocketId) {
        let socket = &mut self.sockets[id.index()];
        socket.wants_data = true;
        if socket.relay.is_some() {
            self.poll_relay(id.0);
        } else if !socket.receiving {
            self.rearm.push(id.0);
        }
    }

    fn set_read_ahead(&mut self, id: SocketId, bytes: u32) {
        let socket = &mut self.sockets[id.index()];
        socket.read_ahead = bytes;
        if self.receiving.is_bounded() && socket.receiving && socket.receivable > bytes {
            socket.receivable = bytes;
            let generation = socket.generation;
            self.cancel(RECEIVE, generation, id.0);
        }
    }

    fn notify_drained(&mut self, id: SocketId) {
        self.sockets[id.index()].notify = true;
    }

    fn listen(&mut self, key: u32, descriptor: OwnedFd) {
        self.unlisten(key);
        addresses::set_no_delay(&descriptor);
        let local = addresses::local_address(std::os::fd::AsFd::as_fd(&descriptor));
        let listener = self.listenings.len();
        self.listenings.push(Listening { key, descriptor: Some(descriptor), local, reads_local: false });
        for _ in 0..ACCEPTS_IN_FLIGHT {
            let address = RawAddress::empty();
            let acceptor = Acceptor { address, listener, slot: 0, armed: false, reads_local: false };
            self.acceptors.push(Box::new(acceptor));
        }
    }

    fn unlisten(&mut self, key: u32) {
        for listener in 0..self.listenings.len() {
            if self.listenings[listener].key != key || self.listenings[listener].descriptor.is_none() {
                continue;
            }
            for index in 0..self.acceptors.len() {
                if self.acceptors[index].listener == listener && self.acceptors[index].armed {
                    self.cancel(ACCEPT, 0, index as u32);
                }
            }
            // Submitted before the descriptor closes, so that the accepts let go of the socket.
            let _ = self.ring.submit();
            self.listenings[listener].descriptor = None;
        }
    }

    fn read_local(&mut self, key: u32, wanted: bool) {
        for listener in 0..self.listenings.len() {
            if self.listenings[listener].key != key || self.listenings[listener].reads_local == wanted {
                continue;
            }
            self.listenings[listener].reads_local = wanted;
            // They are armed again as wanted, at the end of the turn.
            for index in 0..self.acceptors.len() {
                if self.acceptors[index].listener == listener && self.acceptors[index].armed {
                    self.cancel(ACCEPT, 0, index as u32);
                }
            }
        }
    }

    fn set_accepting(&mut self, accepting: bool) {
        self.accepting = accepting;
    }

    fn stop_accepting(&mut self) {
        self.accepting = false;
        self.leaving = true;
        for index in 0..self.acceptors.len() {
            if self.acceptors[index].armed {
                self.cancel(ACCEPT, 0, index as u32);
            }
        }
    }

    fn accepts_late(&self) -> bool {
        self.leaving && self.acceptors.iter().any(|acceptor| acceptor.armed)
    }

    fn watch(&mut self, key: u32, socket: BorrowedFd<'_>) {
        self.watches = (self.watches + 1) & GENERATION_MASK;
        self.watched.insert(key, (self.watches, socket.as_raw_fd()));
        self.arm_watch(key);
    }

    fn unwatch(&mut self, key: u32) {
        if let Some((generation, _)) = self.watched.remove(&key) {
            // Polls pin their file.
            self.cancel(WATCH, generation, key);
        }
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

impl Uring {
    pub(super) fn arm_wake(&mut self) {
        let entry = opcode::PollAdd::new(Fd(self.wake), libc::POLLIN as u32).multi(true).build();
        self.push(entry.user_data(user_data(WAKE, 0, 0)));
    }

    /// One poll at a time: the next one finds what the handler left.
    fn arm_watch(&mut self, key: u32) {
        if let Some((generation, descriptor)) = self.watched.get(&key).copied() {
            let entry = opcode::PollAdd::new(Fd(descriptor), libc::POLLIN as u32).build();
            self.push(entry.user_data(user_data(WATCH, generation, key)));
        }
    }

    pub(super) fn readable<H: Handler<Self>>(&mut self, handler: &mut H, key: u32, generation: u32) {
        let is_live = |uring: &Uring| uring.watched.get(&key).is_some_and(|(live, _)| *live == generation);
        if is_live(self) {
            handler.on_readable(self, key);
        }
        if is_live(self) {
            self.arm_watch(key);
        }
    }
}
