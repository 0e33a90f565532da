//! Conditional requests (RFC 9110 13), as Go's http.ServeContent judges them.

use super::opening::Status;
use crate::calendar::{MONTHS, days_from_civil, short};

/// What the preconditions of a request lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Serve,
    /// Serve all of it, whatever Range says: If-Range did not hold.
    ServeWhole,
    NotModified,
    Failed,
}

/// A file's validators. `modified_s` is None where the time is of no use.
#[derive(Clone, Copy, Debug)]
pub struct Validators<'a> {
    pub etag: &'a [u8],
    pub modified_s: Option<i64>,
}

/// Judges a request whose fields `field` gives by lower-case name; `reads` is GET or HEAD.
pub fn judge<'f>(
    field: impl Fn(&'static [u8]) -> Option<&'f [u8]>,
    reads: bool,
    validators: Validators<'_>,
) -> Verdict {
    let given = |name| field(name).filter(|value: &&[u8]| !value.is_empty());
    let passed = match (given(b"if-match"), given(b"if-unmodified-since"), validators.modified_s) {
        (Some(list), ..) => lists_tag(list, validators.etag, Comparison::Strong),
        (None, Some(date), Some(modified)) => parse_date(date).is_none_or(|date| modified <= date),
        _ => true,
    };
    if !passed {
        return Verdict::Failed;
    }
    if let Some(list) = given(b"if-none-match") {
        if lists_tag(list, validators.etag, Comparison::Weak) {
            return if reads { Verdict::NotModified } else { Verdict::Failed };
        }
    } else if let (true, Some(date), Some(modified)) =
        (reads, given(b"if-modified-since").and_then(parse_date), validators.modified_s)
        && modified <= date
    {
        return Verdict::NotModified;
    }
    match given(b"if-range") {
        Some(value) if reads && given(b"range").is_some() && !is_current(value, validators) => {
            Verdict::ServeWhole
        }
        _ => Verdict::Serve,
    }
}

