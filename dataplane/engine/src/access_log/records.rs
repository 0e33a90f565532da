//! One request as a log record, with Caddy's fields in Caddy's order (caddyhttp/server.go logRequest, marshalers.go).

use super::Outcome;
use crate::exchange::fields::{Fields, is_token};
use crate::exchange::logging::{LogValue, Sent};
use crate::exchange::{Exchange, HTTP_2, TlsInfo, TlsVersion};
use std::borrow::Cow;

/// zap's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Info = 0,
    Warn = 1,
    Error = 2,
}

pub type Text<'a> = Cow<'a, [u8]>;

#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Text(Text<'a>),
    Texts(Vec<Text<'a>>),
    Integer(i64),
    Double(f64),
    Boolean(bool),
    DurationNs(u64),
    Time(u64),
    Null,
    Object(Vec<Field<'a>>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Field<'a> {
    pub key: Text<'a>,
    pub value: Value<'a>,
}

/// A line before it is encoded. The logger's name is the encoder's argument: it differs by logger.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    pub level: Level,
    pub unix_ms: u64,
    pub message: Cow<'a, str>,
    pub fields: Vec<Field<'a>>,
}

const REDACTED: &[u8] = b"REDACTED";
const CREDENTIALS: [&str; 4] = ["cookie", "set-cookie", "authorization", "proxy-authorization"];

/// The record of an exchange that `Exchange::keep_sent` prepared.
pub fn record<'a>(
    exchange: &'a Exchange,
    sent: &'a Sent,
    outcome: &Outcome,
    credentials: bool,
) -> Record<'a> {
    let status = i64::from(if outcome.unhandled || outcome.aborted { 0 } else { outcome.status });
    let mut fields = vec![
        field("request", Value::Object(request(exchange, sent, credentials))),
        field("bytes_read", Value::Integer(outcome.request_bytes as i64)),
        field("user_id", text(exchange.user_id())),
        field("duration", Value::DurationNs(outcome.duration_ns)),
        field("size", Value::Integer(outcome.response_bytes as i64 + outcome.withheld_bytes as i64)),
        field("status", Value::Integer(status)),
        field("resp_headers", Value::Object(answer(exchange, outcome, credentials))),
    ];
    fields.extend(exchange.log_fields().into_iter().map(|(key, value)| Field {
        key: key.into(),
        value: match value {
            LogValue::Text(text) => Value::Text(text.into()),
            LogValue::Integer(number) => Value::Integer(number),
            LogValue::Double(number) => Value::Double(number),
            LogValue::Boolean(holds) => Value::Boolean(holds),
            LogValue::DurationNs(duration) => Value::DurationNs(duration),
            LogValue::Texts(texts) => {
                Value::Texts(texts.into_iter().map(|text| text.into_bytes().into()).collect())
            }
            LogValue::TimeMs(unix_ms) => Value::Time(unix_ms),
            LogValue::Null => Value::Null,
        },
    }));
    Record {
        level: if status >= 500 { Level::Error } else { Level::Info },
        unix_ms: exchange.now.unix_ms + outcome.duration_ns / 1_000_000,
        message: if outcome.unhandled { "NOP" } else { "handled request" }.into(),
        fields,
    }
}

pub(super) fn field<'a>(key: &'static str, value: Value<'a>) -> Field<'a> {
    Field { key: key.as_bytes().into(), value }
}

pub(super) fn text(value: &[u8]) -> Value<'_> {
    Value::Text(value.into())
}

pub(super) fn owned(value: impl ToString) -> Value<'static> {
    Value::Text(value.to_string().into_bytes().into())
}

pub(super) fn request<'a>(exchange: &'a Exchange, sent: &'a Sent, credentials: bool) -> Vec<Field<'a>> {
    let (method, uri) = (&exchange.original_method, &exchange.target);
    request_of(exchange, (method, &sent.authority, uri), &sent.fields, sent.chunked, credentials)
}

/// The request as it was at some stage: method, host and URI, fields, and whether its body is in chunks.
pub(super) fn request_of<'a>(
    exchange: &'a Exchange,
    (method, host, uri): (&'a [u8], &'a [u8], &'a [u8]),
    sent: &'a Fields,
    chunked: bool,
    credentials: bool,
) -> Vec<Field<'a>> {
    let mut fields = vec![
        field("remote_ip", owned(exchange.remote.ip())),
        field("remote_port", owned(exchange.remote.port())),
        field("client_ip", owned(exchange.client)),
        field("proto", text(exchange.protocol().as_bytes())),
        field("method", text(method)),
        field("host", text(host)),
        field("uri", text(uri)),
        field("headers", Value::Object(headers(sent, credentials))),
    ];
    if chunked && exchange.http_minor != HTTP_2 {
        fields.push(field("transfer_encoding", Value::Texts(vec![b"chunked"[..].into()])));
    }
    if let Some(tls) = &exchange.tls {
        fields.push(field("tls", Value::Object(session(tls))));
    }
    fields
}

