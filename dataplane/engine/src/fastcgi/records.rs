//! Records: 8 bytes of header, content, padding (FastCGI 1.0, 3.3). The decoder takes bytes in any pieces.

use crate::http1::Violation;

const VERSION: u8 = 1;
const REQUEST: u16 = 1;
const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;
const RESPONDER: u8 = 1;
/// Content of one record that we write: below 65535, and a multiple of 8, so that none needs padding.
const CONTENT_BYTES_MAX: usize = 65_528;

fn write_record(kind: u8, content: &[u8], out: &mut Vec<u8>) {
    let padding = content.len().wrapping_neg() & 7;
    let length = (content.len() as u16).to_be_bytes();
    let request = REQUEST.to_be_bytes();
    out.extend_from_slice(&[VERSION, kind, request[0], request[1], length[0], length[1], padding as u8, 0]);
    out.extend_from_slice(content);
    out.extend_from_slice(&[0; 8][..padding]);
}

fn write_stream(kind: u8, content: &[u8], out: &mut Vec<u8>) {
    content.chunks(CONTENT_BYTES_MAX).for_each(|piece| write_record(kind, piece, out));
}

/// Begins a request whose connection ends after its answer.
pub fn write_begin(out: &mut Vec<u8>) {
    write_record(BEGIN_REQUEST, &[0, RESPONDER, 0, 0, 0, 0, 0, 0], out);
}

/// All variables: `pairs` is what `push_pair` made.
pub fn write_params(pairs: &[u8], out: &mut Vec<u8>) {
    write_stream(PARAMS, pairs, out);
    write_record(PARAMS, &[], out);
}

/// Bytes of the request's body.
pub fn write_stdin(data: &[u8], out: &mut Vec<u8>) {
    write_stream(STDIN, data, out);
}

/// The body is complete.
pub fn write_stdin_end(out: &mut Vec<u8>) {
    write_record(STDIN, &[], out);
}

/// One variable (FastCGI 1.0, 3.4): lengths of one byte, or of four with the highest bit set.
pub fn push_pair(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for length in [name.len(), value.len()] {
        match u8::try_from(length) {
            Ok(short) if short < 128 => out.push(short),
            _ => out.extend_from_slice(&(length as u32 | 1 << 31).to_be_bytes()),
        }
    }
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}

/// Whose bytes a piece has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
    /// Headers, padding, records that say nothing to us.
    Nothing,
}

/// One step: `consumed` bytes are used up; the last `data` of them belong to `stream`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub consumed: usize,
    pub data: usize,
    pub stream: Stream,
}

/// Decoder of one response's records.
#[derive(Clone, Debug, Default)]
pub struct RecordDecoder {
    header: [u8; 8],
    header_bytes: usize,
    content: usize,
    padding: usize,
    ended: bool,
}

impl RecordDecoder {
    /// The request's last record was read.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Takes the next step; call again with the rest until the input is used up or the response ended.
    pub fn next(&mut self, input: &[u8]) -> Result<Piece, Violation> {
        let mut at = 0;
        while self.header_bytes < self.header.len() {
            let Some(&byte) = input.get(at) else {
                return Ok(Piece { consumed: at, data: 0, stream: Stream::Nothing });
            };
            self.header[self.header_bytes] = byte;
            self.header_bytes += 1;
            at += 1;
            if self.header_bytes == self.header.len() {
                self.begin_record()?;
            }
        }
        let data = self.content.min(input.len() - at);
        self.content -= data;
        at += data;
        if data > 0 {
            let stream = match self.header[1] {
                STDOUT => Stream::Stdout,
                STDERR => Stream::Stderr,
                _ => Stream::Nothing,
            };
            self.finish_record();
            return Ok(Piece { consumed: at, data, stream });
        }
        let skipped = self.padding.min(input.len() - at);
        self.padding -= skipped;
        self.finish_record();
        Ok(Piece { consumed: at + skipped, data: 0, stream: Stream::Nothing })
    }

