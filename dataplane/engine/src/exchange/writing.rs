//! Heads are written: the request's for the upstream, the answer's for the client.

use super::begin::{Kind, is_request_id};
use super::expanding::Unknown;
use super::fields::Fields;
use super::statuses::{push_date, reason};
use super::{Body, Connection, Exchange, Framing, HeaderSpan, ResponseHead, StaticAnswer};
use crate::snapshot::{ProxyCall, ResponseRow};
use std::io::Write;

impl Exchange {
    /// Appends path and query.
    pub(crate) fn write_uri(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.path);
        if self.has_query {
            out.push(b'?');
            out.extend_from_slice(&self.query);
        }
    }

    /// Appends the HTTP/1.1 request head for the upstream: hop-by-hop fields removed, forwarding fields ours.
    pub fn write_upstream_head(&mut self, call: &ProxyCall, framing: Framing, out: &mut Vec<u8>) {
        if call.is_plain() {
            self.write_request_line(out);
            push_field(b"Host", &self.authority, out);
            let nominated = nominated(&self.request);
            for field in self.request.iter() {
                if Kind::of(field.name) == Kind::EndToEnd && !is_nominated(&nominated, field.name) {
                    push_field(field.name, field.value, out);
                }
            }
            self.each_forwarding_field(|name, value| push_field(name, value, out));
        } else {
            self.write_changed_request(call, out);
        }
        push_framing(framing, out);
        out.extend_from_slice(b"\r\n");
    }

    fn write_request_line(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.method);
        out.push(b' ');
        self.write_uri(out);
        out.extend_from_slice(b" HTTP/1.1\r\n");
    }

    /// The slow way, for calls with changes of their own: they hold for this call, not for the exchange.
    fn write_changed_request(&mut self, call: &ProxyCall, out: &mut Vec<u8>) {
        let kept = (self.method.clone(), self.path.clone(), self.query.clone(), self.has_query);
        if let Some(rewrite) = call.rewrite() {
            self.rewrite(rewrite);
        }
        let mut fields = std::mem::take(&mut self.scratch);
        fields.clear();
        fields.push_checked(b"Host", &self.authority);
        let nominated = nominated(&self.request);
        for field in self.request.iter() {
            if Kind::of(field.name) == Kind::EndToEnd && !is_nominated(&nominated, field.name) {
                fields.push_checked(field.name, field.value);
            }
        }
        self.each_forwarding_field(|name, value| fields.push_checked(name, value));
        self.scratch = fields;
        self.change_scratch(call.request_changes());
        self.write_request_line(out);
        let host = self.scratch.iter().filter(|field| Kind::of(field.name) == Kind::Host).last();
        push_field(b"Host", host.map_or(b"", |field| field.value), out);
        for field in self.scratch.iter() {
            if !matches!(Kind::of(field.name), Kind::Hop | Kind::Host) {
                push_field(field.name, field.value, out);
            }
        }
        (self.method, self.path, self.query, self.has_query) = kept;
    }

    /// Forwarding fields: ours, or those of a trusted peer with ours appended.
    fn each_forwarding_field(&self, mut push: impl FnMut(&[u8], &[u8])) {
        let mut text = Vec::with_capacity(64);
        if self.trusted {
            for value in self.request.all(b"x-forwarded-for") {
                text.extend_from_slice(value);
                text.extend_from_slice(b", ");
            }
        }
        // Writing to a Vec cannot fail.
        let _ = write!(text, "{}", self.remote.ip());
        push(b"X-Forwarded-For", &text);
        let told =
            |name: &'static [u8]| self.request.get(name).filter(|value| self.trusted && !value.is_empty());
        push(b"X-Forwarded-Proto", told(b"x-forwarded-proto").unwrap_or(self.scheme().as_bytes()));
        push(b"X-Forwarded-Host", told(b"x-forwarded-host").unwrap_or(&self.authority));
        text.clear();
        let _ = write!(text, "{}", self.external_port);
        push(b"X-Forwarded-Port", told(b"x-forwarded-port").unwrap_or(&text));
        text.clear();
        let _ = write!(text, "{}", self.client);
        push(b"X-Real-IP", told(b"x-real-ip").unwrap_or(&text));
        let id = told(b"x-request-id").filter(|id| is_request_id(id));
        push(b"X-Request-ID", id.unwrap_or(&self.request_id));
        if let Some(value) = told(b"forwarded") {
            push(b"Forwarded", value);
        }
    }

    /// Appends the response head for the client: the upstream's, with what programs changed.
    pub fn write_downstream_head(&mut self, head: &ResponseHead, framing: Framing, out: &mut Vec<u8>) {
        self.upstream_status = head.status;
        push_status_line(head.status, head.reason, out);
        let mut dated = false;
        if self.answer.is_empty() && self.deferred.is_empty() && self.answering_call.is_none() {
            each_response_field(head, |field| {
                dated |= field.name.len() == 4 && field.name.eq_ignore_ascii_case(b"date");
                push_field(field.name, field.value, out);
            });
        } else {
            self.scratch.clear();
            let mut fields = std::mem::take(&mut self.scratch);
            each_response_field(head, |field| fields.push_checked(field.name, field.value));
            self.scratch = fields;
            self.writing_answer = true;
            if let Some((tables, row)) = self.answering_call.clone() {
                self.change_scratch(tables.proxies[row as usize].response_changes());
            }
            // What was set before the answer came stands before the upstream's fields (Caddy: copyHeader adds).
            let upstream = std::mem::replace(&mut self.scratch, self.answer.clone());
            for field in upstream.iter() {
                self.scratch.push_checked(field.name, field.value);
            }
            self.apply_deferred();
            self.writing_answer = false;
            dated = self.scratch.contains(b"date");
            push_end_to_end(&self.scratch, out);
        }
        if !dated && head.status >= 200 {
            push_date_field(self.now.unix_ms, out);
        }
        push_framing(framing, out);
        out.extend_from_slice(b"\r\n");
    }

    fn apply_deferred(&mut self) {
        for (tables, row) in std::mem::take(&mut self.deferred) {
            self.change_scratch(&tables.header_changes[row as usize].changes);
        }
    }

    /// Appends a static answer with its body; returns its status and the body's bytes (0 for HEAD).
    pub fn write_response(
        &mut self,
        answer: StaticAnswer,
        connection: Connection,
        out: &mut Vec<u8>,
    ) -> (u16, usize) {
        self.writing_answer = true;
        self.scratch = self.answer.clone();
        let mut body = Vec::new();
        let mut close = false;
        let status = match answer {
            StaticAnswer::Row(row) => {
                close = row.close;
                self.build_row(row, &mut body)
            }
            StaticAnswer::Status(status) => {
                // Writing to a Vec cannot fail.
                let _ = writeln!(body, "{status} {}", reason(status));
                status
            }
            StaticAnswer::Text(status, text) => {
                let _ = writeln!(body, "{status} {}: {text}", reason(status));
                status
            }
            StaticAnswer::Bare(status) => status,
            StaticAnswer::Empty => 200,
        };
        if !body.is_empty() && !self.scratch.contains(b"content-type") {
            let json = matches!(answer, StaticAnswer::Row(_)) && is_json(&body);
            let kind: &[u8] = if json { b"application/json" } else { b"text/plain; charset=utf-8" };
            self.scratch.push_checked(b"Content-Type", kind);
        }
        if matches!(answer, StaticAnswer::Row(_) | StaticAnswer::Empty) {
            self.apply_deferred();
        }
        self.writing_answer = false;
        let connection = if close { Connection::Close } else { connection };
        self.write_static(status, &body, connection, out)
    }

    fn write_static(
        &self,
        status: u16,
        body: &[u8],
        connection: Connection,
        out: &mut Vec<u8>,
    ) -> (u16, usize) {
        push_status_line(status, b"", out);
        push_end_to_end(&self.scratch, out);
        if !self.scratch.contains(b"date") {
            push_date_field(self.now.unix_ms, out);
        }
        // RFC 9110 8.6: none with 204 and 1xx; 304 has no body either; HEAD may leave it out.
        let bodiless = status < 200 || status == 204 || status == 304 || (self.is_head() && body.is_empty());
        let length = if bodiless { Body::Unframed } else { Body::Length(body.len() as u64) };
        push_framing(Framing { body: length, connection, expect_continue: false }, out);
        out.extend_from_slice(b"\r\n");
        if bodiless || self.is_head() {
            return (status, 0);
        }
        out.extend_from_slice(body);
        (status, body.len())
    }

    /// Expands a row into scratch and body; returns its status.
    fn build_row(&mut self, row: &ResponseRow, body: &mut Vec<u8>) -> u16 {
        let mut set: Vec<Vec<u8>> = Vec::new();
        for change in &row.headers {
            let (mut name, mut value) = (Vec::new(), Vec::new());
            self.expand(&change.name, Unknown::Empty, &mut name);
            self.expand(&change.value, Unknown::Empty, &mut value);
            name.make_ascii_lowercase();
            let mut shown = Vec::new();
            self.expand(&change.name, Unknown::Empty, &mut shown);
            if set.contains(&name) {
                self.scratch.add(&shown, &value);
            } else {
                self.scratch.set(&shown, &value);
                set.push(name);
            }
        }
        self.expand(&row.body, Unknown::Keep, body);
        let mut text = Vec::new();
        self.expand(&row.status, Unknown::Empty, &mut text);
        let default = if self.status == 0 { 200 } else { self.status };
        if text.is_empty() {
            return default;
        }
        let status = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<u16>().ok());
        status.filter(|status| (200..=599).contains(status)).unwrap_or(500)
    }
}

