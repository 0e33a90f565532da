//! Fields to header blocks. No dynamic table: the block is as stateless as an HTTP/1.1 head, an idle connection owns no
//! bytes for it, and names of the static table with plain values cost no more than a copy.

use super::tables::STATIC;

/// Appends a field. The name is lower-cased (RFC 9113 8.2.1); the value was checked by whoever made it.
pub fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.reserve(name.len() + value.len() + 8);
    match static_name(name) {
        Some(index) => integer(index, 4, literal_kind(name), out),
        None => {
            out.push(literal_kind(name));
            integer(name.len(), 7, 0, out);
            let start = out.len();
            out.extend_from_slice(name);
            out[start..].make_ascii_lowercase();
        }
    }
    integer(value.len(), 7, 0, out);
    out.extend_from_slice(value);
}

/// Appends `:status`.
pub fn status(status: u16, out: &mut Vec<u8>) {
    let index = match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => {
            let digits = [status / 100 % 10, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
            integer(8, 4, 0, out);
            integer(3, 7, 0, out);
            return out.extend_from_slice(&digits);
        }
    };
    out.push(0x80 | index);
}

/// Appends a field that is in the static table with its value, by its index.
pub fn indexed(index: u8, out: &mut Vec<u8>) {
    out.push(0x80 | index);
}

/// Credentials are marked never to be indexed by anybody on the way (RFC 7541 7.1.3).
fn literal_kind(name: &[u8]) -> u8 {
    let secret = [&b"authorization"[..], b"cookie", b"set-cookie", b"proxy-authorization"];
    match secret.iter().any(|secret| secret.eq_ignore_ascii_case(name)) {
        true => 0x10,
        false => 0,
    }
}

/// Index of a name in the static table; by length first, since most names differ there.
fn static_name(name: &[u8]) -> Option<usize> {
    let (from, to) = BY_LENGTH[name.len().min(LENGTH_MAX + 1)];
    let candidates = &ORDER[usize::from(from)..usize::from(to)];
    let found = candidates.iter().find(|index| STATIC[usize::from(**index)].0.eq_ignore_ascii_case(name))?;
    Some(usize::from(*found) + 1)
}

fn integer(value: usize, prefix: u32, kind: u8, out: &mut Vec<u8>) {
    let mask = (1usize << prefix) - 1;
    if value < mask {
        return out.push(kind | value as u8);
    }
    out.push(kind | mask as u8);
    let mut left = value - mask;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

const LENGTH_MAX: usize = 27;
/// Rows of the static table ordered by the length of their names, one row a name.
const ORDER: [u8; 61] = order().0;
/// Where the rows of a length are in `ORDER`; the last is for all longer names and empty.
const BY_LENGTH: [(u8, u8); LENGTH_MAX + 2] = order().1;

const fn order() -> ([u8; 61], [(u8, u8); LENGTH_MAX + 2]) {
    let (mut rows, mut ranges) = ([0u8; 61], [(0u8, 0u8); LENGTH_MAX + 2]);
    let (mut placed, mut length) = (0u8, 0);
    while length <= LENGTH_MAX {
        let from = placed;
        let mut row = 0;
        while row < STATIC.len() {
            let repeated = row > 0 && same(STATIC[row].0, STATIC[row - 1].0);
            if STATIC[row].0.len() == length && !repeated {
                rows[placed as usize] = row as u8;
                placed += 1;
            }
            row += 1;
        }
        ranges[length] = (from, placed);
        length += 1;
    }
    (rows, ranges)
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}
