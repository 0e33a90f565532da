//! The cache's bytes, divided among tenants: each has a part of its own, where its answers evict each other alone.
//!
//! What one tenant does not use another one may have; whoever fills the cache loses what is beyond its equal part again
//! as soon as others want theirs. Rule: what a tenant keeps within its equal part is evicted by nothing that others do, and
//! all together never weigh more than the bound.

use super::store::{Key, Slot};
use crate::limits::{CACHE_SHARDS, CACHE_TENANTS_MAX};
use crate::locks::{lock, read, write};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};

#[derive(Clone)]
struct SlotWeight;

impl Weighter<Key, Slot> for SlotWeight {
    fn weight(&self, key: &Key, slot: &Slot) -> u64 {
        let content = match slot {
            Slot::Kept(kept) => kept.weight(),
            Slot::Varies(names, _) => names.iter().map(|name| name.len() + 16).sum(),
            Slot::Passing(_) => 0,
        };
        (key.len() + content + 128) as u64
    }
}

type Slots = Cache<Key, Slot, SlotWeight, ahash::RandomState, DefaultLifecycle<Key, Slot>>;
type ByTenant = HashMap<Box<[u8]>, Arc<Slots>, ahash::RandomState>;

/// Tenants that come when there are too many share one part.
const OTHERS: &[u8] = b"\0";

pub struct Shares {
    bytes_max: u64,
    shares: RwLock<ByTenant>,
    /// One divides at a time.
    dividing: Mutex<()>,
}

impl Shares {
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, shares: RwLock::default(), dividing: Mutex::new(()) }
    }

    pub fn get(&self, key: &Key) -> Option<Slot> {
        find(&read(&self.shares), tenant_of(key))?.get(key)
    }

    pub fn remove(&self, key: &Key) -> Option<(Key, Slot)> {
        let slots = find(&read(&self.shares), tenant_of(key))?.clone();
        slots.remove(key)
    }

    pub fn insert(&self, key: Key, slot: Slot) {
        let (slots, is_new) = self.find_or_add(tenant_of(&key));
        let weight = slots.weight() + SlotWeight.weight(&key, &slot);
        if is_new || (weight > slots.capacity() && slots.capacity() < self.bytes_max) {
            self.divide_again(&slots);
        }
        slots.insert(key, slot);
    }

    /// All keys that fit. Takes a read lock of a part at a time.
    pub fn find_keys(&self, fits: impl Fn(&Key) -> bool) -> Vec<Key> {
        let all: Vec<Arc<Slots>> = read(&self.shares).values().cloned().collect();
        all.iter().flat_map(|slots| slots.iter().map(|(key, _)| key).filter(&fits)).collect()
    }

    pub fn weight(&self) -> u64 {
        read(&self.shares).values().map(|slots| slots.weight()).sum()
    }

    fn find_or_add(&self, tenant: &[u8]) -> (Arc<Slots>, bool) {
        if let Some(slots) = find(&read(&self.shares), tenant) {
            return (slots.clone(), false);
        }
        let mut shares = write(&self.shares);
        let tenant = if shares.len() < CACHE_TENANTS_MAX { tenant } else { OTHERS };
        if let Some(slots) = shares.get(tenant) {
            return (slots.clone(), false);
        }
        // Without a cluster everything belongs to one, and its workers should not wait for each other.
        let shards = if tenant.is_empty() { CACHE_SHARDS } else { 1 };
        let slots = Arc::new(make_slots(self.bytes_max, shards));
        shares.insert(tenant.into(), slots.clone());
        (slots, true)
    }

    /// Gives `asker` what it may have, and each other what it has as far as that is its part. Parts become smaller before
    /// others become larger.
    fn divide_again(&self, asker: &Arc<Slots>) {
        let _dividing = lock(&self.dividing);
        let is_asker = |slots: &Arc<Slots>| Arc::ptr_eq(slots, asker);
        let all: Vec<Arc<Slots>> = read(&self.shares).values().cloned().collect();
        // In large steps: a part that grows asks seldom, and those of others seldom change.
        let step = (self.bytes_max / 64).max(1);
        let wanted = |slots: &Arc<Slots>| match slots.weight() {
            _ if is_asker(slots) => u64::MAX,
            weight => weight.next_multiple_of(step),
        };
        let parts = divide(self.bytes_max, &all.iter().map(wanted).collect::<Vec<_>>());
        let (smaller, larger): (Vec<_>, Vec<_>) =
            all.iter().zip(parts).partition(|(slots, part)| *part < slots.capacity());
        for (slots, part) in smaller.into_iter().chain(larger) {
            if part != slots.capacity() {
                slots.set_capacity(part);
            }
        }
    }

    #[cfg(test)]
    pub fn tenants(&self) -> usize {
        read(&self.shares).len()
    }
}

fn find<'a>(shares: &'a ByTenant, tenant: &[u8]) -> Option<&'a Arc<Slots>> {
    shares.get(tenant).or_else(|| shares.get(OTHERS))
}

fn make_slots(bytes_max: u64, shards: usize) -> Slots {
    let options = OptionsBuilder::new()
        .shards(shards)
        .estimated_items_capacity(1024)
        .weight_capacity(bytes_max)
        .build();
    match options {
        Ok(options) => {
            Cache::with_options(options, SlotWeight, ahash::RandomState::new(), DefaultLifecycle::default())
        }
        Err(_) => unreachable!("all that the options need is given"),
    }
}

/// A key's first text.
pub fn tenant_of(key: &[u8]) -> &[u8] {
    key.split_first_chunk::<4>()
        .and_then(|(length, rest)| rest.get(..u32::from_le_bytes(*length) as usize))
        .unwrap_or_default()
}

/// What each gets of `total`: what it wants, or an equal part of what those leave who want less.
fn divide(total: u64, wanted: &[u64]) -> Vec<u64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|&at| wanted[at]);
    let (mut parts, mut left) = (vec![0; wanted.len()], total);
    for (served, at) in order.into_iter().enumerate() {
        parts[at] = wanted[at].min(left / (wanted.len() - served) as u64);
        left -= parts[at];
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nobody_gets_less_than_an_equal_part_that_it_wants_and_all_no_more_than_there_is(
            total in 0u64..1000,
            wanted in proptest::collection::vec(0u64..1000, 1..8),
        ) {
            let parts = divide(total, &wanted);
            prop_assert!(parts.iter().sum::<u64>() <= total);
            for (part, wanted) in parts.iter().zip(&wanted) {
                prop_assert!(part <= wanted);
                prop_assert!(*part >= total / parts.len() as u64 || part == wanted);
            }
            let whole: u64 = wanted.iter().sum();
            prop_assert_eq!(parts.iter().sum::<u64>(), whole.min(total));
        }
    }
}
