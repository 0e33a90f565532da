//! SETTINGS (RFC 9113 6.5, RFC 8441 3): what the peer allows us, and what we say.

use super::frames::{self, Code};
use super::{Role, Violation};
use crate::limits::{
    HTTP2_STREAM_WINDOW_BYTES, HTTP2_STREAMS_MAX, HTTP2_UPSTREAM_WINDOW_BYTES, REQUEST_HEAD_BYTES_MAX,
};

const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;
const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// Window size until a setting says otherwise.
pub const WINDOW_BYTES_DEFAULT: u32 = 65_535;
pub const WINDOW_BYTES_MAX: i64 = 0x7fff_ffff;

/// What the peer said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    pub initial_window_bytes: u32,
    pub payload_bytes_max: usize,
    pub streams_max: u32,
    /// It takes extended CONNECT (RFC 8441).
    pub connect_protocol: bool,
}

impl Default for PeerSettings {
    fn default() -> Self {
        PeerSettings {
            initial_window_bytes: WINDOW_BYTES_DEFAULT,
            payload_bytes_max: frames::PAYLOAD_BYTES_MAX,
            streams_max: HTTP2_STREAMS_MAX,
            connect_protocol: false,
        }
    }
}

impl PeerSettings {
    /// Takes a payload. What we do not use is checked all the same.
    pub fn take(&mut self, payload: &[u8], from: Role) -> Result<(), Violation> {
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Violation::new(Code::FrameSize, "settings are not six bytes each"));
        }
        for [a, b, value @ ..] in settings {
            let value = u32::from_be_bytes(*value);
            match u16::from_be_bytes([*a, *b]) {
                // A server must not offer what only clients may (RFC 9113 6.5.2).
                ENABLE_PUSH if value > 1 || (value == 1 && from == Role::Server) => {
                    return Err(Violation::protocol("ENABLE_PUSH out of range"));
                }
                MAX_CONCURRENT_STREAMS => self.streams_max = value,
                INITIAL_WINDOW_SIZE if i64::from(value) > WINDOW_BYTES_MAX => {
                    return Err(Violation::new(Code::FlowControl, "INITIAL_WINDOW_SIZE out of range"));
                }
                INITIAL_WINDOW_SIZE => self.initial_window_bytes = value,
                MAX_FRAME_SIZE if !(16_384..=16_777_215).contains(&value) => {
                    return Err(Violation::protocol("MAX_FRAME_SIZE out of range"));
                }
                // Larger frames would only make others wait.
                MAX_FRAME_SIZE => {
                    self.payload_bytes_max = (value as usize).min(frames::PAYLOAD_BYTES_MAX);
                }
                ENABLE_CONNECT_PROTOCOL if value > 1 => {
                    return Err(Violation::protocol("ENABLE_CONNECT_PROTOCOL out of range"));
                }
                ENABLE_CONNECT_PROTOCOL => self.connect_protocol = value == 1,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Body bytes that a new stream may bring before we used any up.
pub fn initial_window_bytes(role: Role) -> u32 {
    match role {
        Role::Server => HTTP2_STREAM_WINDOW_BYTES,
        Role::Client => HTTP2_UPSTREAM_WINDOW_BYTES,
    }
}

/// Appends our first SETTINGS and the connection's window.
pub fn push_ours(role: Role, out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(36);
    let mut setting = |name: u16, value: u32| {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    };
    match role {
        Role::Server => {
            setting(MAX_CONCURRENT_STREAMS, HTTP2_STREAMS_MAX);
            setting(ENABLE_CONNECT_PROTOCOL, 1);
        }
        Role::Client => setting(ENABLE_PUSH, 0),
    }
    setting(INITIAL_WINDOW_SIZE, initial_window_bytes(role));
    setting(MAX_HEADER_LIST_SIZE, REQUEST_HEAD_BYTES_MAX as u32);
    frames::push(frames::SETTINGS, 0, 0, &payload, out);
}
