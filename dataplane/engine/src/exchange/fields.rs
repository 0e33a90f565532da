//! Header fields in one arena: order kept, names compared without case, values never holding CR, LF or NUL.

use super::HeaderSpan;
use super::texts::Text;
use crate::limits::WRITTEN_TEXT_BYTES_MAX;
use crate::searching::{Pattern, SearchBudget};

#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    length: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    name: Place,
    value: Place,
}

/// Bytes that no field names any more are kept below this, or below what the fields hold.
const STALE_BYTES_MAX: usize = 64 << 10;

/// A list of header fields that owns its bytes. Clearing keeps the memory.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Something did not fit.
    cut: bool,
}

impl Fields {
    /// Empty, with room for what an ordinary head has.
    pub fn with_room() -> Self {
        Self { bytes: Vec::with_capacity(512), entries: Vec::with_capacity(12), cut: false }
    }

    /// Bytes of the arena's room.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.cut = false;
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// A name or value was left out: all fields together were too long.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Bytes of names and values.
    pub fn length(&self) -> usize {
        self.entries.iter().map(|entry| (entry.name.length + entry.value.length) as usize).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = HeaderSpan<'_>> {
        self.entries.iter().map(|entry| HeaderSpan { name: self.at(entry.name), value: self.at(entry.value) })
    }

    /// First value of a field.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.position(name).map(|index| self.at(self.entries[index].value))
    }

    /// Every value of a field, in order.
    pub fn all<'a, 'n: 'a>(&'a self, name: &'n [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// Appends a field that a strict parser has checked.
    pub fn push_checked(&mut self, name: &[u8], value: &[u8]) {
        let name = self.store(name);
        let value = self.store(value);
        self.entries.push(Entry { name, value });
    }

    /// Appends a field. False: the name is no token; nothing is added.
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> bool {
        if !is_token(name) {
            return false;
        }
        let name = self.store(name);
        let value = self.store_safe(value);
        self.entries.push(Entry { name, value });
        self.tidy();
        true
    }

    /// Replaces all fields of the name by one, at the place of the first.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> bool {
        let Some(first) = self.position(name) else { return self.add(name, value) };
        let value = self.store_safe(value);
        self.entries[first].value = value;
        let mut index = 0;
        self.retain(|field| {
            index += 1;
            index - 1 <= first || !field.name.eq_ignore_ascii_case(name)
        });
        self.tidy();
        true
    }

    pub fn contains(&self, name: &[u8]) -> bool {
        self.position(name).is_some()
    }

    /// Removes the fields that a name, or a pattern with `*` at either end, stands for (Caddy: headers.go).
    pub fn remove(&mut self, pattern: &[u8]) {
        match pattern {
            b"*" => self.entries.clear(),
            [b'*', middle @ .., b'*'] => self.retain(|field| !contains_ignoring_case(field.name, middle)),
            [b'*', end @ ..] => self.retain(|field| {
                let cut = field.name.len().saturating_sub(end.len());
                !(field.name.len() >= end.len() && field.name[cut..].eq_ignore_ascii_case(end))
            }),
            [begin @ .., b'*'] => self.retain(|field| {
                !(field.name.len() >= begin.len() && field.name[..begin.len()].eq_ignore_ascii_case(begin))
            }),
            name => self.retain(|field| !field.name.eq_ignore_ascii_case(name)),
        }
    }

    /// Replaces in the values of a field, or of all with `*`.
    pub fn replace(&mut self, name: &[u8], search: &Search, with: &[u8], budget: &SearchBudget) {
        for index in 0..self.entries.len() {
            let entry = self.entries[index];
            if name != b"*" && !self.at(entry.name).eq_ignore_ascii_case(name) {
                continue;
            }
            if let Some(changed) = search.replace(self.at(entry.value), with, budget) {
                self.entries[index].value = self.store_safe(&changed);
                self.tidy();
            }
        }
    }

    /// A value that is replaced stays in the arena: whoever replaces without end must not grow it without end.
    fn tidy(&mut self) {
        if self.bytes.len() <= STALE_BYTES_MAX {
            return;
        }
        let length = self.length();
        if self.bytes.len() - length.min(self.bytes.len()) <= length.max(STALE_BYTES_MAX) {
            return;
        }
        let old = std::mem::replace(&mut self.bytes, Vec::with_capacity(length));
        for entry in &mut self.entries {
            for place in [&mut entry.name, &mut entry.value] {
                let start = self.bytes.len() as u32;
                self.bytes
                    .extend_from_slice(&old[place.start as usize..(place.start + place.length) as usize]);
                place.start = start;
            }
        }
    }

    pub fn retain(&mut self, mut keep: impl FnMut(HeaderSpan<'_>) -> bool) {
        let Self { bytes, entries, .. } = self;
        let at = |place: Place| &bytes[place.start as usize..(place.start + place.length) as usize];
        entries.retain(|entry| keep(HeaderSpan { name: at(entry.name), value: at(entry.value) }));
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        self.entries.iter().position(|entry| self.at(entry.name).eq_ignore_ascii_case(name))
    }

    fn at(&self, place: Place) -> &[u8] {
        &self.bytes[place.start as usize..(place.start + place.length) as usize]
    }

    /// Empty beyond the bound of all fields: no peer takes so much.
    fn store(&mut self, text: &[u8]) -> Place {
        let fits = self.bytes.len() + text.len() <= WRITTEN_TEXT_BYTES_MAX;
        self.cut |= !fits;
        let text = if fits { text } else { b"" };
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(text);
        Place { start, length: text.len() as u32 }
    }

    /// Stores without surrounding white space; bytes that would end the line become spaces (Go: headerNewlineToSpace).
    fn store_safe(&mut self, text: &[u8]) -> Place {
        let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
        let start = text.iter().position(|byte| !blank(byte)).unwrap_or(text.len());
        let end = text.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
        let place = self.store(&text[start..end]);
        for byte in &mut self.bytes[place.start as usize..] {
            if matches!(byte, b'\r' | b'\n' | 0) {
                *byte = b' ';
            }
        }
        place
    }
}

