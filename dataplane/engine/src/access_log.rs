//! One JSON line per request, written to standard output by a thread of its own; the engine's own log to standard error.
//!
//! A worker never waits: what the writer cannot take is dropped and counted.

use crate::exchange::Exchange;
use crate::exchange::statuses::civil_from_days;
use crate::metrics::{Counter, WorkerMetrics};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// How a request ended.
pub struct Outcome<'a> {
    pub status: u16,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub duration_ns: u64,
    pub upstream: Option<SocketAddr>,
    pub tries: u32,
    /// Name of the virtual host; "" where none was found.
    pub host: &'a str,
    pub marker: &'a str,
    /// Why the engine answered by itself; "" else.
    pub reason: &'a str,
}

/// Full buffers go to the writer before the turn ends.
const BUFFER_BYTES: usize = 64 << 10;
/// Buffers that may wait for a slow reader of standard output: 64 x 64 KiB are some 15,000 lines.
const BUFFERS_WAITING_MAX: usize = 64;

/// A worker's end.
pub struct AccessLog {
    buffer: Vec<u8>,
    lines: u64,
    writer: Option<SyncSender<Vec<u8>>>,
    metrics: WorkerMetrics,
}

/// Starts the writer; give a clone of the sender to each worker's log.
pub fn start() -> std::io::Result<SyncSender<Vec<u8>>> {
    let (sender, receiver) = sync_channel(BUFFERS_WAITING_MAX);
    thread::Builder::new().name("access-log".into()).spawn(move || write_buffers(&receiver))?;
    Ok(sender)
}

fn write_buffers(receiver: &Receiver<Vec<u8>>) {
    while let Ok(buffer) = receiver.recv() {
        // A closed standard output is nothing that serving should suffer from.
        let _ = std::io::stdout().write_all(&buffer);
    }
}

impl AccessLog {
    pub fn new(writer: SyncSender<Vec<u8>>, metrics: WorkerMetrics) -> Self {
        Self { buffer: Vec::new(), lines: 0, writer: Some(writer), metrics }
    }

    /// Writes nothing.
    pub fn disabled(metrics: WorkerMetrics) -> Self {
        Self { buffer: Vec::new(), lines: 0, writer: None, metrics }
    }

    /// Buffers a line; never blocks. `flush` once per loop turn hands them to the writer.
    pub fn line(&mut self, exchange: &Exchange, outcome: &Outcome) {
        // What `log_skip` set (Caddy: server.go, shouldLogRequest).
        if self.writer.is_none() || exchange.variables.get(b"log_skip") == Some(b"true") {
            return;
        }
        push_line(exchange, outcome, &mut self.buffer);
        self.lines += 1;
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    pub fn flush(&mut self) {
        let Some(writer) = self.writer.as_ref().filter(|_| !self.buffer.is_empty()) else { return };
        let buffer = std::mem::take(&mut self.buffer);
        if writer.try_send(buffer).is_err() {
            self.metrics.add(Counter::AccessLogDropped, self.lines);
        }
        self.lines = 0;
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
    for (key, value) in exchange.log_values.iter() {
        push_field(key, value, out);
    }
    for (tables, row) in &exchange.log_rows {
        let (key, value) = exchange.log_value(tables, *row);
        push_field(&key, &value, out);
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
    let (year, month, day) = civil_from_days(seconds / 86_400);
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
            duration_ns: 3_000_000,
            upstream: Some(([127, 0, 0, 1], 80).into()),
            tries: 1,
            host: "https://a",
            marker: "m",
            reason: "",
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
