//! Which words of a request its server believes: of proxies about the client, and fields whose names have twins.

use crate::addresses::AddressSet;
use crate::protocol;

const CLIENT_IP_FIELD: &str = "x-forwarded-for";

/// What the sites of some listeners believe (Caddy: the options of `servers`).
#[derive(Clone, Debug)]
pub struct Trust {
    /// Those whose forwarding fields are believed.
    pub proxies: AddressSet,
    /// Lower-case names of the fields in which they say who the client is.
    pub client_ip_fields: Box<[Box<str>]>,
    /// As Caddy's `trusted_proxies_strict`.
    pub client_ip_strict: bool,
    twins: TwinFields,
}

impl Trust {
    pub fn compile(message: &protocol::ServerTrust) -> Result<Self, String> {
        let proxies = AddressSet::parse(&message.trusted_proxies);
        Ok(Self {
            proxies: proxies.map_err(|text| format!("{text:?} is no CIDR"))?,
            client_ip_fields: match message.client_ip_fields.as_slice() {
                [] => [CLIENT_IP_FIELD.into()].into(),
                names => names.iter().map(|name| name.to_ascii_lowercase().into()).collect(),
            },
            client_ip_strict: message.client_ip_strict,
            twins: TwinFields {
                underscored: Kept::compile(&message.underscore_fields),
                dotted: Kept::compile(&message.dot_fields),
            },
        })
    }

    /// Whether a field of the request is taken in; `count` says how often its name stands there.
    pub fn takes_field(&self, name: &[u8], count: impl FnOnce() -> usize) -> bool {
        self.twins.takes(name, count)
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            proxies: AddressSet::default(),
            client_ip_fields: [CLIENT_IP_FIELD.into()].into(),
            client_ip_strict: false,
            twins: TwinFields::default(),
        }
    }
}

/// Names with `_` or `.` are one with those with `-` to CGI-like backends, so they are left out, but for those that are
/// expected, whose twins are left out in turn (Caddy: `expected_underscore_headers`, `expected_dot_headers`).
#[derive(Clone, Debug, Default)]
struct TwinFields {
    underscored: Kept,
    dotted: Kept,
}

/// In lower case.
#[derive(Clone, Debug, Default)]
struct Kept {
    names: Box<[Box<[u8]>]>,
    prefixes: Box<[Box<[u8]>]>,
}

impl TwinFields {
    fn takes(&self, name: &[u8], count: impl FnOnce() -> usize) -> bool {
        let kept = match (name.contains(&b'_'), name.contains(&b'.')) {
            (false, false) => return !self.underscored.has_twin(name) && !self.dotted.has_twin(name),
            (true, true) => self.underscored.names(name) || self.dotted.names(name),
            (true, false) => self.underscored.keeps(name),
            (false, true) => self.dotted.keeps(name),
        };
        kept && count() == 1
    }
}

impl Kept {
    fn compile(entries: &[String]) -> Self {
        let lower = |text: &str| -> Box<[u8]> { text.to_ascii_lowercase().into_bytes().into() };
        let (prefixes, names): (Vec<&String>, Vec<&String>) =
            entries.iter().partition(|entry| entry.ends_with('*'));
        Self {
            names: names.into_iter().map(|name| lower(name)).collect(),
            prefixes: prefixes.into_iter().map(|entry| lower(entry.trim_end_matches('*'))).collect(),
        }
    }

    fn names(&self, name: &[u8]) -> bool {
        self.names.iter().any(|kept| kept.eq_ignore_ascii_case(name))
    }

    fn keeps(&self, name: &[u8]) -> bool {
        self.names(name) || self.prefixes.iter().any(|prefix| begins(name, prefix, |byte| byte))
    }

    fn has_twin(&self, name: &[u8]) -> bool {
        let hyphen = |byte: u8| if matches!(byte, b'_' | b'.') { b'-' } else { byte };
        self.names.iter().any(|kept| kept.len() == name.len() && begins(name, kept, hyphen))
            || self.prefixes.iter().any(|prefix| begins(name, prefix, hyphen))
    }
}

fn begins(name: &[u8], kept: &[u8], spell: impl Fn(u8) -> u8) -> bool {
    name.len() >= kept.len() && name.iter().zip(kept).all(|(&a, &b)| a.to_ascii_lowercase() == spell(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(underscore_fields: &[&str], dot_fields: &[&str]) -> Trust {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let message = protocol::ServerTrust {
            underscore_fields: texts(underscore_fields),
            dot_fields: texts(dot_fields),
            ..Default::default()
        };
        Trust::compile(&message).unwrap()
    }

    #[test]
    fn names_that_have_twins_are_left_out() {
        let plain = trust(&[], &[]);
        let some = trust(&["X_One", "hook_*"], &["x.two"]);
        for (name, by_plain, by_some) in [
            ("X-One", true, false),
            ("x_one", false, true),
            ("X-Two", true, false),
            ("X.Two", false, true),
            ("x_two", false, false),
            ("Hook_A", false, true),
            ("hook_a.b", false, false),
            ("Hook-A", true, false),
            ("hook", true, true),
            ("Accept", true, true),
        ] {
            assert_eq!(plain.takes_field(name.as_bytes(), || 1), by_plain, "{name}");
            assert_eq!(some.takes_field(name.as_bytes(), || 1), by_some, "{name}");
        }
        assert!(!some.takes_field(b"X_One", || 2));
    }
}
