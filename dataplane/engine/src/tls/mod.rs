//! TLS without I/O, both sides, on rustls' unbuffered API: records in, plaintext and records to send out.
//!
//! Called by `connection` and `upstream`. Rule: what arrived in part is kept, bounded, and nothing else is buffered; an
//! error yields its alert in `out` and ends the session.

mod alerts;
pub mod clients;
pub mod hello;
pub mod ja4;
mod noting;
pub mod policies;
mod records;
pub mod suites;
pub mod tickets;

pub use self::noting::current_arrival;
use self::noting::{ARRIVAL, Noting, SERVER_NAME, UNRESOLVED};
use self::records::RecordLayer;
use crate::exchange::{ListenerId, TlsInfo, TlsVersion};
use crate::http1::request;
use crate::limits::{TLS_BUFFERED_BYTES_MAX, TLS_RECORD_BYTES_MAX, TLS_TAKEOVER_BYTES};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// As Go's server answers, whose bytes these are (net/http server.go).
const PLAIN_REQUEST_ANSWER: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
/// Bytes that a record adds to its plaintext, in any version and suite, with room to spare.
const RECORD_OVERHEAD: usize = 64;

/// The session is over; the reason for logs. An alert may have been appended to `out`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFailure(pub String);

/// What `Session::read` found beside plaintext.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The handshake ended in this call.
    pub established: bool,
    /// The peer sent close_notify.
    pub closed: bool,
}

/// Where a client came to.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub listener: ListenerId,
    /// Unspecified where nobody asked.
    pub local: IpAddr,
}

/// One TLS connection of either side.
pub struct Session {
    side: Side,
    arrival: Arrival,
    partial: Vec<u8>,
    established: bool,
    /// close_notify was written.
    closed: bool,
    server_name: Option<Arc<str>>,
    /// Bytes written while rustls has the keys; None: it keeps them.
    written: Option<usize>,
}

enum Side {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
    /// Keys were taken over; None: they are lost, and the session with them.
    Own(Option<Box<RecordLayer>>),
}

impl Session {
    pub fn server(config: &Arc<ServerConfig>, arrival: Arrival) -> Result<Session, TlsFailure> {
        let connection = UnbufferedServerConnection::new(config.clone()).map_err(failure)?;
        Ok(Session {
            side: Side::Server(Box::new(connection)),
            arrival,
            partial: Vec::new(),
            established: false,
            closed: false,
            server_name: None,
            written: config.enable_secret_extraction.then_some(0),
        })
    }

    /// The ClientHello is written by the first `read`, which may be called with no data.
    pub fn client(config: &Arc<ClientConfig>, name: ServerName<'static>) -> Result<Session, TlsFailure> {
        let connection = UnbufferedClientConnection::new(config.clone(), name).map_err(failure)?;
        Ok(Session {
            side: Side::Client(Box::new(connection)),
            arrival: Arrival::default(),
            partial: Vec::new(),
            established: false,
            closed: false,
            server_name: None,
            written: None,
        })
    }

    pub fn is_established(&self) -> bool {
        self.established
    }

