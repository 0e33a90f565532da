//! A map of many small maps: a change copies one of them, everything else is shared with the former version.

use ahash::RandomState;
use std::collections::HashMap;
use std::sync::Arc;

const SHARDS: usize = 512;

type Shard<V> = HashMap<Box<[u8]>, V, RandomState>;

/// Keyed hashing: keys are compared with what the wire brings.
pub struct Sharded<V> {
    shards: Box<[Arc<Shard<V>>]>,
    state: RandomState,
}

impl<V: Clone> Clone for Sharded<V> {
    fn clone(&self) -> Self {
        Self { shards: self.shards.clone(), state: self.state.clone() }
    }
}

impl<V: Clone> Default for Sharded<V> {
    fn default() -> Self {
        let state = RandomState::new();
        let empty = Arc::new(Shard::with_hasher(state.clone()));
        Self { shards: vec![empty; SHARDS].into(), state }
    }
}

impl<V: Clone> Sharded<V> {
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        let hash = self.state.hash_one(key);
        self.shards[hash as usize % SHARDS].get(key)
    }

    /// The value to change in place, made by `Default` where absent.
    pub fn entry(&mut self, key: &[u8]) -> &mut V
    where
        V: Default,
    {
        let shard = self.shard(key);
        if !shard.contains_key(key) {
            shard.insert(key.into(), V::default());
        }
        shard.entry(key.into()).or_default()
    }

    pub fn remove(&mut self, key: &[u8]) {
        self.shard(key).remove(key);
    }

    fn shard(&mut self, key: &[u8]) -> &mut Shard<V> {
        let hash = self.state.hash_one(key);
        Arc::make_mut(&mut self.shards[hash as usize % SHARDS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_not_seen_by_the_former_version() {
        let mut map = Sharded::<u32>::default();
        *map.entry(b"a") = 1;
        let former = map.clone();
        *map.entry(b"a") = 2;
        *map.entry(b"b") = 3;
        map.remove(b"a");
        assert_eq!((former.get(b"a"), former.get(b"b")), (Some(&1), None));
        assert_eq!((map.get(b"a"), map.get(b"b")), (None, Some(&3)));
    }
}
