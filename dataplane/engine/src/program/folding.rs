//! Paths as Caddy's `path` compares them: in lower case, eight bytes at a time and in one pass.

use super::abi;
use crate::exchange::{Exchange, paths};

/// As many bytes of a folded path as programs see from its beginning, and from its end.
pub const BEGIN_BYTES: usize = abi::FOLDED_BYTES_MAX as usize;
pub const END_BYTES: usize = abi::FOLDED_END_BYTES as usize;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;

const WORD_BYTES: usize = 8;

/// The end of a folded path, aligned to the right, and whether a `%` is anywhere in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded {
    pub end: [u64; 2],
    pub escaped: bool,
}

/// Writes the beginning of `path` in lower case (ASCII's); bytes of `begin` behind it are zero or as they were.
///
/// In words and never by way of memory: what is written by halves and read whole waits for its way to the cache.
#[inline]
pub fn fold(path: &[u8], begin: &mut [u8; BEGIN_BYTES]) -> Folded {
    let length = path.len();
    let (true, Some(first), Some(last)) = (length > WORD_BYTES, path.first_chunk(), path.last_chunk()) else {
        return fold_word(path, begin);
    };
    if length >= END_BYTES {
        return fold_long(path, begin);
    }
    let [first, last] = [*first, *last].map(u64::from_le_bytes);
    let [low, high] = [first, last].map(lower);
    // Both hold what lies in the middle. One bit less, since a shift by all 64 is none.
    let shared_bits = 8 * (END_BYTES - length) - 1;
    write_words(begin, [low, high >> 1 >> shared_bits]);
    Folded { end: [low << 1 << shared_bits, high], escaped: has_percent(first) | has_percent(last) }
}

/// No more bytes than a word has.
fn fold_word(path: &[u8], begin: &mut [u8; BEGIN_BYTES]) -> Folded {
    let length = path.len();
    let read = if let (Some(first), Some(last)) = (path.first_chunk(), path.last_chunk()) {
        // What overlaps gives the same bits twice.
        let [first, last] = [*first, *last].map(|half| u64::from(u32::from_le_bytes(half)));
        first | last << (8 * (length - 4))
    } else {
        path.iter().rev().fold(0, |read, byte| read << 8 | u64::from(*byte))
    };
    let word = lower(read);
    write_words(begin, [word, 0]);
    let end = word.checked_shl(8 * (WORD_BYTES - length) as u32).unwrap_or(0);
    Folded { end: [0, end], escaped: has_percent(read) }
}

fn fold_long(path: &[u8], begin: &mut [u8; BEGIN_BYTES]) -> Folded {
    let length = path.len();
    let (blocks, _) = path.as_chunks();
    let mut escaped = false;
    for (to, from) in begin.as_chunks_mut().0.iter_mut().zip(blocks) {
        let read = u64::from_le_bytes(*from);
        *to = lower(read).to_le_bytes();
        escaped |= has_percent(read);
    }
    let end = path[length - END_BYTES..].as_chunks().0;
    let end = [end[0], end[1]].map(u64::from_le_bytes);
    escaped |= end.into_iter().any(has_percent);
    let end = end.map(lower);
    if length <= BEGIN_BYTES {
        begin[length - WORD_BYTES..length].copy_from_slice(&end[1].to_le_bytes());
    } else {
        escaped = escaped || path.contains(&b'%');
    }
    Folded { end, escaped }
}

fn write_words(begin: &mut [u8; BEGIN_BYTES], words: [u64; 2]) {
    for (to, word) in begin.as_chunks_mut().0.iter_mut().zip(words) {
        *to = word.to_le_bytes();
    }
}

fn has_percent(word: u64) -> bool {
    let zero_where = word ^ (u64::from(b'%') * ONES);
    zero_where.wrapping_sub(ONES) & !zero_where & HIGH != 0
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

/// No byte's sum reaches the next one: 0x7f and what is added are below 0x100.
fn lower(word: u64) -> u64 {
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
            let end = folded.end.map(u64::to_le_bytes).concat();
            prop_assert_eq!(&end[END_BYTES - taken..], &lower[path.len() - taken..]);
            prop_assert!(end[..END_BYTES - taken].iter().all(|byte| *byte == 0));
            prop_assert_eq!(folded.escaped, path.contains(&b'%'));
        }
    }

    #[test]
    fn every_byte_is_lowered_as_ascii_is() {
        for byte in 0..=u8::MAX {
            let word = |byte: u8| u64::from_le_bytes([byte; WORD_BYTES]);
            assert_eq!(lower(word(byte)), word(byte.to_ascii_lowercase()));
            assert_eq!(has_percent(word(byte)), byte == b'%');
        }
    }
}
