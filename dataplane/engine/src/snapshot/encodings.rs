//! Rows of Tables.encodings and Tables.templates.

use super::answers::ResponseMatch;
use crate::encoding::{Coding, EncoderSettings, EncodingRow};
use crate::exchange::texts::Text;
use crate::protocol;
use crate::templating::TemplateRow;

pub(super) fn compile_encoding(row: &protocol::Encoding) -> EncodingRow {
    EncodingRow {
        encoders: row.encoders.iter().map(compile_encoder).collect(),
        length_bytes_min: row.length_bytes_min,
        matcher: row.matcher.as_ref().map_or_else(ResponseMatch::default, ResponseMatch::compile),
    }
}

pub(super) fn compile_templates(row: &protocol::Templates) -> TemplateRow {
    TemplateRow {
        root: Text::compile(row.root.as_ref()),
        mime_types: row.mime_types.iter().map(|part| part.as_bytes().into()).collect(),
        delimiters: (row.open.as_str().into(), row.close.as_str().into()),
    }
}

fn compile_encoder(encoder: &protocol::Encoder) -> EncoderSettings {
    let coding = match encoder.coding() {
        protocol::ContentCoding::Gzip => Coding::Gzip,
        protocol::ContentCoding::Zstd => Coding::Zstd,
        protocol::ContentCoding::Brotli => Coding::Brotli,
    };
    EncoderSettings { coding, level: encoder.level, checksum: encoder.checksum }
}
