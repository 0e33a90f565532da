//! Filters of fields, as Caddy's `format filter` has them (modules/logging/filterencoder.go, filters.go).
//!
//! A field is named by its path, `request>headers>Cookie`. Texts and lists of texts are changed; what else a field holds
//! is only deleted, replaced or renamed.

use super::records::{Field, Text, Value};
use crate::digests::hex;
use crate::exchange::fields::is_token;
use crate::exchange::queries;
use crate::protocol;
use aws_lc_rs::digest::{SHA256, digest};
use regex::bytes::{Regex, RegexBuilder};
use std::net::{IpAddr, SocketAddr};

/// A pattern's program may be so large, as those of routes.
const PATTERN_BYTES_MAX: usize = 4 << 20;

#[derive(Debug)]
pub struct Filter {
    field: Box<[u8]>,
    action: Action,
}

#[derive(Debug)]
enum Action {
    Delete,
    Hash,
    Replace(Box<[u8]>),
    Rename(Box<[u8]>),
    Mask { ipv4_bits: u32, ipv6_bits: u32 },
    Query(Vec<Named>),
    Cookie(Vec<Named>),
    SetCookie(Vec<Named>),
    Patterns(Vec<(Regex, Box<[u8]>)>),
}

/// What becomes of a query parameter or a cookie.
#[derive(Debug)]
struct Named {
    name: Box<[u8]>,
    change: Change,
}

#[derive(Debug)]
enum Change {
    Delete,
    Hash,
    Replace(Box<[u8]>),
}

impl Filter {
    pub fn compile(message: &protocol::LogFilter) -> Result<Self, String> {
        use protocol::LogFilterKind as Kind;
        let value = || message.value.as_bytes().into();
        let actions = || message.actions.iter().map(Named::compile).collect();
        let action = match message.kind() {
            Kind::LogDelete => Action::Delete,
            Kind::LogHash => Action::Hash,
            Kind::LogReplace => Action::Replace(value()),
            Kind::LogRename => Action::Rename(value()),
            Kind::LogIpMask => Action::Mask { ipv4_bits: message.ipv4_bits, ipv6_bits: message.ipv6_bits },
            Kind::LogQuery => Action::Query(actions()),
            Kind::LogCookie => Action::Cookie(actions()),
            Kind::LogSetCookie => Action::SetCookie(actions()),
            Kind::LogRegexp => {
                let compile = |row: &protocol::LogReplacement| {
                    let pattern = RegexBuilder::new(&crate::patterns::translate(&row.pattern))
                        .size_limit(PATTERN_BYTES_MAX)
                        .build();
                    let pattern = pattern.map_err(|error| format!("pattern {:?}: {error}", row.pattern))?;
                    Ok::<_, String>((pattern, row.value.as_bytes().into()))
                };
                Action::Patterns(message.replacements.iter().map(compile).collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { field: message.field.as_bytes().into(), action })
    }
}

impl Named {
    fn compile(message: &protocol::LogAction) -> Self {
        let change = match message.kind() {
            protocol::LogFilterKind::LogDelete => Change::Delete,
            protocol::LogFilterKind::LogHash => Change::Hash,
            _ => Change::Replace(message.value.as_bytes().into()),
        };
        Self { name: message.name.as_bytes().into(), change }
    }
}

/// The fields that are left, and as they are then. `prefix`: the path of the object that they are in.
pub fn apply_filters<'a>(filters: &[Filter], fields: Vec<Field<'a>>, prefix: &str) -> Vec<Field<'a>> {
    let mut kept = Vec::with_capacity(fields.len());
    for field in fields {
        let path = [prefix.as_bytes(), &field.key].concat();
        let chosen = filters.iter().find(|filter| filter.field[..] == path[..]);
        let Field { key, value } = field;
        match (chosen.map(|filter| &filter.action), value) {
            (None, Value::Object(inner)) => {
                let prefix = format!("{}>", String::from_utf8_lossy(&path));
                kept.push(Field { key, value: Value::Object(apply_filters(filters, inner, &prefix)) });
            }
            (None, value) => kept.push(Field { key, value }),
            (Some(Action::Delete), _) => {}
            (Some(Action::Replace(with)), _) => {
                kept.push(Field { key, value: Value::Text(with.to_vec().into()) })
            }
            (Some(Action::Rename(name)), value) => kept.push(Field { key: name.to_vec().into(), value }),
            (Some(action), Value::Text(text)) => {
                kept.push(Field { key, value: Value::Text(action.change_text(text)) })
            }
            (Some(action), Value::Texts(texts)) => {
                kept.push(Field { key, value: Value::Texts(action.change_texts(texts)) })
            }
            (Some(_), value) => kept.push(Field { key, value }),
        }
    }
    kept
}

