//! Streams of one connection: states (RFC 9113 5.1), windows (5.2), what waits to be sent, who owns them.

use super::frames::Code;
use std::collections::{HashMap, VecDeque};

/// How our side of a stream ends once its queue is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// More is to come.
    #[default]
    Open,
    /// END_STREAM with the last DATA.
    Plain,
    /// A block of trailers with END_STREAM.
    Trailers(Vec<u8>),
}

/// One open or half-closed stream.
#[derive(Debug)]
pub struct Stream {
    /// The worker's number for whom this stream serves.
    pub owner: u32,
    /// The peer's END_STREAM came.
    pub remote_done: bool,
    /// Our END_STREAM went out.
    pub local_done: bool,
    /// A head was written: DATA may follow.
    pub head_sent: bool,
    /// A head came (responses: a final one).
    pub head_received: bool,
    pub send_window: i64,
    pub receive_window: i64,
    /// What the peer may have on its way; it grows while that is used up.
    pub window_bytes: u32,
    /// The peer was told of bytes that were used up.
    pub credited: bool,
    /// Bytes used up that the peer was not told of.
    pub uncredited: u32,
    /// Bytes that Content-Length promised and DATA did not bring yet.
    pub length_left: Option<u64>,
    pub queue: VecDeque<u8>,
    pub ending: Ending,
    /// In the line of those that have something to send.
    pub lined_up: bool,
    /// Payload bytes written into frames: progress.
    pub sent: u64,
    /// The rest of the request is not wanted: RST_STREAM(NO_ERROR) where it is large or late (RFC 9113 8.1).
    pub reset_after: bool,
}

impl Stream {
    pub fn new(owner: u32, send_window: u32, receive_window: u32) -> Stream {
        Stream {
            owner,
            remote_done: false,
            local_done: false,
            head_sent: false,
            head_received: false,
            send_window: i64::from(send_window),
            receive_window: i64::from(receive_window),
            window_bytes: receive_window,
            credited: false,
            uncredited: 0,
            length_left: None,
            queue: VecDeque::new(),
            ending: Ending::Open,
            lined_up: false,
            sent: 0,
            reset_after: false,
        }
    }

    /// Something could be sent if windows allow it.
    pub fn has_work(&self) -> bool {
        !self.local_done && (!self.queue.is_empty() || self.ending != Ending::Open)
    }
}

/// Why a stream is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Both sides ended it.
    Finished,
    /// The peer reset it.
    ResetByPeer,
    /// We reset it: frames that were on their way are no fault.
    ResetByUs,
}

/// Streams that closed last; older ones are told apart from idle ones by their number alone.
const REMEMBERED: usize = 64;

/// All streams of a connection.
#[derive(Debug, Default)]
pub struct Streams {
    open: HashMap<u32, Stream, ahash::RandomState>,
    gone: VecDeque<(u32, Gone)>,
    /// Streams with something to send, served in turn.
    pub line: VecDeque<u32>,
    /// The highest number that the peer opened (server) or we did (client).
    pub last: u32,
}

impl Streams {
    pub fn get(&self, id: u32) -> Option<&Stream> {
        self.open.get(&id)
    }

    pub fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.open.get_mut(&id)
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub fn insert(&mut self, id: u32, stream: Stream) {
        self.last = self.last.max(id);
        self.open.insert(id, stream);
    }

    pub fn remove(&mut self, id: u32, gone: Gone) -> Option<Stream> {
        let stream = self.open.remove(&id)?;
        if self.gone.len() == REMEMBERED {
            self.gone.pop_front();
        }
        self.gone.push_back((id, gone));
        Some(stream)
    }

    /// Gives back room that nothing needs now.
    pub fn rest(&mut self) {
        self.open.shrink_to_fit();
        self.gone.shrink_to_fit();
        self.line.shrink_to_fit();
    }

    /// None: not opened yet, or closed too long ago to remember.
    pub fn gone(&self, id: u32) -> Option<Gone> {
        self.gone.iter().rev().find(|(other, _)| *other == id).map(|(_, gone)| *gone)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&u32, &mut Stream)> {
        self.open.iter_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&u32, &Stream)> {
        self.open.iter()
    }

    /// Puts a stream at the end of the line, once.
    pub fn line_up(&mut self, id: u32) {
        if let Some(stream) = self.open.get_mut(&id)
            && !stream.lined_up
        {
            stream.lined_up = true;
            self.line.push_back(id);
        }
    }
}

/// A stream that ends badly: number and code of its RST_STREAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamError {
    pub id: u32,
    pub code: Code,
}
