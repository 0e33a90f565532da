//! Records as lines, as zap's encoders write them (zapcore/json_encoder.go, console_encoder.go) below Caddy's settings
//! (modules/logging/encoders.go, appendencoder.go, journaldencoder.go).
//!
//! Times are in UTC, to the millisecond.

use super::constants::Constant;
use super::filters::{Filter, apply_filters};
use super::records::{Field, Level, Record, Value};
use crate::exchange::{Exchange, surroundings};
use crate::protocol;
use crate::templating::times;
use std::io::Write;

/// Wrapped encoders are followed so far.
const DEPTH_MAX: u32 = 8;

#[derive(Debug)]
pub enum Encoder {
    Json(Style),
    Console(Style),
    Filter(Box<Encoder>, Vec<Filter>),
    Append(Box<Encoder>, Vec<(Box<[u8]>, Constant)>),
    Journald(Box<Encoder>),
}

/// How the elements of a line are written; an empty key leaves its element out.
#[derive(Clone, Debug)]
pub struct Style {
    message_key: Box<str>,
    level_key: Box<str>,
    time_key: Box<str>,
    name_key: Box<str>,
    line_ending: Box<str>,
    time: TimeFormat,
    duration: DurationFormat,
    level: LevelFormat,
}

#[derive(Clone, Debug, PartialEq)]
enum TimeFormat {
    Seconds,
    Milliseconds,
    Nanoseconds,
    Layout(Box<str>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum DurationFormat {
    Seconds,
    Milliseconds,
    Nanoseconds,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum LevelFormat {
    Lower,
    Upper,
    Color,
    Absent,
}

impl Encoder {
    pub fn compile(message: Option<&protocol::LogEncoder>) -> Result<Self, String> {
        Self::compile_at(message, 0)
    }

    fn compile_at(message: Option<&protocol::LogEncoder>, depth: u32) -> Result<Self, String> {
        let default = protocol::LogEncoder::default();
        let message = message.unwrap_or(&default);
        if depth > DEPTH_MAX {
            return Err("too many encoders in each other".into());
        }
        let wrapped = || Self::compile_at(message.wrapped.as_deref(), depth + 1).map(Box::new);
        Ok(match message.format() {
            protocol::LogFormat::LogJson => {
                Self::Json(Style::compile(message, "unix_seconds_float", "lower"))
            }
            protocol::LogFormat::LogConsole => Self::Console(Style::compile(message, "wall_milli", "color")),
            protocol::LogFormat::LogFilter => {
                let filters = message.filters.iter().map(Filter::compile).collect::<Result<_, _>>()?;
                Self::Filter(wrapped()?, filters)
            }
            protocol::LogFormat::LogAppend => {
                let constants = message.constants.iter();
                Self::Append(wrapped()?, constants.filter_map(Constant::compile).collect())
            }
            protocol::LogFormat::LogJournald => Self::Journald(wrapped()?),
        })
    }

    /// Appends the record's line.
    pub fn encode(&self, record: &Record, logger: &str, exchange: &Exchange, out: &mut Vec<u8>) {
        match self {
            Self::Json(style) => style.push_json(record, logger, out),
            Self::Console(style) => style.push_console(record, logger, out),
            Self::Filter(wrapped, filters) => {
                let mut record = record.clone();
                record.fields = apply_filters(filters, record.fields, "");
                wrapped.encode(&record, logger, exchange, out);
            }
            Self::Append(wrapped, constants) => {
                let mut record = record.clone();
                record.fields.extend(
                    constants
                        .iter()
                        .map(|(key, value)| Field { key: key[..].into(), value: value.evaluate(exchange) }),
                );
                wrapped.encode(&record, logger, exchange, out);
            }
            Self::Journald(wrapped) => {
                out.extend_from_slice(match record.level {
                    Level::Info => b"<6>",
                    Level::Warn => b"<4>",
                    Level::Error => b"<3>",
                });
                wrapped.encode(record, logger, exchange, out);
            }
        }
    }
}

impl Style {
    fn compile(message: &protocol::LogEncoder, time: &str, level: &str) -> Self {
        let key = |key: &Option<String>, default: &str| key.as_deref().unwrap_or(default).into();
        let or =
            |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
        let ending = message.line_ending.as_deref().filter(|ending| !ending.is_empty());
        Self {
            message_key: key(&message.message_key, "msg"),
            level_key: key(&message.level_key, "level"),
            time_key: key(&message.time_key, "ts"),
            name_key: key(&message.name_key, "logger"),
            line_ending: ending.unwrap_or("\n").into(),
            time: TimeFormat::of(&or(&message.time_format, time)),
            duration: match message.duration_format.as_str() {
                "ms" | "milli" | "millis" => DurationFormat::Milliseconds,
                "ns" | "nano" | "nanos" => DurationFormat::Nanoseconds,
                "string" => DurationFormat::Text,
                _ => DurationFormat::Seconds,
            },
            level: match or(&message.level_format, level).as_str() {
                "lower" => LevelFormat::Lower,
                "upper" => LevelFormat::Upper,
                "color" => LevelFormat::Color,
                _ => LevelFormat::Absent,
            },
        }
    }

    fn push_json(&self, record: &Record, logger: &str, out: &mut Vec<u8>) {
        let start = out.len();
        let key = |key: &str, out: &mut Vec<u8>| {
            out.push(if out.len() == start { b'{' } else { b',' });
            push_string(key.as_bytes(), out);
            out.push(b':');
        };
        if !self.level_key.is_empty() && self.level != LevelFormat::Absent {
            key(&self.level_key, out);
            push_string(self.level_name(record.level).as_bytes(), out);
        }
        if !self.time_key.is_empty() {
            key(&self.time_key, out);
            self.push_time(record.unix_ms, out);
        }
        if !self.name_key.is_empty() {
            key(&self.name_key, out);
            push_string(logger.as_bytes(), out);
        }
        if !self.message_key.is_empty() {
            key(&self.message_key, out);
            push_string(record.message.as_bytes(), out);
        }
        for field in &record.fields {
            out.push(if out.len() == start { b'{' } else { b',' });
            self.push_field(field, out);
        }
        if out.len() == start {
            out.push(b'{');
        }
        out.push(b'}');
        out.extend_from_slice(self.line_ending.as_bytes());
    }

    fn push_console(&self, record: &Record, logger: &str, out: &mut Vec<u8>) {
        let start = out.len();
        let tab = |out: &mut Vec<u8>| {
            if out.len() > start {
                out.push(b'\t');
            }
        };
        if !self.time_key.is_empty() {
            match &self.time {
                TimeFormat::Layout(layout) => {
                    out.extend_from_slice(format_time(record.unix_ms, layout).as_bytes())
                }
                TimeFormat::Nanoseconds => drop(write!(out, "{}", record.unix_ms as i128 * 1_000_000)),
                number => push_general(number.number(record.unix_ms), out),
            }
        }
        if !self.level_key.is_empty() && self.level != LevelFormat::Absent {
            tab(out);
            out.extend_from_slice(self.level_name(record.level).as_bytes());
        }
        if !self.name_key.is_empty() {
            tab(out);
            out.extend_from_slice(logger.as_bytes());
        }
        if !self.message_key.is_empty() {
            tab(out);
            out.extend_from_slice(record.message.as_bytes());
        }
        if !record.fields.is_empty() {
            tab(out);
            self.push_object(&record.fields, b": ", b", ", out);
        }
        out.extend_from_slice(self.line_ending.as_bytes());
    }

    fn level_name(&self, level: Level) -> &'static str {
        match (self.level, level) {
            (LevelFormat::Upper, Level::Info) => "INFO",
            (LevelFormat::Upper, Level::Warn) => "WARN",
            (LevelFormat::Upper, Level::Error) => "ERROR",
            (LevelFormat::Color, Level::Info) => "\x1b[34mINFO\x1b[0m",
            (LevelFormat::Color, Level::Warn) => "\x1b[33mWARN\x1b[0m",
            (LevelFormat::Color, Level::Error) => "\x1b[31mERROR\x1b[0m",
            (_, Level::Info) => "info",
            (_, Level::Warn) => "warn",
            (_, Level::Error) => "error",
        }
    }

    fn push_field(&self, field: &Field, out: &mut Vec<u8>) {
        push_string(&field.key, out);
        out.push(b':');
        self.push_value(&field.value, b":", b",", out);
    }

    fn push_object(&self, fields: &[Field], colon: &[u8], comma: &[u8], out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(comma);
            }
            push_string(&field.key, out);
            out.extend_from_slice(colon);
            self.push_value(&field.value, colon, comma, out);
        }
        out.push(b'}');
    }

