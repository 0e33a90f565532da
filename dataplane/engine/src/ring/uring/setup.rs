//! Making a ring: its memory and what it is allowed to do.
#![allow(unsafe_code)]

use crate::limits::{READ_AHEAD_BYTES, RECEIVE_BUFFER_BYTES};
use io_uring::types::Fixed;
use io_uring::{IoUring, opcode, register::Restriction, squeue};
use std::io;

/// IORING_REGISTER_FILES_UPDATE: the only register operation needed once the ring is enabled.
const REGISTER_FILES_UPDATE: u8 = 6;

/// Allows what this module submits and nothing else, then enables the ring. The result says whether this kernel lends
/// descriptors (Linux 6.8).
pub(super) fn restrict(ring: &IoUring) -> io::Result<bool> {
    let submitter = ring.submitter();
    // A kernel that refuses a list keeps none of it.
    let lends = submitter.register_restrictions(&mut restrictions(true)).is_ok();
    if !lends {
        submitter.register_restrictions(&mut restrictions(false))?;
    }
    submitter.register_enable_rings()?;
    Ok(lends)
}

fn restrictions(lends: bool) -> Vec<Restriction> {
    let operations = [
        opcode::Accept::CODE,
        opcode::AsyncCancel::CODE,
        opcode::Close::CODE,
        opcode::Connect::CODE,
        opcode::PollAdd::CODE,
        opcode::RecvMulti::CODE,
        opcode::Send::CODE,
        opcode::Shutdown::CODE,
    ];
    let flags = squeue::Flags::FIXED_FILE | squeue::Flags::BUFFER_SELECT | squeue::Flags::SKIP_SUCCESS;
    let mut restrictions: Vec<Restriction> = operations.into_iter().map(Restriction::sqe_op).collect();
    if lends {
        restrictions.push(Restriction::sqe_op(opcode::FixedFdInstall::CODE));
    }
    restrictions.push(Restriction::sqe_flags_allowed(flags.bits()));
    restrictions.push(Restriction::register_op(REGISTER_FILES_UPDATE));
    restrictions
}

/// IORING_RECVSEND_BUNDLE.
const BUNDLE: u16 = 1 << 4;

/// What receives of this kernel can do. Others refuse such an entry before they look at its socket.
pub(super) struct Receiving {
    /// Be told how much they may bring (Linux 6.17).
    bounded: bool,
    /// Fill several buffers at once (Linux 6.10).
    bundled: bool,
}

impl Receiving {
    pub(super) fn probe(ring: &mut IoUring) -> io::Result<Self> {
        let mut found = Self { bounded: false, bundled: false };
        for trial in [Self { bounded: true, bundled: false }, Self { bounded: false, bundled: true }] {
            // SAFETY: the entry names no memory.
            let pushed = unsafe { ring.submission().push(&trial.entry(0, 0, READ_AHEAD_BYTES)) };
            pushed.map_err(io::Error::other)?;
            ring.submit_and_wait(1)?;
            let result = ring.completion().next().map(|completion| completion.result());
            // There is no socket yet.
            let is_known = result == Some(-libc::EBADF);
            found.bounded |= trial.bounded && is_known;
            found.bundled |= trial.bundled && is_known;
        }
        Ok(found)
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.bounded
    }

    /// A receive that goes on by itself, where it can be told until it brought `bytes_max` bytes.
    pub(super) fn entry(&self, index: u32, buffer_group: u16, bytes_max: u32) -> squeue::Entry {
        let mut entry = opcode::RecvMulti::new(Fixed(index), buffer_group).build();
        // SAFETY: an entry is a io_uring_sqe, whose u16 `ioprio` is at byte 2 and whose u32 `optlen` at byte 44; the crate
        // has no setters for both together.
        unsafe {
            // Of no use to one that ends within a buffer, and dearer.
            if self.bundled && bytes_max > RECEIVE_BUFFER_BYTES as u32 {
                *(&raw mut entry).cast::<u16>().add(1) |= BUNDLE;
            }
            if self.bounded {
                *(&raw mut entry).cast::<u32>().add(11) = bytes_max;
            }
        }
        entry
    }
}

/// Anonymous memory for the process' life: the kernel may write into receive buffers even after the ring is closed.
pub(super) fn map(bytes: usize) -> io::Result<*mut u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh anonymous mapping overlaps nothing.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(start.cast()) }
}