    /// Takes received bytes; appends plaintext to `plain` and records to send to `out`.
    pub fn read(
        &mut self,
        data: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Progress, TlsFailure> {
        if !self.established {
            ARRIVAL.set(self.arrival);
        }
        if !self.established && self.partial.len() + data.len() < request::BEGINNING_BYTES {
            let begun = [&self.partial, &*data].concat();
            if request::begins_undecided(&begun) {
                self.partial = begun;
                return Ok(Progress::default());
            }
        }
        let front = if self.partial.is_empty() { &*data } else { &self.partial };
        if let Some(alert) = alerts::judge_record(front).filter(|_| !self.established) {
            out.extend(alerts::write(alert));
            self.side = Side::Own(None);
            return Err(TlsFailure("record too large, or SSL".into()));
        }
        let mut pump = Pump { plain, out, consumed: 0, closed: false, ready: false, error: None };
        let result = if self.partial.is_empty() {
            let result = self.side.pump(data, &mut pump);
            self.partial.extend_from_slice(&data[pump.consumed..]);
            result
        } else {
            self.partial.extend_from_slice(data);
            let result = self.side.pump(&mut self.partial, &mut pump);
            self.partial.drain(..pump.consumed);
            result
        };
        let (closed, ready, error) = (pump.closed, pump.ready, pump.error);
        if !self.established {
            self.server_name = SERVER_NAME.take().or(self.server_name.take());
        }
        if let Err(failure) = result {
            let received = if self.partial.is_empty() { &*data } else { &self.partial };
            match &self.side {
                Side::Server(_) if !self.established && request::may_begin(received) => {
                    out.extend_from_slice(PLAIN_REQUEST_ANSWER);
                }
                Side::Server(_) if UNRESOLVED.take() => out.extend(alerts::write(alerts::INTERNAL_ERROR)),
                _ => self.append_alert(error.as_ref(), out),
            }
            self.side = Side::Own(None);
            self.partial = Vec::new();
            return Err(failure);
        }
        if self.partial.is_empty() {
            self.partial = Vec::new();
        } else if self.partial.len() > TLS_BUFFERED_BYTES_MAX {
            return Err(TlsFailure("handshake message too large".into()));
        }
        let established = ready && !self.established;
        self.established |= ready;
        Ok(Progress { established, closed })
    }

    /// A record layer of ours appended its own.
    fn append_alert(&mut self, error: Option<&Error>, out: &mut Vec<u8>) {
        let Some(error) = error else { return };
        match &mut self.side {
            Side::Server(connection) => alerts::append(&mut **connection, error, &mut self.partial, out),
            Side::Client(connection) => alerts::append(&mut **connection, error, &mut self.partial, out),
            Side::Own(_) => {}
        }
    }

    /// Appends `plain` as records to `out`. Only after the handshake.
    pub fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsFailure> {
        if let Some(written) = &mut self.written {
            *written += plain.len();
            if *written >= TLS_TAKEOVER_BYTES {
                self.take_over(out)?;
            }
        }
        match &mut self.side {
            Side::Server(connection) => encrypt(&mut **connection, &mut self.partial, plain, out),
            Side::Client(connection) => encrypt(&mut **connection, &mut self.partial, plain, out),
            Side::Own(Some(layer)) => layer.write(plain, out),
            Side::Own(None) => Err(TlsFailure("session is over".into())),
        }
    }

    /// From here on records are ours. What rustls still has to say is appended to `out`.
    fn take_over(&mut self, out: &mut Vec<u8>) -> Result<(), TlsFailure> {
        self.written = None;
        let Side::Server(connection) = &mut self.side else { return Ok(()) };
        if connection.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
            return Ok(());
        }
        if !settle(&mut **connection, &mut self.partial, out)? {
            return Ok(());
        }
        if let Side::Server(connection) = std::mem::replace(&mut self.side, Side::Own(None)) {
            self.side = Side::Own(Some(Box::new(RecordLayer::new(*connection)?)));
        }
        Ok(())
    }

    /// Appends a close_notify alert, once.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        match &mut self.side {
            Side::Server(connection) => close(&mut **connection, &mut self.partial, out),
            Side::Client(connection) => close(&mut **connection, &mut self.partial, out),
            Side::Own(layer) => layer.iter_mut().for_each(|layer| layer.close(out)),
        }
    }

    /// The handshake agreed on HTTP/2 (RFC 9113 3.2). For who sees it end: later nobody knows.
    pub fn is_http2(&self) -> bool {
        let protocol = match &self.side {
            Side::Server(connection) => connection.alpn_protocol(),
            Side::Client(connection) => connection.alpn_protocol(),
            Side::Own(_) => None,
        };
        protocol == Some(b"h2")
    }

    /// The name that the ClientHello asked for, as rustls read it.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// What the other side showed, leaf first, resumed sessions included. For who sees the handshake end.
    pub fn peer_chain(&self) -> Option<&[CertificateDer<'static>]> {
        match &self.side {
            Side::Server(connection) => connection.peer_certificates(),
            Side::Client(connection) => connection.peer_certificates(),
            Side::Own(_) => None,
        }
    }

    /// What the handshake agreed on; None before its end, and once keys were taken over.
    pub fn info(&self) -> Option<TlsInfo> {
        let version = match &self.side {
            Side::Server(connection) => connection.protocol_version(),
            Side::Client(connection) => connection.protocol_version(),
            Side::Own(_) => None,
        };
        let version = match version? {
            rustls::ProtocolVersion::TLSv1_3 => TlsVersion::Tls13,
            _ => TlsVersion::Tls12,
        };
        let state: &CommonState = match &self.side {
            Side::Server(connection) => connection,
            Side::Client(connection) => connection,
            Side::Own(_) => return None,
        };
        Some(TlsInfo {
            version,
            server_name: self.server_name.clone(),
            cipher_suite: state
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or_default(),
            protocol: match state.alpn_protocol() {
                Some(b"h2") => "h2",
                Some(b"http/1.1") => "http/1.1",
                Some(b"http/1.0") => "http/1.0",
                _ => "",
            },
            resumed: state.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            handshake: None,
        })
    }
}

impl Default for Arrival {
    fn default() -> Self {
        Self { listener: ListenerId(u32::MAX), local: Ipv6Addr::UNSPECIFIED.into() }
    }
}

fn failure(error: impl std::fmt::Display) -> TlsFailure {
    TlsFailure(error.to_string())
}

/// rustls has one function of this name per side, in no trait.
trait Records {
    type Data;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn common(&self) -> &CommonState;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

struct Pump<'a> {
    plain: &'a mut Vec<u8>,
    out: &'a mut Vec<u8>,
    consumed: usize,
    closed: bool,
    ready: bool,
    /// Of rustls.
    error: Option<Error>,
}

impl Pump<'_> {
    fn fail(&mut self, error: Error) -> TlsFailure {
        let failed = failure(&error);
        self.error = Some(error);
        failed
    }
}

