//! A client's HTTP/2 connection: frames in, each request a stream with a `Downstream` of its own, frames out once a turn.
//!
//! Rule: whatever the state machine refuses ends the connection with GOAWAY; streams share nothing but it.

use super::streams::StreamLink;
use super::switching::make_key;
use super::{Downstream, Phase, Serving, Waiting, Window};
use crate::error::Failure;
use crate::exchange::{HTTP_2, HeaderSpan, RequestHead};
use crate::http1::body::BodyDecoder;
use crate::http2::fields::Request;
use crate::http2::frames::Code;
use crate::http2::hpack::decoder::FieldList;
use crate::http2::hpack::encoder;
use crate::http2::multiplex::{NO_STREAM_LIMIT, NOBODY};
use crate::http2::{Event, Multiplex, Role, Violation};
use crate::limits::*;
use crate::metrics::Counter;
use crate::ring::{Close, End, Io, SocketId};
use crate::worker::Worker;

impl Worker {
    /// The client speaks HTTP/2: by ALPN, or by its first bytes on a plain listener that takes them.
    pub fn begin_multiplex(&mut self, socket: SocketId) {
        let now_ms = self.now_ms();
        let head_ms = self.head_timeout_ms(socket);
        let draining = self.drain.is_some();
        let Some(down) = self.downstream(socket) else { return };
        let mut multiplex = Multiplex::new(Role::Server, now_ms);
        if draining {
            multiplex.announce_end();
        }
        down.multiplex = Some(Box::new(multiplex));
        down.phase = Phase::Multiplex;
        down.idle = false;
        self.set_downstream_deadline(socket, now_ms + head_ms);
        self.mark_multiplex(socket);
    }

