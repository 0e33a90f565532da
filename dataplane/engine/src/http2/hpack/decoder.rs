//! Header blocks to fields.

use super::tables::STATIC;
use super::{FIELD_OVERHEAD, huffman};
use crate::limits::{HEADER_FIELDS_MAX, HPACK_TABLE_BYTES_MAX, REQUEST_HEAD_BYTES_MAX};
use std::collections::VecDeque;

/// The block breaks RFC 7541: both tables are out of step, the connection ends (COMPRESSION_ERROR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Decoded fields of one block in one arena, kept for its memory.
#[derive(Debug, Default)]
pub struct FieldList {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// More or larger fields than the limits allow; those over them are not here.
    pub too_large: bool,
    size: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    name: u32,
    value: u32,
}

impl FieldList {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.too_large = false;
        self.size = 0;
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.entries.iter().map(|entry| {
            let (start, name) = (entry.start as usize, entry.name as usize);
            let value = start + name;
            (&self.bytes[start..value], &self.bytes[value..value + entry.value as usize])
        })
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// As SETTINGS_MAX_HEADER_LIST_SIZE counts (RFC 9113 6.5.2).
    pub fn size(&self) -> usize {
        self.size
    }

    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.finish(start, name.len());
    }

    /// Names the bytes from `start` as a field, or drops them where they are over a limit.
    fn finish(&mut self, start: usize, name: usize) {
        let value = self.bytes.len() - start - name;
        self.size += name + value + FIELD_OVERHEAD;
        // Pseudo-header fields are no fields of HTTP: five of them do not count.
        if self.too_large || self.size > REQUEST_HEAD_BYTES_MAX || self.entries.len() >= HEADER_FIELDS_MAX + 5
        {
            self.too_large = true;
            self.bytes.truncate(start);
            return;
        }
        self.entries.push(Entry { start: start as u32, name: name as u32, value: value as u32 });
    }
}

/// The table of one direction of a connection.
#[derive(Debug)]
pub struct Decoder {
    entries: VecDeque<(Box<[u8]>, u32)>,
    size: usize,
    size_max: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder { entries: VecDeque::new(), size: 0, size_max: HPACK_TABLE_BYTES_MAX }
    }
}

impl Decoder {
    /// Decodes one whole block into `fields`, which is cleared first.
    pub fn decode(&mut self, block: &[u8], fields: &mut FieldList) -> Result<(), Malformed> {
        fields.clear();
        let mut at = 0;
        let mut begun = false;
        while at < block.len() {
            let byte = block[at];
            if byte & 0x80 != 0 {
                let index = integer(block, &mut at, 7)?;
                let (name, value) = self.lookup(index)?;
                fields.push(name, value);
            } else if byte & 0xe0 == 0x20 {
                if begun {
                    return Err(Malformed("table size update after a field"));
                }
                let size_max = integer(block, &mut at, 5)?;
                if size_max > HPACK_TABLE_BYTES_MAX {
                    return Err(Malformed("table size above the setting"));
                }
                self.size_max = size_max;
                self.evict(0);
                continue;
            } else {
                let prefix = if byte & 0x40 != 0 { 6 } else { 4 };
                self.literal(block, &mut at, prefix, fields)?;
            }
            begun = true;
        }
        Ok(())
    }

    /// Gives back room for fields that are not there.
    pub fn rest(&mut self) {
        self.entries.shrink_to_fit();
    }

    fn literal(
        &mut self,
        block: &[u8],
        at: &mut usize,
        prefix: u32,
        fields: &mut FieldList,
    ) -> Result<(), Malformed> {
        let index = integer(block, at, prefix)?;
        let start = fields.bytes.len();
        if index == 0 {
            string(block, at, &mut fields.bytes)?;
        } else {
            fields.bytes.extend_from_slice(self.lookup(index)?.0);
        }
        let name = fields.bytes.len() - start;
        string(block, at, &mut fields.bytes)?;
        if prefix == 6 {
            self.insert(&fields.bytes[start..], name);
        }
        fields.finish(start, name);
        Ok(())
    }

    fn lookup(&self, index: usize) -> Result<(&[u8], &[u8]), Malformed> {
        if index == 0 {
            return Err(Malformed("index 0"));
        }
        if let Some(field) = STATIC.get(index - 1) {
            return Ok(*field);
        }
        match self.entries.get(index - 1 - STATIC.len()) {
            Some((bytes, name)) => Ok(bytes.split_at(*name as usize)),
            None => Err(Malformed("index outside of the tables")),
        }
    }

    fn insert(&mut self, field: &[u8], name: usize) {
        let size = field.len() + FIELD_OVERHEAD;
        self.evict(size);
        // A field larger than the table empties it and is no error (RFC 7541 4.4).
        if size <= self.size_max {
            self.size += size;
            self.entries.push_front((field.into(), name as u32));
        }
    }

    fn evict(&mut self, room: usize) {
        while self.size + room > self.size_max
            && let Some((field, _)) = self.entries.pop_back()
        {
            self.size -= field.len() + FIELD_OVERHEAD;
        }
    }
}

/// An integer with `prefix` bits in the first byte (RFC 7541 5.1); above 2^28 it is refused.
fn integer(block: &[u8], at: &mut usize, prefix: u32) -> Result<usize, Malformed> {
    const CUT: Malformed = Malformed("block ends within an integer");
    let mask = (1usize << prefix) - 1;
    let mut value = usize::from(*block.get(*at).ok_or(CUT)?) & mask;
    *at += 1;
    if value < mask {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = *block.get(*at).ok_or(CUT)?;
        *at += 1;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed("integer too large"))
}

fn string(block: &[u8], at: &mut usize, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let coded = block.get(*at).is_some_and(|byte| byte & 0x80 != 0);
    let length = integer(block, at, 7)?;
    let end = *at + length;
    let text = block.get(*at..end).ok_or(Malformed("block ends within a string"))?;
    *at = end;
    match coded {
        true => huffman::decode(text, out).map_err(|_| Malformed("malformed Huffman code")),
        false => {
            out.extend_from_slice(text);
            Ok(())
        }
    }
}
