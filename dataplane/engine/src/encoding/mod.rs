//! Encodings of answers (Caddy: encode): which one a client takes, which answers are worth it, and the streams.
//!
//! In: rows of Tables.encodings, a request's fields, an answer's head and body. Out: changed fields and encoded bytes.
//! `program::helpers::encoding` negotiates when the route meets `encode`; `connection::responding` asks the choice once
//! the answer's head is known, and passes the body through the encoder. Rule: an encoder that failed ends the answer in
//! the middle; what it gave is never made to look complete.

mod choosing;
mod encoders;
mod negotiating;

pub use choosing::{EncodingChoice, is_event_stream};
pub use encoders::{Coding, Encoder, EncoderSettings};
pub use negotiating::{allows_encoding, negotiate, strip_entity_tag};

use crate::snapshot::ResponseMatch;

/// A row of Tables.encodings.
pub struct EncodingRow {
    /// In the server's order of preference.
    pub encoders: Box<[EncoderSettings]>,
    /// Answers must be longer than this many bytes.
    pub length_bytes_min: u64,
    pub matcher: ResponseMatch,
}
