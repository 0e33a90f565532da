//! Requests under way by key (`concurrency`): one table of counts for all workers, fixed in size, without locks.
//!
//! A slot is one word: the key's hash above, the count below; a count of 0 makes it free for any key. A key that finds no
//! free slot in its set is refused: the table fails closed.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// 8 bytes each: 512 KiB for a node, made at first use.
const SLOTS: usize = 1 << 16;
const WAYS: usize = 8;
/// Workers that change one slot at once; more tries than there are threads.
const TRIES_MAX: usize = 64;
/// Bits of the count: more requests than sockets.
const COUNT_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new(SLOTS));

/// One request's place under its key; it is given back when this is dropped.
pub struct Occupied(&'static AtomicU64);

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Table {
    slots: Box<[AtomicU64]>,
    hasher: ahash::RandomState,
}

/// Takes a place of `key` in `zone`, of which there are `max`.
pub fn enter(zone: (&[u8], u32), key: &[u8], max: u32) -> Option<Occupied> {
    let table: &'static Table = &TABLE;
    table.enter(table.hash(zone, key), u64::from(max)).map(Occupied)
}

impl Table {
    fn new(slots: usize) -> Self {
        Self { slots: (0..slots).map(|_| AtomicU64::new(0)).collect(), hasher: ahash::RandomState::new() }
    }

    fn hash(&self, zone: (&[u8], u32), key: &[u8]) -> u64 {
        self.hasher.hash_one((zone, key))
    }

    fn enter(&self, hash: u64, max: u64) -> Option<&AtomicU64> {
        let set = hash as usize % (self.slots.len() / WAYS) * WAYS;
        let (ways, key) = (&self.slots[set..set + WAYS], hash & !COUNT_MASK);
        for _ in 0..TRIES_MAX {
            let words: [u64; WAYS] = std::array::from_fn(|way| ways[way].load(Ordering::Relaxed));
            let own = words.iter().position(|word| word & !COUNT_MASK == key && word & COUNT_MASK > 0);
            let way = own.or_else(|| words.iter().position(|word| word & COUNT_MASK == 0))?;
            let count = if own.is_some() { words[way] & COUNT_MASK } else { 0 };
            if count >= max.min(COUNT_MASK) {
                return None;
            }
            let taken = ways[way].compare_exchange(
                words[way],
                key | (count + 1),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if taken.is_ok() {
                return Some(&ways[way]);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_so_many_places_and_gets_them_back() {
        let places: Vec<_> = (0..3).filter_map(|_| enter((b"host", 1), b"key", 2)).collect();
        assert_eq!(places.len(), 2);
        assert!(enter((b"host", 1), b"other", 2).is_some());
        assert!(enter((b"host", 2), b"key", 2).is_some());
        drop(places);
        assert!(enter((b"host", 1), b"key", 1).is_some());
    }

    #[test]
    fn a_full_set_refuses_new_keys() {
        let table = Table::new(WAYS);
        for key in 1..=WAYS as u64 {
            assert!(table.enter(key << COUNT_BITS, 9).is_some());
        }
        assert!(table.enter(99 << COUNT_BITS, 9).is_none());
        assert!(table.enter(1 << COUNT_BITS, 9).is_some());
        table.slots[0].fetch_sub(2, Ordering::Relaxed);
        assert!(table.enter(99 << COUNT_BITS, 9).is_some());
    }

    #[test]
    fn threads_together_get_no_more_than_there_are() {
        let table = Table::new(64);
        let first = table.enter(7 << COUNT_BITS, 100);
        assert!(first.is_some());
        let taken: usize = std::thread::scope(|scope| {
            let taking = || (0..50).filter(|_| table.enter(7 << COUNT_BITS, 100).is_some()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(taking)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 99);
    }
}