/// What a replacement looks for.
#[derive(Clone, Debug)]
pub enum Search {
    Text(Box<[u8]>),
    Pattern(std::sync::Arc<Pattern>),
    /// Expanded for each request into one of the others.
    Template {
        text: Text,
        is_pattern: bool,
    },
}

impl Search {
    /// The changed text; None when nothing was found.
    pub fn replace(&self, text: &[u8], with: &[u8], budget: &SearchBudget) -> Option<Vec<u8>> {
        match self {
            Search::Text(search) => replace_text(text, search, with, usize::MAX),
            Search::Template { .. } => None,
            Search::Pattern(pattern) => pattern.replace_all(text, with, budget),
        }
    }
}

/// Go's strings.Replace; None when nothing was found.
pub fn replace_text(text: &[u8], search: &[u8], with: &[u8], limit: usize) -> Option<Vec<u8>> {
    if search.is_empty() {
        return None;
    }
    let mut out: Option<Vec<u8>> = None;
    let mut from = 0;
    for at in memchr::memmem::find_iter(text, search).take(limit) {
        let out = out.get_or_insert_with(|| Vec::with_capacity(text.len() + with.len()));
        if out.len() > WRITTEN_TEXT_BYTES_MAX {
            break;
        }
        out.extend_from_slice(&text[from..at]);
        out.extend_from_slice(with);
        from = at + search.len();
    }
    out.map(|mut out| {
        out.extend_from_slice(&text[from..]);
        out
    })
}