fn is_json(body: &[u8]) -> bool {
    let content = body.trim_ascii();
    let bracketed = matches!(content, [b'{', .., b'}'] | [b'[', .., b']']);
    content.len() > 2 && bracketed && serde_json::from_slice::<serde_json::Value>(content).is_ok()
}

fn push_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn push_date_field(unix_ms: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Date: ");
    push_date(unix_ms, out);
    out.extend_from_slice(b"\r\n");
}

fn push_status_line(status: u16, told: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    let digits =
        [b'0' + (status / 100 % 10) as u8, b'0' + (status / 10 % 10) as u8, b'0' + (status % 10) as u8];
    out.extend_from_slice(&digits);
    out.push(b' ');
    out.extend_from_slice(if told.is_empty() { reason(status).as_bytes() } else { told });
    out.extend_from_slice(b"\r\n");
}

/// Everything but hop-by-hop fields and framing, which no program may set.
fn push_end_to_end(fields: &Fields, out: &mut Vec<u8>) {
    for field in fields.iter().filter(|field| Kind::of(field.name) != Kind::Hop || is_challenge(field.name)) {
        push_field(field.name, field.value, out);
    }
}

fn is_challenge(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"proxy-authenticate")
}

fn push_framing(framing: Framing, out: &mut Vec<u8>) {
    match framing.body {
        Body::Unframed => {}
        // Writing to a Vec cannot fail.
        Body::Length(length) => drop(write!(out, "Content-Length: {length}\r\n")),
        Body::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    match framing.connection {
        Connection::Default => {}
        Connection::KeepAlive => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        Connection::Close => out.extend_from_slice(b"Connection: close\r\n"),
        Connection::Upgrade(protocol) => {
            out.extend_from_slice(b"Connection: Upgrade\r\n");
            push_field(b"Upgrade", protocol, out);
        }
    }
    if framing.expect_continue {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
}

/// Upstream fields that go on to the client.
fn each_response_field<'a>(head: &ResponseHead<'a>, mut push: impl FnMut(HeaderSpan<'a>)) {
    let connection =
        |field: &&HeaderSpan| field.name.len() == 10 && field.name.eq_ignore_ascii_case(b"connection");
    let nominated: Vec<&[u8]> = head.headers.iter().filter(connection).map(|field| field.value).collect();
    let nominated = nominated_in(nominated.into_iter());
    for field in head.headers {
        if (Kind::of(field.name) != Kind::Hop || is_challenge(field.name))
            && !is_nominated(&nominated, field.name)
        {
            push(*field);
        }
    }
}

/// Names that Connection makes hop-by-hop; end-to-end names which are not ours to drop are left out (reliability.md 2.8).
fn nominated(fields: &Fields) -> Vec<Vec<u8>> {
    nominated_in(fields.all(b"connection"))
}

fn nominated_in<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    lines
        .flat_map(|line| line.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
        .filter(|token| {
            !matches!(token.to_ascii_lowercase().as_slice(), b"close" | b"keep-alive" | b"upgrade")
        })
        .filter(|token| Kind::of(token) == Kind::EndToEnd && !is_protected(token))
        .map(<[u8]>::to_vec)
        .collect()
}

/// A client may not have its own credentials or content type dropped on the way.
fn is_protected(name: &[u8]) -> bool {
    [&b"authorization"[..], b"cookie", b"content-type", b"content-encoding", b"set-cookie", b"cache-control"]
        .iter()
        .any(|kept| name.eq_ignore_ascii_case(kept))
}

fn is_nominated(nominated: &[Vec<u8>], name: &[u8]) -> bool {
    !nominated.is_empty() && nominated.iter().any(|token| token.eq_ignore_ascii_case(name))
}
