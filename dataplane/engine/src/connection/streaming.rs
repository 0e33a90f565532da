//! Streams: connections whose bytes pass unread, by the listener, or by the server name of their ClientHello. TLS goes
//! on to the upstream as it came, or ends here.
//!
//! Rule: a stream is an exchange without a request: it finds its endpoint, retries and is logged as one, and whatever
//! fails ends the connection, as there is nobody to answer. Where its host judges streams, only a route that proxies lets one
//! pass.

use super::{Phase, Serving};
use crate::metrics::Counter;
use crate::protocol::Stream;
use crate::ring::{Io, SocketId};
use crate::snapshot::{Attempt, VirtualHost};
use crate::worker::Worker;
use std::sync::Arc;

impl Worker {
    /// What the listener or the server name found; None: the listener takes streams only, and this is none.
    pub fn start_stream<I: Io>(&mut self, io: &mut I, socket: SocketId, host: Option<Arc<VirtualHost>>) {
        let Some(host) = host.filter(|host| host.stream != Stream::NoStream && host.deny().is_none()) else {
            return self.abort(io, socket);
        };
        let mut row = 0;
        let mut exchange = self.take_exchange();
        let now = self.now();
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return };
        let name = match (&down.peer.tls, &down.greeting) {
            (Some(tls), _) => tls.server_name.as_deref(),
            (None, Some(greeting)) => greeting.server_name.as_deref(),
            (None, None) => None,
        };
        exchange.begin_stream(name.unwrap_or_default().as_bytes(), &down.peer, self.snapshot.settings(), now);
        if host.judges_streams {
            let (decision, judged) = self.decide_stream(&host, exchange);
            let Some(chosen) = decision else {
                self.metrics.add(Counter::RefusedPolicy, 1);
                self.give_exchange(judged);
                return self.abort(io, socket);
            };
            (row, exchange) = (chosen, judged);
        }
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return };
        down.serving = Serving {
            host: Some(host),
            stream: true,
            started_ns: now.monotonic_ns,
            body_bytes_max: u64::MAX,
            ..Serving::default()
        };
        down.exchange = Some(exchange);
        down.phase = Phase::Serving;
        self.start_proxy(io, socket, row);
    }

    /// The TLS of a stream ended here: its content goes on.
    pub fn start_terminated_stream<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let Some(down) = self.downstream(socket) else { return };
        let name = down.peer.tls.as_ref().and_then(|tls| tls.server_name.clone()).unwrap_or_default();
        let (listener, handshake) =
            (down.peer.listener, down.peer.tls.as_ref().and_then(|tls| tls.handshake.clone()));
        let host = self.snapshot.find(listener, name.as_bytes()).cloned();
        match handshake.is_some_and(|handshake| handshake.refusal().is_some()) {
            true => self.abort(io, socket),
            false => self.start_stream(io, socket, host),
        }
    }

    /// The upstream is there: from now on bytes pass, those that waited first.
    pub fn stream_ready<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId) {
        self.report_attempt(client, Attempt::Answered { status: 101, latency_ns: 0 });
        if let Some(down) = self.downstream(client) {
            down.serving.status = 101;
            down.serving.answered = true;
        }
        self.switch(io, client, upstream, &[]);
    }
}
