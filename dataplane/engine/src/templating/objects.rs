//! What a template's dot is made of: the request, its URL and fields, files, documents; their fields and methods.

use super::evaluating::Evaluation;
use super::times::{self, DAY_S};
use super::values::Value;
use super::{Failure, escaping};
use crate::calendar::{civil_from_days, days_from_civil};
use crate::exchange::{HTTP_2, paths, queries};
use std::collections::BTreeMap;

#[derive(Debug)]
pub enum Object {
    /// The dot of a template: `.Args`, `.Req` and the rest.
    Context(Vec<Value>),
    /// True: as it came, before rewrites.
    Request(bool),
    Url(bool),
    /// Fields of the request, its query, or form.
    Values {
        entries: BTreeMap<String, Vec<String>>,
        folds: bool,
    },
    /// Fields of the answer.
    Answer,
    File {
        name: String,
        size: u64,
        modified_s: i64,
        mode: u32,
    },
    Tls,
}

impl Object {
    pub fn kind(&self) -> &'static str {
        match self {
            Object::Context(_) => "*templates.TemplateContext",
            Object::Request(_) => "*http.Request",
            Object::Url(_) => "*url.URL",
            Object::Values { folds: true, .. } => "http.Header",
            Object::Values { .. } => "url.Values",
            Object::Answer => "templates.WrappedHeader",
            Object::File { .. } => "*os.fileStat",
            Object::Tls => "*tls.ConnectionState",
        }
    }

    /// None: it is no collection.
    pub fn length(&self) -> Option<usize> {
        match self {
            Object::Values { entries, .. } => Some(entries.len()),
            _ => None,
        }
    }

    pub fn write(&self, out: &mut String, depth: usize) {
        match self {
            Object::Values { entries, .. } => {
                let value = Value::dict(entries.iter().map(|(key, values)| (key.clone(), texts(values))));
                value.write(out, depth + 1);
            }
            // Go prints addresses and secrets of its structures here: nothing that a page could mean.
            _ => out.push_str(self.kind()),
        }
    }
}

pub fn texts(values: &[String]) -> Value {
    Value::list(values.iter().map(|value| value.as_str().into()))
}

