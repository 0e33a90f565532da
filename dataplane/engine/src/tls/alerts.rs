//! The alert of a failure (RFC 8446 6), where rustls has another or none.
//!
//! Under keys only rustls can say it: `suites` gives it errors for which it does. In the clear it is said here.

use super::{Records, append_encoded, suites};
use crate::limits::TLS_RECORD_BYTES_MAX;
use rustls::unbuffered::ConnectionState;
use rustls::{Error, InvalidMessage, PeerIncompatible, ProtocolVersion};

const UNEXPECTED_MESSAGE: u8 = 10;
pub const RECORD_OVERFLOW: u8 = 22;
const HANDSHAKE_FAILURE: u8 = 40;
const DECODE_ERROR: u8 = 50;
pub const PROTOCOL_VERSION: u8 = 70;
/// Of who has no certificate for a client, where rustls has access_denied (RFC 8446 6.2).
pub const INTERNAL_ERROR: u8 = 80;
const MISSING_EXTENSION: u8 = 109;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SSL3: u16 = 0x0300;
/// A heartbeat (RFC 6520), which nobody was offered.
const FOREIGN_RECORD: [u8; 6] = [24, 3, 3, 0, 1, 0];
/// Whole messages of a flight that may come before what is refused.
const REFUSALS_MAX: usize = 8;

/// The alert of a record of a handshake in the clear that rustls would take: one that says to be longer than it may be
/// (RFC 8446 5.1), or has a ClientHello of SSL 3 or before (RFC 8446 D.5).
pub fn judge_record(record: &[u8]) -> Option<u8> {
    let [HANDSHAKE, 3, _, high, low, rest @ ..] = record else { return None };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > TLS_RECORD_BYTES_MAX {
        return Some(RECORD_OVERFLOW);
    }
    match &rest[..length.min(rest.len())] {
        [CLIENT_HELLO, _, _, _, major, minor, ..] if u16::from_be_bytes([*major, *minor]) <= SSL3 => {
            Some(PROTOCOL_VERSION)
        }
        _ => None,
    }
}

/// The alert that is due where nothing is encrypted; `said`: that of rustls.
fn choose(error: &Error, said: Option<u8>) -> Option<u8> {
    match (error, said) {
        // Who gave up is told nothing.
        (Error::AlertReceived(_), said) => said,
        (Error::InvalidMessage(InvalidMessage::InvalidContentType), _) => Some(UNEXPECTED_MESSAGE),
        // RFC 8446 5.
        (Error::InvalidMessage(InvalidMessage::TrailingData("ChangeCipherSpecPayload")), _) => {
            Some(UNEXPECTED_MESSAGE)
        }
        // RFC 8446 9.2.
        (Error::PeerIncompatible(PeerIncompatible::KeyShareExtensionRequired), _) => Some(MISSING_EXTENSION),
        (_, Some(said)) => Some(said),
        (Error::InvalidMessage(_), None) => Some(DECODE_ERROR),
        // RFC 8446 6.2.
        (Error::PeerIncompatible(_), None) => Some(HANDSHAKE_FAILURE),
        (_, None) => Some(UNEXPECTED_MESSAGE),
    }
}

/// A fatal one as a record.
pub const fn write(description: u8) -> [u8; 7] {
    [ALERT, 3, 3, 0, 2, 2, description]
}

/// Appends the alert of a connection that failed; `received`: what rustls has not used. Best effort: it ends either way.
pub fn append<R: Records>(connection: &mut R, error: &Error, received: &mut Vec<u8>, out: &mut Vec<u8>) {
    let begun = out.len();
    let mut last = append_queued(connection, out);
    let common = connection.common();
    let has_keys = !common.is_handshaking() || common.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    if out.len() == begun && has_keys && !matches!(error, Error::AlertReceived(_)) {
        refuse(connection, received);
        last = append_queued(connection, out);
    }
    match out[last..] {
        [] if !has_keys => out.extend(choose(error, None).map(write).into_iter().flatten()),
        [ALERT, 3, _, 0, 2, _, ref mut said] => *said = choose(error, Some(*said)).unwrap_or(*said),
        _ => {}
    }
}

/// What rustls has queued, the alert of a failure last. Returns where the last record begins.
fn append_queued<R: Records>(connection: &mut R, out: &mut Vec<u8>) -> usize {
    let mut last = out.len();
    // Whatever is queued comes before anything is read: without it rustls would go on in a buffer that is gone.
    while connection.common().wants_write() {
        let Ok(ConnectionState::EncodeTlsData(encoder)) = connection.process(&mut []).state else { break };
        last = out.len();
        if append_encoded(encoder, out).is_err() {
            break;
        }
    }
    last
}

/// Makes rustls say unexpected_message under the keys in force, where it ended a session without a word.
fn refuse<R: Records>(connection: &mut R, received: &mut Vec<u8>) {
    received.extend_from_slice(&FOREIGN_RECORD);
    suites::refuse_records(|| {
        for _ in 0..REFUSALS_MAX {
            let discard = connection.process(received).discard;
            received.drain(..discard);
            if connection.common().wants_write() {
                return;
            }
        }
    });
}
