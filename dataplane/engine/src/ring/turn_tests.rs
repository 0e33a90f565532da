//! No backend sleeps on what its handler was told: another turn follows at once.

use super::epoll::Epoll;
use super::uring::Uring;
use super::{Close, End, Handler, Io, SocketId};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const SLEEP: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes to a connection, asks to be told, and stops in the turn after it was.
#[derive(Default)]
struct Writer {
    drained: bool,
    closed: bool,
}

impl<I: Io> Handler<I> for Writer {
    fn on_accept(&mut self, _: &mut I, _: SocketId, _: u32, _: SocketAddr, _: SocketAddr) {}

    fn on_connect(&mut self, io: &mut I, socket: SocketId, connected: bool) {
        assert!(connected);
        io.out(socket).extend_from_slice(b"little");
        io.notify_drained(socket);
    }

    fn on_data(&mut self, _: &mut I, _: SocketId, _: &mut [u8]) {}
    fn on_end(&mut self, _: &mut I, _: SocketId, _: End) {}

    fn on_drained(&mut self, io: &mut I, socket: SocketId) {
        self.drained = true;
        io.close(socket, Close::AfterFlush);
    }

    fn on_closed(&mut self, _: &mut I, _: SocketId) {
        self.closed = true;
    }

    fn on_readable(&mut self, _: &mut I, _: u32) {}
    fn on_wake(&mut self, _: &mut I) {}

    fn on_turn(&mut self, io: &mut I) -> Option<u64> {
        if self.drained && self.closed {
            io.stop();
        }
        Some(SLEEP.as_millis() as u64)
    }
}

macro_rules! assert_has_its_turns {
    ($backend:expr) => {
        let (listener, began) = (TcpListener::bind("127.0.0.1:0").unwrap(), Instant::now());
        let mut backend = $backend.unwrap();
        backend.connect(&listener.local_addr().unwrap()).unwrap();
        backend.run(&mut Writer::default()).unwrap();
        assert!(began.elapsed() < PATIENCE, "it slept before the handler had its turn");
    };
}

#[test]
fn what_a_flush_told_has_a_turn_before_anything_sleeps() {
    let (wake, _other) = UnixStream::pair().unwrap();
    assert_has_its_turns!(Epoll::new(wake.as_fd()));
    assert_has_its_turns!(Uring::new(wake.as_fd()));
}
