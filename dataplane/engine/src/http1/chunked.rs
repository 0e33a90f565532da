//! Chunked bodies (RFC 9112 7.1): strict decoder for both directions, and our own framing of what is forwarded.
//!
//! Rule: sizes are 1*HEXDIG, lines end with CRLF only, extensions and trailers are checked and counted; extensions are
//! dropped, and so are trailers but where the caller keeps them.

use super::Violation;
use super::fields::is_token_byte;
use crate::limits::{CHUNK_EXTENSION_BYTES_MAX, CHUNK_SIZE_DIGITS_MAX, TRAILER_BYTES_MAX};

/// Ends a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Where the decoder stands between two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Size,
    /// Behind a semicolon: blanks, then a name.
    ExtensionStart,
    ExtensionName,
    /// Blanks behind a name.
    ExtensionNameEnd,
    /// Behind `=`: blanks, then a token or a quoted string.
    ValueStart,
    Value,
    Quoted,
    Escaped,
    /// Behind a quoted string.
    ValueEnd,
    SizeLineFeed,
    Data,
    DataCarriageReturn,
    DataLineFeed,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    LastLineFeed,
    Done,
}

/// Decoder of one chunked body, 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkDecoder {
    left: u64,
    extension_bytes: u32,
    trailer_bytes: u32,
    digits: u8,
    place: Place,
}

impl Default for ChunkDecoder {
    fn default() -> Self {
        ChunkDecoder { left: 0, extension_bytes: 0, trailer_bytes: 0, digits: 0, place: Place::Size }
    }
}

/// One step: `consumed` bytes of the input are used up; its last `data` bytes are body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    pub consumed: usize,
    pub data: usize,
    pub done: bool,
    /// Where in the input lines of the trailer section begin and end.
    pub trailers: (usize, usize),
}

impl Piece {
    /// The body bytes of this step within the input it was made from.
    pub fn body<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        &input[self.consumed - self.data..self.consumed]
    }

    /// The part of the trailer section in this step, without the empty line that ends it.
    pub fn trailer_lines<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        &input[self.trailers.0..self.trailers.1]
    }
}

