//! `load`: one measurement. Warm-up, then a window in which all is counted, then the end of what is under way.
//! Prints `measuring` and `measured` at the window's ends (whoever called samples the proxy's CPU there) and a result.
//!
//! Open loop (`--rate`): requests are due at fixed times whatever the proxy does, and latency counts from the due
//! time, so that a stall is charged to every request it delayed. Closed loop: as fast as the proxy answers.

use crate::report::{self, Event, LoadResult};
use crate::slots::{Loop, Reuse, Slots};
use crate::target::{Target, TargetOptions};
use clap::Args;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::collections::VecDeque;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    target: TargetOptions,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// A new connection, with its handshake, for every request
    #[arg(long)]
    handshake_per_request: bool,
    /// Requests a second in open loop; closed loop without it
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long, default_value_t = 0.7)]
    warmup_s: f64,
    /// Length of the measured window; without it, until stdin is closed
    #[arg(long)]
    seconds: Option<f64>,
    /// A request or a handshake without an answer for this long has failed
    #[arg(long, default_value_t = 10.0)]
    timeout_s: f64,
}

const EVENTS_MAX: usize = 1024;
const TIMER: Token = Token(usize::MAX);
/// How often time-outs and the window's end are looked at, at least.
const TICK: Duration = Duration::from_millis(10);
/// The pacing timer's shortest period; at higher rates several requests are due at a time.
const PACE_MIN: Duration = Duration::from_micros(20);
/// Connections that are not up after this long do not hold the measurement back: they are counted as failures.
const OPENING_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Warming,
    Measuring,
    Draining,
}

pub fn run(options: &Options) -> std::io::Result<()> {
    // Timers to the microsecond: the default slack of 50 us would be in every open-loop latency.
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1))?;
    let poll = Poll::new()?;
    let reuse = if options.handshake_per_request {
        Reuse::HandshakePerRequest
    } else {
        Reuse::KeepAlive
    };
    let mode = if options.rate.is_some() {
        Loop::Open
    } else {
        Loop::Closed
    };
    let timeout = Duration::from_secs_f64(options.timeout_s);
    let target = Target::new(&options.target)?;
    let slots = Slots::new(
        poll.registry().try_clone()?,
        target,
        options.connections,
        reuse,
        mode,
        timeout,
    );
    let arrivals = options.rate.map(Arrivals::new).transpose()?;
    Load {
        options,
        slots,
        arrivals,
        phase: Phase::Opening,
        phase_at: Instant::now(),
        window: Duration::ZERO,
    }
    .run(poll)
}

struct Load<'a> {
    options: &'a Options,
    slots: Slots,
    arrivals: Option<Arrivals>,
    phase: Phase,
    phase_at: Instant,
    /// The measured window's true length, known when it is over.
    window: Duration,
}

