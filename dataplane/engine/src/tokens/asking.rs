//! The engine's end of the agent's token socket: one thread asks for tokens, one takes the answers.
//!
//! Two requests are under way at most: what is needed meanwhile goes together into the next one. A lease that takes too
//! long, or nonsense, ends the connection; a new one begins with the state of the store.

use super::{Notice, Table};
use crate::access_log::log;
use crate::digests::Digest;
use crate::frames::{self, FrameReader};
use crate::locks::lock;
use crate::metrics::{Counter, WorkerMetrics};
use crate::protocol::{TokenNeed, TokenRequest, frame};
use crate::ring::addresses::read_clock;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const REQUESTS_MAX: usize = 2;
/// Of one request: what the store does at once.
const NEEDS_MAX: usize = 256;
const RECONNECT_DELAY: Duration = Duration::from_millis(200);
/// An agent that takes nothing for so long has lost its connection.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
const PERIOD: Duration = Duration::from_millis(super::sharing::PERIOD_MS);
/// Between two looks where there are no keys.
const IDLE_PERIOD: Duration = Duration::from_secs(1);

/// The connection, and what was asked for on it.
#[derive(Default)]
struct Link {
    stream: Option<UnixStream>,
    /// By sequence: the keys in their order; None is one that only gave back.
    requests: HashMap<u64, Vec<Option<Digest>>>,
}

type SharedLink = Arc<Mutex<Link>>;

/// Starts both threads, before the process gives up its rights. `socket`: the agent's; without, no tokens can be had.
pub fn start(table: &'static Table, socket: Option<PathBuf>, metrics: WorkerMetrics) -> io::Result<()> {
    let taken = lock(&table.noticed).take();
    let (Some(noticed), link) = (taken, SharedLink::default()) else {
        return Err(io::Error::other("tokens are asked for already"));
    };
    if let Some(socket) = socket {
        let link = link.clone();
        let take = move || {
            loop {
                let result = follow(table, &socket, &link);
                disconnect(table, &link, result.err());
                thread::sleep(RECONNECT_DELAY);
            }
        };
        thread::Builder::new().name("tokens-taking".into()).spawn(take)?;
    }
    let ask = move || Asking { table, link, metrics, sequence: 0, needs: VecDeque::new() }.run(&noticed);
    thread::Builder::new().name("tokens-asking".into()).spawn(ask)?;
    Ok(())
}

/// Takes what the agent sends until the connection ends.
fn follow(table: &Table, socket: &Path, link: &SharedLink) -> io::Result<()> {
    let stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(SEND_TIMEOUT))?;
    lock(link).stream = Some(stream.try_clone()?);
    let mut reader = FrameReader::default();
    while let Some(frame) = reader.wait(stream.as_fd())? {
        match frame {
            frame::Frame::Store(store) => {
                if table.set_state(store.up, store.nodes) {
                    let state = if store.up { "is there" } else { "is away: zones do what store_down says" };
                    log("tokens", &format!("the store of shared rate limits {state}"));
                }
            }
            frame::Frame::Grant(grant) => {
                let asked = lock(link).requests.remove(&grant.sequence);
                let Some(buckets) = asked else { return Err(io::Error::other("a grant of nothing")) };
                let now_ns = read_clock().monotonic_ns;
                let whole = grant.granted.len() == buckets.len() && grant.wait_us.len() == buckets.len();
                for (index, bucket) in buckets.iter().enumerate() {
                    match bucket {
                        None => {}
                        Some(bucket) if grant.unavailable || !whole => table.refuse(bucket),
                        Some(bucket) => {
                            let wait_ns = grant.wait_us[index].saturating_mul(1000);
                            table.grant(bucket, grant.granted[index], wait_ns, now_ns);
                        }
                    }
                }
                if !grant.unavailable && !whole {
                    return Err(io::Error::other("a grant of another size"));
                }
                let _ = table.notices.send(Notice::Answered);
            }
            other => return Err(io::Error::other(format!("unexpected frame {other:?}"))),
        }
    }
    Ok(())
}

