//! A span of `tracing` as a line for the agent: one JSON object, whose attributes are those that Caddy's otelhttp sets.

use super::{Outcome, strip_port};
use crate::exchange::Exchange;
use crate::exchange::tracing::Span;
use serde_json::{Map, Value, json};

/// The agent's name for them (agent/exporting_spans.py).
pub const SINK: &str = "spans";
/// What the conventions know; any other is `_OTHER`.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Appends the line.
pub fn push_span(span: &Span, exchange: &Exchange, outcome: &Outcome, out: &mut Vec<u8>) {
    let start_ns = exchange.now.unix_ms * 1_000_000;
    let line = json!({
        "trace": text(&span.trace),
        "span": text(&span.id),
        "parent": span.parent.as_deref().map(text),
        "state": text(&span.state),
        "name": text(&span.name),
        "start_ns": start_ns,
        "end_ns": start_ns + outcome.duration_ns,
        "failed": outcome.status >= 500,
        "attributes": attributes(span, exchange, outcome),
    });
    out.extend_from_slice(line.to_string().as_bytes());
    out.push(b'\n');
}

fn attributes(span: &Span, exchange: &Exchange, outcome: &Outcome) -> Map<String, Value> {
    let mut found = Map::new();
    let mut set = |name: &str, value: Value| drop(found.insert(name.to_owned(), value));
    let host = strip_port(exchange.authority());
    set("server.address", text(host).into());
    if let Some(port) = port(exchange, host.len()) {
        set("server.port", port.into());
    }
    let method = text(&span.method);
    if METHODS.contains(&&*method) {
        set("http.request.method", method.into());
    } else {
        set("http.request.method", "_OTHER".into());
        set("http.request.method_original", method.into());
    }
    set("url.scheme", exchange.scheme().into());
    set("url.path", text(&span.path).into());
    set("network.peer.address", exchange.remote.ip().to_string().into());
    set("network.peer.port", exchange.remote.port().into());
    set("client.address", exchange.client.to_string().into());
    if let Some(agent) = exchange.request_field(b"user-agent").filter(|agent| !agent.is_empty()) {
        set("user_agent.original", text(agent).into());
    }
    set("network.protocol.version", exchange.protocol().trim_start_matches("HTTP/").into());
    for (name, value) in &span.attributes {
        set(name, text(value).into());
    }
    for (name, bytes) in [
        ("http.request.body.size", outcome.request_bytes),
        ("http.response.body.size", outcome.response_bytes),
    ] {
        if bytes > 0 {
            set(name, bytes.into());
        }
    }
    set("http.response.status_code", outcome.status.into());
    found
}

/// The port that Host names, unless the scheme says it.
fn port(exchange: &Exchange, host_length: usize) -> Option<u16> {
    let authority = exchange.authority();
    let behind = authority.get(host_length..).filter(|rest| !rest.is_empty())?;
    let digits = &behind[memchr::memrchr(b':', behind)? + 1..];
    let port: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let own = if exchange.tls.is_some() { 443 } else { 80 };
    (port != own).then_some(port)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