fn session(tls: &TlsInfo) -> Vec<Field<'_>> {
    let version = match tls.version {
        TlsVersion::Tls12 => 0x0303,
        TlsVersion::Tls13 => 0x0304,
    };
    vec![
        field("resumed", Value::Boolean(tls.resumed)),
        field("version", Value::Integer(version)),
        field("cipher_suite", Value::Integer(suite_number(tls.cipher_suite))),
        field("proto", text(tls.protocol.as_bytes())),
        field("server_name", text(tls.server_name.as_deref().unwrap_or_default().as_bytes())),
        field("ech", Value::Boolean(false)),
    ]
}

/// IANA's numbers of the suites that the engine offers.
fn suite_number(name: &str) -> i64 {
    match name {
        "TLS13_AES_128_GCM_SHA256" => 0x1301,
        "TLS13_AES_256_GCM_SHA384" => 0x1302,
        "TLS13_CHACHA20_POLY1305_SHA256" => 0x1303,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => 0xc02b,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => 0xc02c,
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => 0xc02f,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => 0xc030,
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => 0xcca8,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => 0xcca9,
        _ => 0,
    }
}

fn answer<'a>(exchange: &'a Exchange, outcome: &Outcome, credentials: bool) -> Vec<Field<'a>> {
    if !outcome.answered {
        return headers(&exchange.answer, credentials);
    }
    let mut fields = headers(&exchange.scratch, credentials);
    let has = |fields: &[Field], name: &[u8]| fields.iter().any(|field| field.key[..] == *name);
    if let Some(length) = outcome.told_length
        && !has(&fields, b"Content-Length")
    {
        fields.push(field("Content-Length", Value::Texts(vec![length.to_string().into_bytes().into()])));
    }
    // Caddy's `respond` keeps Go from guessing the type of what has none.
    if outcome.untyped && !has(&fields, b"Content-Type") {
        fields.push(field("Content-Type", Value::Texts(Vec::new())));
    }
    fields
}

/// Fields by name, in Go's spelling; credentials only where they are asked for.
fn headers(fields: &Fields, credentials: bool) -> Vec<Field<'_>> {
    let mut found: Vec<Field> = Vec::with_capacity(fields.len());
    for header in fields.iter() {
        let key = canonical(header.name);
        let redacts =
            !credentials && CREDENTIALS.iter().any(|name| key.eq_ignore_ascii_case(name.as_bytes()));
        match found.iter_mut().find(|field| field.key == key) {
            Some(Field { value: Value::Texts(values), .. }) if !redacts => values.push(header.value.into()),
            Some(_) => {}
            None => {
                let value = if redacts { REDACTED } else { header.value };
                found.push(Field { key, value: Value::Texts(vec![value.into()]) });
            }
        }
    }
    found
}

/// Go's textproto.CanonicalMIMEHeaderKey.
fn canonical(name: &[u8]) -> Text<'_> {
    let mut upper = true;
    let is_canonical = name.iter().all(|&byte| {
        let fits = if upper { !byte.is_ascii_lowercase() } else { !byte.is_ascii_uppercase() };
        upper = byte == b'-';
        fits
    });
    if is_canonical || !is_token(name) {
        return name.into();
    }
    let mut upper = true;
    let changed = name.iter().map(|&byte| {
        let spelled = if upper { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
        upper = byte == b'-';
        spelled
    });
    changed.collect::<Vec<u8>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_go_spells_them() {
        for (name, expected) in
            [("x-two", "X-Two"), ("ETag", "Etag"), ("X-A", "X-A"), ("weird-NAME_x", "Weird-Name_x")]
        {
            assert_eq!(canonical(name.as_bytes()), Text::from(expected.as_bytes()));
        }
    }

    #[test]
    fn credentials_are_redacted_unless_asked_for() {
        let mut fields = Fields::default();
        for (name, value) in [("cookie", "a=1"), ("Cookie", "b=2"), ("X-Two", "1"), ("x-two", "2")] {
            fields.push_checked(name.as_bytes(), value.as_bytes());
        }
        let shown = |credentials| format!("{:?}", headers(&fields, credentials));
        assert!(!shown(false).contains("97, 61"), "{}", shown(false));
        let values =
            |texts: &[&'static str]| Value::Texts(texts.iter().map(|text| text.as_bytes().into()).collect());
        let open = headers(&fields, true);
        assert_eq!(open[0].value, values(&["a=1", "b=2"]));
        let closed = headers(&fields, false);
        assert_eq!((&closed[0].value, &closed[1].value), (&values(&["REDACTED"]), &values(&["1", "2"])));
    }
}
