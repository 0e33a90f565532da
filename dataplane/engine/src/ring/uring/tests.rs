//! What the kernel lets a ring of ours do, and how much it hands over: on the ring that serves, not on one like it.
#![allow(unsafe_code)]

use super::*;
use io_uring::register::Restriction;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// What a turn may sleep, so that the test looks at its conditions now and then.
const TURN_MS: u64 = 20;

/// Something that never becomes readable, for as long as its other end is there.
fn wake() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

/// Submits one entry of this operation and flags, and returns its result.
fn try_operation(uring: &mut Uring, code: u8, flags: u8) -> i32 {
    let mut entry = opcode::Shutdown::new(Fixed(0), 0).build().user_data(7);
    // SAFETY: an entry is a io_uring_sqe, whose u8 `opcode` and `flags` are at bytes 0 and 1. All that it could name is zero.
    unsafe {
        *(&raw mut entry).cast::<u8>() = code;
        *(&raw mut entry).cast::<u8>().add(1) |= flags;
    }
    uring.push(entry);
    loop {
        uring.ring.submit_and_wait(1).unwrap();
        while let Some(completion) = uring.ring.completion().next() {
            if completion.user_data() == 7 {
                return completion.result();
            }
        }
    }
}

#[test]
fn the_kernel_refuses_every_operation_that_we_do_not_need() {
    let (wake, _other) = wake();
    let mut uring = Uring::new(wake.as_fd()).unwrap();
    let allowed = [
        opcode::Accept::CODE,
        opcode::AsyncCancel::CODE,
        opcode::Close::CODE,
        opcode::Connect::CODE,
        opcode::PollAdd::CODE,
        opcode::RecvMulti::CODE,
        opcode::Send::CODE,
        opcode::Shutdown::CODE,
        opcode::FixedFdInstall::CODE,
    ];
    let refused = (0..=opcode::FixedFdInstall::CODE).filter(|code| !allowed.contains(code));
    let wrong: Vec<(u8, i32)> = refused
        .map(|code| (code, try_operation(&mut uring, code, 0)))
        .filter(|(_, result)| *result != -libc::EACCES)
        .collect();
    assert_eq!(wrong, [], "operations that were not refused, and what came of them");
    // No socket is at this index: an allowed operation gets so far.
    assert_eq!(try_operation(&mut uring, opcode::Shutdown::CODE, 0), -libc::EBADF);
}

#[test]
fn the_kernel_refuses_flags_and_registrations_that_we_do_not_need() {
    let (wake, _other) = wake();
    let mut uring = Uring::new(wake.as_fd()).unwrap();
    for flag in
        [squeue::Flags::IO_LINK, squeue::Flags::IO_HARDLINK, squeue::Flags::ASYNC, squeue::Flags::IO_DRAIN]
    {
        assert_eq!(try_operation(&mut uring, opcode::Shutdown::CODE, flag.bits()), -libc::EACCES, "{flag:?}");
    }
    let submitter = uring.ring.submitter();
    let refused = [
        submitter.unregister_files(),
        submitter.register_eventfd(wake.as_raw_fd()),
        submitter.register_personality().map(|_| ()),
        submitter.register_restrictions(&mut [Restriction::sqe_op(opcode::OpenAt::CODE)]),
        submitter.register_enable_rings(),
    ];
    for (number, result) in refused.into_iter().enumerate() {
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EACCES), "{number}");
    }
}

/// What the test is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Connecting,
    /// Bytes lie in the kernel; those of the first turns with some are counted.
    Counting {
        turns: u32,
    },
    ReadingOn,
}

/// Reads from a peer in its own thread: pauses at the first bytes, and after some turns reads on.
struct Pausing {
    listener: TcpListener,
    peer: Option<TcpStream>,
    socket: SocketId,
    step: Step,
    sent: usize,
    received: usize,
    received_paused: usize,
    deadline: Instant,
}

