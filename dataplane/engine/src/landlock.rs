//! An engine that may open files opens them for reading: Landlock refuses every kind of writing, for good.
//!
//! The system call filter cannot see it, since openat2 has its flags behind a pointer. Called while the process has one
//! thread, which the later ones inherit from.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// execute, write, make and remove of every kind: LANDLOCK_ACCESS_FS_* of the first version but reading (bits 2 and 3).
const REFUSED: u64 = 0x1fff & !(1 << 2 | 1 << 3);

/// Refuses writing. Err where the kernel has no Landlock.
pub fn refuse_writing() -> io::Result<()> {
    // SAFETY: no pointers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the attribute is a u64 of the size given and lives through the call.
    let created = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const REFUSED_ATTRIBUTE, size_of::<u64>(), 0)
    };
    let descriptor = i32::try_from(created).ok().filter(|descriptor| *descriptor >= 0);
    let descriptor = descriptor.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: just created, owned by nobody else.
    let rules = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // SAFETY: no pointers; the descriptor is open.
    if unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

static REFUSED_ATTRIBUTE: u64 = REFUSED;
