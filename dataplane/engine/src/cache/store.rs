//! All kept answers of this node, by key, and which keys are being fetched.
//!
//! A key's slot holds an answer, or says by which request fields its answers vary: then each has a key of its own, which
//! begins with that slot's number, so that a purged slot takes all of them along. Workers share the store: lookups take a
//! read lock of one shard for some 100 ns; nothing is parsed, written or freed under a lock that others wait for.

use super::kept::Kept;
use super::shares::{Shares, tenant_of};
use crate::exchange::HeaderSpan;
use crate::limits::CACHE_BYTES_MAX;
use crate::locks::lock;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

pub type Key = Arc<[u8]>;
/// A key begins with tenant, host, cluster and proxy call.
const TEXTS_BEFORE: usize = 4;
/// Counters of purges: two tenants that meet in one lose an answer now and then.
const PURGES_APART: usize = 256;

/// What a key leads to.
#[derive(Clone)]
pub enum Slot {
    Kept(Arc<Kept>),
    /// By these request fields, lower case.
    Varies(Arc<[Box<[u8]>]>, u64),
    /// The last answer could not be kept: until then requests do not wait for each other.
    Passing(u64),
}

pub struct Store {
    slots: Shares,
    fetched: Mutex<HashSet<Key, ahash::RandomState>>,
    numbers: AtomicU64,
    /// By a tenant's hash: nobody's purges keep what others fetch meanwhile out.
    purges: [AtomicU64; PURGES_APART],
    hasher: ahash::RandomState,
}

/// Where a request found itself.
pub enum Found {
    Kept(Key, Arc<Kept>),
    Passing(Key),
    /// Nothing under the key; `varies`: other requests of the same key have answers.
    Nothing {
        key: Key,
        varies: bool,
    },
}

/// One fetch of a key; others wait until it is dropped.
pub struct Fetch(Key);

impl Drop for Fetch {
    fn drop(&mut self) {
        let mut fetched = lock(&STORE.fetched);
        fetched.remove(&self.0);
    }
}

static STORE: LazyLock<Store> = LazyLock::new(|| Store::new(CACHE_BYTES_MAX as u64));

/// The node's store; made at its first use.
pub fn store() -> &'static Store {
    &STORE
}

impl Store {
    pub fn new(bytes_max: u64) -> Self {
        Self {
            slots: Shares::new(bytes_max),
            fetched: Mutex::default(),
            numbers: AtomicU64::new(1),
            purges: [const { AtomicU64::new(0) }; PURGES_APART],
            hasher: ahash::RandomState::new(),
        }
    }

    /// Looks for the answer to a request whose fields `field` gives by lower-case name.
    pub fn find(&self, key: &Key, now_ms: u64, field: impl Fn(&[u8]) -> Vec<u8>) -> Found {
        let (key, slot, varies) = match self.slots.get(key) {
            Some(Slot::Varies(names, number)) => {
                let key = varied_key(key, &names, number, field);
                let slot = self.slots.get(&key);
                (key, slot, true)
            }
            slot => (key.clone(), slot, false),
        };
        match slot {
            Some(Slot::Kept(kept)) => Found::Kept(key, kept),
            Some(Slot::Passing(until_ms)) if now_ms < until_ms => Found::Passing(key),
            _ => Found::Nothing { key, varies },
        }
    }

    /// Keeps an answer under the request's key and the fields that it varies by.
    pub fn insert(&self, key: &Key, head: &[HeaderSpan], kept: Kept, field: impl Fn(&[u8]) -> Vec<u8>) {
        let kept = Slot::Kept(Arc::new(kept));
        let wanted = names_of(head);
        if wanted.is_empty() {
            return self.slots.insert(key.clone(), kept);
        }
        let (names, number) = match self.slots.get(key) {
            Some(Slot::Varies(names, number)) if *names == *wanted => (names, number),
            _ => {
                let (names, number) = (Arc::from(wanted), self.numbers.fetch_add(1, Ordering::Relaxed));
                self.slots.insert(key.clone(), Slot::Varies(Arc::clone(&names), number));
                (names, number)
            }
        };
        self.slots.insert(varied_key(key, &names, number, field), kept);
    }

    /// Puts a validated answer in the place of what it was.
    pub fn replace(&self, key: &Key, kept: Arc<Kept>) {
        self.slots.insert(key.clone(), Slot::Kept(kept));
    }

