//! Lines about requests: Caddy's, as the loggers of a Caddyfile want them, and one JSON line per request of the engine's
//! own on standard output, for clusters. The engine's own log goes to standard error.
//!
//! `records` says what is known of a request, `filters` and `encoding` make a line of it, `loggers` where it goes, and
//! `writing` writes it. A worker never waits: what the writers cannot take is dropped and counted.

mod constants;
mod encoding;
pub mod errors;
mod filters;
pub mod loggers;
mod records;
mod spans;
pub mod writing;

use crate::calendar::civil_from_days;
use crate::exchange::Exchange;
use crate::exchange::logging::LOG_NAMES_VARIABLE;
use crate::metrics::{Counter, WorkerMetrics};
use errors::{ERRORS, IncompleteAnswer, PROXY, RequestError};
use loggers::{ACCESS, Loggers, Sink};
use records::Record;
use std::io::Write;
use std::net::SocketAddr;
use writing::{Batch, Writers};

/// How a request ended.
pub struct Outcome<'a> {
    pub status: u16,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// Of a body that HEAD left out: Caddy counts them.
    pub withheld_bytes: u64,
    pub duration_ns: u64,
    pub upstream: Option<SocketAddr>,
    pub tries: u32,
    /// Name of the virtual host; "" where none was found.
    pub host: &'a str,
    pub marker: &'a str,
    /// Why the engine answered by itself; "" else.
    pub reason: &'a str,
    /// An answer's head went out.
    pub answered: bool,
    /// No handler answered, or `abort` did: to Caddy, requests without a status.
    pub unhandled: bool,
    pub aborted: bool,
    /// Content-Length, where a handler has it and not the connection.
    pub told_length: Option<u64>,
    /// An answer that was configured, whose body has no type.
    pub untyped: bool,
}

/// Full buffers go to the writer before the turn ends.
const BUFFER_BYTES: usize = 64 << 10;

/// Lines of one sink that wait for the end of the turn.
struct Waiting {
    sink: Sink,
    lines: u64,
    bytes: Vec<u8>,
}

/// A worker's end.
pub struct AccessLog {
    waiting: Vec<Waiting>,
    writers: Option<Writers>,
    metrics: WorkerMetrics,
}

impl AccessLog {
    pub fn new(writers: Writers, metrics: WorkerMetrics) -> Self {
        Self { waiting: Vec::new(), writers: Some(writers), metrics }
    }

    /// Writes nothing.
    pub fn disabled(metrics: WorkerMetrics) -> Self {
        Self { waiting: Vec::new(), writers: None, metrics }
    }

    /// Buffers a line of the engine's own; never blocks. `flush` once per loop turn hands lines to the writers.
    pub fn line(&mut self, exchange: &Exchange, outcome: &Outcome) {
        if self.writers.is_none() || exchange.skips_log() {
            return;
        }
        push_line(exchange, outcome, self.buffer(&Sink::Stdout));
        self.flush_full();
    }

    /// Buffers the lines that the loggers of a Caddyfile want; `listener` took the request.
    pub fn record(&mut self, loggers: &Loggers, listener: &str, exchange: &Exchange, outcome: &Outcome) {
        let (Some(sent), Some(server)) = (&exchange.sent, loggers.server(listener)) else { return };
        if self.writers.is_none() || exchange.skips_log() {
            return;
        }
        let record = records::record(exchange, sent, outcome, server.with_credentials);
        let host = String::from_utf8_lossy(strip_port(exchange.authority()));
        let given = exchange.variables.get(LOG_NAMES_VARIABLE).map(String::from_utf8_lossy);
        server
            .each_name(ACCESS, &host, given.as_deref(), |name| self.write(loggers, name, &record, exchange));
        self.flush_full();
    }