    /// Frames of a client.
    pub fn multiplex_data<I: Io>(&mut self, io: &mut I, socket: SocketId, bytes: &[u8]) {
        let now_ms = self.now_ms();
        let Some(down) = self.downstream(socket) else { return };
        let mut held = std::mem::take(&mut down.input);
        let input = match held.is_empty() {
            true => bytes,
            false => {
                held.extend_from_slice(bytes);
                &held
            }
        };
        let mut at = 0;
        if let Some(multiplex) = self.multiplex(socket) {
            multiplex.budget.fill(now_ms);
        }
        self.mark_multiplex(socket);
        loop {
            let Some(multiplex) = self.multiplex(socket) else { return };
            match multiplex.receive(input, &mut at) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    if let Err(violation) = self.multiplex_event(io, socket, event, input) {
                        return self.multiplex_violated(io, socket, violation);
                    }
                }
                Err(violation) => return self.multiplex_violated(io, socket, violation),
            }
        }
        let rest = input.len() - at;
        if let Some(down) = self.downstream(socket)
            && rest > 0
        {
            match held.is_empty() {
                true => down.input.extend_from_slice(&bytes[at..]),
                false => {
                    held.drain(..at);
                    down.input = held;
                }
            }
        }
        self.watch_multiplex(socket, now_ms);
    }

    fn multiplex_event<I: Io>(
        &mut self,
        io: &mut I,
        socket: SocketId,
        event: Event,
        input: &[u8],
    ) -> Result<(), Violation> {
        match event {
            Event::Head { id, end } => return self.begin_stream(io, socket, id, end),
            Event::Data { id: _, owner, bytes, end } => {
                self.stream_data(io, SocketId(owner), &input[bytes], end);
            }
            Event::Reset { owner: NOBODY, .. } => {}
            Event::Trailers { id, owner } if self.wants_websocket(SocketId(owner)) => {
                // A stream whose bytes pass unread has DATA alone (RFC 9113 8.5).
                let Some(multiplex) = self.multiplex(socket) else { return Ok(()) };
                let reset = multiplex.stream_error(id, Code::Protocol)?;
                return self.multiplex_event(io, socket, reset, input);
            }
            Event::Trailers { id: _, owner } => self.stream_data(io, SocketId(owner), &[], true),
            Event::Reset { owner, by_peer, .. } => {
                let client = SocketId(owner);
                self.fail_exchange(
                    client,
                    match by_peer {
                        true => Failure::ClientGone,
                        false => Failure::BadRequest(400, "malformed stream"),
                    },
                );
                self.abort(io, client);
            }
            Event::GoingAway { .. } | Event::Ready => {}
        }
        Ok(())
    }

    /// The connection broke the rules: GOAWAY says which, its streams end.
    pub fn multiplex_violated<I: Io>(&mut self, io: &mut I, socket: SocketId, violation: Violation) {
        self.metrics.add(Counter::RefusedHead, 1);
        self.end_streams(io, socket);
        if let Some(multiplex) = self.multiplex(socket) {
            multiplex.end(violation.code);
        }
        self.flush_multiplex(io, socket);
        self.linger(io, socket);
    }

    /// Ends every stream of a connection that ends.
    pub fn end_streams<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let Some(multiplex) = self.multiplex(socket) else { return };
        let owners: Vec<u32> = multiplex.streams.iter().map(|(_, stream)| stream.owner).collect();
        for owner in owners.into_iter().filter(|owner| *owner != NOBODY) {
            self.fail_exchange(SocketId(owner), Failure::ClientGone);
            self.abort(io, SocketId(owner));
        }
    }

    /// One request: its head is in the connection's `fields`.
    fn begin_stream<I: Io>(
        &mut self,
        io: &mut I,
        socket: SocketId,
        id: u32,
        end: bool,
    ) -> Result<(), Violation> {
        let Some(multiplex) = self.multiplex(socket) else { return Ok(()) };
        let fields = std::mem::take(&mut multiplex.fields);
        let result = self.begin_request(io, socket, id, end, &fields);
        if let Some(multiplex) = self.multiplex(socket) {
            multiplex.fields = fields;
        }
        result
    }

    fn begin_request<I: Io>(
        &mut self,
        io: &mut I,
        socket: SocketId,
        id: u32,
        end: bool,
        fields: &FieldList,
    ) -> Result<(), Violation> {
        let bytes_max = self.downstream(socket).map_or(REQUEST_HEAD_BYTES_MAX, |down| down.head_bytes_max());
        let request = match Request::read(fields) {
            _ if fields.too_large || fields.size() > bytes_max => return self.refuse_stream(socket, id, 431),
            Ok(request) if end && request.length.is_some_and(|length| length > 0) => None,
            Ok(request) => Some(request),
            Err(_) => None,
        };
        let Some(multiplex) = self.multiplex(socket) else { return Ok(()) };
        let Some(request) = request else {
            self.metrics.add(Counter::RefusedHead, 1);
            let Some(multiplex) = self.multiplex(socket) else { return Ok(()) };
            return multiplex.stream_error(id, Code::Protocol).map(|_| ());
        };
        if let Some(stream) = multiplex.streams.get_mut(id).filter(|_| !end) {
            stream.length_left = request.length;
        }
        let websocket = request.protocol == Some(b"websocket");
        match request.method {
            b"CONNECT" if request.protocol.is_none() => return self.refuse_stream(socket, id, 405),
            b"CONNECT" if !websocket || end => return self.refuse_stream(socket, id, 501),
            method if method.len() > METHOD_BYTES_MAX => return self.refuse_stream(socket, id, 501),
            _ if request.path.len() > REQUEST_TARGET_BYTES_MAX => return self.refuse_stream(socket, id, 414),
            _ => {}
        }
        let serving = Serving {
            body: match (end || websocket, request.length) {
                (true, _) | (_, Some(0)) => BodyDecoder::Empty,
                (_, Some(length)) => BodyDecoder::Length(length),
                _ => BodyDecoder::UntilClose,
            },
            length: request.length,
            chunked: !end && !websocket && request.length.is_none(),
            head_method: request.method == b"HEAD",
            replayable: end && super::receiving::is_idempotent(request.method),
            bodiless: end || websocket,
            http_minor: HTTP_2,
            persistent: true,
            expects_continue: !end && request.expects_continue,
            upgrade: websocket.then(|| Box::from(&b"websocket"[..])),
            takes_trailers: request.takes_trailers,
            ..Serving::default()
        };
        let key = make_key();
        let (mut spans, mut cookies) = (self.scratch.take_spans(), Vec::new());
        request.each_field(fields, &mut cookies, |name, value| spans.push(HeaderSpan { name, value }));
        if websocket {
            // Routes and backends know an upgrade by its fields, which RFC 8441 has not; the answer to the key stays here.
            spans.retain(|span| span.name != b"sec-websocket-key");
            spans.push(HeaderSpan { name: b"Connection", value: b"Upgrade" });
            spans.push(HeaderSpan { name: b"Upgrade", value: b"websocket" });
            spans.push(HeaderSpan { name: b"Sec-WebSocket-Key", value: key.as_bytes() });
        }
        let head = RequestHead {
            method: if websocket { b"GET" } else { request.method },
            target: request.path,
            http_minor: HTTP_2,
            headers: &spans,
        };
        let Some(client) = self.insert_stream(socket, id, end) else { return Ok(()) };
        self.open_exchange(io, client, &head, serving);
        self.scratch.give_spans(spans);
        Ok(())
    }

    fn insert_stream(&mut self, socket: SocketId, id: u32, end: bool) -> Option<SocketId> {
        let client = self.take_stream_id();
        let generation = self.next_generation();
        let connection = self.downstream(socket)?;
        let (peer, is_tls, bounds) = (connection.peer.clone(), connection.is_tls, connection.bounds.clone());
        connection.multiplex.as_mut()?.accept(id, client.0);
        let link = StreamLink { connection: socket, id, ended: end, ..StreamLink::default() };
        let mut down = match self.spare_streams.pop() {
            Some(mut spare) => {
                let input = std::mem::take(&mut spare.input);
                *spare = Downstream::new(generation, peer, Phase::Head, is_tls);
                spare.input = input;
                spare.input.clear();
                spare
            }
            None => Box::new(Downstream::new(generation, peer, Phase::Head, is_tls)),
        };
        down.bounds = bounds;
        down.stream = Some(Box::new(link));
        if self.downstreams.len() <= client.index() {
            self.downstreams.resize_with(client.index() + 1, || None);
        }
        self.downstreams[client.index()] = Some(down);
        Some(client)
    }

    /// The shortest answer to a request that is not served; its body is not wanted.
    fn refuse_stream(&mut self, socket: SocketId, id: u32, status: u16) -> Result<(), Violation> {
        self.metrics.add(Counter::RefusedHead, 1);
        self.metrics.request(status, 0);
        let Some(multiplex) = self.multiplex(socket) else { return Ok(()) };
        let mut block = Vec::with_capacity(16);
        encoder::status(status, &mut block);
        encoder::field(b"content-length", b"0", &mut block);
        multiplex.send_head(id, &block, true);
        multiplex.stop_request(id);
        multiplex.reset(id, Code::None);
        multiplex.budget.spend(1)
    }

    /// Body bytes of a stream, on their way up or waiting.
    fn stream_data<I: Io>(&mut self, io: &mut I, client: SocketId, data: &[u8], end: bool) {
        let Some(down) = self.downstream(client) else { return };
        let is_length = matches!(down.serving.body, BodyDecoder::Length(_));
        let Some(link) = down.stream.as_deref_mut() else { return };
        link.held += data.len();
        let mut last = std::mem::take(&mut link.last_piece);
        link.ended |= end;
        let (connection, id) = (link.connection, link.id);
        let complete = is_length
            && !end
            && self
                .multiplex(connection)
                .and_then(|multiplex| multiplex.streams.get(id))
                .is_some_and(|stream| stream.length_left == Some(0));
        last.extend_from_slice(data);
        if complete {
            if let Some(link) = self.link_mut(client) {
                link.last_piece = last;
            }
            return;
        }
        self.receive(io, client, &last);
    }

    /// After bytes of a stream went on: credit for the peer, and the body's end once all went.
    pub fn settle_stream<I: Io>(&mut self, io: &mut I, client: SocketId) {
        let Some(down) = self.downstream(client) else { return };
        let left = down.input.len();
        let Some(link) = down.stream.as_deref() else { return };
        let (ended, held_back) = (link.ended, link.last_piece.len());
        if ended && left == 0 {
            match down.phase {
                Phase::Serving if matches!(down.serving.waiting, Waiting::PluginBody(_)) => {
                    self.peek_nothing(io, client);
                }
                Phase::Serving if down.serving.body == BodyDecoder::UntilClose => {
                    self.end_request_body(io, client);
                }
                Phase::Tunnel if !down.finished => self.downstream_ended(io, client, End::Finished),
                _ => {}
            }
        }
        self.credit_used(client, left + held_back);
    }

    fn end_request_body<I: Io>(&mut self, io: &mut I, client: SocketId) {
        let Some(down) = self.downstream(client) else { return };
        let serving = &mut down.serving;
        match serving.waiting {
            Waiting::Answer if !serving.blocked => {
                serving.body = BodyDecoder::Empty;
                let Some(upstream) = serving.upstream else { return };
                self.end_upstream_body(io, upstream);
                self.request_sent(upstream);
            }
            // Who reads it ahead has all of it.
            Waiting::Body => {
                serving.body = BodyDecoder::Empty;
                self.buffer_body(io, client, &[]);
            }
            Waiting::ReadBody(entry) => {
                serving.body = BodyDecoder::Empty;
                self.keep_body(io, client, entry, &[]);
            }
            _ => {}
        }
    }

    /// Deadlines of a connection: for a head that is under way, between requests, and of progress while it serves.
    fn watch_multiplex(&mut self, socket: SocketId, now_ms: u64) {
        let (head_ms, idle_ms) = (self.head_timeout_ms(socket), self.idle_timeout_ms(socket));
        let Some(down) = self.downstream(socket) else { return };
        let Some(multiplex) = down.multiplex.as_deref() else { return };
        let waits = multiplex.is_incomplete() || !down.input.is_empty();
        let empty = multiplex.streams.is_empty();
        let was_idle = std::mem::replace(&mut down.idle, empty && !waits);
        let after_ms = match (empty, waits) {
            (true, false) => idle_ms,
            (true, true) if was_idle => head_ms,
            (false, _) if was_idle => PROGRESS_WINDOW_MS,
            _ => return,
        };
        self.set_downstream_deadline(socket, now_ms + after_ms);
    }

    /// The deadline of a connection came.
    pub fn multiplex_timer<I: Io>(&mut self, io: &mut I, socket: SocketId, now_ms: u64) {
        let (sent, pending) = (io.sent(socket), io.pending(socket) > 0);
        let Some(down) = self.downstream(socket) else { return };
        let Some(multiplex) = down.multiplex.as_deref_mut() else { return };
        let waits = multiplex.is_incomplete() || !down.input.is_empty();
        let unwanted = multiplex.reset_unwanted();
        if multiplex.streams.is_empty() && !unwanted && !down.idle && !waits {
            // The last stream ended in this very turn: the connection is idle from now on.
            return self.watch_multiplex(socket, now_ms);
        }
        if multiplex.streams.is_empty() && !unwanted {
            multiplex.end(Code::None);
            self.metrics.add(Counter::RefusedTimeout, u64::from(waits));
            self.flush_multiplex(io, socket);
            return self.close_after_flush(io, socket, Close::AfterFlush);
        }
        let window = down.window;
        let slow = pending && window.was_pending && sent - window.sent < PROGRESS_BYTES_MIN;
        let stuck = waits && window.was_expecting_body;
        down.window = Window { sent, was_pending: pending, was_expecting_body: waits, ..Window::default() };
        if slow || stuck {
            self.metrics.add(Counter::RefusedTimeout, 1);
            return self.abort(io, socket);
        }
        self.mark_multiplex(socket);
        self.set_downstream_deadline(socket, now_ms + PROGRESS_WINDOW_MS);
    }

    /// Sends what all marked connections have to say, at the end of a turn.
    pub fn flush_marked<I: Io>(&mut self, io: &mut I) {
        let mut at = 0;
        while at < self.marked.len() {
            let socket = self.marked[at];
            at += 1;
            self.unmark(socket);
            self.flush_multiplex(io, socket);
            self.drained_streams(io, socket);
            self.end_multiplex(io, socket);
        }
        self.marked.clear();
    }

    fn unmark(&mut self, socket: SocketId) {
        if let Some(down) = self.downstream(socket) {
            down.marked = false;
        } else if let Some(up) = self.upstream(socket) {
            up.marked = false;
        }
    }

    /// Serves the streams in turn and hands all frames over, as one run of TLS records.
    pub fn flush_multiplex<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let pending = io.pending(socket);
        let Some(multiplex) = self.multiplex(socket) else { return };
        multiplex.pump(HTTP2_PENDING_BYTES_HIGH.saturating_sub(pending + multiplex.out.len()));
        let waits = multiplex.has_work();
        let mut out = std::mem::take(&mut multiplex.out);
        if !out.is_empty() {
            match self.upstreams.get(socket.index()) {
                Some(Some(_)) => self.send_upstream(io, socket, &out),
                _ => self.send_downstream(io, socket, &out),
            }
        }
        if out.capacity() > HTTP2_PENDING_BYTES_HIGH || !waits {
            out = Vec::new();
        }
        out.clear();
        if let Some(multiplex) = self.multiplex(socket) {
            multiplex.out = out;
        }
        if waits {
            io.notify_drained(socket);
        }
    }

    /// Streams whose queue got low or is done.
    fn drained_streams<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let Some(multiplex) = self.multiplex(socket) else { return };
        let drained = std::mem::take(&mut multiplex.drained);
        for owner in drained.into_iter().filter(|owner| *owner != NOBODY).map(SocketId) {
            match self.upstreams.get(owner.index()) {
                Some(Some(_)) => self.upstream_drained(io, owner),
                _ => self.stream_drained(io, owner),
            }
        }
    }

    fn stream_drained<I: Io>(&mut self, io: &mut I, client: SocketId) {
        let closing = self.downstream(client).is_some_and(|down| down.phase == Phase::Closing);
        if !closing {
            return self.downstream_drained(io, client);
        }
        let Some((multiplex, id)) = self.stream_of(client) else { return };
        if multiplex.streams.get(id).is_none_or(|stream| stream.local_done) {
            self.drop_stream(client, Code::None);
        }
    }

    /// Closes a client's connection that is over: GOAWAY was said and no stream is left.
    fn end_multiplex<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let now_ms = self.now_ms();
        let Some(down) = self.downstream(socket) else { return };
        let Some(multiplex) = down.multiplex.as_deref() else { return };
        if down.phase != Phase::Multiplex {
            return;
        }
        let over = multiplex.is_over() || (down.finished && multiplex.streams.is_empty());
        match over {
            true => self.close_after_flush(io, socket, Close::AfterFlush),
            false => self.watch_multiplex(socket, now_ms),
        }
    }

    /// Drain: the first GOAWAY at once, the one that names the last stream a moment later (RFC 9113 6.8).
    pub fn drain_multiplexes(&mut self) {
        for index in 0..self.downstreams.len() {
            let Some(Some(down)) = self.downstreams.get_mut(index) else { continue };
            if let Some(multiplex) = down.multiplex.as_deref_mut() {
                multiplex.announce_end();
                self.mark_multiplex(SocketId(index as u32));
            }
        }
        self.second_goaway_ms = Some(self.now_ms() + HTTP2_GOAWAY_GRACE_MS);
    }

    /// The second GOAWAY; returns how long until it is due.
    pub fn finish_goaways(&mut self) -> Option<u64> {
        let (due_ms, now_ms) = (self.second_goaway_ms?, self.now_ms());
        if now_ms < due_ms {
            return Some(due_ms - now_ms);
        }
        for index in 0..self.downstreams.len() {
            let Some(Some(down)) = self.downstreams.get_mut(index) else { continue };
            if let Some(multiplex) = down.multiplex.as_deref_mut()
                && multiplex.goaway == Some(NO_STREAM_LIMIT)
            {
                multiplex.end(Code::None);
                self.mark_multiplex(SocketId(index as u32));
            }
        }
        self.second_goaway_ms = None;
        None
    }
}
