//! splice(2) between two sockets, which both real backends share: a pipe takes the pages of one and gives them to the
//! other, and no byte is copied.
//!
//! Rule: the caller waits for what `pass` stopped at: its next readable or writable event comes after that.
#![allow(unsafe_code)]

use super::End;
use crate::limits::{READS_PER_EVENT, RELAY_PIPE_BYTES};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Why no more bytes passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Nothing to read now, and nothing held.
    Empty,
    /// The other socket takes no more now.
    Full,
    /// More may pass at once, what is held first: others have their turn before.
    Later,
    /// There are bytes that splice(2) does not take: those behind urgent ones (RFC 9293 3.8.5). They have to be copied.
    Stuck,
    /// The sender finished, and all that it sent was given on.
    Ended,
    /// The sender reset, and all that came before was given on.
    SenderBroken,
    ReceiverBroken,
}

impl Stopped {
    /// Which of a relay's two sockets ended, and how, where that ends the relay.
    pub fn find_ended(self, sender: u32, receiver: u32) -> Option<(u32, End)> {
        match self {
            Self::Empty | Self::Full | Self::Later | Self::Stuck => None,
            Self::Ended => Some((sender, End::Finished)),
            Self::SenderBroken => Some((sender, End::Reset)),
            Self::ReceiverBroken => Some((receiver, End::Reset)),
        }
    }
}

/// What one turn of a relay did.
pub struct Passed {
    /// Bytes that the receiver's socket took.
    pub bytes: usize,
    pub stopped: Stopped,
    pub system_calls: u64,
}

/// The pipe of one direction between two sockets.
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
    /// How the sender ended; told once nothing is held.
    over: Option<Stopped>,
}

impl Pipe {
    /// Fails where the user's pipes are as large as the system allows (`fs.pipe-user-pages-soft`): a small one is dearer
    /// than copies.
    pub fn open() -> io::Result<Self> {
        let mut ends = [-1; 2];
        // SAFETY: the kernel writes two descriptors into the array.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: both were just made, owned by nobody else.
        let [read, write] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
        // SAFETY: no pointers.
        if unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, RELAY_PIPE_BYTES as libc::c_int) } < 0
        {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { read, write, held: 0, over: None })
    }

    /// Moves what there is, as far as both sockets go; neither waits (O_NONBLOCK).
    pub fn pass(&mut self, sender: BorrowedFd<'_>, receiver: BorrowedFd<'_>) -> Passed {
        let mut passed = Passed { bytes: 0, stopped: Stopped::Later, system_calls: 0 };
        for _ in 0..READS_PER_EVENT {
            if let Some(stopped) = self.step(sender, receiver, &mut passed) {
                passed.stopped = stopped;
                break;
            }
        }
        passed
    }

    fn step(
        &mut self,
        sender: BorrowedFd<'_>,
        receiver: BorrowedFd<'_>,
        passed: &mut Passed,
    ) -> Option<Stopped> {
        if self.over.is_none() {
            passed.system_calls += 1;
            match splice(sender.as_raw_fd(), self.write.as_raw_fd(), RELAY_PIPE_BYTES) {
                Ok(0) => self.over = (!has_more(sender, passed)).then_some(Stopped::Ended),
                Ok(count) => self.held += count,
                // Nothing to read, or a full pipe: what is held says which.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.over = Some(Stopped::SenderBroken),
            }
        }
        if self.held == 0 {
            return Some(match self.over {
                Some(over) => over,
                None if !has_more(sender, passed) => Stopped::Empty,
                // It may have come just now.
                None if passed.bytes > 0 => Stopped::Later,
                None => Stopped::Stuck,
            });
        }
        passed.system_calls += 1;
        match splice(self.read.as_raw_fd(), receiver.as_raw_fd(), self.held) {
            Ok(count) => {
                self.held -= count;
                passed.bytes += count;
                None
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(Stopped::Full),
            Err(_) => Some(Stopped::ReceiverBroken),
        }
    }
}

/// What splice(2) does not find, behind an urgent byte: it says that there is nothing, and at the end that all was read.
fn has_more(sender: BorrowedFd<'_>, passed: &mut Passed) -> bool {
    let (mut byte, flags) = ([0u8], libc::MSG_PEEK | libc::MSG_DONTWAIT);
    passed.system_calls += 1;
    // SAFETY: the kernel writes at most one byte into the array.
    unsafe { libc::recv(sender.as_raw_fd(), byte.as_mut_ptr().cast(), byte.len(), flags) == 1 }
}

