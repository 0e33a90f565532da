//! Plain HTTP on a listener that redirects it to https (Caddy: the listener wrapper `http_redirect`).
//!
//! In: the first bytes of a connection, before TLS. Out: a redirect of the one request, then the end; or the connection
//! as if nobody had looked. Rule: what begins like a request is one, as in Caddy (httpredirectlistener.go).

use super::Phase;
use crate::exchange::{MALFORMED_HOST, Refuse, is_authority};
use crate::http1::head::HeadScanner;
use crate::http1::{Violation, request};
use crate::limits::REQUEST_HEAD_BYTES_MAX;
use crate::ring::{Close, Io, SocketId};
use crate::worker::Worker;

impl Worker {
    /// Waits for the first bytes.
    pub fn await_beginning(&mut self, socket: SocketId) {
        let deadline_ms = self.now_ms() + self.head_timeout_ms(socket);
        if let Some(down) = self.downstream(socket) {
            down.phase = Phase::Beginning;
        }
        self.set_downstream_deadline(socket, deadline_ms);
    }

    pub fn beginning_data<I: Io>(&mut self, io: &mut I, socket: SocketId, data: &[u8]) {
        let Some(down) = self.downstream(socket) else { return };
        down.input.extend_from_slice(data);
        if down.input.len() < request::BEGINNING_BYTES {
            return;
        }
        if request::may_begin(&down.input) {
            return self.redirect_beginning(io, socket);
        }
        let mut input = std::mem::take(&mut down.input);
        self.open_transport(io, socket);
        self.downstream_data(io, socket, &mut input);
    }

    fn redirect_beginning<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let Some(down) = self.downstream(socket) else { return };
        let answer = match HeadScanner::default().scan(&down.input, REQUEST_HEAD_BYTES_MAX) {
            Ok(None) => return,
            Ok(Some(length)) => make_redirect(&down.input[..length]),
            Err(violation) => Err(violation),
        };
        match answer {
            Ok(answer) => {
                self.metrics.request(308, 0);
                self.send_downstream(io, socket, &answer);
                self.close_after_flush(io, socket, Close::AfterFlush);
            }
            Err(rule) => self.refuse_head(io, socket, Refuse { status: rule.status, reason: rule.rule }),
        }
    }
}

fn make_redirect(head: &[u8]) -> Result<Vec<u8>, Violation> {
    let mut space = request::field_space();
    let request = request::parse(head, &mut space)?;
    let mut hosts = request.fields.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    let (host, other) = (hosts.next().map_or(&b""[..], |field| field.value), hosts.next());
    if host.is_empty() || other.is_some() || !is_authority(host) {
        return Err(Violation::bad(MALFORMED_HOST));
    }
    if !request.target.starts_with(b"/") {
        return Err(Violation::bad("no path to redirect to"));
    }
    let beginning = b"HTTP/1.0 308 Permanent Redirect\r\nLocation: https://";
    Ok([beginning, host, request.target, b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(head: &str) -> Option<String> {
        let answer = String::from_utf8(make_redirect(head.as_bytes()).ok()?).unwrap();
        answer.lines().find_map(|line| line.strip_prefix("Location: ")).map(str::to_owned)
    }

    #[test]
    fn a_request_goes_to_the_same_place_by_https() {
        let found = location("GET /a?b=%20 HTTP/1.1\r\nHost: shop.example:8443\r\n\r\n");
        assert_eq!(found.as_deref(), Some("https://shop.example:8443/a?b=%20"));
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for head in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.example/b\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: a.example\r\n\r\n",
        ] {
            assert_eq!(location(head), None, "{head:?}");
        }
    }
}
