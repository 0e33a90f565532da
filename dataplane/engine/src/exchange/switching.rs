//! What a request's `Connection` and `Upgrade` say to its upstream, after what the routes and the call make of them (Caddy:
//! prepareRequest, upgradeType).
//!
//! Rule: a configuration may take a client's upgrade away, or change it; none is made where the client asked for none, and
//! none to another HTTP. `Connection` governs our connection alone: it names no other field.

use super::fields::Fields;
use super::kinds::Kind;
use super::writing::push_field;
use super::{Exchange, HTTP_2};
use crate::http1::fields::has_token;
use crate::http1::request::is_foreign_protocol;
use crate::snapshot::ProxyCall;

/// What `Connection` may say: the connection's end, and that `Upgrade` is for it.
const OPTIONS: [&[u8]; 3] = [b"close", b"keep-alive", b"upgrade"];

impl Exchange {
    /// The protocol that a call asks its upstream for, where the client asked for one.
    pub fn upstream_protocol(&mut self, call: &ProxyCall) -> Option<Box<[u8]>> {
        let protocol = self.protocol_left()?;
        if call.request_changes().is_empty() {
            return Some(protocol.into());
        }
        let kept = std::mem::take(&mut self.scratch);
        push_switch(&protocol, &mut self.scratch);
        self.change_scratch(call.request_changes());
        let changed = std::mem::replace(&mut self.scratch, kept);
        let connects = changed.all(b"connection").any(|value| has_token(value, b"upgrade"));
        let mut protocols = changed.all(b"upgrade").filter(|value| may_ask(value));
        protocols.next().filter(|protocol| connects && !protocol.is_empty()).map(Box::from)
    }

    /// Adds to an answer's fields, for its log line, what its connection's part said.
    pub fn note_switch(&mut self, protocol: Option<&[u8]>) {
        if let Some(protocol) = protocol.filter(|_| self.http_minor != HTTP_2) {
            push_switch(protocol, &mut self.scratch);
        }
    }

    /// What `request_header` left of the upgrade that the client asked for.
    pub(super) fn protocol_left(&self) -> Option<Vec<u8>> {
        let connects = self.request.all(b"connection").any(|value| has_token(value, b"upgrade"));
        let protocol = self.request.get(b"upgrade").filter(|value| connects && !value.is_empty())?;
        may_ask(protocol).then(|| protocol.to_ascii_lowercase())
    }
}

/// The two fields that ask for a switch.
pub(super) fn push_switch(protocol: &[u8], fields: &mut Fields) {
    fields.push_checked(b"Connection", b"Upgrade");
    fields.push_checked(b"Upgrade", protocol);
}

/// Writes a hop-by-hop field of a changed request, where it may go up. `asks`: the client asked for an upgrade.
pub(super) fn push_hop_field(name: &[u8], value: &[u8], asks: bool, out: &mut Vec<u8>) {
    if name.eq_ignore_ascii_case(b"upgrade") {
        // An empty one names no protocol: it governs nothing.
        if value.is_empty() || (asks && may_ask(value)) {
            push_field(name, value, out);
        }
    } else if name.eq_ignore_ascii_case(b"connection") {
        let options: Vec<&[u8]> = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).collect();
        let kept: Vec<&[u8]> = options.iter().copied().filter(|option| is_known(option)).collect();
        if kept.len() == options.len() || value.is_empty() {
            push_field(name, value, out);
        } else if !kept.is_empty() {
            push_field(name, &kept.join(&b", "[..]), out);
        }
    }
}

/// Whether a changed request says that its connection ends with it.
pub(super) fn is_last(fields: &Fields) -> bool {
    fields.iter().any(|field| Kind::of(field.name) == Kind::Hop && says_close(field.name, field.value))
}

fn says_close(name: &[u8], value: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"connection") && has_token(value, b"close")
}

fn is_known(option: &[u8]) -> bool {
    OPTIONS.iter().any(|known| option.eq_ignore_ascii_case(known))
}

fn may_ask(protocol: &[u8]) -> bool {
    protocol.is_empty() || is_foreign_protocol(protocol)
}
