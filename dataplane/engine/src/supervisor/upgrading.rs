//! The engine is replaced by what its path names now: the next one gets the listening sockets and all that was committed,
//! and only once it serves is the former one told to finish what runs. Commits wait meanwhile.
//!
//! Rule: the former engine serves on until the next one does, whatever becomes of the next one.

use super::engine::Engine;
use super::{EXIT_GRACE, Supervisor};
use crate::access_log::log;
use crate::metrics::LOTS;
use crate::program;
use crate::protocol::{self, frame};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// A drain's own deadline is the settings'; an engine that is still there after this hangs.
const LEAVING_MAX: Duration = Duration::from_secs(600);
/// An engine that was fed everything and does not serve it after this hangs.
const TAKING_OVER_MAX: Duration = Duration::from_secs(120);

#[derive(Default)]
pub(super) struct Upgrades {
    /// Asked for and not begun.
    wanted: bool,
    pub(super) next: Option<Engine>,
    overdue_at: Option<Instant>,
    /// Former engines, and when they are killed.
    leaving: Vec<(Engine, Instant)>,
    done: u64,
    failed: u64,
}

impl Upgrades {
    pub fn is_under_way(&self) -> bool {
        self.next.is_some()
    }

    pub fn has_left(&self) -> bool {
        self.leaving.is_empty() && self.next.is_none()
    }

    /// When something has to be done at last.
    pub fn wake_at(&self) -> Option<Instant> {
        self.leaving.iter().map(|(_, at)| *at).chain(self.overdue_at).min()
    }

    pub fn describe(&self, state: &mut protocol::EngineState) {
        (state.upgrades, state.upgrades_failed) = (self.done, self.failed);
        state.leaving = self.leaving.len() as u32;
    }

    /// The engine that serves has gone: who was to replace it takes its place at once.
    pub fn take_next(&mut self) -> Option<Engine> {
        self.overdue_at = None;
        self.next.take()
    }
}

impl Supervisor {
    pub(super) fn ask_for_upgrade(&mut self) {
        self.upgrades.wanted = self.stopping.is_none();
        self.go_on_upgrading();
    }

    /// Starts the next engine when the one that serves has everything and no commit is under way.
    pub(super) fn go_on_upgrading(&mut self) {
        let settled = self.engine.as_ref().is_some_and(|engine| engine.fed) && self.pending.is_none();
        if !self.upgrades.wanted || !settled || self.upgrades.is_under_way() {
            return;
        }
        let Some(lot) = self.free_lot() else { return };
        self.upgrades.wanted = false;
        let started = Engine::start(&self.options, &self.path, lot, self.metrics.as_fd());
        match started {
            Ok(engine) => {
                // An engine that dies while it is fed is seen by `reap_upgrades`.
                let _ = self.feed(&engine);
                self.upgrades.next = Some(engine);
                self.upgrades.overdue_at = Some(Instant::now() + TAKING_OVER_MAX);
            }
            Err(error) => self.upgrade_failed(&error.to_string()),
        }
    }

    /// Blocks of the counters that no engine writes.
    pub(super) fn free_lot(&self) -> Option<usize> {
        let leaving = self.upgrades.leaving.iter().map(|(engine, _)| engine);
        let engines = leaving.chain(&self.engine).chain(&self.upgrades.next);
        let taken: Vec<usize> = engines.map(Engine::lot).collect();
        (0..LOTS).find(|lot| !taken.contains(lot))
    }

    pub(super) fn read_next(&mut self) {
        let Some(next) = &mut self.upgrades.next else { return };
        let frames = match next.read() {
            Ok(frames) => frames,
            Err(error) => return self.give_up_next(&error.to_string()),
        };
        for frame in frames {
            match frame {
                frame::Frame::Hello(hello) if hello.abi == program::abi::ABI_VERSION as u32 => {
                    if let Some(next) = &mut self.upgrades.next {
                        next.hello = Some(hello);
                    }
                }
                frame::Frame::Hello(hello) => {
                    return self.give_up_next(&format!("it has ABI {}", hello.abi));
                }
                frame::Frame::Committed(committed) if committed.sequence == 0 => return self.hand_over(),
                other => return self.give_up_next(&format!("unexpected frame {other:?}")),
            }
        }
    }

    /// The next engine accepts from the same sockets already: no connection waits, whichever is told first.
    fn hand_over(&mut self) {
        let Some(mut next) = self.upgrades.take_next() else { return };
        next.fed = true;
        let Some(former) = self.engine.replace(next) else { return };
        let drain = protocol::Drain { timeout_ms: 0, exit: true };
        if former.send(frame::Frame::Drain(drain)).is_ok() {
            self.upgrades.leaving.push((former, Instant::now() + LEAVING_MAX));
        }
        self.upgrades.done += 1;
        log("supervisor", "the next engine serves; the former one finishes what runs");
        self.tell_state();
        self.send_pending();
        self.go_on_upgrading();
    }

    fn give_up_next(&mut self, reason: &str) {
        if let Some(mut next) = self.upgrades.take_next() {
            let _ = next.kill();
            self.region.reset_gauges(next.counters());
        }
        self.upgrade_failed(reason);
    }

    fn upgrade_failed(&mut self, reason: &str) {
        self.upgrades.failed += 1;
        log("supervisor", &format!("the next engine does not serve ({reason}); the former one goes on"));
        self.tell_state();
        self.send_pending();
    }

    /// What ended or hangs.
    pub(super) fn reap_upgrades(&mut self) -> io::Result<()> {
        if let Some(status) = self.upgrades.next.as_mut().and_then(Engine::ended) {
            self.give_up_next(&status.to_string());
        }
        let now = Instant::now();
        if self.upgrades.overdue_at.is_some_and(|at| at <= now) {
            self.give_up_next("it takes too long");
        }
        let before = self.upgrades.leaving.len();
        let region = &self.region;
        self.upgrades.leaving.retain_mut(|(engine, overdue_at)| {
            if *overdue_at <= now {
                log("supervisor", "a former engine did not leave in time and is killed");
                let _ = engine.kill();
            }
            let ended = engine.ended().is_some();
            if ended {
                region.reset_gauges(engine.counters());
            }
            !ended
        });
        if self.upgrades.leaving.len() < before {
            self.tell_state();
            self.go_on_upgrading();
        }
        Ok(())
    }

    /// All engines leave by then.
    pub(super) fn stop_upgrading(&mut self, deadline: Instant) {
        self.upgrades.wanted = false;
        if let Some(mut next) = self.upgrades.take_next() {
            let _ = next.kill();
        }
        for (_, overdue_at) in &mut self.upgrades.leaving {
            *overdue_at = (*overdue_at).min(deadline + EXIT_GRACE);
        }
    }
}
