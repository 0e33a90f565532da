//! What a node does for one cluster at a time: requests under way, requests that wait, retries against requests.
//!
//! All workers share it. Rule: a cluster that bounds nothing pays nothing here.

use super::clusters::{Cluster, ClusterPolicy};
use crate::limits::{HEDGE_BUDGET_PERCENT, RETRIES_ALWAYS, RETRY_EPOCH_MS};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// The counters of a cluster; they outlive its configurations.
#[derive(Default)]
pub struct Load {
    under_way: AtomicU32,
    queued: AtomicU32,
    epoch: AtomicU64,
    /// Of this epoch and the one before.
    requests: [AtomicU32; 2],
    retries: [AtomicU32; 2],
}

/// A request under way; dropping it makes room.
pub struct Place(Arc<Cluster>);

/// A request that waits.
pub struct Ticket(Arc<Cluster>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.load().under_way.fetch_sub(1, Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.load().queued.fetch_sub(1, Relaxed);
    }
}

impl Cluster {
    /// Room for one more of `max` requests.
    pub fn take_place(self: &Arc<Self>, max: u32) -> Option<Place> {
        enter(&self.load().under_way, max).then(|| Place(self.clone()))
    }

    /// Room for one more of `max` requests that wait.
    pub fn take_ticket(self: &Arc<Self>, max: u32) -> Option<Ticket> {
        enter(&self.load().queued, max).then(|| Ticket(self.clone()))
    }

    /// Requests wait: newcomers stand behind them.
    pub fn has_queue(&self) -> bool {
        self.load().queued.load(Relaxed) > 0
    }
}

/// One more, where that is at most `max`.
fn enter(count: &AtomicU32, max: u32) -> bool {
    if count.fetch_add(1, Relaxed) < max {
        return true;
    }
    count.fetch_sub(1, Relaxed);
    false
}

impl ClusterPolicy {
    /// Somebody asks how many requests there were.
    pub fn counts_requests(&self) -> bool {
        self.retry_budget_percent > 0 || self.hedge_after_ms > 0
    }

    /// The share of requests that may have a second attempt beside a silent one, within that of retries.
    pub fn hedge_percent(&self) -> u32 {
        let own =
            if self.hedge_budget_percent == 0 { HEDGE_BUDGET_PERCENT } else { self.hedge_budget_percent };
        if self.retry_budget_percent == 0 { own } else { own.min(self.retry_budget_percent) }
    }
}

impl Load {
    /// A request begins, where retries are budgeted.
    pub fn count_request(&self, now_ms: u64) {
        self.turn(now_ms);
        self.requests[0].fetch_add(1, Relaxed);
    }

    /// Takes one retry off the budget; false where it is spent.
    pub fn take_retry(&self, percent: u32, now_ms: u64) -> bool {
        self.turn(now_ms);
        let sum = |pair: &[AtomicU32; 2]| u64::from(pair[0].load(Relaxed)) + u64::from(pair[1].load(Relaxed));
        let allowed = (sum(&self.requests) * u64::from(percent) / 100).max(RETRIES_ALWAYS);
        let granted = sum(&self.retries) < allowed;
        if granted {
            self.retries[0].fetch_add(1, Relaxed);
        }
        granted
    }

    /// The worker that finds a new epoch moves the counts on.
    fn turn(&self, now_ms: u64) {
        let (epoch, former) = (now_ms / RETRY_EPOCH_MS, self.epoch.load(Relaxed));
        if epoch == former || self.epoch.compare_exchange(former, epoch, Relaxed, Relaxed).is_err() {
            return;
        }
        for pair in [&self.requests, &self.retries] {
            let current = pair[0].swap(0, Relaxed);
            pair[1].store(if epoch == former + 1 { current } else { 0 }, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::ClusterState;

    #[test]
    fn places_and_tickets_come_back_when_they_are_dropped() {
        let cluster = Cluster::new("a", ClusterState::unconfigured());
        let places: Vec<_> = (0..3).filter_map(|_| cluster.take_place(2)).collect();
        assert_eq!(places.len(), 2);
        assert!(!cluster.has_queue() && cluster.take_ticket(0).is_none());
        let ticket = cluster.take_ticket(1);
        assert!(cluster.has_queue() && cluster.take_ticket(1).is_none());
        drop((places, ticket));
        assert!(!cluster.has_queue() && cluster.take_place(1).is_some());
    }

    #[test]
    fn retries_are_a_share_of_the_requests_of_the_last_two_epochs() {
        let load = Load::default();
        let taken = |now_ms| (0..1000).take_while(|_| load.take_retry(20, now_ms)).count() as u64;
        assert_eq!(taken(RETRY_EPOCH_MS), RETRIES_ALWAYS, "some always");
        for _ in 0..1000 {
            load.count_request(2 * RETRY_EPOCH_MS);
        }
        assert_eq!(taken(2 * RETRY_EPOCH_MS), 200 - RETRIES_ALWAYS);
        assert_eq!(taken(3 * RETRY_EPOCH_MS), RETRIES_ALWAYS, "those of the epoch before count too");
        assert_eq!(taken(9 * RETRY_EPOCH_MS), RETRIES_ALWAYS, "all of it is forgotten");
    }
}
