//! HTTP/2 without I/O (RFC 9113), both roles: bytes in, events out, frames to send in one buffer. Called by
//! `connection::multiplexing` (clients) and `upstream::multiplexing` (endpoints).
//!
//! Rule: a connection error ends the connection with GOAWAY, a stream error resets its stream, and every frame that makes
//! us work without asking for an answer is paid from one budget (`budget`). Nothing here knows sockets, TLS, programs
//! or clocks.

pub mod budget;
pub mod fields;
pub mod frames;
pub mod hpack;
pub mod multiplex;
mod receiving;
mod sending;
pub mod settings;
pub mod streams;

pub use frames::Code;
pub use multiplex::{Event, Multiplex, Role};

/// The peer broke the connection's rules: the code of our GOAWAY, and the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    pub code: Code,
    pub rule: &'static str,
}

impl Violation {
    pub const fn new(code: Code, rule: &'static str) -> Violation {
        Violation { code, rule }
    }

    pub const fn protocol(rule: &'static str) -> Violation {
        Violation { code: Code::Protocol, rule }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod client_tests;

#[cfg(test)]
mod goaway_tests;