impl Handler<Uring> for Pausing {
    fn on_accept(&mut self, _: &mut Uring, _: SocketId, _: u32, _: SocketAddr, _: SocketAddr) {}
    fn on_connect(&mut self, io: &mut Uring, socket: SocketId, connected: bool) {
        assert!(connected);
        io.pause(socket);
        self.peer = Some(self.listener.accept().unwrap().0);
    }
    fn on_data(&mut self, io: &mut Uring, socket: SocketId, data: &mut [u8]) {
        assert!(data == &pattern(self.received + data.len())[self.received..], "after {}", self.received);
        self.received += data.len();
        if self.step != Step::ReadingOn {
            io.pause(socket);
        }
    }
    fn on_end(&mut self, _: &mut Uring, _: SocketId, _: End) {}
    fn on_drained(&mut self, _: &mut Uring, _: SocketId) {}
    fn on_closed(&mut self, _: &mut Uring, _: SocketId) {}
    fn on_readable(&mut self, _: &mut Uring, _: u32) {}
    fn on_wake(&mut self, _: &mut Uring) {}
    fn on_turn(&mut self, io: &mut Uring) -> Option<u64> {
        assert!(Instant::now() < self.deadline, "{:?} after {} bytes", self.step, self.received);
        let is_armed = io.sockets[self.socket.index()].receiving;
        match (self.step, self.peer.as_mut()) {
            (Step::Connecting, Some(peer)) if !is_armed => {
                peer.set_nonblocking(true).unwrap();
                while self.sent < SENT
                    && let Ok(count) = peer.write(&pattern(SENT)[self.sent..])
                {
                    self.sent += count;
                }
                io.resume(self.socket);
                self.step = Step::Counting { turns: 0 };
            }
            // Whatever was asked for has come by then.
            (Step::Counting { turns: 8 }, _) => {
                self.received_paused = self.received;
                io.resume(self.socket);
                self.step = Step::ReadingOn;
            }
            (Step::Counting { turns }, _) if self.received > 0 => {
                self.step = Step::Counting { turns: turns + 1 };
            }
            (Step::ReadingOn, _) if self.received == self.sent => io.stop(),
            _ => {}
        }
        Some(TURN_MS)
    }
}

const SENT: usize = 128 << 10;

/// Bytes that tell where they belong, and whose period is no divisor of a buffer's length.
fn pattern(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

/// What a paused socket brought of bytes that lay in the kernel, all of them, and whether it could be bounded.
fn read_with_a_pause(read_ahead: u32) -> (usize, usize, bool) {
    let (wake, _other) = wake();
    let mut uring = Uring::new(wake.as_fd()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = uring.connect(&listener.local_addr().unwrap()).unwrap();
    uring.set_read_ahead(socket, read_ahead);
    let mut handler = Pausing {
        listener,
        peer: None,
        socket,
        step: Step::Connecting,
        sent: 0,
        received: 0,
        received_paused: 0,
        deadline: Instant::now() + PATIENCE,
    };
    uring.run(&mut handler).unwrap();
    assert!(handler.sent > 2 * RECEIVE_BUFFER_BYTES, "{}", handler.sent);
    (handler.received_paused, handler.sent, uring.receiving.is_bounded())
}

#[test]
fn a_paused_socket_brings_no_more_than_was_to_be_read_ahead_and_loses_nothing() {
    let (paused, sent, is_bounded) = read_with_a_pause(STREAM_READ_AHEAD_BYTES);
    let bytes_max = if is_bounded { STREAM_READ_AHEAD_BYTES as usize } else { sent };
    assert!(paused <= bytes_max, "{paused} of {sent}");
}

#[test]
fn what_fills_several_buffers_comes_in_its_order() {
    let (paused, _, _) = read_with_a_pause(UPSTREAM_READ_AHEAD_BYTES);
    assert!(paused > RECEIVE_BUFFER_BYTES, "{paused}");
}
