//! One HTTP/2 connection of either role. `receive` takes bytes and yields events one by one; `sending` writes answers and
//! requests. What goes out is in `out`; the owner takes it once a turn.

use super::budget::Budget;
use super::frames::{self, Code};
use super::hpack::decoder::{Decoder, FieldList};
use super::settings::{self, PeerSettings, WINDOW_BYTES_DEFAULT};
use super::streams::{Gone, Streams};
use crate::limits::{HTTP2_CONNECTION_WINDOW_BYTES, HTTP2_STREAM_WINDOW_BYTES, HTTP2_UPSTREAM_STREAMS_MAX};
use std::ops::Range;

/// Which side we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Server,
    Client,
}

/// What the owner must act on. Ranges are of the input that `receive` was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A head: a new request (server; give the stream its owner by `accept` or refuse it), or an answer's, interim
    /// ones too (client). Its fields are in `fields`.
    Head { id: u32, end: bool },
    /// Body bytes. The owner says later by `credit` how many it used up.
    Data { id: u32, owner: u32, bytes: Range<usize>, end: bool },
    /// The body's end came with trailers, which are in `fields`.
    Trailers { id: u32, owner: u32 },
    /// The stream ended badly, by the peer or by a stream error: its owner goes too.
    Reset { owner: u32, code: u32, by_peer: bool },
    /// The peer answers no stream above `last` and wants no new one.
    GoingAway { last: u32, code: u32 },
    /// The peer's first SETTINGS came.
    Ready,
}

/// A header block under way, until its END_HEADERS.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub id: u32,
    pub end_stream: bool,
    pub bytes: Vec<u8>,
    pub open: bool,
    /// HEADERS said that the stream depends on itself.
    pub self_dependent: bool,
}

/// A connection's state.
#[derive(Debug)]
pub struct Multiplex {
    pub role: Role,
    pub streams: Streams,
    pub peer: PeerSettings,
    /// Fields of the last `Head` or `Trailers`.
    pub fields: FieldList,
    /// Frames to send.
    pub out: Vec<u8>,
    pub budget: Budget,
    pub(super) decoder: Decoder,
    pub(super) block: Block,
    /// The client's preface is still to come.
    pub(super) preface: bool,
    pub(super) ready: bool,
    pub(super) send_window: i64,
    pub(super) receive_window: i64,
    pub(super) uncredited: u32,
    /// The highest stream that our GOAWAY promised; above it requests are ignored.
    pub goaway: Option<u32>,
    /// The highest stream that came after it: known, and ignored with all its frames (RFC 9113 6.8).
    pub(super) ignored: u32,
    /// The number of the next stream that we open (client).
    pub(super) next_id: u32,
    /// Owners of streams whose queue fell below the mark or ended, for the owner's turn.
    pub drained: Vec<u32>,
    /// Our PING was not answered yet.
    pub ping_pending: bool,
}

impl Multiplex {
    /// Our side begins: `out` holds the preface (client) and SETTINGS.
    pub fn new(role: Role, now_ms: u64) -> Multiplex {
        let mut out = Vec::new();
        if role == Role::Client {
            out.extend_from_slice(frames::PREFACE);
        }
        settings::push_ours(role, &mut out);
        frames::push_window_update(0, HTTP2_CONNECTION_WINDOW_BYTES - WINDOW_BYTES_DEFAULT, &mut out);
        Multiplex {
            role,
            streams: Streams::default(),
            peer: PeerSettings::default(),
            fields: FieldList::default(),
            out,
            budget: Budget::new(now_ms),
            decoder: Decoder::default(),
            block: Block::default(),
            preface: role == Role::Server,
            ready: false,
            send_window: i64::from(WINDOW_BYTES_DEFAULT),
            receive_window: i64::from(HTTP2_CONNECTION_WINDOW_BYTES),
            uncredited: 0,
            goaway: None,
            ignored: 0,
            next_id: 1,
            drained: Vec::new(),
            ping_pending: false,
        }
    }

    /// The connection ends: GOAWAY with the last stream that was taken up.
    pub fn end(&mut self, code: Code) {
        let last = if self.role == Role::Server { self.streams.last } else { 0 };
        frames::push_goaway(last, code, &mut self.out);
        self.goaway = Some(last);
    }

    /// The first GOAWAY of a drain (RFC 9113 6.8): no new streams please, but those on their way are served.
    pub fn announce_end(&mut self) {
        frames::push_goaway(NO_STREAM_LIMIT, Code::None, &mut self.out);
        self.goaway = Some(NO_STREAM_LIMIT);
    }

    /// No stream is open or can be opened any more.
    pub fn is_over(&self) -> bool {
        self.goaway.is_some_and(|last| last != NO_STREAM_LIMIT) && self.streams.is_empty()
    }

