//! One request on its way and its answer: filled by the connection from a strictly parsed head, changed by route
//! programs, written out again as the upstream's request head and the client's response head.
//!
//! All bytes of a request are copied once into one buffer that the next request of the connection reuses. There is one
//! normalised path: programs match it, policies see it and the upstream gets it.

use crate::tls::policies::Handshake;
use std::net::SocketAddr;
use std::sync::Arc;

/// Index of a listener in the snapshot; stable for a listener's name while the engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u32);

/// `http_minor` of messages of HTTP/2, which has no minor version.
pub const HTTP_2: u8 = 20;

/// A header field as the parser found it: value without surrounding white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderSpan<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
}

/// The strict parser's output for a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    pub method: &'a [u8],
    pub target: &'a [u8],
    pub http_minor: u8,
    pub headers: &'a [HeaderSpan<'a>],
}

impl RequestHead<'_> {
    /// How often a name stands among the fields.
    pub fn count(&self, name: &[u8]) -> usize {
        self.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count()
    }
}

/// The strict parser's output for an upstream's answer.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    pub status: u16,
    pub reason: &'a [u8],
    pub http_minor: u8,
    pub headers: &'a [HeaderSpan<'a>],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// What a finished handshake tells.
#[derive(Clone, Debug)]
pub struct TlsInfo {
    pub version: TlsVersion,
    /// Lower case, without a trailing dot.
    pub server_name: Option<Arc<str>>,
    /// IANA's name, but with `TLS13_` for TLS 1.3.
    pub cipher_suite: &'static str,
    /// Chosen by ALPN; "" is none.
    pub protocol: &'static str,
    pub resumed: bool,
    /// None: the engine's own policy, and nothing to tell.
    pub handshake: Option<Arc<Handshake>>,
}

impl TlsInfo {
    /// For requests that did not come over a connection.
    pub fn assumed() -> Self {
        Self {
            version: TlsVersion::Tls13,
            server_name: None,
            cipher_suite: "TLS13_AES_128_GCM_SHA256",
            protocol: "http/1.1",
            resumed: false,
            handshake: None,
        }
    }
}

/// The other end of a client connection.
#[derive(Clone, Debug)]
pub struct Peer {
    pub listener: ListenerId,
    /// After the PROXY protocol, where the listener has it.
    pub remote: SocketAddr,
    pub local: SocketAddr,
    pub tls: Option<TlsInfo>,
    /// The peer lies in `Settings.trusted_proxies`: its forwarding headers are believed.
    pub trusted: bool,
    /// `Listener::external_port`; 0 is the local port.
    pub external_port: u16,
}

/// The time of one turn of the event loop.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    pub monotonic_ns: u64,
    pub unix_ms: u64,
}

/// A request that is answered at once: the status, and why for the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refuse {
    pub status: u16,
    pub reason: &'static str,
}

pub const MALFORMED_HOST: &str = "malformed Host";
pub const HOST_MISSING: &str = "no Host field";

pub const HOST_EMPTY: &str = "empty Host";

/// Why requests are refused that Go's server reads.
pub const STRICTER: [&str; 9] = [
    HOST_EMPTY,
    "encoded backslash in path",
    "encoded control character in path",
    "character not allowed in path",
    "dot segment with a path parameter",
    "non-shortest UTF-8 in path",
    "dot segment behind an encoded slash",
    "encoded slash in path",
    "character not allowed in query",
];

/// How the body's end is told in a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Neither Content-Length nor Transfer-Encoding: no body, or (in an answer) until the connection's end.
    Unframed,
    Length(u64),
    Chunked,
}

/// The Connection line of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection<'a> {
    /// HTTP/1.1's default: no line.
    Default,
    /// For clients of HTTP/1.0 that asked for it.
    KeepAlive,
    Close,
    /// `Connection: Upgrade` and `Upgrade: <protocol>`.
    Upgrade(&'a [u8]),
}

/// The connection's part of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing<'a> {
    pub body: Body,
    pub connection: Connection<'a>,
    /// Write `Expect: 100-continue` (requests only).
    pub expect_continue: bool,
}

/// What the engine answers by itself.
#[derive(Clone, Copy)]
pub enum StaticAnswer<'a> {
    /// A row of Tables.responses.
    Row(&'a crate::snapshot::ResponseRow),
    /// What a plugin made: status and body.
    Made(u16, &'a [u8]),
    /// The engine's own page for a status.
    Status(u16),
    /// A status without a body: what a program's error gives (Caddy's answer where no error route applies).
    Bare(u16),
    /// The engine's page with a text of its own (a closed host's reason).
    Text(u16, &'a str),
    /// 200 without a body.
    Empty,
}

pub(crate) mod answering;
pub mod attempts;
mod authority;
mod begin;
mod blocks;
mod changes;
mod client_certificates;
pub mod decimals;
mod expanding;
pub mod explaining;
pub mod fields;
pub mod filtering;
mod kinds;
pub mod logging;
mod mapping;
pub mod paths;
pub mod queries;
mod randomness;
mod reading;
mod resting;
pub mod rewriting;
pub mod statuses;
pub mod surroundings;
mod switching;
pub mod texts;
pub mod tracing;
mod writing;

#[cfg(test)]
mod tests;

pub use answering::is_bodiless;
pub use authority::is_authority;
pub use begin::Exchange;
pub use changes::{HeaderChange, HeaderOperation};
pub use expanding::{Unknown, split_once};
pub(crate) use kinds::is_end_to_end;
pub(crate) use randomness::random;
pub use writing::KeptTarget;

impl Default for Exchange {
    fn default() -> Self {
        Self::new()
    }
}
