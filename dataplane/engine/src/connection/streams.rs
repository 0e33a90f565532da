//! Streams of HTTP/2 connections as sockets that the kernel does not know: their ids lie above those of real sockets, and
//! whoever serves a request sends, pauses, shuts and closes by the functions here without asking which it has.
//!
//! Rule: a stream is dropped at once where it ends badly, and kept (`Phase::Closing`) while its window holds the end of
//! an answer back, so that `timing` watches over readers that stall (reliability.md 2.4).

use super::{Downstream, Phase, Window};
use crate::http2::streams::Ending;
use crate::http2::{Code, Multiplex};
use crate::limits::*;
use crate::ring::{Io, SocketId};
use crate::worker::Worker;

/// A stream as its owner sees it.
#[derive(Debug, Default)]
pub struct StreamLink {
    pub connection: SocketId,
    pub id: u32,
    /// Body bytes that came and were not used up yet.
    pub held: usize,
    /// The peer's END_STREAM came.
    pub ended: bool,
    /// The piece that completes Content-Length waits for END_STREAM: more would make the request malformed.
    pub last_piece: Vec<u8>,
    /// The owner does not want more bytes now: none is credited.
    pub paused: bool,
}

impl Worker {
    pub fn is_stream(&self, socket: SocketId) -> bool {
        socket.0 >= self.streams_base
    }

    /// A free id for a stream.
    pub fn take_stream_id(&mut self) -> SocketId {
        SocketId(self.free_streams.pop().unwrap_or_else(|| {
            self.streams_opened += 1;
            self.streams_base + self.streams_opened - 1
        }))
    }

    pub fn multiplex(&mut self, connection: SocketId) -> Option<&mut Multiplex> {
        match self.downstreams.get_mut(connection.index()) {
            Some(Some(down)) => down.multiplex.as_deref_mut(),
            _ => self.upstreams.get_mut(connection.index())?.as_mut()?.multiplex.as_deref_mut(),
        }
    }

    fn link(&self, socket: SocketId) -> Option<&StreamLink> {
        match self.downstreams.get(socket.index()) {
            Some(Some(down)) => down.stream.as_deref(),
            _ => self.upstreams.get(socket.index())?.as_ref()?.stream.as_deref(),
        }
    }

    pub fn link_mut(&mut self, socket: SocketId) -> Option<&mut StreamLink> {
        match self.downstreams.get_mut(socket.index()) {
            Some(Some(down)) => down.stream.as_deref_mut(),
            _ => self.upstreams.get_mut(socket.index())?.as_mut()?.stream.as_deref_mut(),
        }
    }

    /// The connection of a stream, its number there.
    pub fn stream_of(&mut self, socket: SocketId) -> Option<(&mut Multiplex, u32)> {
        let link = self.link(socket)?;
        let (connection, id) = (link.connection, link.id);
        Some((self.multiplex(connection)?, id))
    }

    /// Bytes that wait to be sent.
    pub fn pending<I: Io>(&mut self, io: &I, socket: SocketId) -> usize {
        match self.is_stream(socket) {
            false => io.pending(socket),
            true => self.stream_of(socket).map_or(0, |(multiplex, id)| multiplex.queued(id)),
        }
    }

    /// More waits than the other side should add to.
    pub fn is_full<I: Io>(&mut self, io: &I, socket: SocketId) -> bool {
        match self.is_stream(socket) {
            false => io.pending(socket) > PENDING_OUTPUT_BYTES_HIGH,
            true => self.pending(io, socket) > HTTP2_STREAM_PENDING_BYTES_HIGH,
        }
    }

    /// What may come of an answer before the client took any of it.
    pub fn read_ahead_first(&self, client: SocketId) -> u32 {
        match self.is_stream(client) {
            false => UPSTREAM_READ_AHEAD_BYTES,
            true => STREAM_READ_AHEAD_BYTES,
        }
    }

    /// What may come of an answer that the client takes: for a stream as much as its windows and its connection allow.
    pub fn read_ahead<I: Io>(&mut self, io: &I, client: SocketId) -> u32 {
        let first = self.read_ahead_first(client);
        let pending = self.link(client).map_or(0, |link| io.pending(link.connection));
        let window = match self.stream_of(client) {
            Some((multiplex, id)) if multiplex.out.len() + pending < HTTP2_PENDING_BYTES_HIGH => {
                multiplex.sendable(id)
            }
            _ => 0,
        };
        u32::try_from(window).unwrap_or(u32::MAX).clamp(first, UPSTREAM_READ_AHEAD_BYTES)
    }

    /// Bytes of a file or a kept answer that are copied for the client at a time.
    pub fn piece_bytes<I: Io>(&mut self, io: &I, client: SocketId) -> usize {
        FILE_READ_BYTES.min(self.read_ahead(io, client) as usize)
    }

    /// Bytes that went out.
    pub fn sent<I: Io>(&mut self, io: &I, socket: SocketId) -> u64 {
        match self.is_stream(socket) {
            false => io.sent(socket),
            true => {
                let stream = self.stream_of(socket);
                stream.and_then(|(multiplex, id)| multiplex.streams.get(id)).map_or(0, |stream| stream.sent)
            }
        }
    }

