//! Values that plugins keep between requests: by plugin, on this node, until their time is over; bounded.

use crate::locks::lock;
use crate::rates::{self, Rate};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

const ENTRIES_MAX: u32 = 4096;
const BYTES_MAX: u64 = 1 << 20;
/// Buckets of a plugin that counts events: 16 bytes each.
const BUCKETS: usize = 1 << 13;
/// What an entry costs beside its bytes.
const ENTRY_BYTES: u64 = 64;

static ALL: LazyLock<Mutex<HashMap<Box<str>, Arc<Values>>>> = LazyLock::new(Mutex::default);

/// The values of a plugin: they outlive its versions. 0 is the default of a bound.
pub fn of_plugin(name: &str, entries_max: u32, bytes_max: u64) -> Arc<Values> {
    let mut all = lock(&ALL);
    let values = all.entry(name.into()).or_default().clone();
    let mut kept = values.lock();
    kept.entries_max = if entries_max == 0 { ENTRIES_MAX } else { entries_max } as usize;
    kept.bytes_max = if bytes_max == 0 { BYTES_MAX } else { bytes_max };
    drop(kept);
    values
}

/// The plugin is gone for good.
pub fn forget(name: &str) {
    lock(&ALL).remove(name);
}

#[derive(Default)]
pub struct Values {
    kept: Mutex<Kept>,
    /// Its own: whoever fills it refuses nobody else's events.
    events: OnceLock<rates::Table>,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<Box<[u8]>, Entry, ahash::RandomState>,
    bytes: u64,
    entries_max: usize,
    bytes_max: u64,
    /// Second of the last search for what is over: in the same one there is nothing new.
    swept_s: u64,
}

struct Entry {
    value: Box<[u8]>,
    /// Seconds since 1970.
    until_s: u64,
}

impl Values {
    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        lock(&self.kept)
    }

    pub fn read(&self, key: &[u8], now_s: u64) -> Option<Box<[u8]>> {
        let kept = self.lock();
        kept.entries.get(key).filter(|entry| entry.until_s > now_s).map(|entry| entry.value.clone())
    }

    /// False: there is no room, even without what is over.
    pub fn write(&self, key: &[u8], value: &[u8], ttl_s: u64, now_s: u64) -> bool {
        self.lock().write(key, value, now_s.saturating_add(ttl_s), now_s)
    }

    pub fn remove(&self, key: &[u8], now_s: u64) -> bool {
        self.lock().remove(key).is_some_and(|entry| entry.until_s > now_s)
    }

    /// Counts one event of a key.
    pub fn count(&self, key: &[u8], rate: Rate, now_ns: u64) -> rates::Verdict {
        self.events.get_or_init(|| rates::Table::new(BUCKETS)).count(b"", key, rate, now_ns)
    }

    /// Adds to a decimal number, which keeps the end of its time. None: no room, or no number.
    pub fn add(&self, key: &[u8], delta: i64, ttl_s: u64, now_s: u64) -> Option<i64> {
        let mut kept = self.lock();
        let found = kept.entries.get(key).filter(|entry| entry.until_s > now_s);
        let (old, until_s) = match found {
            Some(entry) => (std::str::from_utf8(&entry.value).ok()?.parse::<i64>().ok()?, entry.until_s),
            None => (0, now_s.saturating_add(ttl_s)),
        };
        let sum = old.checked_add(delta)?;
        kept.write(key, sum.to_string().as_bytes(), until_s, now_s).then_some(sum)
    }
}

fn size(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64 + ENTRY_BYTES
}

impl Kept {
    fn write(&mut self, key: &[u8], value: &[u8], until_s: u64, now_s: u64) -> bool {
        let former = self.remove(key);
        if !self.has_room(key, value) {
            self.sweep(now_s);
        }
        let fits = self.has_room(key, value);
        let entry = if fits { Some(Entry { value: value.into(), until_s }) } else { former };
        if let Some(entry) = entry {
            self.bytes += size(key, &entry.value);
            self.entries.insert(key.into(), entry);
        }
        fits
    }

    fn has_room(&self, key: &[u8], value: &[u8]) -> bool {
        self.entries.len() < self.entries_max && self.bytes + size(key, value) <= self.bytes_max
    }

    fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.bytes -= size(key, &entry.value);
        Some(entry)
    }

    fn sweep(&mut self, now_s: u64) {
        if std::mem::replace(&mut self.swept_s, now_s) == now_s {
            return;
        }
        self.entries.retain(|_, entry| entry.until_s > now_s);
        self.bytes = self.entries.iter().map(|(key, entry)| size(key, &entry.value)).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_until_their_time_is_over() {
        let values = of_plugin("kept", 0, 0);
        assert!(values.write(b"key", b"value", 10, 100));
        assert_eq!(values.read(b"key", 109).as_deref(), Some(&b"value"[..]));
        assert_eq!((values.read(b"key", 110), values.read(b"other", 100)), (None, None));
        assert!(values.remove(b"key", 100) && !values.remove(b"key", 100));
    }

    #[test]
    fn numbers_add_up_and_end_when_the_first_was_to() {
        let values = of_plugin("numbers", 0, 0);
        assert_eq!(values.add(b"n", 2, 10, 100), Some(2));
        assert_eq!(values.add(b"n", -5, 10, 105), Some(-3));
        assert_eq!(values.add(b"n", 1, 10, 110), Some(1));
        assert!(values.write(b"text", b"x", 10, 100));
        assert_eq!((values.add(b"text", 1, 1, 100), values.add(b"n", i64::MAX, 1, 111)), (None, None));
    }

    #[test]
    fn a_plugin_that_fills_its_buckets_refuses_nobody_else_s_events() {
        let (hostile, neighbour) = (of_plugin("hostile", 0, 0), of_plugin("neighbour", 0, 0));
        let for_ever = Rate { interval_ns: u64::MAX, burst: 1 };
        for key in 0..4 * BUCKETS as u64 {
            hostile.count(&key.to_le_bytes(), for_ever, 1);
        }
        let rate = Rate { interval_ns: 1000, burst: 1 };
        assert_eq!(hostile.count(b"new", rate, 1), rates::Verdict::Limited(1000));
        assert_eq!(neighbour.count(b"new", rate, 1), rates::Verdict::Allowed);
        assert_eq!(rates::of_tenant("").count(b"zone", b"new", rate, 1), rates::Verdict::Allowed);
    }

    #[test]
    fn a_full_store_refuses_new_keys_until_old_ones_are_over() {
        let values = of_plugin("full", 2, 0);
        assert!(values.write(b"a", b"", 10, 0) && values.write(b"b", b"", 20, 0));
        assert!(!values.write(b"c", b"", 10, 5));
        assert!(values.write(b"a", b"new", 10, 5), "a key that is there can be written again");
        assert!(values.write(b"c", b"", 10, 25));
        assert!(values.write(b"d", b"", 0, 25) && !values.write(b"e", b"", 10, 25), "searched once a second");
        assert!(values.write(b"e", b"", 10, 26));
        let small = of_plugin("small", 0, 200);
        assert!(small.write(b"a", &[0; 100], 10, 0));
        assert!(!small.write(b"a", &[0; 200], 10, 0));
        assert_eq!(small.read(b"a", 0).map(|value| value.len()), Some(100), "the former value stays");
    }
}
