//! Finds the end of a head in bytes that arrive in any pieces, each byte looked at once.
//!
//! Rule: a line ends with CRLF and nothing else. A bare LF is refused as soon as it is seen, a head that is not
//! complete within its bound is refused too, so that slow bytes cost neither memory nor quadratic time.

use super::Violation;
use memchr::memchr;

/// Progress through the head at the start of a buffer. Reset it with `default()` for the next head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScanner {
    scanned: usize,
    lines: u32,
}

impl HeadScanner {
    /// Length of the head with its empty line, None where more bytes are needed. `buffer` starts with the head's
    /// first byte and only ever grows between two calls.
    pub fn scan(&mut self, buffer: &[u8], bytes_max: usize) -> Result<Option<usize>, Violation> {
        while let Some(at) = memchr(b'\n', &buffer[self.scanned..]) {
            let end = self.scanned + at;
            if end == 0 || buffer[end - 1] != b'\r' {
                return Err(Violation::bad("line ends without CRLF"));
            }
            self.scanned = end + 1;
            self.lines += 1;
            if end >= 3 && buffer[end - 2] == b'\n' {
                return if end < bytes_max { Ok(Some(end + 1)) } else { Err(self.too_large(buffer)) };
            }
        }
        self.scanned = buffer.len();
        if buffer.len() > bytes_max { Err(self.too_large(buffer)) } else { Ok(None) }
    }

    fn too_large(&self, buffer: &[u8]) -> Violation {
        match self.lines {
            0 if memchr(b' ', buffer).is_none() => Violation::bad("malformed request line"),
            0 => Violation::with(414, "request target too long"),
            _ => Violation::with(431, "head too large"),
        }
    }
}

/// Skips empty lines before a request line (RFC 9112 2.2). `seen` counts them over all calls for one request.
/// Returns how many bytes to drop; a lone CR at the end stays.
pub fn skip_blank_lines(buffer: &[u8], seen: &mut u8, lines_max: u8) -> Result<usize, Violation> {
    let mut at = 0;
    while buffer[at..].starts_with(b"\r\n") {
        *seen += 1;
        if *seen > lines_max {
            return Err(Violation::bad("empty lines before the request"));
        }
        at += 2;
    }
    match buffer.get(at) {
        Some(b'\n') => Err(Violation::bad("line ends without CRLF")),
        _ => Ok(at),
    }
}
