//! What owners of sockets hear of relays, on both backends.

use super::epoll::Epoll;
use super::uring::Uring;
use super::{End, Handler, Io, SocketId};
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const TURN_MS: u64 = 20;
/// Turns after the end in which another one would come.
const TURNS_AFTER: u32 = 4;

/// Offers a relay from one connection to another when bytes come, behind which the first one ends.
struct Ending {
    listener: TcpListener,
    sockets: Vec<SocketId>,
    peers: Vec<TcpStream>,
    ends: Vec<(SocketId, End)>,
    turns_after: u32,
    deadline: Instant,
}

impl Ending {
    fn connect<I: Io>(&mut self, io: &mut I) {
        self.sockets.extend(io.connect(&self.listener.local_addr().unwrap()));
    }
}

impl<I: Io> Handler<I> for Ending {
    fn on_accept(&mut self, _: &mut I, _: SocketId, _: u32, _: SocketAddr, _: SocketAddr) {}

    fn on_connect(&mut self, io: &mut I, _: SocketId, connected: bool) {
        assert!(connected);
        self.peers.push(self.listener.accept().unwrap().0);
        match &mut self.peers[..] {
            [sender, _] => {
                sender.write_all(b"the last").unwrap();
                sender.shutdown(Shutdown::Write).unwrap();
            }
            _ => self.connect(io),
        }
    }

    fn on_data(&mut self, io: &mut I, _: SocketId, data: &mut [u8]) {
        io.out(self.sockets[1]).extend_from_slice(data);
        assert!(io.relay(self.sockets[0], self.sockets[1]));
    }

    fn on_end(&mut self, _: &mut I, socket: SocketId, end: End) {
        self.ends.push((socket, end));
    }

    fn on_drained(&mut self, _: &mut I, _: SocketId) {}
    fn on_closed(&mut self, _: &mut I, _: SocketId) {}
    fn on_readable(&mut self, _: &mut I, _: u32) {}
    fn on_wake(&mut self, _: &mut I) {}

    fn on_turn(&mut self, io: &mut I) -> Option<u64> {
        assert!(Instant::now() < self.deadline, "it ended {} times", self.ends.len());
        self.turns_after += u32::from(!self.ends.is_empty());
        if self.turns_after > TURNS_AFTER {
            io.stop();
        }
        Some(TURN_MS)
    }
}

macro_rules! assert_ends_once {
    ($backend:expr) => {
        let mut backend = $backend.unwrap();
        let mut ending = Ending {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            sockets: Vec::new(),
            peers: Vec::new(),
            ends: Vec::new(),
            turns_after: 0,
            deadline: Instant::now() + PATIENCE,
        };
        ending.connect(&mut backend);
        backend.run(&mut ending).unwrap();
        assert_eq!(ending.ends, [(ending.sockets[0], End::Finished)]);
    };
}

#[test]
fn a_sender_that_ends_while_its_relay_begins_ends_once() {
    let (wake, _other) = UnixStream::pair().unwrap();
    assert_ends_once!(Epoll::new(wake.as_fd()));
    assert_ends_once!(Uring::new(wake.as_fd()));
}
