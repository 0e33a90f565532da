//! Hosts by name. Among a hundred thousand, a request waits for every line of memory that it looks at: a slot tells by
//! a part of the hash whether its host is worth a look, and the name lies in the host itself.

use super::hosts::VirtualHost;
use crate::exchange::ListenerId;
use ahash::RandomState;
use std::sync::Arc;

/// A change copies one part; everything else is shared with the former version.
const PARTS: usize = 512;

/// One of a host's names. Its place is its tag, or the next free one behind (linear probing).
#[derive(Clone, Default)]
struct Slot {
    /// The low half of the name's hash.
    tag: u32,
    /// Which of the host's names it is.
    name: u32,
    host: Option<Arc<VirtualHost>>,
}

/// Keyed hashing: names are compared with what the wire brings. Parts are powers of two, at least half of each is free.
#[derive(Clone)]
pub struct HostIndex {
    parts: Box<[Arc<[Slot]>]>,
    state: RandomState,
}

impl Default for HostIndex {
    fn default() -> Self {
        Self { parts: vec![make_slots(2); PARTS].into(), state: RandomState::new() }
    }
}

impl HostIndex {
    pub fn insert(&mut self, host: &Arc<VirtualHost>) {
        for (number, name) in host.names.iter().enumerate() {
            let (part, tag) = self.place(name);
            let slots = &mut self.parts[part];
            let used = slots.iter().filter(|slot| slot.host.is_some()).count();
            if (used + 1) * 2 > slots.len() {
                let mut grown = make_slots(slots.len() * 2);
                for slot in slots.iter().filter(|slot| slot.host.is_some()) {
                    put(Arc::make_mut(&mut grown), slot.clone());
                }
                *slots = grown;
            }
            put(Arc::make_mut(slots), Slot { tag, name: number as u32, host: Some(host.clone()) });
        }
    }

    pub fn remove(&mut self, host: &VirtualHost) {
        for name in &host.names {
            let (part, tag) = self.place(name);
            let slots = Arc::make_mut(&mut self.parts[part]);
            let is_its = |slot: &Slot| {
                slot.tag == tag && slot.host.as_ref().is_some_and(|other| other.name == host.name)
            };
            let place = walk(slots, tag).find(|&at| is_its(&slots[at]));
            if let Some(at) = place {
                take(slots, at);
            }
        }
    }

    /// The host of this name on this listener; of several, the one whose own name comes first.
    #[inline]
    pub fn find(&self, name: &[u8], listener: ListenerId) -> Option<&Arc<VirtualHost>> {
        let (part, tag) = self.place(name);
        let slots = &self.parts[part];
        let mut found: Option<&Arc<VirtualHost>> = None;
        for at in walk(slots, tag) {
            let slot = &slots[at];
            if let Some(host) = &slot.host
                && slot.tag == tag
                && host.names[slot.name as usize][..] == *name
                && host.listeners.contains(&listener)
                && found.is_none_or(|found| host.name < found.name)
            {
                found = Some(host);
            }
        }
        found
    }

    /// The host that the name seems to be of begins to come from memory.
    pub fn prefetch(&self, name: &[u8]) {
        let (part, tag) = self.place(name);
        let slots = &self.parts[part];
        let place = walk(slots, tag).find(|&at| slots[at].tag == tag);
        if let Some(host) = place.and_then(|at| slots[at].host.as_ref()) {
            host.prefetch();
        }
    }

    fn place(&self, name: &[u8]) -> (usize, u32) {
        let hash = self.state.hash_one(name);
        ((hash >> 32) as usize % PARTS, hash as u32)
    }
}

fn make_slots(count: usize) -> Arc<[Slot]> {
    (0..count).map(|_| Slot::default()).collect()
}

/// From a tag's place on to the first free slot.
#[inline(always)]
fn walk(slots: &[Slot], tag: u32) -> impl Iterator<Item = usize> + use<'_> {
    let last = slots.len() - 1;
    let places = (0..slots.len()).map(move |step| (tag as usize).wrapping_add(step) & last);
    places.take_while(|&at| slots[at].host.is_some())
}

fn put(slots: &mut [Slot], slot: Slot) {
    let last = slots.len() - 1;
    let at = (slot.tag as usize + walk(slots, slot.tag).count()) & last;
    slots[at] = slot;
}

/// Frees a slot, and moves those behind it that would not be found over a free one.
fn take(slots: &mut [Slot], mut free: usize) {
    let last = slots.len() - 1;
    slots[free] = Slot::default();
    let mut at = free;
    loop {
        at = (at + 1) & last;
        if slots[at].host.is_none() {
            return;
        }
        let home = slots[at].tag as usize & last;
        if at.wrapping_sub(home) & last >= at.wrapping_sub(free) & last {
            slots.swap(free, at);
            free = at;
        }
    }
}