    /// Buffers the lines that the loggers of a Caddyfile want about an error; `log_skip` does not hide it.
    pub fn record_error(
        &mut self,
        loggers: &Loggers,
        listener: &str,
        exchange: &Exchange,
        outcome: &Outcome,
        error: &RequestError,
    ) {
        if self.writers.is_none() {
            return;
        }
        let server = loggers.server(listener);
        let left;
        let sent = match &exchange.sent {
            Some(sent) => sent,
            None => {
                left = exchange.find_sent();
                &left
            }
        };
        let record =
            error.record(exchange, sent, outcome, server.is_some_and(|server| server.with_credentials));
        let mut write = |name: &str| self.write(loggers, name, &record, exchange);
        match server {
            Some(server) => {
                let host = String::from_utf8_lossy(strip_port(exchange.authority()));
                server.each_name(ERRORS, &host, None, write);
            }
            None => write(ERRORS),
        }
        self.flush_full();
    }

    /// Buffers the lines that the loggers of a Caddyfile want about an answer that its upstream left incomplete.
    pub fn record_incomplete(
        &mut self,
        loggers: &Loggers,
        listener: &str,
        exchange: &Exchange,
        unix_ms: u64,
        answer: &IncompleteAnswer,
    ) {
        if self.writers.is_none() {
            return;
        }
        let credentials = loggers.server(listener).is_some_and(|server| server.with_credentials);
        self.write(loggers, PROXY, &answer.record(exchange, unix_ms, credentials), exchange);
        self.flush_full();
    }

    fn write(&mut self, loggers: &Loggers, name: &str, record: &Record, exchange: &Exchange) {
        for logger in loggers.taking(name, record.level, &record.message, record.unix_ms) {
            let Some(sink) = &logger.sink else { continue };
            logger.encoder.encode(record, name, exchange, self.buffer(sink));
        }
    }

    /// Buffers the spans of a request for the agent, which exports them.
    pub fn spans(&mut self, exchange: &Exchange, outcome: &Outcome) {
        if self.writers.is_none() {
            return;
        }
        for span in exchange.spans.iter().filter(|span| span.is_sampled) {
            spans::push_span(span, exchange, outcome, self.buffer(&Sink::Agent(spans::SINK.into())));
        }
        self.flush_full();
    }

    /// The sink's buffer, with one more line to come.
    fn buffer(&mut self, sink: &Sink) -> &mut Vec<u8> {
        let known = self.waiting.iter().position(|waiting| waiting.sink == *sink);
        let index = known.unwrap_or_else(|| {
            self.waiting.push(Waiting { sink: sink.clone(), lines: 0, bytes: Vec::new() });
            self.waiting.len() - 1
        });
        let waiting = &mut self.waiting[index];
        waiting.lines += 1;
        &mut waiting.bytes
    }

    fn flush_full(&mut self) {
        if self.waiting.iter().any(|waiting| waiting.bytes.len() >= BUFFER_BYTES) {
            self.flush();
        }
    }

    pub fn flush(&mut self) {
        let Some(writers) = self.writers.as_ref() else { return };
        for Waiting { sink, lines, bytes } in self.waiting.drain(..) {
            if !writers.submit(Batch { sink, lines, bytes }) {
                self.metrics.add(Counter::AccessLogDropped, lines);
            }
        }
    }
}

/// Go's net.SplitHostPort: the host alone, without brackets; all of it where there is no port.
pub fn strip_port(authority: &[u8]) -> &[u8] {
    let Some(at) = memchr::memrchr(b':', authority) else { return authority };
    match &authority[..at] {
        [b'[', inner @ .., b']'] => inner,
        host if host.contains(&b':') => authority,
        host => host,
    }
}

