//! Trailers of answers, from HTTP/1.1's last chunk and from HTTP/2, to clients of either.
//!
//! Rule: nothing goes down that could be taken for a field of a head with a meaning of its own (`may_trail`); trailers of
//! requests do not go up (reliability.md 2.1), and neither do Caddy's.

use super::Serving;
use crate::exchange::HTTP_2;
use crate::http2::fields::may_trail;
use crate::http2::hpack::encoder;

impl Serving {
    /// Takes trailers of the upstream's answer, as the client's protocol writes them.
    pub fn take_trailers<'a>(&mut self, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
        self.trailers.clear();
        for (name, value) in fields.filter(|(name, _)| may_trail(name)) {
            match self.http_minor {
                HTTP_2 => encoder::field(name, value, &mut self.trailers),
                _ => {
                    for part in [name, b": ", value, b"\r\n"] {
                        self.trailers.extend_from_slice(part);
                    }
                }
            }
        }
    }

    /// The body's last chunk came: its trailer section, as it was checked.
    pub fn take_trailer_lines(&mut self) {
        let lines = std::mem::take(&mut self.trailer_lines);
        if !lines.is_empty() {
            self.take_trailers(read_lines(&lines));
        }
    }
}

fn read_lines(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = memchr::memchr(b':', line)?;
        Some((&line[..at], line[at + 1..].trim_ascii()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &[u8] =
        b"X-Check: 1\r\nContent-Length: 5\r\nX-Forwarded-For: a\r\nIf-Match: b\r\ngrpc-status:0\r\n";

    #[test]
    fn trailers_that_mean_something_in_a_head_stay_here() {
        let mut serving = Serving { trailer_lines: LINES.to_vec(), ..Serving::default() };
        serving.take_trailer_lines();
        assert_eq!(serving.trailers, b"X-Check: 1\r\ngrpc-status: 0\r\n");
        assert!(serving.trailer_lines.is_empty());
    }

    #[test]
    fn clients_of_http2_get_a_block() {
        let mut serving = Serving { trailer_lines: LINES.to_vec(), http_minor: HTTP_2, ..Serving::default() };
        serving.take_trailer_lines();
        let mut block = Vec::new();
        encoder::field(b"X-Check", b"1", &mut block);
        encoder::field(b"grpc-status", b"0", &mut block);
        assert_eq!(serving.trailers, block);
    }
}
