//! Frames are taken in, in order, each checked against its stream's state.

use super::Violation;
use super::frames::{self, Code, FrameHead};
use super::multiplex::{Event, Multiplex, NOBODY, Role};
use super::settings::WINDOW_BYTES_MAX;
use super::streams::Gone;
use crate::limits::{HTTP2_STREAM_WINDOW_BYTES, HTTP2_STREAMS_MAX, REQUEST_HEAD_BYTES_MAX};

/// What one frame led to.
enum Taken {
    Event(Event),
    Nothing,
}

impl Multiplex {
    /// Takes frames off `input` from `at` on, until one yields an event or no whole frame is left.
    pub fn receive(&mut self, input: &[u8], at: &mut usize) -> Result<Option<Event>, Violation> {
        if self.preface && !self.take_preface(input, at)? {
            return Ok(None);
        }
        loop {
            let Some(head) = FrameHead::parse(&input[*at..]) else { return Ok(None) };
            self.check_head(&head)?;
            let start = *at + frames::HEAD_BYTES;
            let Some(payload) = input.get(start..start + head.length) else { return Ok(None) };
            *at = start + head.length;
            if let Taken::Event(event) = self.take(head, payload, start)? {
                return Ok(Some(event));
            }
        }
    }

    fn take_preface(&mut self, input: &[u8], at: &mut usize) -> Result<bool, Violation> {
        let length = input[*at..].len().min(frames::PREFACE.len());
        if input[*at..*at + length] != frames::PREFACE[..length] {
            return Err(Violation::protocol("malformed preface"));
        }
        if length < frames::PREFACE.len() {
            return Ok(false);
        }
        *at += length;
        self.preface = false;
        Ok(true)
    }

    /// What is wrong with a frame before its payload came.
    fn check_head(&self, head: &FrameHead) -> Result<(), Violation> {
        if head.length > frames::PAYLOAD_BYTES_MAX {
            return Err(Violation::new(Code::FrameSize, "frame too large"));
        }
        let block = &self.block;
        if block.open && (head.kind != frames::CONTINUATION || head.stream != block.id) {
            return Err(Violation::protocol("frame within a header block"));
        }
        if !self.ready && (head.kind != frames::SETTINGS || head.has(frames::ACK)) {
            return Err(Violation::protocol("first frame is not SETTINGS"));
        }
        Ok(())
    }

    fn take(&mut self, head: FrameHead, payload: &[u8], start: usize) -> Result<Taken, Violation> {
        match head.kind {
            frames::DATA => self.take_data(head, payload, start),
            frames::HEADERS => self.take_headers(head, payload),
            frames::CONTINUATION => self.take_continuation(head, payload),
            frames::PRIORITY => self.take_priority(head, payload),
            frames::RST_STREAM => self.take_reset(head, payload),
            frames::SETTINGS => self.take_settings(head, payload),
            frames::PING => self.take_ping(head, payload),
            frames::GOAWAY => self.take_goaway(head, payload),
            frames::WINDOW_UPDATE => self.take_window_update(head, payload),
            frames::PUSH_PROMISE => Err(Violation::protocol("push was not allowed")),
            _ => self.budget.spend(1).map(|()| Taken::Nothing),
        }
    }

    /// True where the peer cannot have used this number yet.
    fn is_idle(&self, id: u32) -> bool {
        match self.role {
            Role::Server => id > self.streams.last.max(self.ignored) || id.is_multiple_of(2),
            Role::Client => id >= self.next_id || id.is_multiple_of(2),
        }
    }

    /// A stream ends by our reset: it is paid for, since peers can make us do it (CVE-2025-8671).
    pub fn stream_error(&mut self, id: u32, code: Code) -> Result<Event, Violation> {
        frames::push_reset(id, code, &mut self.out);
        let owner = self.streams.remove(id, Gone::ResetByUs).map_or(NOBODY, |stream| stream.owner);
        self.budget.spend(1)?;
        Ok(Event::Reset { owner, code: code as u32, by_peer: false })
    }

    fn fail(&mut self, id: u32, code: Code) -> Result<Taken, Violation> {
        match self.stream_error(id, code)? {
            Event::Reset { owner: NOBODY, .. } => Ok(Taken::Nothing),
            event => Ok(Taken::Event(event)),
        }
    }

