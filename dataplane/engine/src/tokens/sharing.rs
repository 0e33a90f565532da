//! A node's share of one bucket: tokens in hand, who waits for some, how many it will need.
//!
//! A period is 50 ms. What was spent in the last one is asked for ahead, at most a twentieth of the burst; what is in hand
//! beyond two periods' worth goes back. So what nodes hold and do not spend stays a small part of the rate.

use super::{Taken, Told};
use crate::control::WorkerSender;
use crate::digests::Digest;
use crate::protocol::TokenNeed;
use crate::rates::Rate;
use crate::tenancy::Piece;
use std::sync::Arc;

pub const PERIOD_MS: u64 = 50;
/// Of one key; more are refused.
pub const WAITERS_MAX: usize = 4096;
/// What is asked for ahead is at most this part of the burst.
const AHEAD_PART: u32 = 20;
/// A bucket that is empty is asked again after this part of the time that it takes to fill, within bounds: what comes
/// into it meanwhile is not lost.
const ASK_AGAIN_PART: u64 = 64;
const ASK_AGAIN_NS_MIN: u64 = 5_000_000;
const ASK_AGAIN_NS_MAX: u64 = 100_000_000;
/// A lease that takes longer is none; requests wait for so long at most, and for a period's end.
const LEASE_NS_MAX: u64 = 300_000_000;
/// A share that nobody used for so long is forgotten.
const REST_NS: u64 = 1_000_000_000;

pub struct Waiter {
    pub reply: WorkerSender,
    pub ticket: u64,
}

pub struct Share {
    /// Its place among the tenant's keys.
    _held: Piece,
    zone: Arc<str>,
    rate: Option<Rate>,
    tokens: u32,
    /// Since the period began, and in the one before.
    spent: u32,
    spent_before: u32,
    used_ns: u64,
    asked_ns: Option<u64>,
    refused_until_ns: u64,
    waiters: Vec<Waiter>,
}

impl Share {
    pub fn new(held: Piece) -> Self {
        Self {
            _held: held,
            zone: Arc::default(),
            rate: None,
            tokens: 0,
            spent: 0,
            spent_before: 0,
            used_ns: 0,
            asked_ns: None,
            refused_until_ns: 0,
            waiters: Vec::new(),
        }
    }

    /// A reload may have changed it.
    pub fn set_rate(&mut self, zone: &[u8], rate: Rate) {
        if self.rate != Some(rate) {
            self.rate = Some(rate);
            self.zone = String::from_utf8_lossy(zone).into();
        }
    }

    pub fn take(&mut self, now_ns: u64) -> Taken {
        self.used_ns = self.used_ns.max(now_ns);
        if self.tokens > 0 {
            self.tokens -= 1;
            self.spent = self.spent.saturating_add(1);
            return Taken::Allowed;
        }
        match self.refused_until_ns.checked_sub(now_ns) {
            None | Some(0) => Taken::Unknown,
            Some(wait_ns) => Taken::Limited(wait_ns),
        }
    }

    /// False: too many do.
    pub fn wait(&mut self, waiter: Waiter) -> bool {
        let room = self.waiters.len() < WAITERS_MAX;
        if room {
            self.waiters.push(waiter);
        }
        room
    }

    pub fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// So many will be spent soon.
    fn ahead(&self) -> u32 {
        let most = self.rate.map_or(0, |rate| rate.burst / AHEAD_PART);
        self.spent_before.max(self.spent).min(most)
    }

    /// More tokens should be on their way.
    pub fn runs_out(&mut self) -> bool {
        self.asked_ns.is_none() && self.tokens < self.ahead() / 2
    }

    /// False: it asks already.
    pub fn begin_asking(&mut self, now_ns: u64) -> bool {
        let begins = self.asked_ns.is_none();
        if begins {
            self.asked_ns = Some(now_ns);
        }
        begins
    }

    /// None: nothing is wanted any more.
    pub fn find_need(&mut self, bucket: &Digest) -> Option<TokenNeed> {
        let waiting = u32::try_from(self.waiters.len()).unwrap_or(u32::MAX);
        let wanted = waiting.saturating_add(self.ahead()).saturating_sub(self.tokens);
        if wanted == 0 {
            self.asked_ns = None;
            return None;
        }
        self.need(bucket, wanted, 0)
    }

    fn need(&self, bucket: &Digest, wanted: u32, returned: u32) -> Option<TokenNeed> {
        let rate = self.rate?;
        Some(TokenNeed {
            bucket: bucket.to_vec().into(),
            zone: self.zone.to_string(),
            interval_ns: rate.interval_ns,
            burst: rate.burst,
            wanted,
            returned,
        })
    }

    /// The store's answer: fewer than wanted where `wait_ns` is not 0. Those who waited longest are served first.
    pub fn grant(&mut self, granted: u32, wait_ns: u64, now_ns: u64, told: &mut Vec<(Waiter, Told)>) {
        self.asked_ns = None;
        self.tokens = self.tokens.saturating_add(granted);
        let served = self.waiters.len().min(self.tokens as usize);
        self.tokens -= served as u32;
        self.spent = self.spent.saturating_add(served as u32);
        told.extend(self.waiters.drain(..served).map(|waiter| (waiter, Told::Allowed)));
        if wait_ns > 0 {
            self.refused_until_ns = now_ns + wait_ns.max(self.find_pause_ns());
            told.extend(self.waiters.drain(..).map(|waiter| (waiter, Told::Limited(wait_ns))));
        }
    }

    fn find_pause_ns(&self) -> u64 {
        let full_ns = self.rate.map_or(0, |rate| rate.interval_ns.saturating_mul(u64::from(rate.burst)));
        (full_ns / ASK_AGAIN_PART).clamp(ASK_AGAIN_NS_MIN, ASK_AGAIN_NS_MAX)
    }

    pub fn refuse(&mut self, told: &mut Vec<(Waiter, Told)>) {
        self.asked_ns = None;
        told.extend(self.waiters.drain(..).map(|waiter| (waiter, Told::Away)));
    }

    pub fn is_overdue(&self, now_ns: u64) -> bool {
        self.asked_ns.is_some_and(|asked_ns| now_ns.saturating_sub(asked_ns) > LEASE_NS_MAX)
    }

    /// What goes back to the store; nothing while it is away.
    pub fn end_period(&mut self, bucket: &Digest, up: bool) -> Option<TokenNeed> {
        self.spent_before = std::mem::take(&mut self.spent);
        let excess = self.tokens.saturating_sub(self.spent_before.saturating_mul(2));
        if excess == 0 || !up {
            return None;
        }
        self.tokens -= excess;
        self.need(bucket, 0, excess)
    }

    pub fn rests(&self, now_ns: u64) -> bool {
        self.tokens == 0
            && self.waiters.is_empty()
            && self.asked_ns.is_none()
            && self.refused_until_ns <= now_ns
            && now_ns.saturating_sub(self.used_ns) > REST_NS
    }
}