    fn push_time(&self, unix_ms: u64, out: &mut Vec<u8>) {
        match &self.time {
            TimeFormat::Layout(layout) => push_string(format_time(unix_ms, layout).as_bytes(), out),
            number => push_number(number.number(unix_ms), out),
        }
    }

    fn push_value(&self, value: &Value, colon: &[u8], comma: &[u8], out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        match value {
            Value::Text(text) => push_string(text, out),
            Value::Texts(texts) => {
                out.push(b'[');
                for (index, text) in texts.iter().enumerate() {
                    if index > 0 {
                        out.extend_from_slice(comma);
                    }
                    push_string(text, out);
                }
                out.push(b']');
            }
            Value::Integer(number) => drop(write!(out, "{number}")),
            Value::Double(number) => push_number(*number, out),
            Value::Time(unix_ms) => self.push_time(*unix_ms, out),
            Value::Boolean(holds) => drop(write!(out, "{holds}")),
            Value::Null => out.extend_from_slice(b"null"),
            Value::Object(fields) => self.push_object(fields, colon, comma, out),
            Value::DurationNs(duration) => match self.duration {
                DurationFormat::Seconds => push_number(*duration as f64 / 1e9, out),
                DurationFormat::Milliseconds => drop(write!(out, "{}", duration / 1_000_000)),
                DurationFormat::Nanoseconds => drop(write!(out, "{duration}")),
                DurationFormat::Text => {
                    let mut text = Vec::new();
                    surroundings::push_duration(*duration, &mut text);
                    push_string(&text, out);
                }
            },
        }
    }
}

