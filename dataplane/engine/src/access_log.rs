//! One JSON line per request, written to standard output by a thread of its own.

use crate::exchange::Exchange;
use std::net::SocketAddr;

/// How a request ended.
pub struct Outcome<'a> {
    pub status: u16,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub duration_ns: u64,
    pub upstream: Option<SocketAddr>,
    pub tries: u32,
    pub host: &'a str,
    pub marker: &'a str,
    /// Why the engine answered by itself; "" else.
    pub reason: &'a str,
}

/// A worker's end.
pub struct AccessLog {}

impl AccessLog {
    /// Buffers a line; never blocks. `flush` once per loop turn hands them to the writer.
    pub fn line(&mut self, _exchange: &Exchange, _outcome: &Outcome) {
        todo!()
    }
    pub fn flush(&mut self) {
        todo!()
    }
    pub fn disabled() -> Self {
        todo!()
    }
}
