//! One non-blocking client connection: TCP, optional TLS, one request under way at most.
//! Called by `load` with readiness, gives back what that brought. Rule: it never counts and never decides to reconnect.

use crate::answer::{Answer, AnswerReader};
use crate::report::Failure;
use crate::target::Target;
use mio::net::TcpStream;
use rustls::ClientConnection;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

/// What readiness brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    Nothing,
    /// The connection is made and, with TLS, the handshake done: a request may be sent.
    Up,
    Answered(Answer),
    /// The proxy closed the connection while no answer was awaited.
    Closed,
}

#[derive(PartialEq, Eq)]
enum Phase {
    Connecting,
    Handshaking,
    Idle,
    Awaiting,
}

pub struct Connection {
    pub stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    phase: Phase,
    reader: AnswerReader,
    /// Bytes that the socket did not take yet.
    outgoing: Vec<u8>,
    /// The proxy's end came together with an answer: not to be used again.
    ended: bool,
}

impl Connection {
    /// Begins to connect. `source` spreads connections over 127.0.1.0/24: a client that makes thousands a second
    /// would otherwise run out of ports in TIME_WAIT.
    pub fn open(target: &Target, source: Option<Ipv4Addr>) -> std::io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(target.address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&target.address.into()) {
            Ok(()) => {}
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        let tls = match &target.tls {
            None => None,
            Some((config, name)) => Some(Box::new(
                ClientConnection::new(config.clone(), name.clone())
                    .map_err(std::io::Error::other)?,
            )),
        };
        Ok(Self {
            stream: TcpStream::from_std(socket.into()),
            tls,
            phase: Phase::Connecting,
            reader: AnswerReader::default(),
            outgoing: Vec::new(),
            ended: false,
        })
    }

    /// Sends a request; only when up and with no answer awaited.
    pub fn send(&mut self, request: &[u8]) -> Result<(), Failure> {
        debug_assert!(self.phase == Phase::Idle);
        self.phase = Phase::Awaiting;
        match &mut self.tls {
            None => self.outgoing.extend_from_slice(request),
            Some(tls) => tls.writer().write_all(request).map_err(|_| Failure::Cut)?,
        }
        self.flush().map_err(|_| Failure::Cut)
    }

    /// True when the proxy closed right behind its answer.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Carries on after readiness. `to_the_end`: the proxy closed its side, so read until that end; without it a short
    /// read says that the socket is drained (epoll(7), edge-triggered mode). `scratch` is any buffer.
    pub fn advance(&mut self, to_the_end: bool, scratch: &mut [u8]) -> Result<Progress, Failure> {
        if self.phase == Phase::Connecting {
            match self.stream.take_error() {
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => return Err(Failure::Connect),
            }
            if self.stream.peer_addr().is_err() {
                return Ok(Progress::Nothing);
            }
            if self.tls.is_none() {
                self.phase = Phase::Idle;
                return Ok(Progress::Up);
            }
            self.phase = Phase::Handshaking;
        }
        let fault = if self.phase == Phase::Handshaking {
            Failure::Connect
        } else {
            Failure::Cut
        };
        self.flush().map_err(|_| fault)?;
        self.read(to_the_end, scratch, fault)
    }

    fn read(
        &mut self,
        to_the_end: bool,
        scratch: &mut [u8],
        fault: Failure,
    ) -> Result<Progress, Failure> {
        let mut progress = Progress::Nothing;
        loop {
            let read_len = match self.stream.read(scratch) {
                Ok(read_len) if read_len > 0 => read_len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(progress),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Ok(_) | Err(_) => return self.end(progress, fault),
            };
            match self.take(&scratch[..read_len], fault)? {
                Progress::Nothing => {}
                news => progress = news,
            }
            if read_len < scratch.len() && !to_the_end {
                return Ok(progress);
            }
        }
    }

    /// The connection is over: harmless when no answer is awaited.
    fn end(&mut self, progress: Progress, fault: Failure) -> Result<Progress, Failure> {
        if self.phase != Phase::Idle {
            return Err(fault);
        }
        if progress == Progress::Nothing {
            return Ok(Progress::Closed);
        }
        self.ended = true;
        Ok(progress)
    }

    fn take(&mut self, bytes: &[u8], fault: Failure) -> Result<Progress, Failure> {
        let Some(tls) = &mut self.tls else {
            return Self::take_plain(&mut self.phase, &mut self.reader, bytes);
        };
        let was_handshaking = tls.is_handshaking();
        let mut progress = Progress::Nothing;
        let mut rest = bytes;
        while !rest.is_empty() {
            tls.read_tls(&mut rest).map_err(|_| fault)?;
            let state = tls.process_new_packets().map_err(|_| fault)?;
            let closed = state.peer_has_closed();
            let mut plain_len = state.plaintext_bytes_to_read();
            let mut plain = [0u8; 4096];
            while plain_len > 0 {
                let read_len = tls.reader().read(&mut plain).map_err(|_| fault)?;
                plain_len -= read_len;
                match Self::take_plain(&mut self.phase, &mut self.reader, &plain[..read_len])? {
                    Progress::Nothing => {}
                    news => progress = news,
                }
            }
            if closed && self.phase == Phase::Idle {
                return self.end(progress, fault);
            }
        }
        if was_handshaking && !tls.is_handshaking() {
            self.phase = Phase::Idle;
            // The client's Finished waits for the request, so that both go out in one segment.
            return Ok(Progress::Up);
        }
        if tls.wants_write() {
            self.flush().map_err(|_| fault)?;
        }
        Ok(progress)
    }

    fn take_plain(
        phase: &mut Phase,
        reader: &mut AnswerReader,
        bytes: &[u8],
    ) -> Result<Progress, Failure> {
        if *phase != Phase::Awaiting {
            return Err(Failure::Malformed);
        }
        match reader.push(bytes) {
            Ok(None) => Ok(Progress::Nothing),
            Ok(Some(answer)) => {
                *phase = Phase::Idle;
                Ok(Progress::Answered(answer))
            }
            Err(_) => Err(Failure::Malformed),
        }
    }

    /// Sends what waits, as far as the socket takes it; the rest goes out on the next writable edge.
    pub fn flush(&mut self) -> std::io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.outgoing)?;
            }
        }
        let mut sent_len = 0;
        while sent_len < self.outgoing.len() {
            match self.stream.write(&self.outgoing[sent_len..]) {
                Ok(written_len) => sent_len += written_len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outgoing.drain(..sent_len);
        Ok(())
    }
}
