//! The decision about one answer: is it worth encoding, and what its fields say then (Caddy: encode.go, responseWriter).

use super::encoders::{Coding, Encoder};
use super::negotiating::allows_encoding;
use crate::exchange::Exchange;
use crate::exchange::fields::Fields;
use crate::exchange::filtering::{BodyFilter, FilterChoice};
use crate::snapshot::Tables;
use std::sync::Arc;

/// What `encode` and the client agreed on.
pub struct EncodingChoice {
    pub tables: Arc<Tables>,
    pub row: u32,
    pub coding: Coding,
}

impl FilterChoice for EncodingChoice {
    fn choose(&self, exchange: &mut Exchange, status: u16) -> Option<Box<dyn BodyFilter>> {
        let row = &self.tables.encodings[self.row as usize];
        let length = exchange.answer_length;
        let fields = &mut exchange.scratch;
        if status == 304 {
            // RFC 9110 15.4.5: it has the Vary that a 200 would have had.
            add_vary(fields);
            return None;
        }
        let stream = is_event_stream(fields.get(b"content-type"));
        let long_enough = stream || length.known() > row.length_bytes_min;
        if status == 206
            || !long_enough
            || fields.get(b"content-encoding").is_some_and(|value| !value.is_empty())
            || !allows_encoding(fields.get(b"cache-control"))
            || !row.matcher.fits(status, fields)
        {
            return None;
        }
        let settings = row.encoders.iter().find(|encoder| encoder.coding == self.coding)?;
        let encoder = Encoder::take(*settings, stream || length.is_open())?;
        mark(fields, self.coding);
        Some(Box::new(encoder))
    }

    fn needs_length(&self) -> bool {
        true
    }
}

fn mark(fields: &mut Fields, coding: Coding) {
    fields.set(b"Content-Encoding", coding.name());
    add_vary(fields);
    // Ranges of what is encoded on the fly are unknown.
    fields.remove(b"Accept-Ranges");
    let tag = fields.get(b"etag").filter(|tag| !tag.is_empty() && !tag.starts_with(b"W/"));
    if let Some(tag) = tag {
        // A strong tag names one representation (RFC 9110 8.8.3.3).
        let bare = tag.strip_suffix(b"\"").unwrap_or(tag);
        let tag = [bare, b"-", coding.name(), b"\""].concat();
        fields.set(b"Etag", &tag);
    }
}

fn add_vary(fields: &mut Fields) {
    let told = fields
        .all(b"vary")
        .flat_map(|value| value.split(|&byte| byte == b','))
        .any(|name| name.trim_ascii().eq_ignore_ascii_case(b"accept-encoding"));
    if !told {
        fields.add(b"Vary", b"Accept-Encoding");
    }
}

/// `text/event-stream`, with parameters or without.
pub fn is_event_stream(content_type: Option<&[u8]>) -> bool {
    const MEDIA_TYPE: &[u8] = b"text/event-stream";
    let Some((kind, rest)) = content_type.and_then(|value| value.split_at_checked(MEDIA_TYPE.len())) else {
        return false;
    };
    kind.eq_ignore_ascii_case(MEDIA_TYPE) && matches!(rest.trim_ascii_start(), [] | [b';', ..])
}