fn is_current(value: &[u8], validators: Validators<'_>) -> bool {
    if let Some((tag, _)) = take_tag(value) {
        return is_strong_match(tag, validators.etag);
    }
    validators.modified_s.is_some_and(|modified| parse_date(value) == Some(modified))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

fn lists_tag(list: &[u8], etag: &[u8], comparison: Comparison) -> bool {
    let mut rest = list;
    loop {
        rest = rest.trim_ascii_start();
        match rest.first() {
            None => return false,
            Some(b',') => rest = &rest[1..],
            Some(b'*') => return true,
            Some(_) => {
                let Some((tag, after)) = take_tag(rest) else { return false };
                let same = match comparison {
                    Comparison::Strong => is_strong_match(tag, etag),
                    Comparison::Weak => strip_weak(tag) == strip_weak(etag),
                };
                if same {
                    return true;
                }
                rest = after;
            }
        }
    }
}

fn is_strong_match(tag: &[u8], etag: &[u8]) -> bool {
    tag == etag && tag.first() == Some(&b'"')
}

fn strip_weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// An entity tag at the start, and what follows it.
fn take_tag(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii();
    let start = if text.starts_with(b"W/") { 2 } else { 0 };
    let rest = text[start..].strip_prefix(b"\"")?;
    let end = rest.iter().position(|&byte| !matches!(byte, 0x21 | 0x23..=0x7e | 0x80..))?;
    (rest[end] == b'"').then(|| text.split_at(start + end + 2))
}

/// Seconds since 1970 of an HTTP date in any of its three forms (RFC 9110 5.6.7). The name of the day is not compared
/// with the date, as in Go; crates that do would refuse what Caddy takes.
pub fn parse_date(text: &[u8]) -> Option<i64> {
    let words: Vec<&str> = std::str::from_utf8(text).ok()?.split_ascii_whitespace().collect();
    let (day, month, year, clock) = match words[..] {
        [name, day, month, year, clock, "GMT"] if name.ends_with(',') => (day, month, year, clock),
        [name, date, clock, "GMT"] if name.ends_with(',') => {
            let mut parts = date.split('-');
            (parts.next()?, parts.next()?, parts.next()?, clock)
        }
        [_, month, day, clock, year] => (day, month, year, clock),
        _ => return None,
    };
    let number = |text: &str| text.parse::<u32>().ok().filter(|_| text.len() <= 4);
    let month = MONTHS.into_iter().position(|name| short(name).eq_ignore_ascii_case(month))? as i64 + 1;
    let year = match (number(year)?, year.len()) {
        (year, 2) => i64::from(year) + if year >= 69 { 1900 } else { 2000 },
        (year, 4) => i64::from(year),
        _ => return None,
    };
    let mut parts = clock.split(':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let day = number(day)?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_from_civil(year, month, i64::from(day));
    Some(days * 86_400 + i64::from(hour * 3600 + minute * 60 + second))
}

/// A decimal number as Go's ParseInt takes it, not negative.
pub fn parse_number(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let value = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse::<i64>().ok()?;
    u64::try_from(value).ok()
}

/// Appends Caddy's entity tag: time and size in base 36. Nothing where the time is of no use.
pub fn push_etag(status: &Status, out: &mut Vec<u8>) {
    if status.useful_time_s().is_none() {
        return;
    }
    out.reserve(24);
    out.push(b'"');
    push_base36(status.modified_ns(), out);
    out.push(b'-');
    push_base36(i128::from(status.size), out);
    out.push(b'"');
}

fn push_base36(value: i128, out: &mut Vec<u8>) {
    let start = out.len();
    let digit = |value: usize| b"0123456789abcdefghijklmnopqrstuvwxyz"[value];
    let mut wide = value.unsigned_abs();
    // Division of 128 bits is slow, and times need it after the year 2554 only.
    while wide > u128::from(u64::MAX) {
        out.push(digit((wide % 36) as usize));
        wide /= 36;
    }
    let mut rest = wide as u64;
    loop {
        out.push(digit((rest % 36) as usize));
        rest /= 36;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out[start..].reverse();
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &[u8] = b"\"abc\"";
    /// Sun, 06 Nov 1994 08:49:37 GMT
    const TIME: i64 = 784_111_777;

    fn verdict(fields: &[(&'static str, &'static str)], reads: bool) -> Verdict {
        let find = |name: &'static [u8]| {
            fields.iter().find(|(key, _)| key.as_bytes() == name).map(|(_, value)| value.as_bytes())
        };
        judge(find, reads, Validators { etag: TAG, modified_s: Some(TIME) })
    }

    #[test]
    fn verdicts_by_field() {
        use Verdict::*;
        for (name, value, expected) in [
            ("if-match", "\"abc\"", Serve),
            ("if-match", "\"x\", \"abc\"", Serve),
            ("if-match", "*", Serve),
            ("if-match", "W/\"abc\"", Failed),
            ("if-match", "\"x\"", Failed),
            ("if-match", "abc", Failed),
            ("if-none-match", "\"abc\"", NotModified),
            ("if-none-match", "W/\"abc\"", NotModified),
            ("if-none-match", "*", NotModified),
            ("if-none-match", "\"x\",,\"abc\"", NotModified),
            ("if-none-match", "\"x\"", Serve),
            ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT", NotModified),
            ("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT", NotModified),
            ("if-modified-since", "Sun Nov  6 08:49:37 1994", NotModified),
            ("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT", Serve),
            ("if-modified-since", "Mon, 06 Nov 1994 08:49:37 GMT", NotModified),
            ("if-modified-since", "Sun, 06 Nov 1994 24:49:37 GMT", Serve),
            ("if-modified-since", "Sun, 06 Nov 1994 08:49 GMT", Serve),
            ("if-modified-since", "yesterday", Serve),
            ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT", Serve),
            ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:36 GMT", Failed),
            ("if-unmodified-since", "", Serve),
        ] {
            assert_eq!(verdict(&[(name, value)], true), expected, "{name}: {value}");
        }
    }

    #[test]
    fn a_tag_decides_before_a_date() {
        let older = ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(verdict(&[("if-none-match", "\"x\""), older], true), Verdict::Serve);
        assert_eq!(verdict(&[("if-none-match", "\"abc\"")], false), Verdict::Failed);
        assert_eq!(verdict(&[older], false), Verdict::Serve);
    }

    #[test]
    fn a_range_counts_for_the_version_that_if_range_names() {
        let range = ("range", "bytes=0-1");
        for (value, expected) in [
            ("\"abc\"", Verdict::Serve),
            ("W/\"abc\"", Verdict::ServeWhole),
            ("\"x\"", Verdict::ServeWhole),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Verdict::Serve),
            ("Sun, 06 Nov 1994 08:49:38 GMT", Verdict::ServeWhole),
        ] {
            assert_eq!(verdict(&[range, ("if-range", value)], true), expected, "{value}");
        }
    }

    #[test]
    fn dates() {
        for (text, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Tue, 29 Feb 2000 23:59:59 GMT", Some(951_868_799)),
            ("Sat, 15 Nov 2053 22:13:21 GMT", Some(2_646_857_601)),
            ("Monday, 02-Jan-06 15:04:05 GMT", Some(1_136_214_245)),
            ("Mon Jan  2 15:04:05 2006", Some(1_136_214_245)),
            ("Mon, 02 JAN 2006 15:04:05 GMT", Some(1_136_214_245)),
            ("Mon, 02 Jan 2006 15:04:05 CET", None),
            ("Mon, 32 Jan 2006 15:04:05 GMT", None),
            ("", None),
        ] {
            assert_eq!(parse_date(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn entity_tags_are_those_of_caddy() {
        let mut out = Vec::new();
        push_etag(&Status::of_test(1_700_000_000, 123_456_789, 1024), &mut out);
        assert_eq!(out, b"\"cwyvpeni7w9h-sg\"", "{}", String::from_utf8_lossy(&out));
        out.clear();
        push_etag(&Status::of_test(1, 5, 1024), &mut out);
        assert!(out.is_empty());
        push_etag(&Status::of_test(i64::MAX, 0, 36), &mut out);
        assert_eq!(out, b"\"w6wrdhjdqkdljglngg-10\"", "{}", String::from_utf8_lossy(&out));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_judged(value in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)) {
            let field = |_: &'static [u8]| Some(&value[..]);
            let _ = judge(field, true, Validators { etag: TAG, modified_s: Some(TIME) });
        }
    }
}