impl Evaluation<'_> {
    /// `object.name arguments`: a field, or a call of a method.
    pub fn member(&mut self, object: &Object, name: &str, arguments: &[Value]) -> Result<Value, Failure> {
        match object {
            Object::Context(given) => self.context_member(given, name, arguments),
            Object::Request(original) => self.request_member(*original, name, arguments),
            Object::Url(original) => self.url_member(*original, name, arguments),
            Object::Values { entries, folds } => values_member(entries, *folds, name, arguments),
            Object::Answer => self.answer_member(name, arguments),
            Object::File { .. } => file_member(object, name),
            Object::Tls => match name {
                "ServerName" => {
                    let tls = self.exchange.tls.as_ref();
                    Ok(tls.and_then(|tls| tls.server_name.as_deref()).unwrap_or_default().into())
                }
                _ => unknown(object, name),
            },
        }
    }

    fn context_member(&mut self, given: &[Value], name: &str, arguments: &[Value]) -> Result<Value, Failure> {
        let exchange = &self.exchange;
        Ok(match (name, arguments) {
            ("Args", _) => Value::list(given.iter().cloned()),
            ("Req", _) => object(Object::Request(false)),
            ("OriginalReq", _) => object(Object::Request(true)),
            ("RespHeader", _) => object(Object::Answer),
            ("RemoteIP", _) => exchange.remote.ip().to_string().into(),
            ("ClientIP", _) => exchange.client.to_string().into(),
            // Go's net.SplitHostPort wants a port behind brackets.
            ("Host", _) if exchange.authority.ends_with(b"]") => {
                let address = String::from_utf8_lossy(&exchange.authority);
                return Failure::new(format!("address {address}: missing port in address"));
            }
            ("Host", _) => exchange.shown_host().into(),
            ("Cookie", [Value::Text(cookie)]) => {
                exchange.cookie(cookie.as_bytes()).unwrap_or_default().into()
            }
            ("Cookie", _) => return Failure::new("Cookie takes the name of a cookie"),
            _ => return Failure::new(format!("can't evaluate field {name} in type TemplateContext")),
        })
    }

    fn request_member(&mut self, original: bool, name: &str, arguments: &[Value]) -> Result<Value, Failure> {
        let exchange = &self.exchange;
        Ok(match (name, arguments) {
            ("Method", _) if original => exchange.original_method[..].into(),
            ("Method", _) => exchange.method[..].into(),
            ("URL", _) => object(Object::Url(original)),
            ("Host", _) => exchange.authority[..].into(),
            ("RemoteAddr", _) => exchange.remote.to_string().into(),
            ("RequestURI", _) => exchange.target[..].into(),
            ("Proto", _) if exchange.http_minor == HTTP_2 => "HTTP/2.0".into(),
            ("Proto", _) => format!("HTTP/1.{}", exchange.http_minor).into(),
            ("ProtoMajor", _) => Value::Int(if exchange.http_minor == HTTP_2 { 2 } else { 1 }),
            ("ProtoMinor", _) if exchange.http_minor == HTTP_2 => Value::Int(0),
            ("ProtoMinor", _) => Value::Int(exchange.http_minor.into()),
            ("ContentLength", _) => {
                let length =
                    exchange.request.get(b"content-length").and_then(|text| std::str::from_utf8(text).ok());
                Value::Int(length.and_then(|text| text.parse().ok()).unwrap_or(0))
            }
            ("TLS", _) => exchange.tls.as_ref().map_or(Value::Nil, |_| object(Object::Tls)),
            ("Header", _) => object(Object::Values { entries: collect(&exchange.request), folds: true }),
            ("UserAgent", _) => exchange.request.get(b"user-agent").unwrap_or_default().into(),
            ("Referer", _) => exchange.request.get(b"referer").unwrap_or_default().into(),
            ("FormValue", [Value::Text(key)]) => {
                let found =
                    query_of(&exchange.query).remove(&**key).and_then(|values| values.into_iter().next());
                found.unwrap_or_default().into()
            }
            ("Form", _) => object(Object::Values { entries: query_of(&exchange.query), folds: false }),
            _ => return Failure::new(format!("can't evaluate field {name} in type *http.Request")),
        })
    }

    fn url_member(&mut self, original: bool, name: &str, arguments: &[Value]) -> Result<Value, Failure> {
        let exchange = &self.exchange;
        let (encoded, query) = match original {
            true => exchange.original(),
            false => (&exchange.path[..], &exchange.query[..]),
        };
        Ok(match (name, arguments) {
            ("Path", _) => {
                let mut path = Vec::new();
                paths::decode(encoded, &mut path);
                path[..].into()
            }
            ("RawQuery", _) => query.into(),
            ("EscapedPath", _) => encoded.into(),
            ("Query", _) => object(Object::Values { entries: query_of(query), folds: false }),
            ("String" | "RequestURI", _) => {
                let mut uri = encoded.to_vec();
                if !query.is_empty() {
                    uri.push(b'?');
                    uri.extend_from_slice(query);
                }
                uri[..].into()
            }
            (
                "Scheme" | "Host" | "Hostname" | "Port" | "Fragment" | "Opaque" | "RawPath" | "RawFragment",
                _,
            ) => "".into(),
            _ => return Failure::new(format!("can't evaluate field {name} in type *url.URL")),
        })
    }

    fn answer_member(&mut self, name: &str, arguments: &[Value]) -> Result<Value, Failure> {
        let fields = &mut self.exchange.scratch;
        match (name, arguments) {
            ("Get", [Value::Text(field)]) => {
                return Ok(fields.get(field.as_bytes()).unwrap_or_default().into());
            }
            ("Values", [Value::Text(field)]) => {
                return Ok(Value::list(fields.all(field.as_bytes()).map(Value::from).collect::<Vec<_>>()));
            }
            ("Header", []) => {
                return Ok(object(Object::Values { entries: collect(fields), folds: true }));
            }
            ("Add", [Value::Text(field), Value::Text(value)]) => {
                fields.add(field.as_bytes(), value.as_bytes());
            }
            ("Set", [Value::Text(field), Value::Text(value)]) => {
                fields.set(field.as_bytes(), value.as_bytes());
            }
            ("Del", [Value::Text(field)]) if !field.contains('*') => fields.remove(field.as_bytes()),
            _ => return Failure::new(format!("RespHeader has no {name} of such arguments")),
        }
        Ok("".into())
    }
}

pub fn object(object: Object) -> Value {
    Value::Object(std::rc::Rc::new(object))
}

fn unknown(object: &Object, name: &str) -> Result<Value, Failure> {
    Failure::new(format!("can't evaluate field {name} in type {}", object.kind()))
}

fn query_of(query: &[u8]) -> BTreeMap<String, Vec<String>> {
    let mut entries: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in queries::parse(query) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        entries.entry(text(&key)).or_default().push(text(&value));
    }
    entries
}

/// Fields by their canonical names.
fn collect(fields: &crate::exchange::fields::Fields) -> BTreeMap<String, Vec<String>> {
    let mut entries: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for field in fields.iter() {
        let value = String::from_utf8_lossy(field.value).into_owned();
        entries.entry(canonical(&String::from_utf8_lossy(field.name))).or_default().push(value);
    }
    entries
}