    fn take_data(&mut self, head: FrameHead, payload: &[u8], start: usize) -> Result<Taken, Violation> {
        if head.stream == 0 || self.is_idle(head.stream) {
            return Err(Violation::protocol("DATA on an idle stream"));
        }
        let data = frames::unpad(&head, payload)?;
        self.receive_window -= head.length as i64;
        if self.receive_window < 0 {
            return Err(Violation::new(Code::FlowControl, "connection window exceeded"));
        }
        let end = head.has(frames::END_STREAM);
        if data.is_empty() && !end {
            self.budget.spend(1)?;
        }
        let Some(stream) = self.streams.get_mut(head.stream) else {
            self.credit_connection(head.length);
            return match self.streams.gone(head.stream) {
                Some(Gone::ResetByUs) => Ok(Taken::Nothing),
                Some(Gone::ResetByPeer) => self.fail(head.stream, Code::StreamClosed),
                // A stream of ours that ended too long ago to remember: we may have reset it.
                None if self.role == Role::Client => Ok(Taken::Nothing),
                None if head.stream > self.streams.last => Ok(Taken::Nothing),
                _ => Err(Violation::new(Code::StreamClosed, "DATA on a closed stream")),
            };
        };
        if stream.remote_done {
            self.credit_connection(head.length);
            return self.fail(head.stream, Code::StreamClosed);
        }
        if self.role == Role::Client && !stream.head_received {
            self.credit_connection(head.length);
            return self.fail(head.stream, Code::Protocol);
        }
        stream.receive_window -= head.length as i64;
        let too_much = stream.length_left.is_some_and(|left| (data.len() as u64) > left);
        if let Some(left) = &mut stream.length_left {
            *left = left.saturating_sub(data.len() as u64);
        }
        let too_little = end && stream.length_left.is_some_and(|left| left > 0);
        if stream.receive_window < 0 {
            self.credit_connection(head.length);
            return self.fail(head.stream, Code::FlowControl);
        }
        if too_much || too_little {
            // Content-Length and DATA disagree (RFC 9113 8.1.1).
            self.credit_connection(head.length);
            return self.fail(head.stream, Code::Protocol);
        }
        stream.remote_done = end;
        let owner = stream.owner;
        self.budget.earn(u32::from(!data.is_empty()));
        if owner == NOBODY {
            let unwanted = stream.receive_window < i64::from(HTTP2_STREAM_WINDOW_BYTES / 2);
            self.credit_connection(head.length);
            if end {
                self.finish(head.stream);
            } else if unwanted {
                self.streams.remove(head.stream, Gone::ResetByUs);
                frames::push_reset(head.stream, Code::None, &mut self.out);
            }
            return Ok(Taken::Nothing);
        }
        let from = start + (data.as_ptr() as usize - payload.as_ptr() as usize);
        let bytes = from..from + data.len();
        // Padding is used up at once.
        let padding = head.length - data.len();
        self.credit_connection(if self.role == Role::Client { head.length } else { padding });
        self.credit_stream(head.stream, padding);
        if bytes.is_empty() && !end {
            return Ok(Taken::Nothing);
        }
        Ok(Taken::Event(Event::Data { id: head.stream, owner, bytes, end }))
    }

    fn take_headers(&mut self, head: FrameHead, payload: &[u8]) -> Result<Taken, Violation> {
        if head.stream == 0 || head.stream.is_multiple_of(2) {
            return Err(Violation::protocol("HEADERS on a number that is not the client's"));
        }
        let mut block = frames::unpad(&head, payload)?;
        let mut self_dependent = false;
        if head.has(frames::WITH_PRIORITY) {
            let Some((priority, rest)) = block.split_first_chunk::<5>() else {
                return Err(Violation::new(Code::FrameSize, "HEADERS without its priority"));
            };
            block = rest;
            self_dependent = depends_on(priority) == head.stream;
        }
        self.block.id = head.stream;
        self.block.end_stream = head.has(frames::END_STREAM);
        self.block.self_dependent = self_dependent;
        if head.has(frames::END_HEADERS) {
            return self.finish_block(block);
        }
        self.block.open = true;
        self.block.bytes.clear();
        self.block.bytes.extend_from_slice(block);
        Ok(Taken::Nothing)
    }

    fn take_continuation(&mut self, head: FrameHead, payload: &[u8]) -> Result<Taken, Violation> {
        if !self.block.open {
            return Err(Violation::protocol("CONTINUATION without HEADERS"));
        }
        self.budget.spend(1)?;
        if self.block.bytes.len() + payload.len() > REQUEST_HEAD_BYTES_MAX {
            return Err(Violation::new(Code::EnhanceYourCalm, "header block too large"));
        }
        self.block.bytes.extend_from_slice(payload);
        if !head.has(frames::END_HEADERS) {
            return Ok(Taken::Nothing);
        }
        self.block.open = false;
        let bytes = std::mem::take(&mut self.block.bytes);
        self.finish_block(&bytes)
    }

