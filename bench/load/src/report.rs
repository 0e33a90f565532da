//! What a client role counts, and its one JSON line.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Why a request or a connection failed; the names appear in the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The connection could not be made, or its TLS handshake failed.
    Connect,
    /// The connection ended while an answer was awaited.
    Cut,
    /// The status or the backend's mark was not the expected one.
    Wrong,
    /// Not a well-framed HTTP/1.1 answer.
    Malformed,
    /// No answer in time.
    Timeout,
}

/// Latencies in microseconds; values beyond a minute count as a minute.
pub struct Latencies(Histogram<u64>);

const LATENCY_US_MAX: u64 = 60_000_000;

impl Latencies {
    pub fn new() -> Self {
        // Three significant digits: 0.1 % of the value. The bounds are constants, so this cannot fail.
        Self(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("constant bounds are valid"))
    }

    pub fn add(&mut self, latency: Duration) {
        self.0
            .saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_US_MAX));
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn at(&self, quantile: f64) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile))
    }
}

#[derive(Default)]
pub struct Counts {
    /// Requests given out, right answers among them.
    pub sent: u64,
    pub answered: u64,
    pub failures: BTreeMap<Failure, u64>,
    /// Connections made, and connections that the proxy closed (idle ones and announced closes too).
    pub opened: u64,
    pub closed: u64,
    /// Longest queue of requests that were due and found no free connection.
    pub backlog_max: usize,
}

impl Counts {
    pub fn fail(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_insert(0) += 1;
    }
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Warm-up is over: sample CPU now.
    Measuring,
    /// The measured window is over: sample CPU now.
    Measured,
    Result(Box<LoadResult>),
}

#[derive(Serialize)]
pub struct LoadResult {
    pub seconds: f64,
    pub sent: u64,
    pub answered: u64,
    pub failed: u64,
    pub failures: BTreeMap<Failure, u64>,
    pub opened: u64,
    pub closed: u64,
    pub backlog_max: usize,
    pub p50_us: Option<u64>,
    pub p90_us: Option<u64>,
    pub p99_us: Option<u64>,
    pub p999_us: Option<u64>,
    pub max_us: Option<u64>,
}

impl LoadResult {
    pub fn new(seconds: f64, counts: &Counts, latencies: &Latencies) -> Self {
        Self {
            seconds,
            sent: counts.sent,
            answered: counts.answered,
            failed: counts.failures.values().sum(),
            failures: counts.failures.clone(),
            opened: counts.opened,
            closed: counts.closed,
            backlog_max: counts.backlog_max,
            p50_us: latencies.at(0.5),
            p90_us: latencies.at(0.9),
            p99_us: latencies.at(0.99),
            p999_us: latencies.at(0.999),
            max_us: latencies.at(1.0),
        }
    }
}

/// Prints one line and flushes it: the reader samples CPU when it arrives.
pub fn print(event: &impl Serialize) -> std::io::Result<()> {
    use std::io::Write;
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}