/// Go's CanonicalHeaderKey of a name that is a token.
fn canonical(name: &str) -> String {
    let mut upper = true;
    let cased = |byte: char| {
        let shown = if upper { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
        upper = byte == '-';
        shown
    };
    name.chars().map(cased).collect()
}

fn values_member(
    entries: &BTreeMap<String, Vec<String>>,
    folds: bool,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Failure> {
    let find = |key: &str| entries.get(&if folds { canonical(key) } else { key.to_owned() });
    match (name, arguments) {
        ("Get", [Value::Text(key)]) => {
            Ok(find(key).and_then(|values| values.first()).map_or("", String::as_str).into())
        }
        ("Values", [Value::Text(key)]) if folds => Ok(texts(find(key).map_or(&[], Vec::as_slice))),
        ("Encode", []) if !folds => Ok(encode_query(entries).into()),
        ("Has", [Value::Text(key)]) if !folds => Ok(Value::Bool(find(key).is_some())),
        (_, []) => Ok(texts(entries.get(name).map_or(&[], Vec::as_slice))),
        _ => Failure::new(format!("{name} is not a method but has arguments")),
    }
}

/// As a query, in the order of the names (url.Values.Encode).
fn encode_query(entries: &BTreeMap<String, Vec<String>>) -> String {
    let pairs = entries.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    let shown =
        |(name, value): (&String, &String)| format!("{}={}", escaping::query(name), escaping::query(value));
    pairs.map(shown).collect::<Vec<_>>().join("&")
}

fn file_member(file: &Object, name: &str) -> Result<Value, Failure> {
    let Object::File { name: own, size, modified_s, mode } = file else { return unknown(file, name) };
    Ok(match name {
        "Name" => own.as_str().into(),
        "Size" => Value::Int(i64::try_from(*size).unwrap_or(i64::MAX)),
        "ModTime" => Value::Time(*modified_s),
        "IsDir" => Value::Bool(mode & libc::S_IFMT == libc::S_IFDIR),
        "Mode" => show_mode(*mode).into(),
        _ => return unknown(file, name),
    })
}

/// Go's fs.FileMode of files and directories.
fn show_mode(mode: u32) -> String {
    let kind = if mode & libc::S_IFMT == libc::S_IFDIR { 'd' } else { '-' };
    let bits = (0..9).map(|bit| if mode & (0o400 >> bit) != 0 { b"rwxrwxrwx"[bit] } else { b'-' });
    std::iter::once(kind).chain(bits.map(char::from)).collect()
}

/// Fields and methods of a time.
pub fn time_member(seconds: i64, name: &str, arguments: &[Value]) -> Result<Value, Failure> {
    let shown = |layout: &str| times::format(seconds, layout);
    let number = |layout: &str| Value::Int(shown(layout).trim().parse().unwrap_or(0));
    Ok(match (name, arguments) {
        ("Format", [Value::Text(layout)]) => shown(layout).into(),
        ("Unix", []) => Value::Int(seconds),
        ("Year", []) => number("2006"),
        ("Month", []) => shown("January").into(),
        ("Day", []) => number("2"),
        ("Weekday", []) => shown("Monday").into(),
        ("Hour", []) => number("15"),
        ("Minute", []) => number("4"),
        ("Second", []) => number("5"),
        ("YearDay", []) => number("002"),
        ("UnixMilli", []) => Value::Int(seconds.saturating_mul(1000)),
        ("IsZero", []) => Value::Bool(seconds == days_from_civil(1, 1, 1) * DAY_S),
        ("Before", [Value::Time(other)]) => Value::Bool(seconds < *other),
        ("After", [Value::Time(other)]) => Value::Bool(seconds > *other),
        ("Equal", [Value::Time(other)]) => Value::Bool(seconds == *other),
        ("AddDate", [Value::Int(years), Value::Int(months), Value::Int(days)]) => {
            add_date(seconds, *years, *months, *days)?
        }
        ("UTC" | "Local", []) => Value::Time(seconds),
        ("String", []) => shown("2006-01-02 15:04:05 -0700 MST").into(),
        _ => return Failure::new(format!("can't evaluate field {name} in type time.Time")),
    })
}

/// Dates beyond a month's end are those of the next one (time.AddDate).
fn add_date(seconds: i64, years: i64, months: i64, days: i64) -> Result<Value, Failure> {
    const FAR: std::ops::RangeInclusive<i64> = -1_000_000..=1_000_000;
    if [years, months, days].iter().any(|one| !FAR.contains(one)) {
        return Failure::new("AddDate: too far away");
    }
    let (year, month, day) = civil_from_days(seconds.div_euclid(DAY_S));
    let months = month - 1 + months;
    let first = days_from_civil(year + years + months.div_euclid(12), months.rem_euclid(12) + 1, 1);
    Ok(Value::Time((first + day - 1 + days) * DAY_S + seconds.rem_euclid(DAY_S)))
}