    /// A whole block: decoded whatever becomes of its stream, since the table must follow.
    fn finish_block(&mut self, block: &[u8]) -> Result<Taken, Violation> {
        let (id, end) = (self.block.id, self.block.end_stream);
        let decoded = self.decoder.decode(block, &mut self.fields);
        decoded.map_err(|malformed| Violation::new(Code::Compression, malformed.0))?;
        if self.streams.get(id).is_some() {
            return self.take_later_block(id, end);
        }
        match self.streams.gone(id) {
            Some(Gone::ResetByUs) => return Ok(Taken::Nothing),
            Some(_) => return Err(Violation::new(Code::StreamClosed, "HEADERS on a closed stream")),
            None => {}
        }
        if self.role == Role::Client {
            return match self.is_idle(id) {
                true => Err(Violation::protocol("HEADERS on an idle stream")),
                false => Ok(Taken::Nothing),
            };
        }
        if id <= self.streams.last {
            return Err(Violation::protocol("stream number went down"));
        }
        if self.goaway.is_some_and(|last| id > last) {
            self.ignored = self.ignored.max(id);
            return self.budget.spend(1).map(|()| Taken::Nothing);
        }
        self.streams.last = id;
        if self.block.self_dependent {
            return self.fail(id, Code::Protocol);
        }
        if self.streams.len() >= HTTP2_STREAMS_MAX as usize {
            return self.fail(id, Code::RefusedStream);
        }
        let mut stream = self.new_stream(NOBODY);
        stream.remote_done = end;
        stream.head_received = true;
        self.streams.insert(id, stream);
        Ok(Taken::Event(Event::Head { id, end }))
    }

    /// Trailers of a request; the head, interim heads or trailers of an answer.
    fn take_later_block(&mut self, id: u32, end: bool) -> Result<Taken, Violation> {
        let client = self.role == Role::Client;
        let self_dependent = self.block.self_dependent;
        let Some(stream) = self.streams.get_mut(id) else { return Ok(Taken::Nothing) };
        if stream.remote_done {
            return self.fail(id, Code::StreamClosed);
        }
        if client && !stream.head_received {
            let interim = self
                .fields
                .iter()
                .next()
                .is_some_and(|(name, value)| name == b":status" && value.first() == Some(&b'1'));
            if interim && end {
                return self.fail(id, Code::Protocol);
            }
            stream.head_received = !interim;
            stream.remote_done = end;
            return Ok(Taken::Event(Event::Head { id, end }));
        }
        let owner = stream.owner;
        let short = stream.length_left.is_some_and(|left| left > 0);
        // Trailers end the stream and have no pseudo-header fields (RFC 9113 8.1).
        if !end || short || self_dependent || !super::fields::are_trailers(&self.fields) {
            return self.fail(id, Code::Protocol);
        }
        if let Some(stream) = self.streams.get_mut(id) {
            stream.remote_done = true;
        }
        if owner == NOBODY {
            self.finish(id);
            return Ok(Taken::Nothing);
        }
        Ok(Taken::Event(Event::Trailers { id, owner }))
    }

    /// Priorities are not followed (RFC 9113 5.3.2), their format is checked.
    fn take_priority(&mut self, head: FrameHead, payload: &[u8]) -> Result<Taken, Violation> {
        if head.stream == 0 {
            return Err(Violation::protocol("PRIORITY on stream 0"));
        }
        self.budget.spend(1)?;
        match payload.first_chunk::<5>().filter(|_| payload.len() == 5) {
            None => self.fail(head.stream, Code::FrameSize),
            Some(priority) if depends_on(priority) == head.stream => self.fail(head.stream, Code::Protocol),
            Some(_) => Ok(Taken::Nothing),
        }
    }

    fn take_reset(&mut self, head: FrameHead, payload: &[u8]) -> Result<Taken, Violation> {
        let code = frames::number(payload)?;
        if head.stream == 0 || self.is_idle(head.stream) {
            return Err(Violation::protocol("RST_STREAM on an idle stream"));
        }
        // A server that refuses our streams is not attacking us; a client that resets its own may be.
        if self.role == Role::Server {
            self.budget.spend(1)?;
        }
        match self.streams.remove(head.stream, Gone::ResetByPeer) {
            None => Ok(Taken::Nothing),
            Some(stream) => Ok(Taken::Event(Event::Reset { owner: stream.owner, code, by_peer: true })),
        }
    }

