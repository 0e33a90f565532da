//! Random numbers for request ids and balancing, of one thread; nothing secret.

use std::cell::Cell;

thread_local! {
    static RANDOM: Cell<[u64; 2]> = const { Cell::new([0; 2]) };
}

/// Fast random numbers for ids and balancing (xoroshiro128+), seeded from the kernel; no secret depends on them.
pub(crate) fn random() -> u64 {
    let [mut a, mut b] = RANDOM.get();
    if a | b == 0 {
        let mut seed = [0u8; 16];
        if aws_lc_rs::rand::fill(&mut seed).is_err() {
            // Without kernel randomness the address of a local still differs from run to run.
            let address = std::ptr::from_ref(&seed) as usize as u64;
            seed[..8].copy_from_slice(&address.to_le_bytes());
        }
        a = u64::from_le_bytes(seed[..8].try_into().unwrap_or_default()) | 1;
        b = u64::from_le_bytes(seed[8..].try_into().unwrap_or_default());
    }
    let result = a.wrapping_add(b);
    b ^= a;
    RANDOM.set([a.rotate_left(24) ^ b ^ (b << 16), b.rotate_left(37)]);
    result
}

pub(super) fn fill_random_hex(out: &mut [u8; 32]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for half in out.chunks_exact_mut(16) {
        let mut value = random();
        for digit in half {
            *digit = DIGITS[(value & 15) as usize];
            value >>= 4;
        }
    }
}
