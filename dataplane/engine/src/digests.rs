//! Names and contents as 16 bytes, where a map needs to know them again but never to tell them; bytes as people read them.

use aws_lc_rs::digest::{Context, SHA256};

/// The first half of a SHA-256: nobody can make two that are equal.
pub type Digest = [u8; 16];

/// Of parts in order; ("ab", "c") is another than ("a", "bc").
pub fn digest(parts: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let mut half = Digest::default();
    half.copy_from_slice(&context.finish().as_ref()[..size_of::<Digest>()]);
    half
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    // By table: formatting each byte takes longer than its digest.
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::{digest, hex};

    #[test]
    fn bytes_have_two_digits_each() {
        assert_eq!(hex(b"\0\x0f\xf0\xff"), "000ff0ff");
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_eq!(digest(&[b"ab", b"c"]), digest(&[b"ab", b"c"]));
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"ab"]), digest(&[b"ab", b""]));
    }
}
