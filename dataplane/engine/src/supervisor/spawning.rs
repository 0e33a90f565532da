//! The engine as a child process, with its control socket and the metrics memfd as descriptors 3 and 4.

use super::Options;
use crate::metrics::Lot;
use crate::serve::PROCESS_NAME;
use crate::tls::tickets::{Key, make_key};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

pub const CONTROL_DESCRIPTOR: RawFd = 3;
pub const METRICS_DESCRIPTOR: RawFd = 4;

/// Starts an engine from a binary; returns it with our end of its control socket.
pub fn spawn(
    options: &Options,
    path: &Path,
    lot: Lot,
    metrics: BorrowedFd<'_>,
) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(path);
    command
        // It may be started as /proc/self/exe: processes are looked for by their name.
        .arg0(PROCESS_NAME)
        .arg("serve")
        .arg(format!("--workers={}", lot.workers))
        .arg(format!("--lot={}", lot.index))
        .arg(format!("--io={}", options.io.name()))
        .args(options.files.then_some("--files"));
    if let Some(socket) = &options.log_socket {
        command.arg("--log-socket").arg(socket);
    }
    if let Some(socket) = &options.token_socket {
        command.arg("--token-socket").arg(socket);
    }
    let (control, metrics) = (theirs.as_raw_fd(), metrics.as_raw_fd());
    // SAFETY: between fork and exec only async-signal-safe calls are made, on descriptors that stay open here.
    unsafe {
        command.pre_exec(move || {
            reset_signals()?;
            // The engine must not outlive us: it would hold the ports against the next supervisor.
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            place_descriptors(control, metrics)
        });
    }
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(ticket_key())?;
    }
    Ok((child, ours.into()))
}

/// What session tickets are sealed by: the same for every engine of this supervisor, and nowhere on a disk.
fn ticket_key() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(make_key)
}

/// Both descriptors to their places, whatever lies there: first out of the way, then down.
fn place_descriptors(control: RawFd, metrics: RawFd) -> io::Result<()> {
    const FREE_FROM: RawFd = 64;
    for (from, to) in [(control, CONTROL_DESCRIPTOR), (metrics, METRICS_DESCRIPTOR)].map(|(from, to)| {
        // SAFETY: no pointers.
        (unsafe { libc::fcntl(from, libc::F_DUPFD_CLOEXEC, FREE_FROM) }, to)
    }) {
        // SAFETY: no pointers; the copy loses the close-on-exec flag.
        if from < 0 || unsafe { libc::dup2(from, to) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The supervisor blocks the signals that it reads by descriptor; the engine wants them as they were.
fn reset_signals() -> io::Result<()> {
    // SAFETY: passes a set that sigemptyset has filled.
    let result = unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