fn push_line(exchange: &Exchange, outcome: &Outcome, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    push_time(exchange.now.unix_ms, out);
    // Writing to a Vec cannot fail.
    let _ = write!(out, "\",\"status\":{},\"duration_us\":{}", outcome.status, outcome.duration_ns / 1000);
    let _ = write!(
        out,
        ",\"request_bytes\":{},\"response_bytes\":{}",
        outcome.request_bytes, outcome.response_bytes
    );
    let _ = write!(out, ",\"client\":\"{}\",\"method\":", exchange.client);
    push_string(&exchange.original_method, out);
    for (name, value) in [
        (&b"host"[..], &exchange.authority[..]),
        (b"target", &exchange.target),
        (b"user_agent", exchange.request_field(b"user-agent").unwrap_or_default()),
        (b"referer", exchange.request_field(b"referer").unwrap_or_default()),
        (b"request_id", &exchange.request_id),
        (b"virtual_host", outcome.host.as_bytes()),
        (b"marker", outcome.marker.as_bytes()),
        (b"reason", outcome.reason.as_bytes()),
    ] {
        if !value.is_empty() {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name);
            out.extend_from_slice(b"\":");
            push_string(value, out);
        }
    }
    if let Some(upstream) = outcome.upstream {
        let _ = write!(out, ",\"upstream\":\"{upstream}\",\"tries\":{}", outcome.tries);
    }
    for (key, value) in exchange.log_fields() {
        let mut text = Vec::new();
        value.push_text(&mut text);
        push_field(&key, &text, out);
    }
    let _ = writeln!(out, ",\"scheme\":\"{}\",\"protocol\":\"{}\"}}", exchange.scheme(), exchange.protocol());
}

fn push_field(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(b',');
    push_string(key, out);
    out.push(b':');
    push_string(value, out);
}

/// A JSON string. Bytes that are no ASCII text become `\u00XX`: a line is always one line, and valid.
fn push_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x20..=0x7e => out.push(byte),
            // Writing to a Vec cannot fail.
            _ => drop(write!(out, "\\u{:04x}", byte)),
        }
    }
    out.push(b'"');
}

/// RFC 3339 in UTC with milliseconds.
fn push_time(unix_ms: u64, out: &mut Vec<u8>) {
    let (seconds, millis) = (unix_ms / 1000, unix_ms % 1000);
    let (year, month, day) = civil_from_days((seconds / 86_400) as i64);
    let time = seconds % 86_400;
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        time / 3600,
        time / 60 % 60,
        time % 60
    );
}

/// A line of a program, on standard error. `message` holds no control characters.
pub fn log_program(host: &str, message: &str) {
    log("program", &format!("{host}: {message}"));
}

/// A line of the engine itself, on standard error.
pub fn log(part: &str, message: &str) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut line = b"{\"time\":\"".to_vec();
    push_time(now.as_millis() as u64, &mut line);
    line.extend_from_slice(b"\",\"part\":");
    push_string(part.as_bytes(), &mut line);
    line.extend_from_slice(b",\"message\":");
    push_string(message.as_bytes(), &mut line);
    line.extend_from_slice(b"}\n");
    // Nobody to tell when standard error is gone.
    let _ = std::io::stderr().write_all(&line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_json_object_whatever_the_client_sent() {
        let mut exchange = Exchange::new();
        exchange.target.extend_from_slice(b"/a\"b\\\n\xff\x00");
        exchange.now.unix_ms = 1_700_000_000_123;
        let outcome = Outcome {
            status: 200,
            request_bytes: 1,
            response_bytes: 2,
            withheld_bytes: 0,
            duration_ns: 3_000_000,
            upstream: Some(([127, 0, 0, 1], 80).into()),
            tries: 1,
            host: "https://a",
            marker: "m",
            reason: "",
            answered: true,
            unhandled: false,
            aborted: false,
            told_length: None,
            untyped: false,
        };
        let mut out = Vec::new();
        push_line(&exchange, &outcome, &mut out);
        assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
        let parsed: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(parsed["target"], "/a\"b\\\n\u{ff}\0");
        assert_eq!(parsed["time"], "2023-11-14T22:13:20.123Z");
        assert_eq!(
            (parsed["duration_us"].as_u64(), parsed["upstream"].as_str()),
            (Some(3000), Some("127.0.0.1:80"))
        );
    }
}
