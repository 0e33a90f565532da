//! What a node knows of an endpoint from the requests it served: failures, ejections, latency. One for each endpoint of a
//! cluster, shared by all workers, alive as long as the cluster has the endpoint.
//!
//! Rule: reading is a few relaxed loads; the lock is taken where something failed, and then for a few instructions.

use crate::locks::lock;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

/// Failures remembered of one endpoint; with more, it is unhealthy under any sensible limit.
const FAILS_KEPT_MAX: usize = 256;
/// An ejected endpoint stays away for at most so many times the base time.
const EJECTIONS_MAX: u32 = 10;
/// A latency sample's weight falls to 1/e in so long.
const DECAY_NS: f64 = 10e9;

/// Counted failures: how long each counts, and how many make the endpoint unhealthy.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailLimit {
    pub duration_ms: u64,
    pub fails_max: u32,
}

#[derive(Debug, Default)]
pub struct Standing {
    /// When each counted failure is forgotten, oldest first.
    fails: Mutex<VecDeque<u64>>,
    unhealthy_until_ms: AtomicU64,
    failed_in_row: AtomicU32,
    ejections: AtomicU32,
    ejected_until_ms: AtomicU64,
    latency_ns: AtomicU64,
    latency_at_ns: AtomicU64,
    /// When it joined a cluster that served already; 0: it was there from the start.
    pub(super) joined_ms: AtomicU64,
}

impl Standing {
    /// The one of all endpoints whose outcomes nobody looks at: never written to.
    pub fn unwatched() -> Arc<Self> {
        static UNWATCHED: OnceLock<Arc<Standing>> = OnceLock::new();
        UNWATCHED.get_or_init(Arc::default).clone()
    }

    /// Counted failures that are not forgotten yet.
    pub fn fails(&self, now_ms: u64) -> usize {
        let fails = lock(&self.fails);
        fails.iter().filter(|forgotten_ms| **forgotten_ms > now_ms).count()
    }

    pub fn is_healthy(&self, now_ms: u64) -> bool {
        now_ms >= self.unhealthy_until_ms.load(Relaxed) && !self.is_ejected(now_ms)
    }

    pub fn is_ejected(&self, now_ms: u64) -> bool {
        now_ms < self.ejected_until_ms.load(Relaxed)
    }

    /// Counts a failure for a while (Caddy: countFailure).
    pub fn count_fail(&self, limit: FailLimit, now_ms: u64) {
        if limit.duration_ms == 0 || limit.fails_max == 0 {
            return;
        }
        let mut fails = lock(&self.fails);
        while fails.front().is_some_and(|forgotten_ms| *forgotten_ms <= now_ms) {
            fails.pop_front();
        }
        if fails.len() == FAILS_KEPT_MAX {
            fails.pop_front();
        }
        fails.push_back(now_ms + limit.duration_ms);
        // Unhealthy until so few are left that they are under the limit.
        if let Some(last) = fails.len().checked_sub(limit.fails_max as usize) {
            self.unhealthy_until_ms.fetch_max(fails[last], Relaxed);
        }
    }

    /// Failures in a row, this one included.
    pub fn fail_in_row(&self) -> u32 {
        self.failed_in_row.fetch_add(1, Relaxed) + 1
    }

    pub fn succeed(&self) {
        if self.failed_in_row.load(Relaxed) != 0 {
            self.failed_in_row.store(0, Relaxed);
            self.ejections.store(0, Relaxed);
        }
    }

    pub fn eject(&self, base_ms: u64, now_ms: u64) {
        let times = (self.ejections.fetch_add(1, Relaxed) + 1).min(EJECTIONS_MAX);
        self.failed_in_row.store(0, Relaxed);
        self.ejected_until_ms.store(now_ms + base_ms * u64::from(times), Relaxed);
    }

    /// Takes a latency into the moving average: a worse one at once, a better one by its age (peak EWMA).
    pub fn observe(&self, latency_ns: u64, now_ns: u64) {
        let former = self.latency_ns.load(Relaxed);
        let age_ns = now_ns.saturating_sub(self.latency_at_ns.swap(now_ns, Relaxed));
        let weight = (-(age_ns as f64) / DECAY_NS).exp();
        let mean = match latency_ns >= former {
            true => latency_ns,
            false => (former as f64 * weight + latency_ns as f64 * (1.0 - weight)) as u64,
        };
        self.latency_ns.store(mean, Relaxed);
    }

    /// The average; 1 where nothing is known, so that new endpoints are tried.
    pub fn latency_ns(&self) -> u64 {
        self.latency_ns.load(Relaxed).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: FailLimit = FailLimit { duration_ms: 1000, fails_max: 2 };

    #[test]
    fn an_endpoint_is_unhealthy_while_enough_failures_count() {
        let standing = Standing::default();
        standing.count_fail(TWO, 0);
        assert!(standing.is_healthy(0));
        standing.count_fail(TWO, 400);
        assert!(!standing.is_healthy(400) && !standing.is_healthy(999));
        assert!(standing.is_healthy(1000), "the first is forgotten");
        standing.count_fail(TWO, 1100);
        assert!(!standing.is_healthy(1399) && standing.is_healthy(1400));
    }

    #[test]
    fn without_a_duration_nothing_counts() {
        let standing = Standing::default();
        for _ in 0..10 {
            standing.count_fail(FailLimit::default(), 5);
        }
        assert!(standing.is_healthy(5));
    }

    #[test]
    fn ejections_in_a_row_last_longer() {
        let standing = Standing::default();
        standing.eject(100, 0);
        assert!(standing.is_ejected(99) && !standing.is_ejected(100));
        standing.eject(100, 100);
        assert!(standing.is_ejected(299) && !standing.is_ejected(300));
        standing.fail_in_row();
        standing.succeed();
        standing.eject(100, 300);
        assert!(!standing.is_ejected(400));
    }

    #[test]
    fn a_worse_latency_counts_at_once_and_fades() {
        let standing = Standing::default();
        standing.observe(1_000, 1);
        standing.observe(9_000, 2);
        assert_eq!(standing.latency_ns(), 9_000);
        standing.observe(1_000, 60_000_000_000);
        assert!(standing.latency_ns() < 1_100);
    }
}
