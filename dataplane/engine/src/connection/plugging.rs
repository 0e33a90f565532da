//! What a plugin's call waits for: the beginning of the request's body, the answer to a request of its own.
//!
//! Rule: a body that is looked at stays where it is, in the connection's input, and goes up as any body does.

use super::{Phase, Waiting};
use crate::error::Failure;
use crate::http1::body::BodyDecoder;
use crate::limits::BUFFERED_INPUT_BYTES_MAX;
use crate::plugins::fetching::{Job, Route};
use crate::plugins::memory::{Fetched, Outbound, Wanted};
use crate::ring::{Io, SocketId};
use crate::worker::Worker;

/// A look at the body: so many bytes, then the program at this entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peek {
    limit: u64,
    entry: u32,
}

impl Worker {
    /// The exchange says what is wanted; the program goes on at `entry` when it is there.
    pub fn wait_for_plugin<I: Io>(&mut self, io: &mut I, socket: SocketId, entry: u32) {
        let Some(down) = self.downstream(socket) else { return };
        let Some(exchange) = down.exchange.as_deref_mut() else { return };
        match exchange.plugins.wanted.take() {
            Some(Wanted::Body(limit)) => self.await_peek(io, socket, Peek { limit, entry }),
            Some(Wanted::Fetch(outbound)) => self.start_fetch(io, socket, entry, *outbound),
            None => self.answer_error(io, socket, 500, "a plugin waits for nothing"),
        }
    }

    fn await_peek<I: Io>(&mut self, io: &mut I, socket: SocketId, peek: Peek) {
        let Some(down) = self.downstream(socket) else { return };
        let serving = &mut down.serving;
        serving.waiting = Waiting::PluginBody(peek);
        // Once the body goes up, or went, there is nothing left to look at.
        if serving.request_done() || serving.body_bytes > 0 || serving.held.is_some() {
            return self.show_body(io, socket, peek, Vec::new());
        }
        if std::mem::take(&mut serving.expects_continue) && !self.is_stream(socket) {
            self.send_downstream(io, socket, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    /// All bytes of the body that are here, none of them used. None: more have to come.
    pub fn peek_body<I: Io>(
        &mut self,
        io: &mut I,
        socket: SocketId,
        peek: Peek,
        bytes: &[u8],
    ) -> Option<usize> {
        let down = self.downstream(socket)?;
        let ended = down.stream.as_deref().is_some_and(|link| link.ended);
        match read_ahead(down.serving.body, bytes, peek.limit) {
            Err(failure) => {
                self.fail(io, socket, failure);
                Some(bytes.len())
            }
            Ok((body, done)) => {
                let full = bytes.len() >= BUFFERED_INPUT_BYTES_MAX || body.len() as u64 >= peek.limit;
                if !(done || full || ended) {
                    return None;
                }
                self.show_body(io, socket, peek, body);
                Some(0)
            }
        }
    }

    /// The body ended without a byte.
    pub fn peek_nothing<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let Some(down) = self.downstream(socket) else { return };
        let Waiting::PluginBody(peek) = down.serving.waiting else { return };
        down.serving.body = BodyDecoder::Empty;
        self.show_body(io, socket, peek, Vec::new());
    }

    fn show_body<I: Io>(&mut self, io: &mut I, socket: SocketId, peek: Peek, body: Vec<u8>) {
        let Some(down) = self.downstream(socket) else { return };
        down.serving.waiting = Waiting::Decision;
        if let Some(exchange) = down.exchange.as_deref_mut() {
            exchange.plugins.body = Some((peek.limit, body));
        }
        self.run_program(io, socket, peek.entry);
    }

    fn start_fetch<I: Io>(&mut self, io: &mut I, socket: SocketId, entry: u32, outbound: Outbound) {
        let now_ms = self.now_ms();
        let plugin = self.machine.plugins.index.find(&outbound.plugin).cloned();
        let asked = Fetched { plugin: outbound.plugin.clone(), ..Fetched::default() };
        let myself = self.myself.clone();
        let Some(down) = self.downstream(socket) else { return };
        let ticket = u64::from(down.generation) << 32 | u64::from(socket.0);
        let Some(exchange) = down.exchange.as_deref() else { return };
        let route = plugin.as_deref().and_then(|plugin| {
            let upstream = plugin.upstreams.get(outbound.upstream)?;
            Route::find(upstream, exchange, now_ms, plugin.fetch_timeout_ms)
        });
        down.serving.waiting = Waiting::PluginFetch(entry);
        let job = route.zip(plugin).map(|(route, plugin)| {
            let namespace = plugin.namespace.clone();
            Job { namespace, outbound, route, ticket, reply: myself }
        });
        if !job.is_some_and(|job| self.fetches.submit(job)) {
            self.take_fetched(io, socket, entry, asked);
        }
    }

    /// The pool's answer; the connection may be gone or serve another request by now.
    pub fn fetched<I: Io>(&mut self, io: &mut I, ticket: u64, fetched: Fetched) {
        let socket = SocketId(ticket as u32);
        let Some(down) = self.downstream(socket) else { return };
        let Waiting::PluginFetch(entry) = down.serving.waiting else { return };
        if down.generation != (ticket >> 32) as u32 || down.phase != Phase::Serving {
            return;
        }
        self.take_fetched(io, socket, entry, fetched);
        self.advance_input(io, socket);
    }

    fn take_fetched<I: Io>(&mut self, io: &mut I, socket: SocketId, entry: u32, fetched: Fetched) {
        let Some(down) = self.downstream(socket) else { return };
        down.serving.waiting = Waiting::Decision;
        if let Some(exchange) = down.exchange.as_deref_mut() {
            exchange.plugins.fetches.push(fetched.into());
        }
        self.run_program(io, socket, entry);
    }
}

/// Decodes a copy: at most `limit` bytes of the body, and whether that is all of it.
fn read_ahead(mut body: BodyDecoder, bytes: &[u8], limit: u64) -> Result<(Vec<u8>, bool), Failure> {
    let (mut read, mut at) = (Vec::new(), 0);
    while at < bytes.len() && !body.is_done() && (read.len() as u64) < limit {
        let piece = body.next(&bytes[at..]).map_err(|rule| Failure::BadRequest(rule.status, rule.rule))?;
        read.extend_from_slice(piece.body(&bytes[at..]));
        at += piece.consumed;
    }
    read.truncate(limit as usize);
    Ok((read, body.is_done()))
}
