//! The ClientHello before its handshake: which policy, or which stream, the server name finds.
//!
//! Rule: rustls reads the same bytes again and must find the same name, else the connection ends.

use super::{Downstream, Greeting};
use crate::protocol::{Stream, Transport};
use crate::ring::{Io, SocketId};
use crate::tls::hello::{self, Beginning};
use crate::tls::ja4;
use crate::tls::policies::Handshake;
use crate::worker::Worker;
use std::sync::Arc;

impl Worker {
    /// Bytes of a connection whose ClientHello is not whole yet.
    pub fn hello_data<I: Io>(&mut self, io: &mut I, socket: SocketId, data: &[u8]) {
        let Some(down) = self.downstream(socket) else { return };
        down.input.extend_from_slice(data);
        let input = std::mem::take(&mut down.input);
        match hello::begin(&input) {
            Beginning::Partial => down.input = input,
            Beginning::Foreign => self.end_hello(io, socket, None, input),
            Beginning::Hello(body) => {
                let greeting = hello::parse(&body).map(|hello| self.greet(socket, &hello));
                drop(body);
                match greeting {
                    Some((greeting, stream)) => self.end_hello(io, socket, Some((greeting, stream)), input),
                    None => self.end_hello(io, socket, None, input),
                }
            }
        }
    }

    fn greet(&mut self, socket: SocketId, hello: &hello::ClientHello<'_>) -> (Greeting, Stream) {
        let name =
            hello.server_name.map(|name| name.trim_end_matches('.').to_ascii_lowercase().into_boxed_str());
        let listener = self.downstream(socket).map(|down| down.peer.listener);
        let host = listener.and_then(|listener| {
            self.snapshot.find(listener, name.as_deref().unwrap_or_default().as_bytes())
        });
        let ja4 = if ja4::is_wanted() { ja4::fingerprint(hello) } else { Box::default() };
        let policy = host.and_then(|host| host.tls.clone());
        let stream = host.map_or(Stream::NoStream, |host| host.stream);
        (Greeting { server_name: name, policy, ja4 }, stream)
    }

    /// The handshake gets all bytes so far; so does a stream's upstream.
    fn end_hello<I: Io>(
        &mut self,
        io: &mut I,
        socket: SocketId,
        found: Option<(Greeting, Stream)>,
        mut input: Vec<u8>,
    ) {
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return };
        let stream = found.as_ref().map_or(Stream::NoStream, |(_, stream)| *stream);
        down.greeting = found.map(|(greeting, _)| Box::new(greeting));
        if stream == Stream::PassThrough {
            down.input = input;
            let name = down.greeting.as_ref().and_then(|greeting| greeting.server_name.clone());
            let host = self.snapshot.find(down.peer.listener, name.unwrap_or_default().as_bytes()).cloned();
            return self.start_stream(io, socket, host);
        }
        let listener = self.snapshot.listener(down.peer.listener);
        if stream == Stream::NoStream && listener.is_some_and(|listener| listener.transport == Transport::Tcp)
        {
            return self.abort(io, socket);
        }
        self.begin_handshake(io, socket);
        self.records(io, socket, &mut input);
    }
}

impl Downstream {
    /// The handshake is over: what it left goes to the peer. False: the names differ.
    pub fn take_greeting(&mut self) -> bool {
        let Some(session) = self.session.as_ref() else { return false };
        self.peer.tls = session.info();
        let Some(greeting) = self.greeting.take() else { return true };
        if greeting.server_name.as_deref() != session.server_name() {
            return false;
        }
        let client = greeting.policy.as_ref().and_then(|policy| policy.judge(session.peer_chain()));
        if greeting.policy.is_some() || !greeting.ja4.is_empty() {
            let handshake = Handshake { policy: greeting.policy, ja4: greeting.ja4, client };
            if let Some(tls) = self.peer.tls.as_mut() {
                tls.handshake = Some(Arc::new(handshake));
            }
        }
        true
    }
}
