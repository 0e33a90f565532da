//! Kept answers of upstreams (`cache`; RFC 9111): a shared cache of this node, bounded in bytes, in memory only.
//!
//! `directives` and `freshness` judge, `kept` is an answer, `store` has them all, in `shares` of tenants, `filling` makes
//! one of an answer on its way; `connection::caching` asks and tells. It stands between a proxy call and its upstream:
//! routes, access control and limits have been passed by every request, whoever answers it.
//!
//! Rule: a key begins with the tenant, the virtual host and the cluster; nothing of a request gets into
//! another key than its own, and what the key does not say is said by Vary.

pub mod directives;
pub mod filling;
pub mod freshness;
pub mod kept;
mod shares;
pub mod store;
#[cfg(test)]
mod tests;

use crate::addresses::AddressSet;
use crate::exchange::texts::Text;
use crate::limits::{CACHED_BODY_BYTES_DEFAULT, CACHED_BODY_BYTES_MAX};
use crate::protocol;
use crate::snapshot::Tables;
use crate::tenancy::Part;
use freshness::Defaults;
use std::sync::Arc;

/// Statuses that `ttl` without one is for: nothing that an error or a user's state makes.
const TIMED_STATUSES: [u32; 3] = [200, 301, 308];

/// A row of Tables.caches.
pub struct CacheRow {
    /// Whose part of the cache it fills.
    pub tenant: Box<[u8]>,
    /// Its part of what may be on its way into the cache.
    pub filling: Arc<Part>,
    pub key: Option<Text>,
    pub defaults: Defaults,
    pub body_bytes_max: usize,
    /// Clients whose PURGE is ours; empty: nobody's.
    pub purgers: AddressSet,
}

/// What `cache` asked for, as the request was then.
#[derive(Clone)]
pub struct WantedCache {
    pub tables: Arc<Tables>,
    pub index: u32,
    /// None: by scheme, host and URI.
    pub key: Option<Vec<u8>>,
    /// It had Authorization.
    pub authorized: bool,
}

impl WantedCache {
    pub fn row(&self) -> &CacheRow {
        &self.tables.caches[self.index as usize]
    }
}

impl CacheRow {
    pub fn compile(row: &protocol::Cache) -> Result<Self, String> {
        let times = row.times.iter().flat_map(|time| {
            let statuses = if time.statuses.is_empty() { &TIMED_STATUSES[..] } else { &time.statuses };
            statuses.iter().map(|status| (*status as u16, time.ttl_ms))
        });
        let wanted = usize::try_from(row.body_bytes_max).unwrap_or(usize::MAX);
        Ok(Self {
            tenant: row.tenant.as_bytes().into(),
            filling: filling::part_of(&row.tenant),
            key: row.key.as_ref().map(|key| Text::compile(Some(key))),
            defaults: Defaults { times: times.collect(), stale_ms: row.stale_ms },
            body_bytes_max: match wanted {
                0 => CACHED_BODY_BYTES_DEFAULT,
                wanted => wanted.min(CACHED_BODY_BYTES_MAX),
            },
            purgers: AddressSet::parse(&row.purgers).map_err(|text| format!("{text:?} is no CIDR"))?,
        })
    }
}
