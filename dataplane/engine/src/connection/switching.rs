//! WebSockets on streams of HTTP/2 upstreams (RFC 8441): extended CONNECT goes up, a 2xx comes back as the client's 101.
//!
//! Rule: only an upstream whose SETTINGS allow it is asked, so such a request waits for them. Over TLS a WebSocket gets a
//! connection of HTTP/1.1 instead, as in Go's client: nobody knows before the handshake what the upstream takes.

use super::responding::Origin;
use crate::error::Failure;
use crate::exchange::{Body, HTTP_2, HeaderSpan, ResponseHead};
use crate::ring::{End, Io, SocketId};
use crate::upstream::Phase;
use crate::worker::Worker;
use aws_lc_rs::digest;
use base64::Engine;

/// Why such a request gets a 502.
pub const NO_WEBSOCKET: Failure = Failure::BadResponse("the upstream takes no WebSocket over HTTP/2");
const WEBSOCKET: &[u8] = b"websocket";
/// RFC 6455 1.3.
const ACCEPT_SALT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

impl Worker {
    /// The upstream is asked for a WebSocket.
    pub fn wants_websocket(&mut self, client: SocketId) -> bool {
        self.downstream(client).and_then(|down| down.serving.switch.as_deref()).is_some_and(is_websocket)
    }

    /// A WebSocket is asked for, and the upstream of this stream takes none.
    pub fn refuses_websocket(&mut self, client: SocketId, call: SocketId) -> bool {
        let takes = self.stream_of(call).is_some_and(|(multiplex, _)| multiplex.peer.connect_protocol);
        !takes && self.wants_websocket(client)
    }

    /// An answer of this status makes the client's exchange a WebSocket.
    pub fn accepts_websocket(&mut self, client: SocketId, status: u16) -> bool {
        (200..300).contains(&status) && self.wants_websocket(client)
    }

    /// A client of HTTP/2 takes an answer of this status for the beginning of its WebSocket (RFC 8441 5).
    pub fn would_seem_to_switch(&mut self, client: SocketId, status: u16) -> bool {
        let asks = self.downstream(client).is_some_and(|down| down.serving.upgrade.is_some());
        asks && self.is_stream(client) && (200..300).contains(&status)
    }

    /// The upstream's acceptance waits until the program has seen it as a 101. False: its route does not want to.
    pub fn holds_acceptance(&mut self, client: SocketId, call: SocketId, fields: &[HeaderSpan<'_>]) -> bool {
        let head = ResponseHead { status: 101, reason: b"", http_minor: HTTP_2, headers: fields };
        let Some(down) = self.downstream(client) else { return false };
        let Some(exchange) = down.exchange.as_mut() else { return false };
        let is_seen = down.serving.regard_switch(exchange, &head).is_seen;
        if is_seen && let Some(up) = self.upstream(call) {
            up.phase = Phase::Held;
        }
        is_seen
    }

    /// The routes let the acceptance that was held pass.
    pub fn send_held_acceptance<I: Io>(&mut self, io: &mut I, client: SocketId) {
        let Some(down) = self.downstream(client) else { return };
        down.serving.held = None;
        let Some(exchange) = down.exchange.as_deref_mut() else { return };
        let fields = std::mem::take(&mut exchange.upstream_fields);
        let spans: Vec<_> =
            fields.iter().map(|field| HeaderSpan { name: field.name, value: field.value }).collect();
        self.send_acceptance(io, client, &spans);
        self.resume_answer(io, client, Phase::Tunnel);
    }

    /// The WebSocket begins with what came of its upstream while its acceptance was held.
    pub fn switch_held<I: Io>(&mut self, io: &mut I, client: SocketId, call: SocketId) {
        let rest = self.upstream(call).map(|up| std::mem::take(&mut up.input)).unwrap_or_default();
        self.switch(io, client, call, &rest);
        self.credit_used(call, 0);
    }

    /// Writes the upstream's acceptance as a 101, with the field that says so.
    pub fn send_acceptance<I: Io>(&mut self, io: &mut I, client: SocketId, fields: &[HeaderSpan<'_>]) {
        let Some(exchange) = self.downstream(client).and_then(|down| down.exchange.as_deref()) else {
            return;
        };
        let accept = make_accept(exchange.request.get(b"sec-websocket-key").unwrap_or_default());
        let mut headers = fields.to_vec();
        headers.push(HeaderSpan { name: b"Sec-WebSocket-Accept", value: accept.as_bytes() });
        let head = ResponseHead { status: 101, reason: b"", http_minor: HTTP_2, headers: &headers };
        self.send_written(io, client, |worker, out| {
            let switches = Some(WEBSOCKET);
            let origin = Origin::Upstream { head: &head, body: Body::Unframed, ahead: 0, switches };
            worker.write_answer_head(client, origin, out);
        });
    }

    /// Bytes of a WebSocket from its upstream; `end` with the last.
    pub fn tunnel_stream<I: Io>(
        &mut self,
        io: &mut I,
        client: SocketId,
        call: SocketId,
        data: &[u8],
        end: bool,
    ) {
        if !data.is_empty() {
            self.tunnel_down(io, client, call, data);
            self.credit_used(call, 0);
        }
        if end {
            self.upstream_ended(io, call, End::Finished);
        }
    }

    /// The answer was written as a 101: bytes pass unread from here on.
    pub fn switch_stream<I: Io>(&mut self, io: &mut I, client: SocketId, call: SocketId) {
        if let Some(up) = self.upstream(call) {
            up.phase = Phase::Tunnel;
        }
        self.switch(io, client, call, &[]);
    }
}

fn is_websocket(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(WEBSOCKET)
}

/// A `Sec-WebSocket-Key`: 16 random bytes as text (RFC 6455 4.1).
pub fn make_key() -> String {
    let bytes = u128::from(crate::exchange::random()) << 64 | u128::from(crate::exchange::random());
    base64::engine::general_purpose::STANDARD.encode(bytes.to_le_bytes())
}

/// `Sec-WebSocket-Accept` for a client's key (RFC 6455 4.2.2).
fn make_accept(key: &[u8]) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(ACCEPT_SALT);
    base64::engine::general_purpose::STANDARD.encode(context.finish())
}

#[cfg(test)]
mod tests {
    use super::make_accept;

    #[test]
    fn the_key_of_rfc_6455_1_3() {
        assert_eq!(make_accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
