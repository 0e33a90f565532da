//! Memory beside the frame, and the end of a call that went wrong.

use core::cell::UnsafeCell;

/// Bytes in a static, which one function of the plugin may have: larger buffers than a frame of 512 bytes holds.
pub struct Room<const BYTES: usize> {
    bytes: UnsafeCell<[u8; BYTES]>,
    taken: UnsafeCell<bool>,
}

// SAFETY: a plugin's memory belongs to one call, which runs on one thread.
unsafe impl<const BYTES: usize> Sync for Room<BYTES> {}

impl<const BYTES: usize> Room<BYTES> {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { bytes: UnsafeCell::new([0; BYTES]), taken: UnsafeCell::new(false) }
    }

    /// The bytes, once in a call; the second time is a trap.
    #[allow(clippy::mut_from_ref)]
    pub fn take(&'static self) -> &'static mut [u8; BYTES] {
        // SAFETY: one thread, and `taken` lets the bytes out once.
        unsafe {
            if *self.taken.get() {
                trap();
            }
            *self.taken.get() = true;
            &mut *self.bytes.get()
        }
    }
}

/// An address that no plugin has. The verifier refuses programs that name one, and does not know what a static holds.
static mut NOWHERE: usize = 8;

/// Ends the call: the sandbox stops the program at a touch of memory that it has not.
pub fn trap() -> ! {
    // SAFETY: nothing else writes or reads the static; what is read by it is not there, and that is the purpose.
    unsafe {
        let address = (&raw const NOWHERE).read_volatile();
        core::ptr::without_provenance::<u8>(address).read_volatile();
    }
    loop {}
}
