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

use crate::exchange::fields::Fields;
use crate::program::matches_value;
use crate::snapshot::Alternatives;

/// A row of Tables.encodings.
pub struct EncodingRow {
    /// In the server's order of preference.
    pub encoders: Box<[EncoderSettings]>,
    /// Answers must be longer than this many bytes.
    pub length_bytes_min: u64,
    pub matcher: ResponseMatch,
}

/// Caddy's response matcher: any of the statuses (one digit: a class), all of the fields.
#[derive(Default)]
pub struct ResponseMatch {
    pub statuses: Box<[u16]>,
    pub fields: Box<[FieldMatch]>,
}

impl ResponseMatch {
    pub fn fits(&self, status: u16, fields: &Fields) -> bool {
        let class = |wanted: u16| wanted < 100 && status / 100 == wanted;
        let status_fits =
            self.statuses.is_empty() || self.statuses.iter().any(|&wanted| wanted == status || class(wanted));
        status_fits && self.fields.iter().all(|field| field.fits(fields))
    }
}

/// What one field of an answer must be; values are literal, with `*` at either end.
pub struct FieldMatch {
    pub field: Box<[u8]>,
    pub values: Alternatives,
    pub absent: bool,
}

impl FieldMatch {
    fn fits(&self, fields: &Fields) -> bool {
        let mut values = fields.all(&self.field).peekable();
        match (self.absent, values.peek()) {
            (true, found) => found.is_none(),
            (false, None) => false,
            (false, Some(_)) if self.values.is_empty() => true,
            (false, Some(_)) => {
                values.any(|value| self.values.iter().any(|wanted| matches_value(wanted, value)))
            }
        }
    }
}
