//! What all simulations have in common: seeds, the stage on which a run plays, its loop, and what holds after each run.
//!
//! `ZEROSERVE_SIM_SEED=n` replays the seed of a failure alone; `ZEROSERVE_SIM_SEEDS=n` plays so many from a random one on
//! (`make simulate`). Rule: time goes on only where neither the test nor the worker has anything to do.

use super::fixture;
use crate::control::{Acknowledgement, WorkerMessage, WorkerSender};
use crate::limits::{BUFFERED_INPUT_BYTES_MAX, PENDING_OUTPUT_BYTES_HIGH, RECEIVE_BUFFER_BYTES};
use crate::ring::sim::{Random, Sim};
use crate::serve::IoChoice;
use crate::snapshot::Snapshot;
use crate::worker::Worker;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Without optimisation a seed takes twenty times as long.
const SEEDS: u64 = if cfg!(debug_assertions) { 300 } else { 4000 };
/// Far above what any seed needs; reaching it is a livelock.
const TURNS_MAX: usize = 200_000;

/// Endpoints of the simulations, by number.
pub fn endpoint(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 80))
}

/// A worker on simulated sockets, and what decides about both.
pub struct Stage {
    pub sim: Sim,
    pub worker: Worker,
    pub random: Random,
    /// Three of four runs: peers misbehave.
    pub faulty: bool,
    sender: WorkerSender,
    /// Swapped in some time.
    next: Option<Arc<Snapshot>>,
}

impl Stage {
    /// `salt` keeps simulations of one seed apart.
    pub fn new(seed: u64, salt: u64, [snapshot, next]: [Arc<Snapshot>; 2]) -> Stage {
        let (mut random, sim) = (Random(seed ^ salt), Sim::new(seed));
        let (context, sender, _reports) = fixture::context(IoChoice::Epoll, snapshot);
        let worker = Worker::new(context, &sim).unwrap();
        let next = random.chance(50).then_some(next);
        Stage { sim, worker, random, faulty: !seed.is_multiple_of(4), sender, next }
    }

    /// In so many of a hundred faulty runs requests find no socket to their endpoint, clients none to us.
    pub fn run_out_of_sockets(&mut self, percent: u64) {
        if self.faulty && self.random.chance(percent) {
            self.sim.sockets_max = 2 + self.random.below(6) as u32;
        }
    }

    pub fn tell(&mut self, message: WorkerMessage) {
        self.sender.send(message);
        self.sim.woken = true;
    }

    /// The snapshot will be swapped, or was not yet.
    pub fn awaits_swap(&self) -> bool {
        self.next.is_some()
    }

    fn swap(&mut self) {
        if self.random.chance(2)
            && let Some(snapshot) = self.next.take()
        {
            self.tell(WorkerMessage::Snapshot(snapshot, Acknowledgement::ignored()));
        }
    }

    fn check(&self) {
        assert_eq!(self.sim.open_links(), 0, "sockets left open");
        assert!(self.worker.pool.is_empty(), "pooled connections outlive the drain");
        // What was buffered for the client and one receive buffer may follow after the mark is passed.
        let bound = PENDING_OUTPUT_BYTES_HIGH + BUFFERED_INPUT_BYTES_MAX * 2 + RECEIVE_BUFFER_BYTES * 4;
        assert!(self.sim.pending_peak <= bound, "{} bytes waited for one socket", self.sim.pending_peak);
    }
}

/// One seed's play: the remote ends.
pub trait Play {
    fn stage(&mut self) -> &mut Stage;
    /// What clients do now, and then backends. True: they have more to do before time goes on.
    fn play_clients(&mut self) -> bool;
    fn play_backends(&mut self) -> bool;
    /// Nobody waits for anything: the worker may drain.
    fn is_done(&self) -> bool;
    /// Until the remote ends do something that time alone brings.
    fn wait_ms(&mut self) -> Option<u64> {
        None
    }
    /// The number of whole answers.
    fn check(self) -> usize;
}

/// Plays all seeds; the one that fails is printed.
pub fn play_seeds<P: Play>(begin: impl Fn(u64) -> P) {
    let mut whole = 0;
    for seed in choose_seeds() {
        match catch_unwind(AssertUnwindSafe(|| play(begin(seed)))) {
            Ok(answers) => whole += answers,
            Err(panic) => {
                eprintln!("failing seed: ZEROSERVE_SIM_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(whole > 0, "no answer was checked: the simulation tests nothing");
}

fn choose_seeds() -> std::ops::Range<u64> {
    let read = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = read("ZEROSERVE_SIM_SEED") {
        return seed..seed + 1;
    }
    match read("ZEROSERVE_SIM_SEEDS") {
        None => 0..SEEDS,
        Some(count) => {
            let first = read("ZEROSERVE_SIM_FIRST").unwrap_or_else(|| crate::exchange::random() >> 16);
            eprintln!("seeds {first} to {}", first + count - 1);
            first..first + count
        }
    }
}

/// Plays to the end and checks; returns the number of whole answers.
fn play(mut run: impl Play) -> usize {
    let mut draining = false;
    for turn in 0.. {
        assert!(turn < TURNS_MAX, "livelock");
        run.stage().swap();
        let acted = run.play_clients() | run.play_backends();
        let Stage { sim, worker, .. } = run.stage();
        let (happened, wait_ms) = sim.turn(worker);
        if sim.stopped {
            break;
        }
        if acted || happened {
            continue;
        }
        if !draining && run.is_done() {
            draining = true;
            run.stage().tell(WorkerMessage::Drain { timeout_ms: 120_000, exit: true });
            continue;
        }
        let due_ms = [wait_ms, run.wait_ms()].into_iter().flatten().min();
        let Some(due_ms) = due_ms else { panic!("nothing is due, {}", run.stage().sim.describe()) };
        run.stage().sim.advance_ms(due_ms.max(1));
    }
    run.stage().check();
    run.check()
}
