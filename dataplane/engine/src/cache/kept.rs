//! One kept answer: its head as it came, without what belonged to one connection, and its body.

use super::freshness::{Lifetime, first};
use crate::exchange::HeaderSpan;
use crate::exchange::fields::Fields;
use std::sync::Arc;

/// Never changed: a validated answer is a new one with the same body.
pub struct Kept {
    pub status: u16,
    pub reason: Box<[u8]>,
    pub fields: Fields,
    pub body: Arc<[u8]>,
    pub lifetime: Lifetime,
}

impl Kept {
    /// Bytes that it costs, about.
    pub fn weight(&self) -> usize {
        let fields: usize = self.fields.iter().map(|field| field.name.len() + field.value.len() + 32).sum();
        self.body.len() + fields + size_of::<Self>()
    }

    pub fn has_validator(&self) -> bool {
        self.fields.contains(b"etag") || self.fields.contains(b"last-modified")
    }

    /// The answer that a 304 says this one is now (RFC 9111 3.2): its fields take the place of ours.
    pub fn freshened(&self, head: &[HeaderSpan], lifetime: Lifetime) -> Self {
        let mut fields = self.fields.clone();
        let kept = keepable(head);
        for field in head.iter().filter(|field| kept(field)) {
            fields.retain(|old| !old.name.eq_ignore_ascii_case(field.name));
        }
        for field in head.iter().filter(|field| kept(field)) {
            fields.push_checked(field.name, field.value);
        }
        Self { status: self.status, reason: self.reason.clone(), fields, body: self.body.clone(), lifetime }
    }

    /// Whether a 304 with these fields can be about this answer (RFC 9111 4.3.4): its validators, where it has any, are
    /// ours.
    pub fn is_meant_by(&self, head: &[HeaderSpan]) -> bool {
        let same = |name: &'static [u8], bare: fn(&[u8]) -> &[u8]| match (
            first(head, name),
            self.fields.get(name),
        ) {
            (Some(told), Some(ours)) => bare(told) == bare(ours),
            _ => true,
        };
        same(b"etag", |tag| tag.strip_prefix(b"W/").unwrap_or(tag)) && same(b"last-modified", |date| date)
    }
}

/// The fields of an answer that are kept: those of one connection, of one hop and of caches before us are not.
pub fn keep_fields(head: &[HeaderSpan]) -> Fields {
    let mut fields = Fields::default();
    let kept = keepable(head);
    for field in head.iter().filter(|field| kept(field)) {
        fields.push_checked(field.name, field.value);
    }
    fields
}

fn keepable<'a>(head: &'a [HeaderSpan<'a>]) -> impl Fn(&HeaderSpan) -> bool + use<'a> {
    let nominated: Vec<&[u8]> = head
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case(b"connection"))
        .flat_map(|field| field.value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .collect();
    move |field| {
        crate::exchange::is_end_to_end(field.name)
            && !field.name.eq_ignore_ascii_case(b"age")
            && !field.name.eq_ignore_ascii_case(b"proxy-authentication-info")
            && !nominated.iter().any(|name| name.eq_ignore_ascii_case(field.name))
    }
}