fn splice(from: i32, to: i32, bytes: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    loop {
        // SAFETY: both descriptors are open, and neither has an offset.
        let count =
            unsafe { libc::splice(from, std::ptr::null_mut(), to, std::ptr::null_mut(), bytes, flags) };
        match usize::try_from(count) {
            Ok(count) => return Ok(count),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsFd;

    fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    /// A peer, its socket here, the other socket here and its peer; those here do not wait.
    fn both_sides() -> (TcpStream, TcpStream, TcpStream, TcpStream) {
        let ((sender, inner), (outer, receiver)) = (connected(), connected());
        inner.set_nonblocking(true).unwrap();
        outer.set_nonblocking(true).unwrap();
        (sender, inner, outer, receiver)
    }

    /// Passes until it stops so; loopback may take a moment.
    fn pass_until(pipe: &mut Pipe, inner: &TcpStream, outer: &TcpStream, wanted: Stopped) -> usize {
        let mut bytes = 0;
        loop {
            let passed = pipe.pass(inner.as_fd(), outer.as_fd());
            bytes += passed.bytes;
            if passed.stopped == wanted {
                return bytes;
            }
        }
    }

    #[test]
    fn all_that_was_sent_arrives_before_the_end() {
        let (mut sender, inner, outer, mut receiver) = both_sides();
        let mut pipe = Pipe::open().unwrap();
        assert_eq!(pipe.pass(inner.as_fd(), outer.as_fd()).stopped, Stopped::Empty);
        let sent: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let expected = sent.clone();
        let writer = std::thread::spawn(move || {
            sender.write_all(&sent).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
            sender
        });
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            receiver.read_to_end(&mut got).unwrap();
            got
        });
        assert_eq!(pass_until(&mut pipe, &inner, &outer, Stopped::Ended), expected.len());
        outer.shutdown(Shutdown::Write).unwrap();
        assert!(reader.join().unwrap() == expected);
        writer.join().unwrap();
    }

    #[test]
    fn a_receiver_that_does_not_read_stops_the_sender() {
        let (mut sender, inner, outer, mut receiver) = both_sides();
        let mut pipe = Pipe::open().unwrap();
        sender.set_nonblocking(true).unwrap();
        let mut sent = 0;
        let mut passed = 0;
        loop {
            let stopped = pipe.pass(inner.as_fd(), outer.as_fd());
            passed += stopped.bytes;
            match sender.write(&[7; 65536]) {
                Ok(count) => sent += count,
                Err(_) if stopped.stopped == Stopped::Full => break,
                Err(_) => {}
            }
        }
        assert!(passed < sent);
        drop(sender);
        let reader = std::thread::spawn(move || receiver.read_to_end(&mut Vec::new()).unwrap());
        passed += pass_until(&mut pipe, &inner, &outer, Stopped::Ended);
        drop(outer);
        assert_eq!((passed, reader.join().unwrap()), (sent, sent));
    }

    #[test]
    fn bytes_behind_urgent_ones_are_stuck() {
        let (mut sender, inner, outer, mut receiver) = both_sides();
        let mut pipe = Pipe::open().unwrap();
        sender.write_all(b"before").unwrap();
        // SAFETY: the byte lives through the call.
        let sent = unsafe { libc::send(sender.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
        assert_eq!(sent, 1);
        sender.write_all(b"behind").unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
        assert_eq!(pass_until(&mut pipe, &inner, &outer, Stopped::Stuck), 6);
        let mut got = [0; 6];
        receiver.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"before");
    }

    #[test]
    fn what_was_sent_before_a_reset_is_given_on_first() {
        let (mut sender, inner, outer, mut receiver) = both_sides();
        let mut pipe = Pipe::open().unwrap();
        let (mut sent, mut passed) = (0, 0);
        // Until the pipe holds some that the receiver has no room for, and the sender's kernel nothing.
        loop {
            let now = pipe.pass(inner.as_fd(), outer.as_fd());
            passed += now.bytes;
            match now.stopped {
                Stopped::Full if unsent(&sender) == 0 => break,
                Stopped::Empty => sent += sender.write(&[7; 4096]).unwrap(),
                _ => {}
            }
        }
        let reset = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: the option's value lives in this frame.
        let set = unsafe {
            let (value, length) = ((&raw const reset).cast(), size_of_val(&reset) as libc::socklen_t);
            libc::setsockopt(sender.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, length)
        };
        assert_eq!(set, 0);
        drop(sender);
        let reader = std::thread::spawn(move || receiver.read_to_end(&mut Vec::new()).unwrap());
        passed += pass_until(&mut pipe, &inner, &outer, Stopped::SenderBroken);
        drop(outer);
        assert_eq!((passed, reader.join().unwrap()), (sent, sent));
    }

    /// Bytes that the other side's kernel has not taken yet.
    fn unsent(stream: &TcpStream) -> i32 {
        let mut count = 0;
        // SAFETY: the kernel writes one number.
        assert_eq!(unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) }, 0);
        count
    }

    #[test]
    fn a_receiver_that_is_gone_is_told_from_a_sender_that_is() {
        let (mut sender, inner, outer, receiver) = both_sides();
        let mut pipe = Pipe::open().unwrap();
        drop(receiver);
        while pipe.pass(inner.as_fd(), outer.as_fd()).stopped != Stopped::ReceiverBroken {
            let _ = sender.write(b"more");
        }
    }
}