    pub fn pause<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        match self.is_stream(socket) {
            false => io.pause(socket),
            true => {
                if let Some(link) = self.link_mut(socket) {
                    link.paused = true;
                }
            }
        }
    }

    pub fn resume<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        match self.is_stream(socket) {
            false => io.resume(socket),
            true => {
                if let Some(link) = self.link_mut(socket) {
                    link.paused = false;
                }
                self.credit_used(socket, 0);
            }
        }
    }

    /// Asks for `…_drained`; streams always tell.
    pub fn notify_drained<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        if !self.is_stream(socket) {
            io.notify_drained(socket);
        }
    }

    /// Ends our side after what waits.
    pub fn shutdown<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        match self.is_stream(socket) {
            false => io.shutdown(socket),
            true => self.write_stream(io, socket, 0, &[], true, &[]),
        }
    }

    /// Of the bytes that came, `left` are still waiting here; the peer may send as many as the others were.
    pub fn credit_used(&mut self, socket: SocketId, left: usize) {
        let Some(link) = self.link_mut(socket) else { return };
        let used = link.held.saturating_sub(left);
        if link.paused || used == 0 {
            return;
        }
        link.held -= used;
        let connection = link.connection;
        if let Some((multiplex, id)) = self.stream_of(socket) {
            multiplex.credit(id, used);
        }
        self.mark_multiplex(connection);
    }

    /// Writes to a stream: a head's block of `block` bytes at the front of `bytes`, body bytes, the end with trailers.
    pub fn write_stream<I: Io>(
        &mut self,
        io: &mut I,
        socket: SocketId,
        block: usize,
        bytes: &[u8],
        end: bool,
        trailers: &[u8],
    ) {
        let Some(link) = self.link(socket) else { return };
        let connection = link.connection;
        let pending = io.pending(connection);
        let Some((multiplex, id)) = self.stream_of(socket) else { return };
        let room = multiplex.out.len() + pending < HTTP2_PENDING_BYTES_HIGH;
        let (head, data) = bytes.split_at(block);
        let plain_end = end && trailers.is_empty();
        let only_head = plain_end && data.is_empty() && !head.is_empty();
        if !head.is_empty() {
            multiplex.send_head(id, head, only_head);
        }
        if !data.is_empty() || (plain_end && !only_head) {
            multiplex.send_data(id, data, plain_end, room);
        }
        if end && !trailers.is_empty() {
            multiplex.send_trailers(id, trailers);
        }
        self.mark_multiplex(connection);
    }

    /// `send_downstream` for a stream: what `responding` wrote for it says where the head ends and whether all is said.
    pub fn send_stream<I: Io>(&mut self, io: &mut I, socket: SocketId, bytes: &[u8]) {
        let Some(down) = self.downstream(socket) else { return };
        if down.phase == Phase::Closing {
            return;
        }
        let block = std::mem::take(&mut down.serving.head_block);
        let end = std::mem::take(&mut down.serving.answer_ended);
        let trailers = if end { std::mem::take(&mut down.serving.trailers) } else { Vec::new() };
        self.write_stream(io, socket, block, bytes, end, &trailers);
    }

    /// The exchange of a stream is over: our side ends, and the rest of a request that nobody waits for is refused.
    pub fn finish_stream<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let deadline_ms = self.now_ms() + PROGRESS_WINDOW_MS;
        let Some(down) = self.downstream(socket) else { return };
        if down.phase == Phase::Closing {
            return;
        }
        let trailers = std::mem::take(&mut down.serving.trailers);
        self.write_stream(io, socket, 0, &[], true, &trailers);
        let Some((multiplex, id)) = self.stream_of(socket) else {
            return self.drop_stream(socket, Code::None);
        };
        if multiplex.streams.get(id).is_some_and(|stream| !stream.remote_done) {
            multiplex.stop_request(id);
        }
        let sent = match multiplex.streams.get(id) {
            Some(stream) if stream.ending != Ending::Open && !stream.local_done => stream.sent,
            _ => return self.drop_stream(socket, Code::None),
        };
        if let Some(down) = self.downstream(socket) {
            down.phase = Phase::Closing;
            down.window = Window { sent, ..Window::default() };
            self.set_downstream_deadline(socket, deadline_ms);
        }
    }

    /// A client's stream is gone from here; where it is still open there, it is reset.
    pub fn drop_stream(&mut self, socket: SocketId, code: Code) {
        let Some(Some(mut down)) = self.downstreams.get_mut(socket.index()).map(Option::take) else { return };
        self.free_streams.push(socket.0);
        self.copies -= usize::from(down.serving.is_copy);
        self.note_inclusion(&mut down.serving, code);
        if let Some(link) = &down.stream {
            self.close_stream(link, code);
        }
        self.give_stream(down);
    }

    pub fn close_stream(&mut self, link: &StreamLink, code: Code) {
        let connection = link.connection;
        if let Some(multiplex) = self.multiplex(connection) {
            multiplex.reset(link.id, code);
            multiplex.credit_held(link.held);
            self.mark_multiplex(connection);
        }
    }

    /// Keeps the memory of a stream's state for the next one.
    fn give_stream(&mut self, mut down: Box<Downstream>) {
        if self.spare_streams.len() < POOLED_BUFFERS_MAX {
            down.exchange = None;
            down.stream = None;
            down.serving.rest();
            if down.input.capacity() > HTTP2_PIECE_BYTES {
                down.input = Vec::new();
            }
            self.spare_streams.push(down);
        }
    }

    /// The connection has frames to send at the end of this turn.
    pub fn mark_multiplex(&mut self, connection: SocketId) {
        let marked = match self.downstreams.get_mut(connection.index()) {
            Some(Some(down)) => std::mem::replace(&mut down.marked, true),
            _ => match self.upstreams.get_mut(connection.index()) {
                Some(Some(up)) => std::mem::replace(&mut up.marked, true),
                _ => return,
            },
        };
        if !marked {
            self.marked.push(connection);
        }
    }
}
