//! A CGI response (RFC 3875, 6) as an HTTP/1.1 answer: its head is rewritten, its body goes on as it is.

use super::records::{RecordDecoder, Stream};
use crate::exchange::statuses::reason;
use crate::http1::Violation;
use crate::limits::{FASTCGI_STDERR_BYTES_MAX, RESPONSE_HEAD_BYTES_MAX};
use memchr::memchr;
use std::io::Write;

/// One response on its way.
#[derive(Default)]
pub struct Response {
    records: RecordDecoder,
    /// The head so far; None once it is through.
    head: Head,
    /// What the script wrote to its standard error, bounded.
    pub stderr: Vec<u8>,
}

#[derive(Default)]
enum Head {
    #[default]
    Empty,
    Partial(Vec<u8>),
    Through,
}

impl Response {
    /// True once END_REQUEST was read.
    pub fn is_ended(&self) -> bool {
        self.records.is_ended()
    }

    /// Takes bytes from the upstream; appends an HTTP/1.1 answer without its end.
    pub fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Violation> {
        let mut at = 0;
        while at < input.len() && !self.records.is_ended() {
            let piece = self.records.next(&input[at..])?;
            at += piece.consumed;
            let data = &input[at - piece.data..at];
            match piece.stream {
                Stream::Stdout => self.take_output(data, out)?,
                Stream::Stderr => {
                    let room = FASTCGI_STDERR_BYTES_MAX.saturating_sub(self.stderr.len());
                    self.stderr.extend_from_slice(&data[..data.len().min(room)]);
                }
                Stream::Nothing => {}
            }
        }
        Ok(())
    }

    fn take_output(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Violation> {
        let mut head = match std::mem::replace(&mut self.head, Head::Through) {
            Head::Through => {
                out.extend_from_slice(data);
                return Ok(());
            }
            Head::Partial(head) => head,
            Head::Empty => Vec::new(),
        };
        let from = head.len().saturating_sub(2);
        head.extend_from_slice(data);
        match find_end(&head, from) {
            Some((end, body)) => {
                translate(&head[..end], out)?;
                out.extend_from_slice(&head[body..]);
            }
            None if head.len() > RESPONSE_HEAD_BYTES_MAX => {
                return Err(Violation::bad("CGI head too large"));
            }
            None => self.head = Head::Partial(head),
        }
        Ok(())
    }
}

/// Where the lines of a head end and its body begins: an empty line, ended by LF or CRLF.
fn find_end(head: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    if head.starts_with(b"\n") || head.starts_with(b"\r\n") {
        let skipped = if head[0] == b'\n' { 1 } else { 2 };
        return Some((0, skipped));
    }
    while let Some(found) = memchr(b'\n', &head[at..]) {
        let end = at + found + 1;
        match &head[end..] {
            [b'\n', ..] => return Some((end, end + 1)),
            [b'\r', b'\n', ..] => return Some((end, end + 2)),
            _ => at = end,
        }
    }
    None
}

/// Lines of a CGI head as the head of an answer; the strict parser of answers judges the fields.
fn translate(head: &[u8], out: &mut Vec<u8>) -> Result<(), Violation> {
    let lines = || {
        head.split(|&byte| byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .filter(|line| !line.is_empty())
    };
    let mut status = 200;
    for line in lines() {
        let colon = memchr(b':', line).ok_or(Violation::bad("CGI head line without colon"))?;
        if line[..colon].eq_ignore_ascii_case(b"status") {
            status = read_status(line[colon + 1..].trim_ascii())?;
            break;
        }
    }
    // Writing to a Vec cannot fail.
    let _ = write!(out, "HTTP/1.1 {status} {}\r\nConnection: close\r\n", reason(status));
    for line in lines() {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        if !name.eq_ignore_ascii_case(b"connection") {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// `404 Not Found`. A script has no interim answers.
fn read_status(value: &[u8]) -> Result<u16, Violation> {
    let digits = value.split(|&byte| byte == b' ').next().unwrap_or_default();
    let status = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u16>().ok());
    status.filter(|status| (200..=999).contains(status)).ok_or(Violation::bad("CGI status is no status"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(output: &[u8], size: usize) -> Result<String, Violation> {
        let mut response = Response::default();
        let mut out = Vec::new();
        for piece in output.chunks(size.max(1)) {
            response.take_output(piece, &mut out)?;
        }
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn heads_become_answers_in_any_pieces() {
        for (output, expected) in [
            (
                "Content-type: text/html\r\n\r\nbody\r\n\r\nmore",
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-type: text/html\r\n\r\nbody\r\n\r\nmore",
            ),
            (
                "X: 1\nStatus: 404 Gone Away\nConnection: upgrade\n\nbody",
                "HTTP/1.1 404 Not Found\r\nConnection: close\r\nX: 1\r\nStatus: 404 Gone Away\r\n\r\nbody",
            ),
            ("\r\nbody", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody"),
            ("Status: 204\r\n\r\n", "HTTP/1.1 204 No Content\r\nConnection: close\r\nStatus: 204\r\n\r\n"),
            ("Status: 200\r\n", ""),
        ] {
            for size in [1, 2, 5, 1000] {
                let whole = if output.starts_with("\r\n") { 1000 } else { size };
                assert_eq!(answer(output.as_bytes(), whole).unwrap(), expected, "{output:?} {size}");
            }
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for output in
            ["no colon\r\n\r\n", "Status: x\r\n\r\n", "Status: 100\r\n\r\n", "Status: 70000\r\n\r\n"]
        {
            assert!(answer(output.as_bytes(), 1000).is_err(), "{output:?}");
        }
        assert!(answer(&vec![b'a'; RESPONSE_HEAD_BYTES_MAX + 2], 4096).is_err());
    }

    proptest! {
        #[test]
        fn any_output_gives_the_same_in_any_pieces(output: Vec<u8>, size in 1usize..9) {
            let whole = answer(&output, 4096);
            let pieces = answer(&output, size);
            // A first line end may be split only where more follows; both ways agree once a head is there.
            if let (Ok(whole), Ok(pieces)) = (whole, pieces)
                && !whole.is_empty() && !pieces.is_empty() {
                prop_assert_eq!(whole, pieces);
            }
        }
    }
}
