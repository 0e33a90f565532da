//! An answer on its way to the client that is kept once it is whole.
//!
//! Rule: only whole answers are kept: one that ends early, grows beyond its bound or finds no room leaves nothing behind.
//! Tenants share the room (`tenancy`), so that nobody's slow answers keep all others' out.

use super::kept::Kept;
use super::store::{Fetch, Key, store};
use crate::exchange::HeaderSpan;
use crate::exchange::fields::Fields;
use crate::limits::CACHE_FILLING_BYTES_MAX;
use crate::tenancy::{Part, Piece, Room};
use std::sync::{Arc, LazyLock};

/// Bytes of all answers that are being filled on this node.
static UNDER_WAY: LazyLock<Arc<Room>> = LazyLock::new(|| Room::new(CACHE_FILLING_BYTES_MAX));

/// What a tenant may have under way.
pub fn part_of(tenant: &str) -> Arc<Part> {
    UNDER_WAY.of_tenant(tenant)
}

pub struct Filling {
    /// The request's key, and its fields, by which answers may vary.
    pub key: Key,
    pub request: Fields,
    pub kept: Kept,
    pub body_bytes_max: usize,
    /// Content-Length.
    pub length: Option<u64>,
    pub fetch: Option<Fetch>,
    purges: u64,
    body: Vec<u8>,
    held: Piece,
    is_lost: bool,
}

impl Filling {
    pub fn new(
        key: Key,
        request: Fields,
        kept: Kept,
        body_bytes_max: usize,
        length: Option<u64>,
        (fetch, purges): (Option<Fetch>, u64),
        held: Piece,
    ) -> Self {
        let is_lost = length.is_some_and(|length| length > body_bytes_max as u64);
        let fetch = fetch.filter(|_| !is_lost);
        Self { key, request, kept, body_bytes_max, length, fetch, purges, body: Vec::new(), held, is_lost }
    }

    /// Body bytes as the upstream sent them.
    pub fn take(&mut self, data: &[u8]) {
        if self.is_lost {
            return;
        }
        if self.body.len() + data.len() > self.body_bytes_max || !self.held.grow(data.len()) {
            self.lose();
            return;
        }
        self.body.extend_from_slice(data);
    }

    /// The answer is whole.
    pub fn finish(mut self) {
        if self.is_lost || self.length.is_some_and(|length| length != self.body.len() as u64) {
            return;
        }
        if store().purges(&self.key) != self.purges {
            return;
        }
        let body: Arc<[u8]> = self.body.as_slice().into();
        let kept = Kept {
            status: self.kept.status,
            reason: std::mem::take(&mut self.kept.reason),
            fields: std::mem::take(&mut self.kept.fields),
            body,
            lifetime: self.kept.lifetime,
        };
        let head = kept.fields.clone();
        let head: Vec<HeaderSpan> = head.iter().collect();
        store().insert(&self.key, &head, kept, |name| joined(&self.request, name));
    }

    fn lose(&mut self) {
        self.is_lost = true;
        self.held.clear();
        self.body = Vec::new();
        self.fetch = None;
    }
}

/// All values of a request field as one (RFC 9111 4.1).
pub fn joined(request: &Fields, name: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for (index, field) in request.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).enumerate() {
        if index > 0 {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(field.value.trim_ascii());
    }
    text
}