impl Side {
    fn pump(&mut self, data: &mut [u8], pump: &mut Pump<'_>) -> Result<(), TlsFailure> {
        match self {
            Side::Server(connection) => pump_records(&mut **connection, data, pump),
            Side::Client(connection) => pump_records(&mut **connection, data, pump),
            Side::Own(Some(layer)) => {
                let (used, progress) = layer.read(data, pump.plain, pump.out)?;
                (pump.consumed, pump.closed, pump.ready) = (used, progress.closed, true);
                Ok(())
            }
            Side::Own(None) => Err(TlsFailure("session is over".into())),
        }
    }
}

fn pump_records<R: Records>(
    connection: &mut R,
    data: &mut [u8],
    pump: &mut Pump<'_>,
) -> Result<(), TlsFailure> {
    loop {
        let status = connection.process(&mut data[pump.consumed..]);
        let mut discard = status.discard;
        let mut waiting = false;
        let state = match status.state {
            Ok(state) => state,
            Err(error) => {
                pump.consumed += discard;
                return Err(pump.fail(error));
            }
        };
        match state {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record.map_err(|error| pump.fail(error))?;
                    discard += record.discard;
                    pump.plain.extend_from_slice(record.payload);
                }
            }
            ConnectionState::EncodeTlsData(encoder) => append_encoded(encoder, pump.out)?,
            ConnectionState::TransmitTlsData(transmit) => transmit.done(),
            ConnectionState::BlockedHandshake => waiting = true,
            ConnectionState::WriteTraffic(_) => {
                pump.ready = true;
                waiting = true;
            }
            ConnectionState::PeerClosed => pump.closed = true,
            ConnectionState::Closed => {
                pump.closed = true;
                waiting = true;
            }
            _ => return Err(TlsFailure("early data is not served".into())),
        }
        pump.consumed += discard;
        if waiting {
            return Ok(());
        }
    }
}

// The functions below only want to write, and yet show `partial`, all of which was read before: rustls keeps places in
// it of a handshake message that has arrived in part, and panics where they are missing.

/// Appends what rustls has to say unasked. False: it cannot be left now.
fn settle<R: Records>(connection: &mut R, partial: &mut [u8], out: &mut Vec<u8>) -> Result<bool, TlsFailure> {
    loop {
        match connection.process(partial).state.map_err(failure)? {
            ConnectionState::WriteTraffic(_) => return Ok(true),
            ConnectionState::EncodeTlsData(encoder) => append_encoded(encoder, out)?,
            ConnectionState::TransmitTlsData(transmit) => transmit.done(),
            _ => return Ok(false),
        }
    }
}

fn encrypt<R: Records>(
    connection: &mut R,
    partial: &mut [u8],
    plain: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), TlsFailure> {
    loop {
        match connection.process(partial).state.map_err(failure)? {
            ConnectionState::WriteTraffic(mut traffic) => {
                let records = plain.len() / TLS_RECORD_BYTES_MAX + 1;
                return append(out, plain.len() + records * RECORD_OVERHEAD, |room| {
                    traffic.encrypt(plain, room).map_err(required_size)
                });
            }
            ConnectionState::EncodeTlsData(encoder) => append_encoded(encoder, out)?,
            ConnectionState::TransmitTlsData(transmit) => transmit.done(),
            // The peer's close_notify ends its direction only.
            ConnectionState::PeerClosed => {}
            _ => return Err(TlsFailure("session cannot be written".into())),
        }
    }
}

fn close<R: Records>(connection: &mut R, partial: &mut [u8], out: &mut Vec<u8>) {
    for _ in 0..4 {
        match connection.process(partial).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                let _ = append(out, RECORD_OVERHEAD, |room| {
                    traffic.queue_close_notify(room).map_err(required_size)
                });
                return;
            }
            Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
            Ok(ConnectionState::PeerClosed) => {}
            _ => return,
        }
    }
}

fn required_size(error: EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(size) => Some(size.required_size),
        EncryptError::EncryptExhausted => None,
    }
}

fn append_encoded<D>(mut encoder: EncodeTlsData<'_, D>, out: &mut Vec<u8>) -> Result<(), TlsFailure> {
    append(out, 1024, |room| {
        encoder.encode(room).map_err(|error| match error {
            EncodeError::InsufficientSize(size) => Some(size.required_size),
            EncodeError::AlreadyEncoded => None,
        })
    })
}

/// Lets `write` fill room behind `out`, once more with the size it asks for.
fn append(
    out: &mut Vec<u8>,
    guess: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<(), TlsFailure> {
    let start = out.len();
    let mut room = guess;
    for _ in 0..3 {
        out.resize(start + room, 0);
        match write(&mut out[start..]) {
            Ok(length) => {
                out.truncate(start + length);
                return Ok(());
            }
            Err(Some(size)) => room = size,
            Err(None) => break,
        }
    }
    out.truncate(start);
    Err(TlsFailure("record could not be written".into()))
}

#[cfg(test)]
mod tests;