impl TimeFormat {
    fn of(name: &str) -> Self {
        Self::Layout(
            match name {
                "unix_seconds_float" => return Self::Seconds,
                "unix_milli_float" => return Self::Milliseconds,
                "unix_nano" => return Self::Nanoseconds,
                "iso8601" => "2006-01-02T15:04:05.000Z0700",
                "rfc3339" => "2006-01-02T15:04:05Z07:00",
                "rfc3339_nano" => "2006-01-02T15:04:05.999999999Z07:00",
                "wall" => "2006/01/02 15:04:05",
                "wall_milli" => "2006/01/02 15:04:05.000",
                "wall_nano" => "2006/01/02 15:04:05.000000000",
                "common_log" => "02/Jan/2006:15:04:05 -0700",
                layout => layout,
            }
            .into(),
        )
    }

    fn number(&self, unix_ms: u64) -> f64 {
        match self {
            Self::Milliseconds => unix_ms as f64,
            Self::Nanoseconds => unix_ms as f64 * 1e6,
            _ => unix_ms as f64 / 1000.0,
        }
    }
}

/// Go's time.Format in UTC: what the layout says of fractions of a second is written here, the rest by `times`.
fn format_time(unix_ms: u64, layout: &str) -> String {
    let (mut out, mut rest) = (String::new(), layout);
    let seconds = (unix_ms / 1000) as i64;
    let nanos = format!("{:03}000000", unix_ms % 1000);
    while let Some(at) = rest.find(['.', ',']) {
        let digits = rest[at + 1..].bytes();
        let kind = rest.as_bytes().get(at + 1).copied().filter(|byte| matches!(byte, b'0' | b'9'));
        let count = digits.take_while(|byte| Some(*byte) == kind).count().min(9);
        let follows = rest.as_bytes().get(at + 1 + count).is_some_and(u8::is_ascii_digit);
        out.push_str(&times::format(seconds, &rest[..at]));
        match kind {
            Some(_) if follows => out.push_str(&rest[at..at + 1 + count]),
            Some(b'0') => out.push_str(&format!("{}{}", &rest[at..=at], &nanos[..count])),
            Some(_) => {
                let fraction = nanos[..count].trim_end_matches('0');
                if !fraction.is_empty() {
                    out.push_str(&format!("{}{fraction}", &rest[at..=at]));
                }
            }
            None => out.push_str(&rest[at..=at]),
        }
        rest = &rest[at + 1 + count..];
    }
    out + &times::format(seconds, rest)
}

