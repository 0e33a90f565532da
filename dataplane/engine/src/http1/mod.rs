//! HTTP/1.1 without I/O: bytes in, heads and body pieces out, or one `Violation`. Called by `connection` for both
//! directions. Rule: one reading of every message; whatever a forgiving parser could read differently is refused
//! (RFC 9112, reliability.md 2.1). Nothing here knows sockets, TLS, programs or clocks.

pub mod body;
pub mod chunked;
pub mod fields;
pub mod head;
pub mod request;
pub mod response;

/// The peer broke the protocol: the status for a client (a backend's violation is always a 502), and the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    pub status: u16,
    pub rule: &'static str,
}

impl Violation {
    pub const fn bad(rule: &'static str) -> Violation {
        Violation { status: 400, rule }
    }

    pub const fn with(status: u16, rule: &'static str) -> Violation {
        Violation { status, rule }
    }
}

#[cfg(test)]
mod tests;
