//! What the access log tells of an exchange: its request as it came, and fields that handlers add (Caddy: logging.go,
//! logappend.go). Values keep their types: a port is a number, what nobody set is null.

use super::expanding::Unknown;
use super::surroundings::{Surrounding, TlsField};
use super::texts::{Part, Placeholder, Text};
use super::{Exchange, RequestHead};
use crate::exchange::fields::Fields;
use crate::limits::WRITTEN_TEXT_BYTES_MAX;
use crate::snapshot::{Tables, Trust, ValueKind};
use std::sync::Arc;

/// The variables that `log_skip` and `log_name` set.
pub const LOG_SKIP_VARIABLE: &[u8] = b"log_skip";
pub const LOG_NAMES_VARIABLE: &[u8] = b"access_logger_names";

/// A request as it came, kept for the access log: handlers change the exchange's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    pub authority: Vec<u8>,
    pub fields: Fields,
    pub chunked: bool,
}

/// A value of a field of the log line.
#[derive(Clone, Debug, PartialEq)]
pub enum LogValue {
    Text(Vec<u8>),
    Integer(i64),
    Double(f64),
    Boolean(bool),
    DurationNs(u64),
    Texts(Vec<String>),
    TimeMs(u64),
    Null,
}

impl LogValue {
    /// Bytes of its texts.
    fn text_bytes(&self) -> usize {
        match self {
            LogValue::Text(text) => text.len(),
            LogValue::Texts(texts) => texts.iter().map(String::len).sum(),
            _ => 0,
        }
    }

    /// Appends the value as text; nothing for null.
    pub fn push_text(&self, out: &mut Vec<u8>) {
        use std::io::Write;
        // Writing to a Vec cannot fail.
        let _ = match self {
            LogValue::Text(text) => out.write_all(text),
            LogValue::Integer(number) => write!(out, "{number}"),
            LogValue::Double(number) => write!(out, "{number}"),
            LogValue::Boolean(holds) => write!(out, "{holds}"),
            LogValue::DurationNs(duration) => write!(out, "{}", *duration as f64 / 1e9),
            LogValue::Texts(texts) => write!(out, "[{}]", texts.join(" ")),
            LogValue::TimeMs(unix_ms) => write!(out, "{}", *unix_ms as f64 / 1000.0),
            LogValue::Null => Ok(()),
        };
    }
}

impl Exchange {
    /// Keeps the request as it came. What Go's server takes out of a head is left out: Host, Transfer-Encoding, Trailer.
    pub fn keep_sent(&mut self, head: &RequestHead, trust: &Trust) {
        let mut sent = Sent { authority: self.authority.clone(), ..Sent::default() };
        for field in head.headers {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
            sent.chunked |= is("transfer-encoding");
            let kept = !(is("host") || is("transfer-encoding") || is("trailer"));
            if kept && trust.takes_field(field.name, || head.count(field.name)) {
                sent.fields.push_checked(field.name, field.value);
            }
        }
        if sent.fields.get(b"pragma") == Some(b"no-cache") && !sent.fields.contains(b"cache-control") {
            sent.fields.push_checked(b"Cache-Control", b"no-cache");
        }
        self.sent = Some(Box::new(sent));
    }

    /// The request as far as it is still known, where `keep_sent` did not keep it.
    pub(crate) fn find_sent(&self) -> Sent {
        Sent { authority: self.authority.clone(), fields: self.request.clone(), ..Sent::default() }
    }

    /// This exchange is written to the access log of a Caddyfile.
    pub fn is_logged(&self) -> bool {
        self.sent.is_some()
    }

    pub fn skips_log(&self) -> bool {
        self.variables.get(LOG_SKIP_VARIABLE) == Some(b"true")
    }

    /// Adds a row of Tables.log_fields to the log line; returns how many bytes of text that wrote.
    pub(crate) fn append_log(&mut self, tables: Arc<Tables>, row: u32) -> usize {
        if !tables.log_fields[row as usize].early {
            self.log_rows.push((tables, row));
            return 0;
        }
        let (key, value) = self.log_value(&tables, row);
        let bytes = value.text_bytes();
        self.log_values.push((key, value));
        bytes
    }

    /// All fields that handlers added: what they added at once, then the rest from the innermost handler outwards.
    pub(crate) fn log_fields(&self) -> Vec<(Vec<u8>, LogValue)> {
        self.is_over.set(true);
        let mut bytes = 0;
        let rows = self.log_rows.iter().rev().map(|(tables, row)| self.log_value(tables, *row));
        let mut late = rows
            .take_while(|(_, value)| {
                bytes += value.text_bytes();
                bytes <= WRITTEN_TEXT_BYTES_MAX
            })
            .collect();
        let mut fields = self.log_values.clone();
        if self.shows_uuid.get() {
            let mut uuid = Vec::new();
            self.push_uuid(&mut uuid);
            fields.push((b"uuid".to_vec(), LogValue::Text(uuid)));
        }
        fields.append(&mut late);
        if !self.explanation.is_empty() {
            fields.push((b"explained".to_vec(), LogValue::Text(self.explanation.clone())));
        }
        fields
    }

