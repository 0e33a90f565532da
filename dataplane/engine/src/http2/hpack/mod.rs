//! HPACK (RFC 7541): header blocks in, fields out, and back. Rule: limits are enforced while decoding, so that a small
//! block cannot become a large list (reliability.md 2.4); what is over them is still decoded for the table's sake, which
//! both sides must keep equal, but not stored.

pub mod decoder;
pub mod encoder;
pub mod huffman;
pub mod tables;

/// What a field costs beside its bytes, in the table (RFC 7541 4.1) and in the list's size (RFC 9113 6.5.2).
pub const FIELD_OVERHEAD: usize = 32;

#[cfg(test)]
mod tests;