    fn begin_record(&mut self) -> Result<(), Violation> {
        let [version, kind, id_high, id_low, high, low, padding, _] = self.header;
        if version != VERSION {
            return Err(Violation::bad("not a FastCGI record"));
        }
        let is_ours = u16::from_be_bytes([id_high, id_low]) == REQUEST;
        if matches!(kind, STDOUT | STDERR | END_REQUEST) && !is_ours {
            return Err(Violation::bad("FastCGI record of another request"));
        }
        self.content = usize::from(u16::from_be_bytes([high, low]));
        self.padding = usize::from(padding);
        self.finish_record();
        Ok(())
    }

    fn finish_record(&mut self) {
        if self.content == 0 && self.padding == 0 {
            self.header_bytes = 0;
            self.ended |= self.header[1] == END_REQUEST;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(bytes: &[u8], size: usize) -> Result<(Vec<u8>, Vec<u8>, bool), Violation> {
        let mut decoder = RecordDecoder::default();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        for part in bytes.chunks(size) {
            let mut at = 0;
            while at < part.len() && !decoder.is_ended() {
                let piece = decoder.next(&part[at..])?;
                at += piece.consumed;
                match piece.stream {
                    Stream::Stdout => out.extend_from_slice(&part[at - piece.data..at]),
                    Stream::Stderr => err.extend_from_slice(&part[at - piece.data..at]),
                    Stream::Nothing => {}
                }
            }
        }
        Ok((out, err, decoder.is_ended()))
    }

    fn response(pieces: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        pieces.iter().for_each(|(kind, content)| write_record(*kind, content, &mut bytes));
        bytes
    }

    #[test]
    fn streams_come_apart_whatever_the_pieces() {
        let bytes = response(&[
            (STDOUT, b"Status: 200".to_vec()),
            (STDERR, b"warning".to_vec()),
            (STDOUT, vec![]),
            (STDOUT, vec![b'x'; 20_000]),
            (STDERR, vec![]),
            (END_REQUEST, vec![0; 8]),
        ]);
        for size in [1, 3, 8, 11, bytes.len()] {
            let (out, err, ended) = decode(&bytes, size).unwrap();
            assert_eq!((out.len(), &err[..], ended), (20_011, &b"warning"[..], true), "{size}");
        }
        let cut = decode(&bytes[..bytes.len() - 1], 7).unwrap();
        assert!(!cut.2, "without its last byte the response is not over");
    }

    #[test]
    fn strangers_are_refused() {
        for bytes in [&[2u8, 6, 0, 1, 0, 0, 0, 0][..], b"HTTP/1.1 200", &[1, 6, 0, 2, 0, 0, 0, 0]] {
            assert!(decode(bytes, 100).is_err(), "{bytes:?}");
        }
        assert!(decode(&[1, 10, 0, 0, 0, 0, 0, 0], 8).is_ok(), "management records say nothing");
    }

    #[test]
    fn pairs_have_short_and_long_lengths() {
        let mut pairs = Vec::new();
        push_pair(b"A", &[b'v'; 127], &mut pairs);
        push_pair(b"B", &[b'v'; 128], &mut pairs);
        assert_eq!(pairs[..3], [1, 127, b'A']);
        assert_eq!(pairs[130..136], [1, 0x80, 0, 0, 128, b'B']);
    }

    #[test]
    fn long_streams_are_several_records() {
        let mut out = Vec::new();
        write_stdin(&[7; 70_000], &mut out);
        assert_eq!(out.len(), 70_000 + 2 * 8);
        assert_eq!(out[4..6], 65_528u16.to_be_bytes());
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>, size in 1usize..20) {
            let _ = decode(&bytes, size);
        }

        #[test]
        fn what_is_written_is_read(
            pieces in proptest::collection::vec((STDOUT..=STDERR, proptest::collection::vec(any::<u8>(), 0..300)), 0..9),
            size in 1usize..50,
        ) {
            let of = |kind: u8| -> Vec<u8> {
                pieces.iter().filter(|(of, _)| *of == kind).flat_map(|(_, content)| content.clone()).collect()
            };
            let (out, err, ended) = decode(&response(&pieces), size).unwrap();
            prop_assert_eq!((out, err, ended), (of(STDOUT), of(STDERR), false));
        }
    }
}
