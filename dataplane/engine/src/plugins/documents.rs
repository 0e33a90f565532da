//! JSON documents of a call: read by pointer (RFC 6901), built by pointer.

use serde_json::Value;
use std::sync::Arc;

/// Deeper pointers would nest values deeper than anything that walks them may recurse.
const DEPTH_MAX: usize = 32;
const DOCUMENTS_MAX: usize = 32;
/// Text that a call may put into its documents.
const BYTES_MAX: usize = 1 << 20;

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
        match usize::try_from(number).ok()? {
            0 => Some(&self.input),
            number => self.own.get(number - 1),
        }
    }

    pub fn find(&self, number: u64, pointer: &[u8]) -> Option<&Value> {
        self.get(number)?.pointer(std::str::from_utf8(pointer).ok()?)
    }

    /// Number of the document that a text gives.
    pub fn parse(&mut self, text: &[u8]) -> Option<u64> {
        self.bytes += text.len();
        if self.own.len() >= DOCUMENTS_MAX || self.bytes > BYTES_MAX {
            return None;
        }
        self.own.push(serde_json::from_slice(text).ok()?);
        Some(self.own.len() as u64)
    }

    /// Sets a value; objects on the way are made, `-` appends to an array. None: not possible.
    pub fn set(&mut self, number: u64, pointer: &[u8], value: Value, bytes: usize) -> Option<()> {
        self.bytes += bytes + pointer.len();
        let levels = pointer.iter().filter(|&&byte| byte == b'/').count();
        if levels > DEPTH_MAX || self.bytes > BYTES_MAX {
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
        assert_eq!(documents.set(number, b"/a/b", Value::from("c"), 1), Some(()));
        assert_eq!(documents.set(number, b"/list/-", Value::from("d"), 1), Some(()));
        assert_eq!(documents.set(number, b"/a/b/c", Value::from("e"), 1), None);
        assert_eq!(documents.set(number, b"/list/7", Value::from("e"), 1), None);
        assert_eq!(documents.set(0, b"/a", Value::from("e"), 1), None);
        assert_eq!(show(documents.get(number).unwrap()), b"{\"a\":{\"b\":\"c\"},\"list\":[\"d\"]}");
    }

    #[test]
    fn neither_depth_nor_bytes_nor_numbers_grow_without_bound() {
        let mut documents = documents();
        let number = documents.parse(b"{}").unwrap();
        let deep = "/a".repeat(DEPTH_MAX + 1);
        assert_eq!(documents.set(number, deep.as_bytes(), Value::Null, 0), None);
        assert_eq!(documents.set(number, b"/x", Value::Null, BYTES_MAX), None);
        let mut many = self::documents();
        assert_eq!((0..40).filter(|_| many.parse(b"0").is_some()).count(), DOCUMENTS_MAX);
    }
}