/// Go's strconv.AppendFloat(…, 'f', -1).
fn push_number(number: f64, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail. Rust writes the shortest form without an exponent too.
    let _ = write!(out, "{number}");
}

/// Go's %v of a number: with an exponent from a million on.
fn push_general(number: f64, out: &mut Vec<u8>) {
    let text = format!("{number:e}");
    // Writing to a Vec cannot fail.
    let _ =
        match text.split_once('e').map(|(digits, exponent)| (digits, exponent.parse::<i32>().unwrap_or(0))) {
            Some((digits, exponent)) if !(-4..21).contains(&exponent) || exponent >= 6 => {
                let sign = if exponent < 0 { '-' } else { '+' };
                write!(out, "{digits}e{sign}{:02}", exponent.abs())
            }
            _ => write!(out, "{number}"),
        };
}

/// zap's safe strings: control characters escaped, what is no UTF-8 replaced.
fn push_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        for &byte in chunk.valid().as_bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0x20.. => out.push(byte),
                // Writing to a Vec cannot fail.
                _ => drop(write!(out, "\\u{byte:04x}")),
            }
        }
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &protocol::LogEncoder) -> String {
        let fields = vec![
            Field {
                key: b"a\"\xff\x01"[..].into(),
                value: Value::Texts(vec![b"1"[..].into(), b"2"[..].into()]),
            },
            Field { key: b"duration"[..].into(), value: Value::DurationNs(1_500_000) },
        ];
        let record = Record {
            level: Level::Error,
            unix_ms: 1_700_000_000_120,
            message: "handled request".into(),
            fields,
        };
        let mut out = Vec::new();
        Encoder::compile(Some(message)).unwrap().encode(&record, "http.log", &Exchange::new(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_zaps() {
        assert_eq!(
            line(&protocol::LogEncoder::default()),
            "{\"level\":\"error\",\"ts\":1700000000.12,\"logger\":\"http.log\",\"msg\":\"handled request\",\
             \"a\\\"\\ufffd\\u0001\":[\"1\",\"2\"],\"duration\":0.0015}\n"
        );
    }

    #[test]
    fn keys_formats_and_line_endings_are_chosen() {
        let encoder = protocol::LogEncoder {
            message_key: Some(String::new()),
            level_key: Some("severity".into()),
            level_format: "upper".into(),
            time_format: "rfc3339_nano".into(),
            name_key: Some(String::new()),
            duration_format: "string".into(),
            line_ending: Some("\r\n".into()),
            ..Default::default()
        };
        assert_eq!(
            line(&encoder),
            "{\"severity\":\"ERROR\",\"ts\":\"2023-11-14T22:13:20.12Z\",\
             \"a\\\"\\ufffd\\u0001\":[\"1\",\"2\"],\"duration\":\"1.5ms\"}\r\n"
        );
    }

    #[test]
    fn console_lines_are_for_people() {
        let mut encoder = protocol::LogEncoder::default();
        encoder.set_format(protocol::LogFormat::LogConsole);
        let context = "{\"a\\\"\\ufffd\\u0001\": [\"1\", \"2\"], \"duration\": 0.0015}\n";
        assert_eq!(
            line(&encoder),
            format!("2023/11/14 22:13:20.120\t\x1b[31mERROR\x1b[0m\thttp.log\thandled request\t{context}")
        );
        encoder.time_format = "unix_seconds_float".into();
        assert!(line(&encoder).starts_with("1.70000000012e+09\t"));
    }

    #[test]
    fn constants_follow_the_fields_and_journald_sees_the_level() {
        let mut append = protocol::LogEncoder {
            constants: vec![protocol::LogConstant {
                key: "n".into(),
                value: Some(protocol::log_constant::Value::Integer(7)),
            }],
            ..Default::default()
        };
        append.set_format(protocol::LogFormat::LogAppend);
        let mut journald = protocol::LogEncoder { wrapped: Some(append.into()), ..Default::default() };
        journald.set_format(protocol::LogFormat::LogJournald);
        let line = line(&journald);
        assert!(line.starts_with("<3>{\"level\"") && line.ends_with(",\"n\":7}\n"), "{line}");
    }
}