    /// Resets a stream for a reason of ours; nothing where it is gone.
    pub fn reset(&mut self, id: u32, code: Code) {
        if code == Code::None {
            // Our side ended well: the stream waits, for a while, for the peer to end its own.
            if let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.local_done) {
                stream.owner = NOBODY;
                return;
            }
        }
        if self.streams.remove(id, Gone::ResetByUs).is_some() {
            frames::push_reset(id, code, &mut self.out);
        }
    }

    /// Streams whose answer is complete while their request is not have waited long enough. True: there were some.
    pub fn reset_unwanted(&mut self) -> bool {
        let unwanted = |stream: &super::streams::Stream| stream.reset_after && stream.local_done;
        let ids: Vec<u32> =
            self.streams.iter().filter(|(_, stream)| unwanted(stream)).map(|(id, _)| *id).collect();
        for id in &ids {
            self.streams.remove(*id, Gone::ResetByUs);
            frames::push_reset(*id, Code::None, &mut self.out);
        }
        !ids.is_empty()
    }

    /// Body bytes were used up: the peer may send as many again. Servers' answers are credited to the connection as they
    /// come: they wait for one client each, bounded by its stream's window, and must not hold the others back.
    pub fn credit(&mut self, id: u32, bytes: usize) {
        if self.role == Role::Server {
            self.credit_connection(bytes);
        }
        self.credit_stream(id, bytes);
    }

    pub(super) fn credit_stream(&mut self, id: u32, bytes: usize) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.remote_done {
            return;
        }
        stream.uncredited += bytes as u32;
        if stream.uncredited >= stream.window_bytes / 2 {
            let mut increment = std::mem::take(&mut stream.uncredited);
            // Not the first time: whoever waits for them stalls at once, or takes more.
            if std::mem::replace(&mut stream.credited, true) {
                let grown = stream.window_bytes.saturating_mul(2).min(HTTP2_STREAM_WINDOW_BYTES);
                increment += grown - stream.window_bytes;
                stream.window_bytes = grown;
            }
            stream.receive_window += i64::from(increment);
            frames::push_window_update(id, increment, &mut self.out);
        }
    }

    /// Bytes of a stream that is gone will not be used up any more.
    pub fn credit_held(&mut self, bytes: usize) {
        if self.role == Role::Server {
            self.credit_connection(bytes);
        }
    }

    /// Gives back the memory of requests that are over; the decoder's table and what closed last are the peer's to name.
    pub fn rest(&mut self) {
        self.streams.rest();
        self.decoder.rest();
        self.fields = FieldList::default();
        self.drained = Vec::new();
        if !self.block.open {
            self.block = Block::default();
        }
    }

    /// The owner of a stream of ours (client) is done with it: RST_STREAM where a side is still open.
    pub fn leave(&mut self, id: u32, code: Code) {
        let Some(stream) = self.streams.get(id) else { return };
        if stream.remote_done && stream.local_done {
            return self.finish(id);
        }
        self.streams.remove(id, Gone::ResetByUs);
        frames::push_reset(id, code, &mut self.out);
    }

    /// Asks the peer whether it is there; its answer clears `ping_pending`.
    pub fn ping(&mut self) {
        self.ping_pending = true;
        frames::push(frames::PING, 0, 0, &[0; 8], &mut self.out);
    }

    /// The peer's SETTINGS came: its limits are known.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Streams that may be open at once, by the peer's limit and ours (client).
    pub fn streams_max(&self) -> u32 {
        self.peer.streams_max.min(HTTP2_UPSTREAM_STREAMS_MAX)
    }

    /// A further stream of ours may be opened.
    pub fn has_room(&self) -> bool {
        self.streams.len() < self.streams_max() as usize
            && self.goaway.is_none()
            && self.next_id <= STREAM_ID_MAX
    }

    /// A preface or a header block is under way.
    pub fn is_incomplete(&self) -> bool {
        self.preface || !self.ready || self.block.open
    }

    pub(super) fn credit_connection(&mut self, bytes: usize) {
        self.uncredited += bytes as u32;
        if self.uncredited >= HTTP2_CONNECTION_WINDOW_BYTES / 2 {
            let increment = std::mem::take(&mut self.uncredited);
            self.receive_window += i64::from(increment);
            frames::push_window_update(0, increment, &mut self.out);
        }
    }

    /// Gives a new stream its owner.
    pub fn accept(&mut self, id: u32, owner: u32) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.owner = owner;
        }
    }

    /// Opens a stream of ours (client). None: the peer's limit is reached or it is going away.
    pub fn open(&mut self, owner: u32) -> Option<u32> {
        if !self.has_room() {
            return None;
        }
        let id = self.next_id;
        self.next_id += 2;
        let stream = self.new_stream(owner);
        self.streams.insert(id, stream);
        Some(id)
    }

    pub(super) fn new_stream(&self, owner: u32) -> super::streams::Stream {
        let receive_window = settings::initial_window_bytes(self.role);
        super::streams::Stream::new(owner, self.peer.initial_window_bytes, receive_window)
    }
}

/// What the first GOAWAY of a drain says: no limit yet.
pub const NO_STREAM_LIMIT: u32 = 0x7fff_ffff;
/// The owner of a stream that nobody took yet.
pub const NOBODY: u32 = u32::MAX;
/// Numbers of streams are used up a little before the protocol's end.
const STREAM_ID_MAX: u32 = 0x7fff_0000;
