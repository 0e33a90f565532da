//! Bodies that are read before an upstream is asked: FastCGI has to be told their length, `request_buffers` asks for it.
//!
//! Rule: what is kept is bounded. A body that is here whole may be sent again; of a longer one the rest streams behind
//! what was kept, but to FastCGI. Both go up framed as they came, as from Caddy.

use super::{Serving, Waiting};
use crate::error::Failure;
use crate::http1::chunked;
use crate::limits::FASTCGI_BUFFERED_BODY_BYTES_MAX;
use crate::ring::{Io, SocketId};
use crate::worker::Worker;

use super::receiving::is_idempotent;

/// What taking in body bytes led to.
enum Step {
    More,
    /// The upstream can be asked.
    Enough,
}

impl Worker {
    /// True where the body, or its beginning, must be here before an upstream is asked.
    pub fn waits_for_body(&mut self, client: SocketId) -> bool {
        let Some(down) = self.downstream(client) else { return false };
        let has_own_body = down.exchange.as_ref().is_none_or(|exchange| exchange.replaced_body.is_some());
        let serving = &mut down.serving;
        let Some(host) = serving.host.as_ref() else { return false };
        let call = host.proxy(serving.row);
        serving.fastcgi = call.fastcgi.is_some();
        if serving.request_done() || has_own_body || call.omits_body() {
            return false;
        }
        (serving.fastcgi && serving.chunked) || call.cluster.state().request_buffer_bytes > 0
    }

    /// Begins to read the body.
    pub fn await_body<I: Io>(&mut self, io: &mut I, client: SocketId) {
        let Some(down) = self.downstream(client) else { return };
        down.serving.waiting = Waiting::Body;
        if std::mem::take(&mut down.serving.expects_continue) {
            self.send_continue(io, client);
        }
        self.advance_input(io, client);
    }

    /// Body bytes of a request whose upstream is not asked yet; returns how many were used.
    pub fn buffer_body<I: Io>(&mut self, io: &mut I, client: SocketId, bytes: &[u8]) -> usize {
        let buffer_max = self.cluster_timeout(client, |state| state.request_buffer_bytes as u64, 0) as usize;
        let Some(down) = self.downstream(client) else { return bytes.len() };
        let (outcome, used) = down.serving.keep_body(bytes, buffer_max);
        match outcome {
            Err(failure) => {
                self.fail(io, client, failure);
                bytes.len()
            }
            Ok(Step::More) => used,
            Ok(Step::Enough) => {
                let Some(down) = self.downstream(client) else { return bytes.len() };
                let is_repeatable = down.exchange.as_ref().is_some_and(|one| is_idempotent(one.method()));
                let serving = &mut down.serving;
                serving.waiting = Waiting::Upstream;
                if serving.has_whole_body() {
                    if serving.fastcgi {
                        (serving.length, serving.chunked) = (Some(serving.body_bytes), false);
                    }
                    (serving.bodiless, serving.replayable) = (true, is_repeatable);
                }
                self.enter_cluster(io, client);
                used
            }
        }
    }

    /// Appends what was kept of the body behind the request's head.
    pub fn write_buffered_body(&mut self, client: SocketId, may_chunk: bool, out: &mut Vec<u8>) {
        let Some(down) = self.downstream(client) else { return };
        let serving = &down.serving;
        if serving.fastcgi || serving.withholds_body {
            return;
        }
        match serving.chunked && may_chunk {
            false => out.extend_from_slice(&serving.buffered),
            true => {
                if !serving.buffered.is_empty() {
                    chunked::write_chunk(&serving.buffered, out);
                }
                // Of an empty body, the end is all that there is.
                if serving.request_done() {
                    out.extend_from_slice(chunked::LAST_CHUNK);
                }
            }
        }
    }
}

impl Serving {
    /// All of the body is kept.
    pub fn has_whole_body(&self) -> bool {
        self.request_done() && self.buffered.len() as u64 == self.body_bytes
    }

    fn keep_body(&mut self, bytes: &[u8], buffer_max: usize) -> (Result<Step, Failure>, usize) {
        let must_end = self.fastcgi && self.chunked;
        let kept_max = if must_end { buffer_max.max(FASTCGI_BUFFERED_BODY_BYTES_MAX) } else { buffer_max };
        let mut at = 0;
        while at < bytes.len() && !self.request_done() && (must_end || self.buffered.len() < kept_max) {
            let piece = match self.body.next(&bytes[at..]) {
                Ok(piece) => piece,
                Err(rule) => return (Err(Failure::BadRequest(rule.status, rule.rule)), at),
            };
            self.buffered.extend_from_slice(piece.body(&bytes[at..]));
            self.body_bytes += piece.data as u64;
            at += piece.consumed;
            if self.body_bytes > self.body_bytes_max {
                return (Err(Failure::BodyTooLarge), at);
            }
            if must_end && self.buffered.len() > kept_max {
                return (Err(Failure::BadRequest(411, "the length of the body is not told")), at);
            }
        }
        let enough = self.request_done() || (!must_end && self.buffered.len() >= kept_max);
        (Ok(if enough { Step::Enough } else { Step::More }), at)
    }
}