/// RFC 9110 5.6.2.
pub fn is_token(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn contains_ignoring_case(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in list {
            fields.push_checked(name.as_bytes(), value.as_bytes());
        }
        fields
    }

    fn shown(fields: &Fields) -> String {
        let lines = fields.iter().map(|field| {
            format!("{}={}", String::from_utf8_lossy(field.name), String::from_utf8_lossy(field.value))
        });
        lines.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn setting_replaces_all_of_a_name_at_its_place() {
        let mut list = fields(&[("A", "1"), ("B", "2"), ("a", "3"), ("C", "4")]);
        assert!(list.set(b"A", b"x"));
        assert_eq!(shown(&list), "A=x B=2 C=4");
        assert!(list.set(b"D", b"5"));
        assert_eq!(shown(&list), "A=x B=2 C=4 D=5");
    }

    #[test]
    fn removal_knows_wildcards_at_either_end() {
        for (pattern, left) in [
            ("x-a", "X-B=2 Server=3"),
            ("X-*", "Server=3"),
            ("*-b", "X-A=1 Server=3"),
            ("*erv*", "X-A=1 X-B=2"),
            ("*", ""),
            ("none", "X-A=1 X-B=2 Server=3"),
        ] {
            let mut list = fields(&[("X-A", "1"), ("X-B", "2"), ("Server", "3")]);
            list.remove(pattern.as_bytes());
            assert_eq!(shown(&list), left, "{pattern}");
        }
    }

    #[test]
    fn no_value_can_end_its_line() {
        let mut list = Fields::default();
        assert!(list.add(b"X", b" a\r\nSet-Cookie: b\0 "));
        assert_eq!(shown(&list), "X=a  Set-Cookie: b");
        assert!(!list.add(b"a b", b"c") && !list.add(b"", b"c") && !list.add(b"a:", b"c"));
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn what_is_replaced_without_end_does_not_grow_without_end() {
        let mut list = fields(&[("Kept", "as it was")]);
        let long = vec![b'x'; 60_000];
        for round in 0..1000 {
            assert!(list.set(b"X", &long[round..]) && list.add(b"Y", &long));
            list.remove(b"y");
        }
        assert!(list.capacity() < 1 << 20, "{} bytes", list.capacity());
        assert_eq!((list.get(b"kept"), list.get(b"x")), (Some(&b"as it was"[..]), Some(&long[999..])));
        assert_eq!((list.len(), list.length()), (2, 13 + 1 + 59_001));
    }

    #[test]
    fn what_grows_without_end_is_bounded() {
        let text = vec![b'x'; 1 << 10];
        let by_text = replace_text(&text, b"x", &text, usize::MAX).unwrap();
        assert!(by_text.len() < WRITTEN_TEXT_BYTES_MAX + 4 * text.len());
        let by_pattern =
            Search::Pattern(pattern("x")).replace(&text, &[b'y'; 1 << 14], &SearchBudget::default());
        assert!(by_pattern.unwrap().len() < WRITTEN_TEXT_BYTES_MAX + (1 << 15));
        let mut fields = Fields::default();
        for number in 0..9 {
            fields.add(format!("name-{number}").as_bytes(), &vec![b'v'; 1 << 20]);
        }
        assert!(fields.length() <= WRITTEN_TEXT_BYTES_MAX);
    }

    fn pattern(text: &str) -> std::sync::Arc<Pattern> {
        Pattern::compile(text, 1 << 20).unwrap().into()
    }

    #[test]
    fn replacement_by_text_and_by_pattern() {
        let mut list = fields(&[("Location", "http://a/http://"), ("X", "http://")]);
        let budget = SearchBudget::default();
        list.replace(b"location", &Search::Text(b"http://"[..].into()), b"https://", &budget);
        assert_eq!(shown(&list), "Location=https://a/https:// X=http://");
        list.replace(b"*", &Search::Pattern(pattern("^h(t+)p")), b"$1", &budget);
        assert_eq!(shown(&list), "Location=tts://a/https:// X=tt://");
    }
}