    /// Requests of this key need not wait for each other for a while; a kept answer is gone.
    pub fn pass(&self, key: &Key, until_ms: u64) {
        self.slots.insert(key.clone(), Slot::Passing(until_ms));
    }

    /// As `remove`, at somebody's wish: what is on its way into the cache now is older than that, and not kept.
    pub fn purge_key(&self, key: &Key) -> bool {
        self.purges_of(tenant_of(key)).fetch_add(1, Ordering::Relaxed);
        self.remove(key)
    }

    /// Counts what was purged: an answer is kept only where it is as it was when its request went up.
    pub fn purges(&self, key: &Key) -> u64 {
        self.purges_of(tenant_of(key)).load(Ordering::Relaxed)
    }

    fn purges_of(&self, tenant: &[u8]) -> &AtomicU64 {
        &self.purges[self.hasher.hash_one(tenant) as usize % PURGES_APART]
    }

    /// Forgets a key with all that varies below it. False: there was nothing.
    pub fn remove(&self, key: &Key) -> bool {
        matches!(self.slots.remove(key), Some((_, Slot::Kept(_) | Slot::Varies(..))))
    }

    /// Forgets what a target names (`PurgeCache`), of one tenant or of all; the number of answers. Takes a read lock of a
    /// shard at a time.
    pub fn purge(&self, tenant: Option<&[u8]>, target: &[u8]) -> u64 {
        let counted = |count: &AtomicU64| _ = count.fetch_add(1, Ordering::Relaxed);
        match tenant {
            Some(tenant) => counted(self.purges_of(tenant)),
            None => self.purges.iter().for_each(counted),
        }
        let (begin, rest) = match target.strip_suffix(b"*") {
            Some(begin) => (begin, true),
            None => (target, target.is_empty()),
        };
        let fits = |key: &Key| {
            if tenant.is_some_and(|tenant| tenant != tenant_of(key)) {
                return false;
            }
            let text = target_of(key);
            text == begin || (rest && text.starts_with(begin))
        };
        let doomed = self.slots.find_keys(fits);
        let forget = |key: &Key| matches!(self.slots.remove(key), Some((_, Slot::Kept(_))));
        doomed.iter().filter(|key| forget(key)).count() as u64
    }

    /// Bytes that are kept, about.
    pub fn weight(&self) -> u64 {
        self.slots.weight()
    }

    #[cfg(test)]
    pub fn tenants(&self) -> usize {
        self.slots.tenants()
    }

    pub fn is_fetched(&self, key: &Key) -> bool {
        lock(&self.fetched).contains(key)
    }
}

/// Begins to fetch a key. None: somebody else does.
pub fn begin_fetch(key: &Key) -> Option<Fetch> {
    let mut fetched = lock(&STORE.fetched);
    fetched.insert(key.clone()).then(|| Fetch(key.clone()))
}

/// What people call a key: the URL, or the text of `key`. The reverse of `connection::caching::key_of`.
fn target_of(key: &Key) -> Vec<u8> {
    let (mut rest, mut texts) = (&key[..], Vec::new());
    while texts.len() < TEXTS_BEFORE + 3
        && let Some((length, after)) = rest.split_first_chunk::<4>()
        && let Some((text, after)) = after.split_at_checked(u32::from_le_bytes(*length) as usize)
    {
        texts.push(text);
        rest = after;
    }
    match texts.get(TEXTS_BEFORE..) {
        Some([scheme, authority, uri]) => [scheme, &b"://"[..], authority, uri].concat(),
        Some([text, ..]) => text.to_vec(),
        _ => Vec::new(),
    }
}

/// The names in Vary, in lower case, each once and in order: two answers that name the same vary by the same.
fn names_of(head: &[HeaderSpan]) -> Vec<Box<[u8]>> {
    let lines = super::freshness::values(head, b"vary");
    let mut names: Vec<Box<[u8]>> = lines
        .flat_map(|line| line.split(|&byte| byte == b','))
        .map(|name| name.trim_ascii().to_ascii_lowercase().into_boxed_slice())
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Lengths stand before texts: no two lists of values make one key.
fn varied_key(key: &Key, names: &[Box<[u8]>], number: u64, field: impl Fn(&[u8]) -> Vec<u8>) -> Key {
    let mut text = key.to_vec();
    text.extend_from_slice(b"\0vary");
    text.extend_from_slice(&number.to_le_bytes());
    for name in names {
        let value = field(name);
        text.extend_from_slice(&(value.len() as u32).to_le_bytes());
        text.extend_from_slice(&value);
    }
    text.into()
}
