//! Signals by descriptor, the wait for whatever comes first, and who is at the other end of a socket.

use super::raw;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

/// SIGTERM, SIGINT, SIGCHLD and SIGUSR2, blocked and read from a signalfd.
pub struct Signals(OwnedFd);

impl Signals {
    pub fn block() -> io::Result<Self> {
        // SAFETY: the set is zeroed, then filled by the calls made for it.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGCHLD, libc::SIGUSR2] {
                libc::sigaddset(&mut set, signal);
            }
            if libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            let descriptor = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self(OwnedFd::from_raw_fd(descriptor)))
        }
    }

    /// Numbers of the signals that came.
    pub fn take(&self) -> io::Result<Vec<i32>> {
        let mut signals = Vec::new();
        loop {
            // SAFETY: a zeroed record is valid.
            let mut record: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
            let size = size_of::<libc::signalfd_siginfo>();
            // SAFETY: the read fills at most the record's size.
            let count = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut record).cast(), size) };
            match count {
                0 => return Ok(signals),
                1.. => signals.push(record.ssi_signo as i32),
                _ => {
                    let error = io::Error::last_os_error();
                    return if error.kind() == io::ErrorKind::WouldBlock { Ok(signals) } else { Err(error) };
                }
            }
        }
    }
}

/// What is readable.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ready {
    pub signals: bool,
    pub listener: bool,
    pub agent: bool,
    pub engine: bool,
    pub next: bool,
}

pub fn poll(
    signals: &Signals,
    listener: &UnixListener,
    agent: Option<BorrowedFd<'_>>,
    engine: Option<BorrowedFd<'_>>,
    next: Option<BorrowedFd<'_>>,
    timeout: Option<Duration>,
) -> io::Result<Ready> {
    let descriptors = [signals.0.as_raw_fd(), listener.as_raw_fd(), raw(agent), raw(engine), raw(next)];
    let mut polled = descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    // Rounded up: a deadline is past when the wait ends.
    let timeout = timeout.map_or(-1, |timeout| i32::try_from(timeout.as_millis() + 1).unwrap_or(i32::MAX));
    // SAFETY: five initialised records.
    if unsafe { libc::poll(polled.as_mut_ptr(), 5, timeout) } < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted { Ok(Ready::default()) } else { Err(error) };
    }
    let [signals, listener, agent, engine, next] = polled.map(|record| record.revents != 0);
    Ok(Ready { signals, listener, agent, engine, next })
}

/// This process gets SIGTERM when its parent ends.
pub fn follow_parent() -> io::Result<()> {
    // SAFETY: no pointers.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Only this very user, or root, may say what is served.
pub fn check_peer(socket: &UnixStream) -> io::Result<()> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: `peer` has the room that `length` says.
    let failed = unsafe {
        libc::getsockopt(descriptor, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut peer).cast(), &mut length)
            != 0
    };
    if failed {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: no pointers.
    let ours = unsafe { libc::geteuid() };
    if peer.uid == ours || peer.uid == 0 {
        Ok(())
    } else {
        Err(io::Error::other(format!("user {} refused", peer.uid)))
    }
}
