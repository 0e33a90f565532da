//! FastCGI upstreams: a request goes up as records, their answer comes down the way of HTTP/1.1 answers.
//!
//! Rule: the end of the connection is no end of an answer; only END_REQUEST is.

use crate::access_log;
use crate::error::Failure;
use crate::fastcgi::{Response, records};
use crate::ring::{End, Io, SocketId};
use crate::upstream;
use crate::worker::Worker;

impl Worker {
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
