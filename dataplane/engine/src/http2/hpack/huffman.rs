//! The Huffman code of RFC 7541 appendix B. It is canonical, so all tables are made from code lengths at compile time.

use super::tables::CODE_BITS;

/// Bits that one look-up resolves: all codes of letters, digits and common signs have at most 8.
const FAST_BITS: u32 = 9;
const FAST_SIZE: usize = 1 << FAST_BITS;
const LONGEST: usize = 30;
const END_OF_STRING: u16 = 256;

struct Tables {
    /// Symbol and bits (0: a longer code) by the next 9 bits.
    fast: [(u16, u8); FAST_SIZE],
    /// By length: the first code, the number of codes and where their symbols begin in `order`.
    first: [u32; LONGEST + 1],
    count: [u32; LONGEST + 1],
    start: [u32; LONGEST + 1],
    order: [u16; 257],
    codes: [u32; 257],
}

const TABLES: Tables = make_tables();
static DECODING: Tables = TABLES;

const fn make_tables() -> Tables {
    let mut tables = Tables {
        fast: [(0, 0); FAST_SIZE],
        first: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        start: [0; LONGEST + 1],
        order: [0; 257],
        codes: [0; 257],
    };
    let (mut code, mut placed, mut bits) = (0u32, 0usize, 1usize);
    while bits <= LONGEST {
        code <<= 1;
        tables.first[bits] = code;
        tables.start[bits] = placed as u32;
        let mut symbol = 0;
        while symbol < 257 {
            if CODE_BITS[symbol] as usize == bits {
                tables.order[placed] = symbol as u16;
                tables.codes[symbol] = code;
                placed += 1;
                if bits as u32 <= FAST_BITS {
                    let spread = 1usize << (FAST_BITS as usize - bits);
                    let base = (code as usize) << (FAST_BITS as usize - bits);
                    let mut at = 0;
                    while at < spread {
                        tables.fast[base + at] = (symbol as u16, bits as u8);
                        at += 1;
                    }
                }
                code += 1;
            }
            symbol += 1;
        }
        tables.count[bits] = code - tables.first[bits];
        bits += 1;
    }
    tables
}

/// The string is no code: a symbol for its end, or padding that is not at most seven one bits (RFC 7541 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Appends the decoded bytes of `coded` to `out`.
pub fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let tables = &DECODING;
    let (mut held, mut bits, mut at) = (0u64, 0u32, 0usize);
    loop {
        while bits <= 56 && at < coded.len() {
            held = held << 8 | u64::from(coded[at]);
            bits += 8;
            at += 1;
        }
        if bits == 0 {
            return Ok(());
        }
        // The next bits, left-aligned in 32, followed by ones as padding would be.
        let next = if bits >= 32 {
            (held >> (bits - 32)) as u32
        } else {
            ((held << (32 - bits)) as u32) | (u32::MAX >> bits)
        };
        let (symbol, length) = match tables.fast[(next >> (32 - FAST_BITS)) as usize] {
            (_, 0) => find_long(tables, next),
            (symbol, length) => (symbol, u32::from(length)),
        };
        if symbol == END_OF_STRING || length > bits {
            // What is left is padding: fewer than eight bits, all ones.
            let padding = bits < 8 && next == u32::MAX;
            return if padding { Ok(()) } else { Err(Malformed) };
        }
        out.push(symbol as u8);
        bits -= length;
        held &= (1u64 << bits) - 1;
    }
}

fn find_long(tables: &Tables, next: u32) -> (u16, u32) {
    for bits in FAST_BITS as usize + 1..=LONGEST {
        let offset = (next >> (32 - bits)).wrapping_sub(tables.first[bits]);
        if offset < tables.count[bits] {
            return (tables.order[(tables.start[bits] + offset) as usize], bits as u32);
        }
    }
    (END_OF_STRING, LONGEST as u32)
}

/// Bytes that `plain` takes when it is coded.
pub fn coded_length(plain: &[u8]) -> usize {
    plain.iter().map(|byte| usize::from(CODE_BITS[usize::from(*byte)])).sum::<usize>().div_ceil(8)
}

/// Appends the code of `plain`.
pub fn encode(plain: &[u8], out: &mut Vec<u8>) {
    let (mut held, mut bits) = (0u64, 0u32);
    for byte in plain {
        let length = u32::from(CODE_BITS[usize::from(*byte)]);
        held = held << length | u64::from(DECODING.codes[usize::from(*byte)]);
        bits += length;
        while bits >= 8 {
            bits -= 8;
            out.push((held >> bits) as u8);
        }
    }
    if bits > 0 {
        out.push((held << (8 - bits)) as u8 | (0xff >> bits));
    }
}
