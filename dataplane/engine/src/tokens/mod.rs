//! Rates that all nodes keep together (`rate_limit` with `shared`): tokens of buckets that lie in a store.
//!
//! A node leases tokens through its agent (`asking`) and spends them here: every request that is let through has a token
//! that the store took out of the bucket, so nodes together never pass the rate. A request that finds neither tokens
//! nor a refusal waits for the lease that it causes. Tokens that nobody spends go back. While no tokens can be had, the
//! zone's `store_down` says what holds. The table is bounded, and shared by tenants; a key that finds no room is refused.

pub mod asking;
mod sharing;

use crate::control::{WorkerMessage, WorkerSender};
use crate::digests::{Digest, digest};
use crate::locks::lock;
use crate::protocol::{StoreDown, TokenNeed};
use crate::rates::{Rate, Verdict};
use crate::snapshot::RateLimit;
use crate::tenancy::{Part, Room};
use sharing::{Share, Waiter};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

/// Each is locked for less than a worker may wait.
const SHARDS: usize = 64;
/// Keys of a node, shared by `tenancy`: some 10 MiB.
const SHARES_MAX: usize = 1 << 16;

static KEYS: LazyLock<Arc<Room>> = LazyLock::new(|| Room::new(SHARES_MAX));

/// How many keys a tenant may have here.
pub fn part_of(tenant: &str) -> Arc<Part> {
    KEYS.of_tenant(tenant)
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// The node's table.
pub fn table() -> &'static Table {
    &TABLE
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Allowed,
    /// Nanoseconds until one more may be allowed.
    Limited(u64),
    /// Not known yet: `Table::wait`.
    Unknown,
    /// No tokens can be had, and the zone is closed then.
    Closed,
}

/// What a waiting request hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Allowed,
    Limited(u64),
    /// No tokens can be had: `Table::count_alone`.
    Away,
}

/// What happened since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub allowed: u64,
    pub limited: u64,
    pub waited: u64,
}

#[derive(Default)]
struct Shard {
    shares: HashMap<Digest, Share, ahash::RandomState>,
    tally: Tally,
}

/// To the thread that asks.
enum Notice {
    /// This key needs tokens.
    Need(Digest),
    /// A request was answered, or the connection is another one.
    Answered,
}

pub struct Table {
    shards: Box<[Mutex<Shard>]>,
    up: AtomicBool,
    nodes: AtomicU32,
    /// Requests that came while no tokens could be had.
    alone: AtomicU64,
    notices: Sender<Notice>,
    noticed: Mutex<Option<Receiver<Notice>>>,
}

