//! Rates of `rate_limit`: a table of buckets for the zones of a tenant and all workers, fixed in size, without locks.
//!
//! A bucket is the time at which its allowance is whole again (GCRA). One whose time has passed is free for any key. A
//! key that finds no free bucket in its set is refused: the table fails closed, nobody can push another out, and a tenant
//! that fills its table refuses nobody else's keys.

use crate::limits::{RATE_BUCKETS, RATE_BUCKETS_OF_TENANT, RATE_TENANTS_MAX};
use crate::tenancy::ByTenant;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

const WAYS: usize = 8;
/// Workers that change one bucket at once; more tries than there are threads.
const TRIES_MAX: usize = 64;

static OF_NODE: LazyLock<Tenants> = LazyLock::new(Tenants::default);

/// What a zone allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub interval_ns: u64,
    pub burst: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// Nanoseconds until one more is allowed.
    Limited(u64),
}

struct Bucket {
    key: AtomicU64,
    /// Nanoseconds of the monotonic clock.
    whole_at: AtomicU64,
}

/// Buckets of one set of keys.
pub struct Table {
    buckets: Box<[Bucket]>,
    hasher: ahash::RandomState,
}

/// Tables in use; a row holds the one that it counts in, so that reloads keep what was counted.
struct Tenants(ByTenant<Table>);

/// The table of a tenant on this node; "" is whoever owns it where there is no cluster.
pub fn of_tenant(tenant: &str) -> Arc<Table> {
    OF_NODE.find(tenant)
}

impl Default for Tenants {
    fn default() -> Self {
        Self(ByTenant::new(RATE_TENANTS_MAX))
    }
}

impl Tenants {
    fn find(&self, tenant: &str) -> Arc<Table> {
        self.0.find(tenant, |tenant| {
            Table::new(if tenant.is_empty() { RATE_BUCKETS } else { RATE_BUCKETS_OF_TENANT })
        })
    }
}

impl Table {
    /// `buckets` is a multiple of WAYS.
    pub fn new(buckets: usize) -> Self {
        let empty = || Bucket { key: AtomicU64::new(0), whole_at: AtomicU64::new(0) };
        Self { buckets: (0..buckets).map(|_| empty()).collect(), hasher: ahash::RandomState::new() }
    }

    pub fn count(&self, zone: &[u8], key: &[u8], rate: Rate, now_ns: u64) -> Verdict {
        let hash = self.hasher.hash_one((zone, key)) | 1;
        match self.find(hash, now_ns) {
            Some(bucket) => bucket.take(rate, now_ns),
            None => Verdict::Limited(rate.interval_ns),
        }
    }

    /// The key's bucket, or one that is free.
    fn find(&self, hash: u64, now_ns: u64) -> Option<&Bucket> {
        let set = (hash >> 1) as usize % (self.buckets.len() / WAYS) * WAYS;
        let ways = &self.buckets[set..set + WAYS];
        if let Some(found) = ways.iter().find(|bucket| bucket.key.load(Ordering::Relaxed) == hash) {
            return Some(found);
        }
        ways.iter().find(|bucket| {
            let old = bucket.key.load(Ordering::Relaxed);
            bucket.whole_at.load(Ordering::Relaxed) <= now_ns
                && bucket.key.compare_exchange(old, hash, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        })
    }
}

impl Bucket {
    fn take(&self, rate: Rate, now_ns: u64) -> Verdict {
        let spread = rate.interval_ns.saturating_mul(u64::from(rate.burst.max(1)) - 1);
        for _ in 0..TRIES_MAX {
            let old = self.whole_at.load(Ordering::Relaxed);
            let whole_at = old.max(now_ns);
            if whole_at - now_ns > spread {
                return Verdict::Limited(whole_at - now_ns - spread);
            }
            let new = whole_at.saturating_add(rate.interval_ns);
            if self.whole_at.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Verdict::Allowed;
            }
        }
        Verdict::Limited(rate.interval_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let table = Table::new(64);
        let rate = Rate { interval_ns: SECOND, burst: 3 };
        let verdicts: Vec<_> = (0..5).map(|_| table.count(b"zone", b"key", rate, 10)).collect();
        assert_eq!(verdicts[..3], [Verdict::Allowed; 3]);
        assert_eq!(verdicts[3..], [Verdict::Limited(SECOND); 2]);
        assert_eq!(table.count(b"zone", b"key", rate, 10 + SECOND), Verdict::Allowed);
        assert_eq!(table.count(b"zone", b"key", rate, 11 + SECOND), Verdict::Limited(SECOND - 1));
        assert_eq!(table.count(b"other", b"key", rate, 10), Verdict::Allowed);
        assert_eq!(table.count(b"zone", b"other", rate, 10), Verdict::Allowed);
    }

