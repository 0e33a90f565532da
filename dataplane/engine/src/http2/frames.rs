//! Frames (RFC 9113 4, 6): heads parsed, whole frames written.

use super::Violation;

pub const HEAD_BYTES: usize = 9;
/// Payload that both sides take until a setting says more; we never say more.
pub const PAYLOAD_BYTES_MAX: usize = 16_384;
/// What a client sends first (RFC 9113 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// ACK of SETTINGS and PING has the same bit.
pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const WITH_PRIORITY: u8 = 0x20;

/// Error codes (RFC 9113 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    None = 0,
    Protocol = 1,
    Internal = 2,
    FlowControl = 3,
    SettingsTimeout = 4,
    StreamClosed = 5,
    FrameSize = 6,
    RefusedStream = 7,
    Cancel = 8,
    Compression = 9,
    Connect = 10,
    EnhanceYourCalm = 11,
}

/// The nine bytes before every payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    pub length: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl FrameHead {
    /// None: fewer than nine bytes.
    pub fn parse(bytes: &[u8]) -> Option<FrameHead> {
        let head: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
        let [a, b, c, kind, flags, stream @ ..] = *head;
        Some(FrameHead {
            length: usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c),
            kind,
            flags,
            // The reserved bit is ignored (RFC 9113 4.1).
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        })
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Cuts padding off a payload of DATA or HEADERS (RFC 9113 6.1).
pub fn unpad<'a>(head: &FrameHead, payload: &'a [u8]) -> Result<&'a [u8], Violation> {
    if !head.has(PADDED) {
        return Ok(payload);
    }
    let (length, rest) =
        payload.split_first().ok_or(Violation::new(Code::FrameSize, "padded frame without a length"))?;
    let end = rest.len().checked_sub(usize::from(*length));
    end.map(|end| &rest[..end]).ok_or(Violation::protocol("more padding than payload"))
}

/// Appends a frame's head.
pub fn push_head(length: usize, kind: u8, flags: u8, stream: u32, out: &mut Vec<u8>) {
    let size = (length as u32).to_be_bytes();
    let id = stream.to_be_bytes();
    out.extend_from_slice(&[size[1], size[2], size[3], kind, flags, id[0], id[1], id[2], id[3]]);
}

/// Appends a whole frame.
pub fn push(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(HEAD_BYTES + payload.len());
    push_head(payload.len(), kind, flags, stream, out);
    out.extend_from_slice(payload);
}

/// Appends a header block as HEADERS and as many CONTINUATION as it needs.
pub fn push_block(block: &[u8], end_stream: bool, stream: u32, payload_max: usize, out: &mut Vec<u8>) {
    let mut pieces = block.chunks(payload_max.max(1)).peekable();
    let first = pieces.next().unwrap_or_default();
    let last = |pieces: &mut std::iter::Peekable<std::slice::Chunks<'_, u8>>| match pieces.peek() {
        None => END_HEADERS,
        Some(_) => 0,
    };
    let flags = (u8::from(end_stream) * END_STREAM) | last(&mut pieces);
    push(HEADERS, flags, stream, first, out);
    while let Some(piece) = pieces.next() {
        let flags = last(&mut pieces);
        push(CONTINUATION, flags, stream, piece, out);
    }
}

pub fn push_reset(stream: u32, code: Code, out: &mut Vec<u8>) {
    push(RST_STREAM, 0, stream, &(code as u32).to_be_bytes(), out);
}

pub fn push_window_update(stream: u32, increment: u32, out: &mut Vec<u8>) {
    push(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes(), out);
}

pub fn push_goaway(last_stream: u32, code: Code, out: &mut Vec<u8>) {
    let payload = (u64::from(last_stream) << 32 | u64::from(code as u32)).to_be_bytes();
    push(GOAWAY, 0, 0, &payload, out);
}

/// A four-byte number of a payload that has exactly that.
pub fn number(payload: &[u8]) -> Result<u32, Violation> {
    let bytes: [u8; 4] =
        payload.try_into().map_err(|_| Violation::new(Code::FrameSize, "payload is not four bytes"))?;
    Ok(u32::from_be_bytes(bytes))
}
