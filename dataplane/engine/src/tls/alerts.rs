//! Alerts in the clear (RFC 8446 6), where rustls has another or none.

use crate::limits::TLS_RECORD_BYTES_MAX;
use rustls::Error;

const UNEXPECTED_MESSAGE: u8 = 10;
pub const RECORD_OVERFLOW: u8 = 22;
const DECODE_ERROR: u8 = 50;
/// Of who has no certificate for a client, where rustls has access_denied (RFC 8446 6.2).
pub const INTERNAL_ERROR: u8 = 80;

/// The alert of an error for which rustls queues none: a handshake message in part before something else, or beyond bounds.
pub fn describe(error: &Error) -> u8 {
    match error {
        Error::InvalidMessage(_) => DECODE_ERROR,
        _ => UNEXPECTED_MESSAGE,
    }
}

/// A record of a handshake in the clear that says to be longer than one may be (RFC 8446 5.1); rustls takes those too.
pub fn is_oversized(record: &[u8]) -> bool {
    const HANDSHAKE: u8 = 22;
    matches!(record, [HANDSHAKE, 3, _, high, low, ..] if usize::from(u16::from_be_bytes([*high, *low])) > TLS_RECORD_BYTES_MAX)
}

/// A fatal one as a record.
pub const fn write(description: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, description]
}
