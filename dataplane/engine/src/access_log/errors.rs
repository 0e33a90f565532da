//! Errors of requests as lines of `http.log.error`, where no error route answered them (Caddy: caddyhttp/server.go ServeHTTP),
//! and answers that their upstream left incomplete (Caddy: reverseproxy.go, finalizeResponse).

use super::Outcome;
use super::records::{Level, Record, Value, field, owned, request, request_of, text};
use crate::exchange::Exchange;
use crate::exchange::fields::Fields;
use crate::exchange::logging::Sent;

/// The logger name of such lines; a site's own follows it.
pub const ERRORS: &str = "http.log.error";
/// The logger name of what `reverse_proxy` tells.
pub const PROXY: &str = "http.handlers.reverse_proxy";

/// What went wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    pub status: u16,
    pub message: String,
    /// The error whose error routes failed with this one.
    pub first: Option<Box<RequestError>>,
}

impl RequestError {
    /// Statuses of clients' faults are no lines; `routed`: error routes were there for it.
    pub fn is_told(&self, routed: bool) -> bool {
        self.first.is_some() || (!routed && self.status >= 500)
    }

    /// Its record; `sent` is the request as it came, or what is left of it.
    pub(super) fn record<'a>(
        &'a self,
        exchange: &'a Exchange,
        sent: &'a Sent,
        outcome: &Outcome,
        credentials: bool,
    ) -> Record<'a> {
        let mut fields = vec![
            field("request", Value::Object(request(exchange, sent, credentials))),
            field("duration", Value::DurationNs(outcome.duration_ns)),
        ];
        let message = match &self.first {
            None => {
                fields.push(field("status", Value::Integer(self.status.into())));
                self.message.as_str()
            }
            Some(first) => {
                fields.push(field("error", owned(format!("HTTP {}: {}", self.status, self.message))));
                let told = vec![
                    field("msg", text(first.message.as_bytes())),
                    field("status", Value::Integer(first.status.into())),
                ];
                fields.push(field("first_error", Value::Object(told)));
                "error handling handler error"
            }
        };
        let unix_ms = exchange.now.unix_ms + outcome.duration_ns / 1_000_000;
        Record { level: Level::Error, unix_ms, message: message.into(), fields }
    }
}

/// An answer that was begun and cannot go on; the request is as it went up.
pub struct IncompleteAnswer {
    /// Host and port.
    pub upstream: String,
    /// Until the answer began.
    pub latency_ns: u64,
    pub method: Vec<u8>,
    pub host: Vec<u8>,
    pub uri: Vec<u8>,
    pub fields: Fields,
    pub chunked: bool,
    pub error: String,
}

impl IncompleteAnswer {
    pub(super) fn record<'a>(
        &'a self,
        exchange: &'a Exchange,
        unix_ms: u64,
        credentials: bool,
    ) -> Record<'a> {
        let line = (&self.method[..], &self.host[..], &self.uri[..]);
        let sent = request_of(exchange, line, &self.fields, self.chunked, credentials);
        let fields = vec![
            field("upstream", text(self.upstream.as_bytes())),
            field("duration", Value::DurationNs(self.latency_ns)),
            field("request", Value::Object(sent)),
            field("error", text(self.error.as_bytes())),
        ];
        Record { level: Level::Warn, unix_ms, message: "aborting with incomplete response".into(), fields }
    }
}
