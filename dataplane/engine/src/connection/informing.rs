//! Interim answers (RFC 9110 15.2) from upstreams of either protocol to clients of either.
//!
//! Rule: 100 is answered hop by hop and goes no further; clients of HTTP/1.0 get none.

use crate::exchange::{HTTP_2, HeaderSpan, ResponseHead};
use crate::ring::{Io, SocketId};
use crate::worker::Worker;

impl Worker {
    /// Appends an interim head to `out`; what clients of HTTP/2 get of it is on their stream already.
    pub fn write_interim(&mut self, client: SocketId, head: &ResponseHead, out: &mut Vec<u8>) {
        let Some(down) = self.downstream(client) else { return };
        let (minor, is_copy) = (down.serving.http_minor, down.serving.is_copy);
        let Some(exchange) = down.exchange.as_mut() else { return };
        match (head.status, minor) {
            (100, _) | (_, 0) => {}
            _ if is_copy => {}
            (_, HTTP_2) => {
                let mut block = Vec::new();
                exchange.write_interim_block(head, &mut block);
                let Some((multiplex, id)) = self.stream_of(client) else { return };
                multiplex.send_head(id, &block, false);
                let connection = self.link_mut(client).map(|link| link.connection);
                connection.into_iter().for_each(|connection| self.mark_multiplex(connection));
            }
            _ => exchange.write_interim_head(head, out),
        }
    }

    /// Passes the interim head of an upstream that speaks HTTP/2 on at once.
    pub fn send_interim<I: Io>(
        &mut self,
        io: &mut I,
        client: SocketId,
        status: u16,
        headers: &[HeaderSpan<'_>],
    ) {
        let head = ResponseHead { status, reason: b"", http_minor: HTTP_2, headers };
        self.send_written(io, client, |worker, out| worker.write_interim(client, &head, out));
    }
}
