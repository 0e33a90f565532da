//! Files without copies: sendfile(2) until the socket is full.

use super::{AsFd, BorrowedFd, Epoll, SocketId, io};
use crate::ring::{FileSent, sendfile};

impl Epoll {
    pub(super) fn lend(
        &mut self,
        id: SocketId,
        file: BorrowedFd<'_>,
        offset: u64,
        length: usize,
    ) -> FileSent {
        let socket = &mut self.sockets[id.index()];
        let Some(descriptor) = socket.descriptor.as_ref().filter(|_| !socket.closing && !socket.connecting)
        else {
            return FileSent::Unable;
        };
        if socket.blocked {
            socket.notify = true;
            return FileSent::Full;
        }
        self.system_calls += 1;
        if socket.offset < socket.out.len() {
            self.system_calls += 1;
            match sendfile::send_ahead(descriptor.as_fd(), &socket.out[socket.offset..]) {
                Ok(count) => {
                    socket.sent += count as u64;
                    socket.offset += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return FileSent::Unable,
            }
            if socket.offset < socket.out.len() {
                // The turn's end meets the full socket, and waits for its edge.
                socket.notify = true;
                self.mark_dirty(id.0);
                return FileSent::Full;
            }
            socket.offset = 0;
            self.pool.give(std::mem::take(&mut socket.out));
        }
        match sendfile::send(descriptor.as_fd(), file, offset, length) {
            Ok(count) => {
                socket.sent += count as u64;
                FileSent::Taken(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                (socket.blocked, socket.notify) = (true, true);
                FileSent::Full
            }
            // The copy meets the same error, and tells it as every send does.
            Err(_) => FileSent::Unable,
        }
    }
}