impl Action {
    fn change_texts<'a>(&self, texts: Vec<Text<'a>>) -> Vec<Text<'a>> {
        match self {
            Action::Cookie(actions) => change_cookies(actions, &texts).into_iter().map(Text::from).collect(),
            Action::SetCookie(actions) => {
                texts.into_iter().filter_map(|line| change_set_cookie(actions, line)).collect()
            }
            _ => texts.into_iter().map(|text| self.change_text(text)).collect(),
        }
    }

    fn change_text<'a>(&self, text: Text<'a>) -> Text<'a> {
        match self {
            Action::Hash => hash(&text).into(),
            Action::Mask { ipv4_bits, ipv6_bits } => mask(&text, *ipv4_bits, *ipv6_bits).into(),
            Action::Query(actions) => change_query(actions, &text).into(),
            Action::Patterns(patterns) => {
                let replace = |text: Vec<u8>, (pattern, with): &(Regex, Box<[u8]>)| {
                    pattern.replace_all(&text, &with[..]).into_owned()
                };
                patterns.iter().fold(text.into_owned(), replace).into()
            }
            // Of texts alone, cookies are left as they are.
            _ => text,
        }
    }
}

/// The first four bytes of SHA-256, in hexadecimal.
fn hash(text: &[u8]) -> Vec<u8> {
    let sum = digest(&SHA256, text);
    hex(&sum.as_ref()[..4]).into_bytes()
}

/// A list of addresses, with or without ports, each cut to its network.
fn mask(text: &[u8], ipv4_bits: u32, ipv6_bits: u32) -> Vec<u8> {
    let masked: Vec<String> = String::from_utf8_lossy(text)
        .split(',')
        .map(|part| {
            let part = part.trim();
            if let Ok(address) = part.parse::<SocketAddr>() {
                let network = mask_address(address.ip(), ipv4_bits, ipv6_bits);
                let bracketed = if network.contains(':') { format!("[{network}]") } else { network };
                return format!("{bracketed}:{}", address.port());
            }
            match part.parse::<IpAddr>() {
                Ok(address) => mask_address(address, ipv4_bits, ipv6_bits),
                Err(_) => part.to_owned(),
            }
        })
        .collect();
    masked.join(", ").into_bytes()
}

/// Without bits there is no mask, and Go writes what such a masking gives.
fn mask_address(address: IpAddr, ipv4_bits: u32, ipv6_bits: u32) -> String {
    match address.to_canonical() {
        IpAddr::V4(_) if !(1..=32).contains(&ipv4_bits) => "<nil>".into(),
        IpAddr::V6(_) if !(1..=128).contains(&ipv6_bits) => "<nil>".into(),
        IpAddr::V4(address) => {
            IpAddr::V4((address.to_bits() & u32::MAX << (32 - ipv4_bits)).into()).to_string()
        }
        IpAddr::V6(address) => {
            IpAddr::V6((address.to_bits() & u128::MAX << (128 - ipv6_bits)).into()).to_string()
        }
    }
}

/// A URI whose query is written again, sorted by name.
fn change_query(actions: &[Named], uri: &[u8]) -> Vec<u8> {
    let Some(at) = memchr::memchr(b'?', uri).filter(|at| at + 1 < uri.len()) else { return uri.to_vec() };
    let mut pairs = queries::parse(&uri[at + 1..]);
    for action in actions {
        let is_named = |pair: &(Vec<u8>, Vec<u8>)| pair.0[..] == action.name[..];
        match &action.change {
            Change::Delete => pairs.retain(|pair| !is_named(pair)),
            Change::Hash => {
                pairs.iter_mut().filter(|pair| is_named(pair)).for_each(|pair| pair.1 = hash(&pair.1))
            }
            Change::Replace(with) => {
                pairs.iter_mut().filter(|pair| is_named(pair)).for_each(|pair| pair.1 = with.to_vec())
            }
        }
    }
    let query = queries::encode(pairs);
    let end = if query.is_empty() { at } else { at + 1 };
    [&uri[..end], &query].concat()
}

/// The cookies of all lines as one line; none where no cookie is left (Go: Request.Cookies, AddCookie).
fn change_cookies(actions: &[Named], lines: &[Text]) -> Option<Vec<u8>> {
    let mut out: Option<Vec<u8>> = None;
    for pair in lines.iter().flat_map(|line| line.split(|&byte| byte == b';')) {
        let pair = pair.trim_ascii();
        let (name, value) = crate::exchange::split_once(pair, b'=').unwrap_or((pair, b""));
        let name = name.trim_ascii();
        if !is_token(name) || !value.iter().all(|&byte| is_cookie_byte(byte)) {
            continue;
        }
        let action = actions.iter().find(|action| action.name[..] == *name).map(|action| &action.change);
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        let quotes: &[u8] = if unquoted.len() < value.len() { b"\"" } else { b"" };
        let value = match action {
            Some(Change::Delete) => continue,
            Some(Change::Hash) => [quotes, &hash(unquoted), quotes].concat(),
            Some(Change::Replace(with)) => [quotes, &with[..], quotes].concat(),
            None => value.to_vec(),
        };
        let out = out.get_or_insert_with(Vec::new);
        if !out.is_empty() {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(&[name, b"=", &value].concat());
    }
    out
}

fn is_cookie_byte(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) && !matches!(byte, b';' | b'\\')
}