    fn take_settings(&mut self, head: FrameHead, payload: &[u8]) -> Result<Taken, Violation> {
        if head.stream != 0 {
            return Err(Violation::protocol("SETTINGS on a stream"));
        }
        if head.has(frames::ACK) {
            // One answers ours; nobody needs more.
            return match payload.is_empty() {
                true => self.budget.spend(1).map(|()| Taken::Nothing),
                false => Err(Violation::new(Code::FrameSize, "SETTINGS ACK with a payload")),
            };
        }
        self.budget.spend(1 + payload.len() as u32 / 60)?;
        let before = i64::from(self.peer.initial_window_bytes);
        let from = if self.role == Role::Server { Role::Client } else { Role::Server };
        self.peer.take(payload, from)?;
        let change = i64::from(self.peer.initial_window_bytes) - before;
        if change != 0 {
            self.change_windows(change)?;
        }
        frames::push(frames::SETTINGS, frames::ACK, 0, &[], &mut self.out);
        match std::mem::replace(&mut self.ready, true) {
            true => Ok(Taken::Nothing),
            false => Ok(Taken::Event(Event::Ready)),
        }
    }

    fn change_windows(&mut self, change: i64) -> Result<(), Violation> {
        let mut waiting = Vec::new();
        for (id, stream) in self.streams.iter_mut() {
            stream.send_window += change;
            if stream.send_window > WINDOW_BYTES_MAX {
                return Err(Violation::new(Code::FlowControl, "window too large"));
            }
            if stream.has_work() {
                waiting.push(*id);
            }
        }
        waiting.into_iter().for_each(|id| self.streams.line_up(id));
        Ok(())
    }

    fn take_ping(&mut self, head: FrameHead, payload: &[u8]) -> Result<Taken, Violation> {
        if head.stream != 0 {
            return Err(Violation::protocol("PING on a stream"));
        }
        if payload.len() != 8 {
            return Err(Violation::new(Code::FrameSize, "PING is not eight bytes"));
        }
        let is_answer = head.has(frames::ACK) && std::mem::replace(&mut self.ping_pending, false);
        if !is_answer {
            self.budget.spend(1)?;
        }
        if !head.has(frames::ACK) {
            frames::push(frames::PING, frames::ACK, 0, payload, &mut self.out);
        }
        Ok(Taken::Nothing)
    }

    fn take_goaway(&mut self, head: FrameHead, payload: &[u8]) -> Result<Taken, Violation> {
        if head.stream != 0 {
            return Err(Violation::protocol("GOAWAY on a stream"));
        }
        let Some(([last, code], _)) = payload.as_chunks::<4>().0.split_first_chunk::<2>() else {
            return Err(Violation::new(Code::FrameSize, "GOAWAY too short"));
        };
        self.budget.spend(1)?;
        let last = u32::from_be_bytes(*last) & 0x7fff_ffff;
        Ok(Taken::Event(Event::GoingAway { last, code: u32::from_be_bytes(*code) }))
    }

    fn take_window_update(&mut self, head: FrameHead, payload: &[u8]) -> Result<Taken, Violation> {
        let increment = frames::number(payload)? & 0x7fff_ffff;
        // Earned back by the DATA that it lets us send.
        self.budget.spend(1)?;
        if head.stream == 0 {
            self.send_window += i64::from(increment);
            if increment == 0 {
                return Err(Violation::protocol("window update of 0"));
            }
            return match self.send_window > WINDOW_BYTES_MAX {
                true => Err(Violation::new(Code::FlowControl, "connection window too large")),
                false => Ok(Taken::Nothing),
            };
        }
        if self.is_idle(head.stream) {
            return Err(Violation::protocol("WINDOW_UPDATE on an idle stream"));
        }
        let Some(stream) = self.streams.get_mut(head.stream) else { return Ok(Taken::Nothing) };
        stream.send_window += i64::from(increment);
        let (too_large, waits) = (stream.send_window > WINDOW_BYTES_MAX, stream.has_work());
        match (increment, too_large) {
            (0, _) => self.fail(head.stream, Code::Protocol),
            (_, true) => self.fail(head.stream, Code::FlowControl),
            _ => {
                if waits {
                    self.streams.line_up(head.stream);
                }
                Ok(Taken::Nothing)
            }
        }
    }
}

fn depends_on(priority: &[u8; 5]) -> u32 {
    let [stream @ .., _] = *priority;
    u32::from_be_bytes(stream) & 0x7fff_ffff
}
