//! A map of many small maps: a change copies one of them, everything else is shared with the former version.

use ahash::RandomState;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::Arc;

const SHARDS: usize = 512;

/// Lies beside its value, as nearly every host's name is this short: one line of memory less to wait for.
type Key = SmallVec<[u8; 32]>;
type Shard<V> = HashMap<Key, V, RandomState>;
/// What a key has one of, nearly always.
pub type Few<T> = SmallVec<[T; 1]>;

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
        self.shards[self.place(key)].get(key)
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
        let place = self.place(key);
        Arc::make_mut(&mut self.shards[place])
    }

    /// By bits that the maps do not look at: they begin at the lowest ones and compare the highest ones first.
    fn place(&self, key: &[u8]) -> usize {
        (self.state.hash_one(key) >> 32) as usize % SHARDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_map_begin_at_places_of_their_own() {
        let mut map = Sharded::<u32>::default();
        for number in 0..20_000 {
            *map.entry(format!("host-{number}.example.test").as_bytes()) = number;
        }
        let state = map.state.clone();
        for shard in &map.shards {
            let places: std::collections::HashSet<u64> =
                shard.keys().map(|key| state.hash_one(&key[..]) % 16).collect();
            assert!(shard.len() < 16 || places.len() > 1);
        }
        assert!((0..20_000).all(|n| map.get(format!("host-{n}.example.test").as_bytes()) == Some(&n)));
    }

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