    #[test]
    fn a_full_table_refuses_new_keys_and_keeps_the_old_ones() {
        let table = Table::new(WAYS);
        let rate = Rate { interval_ns: SECOND, burst: 2 };
        for key in 0..WAYS as u8 {
            assert_eq!(table.count(b"zone", &[key], rate, 0), Verdict::Allowed);
        }
        assert_eq!(table.count(b"zone", b"new", rate, 0), Verdict::Limited(SECOND));
        assert_eq!(table.count(b"zone", &[0], rate, 0), Verdict::Allowed);
        assert_eq!(table.count(b"zone", b"new", rate, 3 * SECOND), Verdict::Allowed);
    }

    #[test]
    fn a_tenant_that_fills_its_table_refuses_nobody_elses_keys() {
        let tenants = Tenants::default();
        let (hostile, quiet) = (tenants.find("hostile"), tenants.find("quiet"));
        let rate = Rate { interval_ns: SECOND, burst: 1 };
        let flood =
            (0..20 * RATE_BUCKETS_OF_TENANT).map(|key| hostile.count(b"z", &key.to_le_bytes(), rate, 0));
        assert_eq!(flood.filter(|verdict| *verdict == Verdict::Allowed).count(), RATE_BUCKETS_OF_TENANT);
        assert_eq!(hostile.count(b"z", b"new", rate, 0), Verdict::Limited(SECOND));
        assert!((0..100u8).all(|key| quiet.count(b"z", &[key], rate, 0) == Verdict::Allowed));
    }

    #[test]
    fn a_table_is_kept_while_a_row_counts_in_it() {
        let tenants = Tenants::default();
        let former = tenants.find("shop");
        assert!(Arc::ptr_eq(&former, &tenants.find("shop")) && !Arc::ptr_eq(&former, &tenants.find("blog")));
        let weak = Arc::downgrade(&former);
        drop(former);
        assert!(weak.upgrade().is_none());
        assert_eq!(tenants.find("").buckets.len(), RATE_BUCKETS);
    }

    #[test]
    fn tenants_beyond_the_bound_share_one_table() {
        let tenants = Tenants::default();
        let own: Vec<_> = (0..RATE_TENANTS_MAX).map(|number| tenants.find(&number.to_string())).collect();
        let (one, two) = (tenants.find("one"), tenants.find("two"));
        assert!(Arc::ptr_eq(&one, &two) && !own.iter().any(|table| Arc::ptr_eq(table, &one)));
    }

    #[test]
    fn threads_together_get_no_more_than_the_burst() {
        let table = Table::new(64);
        let rate = Rate { interval_ns: SECOND, burst: 100 };
        let allowed: usize = std::thread::scope(|scope| {
            let counting =
                || (0..100).filter(|_| table.count(b"z", b"k", rate, 5) == Verdict::Allowed).count();
            // The bucket is taken before the threads begin, so that none of them takes a second one.
            assert_eq!(table.count(b"z", b"k", rate, 5), Verdict::Allowed);
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(counting)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(allowed, 99);
    }
}
