//! The cage: 4 GiB of reserved addresses with guards, of which context, stack and heap are mapped. One per worker.
//!
//! Stack and heap begin read-only: the first write makes them writable and marks the window as used, so that programs
//! which never write there cost no wiping, and the next host never sees what another one left.

use super::confining::confine;
use super::{abi, folding};
use crate::exchange::Exchange;
use std::io;
use std::ptr::{self, NonNull};

/// Guest offsets are 32 bits plus a signed 16-bit displacement: both overhangs hit these.
const GUARD: usize = 1 << 16;
const STACK_BYTES: usize = (abi::STACK_TOP - abi::STACK) as usize;

pub struct Window {
    reservation: NonNull<u8>,
    base: *mut u8,
    /// Stack and heap are writable and may hold a host's bytes.
    dirty: bool,
    /// A program may have written to the context, beside what the engine writes there for each run.
    context_written: bool,
    /// Path bytes of the last request, to be wiped when the next path is shorter.
    path_bytes: usize,
    /// Bytes of the folded path, which is there once a program asked for it.
    folded_bytes: usize,
}

impl Window {
    pub fn new() -> io::Result<Self> {
        let size = abi::WINDOW_BYTES as usize + 2 * GUARD;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous reservation at an address of the kernel's choice.
        let address = unsafe { libc::mmap(ptr::null_mut(), size, libc::PROT_NONE, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let reservation = NonNull::new(address.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: inside the reservation.
        let base = unsafe { reservation.as_ptr().add(GUARD) };
        let window =
            Self { reservation, base, dirty: false, context_written: false, path_bytes: 0, folded_bytes: 0 };
        window.protect(abi::CONTEXT, abi::CONTEXT_BYTES as usize, libc::PROT_READ | libc::PROT_WRITE)?;
        window.protect(abi::STACK, STACK_BYTES, libc::PROT_READ)?;
        window.protect(abi::HEAP, abi::HEAP_BYTES as usize, libc::PROT_READ)?;
        Ok(window)
    }

    pub fn base(&self) -> *mut u8 {
        self.base
    }

    fn protect(&self, guest: u64, length: usize, protection: i32) -> io::Result<()> {
        // SAFETY: guest areas are constants that lie in the reservation.
        let result = unsafe { libc::mprotect(self.base.add(guest as usize).cast(), length, protection) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Called on the first write to stack or heap, also from the signal handler: only mprotect is done here.
    pub fn allow_writes(&mut self) -> bool {
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        self.dirty = self.protect(abi::STACK, STACK_BYTES, writable).is_ok()
            && self.protect(abi::HEAP, abi::HEAP_BYTES as usize, writable).is_ok();
        self.dirty
    }

    /// Whether the next write to stack or heap faults no more.
    pub fn is_writable(&self) -> bool {
        self.dirty
    }

    /// Whether a program's bytes may be anywhere in it.
    pub fn is_dirty(&self) -> bool {
        self.dirty || self.context_written
    }

    /// For native code that writes where nobody sees it.
    pub fn expect_context_writes(&mut self) {
        self.context_written = true;
    }

    /// Between two hosts: what the former left is gone.
    pub fn wipe(&mut self) {
        if self.context_written {
            self.clear_context();
        }
        self.clear_scratch();
    }

    fn clear_scratch(&self) {
        if self.dirty {
            // SAFETY: both areas are mapped writable while `dirty`.
            unsafe {
                ptr::write_bytes(self.base.add(abi::STACK as usize), 0, STACK_BYTES);
                ptr::write_bytes(self.base.add(abi::HEAP as usize), 0, abi::HEAP_BYTES as usize);
            }
        }
    }

    /// For a plugin's call: nothing of an earlier one is left, the heap begins with its data.
    pub fn prepare(&mut self, data: &[u8]) {
        if !self.dirty && !self.allow_writes() {
            return;
        }
        self.clear_scratch();
        self.clear_context();
        if let Some(heap) = self.write(abi::HEAP, data.len().min(abi::HEAP_BYTES as usize) as u64) {
            heap.copy_from_slice(&data[..heap.len()]);
        }
    }

    pub fn clear_context(&mut self) {
        // SAFETY: the context is always writable.
        unsafe {
            ptr::write_bytes(self.base.add(abi::CONTEXT as usize), 0, abi::CONTEXT_BYTES as usize);
        }
        (self.path_bytes, self.folded_bytes) = (0, 0);
    }

    /// Writes a context field.
    pub fn write_u32(&mut self, field: usize, value: u32) {
        // SAFETY: fields lie in the context, which is always writable; unaligned writes are allowed for.
        unsafe { self.base.add(abi::CONTEXT as usize + field).cast::<u32>().write_unaligned(value) }
    }

    /// Places the path, one "/" after it, then zeros over what the last one left.
    pub fn write_path(&mut self, path: &[u8]) {
        let length = path.len().min(abi::PATH_BYTES_MAX as usize);
        let overread = abi::OVERREAD_BYTES as usize;
        let wiped = overread.max(self.path_bytes.saturating_sub(length));
        let wiped = wiped.min(abi::PATH_BYTES_MAX as usize + overread - length);
        // SAFETY: path, overread and wiped bytes lie in the context's PATH_BYTES.
        unsafe {
            let at = self.base.add(abi::CONTEXT as usize + abi::FIELD_PATH_BYTES);
            ptr::copy_nonoverlapping(path.as_ptr(), at, length);
            ptr::write_bytes(at.add(length), 0, wiped);
            at.add(length).write(b'/');
        }
        self.path_bytes = length + 1;
        self.forget_folded();
        self.write_u32(abi::FIELD_PATH_LENGTH, length as u32);
    }

    /// Places the beginning and the end of the folded path.
    #[inline]
    pub fn write_folded_path(&mut self, exchange: &Exchange) {
        if exchange.bare_bytes() != 0 || self.write_folded(exchange.matched_path()) {
            self.write_decoded_path(exchange);
        }
    }

    /// What was written of the path is written over.
    #[cold]
    fn write_decoded_path(&mut self, exchange: &Exchange) {
        let mut folded = Vec::new();
        folding::fold_whole(exchange, &mut folded);
        self.write_folded(&folded);
    }

    /// Another path has another folded one, which nobody has asked for yet.
    fn forget_folded(&mut self) {
        if self.folded_bytes == 0 {
            return;
        }
        // SAFETY: both fields lie in the context, which is always writable.
        unsafe {
            let context = self.base.add(abi::CONTEXT as usize);
            ptr::write_bytes(context.add(abi::FIELD_FOLDED_BYTES), 0, self.folded_bytes);
            ptr::write_bytes(context.add(abi::FIELD_FOLDED_END), 0, abi::FOLDED_END_BYTES as usize);
        }
        self.folded_bytes = 0;
        self.write_u32(abi::FIELD_FOLDED_LENGTH, 0);
    }

    /// Places the beginning and the end of a path that is folded but for the case of ASCII; it may have any length.
    /// Whether a `%` is in it.
    fn write_folded(&mut self, path: &[u8]) -> bool {
        // SAFETY: both fields lie in the context, which is always writable, and nobody else looks at it now.
        let (content, end) = unsafe {
            let context = self.base.add(abi::CONTEXT as usize);
            (
                &mut *context.add(abi::FIELD_FOLDED_BYTES).cast::<[u8; folding::BEGIN_BYTES]>(),
                &mut *context.add(abi::FIELD_FOLDED_END).cast::<[[u8; 8]; 2]>(),
            )
        };
        let folded = folding::fold(path, content);
        *end = folded.end.map(u64::to_le_bytes);
        let begin = path.len().min(folding::BEGIN_BYTES);
        if begin < self.folded_bytes {
            content[begin..self.folded_bytes].fill(0);
        }
        self.folded_bytes = begin;
        self.write_u32(abi::FIELD_FOLDED_LENGTH, path.len() as u32);
        folded.escaped
    }

    /// Mapped guest memory, or None. `guest` is any 64-bit value: its low half counts.
    pub fn read(&self, guest: u64, length: u64) -> Option<&[u8]> {
        let (at, length) = mapped(i64::from(guest as u32), length)?;
        // SAFETY: `mapped` says that the whole range is readable.
        Some(unsafe { std::slice::from_raw_parts(self.base.add(at), length) })
    }

    pub fn write(&mut self, guest: u64, length: u64) -> Option<&mut [u8]> {
        self.access(i64::from(guest as u32), length, true)
    }

    /// An access as a load or store makes it: `guest` may lie below 0 or above 4 GiB by its displacement.
    pub fn access(&mut self, guest: i64, length: u64, write: bool) -> Option<&mut [u8]> {
        let (at, length) = mapped(guest, length)?;
        if write && !self.dirty && (at + length) as u64 > abi::STACK && !self.allow_writes() {
            return None;
        }
        self.context_written |= write && (at as u64) < abi::STACK;
        // SAFETY: `mapped` says that the whole range is mapped; writers have made it writable above.
        Some(unsafe { std::slice::from_raw_parts_mut(self.base.add(at), length) })
    }
}

/// Address and length of what is mapped as a whole. Context and stack adjoin; the heap stands alone.
fn mapped(guest: i64, length: u64) -> Option<(usize, usize)> {
    let guest = u64::try_from(guest).ok()?;
    let end = guest.checked_add(length)?;
    let low = guest >= abi::CONTEXT && end <= abi::STACK_TOP;
    let heap = guest >= abi::HEAP && end <= abi::HEAP + abi::HEAP_BYTES;
    let end = abi::HEAP + abi::HEAP_BYTES;
    let within = |number: u64| confine(number as usize, end as usize + 1);
    (low || heap).then(|| (within(guest), within(length)))
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the reservation is ours and nothing points into it any more.
        unsafe { libc::munmap(self.reservation.as_ptr().cast(), abi::WINDOW_BYTES as usize + 2 * GUARD) };
    }
}