/// Nothing comes any more for what was asked for.
fn disconnect(table: &Table, link: &SharedLink, error: Option<io::Error>) {
    let Link { requests, .. } = std::mem::take(&mut *lock(link));
    if table.set_state(false, 0) {
        let reason = error.map_or_else(|| "the agent is gone".into(), |error| error.to_string());
        log("tokens", &format!("no tokens of shared rate limits: {reason}"));
    }
    requests.values().flatten().flatten().for_each(|bucket| table.refuse(bucket));
    let _ = table.notices.send(Notice::Answered);
}

struct Asking {
    table: &'static Table,
    link: SharedLink,
    metrics: WorkerMetrics,
    sequence: u64,
    needs: VecDeque<Digest>,
}

impl Asking {
    fn run(&mut self, noticed: &Receiver<Notice>) {
        let mut period_end = Instant::now() + PERIOD;
        loop {
            let left = period_end.saturating_duration_since(Instant::now());
            match noticed.recv_timeout(left) {
                Ok(notice) => self.note(notice),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Ok(notice) = noticed.try_recv() {
                self.note(notice);
            }
            if Instant::now() >= period_end {
                let keys = self.end_period();
                period_end = Instant::now() + if keys > 0 { PERIOD } else { IDLE_PERIOD };
            } else if !self.needs.is_empty() {
                // The first key after a rest begins with short periods again.
                period_end = period_end.min(Instant::now() + PERIOD);
            }
            while !self.needs.is_empty() && lock(&self.link).requests.len() < REQUESTS_MAX {
                self.ask();
            }
        }
    }

    fn note(&mut self, notice: Notice) {
        if let Notice::Need(bucket) = notice {
            self.needs.push_back(bucket);
        }
    }

    fn ask(&mut self) {
        let (mut buckets, mut needs) = (Vec::new(), Vec::new());
        while needs.len() < NEEDS_MAX
            && let Some(bucket) = self.needs.pop_front()
        {
            if let Some(need) = self.table.find_need(&bucket) {
                buckets.push(Some(bucket));
                needs.push(need);
            }
        }
        if !needs.is_empty() {
            self.send(buckets, needs);
        }
    }

    fn send(&mut self, buckets: Vec<Option<Digest>>, needs: Vec<TokenNeed>) {
        self.sequence += 1;
        let mut link = lock(&self.link);
        let Link { stream: Some(stream), requests } = &mut *link else {
            drop(link);
            return buckets.iter().flatten().for_each(|bucket| self.table.refuse(bucket));
        };
        // Before it is sent: the answer may be faster than what follows here.
        requests.insert(self.sequence, buckets);
        let request = frame::Frame::Request(TokenRequest { sequence: self.sequence, needs });
        if frames::send(stream.as_fd(), request, &[]).is_err() {
            // The other thread hears of it and refuses what was asked for.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Returns how many keys there are.
    fn end_period(&mut self) -> usize {
        let mut returned = Vec::new();
        if self.table.sweep(read_clock().monotonic_ns, &mut returned) {
            log("tokens", "the agent does not answer");
            if let Some(stream) = &lock(&self.link).stream {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        while !returned.is_empty() {
            let rest = returned.split_off(returned.len().min(NEEDS_MAX));
            self.send(vec![None; returned.len()], returned);
            returned = rest;
        }
        let (tally, alone) = self.table.take_tally();
        self.metrics.add(Counter::TokensAllowed, tally.allowed);
        self.metrics.add(Counter::TokensLimited, tally.limited);
        self.metrics.add(Counter::TokensWaited, tally.waited);
        self.metrics.add(Counter::TokensAway, alone);
        self.metrics.set(Counter::TokenStoreUp, u64::from(self.table.is_up()));
        let keys = self.table.keys();
        self.metrics.set(Counter::TokenKeys, keys as u64);
        keys
    }
}
