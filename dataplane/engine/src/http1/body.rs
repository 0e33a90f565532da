//! Body framing of one message: how many of the next bytes are body, and when it ends.

use super::Violation;
use super::chunked::{ChunkDecoder, Piece};

/// Decoder of one message's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyDecoder {
    /// No body, or all of it was read.
    Empty,
    /// Bytes that are still to come.
    Length(u64),
    Chunked(ChunkDecoder),
    /// Responses only: the body ends when the backend closes (RFC 9112 6.3 item 8).
    UntilClose,
}

impl BodyDecoder {
    /// True where all of the body was read. A body until close is never complete before the close.
    pub fn is_done(&self) -> bool {
        match self {
            BodyDecoder::Empty | BodyDecoder::Length(0) => true,
            BodyDecoder::Chunked(chunks) => chunks.is_done(),
            BodyDecoder::Length(_) | BodyDecoder::UntilClose => false,
        }
    }

    /// Takes the next body bytes off `input`; call again with the rest until it is empty or the body done.
    pub fn next(&mut self, input: &[u8]) -> Result<Piece, Violation> {
        match self {
            BodyDecoder::Empty => Ok(Piece { done: true, ..Piece::default() }),
            BodyDecoder::Length(left) => {
                let data = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= data as u64;
                Ok(Piece { consumed: data, data, done: *left == 0, ..Piece::default() })
            }
            BodyDecoder::Chunked(chunks) => chunks.next(input),
            BodyDecoder::UntilClose => {
                Ok(Piece { consumed: input.len(), data: input.len(), ..Piece::default() })
            }
        }
    }
}