impl ChunkDecoder {
    /// Decodes until some body bytes, the end of the body, or the end of `input`.
    pub fn next(&mut self, input: &[u8]) -> Result<Piece, Violation> {
        let mut at = 0;
        let mut trailers = (0, 0);
        while at < input.len() && self.place != Place::Done {
            if self.place == Place::Data {
                let data = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len() - at);
                self.left -= data as u64;
                if self.left == 0 {
                    self.place = Place::DataCarriageReturn;
                }
                return Ok(Piece { consumed: at + data, data, ..Piece::default() });
            }
            let is_trailer = match self.place {
                Place::TrailerStart => input[at] != b'\r',
                place => matches!(place, Place::TrailerName | Place::TrailerValue | Place::TrailerLineFeed),
            };
            if is_trailer {
                trailers = (if trailers.1 == 0 { at } else { trailers.0 }, at + 1);
            }
            self.step(input[at])?;
            at += 1;
        }
        Ok(Piece { consumed: at, data: 0, done: self.place == Place::Done, trailers })
    }

    pub fn is_done(&self) -> bool {
        self.place == Place::Done
    }

    fn step(&mut self, byte: u8) -> Result<(), Violation> {
        self.place = match self.place {
            Place::Size => return self.size(byte),
            Place::ExtensionStart
            | Place::ExtensionName
            | Place::ExtensionNameEnd
            | Place::ValueStart
            | Place::Value
            | Place::Quoted
            | Place::Escaped
            | Place::ValueEnd => self.extension(byte)?,
            Place::SizeLineFeed => match (expect(byte, b'\n'), self.left) {
                (Err(violation), _) => return Err(violation),
                (Ok(()), 0) => Place::TrailerStart,
                (Ok(()), _) => Place::Data,
            },
            Place::DataCarriageReturn => expect(byte, b'\r').map(|()| Place::DataLineFeed)?,
            Place::DataLineFeed => {
                expect(byte, b'\n')?;
                self.digits = 0;
                Place::Size
            }
            Place::TrailerStart if byte == b'\r' => Place::LastLineFeed,
            Place::TrailerStart | Place::TrailerName => self.trailer_name(byte)?,
            Place::TrailerValue => self.trailer_value(byte)?,
            Place::TrailerLineFeed => expect(byte, b'\n').map(|()| Place::TrailerStart)?,
            Place::LastLineFeed => expect(byte, b'\n').map(|()| Place::Done)?,
            Place::Data | Place::Done => unreachable!("next() handles these"),
        };
        Ok(())
    }

    fn size(&mut self, byte: u8) -> Result<(), Violation> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if self.digits > 0 => {
                self.place = Place::SizeLineFeed;
                return Ok(());
            }
            b';' if self.digits > 0 => {
                self.place = Place::ExtensionStart;
                return Ok(());
            }
            _ => return Err(Violation::bad("chunk size is not hexadecimal")),
        };
        if self.digits == 0 {
            self.left = 0;
        }
        self.digits += 1;
        if self.digits > CHUNK_SIZE_DIGITS_MAX {
            return Err(Violation::bad("chunk size too long"));
        }
        self.left = self.left << 4 | u64::from(digit);
        Ok(())
    }

    /// `name`, `name=token` or `name="text"` (RFC 9112 7.1.1): what ends a quoted string for one reader ends it for all.
    fn extension(&mut self, byte: u8) -> Result<Place, Violation> {
        self.extension_bytes += 1;
        if self.extension_bytes > CHUNK_EXTENSION_BYTES_MAX {
            return Err(Violation::bad("chunk extensions too large"));
        }
        let blank = byte == b' ' || byte == b'\t';
        match (self.place, byte) {
            (Place::ExtensionStart | Place::ExtensionName, _) if is_token_byte(byte) => {
                Ok(Place::ExtensionName)
            }
            (Place::ValueStart | Place::Value, _) if is_token_byte(byte) => Ok(Place::Value),
            (Place::ExtensionStart | Place::ValueStart, _) if blank => Ok(self.place),
            (Place::ExtensionName | Place::ExtensionNameEnd, _) if blank => Ok(Place::ExtensionNameEnd),
            (Place::ExtensionName | Place::ExtensionNameEnd, b'=') => Ok(Place::ValueStart),
            (Place::ValueStart, b'"') => Ok(Place::Quoted),
            (Place::Quoted, b'"') => Ok(Place::ValueEnd),
            (Place::Quoted, b'\\') => Ok(Place::Escaped),
            (Place::Quoted | Place::Escaped, _) if is_text(byte) => Ok(Place::Quoted),
            (Place::ExtensionName | Place::ExtensionNameEnd | Place::Value | Place::ValueEnd, b';') => {
                Ok(Place::ExtensionStart)
            }
            (Place::ExtensionName | Place::Value | Place::ValueEnd, b'\r') => Ok(Place::SizeLineFeed),
            _ => Err(Violation::bad("malformed chunk extension")),
        }
    }

    fn trailer_name(&mut self, byte: u8) -> Result<Place, Violation> {
        self.count_trailer()?;
        match byte {
            b':' if self.place == Place::TrailerName => Ok(Place::TrailerValue),
            byte if is_token_byte(byte) => Ok(Place::TrailerName),
            _ => Err(Violation::bad("malformed trailer field")),
        }
    }

    fn trailer_value(&mut self, byte: u8) -> Result<Place, Violation> {
        self.count_trailer()?;
        match byte {
            b'\r' => Ok(Place::TrailerLineFeed),
            byte if is_text(byte) => Ok(Place::TrailerValue),
            _ => Err(Violation::bad("control byte in trailer field")),
        }
    }

    fn count_trailer(&mut self) -> Result<(), Violation> {
        self.trailer_bytes += 1;
        match self.trailer_bytes > TRAILER_BYTES_MAX {
            true => Err(Violation::bad("trailers too large")),
            false => Ok(()),
        }
    }
}

/// Appends `data` as one chunk; nothing where it is empty, since an empty chunk would end the body.
pub fn write_chunk(data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    let mut digits = [0u8; 16];
    let mut at = digits.len();
    let mut left = data.len();
    while left > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[left & 15];
        left >>= 4;
    }
    out.reserve(data.len() + 20);
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

fn expect(byte: u8, wanted: u8) -> Result<(), Violation> {
    match byte == wanted {
        true => Ok(()),
        false => Err(Violation::bad("chunk is not followed by CRLF")),
    }
}

/// VCHAR, SP, HTAB or obs-text.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
