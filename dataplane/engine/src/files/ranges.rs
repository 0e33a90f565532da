//! Range requests (RFC 9110 14.2), as Go's http.ServeContent takes them.

use super::conditional::parse_number;

/// A part of a file: first byte and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u64,
    pub length: u64,
}

/// What a Range field asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Whole,
    Parts(Vec<Span>),
    /// 416; `overlaps` is false where the field was well-formed but lies behind the end.
    Refused {
        malformed: bool,
    },
}

/// Reads a Range field for a file of `size` bytes. Parts that together exceed the file are an attack or foolish: all of
/// it is sent instead, once.
pub fn read_range(field: &[u8], size: u64) -> Wanted {
    let Some(list) = field.strip_prefix(b"bytes=") else { return Wanted::Refused { malformed: true } };
    let mut spans = Vec::new();
    let mut behind = false;
    for part in list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|part| !part.is_empty()) {
        match read_span(part, size) {
            None => return Wanted::Refused { malformed: true },
            Some(None) => behind = true,
            Some(Some(span)) => spans.push(span),
        }
    }
    if spans.is_empty() {
        return match behind && size > 0 {
            true => Wanted::Refused { malformed: false },
            false => Wanted::Whole,
        };
    }
    let total = spans.iter().fold(0u64, |total, span| total.saturating_add(span.length));
    if total > size { Wanted::Whole } else { Wanted::Parts(spans) }
}

/// None: malformed; Some(None): behind the end.
fn read_span(part: &[u8], size: u64) -> Option<Option<Span>> {
    let dash = memchr::memchr(b'-', part)?;
    let (start, end) = (part[..dash].trim_ascii(), part[dash + 1..].trim_ascii());
    if start.is_empty() {
        if end.first().is_none_or(|&byte| byte == b'-') {
            return None;
        }
        let length = parse_number(end)?.min(size);
        return Some(Some(Span { start: size - length, length }));
    }
    let start = parse_number(start)?;
    if start >= size {
        return Some(None);
    }
    if end.is_empty() {
        return Some(Some(Span { start, length: size - start }));
    }
    let end = parse_number(end)?;
    (end >= start).then(|| Some(Span { start, length: end.min(size - 1) - start + 1 }))
}

/// Appends a Content-Range value.
pub fn push_content_range(span: Span, size: u64, out: &mut Vec<u8>) {
    use std::io::Write;
    // Go writes end = start - 1 for an empty part; writing to a Vec cannot fail.
    let end = (span.start + span.length) as i64 - 1;
    let _ = write!(out, "bytes {}-{end}/{size}", span.start);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans(field: &str, size: u64) -> Vec<(u64, u64)> {
        match read_range(field.as_bytes(), size) {
            Wanted::Parts(spans) => spans.iter().map(|span| (span.start, span.length)).collect(),
            other => panic!("{field}: {other:?}"),
        }
    }

    #[test]
    fn parts_of_a_file() {
        assert_eq!(spans("bytes=0-4", 10), [(0, 5)]);
        assert_eq!(spans("bytes=2-", 10), [(2, 8)]);
        assert_eq!(spans("bytes=-5", 10), [(5, 5)]);
        assert_eq!(spans("bytes=-20", 10), [(0, 10)]);
        assert_eq!(spans("bytes=0-0,-1, 4 - 5 ,,", 10), [(0, 1), (9, 1), (4, 2)]);
        assert_eq!(spans("bytes=5-100", 10), [(5, 5)]);
        assert_eq!(spans("bytes=50-60,1-2", 10), [(1, 2)]);
        assert_eq!(spans("bytes=-0", 10), [(10, 0)]);
    }

    #[test]
    fn the_whole_file_where_no_part_is_asked_or_too_much_is() {
        for field in ["bytes=", "bytes=,", "bytes=0-9,0-9"] {
            assert_eq!(read_range(field.as_bytes(), 10), Wanted::Whole, "{field}");
        }
        assert_eq!(read_range(b"bytes=5-", 0), Wanted::Whole);
    }

    #[test]
    fn refusals() {
        assert_eq!(read_range(b"bytes=10-", 10), Wanted::Refused { malformed: false });
        for field in ["lines=1-2", "bytes=5", "bytes=a-b", "bytes=3-2", "bytes=--1", "bytes=-", "bytes=0-4,x"]
        {
            assert_eq!(read_range(field.as_bytes(), 10), Wanted::Refused { malformed: true }, "{field}");
        }
    }

    proptest! {
        #[test]
        fn parts_lie_within_the_file(field in "(bytes=)?[0-9, -]{0,40}", size in 0u64..50) {
            if let Wanted::Parts(spans) = read_range(field.as_bytes(), size) {
                prop_assert!(spans.iter().all(|span| span.start + span.length <= size));
                prop_assert!(spans.iter().map(|span| span.length).sum::<u64>() <= size);
            }
        }

        #[test]
        fn any_bytes_are_read(field in proptest::collection::vec(any::<u8>(), 0..60), size: u64) {
            let _ = read_range(&field, size);
        }
    }
}
