//! Regular expressions of Go (RE2) in the dialect of the crate `regex`.
//!
//! Both are the same language but for a few spellings: perl's classes and word boundaries are ASCII in Go, `{` and `[`
//! may stand for themselves, `\<` is a `<`, and a byte that is no UTF-8 counts as a character.

use std::borrow::Cow;

const WORD: &str = "0-9A-Za-z_";
const DIGIT: &str = "0-9";
const SPACE: &str = r"\t\n\f\r ";

/// A pattern of Go as the crate reads it. Those that Go refuses are refused when the configuration is read.
pub fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    while let Some(character) = rest.chars().next() {
        let taken = match character {
            '\\' => translate_escape(rest, false, &mut out),
            '[' => translate_class(rest, &mut out),
            '{' if !is_repetition(rest) => {
                out.push_str(r"\{");
                1
            }
            _ => {
                out.push(character);
                character.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

/// Writes a class from its `[` to its `]`; how many bytes were read.
fn translate_class(rest: &str, out: &mut String) -> usize {
    out.push('[');
    let mut taken = 1;
    if rest[taken..].starts_with('^') {
        out.push('^');
        taken += 1;
    }
    // A first `]` stands for itself.
    let first = taken;
    while taken < rest.len() {
        if rest[taken..].starts_with(']') && taken > first {
            out.push(']');
            return taken + 1;
        }
        let (read, is_character) = translate_item(&rest[taken..], out);
        taken += read;
        let after = &rest[taken..];
        if is_character && after.len() > 1 && after.starts_with('-') && !after.starts_with("-]") {
            out.push('-');
            taken += 1 + translate_item(&after[1..], out).0;
        }
    }
    taken
}

/// Writes one item of a class; how many bytes were read, and whether it is a character, which may begin a range.
fn translate_item(rest: &str, out: &mut String) -> (usize, bool) {
    let Some(character) = rest.chars().next() else { return (0, false) };
    match character {
        '\\' => {
            let is_set = rest[1..].starts_with(['w', 'W', 'd', 'D', 's', 'S', 'p', 'P']);
            (translate_escape(rest, true, out), !is_set)
        }
        '[' if posix_class(rest).is_some() => {
            let name = posix_class(rest).unwrap_or_default();
            out.push_str(name);
            (name.len(), false)
        }
        // Set operations of the crate and its nested classes are plain characters in Go.
        '[' | ']' | '&' | '~' | '-' => {
            out.push('\\');
            out.push(character);
            (1, true)
        }
        _ => {
            out.push(character);
            (character.len_utf8(), true)
        }
    }
}

/// `[:alpha:]` and its kin at the beginning of a text.
fn posix_class(rest: &str) -> Option<&str> {
    let end = rest.strip_prefix("[:")?.find(":]")? + 4;
    let name = &rest[2..end - 2];
    name.trim_start_matches('^').bytes().all(|byte| byte.is_ascii_lowercase()).then(|| &rest[..end])
}

/// Whether `{3}`, `{3,}` or `{3,5}` begins here.
fn is_repetition(rest: &str) -> bool {
    let Some(end) = rest.find('}') else { return false };
    let (least, most) = rest[1..end].split_once(',').unwrap_or((&rest[1..end], ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !least.is_empty() && digits(least) && digits(most)
}

/// Writes an escape; how many bytes were read.
fn translate_escape(rest: &str, in_class: bool, out: &mut String) -> usize {
    let Some(character) = rest[1..].chars().next() else {
        out.push('\\');
        return 1;
    };
    let set = match character {
        'w' | 'W' => WORD,
        'd' | 'D' => DIGIT,
        's' | 'S' => SPACE,
        _ => "",
    };
    match character {
        'w' | 'd' | 's' if in_class => out.push_str(set),
        'w' | 'd' | 's' => out.extend(["[", set, "]"]),
        'W' | 'D' | 'S' => out.extend(["[^", set, "]"]),
        'b' if !in_class => out.push_str(r"(?-u:\b)"),
        // ASCII's alone could hold in the middle of a character.
        'B' if !in_class => out.push_str(r"(?:\b|\B)(?-u:\B)"),
        'Q' if !in_class => {
            let quoted = &rest[2..];
            let end = quoted.find(r"\E").unwrap_or(quoted.len());
            out.push_str(&regex::escape(&quoted[..end]));
            return 2 + (end + 2).min(quoted.len());
        }
        'x' | 'p' | 'P' if rest[2..].starts_with('{') => {
            let end = rest.find('}').map_or(rest.len(), |end| end + 1);
            out.push_str(&match rest[..end].strip_suffix('}').and_then(|name| name.split_once("{^")) {
                Some((r"\p", name)) => format!(r"\P{{{name}}}"),
                Some((r"\P", name)) => format!(r"\p{{{name}}}"),
                _ => rest[..end].to_owned(),
            });
            return end;
        }
        // One letter names the set; left behind, it would begin a range.
        'p' | 'P' => {
            let end = 2 + rest[2..].chars().next().map_or(0, char::len_utf8);
            out.push_str(&rest[..end]);
            return end;
        }
        '<' | '>' => out.push(character),
        '0'..='7' => return translate_octal(rest, out),
        _ => {
            out.push('\\');
            out.push(character);
        }
    }
    1 + character.len_utf8()
}

/// `\0` and `\123`: characters by number in Go. A single digit from 1 on would refer back, which neither takes.
fn translate_octal(rest: &str, out: &mut String) -> usize {
    let digits = rest[1..].bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
    match u32::from_str_radix(&rest[1..=digits], 8) {
        Ok(number) if digits > 1 || rest[1..].starts_with('0') => {
            out.push_str(&format!(r"\x{{{number:X}}}"));
            1 + digits
        }
        _ => {
            out.push_str(&rest[..2]);
            2
        }
    }
}

/// A subject in which each byte that is no UTF-8 is U+FFFD, as Go's expressions see it; places in it lead back.
pub struct Readable<'a> {
    text: Cow<'a, [u8]>,
    /// Where replaced bytes are in `text`, ascending: each is three bytes long there.
    replaced: Vec<usize>,
}

impl<'a> Readable<'a> {
    pub fn new(subject: &'a [u8]) -> Self {
        if std::str::from_utf8(subject).is_ok() {
            return Self { text: Cow::Borrowed(subject), replaced: Vec::new() };
        }
        let (mut text, mut replaced) = (Vec::with_capacity(subject.len() + 16), Vec::new());
        for chunk in subject.utf8_chunks() {
            text.extend_from_slice(chunk.valid().as_bytes());
            for _ in chunk.invalid() {
                replaced.push(text.len());
                text.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        Self { text: Cow::Owned(text), replaced }
    }

    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The place in the subject of one in the text.
    pub fn place(&self, at: usize) -> usize {
        at - 2 * self.replaced.partition_point(|&start| start < at)
    }
}

#[cfg(test)]
mod tests {
    use super::{Readable, translate};
    use regex::bytes::Regex;

    fn fits(pattern: &str, text: &str) -> bool {
        Regex::new(&translate(pattern)).unwrap().is_match(text.as_bytes())
    }

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, text, expected) in [
            ("^{a}$", "{a}", true),
            ("^a{,3}$", "a{,3}", true),
            ("^a{2}$", "aa", true),
            ("^a{1,2}b{x}$", "aab{x}", true),
            (r"^\w+$", "é", false),
            (r"^\W$", "é", true),
            (r"^[\w-]+$", "a-b_9", true),
            (r"^[\W]$", "é", true),
            (r"^\d$", "٣", false),
            (r"^\s$", "\u{b}", false),
            (r"\bé", "aé", true),
            (r"a\B", "aé", false),
            (r"/\B", "/é", true),
            (r"^\p{^L}[\P{^L}]$", "1é", true),
            (r"^[[]$", "[", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]a]$", "]", false),
            (r"^[a&&b]+$", "&a", true),
            (r"^[a~~b-]+$", "~-", true),
            (r"^[+--]+$", "+,-", true),
            (r"^[--/]+$", "-./", true),
            (r"^[\w-a]+$", "-b", true),
            (r"^[]-a]+$", "]^`a", true),
            (r"^[&-(~]+$", "&'(~", true),
            (r"^[[:alpha:]_[]+$", "a_[", true),
            (r"^\<a\>$", "<a>", true),
            (r"^\Qa.b[\E.$", "a.b[x", true),
            (r"^\Qa.b", "a.bc", true),
            (r"^\101\0$", "A\0", true),
            (r"^\x{263a}\pL$", "☺é", true),
            (r"^\p{Greek}[\p{Lu}-]$", "λ-", true),
            (r"^[\pL-/]+$", "a/-", true),
            (r"^[\PL-/]$", "a", false),
            (r"^[\x{61}-c]$", "b", true),
            (r"(?i)^É$", "é", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn no_boundary_lies_within_a_character() {
        let found = Regex::new(&translate(r"\B")).unwrap();
        assert_eq!(found.find("aé".as_bytes()).map(|at| at.start()), Some(3));
    }

    #[test]
    fn what_neither_takes_stays_a_fault() {
        for pattern in [r"\1", "[", "(", r"\8", r"(?=a)", "\\"] {
            assert!(Regex::new(&translate(pattern)).is_err(), "{pattern}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_characters_and_places_lead_back() {
        let subject = b"/a\xff\xfe/\xc3\xa9b";
        let readable = Readable::new(subject);
        let found = Regex::new("^/a(..)/(.b)$").unwrap().captures(readable.text()).unwrap();
        let at = |index| {
            let span = found.get(index).unwrap();
            &subject[readable.place(span.start())..readable.place(span.end())]
        };
        assert_eq!((at(1), at(2)), (&b"\xff\xfe"[..], "éb".as_bytes()));
    }
}
