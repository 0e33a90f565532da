//! Memory that a commit took and that nobody needs any more.

// Links it, for `mi_collect`.
use mimalloc as _;

/// A commit of fewer changes leaves nothing worth while.
pub const GIVE_BACK_AT_CHANGES: usize = 1000;

unsafe extern "C" {
    /// Of mimalloc, which is the binary's allocator.
    fn mi_collect(force: bool);
}

/// Gives the free pages of this thread's heap back to the system. Takes milliseconds: between commits, never on a worker.
pub fn give_back() {
    // SAFETY: touches the calling thread's own heap, which lives as long as the thread.
    unsafe { mi_collect(true) }
}
