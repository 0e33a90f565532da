//! FastCGI upstreams: a request goes up as records, their answer comes down the way of HTTP/1.1 answers.
//!
//! Rule: the end of the connection is no end of an answer; only END_REQUEST is.

use super::Waiting;
use crate::access_log;
use crate::error::Failure;
use crate::fastcgi::{Response, records};
use crate::limits::FASTCGI_BUFFERED_BODY_BYTES_MAX;
use crate::ring::{End, Io, SocketId};
use crate::upstream;
use crate::worker::Worker;

impl Worker {
    /// True where the body must be here before an upstream is asked: FastCGI has to be told its length.
    pub fn waits_for_length(&mut self, client: SocketId) -> bool {
        let Some(down) = self.downstream(client) else { return false };
        let serving = &mut down.serving;
        let Some(host) = serving.host.as_ref() else { return false };
        serving.fastcgi = host.proxy(serving.row).fastcgi.is_some();
        serving.fastcgi && serving.chunked
    }

    /// Begins to read a body of unknown length.
    pub fn await_length<I: Io>(&mut self, io: &mut I, client: SocketId) {
        let Some(down) = self.downstream(client) else { return };
        down.serving.waiting = Waiting::Length;
        if std::mem::take(&mut down.serving.expects_continue) {
            self.send_downstream(io, client, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.advance_input(io, client);
    }

    /// Body bytes of a request that waits for its length; returns how many were used.
    pub fn buffer_body<I: Io>(&mut self, io: &mut I, client: SocketId, bytes: &[u8]) -> usize {
        let Some(down) = self.downstream(client) else { return bytes.len() };
        let serving = &mut down.serving;
        let mut at = 0;
        let mut outcome = Ok(());
        while at < bytes.len() && !serving.request_done() && outcome.is_ok() {
            match serving.body.next(&bytes[at..]) {
                Ok(piece) => {
                    serving.buffered.extend_from_slice(piece.body(&bytes[at..]));
                    serving.body_bytes += piece.data as u64;
                    at += piece.consumed;
                }
                Err(rule) => outcome = Err(Failure::BadRequest(rule.status, rule.rule)),
            }
            if serving.body_bytes > serving.body_bytes_max {
                outcome = Err(Failure::BodyTooLarge);
            } else if serving.buffered.len() > FASTCGI_BUFFERED_BODY_BYTES_MAX {
                outcome = Err(Failure::BadRequest(411, "the length of the body is not told"));
            }
        }
        let done = serving.request_done();
        match outcome {
            Err(failure) => {
                self.fail(io, client, failure);
                bytes.len()
            }
            Ok(()) if done => {
                serving.length = Some(serving.buffered.len() as u64);
                serving.chunked = false;
                serving.waiting = Waiting::Upstream;
                self.try_endpoint(io, client, true);
                at
            }
            Ok(()) => at,
        }
    }

    /// Appends the records of a request; false where the upstream speaks HTTP/1.1.
    pub fn write_fastcgi_request(&mut self, client: SocketId, upstream: SocketId, out: &mut Vec<u8>) -> bool {
        let Worker { upstreams, downstreams, .. } = self;
        let (Some(Some(up)), Some(Some(down))) =
            (upstreams.get_mut(upstream.index()), downstreams.get_mut(client.index()))
        else {
            return false;
        };
        let serving = &down.serving;
        let (Some(host), Some(exchange)) = (serving.host.as_ref(), down.exchange.as_mut()) else {
            return false;
        };
        let call = host.proxy(serving.row);
        let Some(fastcgi) = call.fastcgi.as_ref() else { return false };
        up.cgi = Some(Box::default());
        fastcgi.write_request(exchange, call, serving.length.unwrap_or(0), out);
        records::write_stdin(&serving.buffered, out);
        if serving.request_done() {
            records::write_stdin_end(out);
        }
        true
    }

    /// Bytes from a FastCGI upstream.
    pub fn cgi_bytes<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId, bytes: &[u8]) {
        let Some(up) = self.upstream(upstream) else { return };
        let Some(mut response) = up.cgi.take() else { return };
        let mut answer = Vec::with_capacity(bytes.len() + 64);
        let taken = response.take(bytes, &mut answer);
        let ended = response.is_ended();
        if ended || taken.is_err() {
            self.log_script(client, &response);
        }
        let Some(up) = self.upstream(upstream) else { return };
        up.answering = true;
        up.cgi = Some(response);
        if taken.is_err() {
            return self.attempt_failed(io, upstream, Failure::BadResponse("malformed FastCGI answer"));
        }
        if !answer.is_empty() {
            self.answer_bytes(io, client, upstream, &answer);
        }
        let under_way = |up: &mut upstream::Upstream| {
            up.client.is_some() && matches!(up.phase, upstream::Phase::Head | upstream::Phase::Body)
        };
        if ended && self.upstream(upstream).is_some_and(under_way) {
            self.upstream_ended(io, upstream, End::Finished);
        }
    }

    /// What the script said on its standard error.
    fn log_script(&mut self, client: SocketId, response: &Response) {
        let Some(down) = self.downstream(client) else { return };
        let Some(host) = down.serving.host.as_ref() else { return };
        let wanted = host.proxy(down.serving.row).fastcgi.as_ref().is_some_and(|cgi| cgi.capture_stderr);
        if wanted && !response.stderr.is_empty() {
            let text = String::from_utf8_lossy(&response.stderr);
            access_log::log("fastcgi", &format!("{}: {}", host.name, text.trim_end()));
        }
    }
}
