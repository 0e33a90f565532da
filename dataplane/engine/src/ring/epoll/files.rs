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
        match sendfile::send(descriptor.as_fd(), file, offset, length) {
            Ok(0) => FileSent::Taken(0),
            Ok(count) => {
                socket.sent += count as u64;
                socket.notify = true;
                self.mark_dirty(id.0);
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