/// A Set-Cookie line with another value, attributes and white space as they were; None where it is deleted.
fn change_set_cookie<'a>(actions: &[Named], line: Text<'a>) -> Option<Text<'a>> {
    let head_end = memchr::memchr(b';', &line).unwrap_or(line.len());
    let Some(equals) = memchr::memchr(b'=', &line[..head_end]) else { return Some(line) };
    let name = line[..equals].trim_ascii();
    let Some(action) = actions.iter().find(|action| action.name[..] == *name && is_token(name)) else {
        return Some(line);
    };
    let raw = &line[equals + 1..head_end];
    let value = raw.trim_ascii();
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    let changed = match &action.change {
        Change::Delete => return None,
        Change::Hash => hash(unquoted),
        Change::Replace(with) => with.to_vec(),
    };
    let quotes: &[u8] = if unquoted.len() < value.len() { b"\"" } else { b"" };
    let leading = raw.len() - raw.trim_ascii_start().len();
    let trailing = raw.trim_ascii_end().len().max(leading);
    let parts =
        [&line[..=equals], &raw[..leading], quotes, &changed, quotes, &raw[trailing..], &line[head_end..]];
    Some(parts.concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(list: &[(&str, Change)]) -> Vec<Named> {
        let copy = |change: &Change| match change {
            Change::Delete => Change::Delete,
            Change::Hash => Change::Hash,
            Change::Replace(with) => Change::Replace(with.clone()),
        };
        list.iter()
            .map(|(name, change)| Named { name: name.as_bytes().into(), change: copy(change) })
            .collect()
    }

    #[test]
    fn addresses_are_cut_to_their_networks() {
        for (text, expected) in [
            ("1.2.3.4", "1.2.0.0"),
            ("1.2.3.4:80, 2001:db8::1", "1.2.0.0:80, 2001:d00::"),
            ("[2001:db8::1]:9,x", "[2001:d00::]:9, x"),
        ] {
            assert_eq!(String::from_utf8(mask(text.as_bytes(), 16, 24)).unwrap(), expected);
        }
        assert_eq!(mask(b"1.2.3.4", 0, 24), b"<nil>");
    }

    #[test]
    fn queries_are_changed_by_name_and_sorted() {
        let actions =
            named(&[("d", Change::Delete), ("h", Change::Hash), ("r", Change::Replace(b"x y"[..].into()))]);
        assert_eq!(change_query(&actions, b"/p?z=1&d=2&h=3&r=4&r=5&d=6"), b"/p?h=4e074085&r=x+y&r=x+y&z=1");
        assert_eq!(change_query(&actions, b"/p?d=1"), b"/p");
        assert_eq!(change_query(&actions, b"/p?"), b"/p?");
    }

    #[test]
    fn cookies_are_changed_by_name() {
        let actions = named(&[("d", Change::Delete), ("r", Change::Replace(b"x"[..].into()))]);
        let lines: Vec<Text> = vec![b"a=1; d=2; r=\"3\""[..].into(), b"b=4"[..].into()];
        assert_eq!(change_cookies(&actions, &lines).unwrap(), b"a=1; r=\"x\"; b=4");
        assert_eq!(change_cookies(&actions, &[b"d=1"[..].into()]), None);
        let set = |line: &'static str| change_set_cookie(&actions, line.as_bytes().into());
        assert_eq!(set("r = old ; Path=/"), Some(b"r = x ; Path=/"[..].into()));
        assert_eq!((set("d=1; Secure"), set("a=1")), (None, Some(b"a=1"[..].into())));
    }

    #[test]
    fn a_field_is_found_by_its_path() {
        let mut message = protocol::LogFilter { field: "o>k".into(), ..Default::default() };
        message.set_kind(protocol::LogFilterKind::LogHash);
        let filter = Filter::compile(&message).unwrap();
        let field = |key: &'static str, value| Field { key: key.as_bytes().into(), value };
        let text = || Value::Text(b"a"[..].into());
        let fields = vec![field("k", text()), field("o", Value::Object(vec![field("k", text())]))];
        let hashed = field("k", Value::Text(b"ca978112"[..].into()));
        assert_eq!(
            apply_filters(&[filter], fields, ""),
            [field("k", text()), field("o", Value::Object(vec![hashed]))]
        );
    }
}
