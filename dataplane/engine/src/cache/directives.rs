//! Cache-Control of requests and answers (RFC 9111 5.2).
//!
//! Rule: what cannot be read is taken the careful way: a malformed number is 0, `no-cache="…"` and `private="…"` are the
//! directives without their names (5.2.2.4, 5.2.2.7 allow it), and of two values the first counts (4.2.1).

/// Numbers above are this one (RFC 9111 1.2.2).
const SECONDS_MAX: u64 = 1 << 31;

/// What Cache-Control says. Seconds are None where the directive is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    pub no_store: bool,
    pub no_cache: bool,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub only_if_cached: bool,
    pub max_age_s: Option<u64>,
    pub shared_max_age_s: Option<u64>,
    pub min_fresh_s: Option<u64>,
    /// Without a number: however stale.
    pub max_stale_s: Option<u64>,
    pub stale_while_revalidate_s: Option<u64>,
    pub stale_if_error_s: Option<u64>,
}

impl Directives {
    /// Reads the field's lines in order.
    pub fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut found = Self::default();
        for line in lines {
            let mut rest = line;
            while let Some((directive, after)) = next_directive(rest) {
                found.take(directive);
                rest = after;
            }
        }
        found
    }

    fn take(&mut self, directive: &[u8]) {
        let (name, value) = match memchr::memchr(b'=', directive) {
            Some(at) => (&directive[..at], Some(directive[at + 1..].trim_ascii())),
            None => (directive, None),
        };
        let seconds = || Some(value.map_or(0, read_seconds));
        match name.trim_ascii().to_ascii_lowercase().as_slice() {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache = true,
            b"private" => self.private = true,
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"max-age" => self.max_age_s = self.max_age_s.or_else(seconds),
            b"s-maxage" => self.shared_max_age_s = self.shared_max_age_s.or_else(seconds),
            b"min-fresh" => self.min_fresh_s = self.min_fresh_s.or_else(seconds),
            b"max-stale" => {
                let seconds = value.map_or(SECONDS_MAX, read_seconds);
                self.max_stale_s = self.max_stale_s.or(Some(seconds));
            }
            b"stale-while-revalidate" => {
                self.stale_while_revalidate_s = self.stale_while_revalidate_s.or_else(seconds);
            }
            b"stale-if-error" => self.stale_if_error_s = self.stale_if_error_s.or_else(seconds),
            _ => {}
        }
    }
}

/// The next directive, and what follows its comma; commas in quotes do not count.
fn next_directive(line: &[u8]) -> Option<(&[u8], &[u8])> {
    if line.is_empty() {
        return None;
    }
    let (mut quoted, mut escaped) = (false, false);
    for (at, &byte) in line.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return Some((line[..at].trim_ascii(), &line[at + 1..])),
            _ => {}
        }
    }
    Some((line.trim_ascii(), &[]))
}

/// delta-seconds; quoted ones are sent by some.
pub fn read_seconds(text: &[u8]) -> u64 {
    let bare = text.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(text);
    if bare.is_empty() || !bare.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let number = |sum: u64, digit: &u8| (sum * 10 + u64::from(digit - b'0')).min(SECONDS_MAX);
    bare.iter().fold(0, number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str) -> Directives {
        Directives::read(std::iter::once(line.as_bytes()))
    }

    #[test]
    fn names_are_read_without_case_and_across_lines() {
        let lines = [&b"Max-Age=10, PUBLIC"[..], b"must-revalidate"];
        let found = Directives::read(lines.into_iter());
        assert_eq!((found.max_age_s, found.public, found.must_revalidate), (Some(10), true, true));
    }

    #[test]
    fn numbers_that_are_none_are_zero_and_large_ones_are_bounded() {
        for (line, wanted) in [
            ("max-age=60", 60),
            ("max-age=\"60\"", 60),
            ("max-age", 0),
            ("max-age=", 0),
            ("max-age=-1", 0),
            ("max-age=1.5", 0),
            ("max-age=a", 0),
            ("max-age=99999999999999999999", SECONDS_MAX),
            ("max-age=5, max-age=7", 5),
        ] {
            assert_eq!(read(line).max_age_s, Some(wanted), "{line}");
        }
    }

    #[test]
    fn commas_in_quotes_are_part_of_a_value() {
        let found = read("private=\"a, no-store, b\\\", public\", max-age=3");
        assert_eq!(found, Directives { private: true, max_age_s: Some(3), ..Directives::default() });
    }

    #[test]
    fn max_stale_without_a_number_is_without_bound() {
        assert_eq!(read("max-stale").max_stale_s, Some(SECONDS_MAX));
        assert_eq!(read("max-stale=4").max_stale_s, Some(4));
        assert_eq!(read("max-age=4").max_stale_s, None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let found = Directives::read(std::iter::once(&line[..]));
            prop_assert!(found.max_age_s.is_none_or(|seconds| seconds <= SECONDS_MAX));
        }
    }
}
