//! JSON documents of a call: read by pointer (RFC 6901), built by pointer.

use crate::program::find;
use serde_json::Value;
use std::sync::Arc;

/// Deeper pointers would nest values deeper than anything that walks them may recurse.
const DEPTH_MAX: usize = 32;
const DOCUMENTS_MAX: usize = 32;
/// What the documents of a call may take: text alone would let one of small objects take a hundred times as much.
const BYTES_MAX: usize = 4 << 20;
/// An object, with room for eleven members.
const OBJECT_BYTES: usize = 640;
/// An array, with room for four items.
const ARRAY_BYTES: usize = 128;
/// Another item, or another member's share of an object.
const ITEM_BYTES: usize = 160;

/// Document 0 is the input.
pub struct Documents {
    input: Arc<Value>,
    own: Vec<Value>,
    bytes: usize,
}

impl Documents {
    pub fn new(input: Arc<Value>) -> Self {
        Self { input, own: Vec::new(), bytes: 0 }
    }

    pub fn get(&self, number: u64) -> Option<&Value> {
        match number.checked_sub(1) {
            None => Some(&self.input),
            Some(own) => find(&self.own, own),
        }
    }

    pub fn find(&self, number: u64, pointer: &[u8]) -> Option<&Value> {
        self.get(number)?.pointer(std::str::from_utf8(pointer).ok()?)
    }

    /// Number of the document that a text gives.
    pub fn parse(&mut self, text: &[u8]) -> Option<u64> {
        if self.own.len() >= DOCUMENTS_MAX {
            return None;
        }
        self.take_room(measure(text))?;
        self.own.push(serde_json::from_slice(text).ok()?);
        Some(self.own.len() as u64)
    }

    fn take_room(&mut self, bytes: usize) -> Option<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        (self.bytes <= BYTES_MAX).then_some(())
    }

    /// Sets the value of a JSON text, as `set_string` does.
    pub fn set(&mut self, number: u64, pointer: &[u8], text: &[u8]) -> Option<()> {
        self.take_room(measure(text))?;
        self.put(number, pointer, serde_json::from_slice(text).ok()?)
    }

    /// Sets a string; objects on the way are made, `-` appends to an array. None: not possible.
    pub fn set_string(&mut self, number: u64, pointer: &[u8], text: String) -> Option<()> {
        self.take_room(text.len())?;
        self.put(number, pointer, Value::String(text))
    }

    fn put(&mut self, number: u64, pointer: &[u8], value: Value) -> Option<()> {
        let levels = pointer.iter().filter(|&&byte| byte == b'/').count();
        self.take_room(pointer.len() + levels * OBJECT_BYTES)?;
        if levels > DEPTH_MAX {
            return None;
        }
        let pointer = std::str::from_utf8(pointer).ok()?;
        let tokens: Vec<String> = match pointer.strip_prefix('/') {
            None if pointer.is_empty() => Vec::new(),
            None => return None,
            Some(rest) => rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect(),
        };
        let mut place = self.own.get_mut(usize::try_from(number).ok()?.checked_sub(1)?)?;
        for token in tokens {
            if place.is_null() {
                *place = Value::Object(serde_json::Map::new());
            }
            place = match place {
                Value::Object(members) => members.entry(token).or_insert(Value::Null),
                Value::Array(items) => {
                    let index = if token == "-" { items.len() } else { token.parse::<usize>().ok()? };
                    if index == items.len() {
                        items.push(Value::Null);
                    }
                    items.get_mut(index)?
                }
                _ => return None,
            };
        }
        *place = value;
        Some(())
    }
}

/// The value of a text that is no larger than a call's documents may be.
pub fn parse_bounded(text: &[u8]) -> Option<Value> {
    (measure(text) <= BYTES_MAX).then(|| serde_json::from_slice(text).ok())?
}

/// Memory that the value of a JSON text takes, or more.
fn measure(text: &[u8]) -> usize {
    let bytes_of = |byte: &u8| match byte {
        b'{' => OBJECT_BYTES,
        b'[' => ARRAY_BYTES,
        b',' => ITEM_BYTES,
        _ => 1,
    };
    text.iter().map(bytes_of).sum()
}

/// A value as a plugin reads it: strings bare, all else as JSON text.
pub fn show(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        // Values always have a text.
        value => serde_json::to_vec(value).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents() -> Documents {
        Documents::new(Arc::new(serde_json::json!({"config": {"a/b": ["x", 1]}})))
    }

    #[test]
    fn values_are_found_by_pointer_and_shown_bare() {
        let documents = documents();
        let read = |pointer: &[u8]| documents.find(0, pointer).map(show);
        assert_eq!(read(b"/config/a~1b/0"), Some(b"x".to_vec()));
        assert_eq!(read(b"/config/a~1b"), Some(b"[\"x\",1]".to_vec()));
        assert_eq!((read(b"/none"), read(b"config"), read(b"\xff")), (None, None, None));
    }

    #[test]
    fn objects_on_the_way_are_made_and_the_input_is_not_written() {
        let mut documents = documents();
        let number = documents.parse(b"{\"list\":[]}").unwrap();
        assert_eq!(documents.set_string(number, b"/a/b", "c".into()), Some(()));
        assert_eq!(documents.set_string(number, b"/list/-", "d".into()), Some(()));
        assert_eq!(documents.set_string(number, b"/a/b/c", "e".into()), None);
        assert_eq!(documents.set_string(number, b"/list/7", "e".into()), None);
        assert_eq!(documents.set_string(0, b"/a", "e".into()), None);
        assert_eq!(show(documents.get(number).unwrap()), b"{\"a\":{\"b\":\"c\"},\"list\":[\"d\"]}");
    }

    #[test]
    fn neither_depth_nor_bytes_nor_numbers_grow_without_bound() {
        let mut documents = documents();
        let number = documents.parse(b"{}").unwrap();
        let deep = "/a".repeat(DEPTH_MAX + 1);
        assert_eq!(documents.set(number, deep.as_bytes(), b"null"), None);
        assert_eq!(documents.set_string(number, b"/x", "x".repeat(BYTES_MAX)), None);
        let mut many = self::documents();
        assert_eq!((0..40).filter(|_| many.parse(b"0").is_some()).count(), DOCUMENTS_MAX);
    }

    #[test]
    fn small_objects_take_no_more_memory_than_large_texts() {
        let mut documents = documents();
        let objects = format!("[{}0]", "{\"\":0},".repeat(8000));
        assert!(objects.len() < BYTES_MAX / 64);
        assert_eq!((documents.parse(objects.as_bytes()), parse_bounded(objects.as_bytes())), (None, None));
        let mut levels = self::documents();
        let number = levels.parse(b"{}").unwrap();
        let made =
            (0..8000).filter(|at| levels.set(number, format!("/{at}/a/a/a").as_bytes(), b"0").is_some());
        assert!(made.count() * 4 * OBJECT_BYTES <= BYTES_MAX);
    }

    #[test]
    fn a_text_as_large_as_a_plugin_s_memory_has_room_where_it_is_like_others() {
        let row = "{\"id\":\"0123456789abcdef\",\"roles\":[\"reader\",\"writer\"],\"active\":true},";
        let text = format!("[{}0]", row.repeat((60 << 10) / row.len()));
        assert!(documents().parse(text.as_bytes()).is_some());
    }
}
