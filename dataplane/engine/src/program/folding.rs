//! Paths as Caddy's `path` compares them: in lower case, eight bytes at a time and in one pass.

use super::abi;
use crate::exchange::{Exchange, paths};

/// As many bytes of a folded path as programs see from its beginning, and from its end.
pub const BEGIN_BYTES: usize = abi::FOLDED_BYTES_MAX as usize;
pub const END_BYTES: usize = abi::FOLDED_END_BYTES as usize;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;

/// The end of a folded path, aligned to the right, and whether a `%` is anywhere in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded {
    pub end: [u8; END_BYTES],
    pub escaped: bool,
}

/// Writes the beginning of `path` in lower case (ASCII's); bytes of `begin` behind it are zero or as they were.
pub fn fold(path: &[u8], begin: &mut [u8; BEGIN_BYTES]) -> Folded {
    let length = path.len();
    let (Some(last), (blocks, _)) = (path.last_chunk(), path.as_chunks()) else {
        return fold_short(path, begin);
    };
    let end = lower(*last);
    let mut escaped = has_percent(*last);
    for (to, from) in begin.as_chunks_mut().0.iter_mut().zip(blocks) {
        *to = lower(*from);
        escaped |= has_percent(*from);
    }
    if length <= BEGIN_BYTES {
        begin[length - END_BYTES..length].copy_from_slice(&end);
    } else {
        escaped = escaped || path.contains(&b'%');
    }
    Folded { end, escaped }
}

/// Gives the whole path as Caddy's `path` compares it: decoded, cleaned, in lower case (caddyhttp/matchers.go).
pub fn fold_whole(exchange: &Exchange, folded: &mut Vec<u8>) {
    folded.clear();
    if memchr::memchr(b'%', exchange.matched_path()).is_none() {
        folded.extend_from_slice(exchange.matched_path());
        folded.make_ascii_lowercase();
    } else {
        let mut decoded = exchange.decoded_matched_path();
        match std::str::from_utf8(&decoded) {
            Ok(text) => decoded = text.to_lowercase().into_bytes(),
            Err(_) => decoded.make_ascii_lowercase(),
        }
        paths::clean(&decoded, folded);
    }
    folded.drain(..exchange.bare_bytes().min(folded.len()));
}

fn fold_short(path: &[u8], begin: &mut [u8; BEGIN_BYTES]) -> Folded {
    let read = read_short(path);
    let folded = lower(read.to_le_bytes());
    begin[..END_BYTES].copy_from_slice(&folded);
    let shift = 8 * (END_BYTES - path.len()) as u32;
    let end = u128::from_le_bytes(folded).checked_shl(shift).unwrap_or(0).to_le_bytes();
    Folded { end, escaped: has_percent(read.to_le_bytes()) }
}

/// Fewer than sixteen bytes, the first one lowest; reads that overlap give the same bits twice.
fn read_short(path: &[u8]) -> u128 {
    let places = |size: usize| 8 * (path.len() - size);
    if let (Some(first), Some(last)) = (path.first_chunk(), path.last_chunk()) {
        u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << places(8)
    } else if let (Some(first), Some(last)) = (path.first_chunk(), path.last_chunk()) {
        u128::from(u32::from_le_bytes(*first)) | u128::from(u32::from_le_bytes(*last)) << places(4)
    } else {
        path.iter().rev().fold(0, |read, byte| read << 8 | u128::from(*byte))
    }
}

fn lower(block: [u8; END_BYTES]) -> [u8; END_BYTES] {
    let [low, high] = split(block);
    (u128::from(lower_word(low)) | u128::from(lower_word(high)) << 64).to_le_bytes()
}

fn has_percent(block: [u8; END_BYTES]) -> bool {
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let [low, high] = split(block).map(|word| zeros(word ^ (u64::from(b'%') * ONES)));
    low | high != 0
}

fn split(block: [u8; END_BYTES]) -> [u64; 2] {
    let both = u128::from_le_bytes(block);
    [both as u64, (both >> 64) as u64]
}

/// No byte's sum reaches the next one: 0x7f and what is added are below 0x100.
fn lower_word(word: u64) -> u64 {
    let low = word & !HIGH;
    let from_a = low + u64::from(0x80 - b'A') * ONES;
    let above_z = low + u64::from(0x7f - b'Z') * ONES;
    let capitals = (from_a ^ above_z) & !word & HIGH;
    word | capitals >> 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn beginning_and_end_are_those_of_the_path_in_lower_case(
            path in proptest::collection::vec(any::<u8>(), 0..300),
            percent in proptest::option::of(any::<proptest::sample::Index>()),
        ) {
            let mut path: Vec<u8> = path.into_iter().map(|byte| if byte == b'%' { b'@' } else { byte }).collect();
            if let (Some(at), false) = (percent, path.is_empty()) {
                let at = at.index(path.len());
                path[at] = b'%';
            }
            let lower = path.to_ascii_lowercase();
            let mut begin = [0; BEGIN_BYTES];
            let folded = fold(&path, &mut begin);
            let taken = path.len().min(BEGIN_BYTES);
            prop_assert_eq!(&begin[..taken], &lower[..taken]);
            prop_assert!(begin[taken..].iter().all(|byte| *byte == 0));
            let taken = path.len().min(END_BYTES);
            prop_assert_eq!(&folded.end[END_BYTES - taken..], &lower[path.len() - taken..]);
            prop_assert!(folded.end[..END_BYTES - taken].iter().all(|byte| *byte == 0));
            prop_assert_eq!(folded.escaped, path.contains(&b'%'));
        }
    }

    #[test]
    fn every_byte_is_lowered_as_ascii_is() {
        for byte in 0..=u8::MAX {
            assert_eq!(lower([byte; END_BYTES]), [byte.to_ascii_lowercase(); END_BYTES]);
            assert_eq!(has_percent([byte; END_BYTES]), byte == b'%');
        }
    }
}
