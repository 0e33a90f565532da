//! The one way of an answer to the client, wherever it comes from: changes of its head, body filters, framing.
//!
//! `begin_answer`, then `answer_data` as often as there is body, then `end_answer`. The `write_…` forms append to a buffer
//! instead of sending: callers that have head and body at once send them as one record. The client's protocol is known
//! here and in `ending` only.
//!
//! Rule: an upstream's answer that nothing changes goes down by spans: no copy of its fields, no allocation.

use crate::exchange::fields::Fields;
use crate::exchange::filtering::{AnswerLength, BodyFilters};
use crate::exchange::{Body, Connection, Exchange, Framing, HTTP_2, ResponseHead, StaticAnswer, is_bodiless};
use crate::http1::chunked;
use crate::http2::hpack::encoder;
use crate::ring::{Io, SocketId};
use crate::worker::Worker;

use super::Serving;
use super::pacing::Pace;

/// Where an answer comes from.
#[derive(Clone, Copy)]
pub enum Origin<'a> {
    /// An upstream's head. `body`: what follows it; `Chunked` where its length is not known.
    /// `switches`: the protocol of a 101.
    /// `ahead`: bytes of a body of unknown length that are here already.
    Upstream { head: &'a ResponseHead<'a>, body: Body, ahead: u64, switches: Option<&'a [u8]> },
    /// Our own answer; its body goes out with its head.
    Static(StaticAnswer<'a>),
    /// A file or generated content: `fields` replace what was set before; `body` as for an upstream.
    File { status: u16, fields: &'a Fields, body: Body },
    /// Its fields are in `exchange.scratch`, as handlers left them. `reason` is empty for our own phrase.
    Taken { status: u16, reason: &'a [u8], body: Body },
    /// As `Taken`, and its body is here.
    Whole { status: u16, content: &'a [u8] },
}

impl Worker {
    /// Sends the head of the client's answer (and a static one's body), after the handlers that intercept it. False:
    /// another answer took its place, and whatever the origin still has is not wanted.
    #[must_use]
    pub fn begin_answer<I: Io>(&mut self, io: &mut I, client: SocketId, origin: Origin) -> bool {
        let Some(exchange) = self.downstream(client).and_then(|down| down.exchange.as_mut()) else {
            return false;
        };
        if let Origin::File { status, fields, body } = origin
            && exchange.has_wrappers()
        {
            exchange.take_file_answer(fields);
            return self.wrap_begun_answer(io, client, status, body);
        }
        self.send_written(io, client, |worker, out| worker.write_answer_head(client, origin, out));
        true
    }

    /// Sends body bytes; they are dropped where the answer has no body (HEAD, 304).
    pub fn answer_data<I: Io>(&mut self, io: &mut I, client: SocketId, data: &[u8]) {
        self.send_written(io, client, |worker, out| worker.write_answer_data(client, data, out));
    }

    /// The body is complete: sends what filters and framing still hold, and ends the exchange.
    pub fn end_answer<I: Io>(&mut self, io: &mut I, client: SocketId) {
        self.send_written(io, client, |worker, out| worker.write_answer_end(client, out));
        self.finish_exchange(io, client);
    }

    /// Tells a client that waits for it to send its body.
    pub fn send_continue<I: Io>(&mut self, io: &mut I, client: SocketId) {
        if !self.is_stream(client) {
            return self.send_downstream(io, client, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let mut block = Vec::new();
        encoder::status(100, &mut block);
        self.write_stream(io, client, block.len(), &block, false, &[]);
    }

    /// Sends what `write` appends as one piece.
    pub fn send_written<I: Io>(
        &mut self,
        io: &mut I,
        client: SocketId,
        write: impl FnOnce(&mut Worker, &mut Vec<u8>),
    ) {
        let mut message = std::mem::take(&mut self.scratch.message);
        message.clear();
        write(self, &mut message);
        if !message.is_empty() {
            self.send_downstream(io, client, &message);
        }
        self.scratch.message = message;
    }

    /// Appends the head, past handlers that intercept. Until it is sent, the answer may still be taken back
    /// (`Worker::take_back_answer`).
    pub fn write_answer_head(&mut self, client: SocketId, origin: Origin, out: &mut Vec<u8>) {
        let draining = self.drain.is_some();
        let start = out.len();
        let Some(down) = self.downstream(client) else { return };
        let serving = &mut down.serving;
        let Some(exchange) = down.exchange.as_mut() else { return };
        serving.answered = true;
        if !matches!(origin, Origin::Upstream { .. } | Origin::Taken { .. }) {
            serving.filling = None;
        }
        if let Some(row) = exchange.bandwidth {
            let now_ms = exchange.now.monotonic_ns / 1_000_000;
            serving.pace = Some(Box::new(Pace::new(row, now_ms)));
        }
        if let Some(host) = serving.host.as_ref() {
            exchange.explain(host);
        }
        if draining || !serving.request_done() {
            serving.persistent = false;
        }
        // A stream's head is told apart from the body behind it by its length.
        let note = |serving: &mut Serving, out: &Vec<u8>| {
            serving.head_block = if serving.http_minor == HTTP_2 { out.len() - start } else { 0 };
        };
        match origin {
            Origin::Upstream { head, body, ahead, switches } => {
                serving.status = head.status;
                if exchange.changes_answers() {
                    exchange.keep_upstream_answer(head);
                    exchange.take_upstream_answer();
                    while exchange.pass_wrappers(head.status).is_some() {}
                    if serving.holds_page(exchange) {
                        return;
                    }
                    exchange.answer_length = length_of(body, ahead);
                    let framing = filter_and_frame(serving, exchange, body, switches);
                    exchange.write_answer_head(head.status, head.reason, framing, out);
                    exchange.note_switch(switches);
                } else {
                    let framing = frame(serving, body, switches);
                    exchange.write_unchanged_head(head, framing, out);
                }
                note(serving, out);
            }
            Origin::File { status, fields, body } => {
                serving.status = status;
                exchange.take_file_answer(fields);
                while exchange.pass_wrappers(status).is_some() {}
                write_taken(serving, exchange, body, b"", out);
                note(serving, out);
            }
            Origin::Taken { status, reason, body } => {
                serving.status = status;
                write_taken(serving, exchange, body, reason, out);
                note(serving, out);
            }
            Origin::Whole { status, content } => {
                serving.status = status;
                self.write_whole_answer(client, content.to_vec(), start, out);
            }
            Origin::Static(answer) => {
                let mut content = Vec::new();
                serving.status = exchange.take_static_answer(answer, &mut content);
                serving.unhandled = matches!(answer, StaticAnswer::Empty);
                serving.untyped = matches!(answer, StaticAnswer::Row(_));
                serving.persistent &= !matches!(answer, StaticAnswer::Row(row) if row.close);
                self.write_whole_answer(client, content, start, out);
            }
        }
    }

    /// Appends an answer whose fields are in `exchange.scratch` and whose body is here.
    fn write_whole_answer(
        &mut self,
        client: SocketId,
        mut content: Vec<u8>,
        start: usize,
        out: &mut Vec<u8>,
    ) {
        let Some(down) = self.downstream(client) else { return };
        let serving = &mut down.serving;
        let Some(exchange) = down.exchange.as_mut() else { return };
        if serving.holds_page(exchange) {
            return serving.write_data(&content, out);
        }
        exchange.answer_length = AnswerLength::Whole(content.len() as u64);
        choose_filters(serving, exchange, None);
        serving.filter_whole(&mut content);
        let body = exchange.frame_own_answer(serving.status, content.len());
        serving.withheld_bytes = if serving.head_method { content.len() as u64 } else { 0 };
        let framing = frame(serving, body, None);
        exchange.write_answer_head(serving.status, b"", framing, out);
        serving.head_block = if serving.http_minor == HTTP_2 { out.len() - start } else { 0 };
        self.write_answer_data(client, &content, out);
    }

    /// Appends body bytes, filtered and framed.
    pub fn write_answer_data(&mut self, client: SocketId, data: &[u8], out: &mut Vec<u8>) {
        if let Some(down) = self.downstream(client) {
            down.serving.write_data(data, out);
        }
    }

    /// Appends the end of the body.
    pub fn write_answer_end(&mut self, client: SocketId, out: &mut Vec<u8>) {
        if let Some(down) = self.downstream(client) {
            down.serving.write_end(out);
        }
    }

    /// What was written of an answer was not sent: another may take its place.
    pub fn take_back_answer(&mut self, client: SocketId) {
        if let Some(down) = self.downstream(client) {
            down.serving.answered = false;
            down.serving.answer_chunked = false;
            down.serving.head_block = 0;
            down.serving.answer_ended = false;
            down.serving.trailers.clear();
            down.serving.trailer_lines.clear();
            down.serving.filters = BodyFilters::default();
            down.serving.page = None;
            down.serving.filling = None;
            down.serving.response_bytes = 0;
            down.serving.withheld_bytes = 0;
            down.serving.told_length = None;
            down.serving.unhandled = false;
            down.serving.untyped = false;
        }
    }
}

impl Serving {
    /// Body bytes go on as they are: a caller may append them itself.
    pub fn passes_data(&self) -> bool {
        self.filters.is_empty()
            && self.page.is_none()
            && self.inclusion.is_none()
            && self.filling.is_none()
            && self.pace.is_none()
            && !self.answer_chunked
            && !self.head_method
            && !is_bodiless(self.status)
    }

    /// Appends body bytes of the answer, filtered and framed; none where it has no body.
    pub fn write_data(&mut self, data: &[u8], out: &mut Vec<u8>) {
        if let Some(filling) = self.filling.as_mut() {
            filling.take(data);
        }
        if data.is_empty() || self.head_method || is_bodiless(self.status) {
            return;
        }
        if let Some(page) = self.page.as_mut() {
            return page.take(data);
        }
        if self.filters.is_empty() {
            return self.frame_data(data, out);
        }
        let mut filtered = Vec::new();
        self.filters.filter(data, &mut filtered);
        self.frame_data(&filtered, out);
    }

    /// No more of the body is here now: appends what filters of a stream hold.
    pub fn write_pause(&mut self, out: &mut Vec<u8>) {
        if !self.filters.is_empty() && !self.head_method {
            let mut held = Vec::new();
            self.filters.flush(&mut held);
            self.frame_data(&held, out);
        }
    }

    /// Appends the end of the answer's body; none where a filter failed, so that it cannot look complete.
    pub fn write_end(&mut self, out: &mut Vec<u8>) {
        if let Some(filling) = self.filling.take() {
            filling.finish();
        }
        if self.page.is_some() {
            return;
        }
        if !self.filters.is_empty() {
            let mut left = Vec::new();
            let mut filters = std::mem::take(&mut self.filters);
            if !self.head_method {
                filters.finish(&mut left);
            }
            self.cut_off |= filters.is_broken();
            if self.cut_off {
                return;
            }
            self.frame_data(&left, out);
        }
        self.answer_ended = true;
        if self.answer_chunked && self.trailers.is_empty() {
            out.extend_from_slice(chunked::LAST_CHUNK);
        } else if self.answer_chunked {
            out.extend_from_slice(b"0\r\n");
            out.append(&mut self.trailers);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// A body that is whole passes the filters before its head is written, so that its length is known.
    fn filter_whole(&mut self, content: &mut Vec<u8>) {
        if self.filters.is_empty() {
            return;
        }
        let mut filters = std::mem::take(&mut self.filters);
        let mut filtered = Vec::new();
        filters.filter(content, &mut filtered);
        filters.finish(&mut filtered);
        self.cut_off |= filters.is_broken();
        *content = filtered;
    }

    fn frame_data(&mut self, data: &[u8], out: &mut Vec<u8>) {
        if data.is_empty() {
            return;
        }
        self.response_bytes += data.len() as u64;
        if let Some(inclusion) = self.inclusion.as_mut() {
            return inclusion.take(data);
        }
        match self.answer_chunked {
            true => chunked::write_chunk(data, out),
            false => out.extend_from_slice(data),
        }
    }
}

fn length_of(body: Body, ahead: u64) -> AnswerLength {
    match body {
        Body::Length(length) => AnswerLength::Whole(length),
        Body::Chunked => AnswerLength::AtLeast(ahead),
        Body::Unframed => AnswerLength::Whole(0),
    }
}

/// Writes the head whose fields are in `exchange.scratch`. A status may have changed after its body was framed.
fn write_taken(serving: &mut Serving, exchange: &mut Exchange, body: Body, told: &[u8], out: &mut Vec<u8>) {
    if serving.holds_page(exchange) {
        return;
    }
    let body = match body {
        _ if is_bodiless(serving.status) => Body::Unframed,
        Body::Unframed if !serving.head_method => Body::Length(0),
        body => body,
    };
    exchange.answer_length = length_of(body, u64::MAX);
    let framing = filter_and_frame(serving, exchange, body, None);
    exchange.write_answer_head(serving.status, told, framing, out);
}

/// The fields are in `exchange.scratch`: filters choose, then what is left is framed.
fn filter_and_frame<'a>(
    serving: &mut Serving,
    exchange: &mut Exchange,
    body: Body,
    switches: Option<&'a [u8]>,
) -> Framing<'a> {
    choose_filters(serving, exchange, switches);
    let body = if serving.filters.is_empty() { body } else { Body::Chunked };
    if let Body::Length(length) = body {
        serving.told_length = Some(length);
    }
    frame(serving, body, switches)
}

/// A 304 has no body, but fields that choices care for.
fn choose_filters(serving: &mut Serving, exchange: &mut Exchange, switches: Option<&[u8]>) {
    let has_choice = switches.is_none() && (!is_bodiless(serving.status) || serving.status == 304);
    if has_choice && !exchange.filter_choices.is_empty() {
        serving.filters = BodyFilters::choose(exchange, serving.status);
    }
}

/// Framing and Connection line by the client's version; a body of unknown length ends a connection of HTTP/1.0.
fn frame<'a>(serving: &mut Serving, body: Body, switches: Option<&'a [u8]>) -> Framing<'a> {
    let mut body = body;
    // What an upstream of another protocol leaves open: its client reads no body (RFC 9112 6.3), nor the end of one.
    if body == Body::Chunked && is_bodiless(serving.status) {
        body = Body::Unframed;
    }
    if body == Body::Chunked && serving.http_minor == 0 {
        body = Body::Unframed;
        serving.persistent &= serving.head_method;
    }
    serving.answer_chunked = body == Body::Chunked && !serving.head_method && serving.http_minor != HTTP_2;
    let connection = match switches {
        _ if serving.http_minor == HTTP_2 => Connection::Default,
        Some(protocol) => Connection::Upgrade(protocol),
        None => connection_line(serving.persistent, serving.http_minor),
    };
    Framing { body, connection, expect_continue: false }
}

/// What the Connection line of an answer says (RFC 9112 9.3).
fn connection_line(persistent: bool, http_minor: u8) -> Connection<'static> {
    match (persistent, http_minor) {
        (false, _) => Connection::Close,
        (true, 0) => Connection::KeepAlive,
        (true, _) => Connection::Default,
    }
}
