//! What goes wrong with one exchange: whose fault, which status answers it, whether another endpoint may be tried.
//!
//! Comes from the protocol state machines and the connection; goes to `Failure::status`, the access log and metrics.

use std::fmt;
use std::net::SocketAddr;

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Client,
    Upstream,
    Internal,
}

/// Why an exchange, or a connection before its first exchange, ended badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The client's bytes are no strict HTTP/1.1: status to answer and the rule broken.
    BadRequest(u16, &'static str),
    /// The client closed or reset while its request or our answer was under way.
    ClientGone,
    /// The client was too slow with a head, a body, or with reading.
    ClientSlow(&'static str),
    /// The request body exceeds its limit (413).
    BodyTooLarge,
    /// The TLS handshake or a TLS record of the client failed.
    ClientTls,
    /// The cluster has no endpoint that may be dialled.
    NoEndpoint,
    /// Connect refused, unreachable or reset before it was established.
    ConnectFailed,
    /// No connection within the connect deadline.
    ConnectTimeout,
    /// The upstream's certificate or handshake failed.
    UpstreamTls,
    /// The upstream closed or reset before its response was complete.
    UpstreamClosed,
    /// The upstream did not take the request up: REFUSED_STREAM, or GOAWAY with a lower stream.
    StreamRefused,
    /// No response head, or no further bytes of the response or request body, within the deadline.
    UpstreamTimeout,
    /// The upstream's bytes are no strict HTTP/1.1 response.
    BadResponse(&'static str),
    /// More requests are under way, or wait, than the cluster may have.
    Overloaded,
    /// The route does not want an answer of this status: another upstream is asked.
    UnwantedAnswer(u16),
    /// Another upstream has got the request's body already.
    BodySpent,
    /// No socket left on our side.
    Exhausted,
    /// A program trapped or asked for what this engine cannot do.
    Program(&'static str),
}

impl Failure {
    pub fn fault(self) -> Fault {
        match self {
            Failure::BadRequest(..) | Failure::ClientGone | Failure::ClientSlow(_) => Fault::Client,
            Failure::BodyTooLarge | Failure::ClientTls => Fault::Client,
            Failure::BodySpent => Fault::Internal,
            Failure::NoEndpoint | Failure::ConnectFailed | Failure::ConnectTimeout => Fault::Upstream,
            Failure::UnwantedAnswer(_) => Fault::Upstream,
            Failure::Overloaded => Fault::Internal,
            Failure::UpstreamTls | Failure::UpstreamClosed | Failure::UpstreamTimeout => Fault::Upstream,
            Failure::BadResponse(_) | Failure::StreamRefused => Fault::Upstream,
            Failure::Exhausted | Failure::Program(_) => Fault::Internal,
        }
    }

    /// Status that answers the client where nothing of an answer was sent; 499 is only logged, never sent.
    pub fn status(self) -> u16 {
        match self {
            Failure::BadRequest(status, _) => status,
            Failure::ClientGone | Failure::ClientTls => 499,
            Failure::ClientSlow(_) => 408,
            Failure::BodyTooLarge => 413,
            Failure::NoEndpoint | Failure::Exhausted | Failure::Overloaded => 503,
            Failure::UnwantedAnswer(status) => status,
            Failure::ConnectTimeout | Failure::UpstreamTimeout => 504,
            Failure::ConnectFailed | Failure::UpstreamTls | Failure::StreamRefused => 502,
            Failure::UpstreamClosed | Failure::BadResponse(_) | Failure::BodySpent => 502,
            Failure::Program(_) => 500,
        }
    }

    /// True where no byte of the request can have reached a server that acted on it.
    pub fn nothing_was_sent(self) -> bool {
        matches!(self, Failure::ConnectFailed | Failure::ConnectTimeout | Failure::UpstreamTls)
    }

    /// What error routes read as the message: Go's words where Caddy has such an error.
    pub fn message(self, upstream: Option<SocketAddr>) -> String {
        let dial = |what: &str| match upstream {
            Some(address) => format!("dial tcp {address}: {what}"),
            None => what.to_owned(),
        };
        match self {
            Failure::NoEndpoint => "no upstreams available".to_owned(),
            Failure::ConnectFailed => dial("connect: connection refused"),
            Failure::ConnectTimeout => dial("i/o timeout"),
            Failure::UpstreamClosed => "EOF".to_owned(),
            Failure::UpstreamTimeout => "net/http: timeout awaiting response headers".to_owned(),
            Failure::BodyTooLarge => "http: request body too large".to_owned(),
            Failure::UnwantedAnswer(status) => {
                format!("upstream response matched retry_match (status {status})")
            }
            other => other.reason().to_owned(),
        }
    }

    /// As `message`, where the answer had begun.
    pub fn cut_message(self) -> String {
        match self {
            Failure::UpstreamClosed => "unexpected EOF".to_owned(),
            Failure::UpstreamTimeout => "i/o timeout".to_owned(),
            other => other.message(None),
        }
    }

    /// One lower-case phrase for the access log.
    pub fn reason(self) -> &'static str {
        match self {
            Failure::BadRequest(_, reason) | Failure::ClientSlow(reason) => reason,
            Failure::BadResponse(reason) | Failure::Program(reason) => reason,
            Failure::ClientGone => "client closed",
            Failure::ClientTls => "client tls failed",
            Failure::BodyTooLarge => "request body too large",
            Failure::BodySpent => "request body was sent already",
            Failure::NoEndpoint => "no endpoint",
            Failure::ConnectFailed => "connect failed",
            Failure::ConnectTimeout => "connect timed out",
            Failure::UpstreamTls => "upstream tls failed",
            Failure::UpstreamClosed => "upstream closed",
            Failure::StreamRefused => "upstream refused the stream",
            Failure::UpstreamTimeout => "upstream timed out",
            Failure::Exhausted => "out of sockets",
            Failure::Overloaded => "too many requests under way",
            Failure::UnwantedAnswer(_) => "answer was not wanted",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}, {})", self.reason(), self.fault(), self.status())
    }
}

impl std::error::Error for Failure {}
