//! What a plugin's call waits for: the beginning of the request's body, the answer to a request of its own.
//!
//! Rule: a body that is looked at stays where it is, in the connection's input, and goes up as any body does.

use super::{Phase, Waiting};
use crate::error::Failure;
use crate::http1::body::BodyDecoder;
use crate::limits::BUFFERED_INPUT_BYTES_MAX;
use crate::metrics::PluginCount;
use crate::plugins::fetching::{Job, Route};
use crate::plugins::memory::{Fetched, Outbound, ReadAhead, Wanted};
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
            let whole_bytes = serving.request_done().then_some(serving.body_bytes);
            return self.show_body(io, socket, peek, (Vec::new(), whole_bytes));
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
        match read_ahead(down.serving.body, bytes, peek.limit, ended) {
            Err(failure) => {
                self.fail(io, socket, failure);
                Some(bytes.len())
            }
            Ok(Read { is_enough, .. }) if !is_enough && bytes.len() < BUFFERED_INPUT_BYTES_MAX => None,
            Ok(Read { bytes, whole_bytes, .. }) => {
                self.show_body(io, socket, peek, (bytes, whole_bytes));
                Some(0)
            }
        }
    }

    /// The body ended without a byte.
    pub fn peek_nothing<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let Some(down) = self.downstream(socket) else { return };
        let Waiting::PluginBody(peek) = down.serving.waiting else { return };
        down.serving.body = BodyDecoder::Empty;
        self.show_body(io, socket, peek, (Vec::new(), Some(0)));
    }

    fn show_body<I: Io>(
        &mut self,
        io: &mut I,
        socket: SocketId,
        peek: Peek,
        (bytes, whole_bytes): (Vec<u8>, Option<u64>),
    ) {
        let Some(down) = self.downstream(socket) else { return };
        down.serving.waiting = Waiting::Decision;
        if let Some(exchange) = down.exchange.as_deref_mut() {
            exchange.plugins.body = Some(ReadAhead { limit: peek.limit, bytes, whole_bytes });
        }
        self.run_program(io, socket, peek.entry);
    }

    fn start_fetch<I: Io>(&mut self, io: &mut I, socket: SocketId, entry: u32, outbound: Outbound) {
        let now_ms = self.now_ms();
        let plugin = self.machine.plugins.index.find(&outbound.plugin).cloned();
        let mut asked = Fetched { plugin: outbound.plugin.clone(), ..Fetched::default() };
        let myself = self.myself.clone();
        let Some(down) = self.downstream(socket) else { return };
        let ticket = u64::from(down.generation) << 32 | u64::from(socket.0);
        let Some(exchange) = down.exchange.as_deref() else { return };
        let route = plugin.as_deref().and_then(|plugin| {
            let upstream = plugin.upstreams.get(outbound.upstream)?;
            Route::find(upstream, exchange, now_ms, plugin.fetch_timeout_ms)
        });
        down.serving.waiting = Waiting::PluginFetch(entry);
        let why = match route.zip(plugin) {
            None => "its upstream has no endpoint over TCP",
            Some((route, plugin)) => {
                let namespace = plugin.namespace.clone();
                match self.fetches.submit(Job { namespace, outbound, route, ticket, reply: myself }) {
                    Ok(()) => return,
                    Err(why) => why,
                }
            }
        };
        asked.failure = Some(why.into());
        self.take_fetched(io, socket, entry, asked);
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
        let plugin = self.machine.plugins.index.find(&fetched.plugin).cloned();
        if fetched.failure.is_some() {
            let slot = plugin.as_ref().map_or(0, |plugin| plugin.slot);
            self.metrics.count_plugin(slot, PluginCount::FetchFailures, 1);
        }
        let Some(down) = self.downstream(socket) else { return };
        down.serving.waiting = Waiting::Decision;
        if let Some(exchange) = down.exchange.as_deref_mut() {
            if let (Some(why), Some(plugin), Some(host)) = (&fetched.failure, plugin, &down.serving.host) {
                plugin.note_fetch(&host.name, exchange.now.unix_ms / 1000, why);
            }
            exchange.plugins.fetches.push(fetched.into());
        }
        self.run_program(io, socket, entry);
    }
}

/// The beginning of a body, as far as it came.
struct Read {
    bytes: Vec<u8>,
    whole_bytes: Option<u64>,
    /// What comes next would change neither.
    is_enough: bool,
}

/// Decodes a copy: at most `limit` bytes, and one more to know whether that is all where nobody said how long it is.
fn read_ahead(mut body: BodyDecoder, bytes: &[u8], limit: u64, ended: bool) -> Result<Read, Failure> {
    let told = if let BodyDecoder::Length(length) = body { Some(length) } else { None };
    let (mut read, mut at) = (Vec::new(), 0);
    while at < bytes.len() && !body.is_done() && read.len() as u64 <= limit {
        let piece = body.next(&bytes[at..]).map_err(|rule| Failure::BadRequest(rule.status, rule.rule))?;
        read.extend_from_slice(piece.body(&bytes[at..]));
        at += piece.consumed;
    }
    let is_whole = body.is_done() || (ended && at == bytes.len());
    let length = read.len() as u64;
    read.truncate(limit as usize);
    Ok(Read {
        bytes: read,
        whole_bytes: if is_whole { Some(length) } else { told },
        is_enough: is_whole || length > limit || (told.is_some() && length == limit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::chunked::ChunkDecoder;

    #[test]
    fn a_body_is_enough_once_it_is_known_whether_it_is_cut() {
        let length = BodyDecoder::Length;
        let chunked = || BodyDecoder::Chunked(ChunkDecoder::default());
        for (body, bytes, ended, read, whole_bytes, is_enough) in [
            (BodyDecoder::Empty, "", false, "", Some(0), true),
            (length(3), "ab", false, "ab", Some(3), false),
            (length(3), "abc", false, "abc", Some(3), true),
            (length(4), "abcd", false, "abcd", Some(4), true),
            (length(9), "abcd", false, "abcd", Some(9), true),
            (length(9), "abcdefghi", false, "abcd", Some(9), true),
            (chunked(), "4\r\nabcd\r\n", false, "abcd", None, false),
            (chunked(), "4\r\nabcd\r\n0\r\n\r\n", false, "abcd", Some(4), true),
            (chunked(), "4\r\nabcd\r\n1\r\ne", false, "abcd", None, true),
            (BodyDecoder::UntilClose, "abcd", false, "abcd", None, false),
            (BodyDecoder::UntilClose, "abcd", true, "abcd", Some(4), true),
            (BodyDecoder::UntilClose, "abcde", false, "abcd", None, true),
            (BodyDecoder::UntilClose, "abcde", true, "abcd", Some(5), true),
        ] {
            let found = read_ahead(body, bytes.as_bytes(), 4, ended).unwrap();
            let found = (&found.bytes[..], found.whole_bytes, found.is_enough);
            assert_eq!(found, (read.as_bytes(), whole_bytes, is_enough), "{body:?} {bytes} {ended}");
        }
    }
}