impl Load<'_> {
    fn run(mut self, mut poll: Poll) -> std::io::Result<()> {
        if let Some(arrivals) = &self.arrivals {
            let timer = arrivals.timer.as_raw_fd();
            poll.registry()
                .register(&mut SourceFd(&timer), TIMER, Interest::READABLE)?;
        }
        let stop = if self.options.seconds.is_none() {
            stdin_closed()
        } else {
            Arc::default()
        };
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut checked_at = Instant::now();
        self.slots.open_due(checked_at);
        loop {
            match poll.poll(&mut events, Some(TICK)) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match (event.token(), &self.arrivals) {
                    (TIMER, Some(arrivals)) => arrivals.rearm(),
                    (Token(id), _) => self
                        .slots
                        .advance(id, event.is_read_closed() || event.is_error()),
                }
            }
            let now = Instant::now();
            self.give_arrivals(now);
            if now - checked_at >= TICK {
                checked_at = now;
                self.slots.expire(now);
                self.slots.open_due(now);
            }
            if self.turn_phase(now, stop.load(Ordering::Relaxed))? {
                break;
            }
        }
        report::print(&Event::Result(Box::new(LoadResult::new(
            self.window.as_secs_f64(),
            &self.slots.counts,
            &self.slots.latencies,
        ))))
    }

    fn give_arrivals(&mut self, now: Instant) {
        let Some(arrivals) = &mut self.arrivals else {
            return;
        };
        if matches!(self.phase, Phase::Warming | Phase::Measuring) {
            arrivals.come(now);
        }
        while self.slots.has_idle() {
            let Some(due) = arrivals.backlog.pop_front() else {
                break;
            };
            self.slots.give(due);
        }
        self.slots.counts.backlog_max = self.slots.counts.backlog_max.max(arrivals.backlog.len());
    }

    /// Goes to the next phase when it is time; true when all is done.
    fn turn_phase(&mut self, now: Instant, stop: bool) -> std::io::Result<bool> {
        let elapsed = now - self.phase_at;
        match self.phase {
            Phase::Opening
                if self.slots.all_up()
                    || self.options.handshake_per_request
                    || elapsed >= OPENING_MAX =>
            {
                if let Some(arrivals) = &mut self.arrivals {
                    arrivals.begin(Instant::now())?;
                }
                self.enter(Phase::Warming, now);
            }
            Phase::Warming if elapsed.as_secs_f64() >= self.options.warmup_s => {
                self.slots.begin_counting();
                report::print(&Event::Measuring)?;
                self.enter(Phase::Measuring, Instant::now());
            }
            Phase::Measuring
                if self
                    .options
                    .seconds
                    .map_or(stop, |seconds| elapsed.as_secs_f64() >= seconds) =>
            {
                report::print(&Event::Measured)?;
                self.window = elapsed;
                if self.arrivals.is_none() {
                    // Closed loop: what is still under way belongs to no window.
                    return Ok(true);
                }
                self.slots.draining = true;
                self.enter(Phase::Draining, now);
            }
            Phase::Draining => {
                let waiting = self
                    .arrivals
                    .as_ref()
                    .map_or(0, |arrivals| arrivals.backlog.len());
                let late = elapsed.as_secs_f64() >= self.options.timeout_s;
                if late {
                    let lost = waiting as u64;
                    *self
                        .slots
                        .counts
                        .failures
                        .entry(report::Failure::Timeout)
                        .or_insert(0) += lost;
                }
                return Ok(late || (waiting == 0 && self.slots.under_way() == 0));
            }
            Phase::Opening | Phase::Warming | Phase::Measuring => {}
        }
        Ok(false)
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.phase_at = now;
    }
}

/// The open loop's requests: due at fixed steps, waiting here while no connection is free.
struct Arrivals {
    period: Duration,
    next: Instant,
    backlog: VecDeque<Instant>,
    /// Wakes the loop just after each due time.
    timer: OwnedFd,
}

impl Arrivals {
    fn new(rate: f64) -> std::io::Result<Self> {
        Ok(Self {
            period: Duration::from_secs_f64(1.0 / rate),
            next: Instant::now(),
            backlog: VecDeque::new(),
            timer: rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?,
        })
    }

    /// The first request is due one period after `now`. The timer is set after `now` was taken, so that it never
    /// fires before a request is due and leaves it to the next round.
    fn begin(&mut self, now: Instant) -> std::io::Result<()> {
        self.next = now + self.period;
        let period = self.period.max(PACE_MIN);
        let step = Timespec {
            tv_sec: period.as_secs() as i64,
            tv_nsec: i64::from(period.subsec_nanos()),
        };
        let times = Itimerspec {
            it_interval: step,
            it_value: step,
        };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &times)?;
        Ok(())
    }

    /// Reading a timer starts its next period; the clock tells what is due.
    fn rearm(&self) {
        // An error means that the timer has not fired again: nothing to do.
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
    }

    fn come(&mut self, now: Instant) {
        while self.next <= now {
            self.backlog.push_back(self.next);
            self.next += self.period;
        }
    }
}

/// A flag that becomes true when stdin is closed: how a caller ends a measurement of unknown length.
pub fn stdin_closed() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = flag.clone();
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        // An unreadable stdin ends the measurement too.
        let _ = std::io::stdin().lock().read_to_end(&mut rest);
        raised.store(true, Ordering::Relaxed);
    });
    flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_keep_their_pace_after_a_stall() {
        let mut arrivals = Arrivals::new(1000.0).expect("a timer");
        let start = Instant::now();
        arrivals.begin(start).expect("the timer can be set");
        arrivals.come(start + Duration::from_millis(10));
        let offsets_ms = |arrivals: &Arrivals| -> Vec<u128> {
            let due = arrivals.backlog.iter();
            due.map(|due| (*due - start).as_millis()).collect()
        };
        assert_eq!(offsets_ms(&arrivals), (1..=10).collect::<Vec<u128>>());
        arrivals.come(start + Duration::from_millis(10));
        assert_eq!(arrivals.backlog.len(), 10);
    }
}