impl Table {
    fn new() -> Self {
        let (notices, noticed) = channel();
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            up: AtomicBool::new(false),
            nodes: AtomicU32::new(0),
            alone: AtomicU64::new(0),
            notices,
            noticed: Mutex::new(Some(noticed)),
        }
    }

    /// Takes a token of `key` for a request that begins now.
    pub fn take(&self, limit: &RateLimit, key: &[u8], now_ns: u64) -> Taken {
        if !self.up.load(Ordering::Relaxed) {
            return self.count_alone(limit, key, now_ns);
        }
        let bucket = find_bucket(limit, key);
        let shard = &mut *self.shard(&bucket);
        let taken = match shard.find(bucket, limit) {
            None => Taken::Limited(limit.rate.interval_ns),
            Some(share) => share.take(now_ns),
        };
        shard.tally.count(taken);
        let needs = taken == Taken::Allowed && shard.shares.get_mut(&bucket).is_some_and(Share::runs_out);
        if needs {
            self.ask(shard, bucket, now_ns);
        }
        taken
    }

    /// The request waits for a token; None: `reply` hears of it as `WorkerMessage::TokenTaken` with `ticket`.
    pub fn wait(
        &self,
        limit: &RateLimit,
        key: &[u8],
        now_ns: u64,
        (reply, ticket): (&WorkerSender, u64),
    ) -> Option<Told> {
        let bucket = find_bucket(limit, key);
        let shard = &mut *self.shard(&bucket);
        if !self.up.load(Ordering::Relaxed) {
            return Some(Told::Away);
        }
        let Some(share) = shard.find(bucket, limit) else {
            return Some(Told::Limited(limit.rate.interval_ns));
        };
        let told = match share.take(now_ns) {
            Taken::Allowed => Told::Allowed,
            Taken::Limited(wait_ns) => Told::Limited(wait_ns),
            Taken::Unknown | Taken::Closed => {
                if !share.wait(Waiter { reply: reply.clone(), ticket }) {
                    shard.tally.limited += 1;
                    return Some(Told::Limited(limit.rate.interval_ns));
                }
                shard.tally.waited += 1;
                self.ask(shard, bucket, now_ns);
                return None;
            }
        };
        shard.tally.count(told.into());
        Some(told)
    }

    /// What a request hears while no tokens can be had.
    pub fn count_alone(&self, limit: &RateLimit, key: &[u8], now_ns: u64) -> Taken {
        self.alone.fetch_add(1, Ordering::Relaxed);
        match limit.store_down {
            StoreDown::Open => Taken::Allowed,
            StoreDown::Closed => Taken::Closed,
            StoreDown::Local => {
                let nodes = self.nodes.load(Ordering::Relaxed).max(1);
                match limit.table.count(&limit.zone, key, limit.rate.part(nodes), now_ns) {
                    Verdict::Allowed => Taken::Allowed,
                    Verdict::Limited(wait_ns) => Taken::Limited(wait_ns),
                }
            }
        }
    }

    fn ask(&self, shard: &mut Shard, bucket: Digest, now_ns: u64) {
        if shard.shares.get_mut(&bucket).is_some_and(|share| share.begin_asking(now_ns)) {
            // The other end lives as long as the process.
            let _ = self.notices.send(Notice::Need(bucket));
        }
    }

    fn shard(&self, bucket: &Digest) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[usize::from(bucket[0]) % SHARDS];
        lock(shard)
    }

    /// What to ask for; None: nothing any more.
    fn find_need(&self, bucket: &Digest) -> Option<TokenNeed> {
        self.shard(bucket).shares.get_mut(bucket).and_then(|share| share.find_need(bucket))
    }

    /// Tokens came. Those who wait hear of it.
    fn grant(&self, bucket: &Digest, granted: u32, wait_ns: u64, now_ns: u64) {
        let mut told = Vec::new();
        {
            let shard = &mut *self.shard(bucket);
            let Some(share) = shard.shares.get_mut(bucket) else { return };
            share.grant(granted, wait_ns, now_ns, &mut told);
            let more = share.has_waiters();
            told.iter().for_each(|(_, told)| shard.tally.count((*told).into()));
            if more {
                self.ask(shard, *bucket, now_ns);
            }
        }
        tell(told);
    }

    /// No tokens will come for what was asked for.
    fn refuse(&self, bucket: &Digest) {
        let mut told = Vec::new();
        if let Some(share) = self.shard(bucket).shares.get_mut(bucket) {
            share.refuse(&mut told);
        }
        tell(told);
    }

    /// Whether tokens can be had, and how many nodes share them. True: that is new.
    fn set_state(&self, up: bool, nodes: u32) -> bool {
        if nodes > 0 {
            self.nodes.store(nodes, Ordering::Relaxed);
        }
        let new = self.up.swap(up, Ordering::Relaxed) != up;
        if !up {
            for shard in &self.shards {
                let mut told = Vec::new();
                let mut shard = lock(shard);
                shard.shares.values_mut().for_each(|share| share.refuse(&mut told));
                drop(shard);
                tell(told);
            }
        }
        new
    }

    /// The end of a period: returns what goes back to the store; keys that rest are forgotten. True: a lease is overdue.
    fn sweep(&self, now_ns: u64, returned: &mut Vec<TokenNeed>) -> bool {
        let (up, mut overdue) = (self.up.load(Ordering::Relaxed), false);
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.shares.retain(|bucket, share| {
                overdue |= share.is_overdue(now_ns);
                returned.extend(share.end_period(bucket, up));
                !share.rests(now_ns)
            });
        }
        overdue
    }

    fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    fn keys(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).shares.len()).sum()
    }

    fn take_tally(&self) -> (Tally, u64) {
        let mut sum = Tally::default();
        for shard in &self.shards {
            let tally = std::mem::take(&mut lock(shard).tally);
            sum.allowed += tally.allowed;
            sum.limited += tally.limited;
            sum.waited += tally.waited;
        }
        (sum, self.alone.swap(0, Ordering::Relaxed))
    }
}

impl Shard {
    /// The key's share; None where there is no room for it.
    fn find(&mut self, bucket: Digest, limit: &RateLimit) -> Option<&mut Share> {
        let share = match self.shares.entry(bucket) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let mut held = limit.keys.piece();
                if !held.grow(1) {
                    return None;
                }
                place.insert(Share::new(held))
            }
        };
        share.set_rate(&limit.zone, limit.rate);
        Some(share)
    }
}

impl Tally {
    fn count(&mut self, taken: Taken) {
        self.allowed += u64::from(taken == Taken::Allowed);
        self.limited += u64::from(matches!(taken, Taken::Limited(_)));
    }
}

impl From<Told> for Taken {
    fn from(told: Told) -> Self {
        match told {
            Told::Allowed => Taken::Allowed,
            Told::Limited(wait_ns) => Taken::Limited(wait_ns),
            Told::Away => Taken::Unknown,
        }
    }
}

/// The same on every node, and bounded whatever the key holds.
fn find_bucket(limit: &RateLimit, key: &[u8]) -> Digest {
    digest(&[&limit.zone, key])
}

/// Outside of every lock: it makes system calls.
fn tell(told: Vec<(Waiter, Told)>) {
    for (waiter, told) in told {
        waiter.reply.send(WorkerMessage::TokenTaken { ticket: waiter.ticket, told });
    }
}

impl Rate {
    /// One node's part where `nodes` share the rate.
    fn part(self, nodes: u32) -> Self {
        Self {
            interval_ns: self.interval_ns.saturating_mul(u64::from(nodes)),
            burst: (self.burst / nodes).max(1),
        }
    }
}

#[cfg(test)]
mod tests;