    fn log_value(&self, tables: &Tables, row: u32) -> (Vec<u8>, LogValue) {
        let field = &tables.log_fields[row as usize];
        let variable = Placeholder::Variable(field.variable.clone());
        let value = match &field.value {
            _ if !field.variable.is_empty() && self.variables.get(&field.variable).is_some() => {
                self.typed_value(&variable)
            }
            Text::Parts(parts) => match &parts[..] {
                [Part::Placeholder(placeholder)] => self.typed_value(placeholder),
                _ => self.text_value(&field.value),
            },
            Text::Literal(_) => self.text_value(&field.value),
        };
        (field.key.to_vec(), value)
    }

    fn text_value(&self, text: &Text) -> LogValue {
        let mut value = Vec::new();
        self.expand(text, Unknown::Empty, &mut value);
        LogValue::Text(value)
    }

    /// The value of a placeholder with its type.
    pub(crate) fn typed_value(&self, placeholder: &Placeholder) -> LogValue {
        if !self.is_set(placeholder) {
            return LogValue::Null;
        }
        if let Placeholder::Surrounding(Surrounding::Duration) = placeholder {
            return LogValue::DurationNs(self.running_ns());
        }
        if let Placeholder::Surrounding(Surrounding::Now) = placeholder {
            return LogValue::TimeMs(self.now.unix_ms);
        }
        if let Placeholder::Tls(TlsField::Client(field)) = placeholder
            && let Some(value) = self.client_value(*field)
        {
            return value;
        }
        if let Placeholder::Attempt(field) = placeholder
            && !field.is_fraction()
            && let Some(duration_ns) = self.attempt_duration_ns(*field)
        {
            return LogValue::DurationNs(duration_ns);
        }
        let mut bytes = Vec::new();
        self.expand_placeholder(placeholder, Unknown::Empty, &mut bytes);
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let typed = match self.kind_of(placeholder) {
            ValueKind::Text => None,
            ValueKind::Boolean => Some(LogValue::Boolean(text == "true")),
            ValueKind::Integer => text.parse().ok().map(LogValue::Integer),
            ValueKind::Double => text.parse().ok().map(LogValue::Double),
        };
        typed.unwrap_or(LogValue::Text(bytes))
    }

    /// What Caddy's replacer does not find is null.
    pub(crate) fn is_set(&self, placeholder: &Placeholder) -> bool {
        match placeholder {
            Placeholder::Variable(name) => self.variables.get(name).is_some(),
            Placeholder::Regexp(key) => self.captures.get(key).is_some(),
            Placeholder::UserId => self.variables.get(super::texts::USER_VARIABLE).is_some(),
            Placeholder::ErrorStatus
            | Placeholder::ErrorText
            | Placeholder::ErrorId
            | Placeholder::ErrorWhole => self.status != 0,
            Placeholder::Attempt(field) => self.knows_attempt(*field),
            Placeholder::UpstreamStatus | Placeholder::UpstreamStatusText => self.upstream_status != 0,
            Placeholder::UpstreamField(name) => self.upstream_fields.contains(name),
            Placeholder::InterceptedStatus => self.intercepted_status != 0,
            Placeholder::InterceptedField(name) => self.intercepted_fields.contains(name),
            Placeholder::TransportError => self.transport_error,
            Placeholder::UpstreamHost | Placeholder::UpstreamPort | Placeholder::UpstreamHostPort => {
                self.upstream.is_some()
            }
            Placeholder::Tls(_) => self.tls.is_some(),
            Placeholder::Surrounding(Surrounding::TimeUntilShutdown) => false,
            Placeholder::Unknown(name) => self.is_mapped(name),
            _ => true,
        }
    }

    pub(crate) fn kind_of(&self, placeholder: &Placeholder) -> ValueKind {
        match placeholder {
            Placeholder::TransportError => ValueKind::Boolean,
            Placeholder::Attempt(field) if field.is_number() => ValueKind::Integer,
            Placeholder::Attempt(field) if field.is_fraction() => ValueKind::Double,
            Placeholder::Port
            | Placeholder::RemotePort
            | Placeholder::LocalPort
            | Placeholder::ErrorStatus
            | Placeholder::UpstreamStatus
            | Placeholder::InterceptedStatus => ValueKind::Integer,
            Placeholder::Surrounding(Surrounding::DurationMilliseconds) => ValueKind::Double,
            Placeholder::Surrounding(Surrounding::ShuttingDown)
            | Placeholder::Tls(TlsField::Resumed | TlsField::ProtocolMutual | TlsField::EncryptedHello) => {
                ValueKind::Boolean
            }
            Placeholder::Variable(name) => {
                let found = self.variable_kinds.iter().rev().find(|(known, _)| known[..] == name[..]);
                found.map_or(ValueKind::Text, |(_, kind)| *kind)
            }
            _ => ValueKind::Text,
        }
    }
}
