//! Receive buffers: the kernel takes the next one, or several, from a ring of them, and each is given back behind the last.
#![allow(unsafe_code)]

use super::setup::map;
use crate::limits::{RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS};
use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

const COUNT: usize = RECEIVE_BUFFERS as usize;

pub(super) struct ReceiveBuffers {
    memory: *mut u8,
    ring: *mut BufRingEntry,
    tail: u16,
    /// The buffer at each place of the ring, and each buffer's place there.
    given: [u16; COUNT],
    places: [u16; COUNT],
}

impl ReceiveBuffers {
    /// All of them are the kernel's.
    pub(super) fn register(ring: &IoUring, group: u16) -> io::Result<Self> {
        let entries: *mut BufRingEntry = map(COUNT * size_of::<BufRingEntry>())?.cast();
        let memory = map(COUNT * RECEIVE_BUFFER_BYTES)?;
        // SAFETY: the mapping has room for all entries and is never unmapped.
        unsafe {
            let submitter = ring.submitter();
            submitter.register_buf_ring_with_flags(entries as u64, RECEIVE_BUFFERS, group, 0)?;
        }
        let mut buffers = Self { memory, ring: entries, tail: 0, given: [0; COUNT], places: [0; COUNT] };
        (0..RECEIVE_BUFFERS).for_each(|buffer| buffers.give(buffer));
        buffers.publish();
        Ok(buffers)
    }

    /// Where a buffer's bytes begin.
    pub(super) fn start(&self, buffer: u16) -> *mut u8 {
        // SAFETY: the index is masked to the buffers that the mapping holds.
        unsafe { self.memory.add(usize::from(buffer & (RECEIVE_BUFFERS - 1)) * RECEIVE_BUFFER_BYTES) }
    }

    /// The one that the kernel takes after this one, for what needs several. To be asked before this one is given back.
    pub(super) fn after(&self, buffer: u16) -> u16 {
        let place = self.places[usize::from(buffer & (RECEIVE_BUFFERS - 1))] + 1;
        self.given[usize::from(place & (RECEIVE_BUFFERS - 1))]
    }

    /// The kernel may have it again, once that is published.
    pub(super) fn give(&mut self, buffer: u16) {
        let place = self.tail & (RECEIVE_BUFFERS - 1);
        self.given[usize::from(place)] = buffer;
        self.places[usize::from(buffer & (RECEIVE_BUFFERS - 1))] = place;
        // SAFETY: the place is masked to the ring's entries; the entry is ours until the tail is published.
        unsafe {
            let entry = &mut *self.ring.add(usize::from(place));
            entry.set_addr(self.start(buffer) as u64);
            entry.set_len(RECEIVE_BUFFER_BYTES as u32);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    pub(super) fn publish(&mut self) {
        // SAFETY: the tail lies in the mapped ring; the kernel reads it with acquire semantics.
        unsafe {
            let tail = BufRingEntry::tail(self.ring).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}
