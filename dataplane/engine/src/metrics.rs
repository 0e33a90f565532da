//! Counters and histograms in the memfd shared with the agent: one writer per block, read at scrape time.
//!
//! The supervisor makes the memfd and tells its layout. Engines that run at a time have a lot of blocks each: one for every
//! worker, the last one is control's.

use crate::protocol::{self, MetricKind};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($variant:ident $kind:ident $name:literal [$($label:literal = $value:literal)?] $help:literal;)*) => {
        /// What is counted. A new metric is a new row here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $(#[doc = $help] $variant,)* }

        type Row = (&'static str, MetricKind, &'static [(&'static str, &'static str)], &'static str);
        const COUNTERS: &[Row] = &[$(($name, MetricKind::$kind, &[$(($label, $value))?], $help),)*];
    };
}

counters! {
    Requests1xx Counter "requests_total" ["class" = "1xx"] "Requests answered, by status class.";
    Requests2xx Counter "requests_total" ["class" = "2xx"] "Requests answered, by status class.";
    Requests3xx Counter "requests_total" ["class" = "3xx"] "Requests answered, by status class.";
    Requests4xx Counter "requests_total" ["class" = "4xx"] "Requests answered, by status class.";
    Requests5xx Counter "requests_total" ["class" = "5xx"] "Requests answered, by status class.";
    ProgramNative Counter "program_executions_total" ["mode" = "native"] "Runs of route programs.";
    ProgramInterpreted Counter "program_executions_total" ["mode" = "interpreted"] "Runs of route programs.";
    PluginFailures Counter "plugin_calls_failed_total" [] "Calls of plugins that failed, whatever the plugin.";
    ProgramTraps Counter "program_traps_total" [] "Route programs stopped by the sandbox.";
    ConnectionsAccepted Counter "connections_accepted_total" [] "Client connections accepted.";
    ConnectionsClosed Counter "connections_closed_total" [] "Client connections closed.";
    ConnectionsOpen Gauge "connections_open" [] "Client connections open now.";
    ConnectionsIdle Gauge "connections_idle" [] "Client connections waiting for a request.";
    TlsHandshakes12 Counter "tls_handshakes_total" ["version" = "1.2"] "TLS handshakes completed.";
    TlsHandshakes13 Counter "tls_handshakes_total" ["version" = "1.3"] "TLS handshakes completed.";
    TlsHandshakesFailed Counter "tls_handshakes_failed_total" [] "TLS handshakes that failed.";
    UpstreamConnects Counter "upstream_connects_total" [] "Connections made to endpoints.";
    UpstreamConnectFailures Counter "upstream_connect_failures_total" [] "Connections to endpoints that failed.";
    UpstreamReused Counter "upstream_reused_total" [] "Requests sent on a pooled connection.";
    UpstreamRetries Counter "upstream_retries_total" [] "Further attempts of a request.";
    UpstreamRetriesDenied Counter "upstream_retries_denied_total" [] "Further attempts that a retry budget forbade.";
    UpstreamHedges Counter "upstream_hedges_total" [] "Second attempts of requests whose upstream was silent.";
    UpstreamHedgesLost Counter "upstream_hedges_lost_total" [] "Second attempts whose first one answered after all.";
    UpstreamQueued Counter "upstream_queued_total" [] "Requests that waited for room at their upstreams.";
    UpstreamCopies Counter "upstream_copies_total" [] "Copies of requests sent to mirrors.";
    UpstreamEjections Counter "upstream_ejections_total" [] "Endpoints left out for a while as outliers.";
    UpstreamErrors Counter "upstream_errors_total" [] "Requests whose upstream failed for good.";
    CacheHits Counter "cache_requests_total" ["result" = "hit"] "Requests that came to the cache, by what it did.";
    CacheStale Counter "cache_requests_total" ["result" = "stale"] "Requests that came to the cache, by what it did.";
    CacheValidated Counter "cache_requests_total" ["result" = "validated"] "Requests that came to the cache, by what it did.";
    CacheForwarded Counter "cache_requests_total" ["result" = "forwarded"] "Requests that came to the cache, by what it did.";
    UpstreamIdle Gauge "upstream_idle" [] "Pooled connections to endpoints.";
    DownstreamBytesReceived Counter "downstream_bytes_received_total" [] "Bytes from clients.";
    DownstreamBytesSent Counter "downstream_bytes_sent_total" [] "Bytes to clients.";
    UpstreamBytesReceived Counter "upstream_bytes_received_total" [] "Bytes from endpoints.";
    UpstreamBytesSent Counter "upstream_bytes_sent_total" [] "Bytes to endpoints.";
    RefusedHead Counter "refused_total" ["reason" = "head"] "Requests or connections refused.";
    RefusedLimit Counter "refused_total" ["reason" = "limit"] "Requests or connections refused.";
    RefusedTimeout Counter "refused_total" ["reason" = "timeout"] "Requests or connections refused.";
    RefusedOverload Counter "refused_total" ["reason" = "overload"] "Requests or connections refused.";
    RefusedProxyProtocol Counter "refused_total" ["reason" = "proxy_protocol"] "Requests or connections refused.";
    RefusedPolicy Counter "refused_total" ["reason" = "policy"] "Requests or connections refused.";
    DatagramSessions Counter "datagram_sessions_total" [] "Clients of UDP listeners that were sent on.";
    DatagramSessionsOpen Gauge "datagram_sessions_open" [] "Clients of UDP listeners that are remembered now.";
    DatagramsFromClients Counter "datagrams_total" ["way" = "from_clients"] "Datagrams of UDP listeners.";
    DatagramsToUpstreams Counter "datagrams_total" ["way" = "to_upstreams"] "Datagrams of UDP listeners.";
    DatagramsToClients Counter "datagrams_total" ["way" = "to_clients"] "Datagrams of UDP listeners.";
    DatagramsDropped Counter "datagrams_dropped_total" [] "Datagrams that could not be sent on.";
    Tunnels Counter "tunnels_total" [] "Connections upgraded (WebSocket).";
    SystemCalls Counter "system_calls_total" [] "System calls of the event loop.";
    LoopTurns Counter "loop_turns_total" [] "Turns of the event loop.";
    IoUring Gauge "io_backend" ["backend" = "io_uring"] "Workers on this I/O backend.";
    IoEpoll Gauge "io_backend" ["backend" = "epoll"] "Workers on this I/O backend.";
    AccessLogDropped Counter "access_log_dropped_total" [] "Access log lines dropped because nobody read them.";
    Snapshots Counter "snapshots_total" [] "Snapshots committed.";
    VirtualHosts Gauge "virtual_hosts" [] "Virtual hosts served.";
    ImagesNative Gauge "images" ["mode" = "native"] "Program images held.";
    ImagesInterpreted Gauge "images" ["mode" = "interpreted"] "Program images held.";
    ResourcesRefused Counter "resources_refused_total" [] "Resources of a commit that could not be used.";
    TokensAllowed Counter "shared_limit_requests_total" ["verdict" = "allowed"] "Requests counted together with other nodes.";
    TokensLimited Counter "shared_limit_requests_total" ["verdict" = "limited"] "Requests counted together with other nodes.";
    TokensAway Counter "shared_limit_requests_total" ["verdict" = "store_down"] "Requests counted together with other nodes.";
    TokensWaited Counter "shared_limit_waits_total" [] "Requests that waited for tokens of the store.";
    TokenKeys Gauge "shared_limit_keys" [] "Keys with tokens of the store, or that want some.";
    TokenStoreUp Gauge "shared_limit_store_up" [] "1 where tokens of the store can be had.";
    NativeAllowed Gauge "native_allowed" [] "1 where executable mappings work.";
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Histogram {
    /// Nanoseconds from the head's arrival to the answer's last byte.
    RequestDuration,
    /// Nanoseconds from the request's last try to the answer's head.
    UpstreamResponse,
}

const HISTOGRAMS: &[(&str, &str)] = &[
    ("request_duration_seconds", "Time from a request's head to the last byte of its answer."),
    ("upstream_response_seconds", "Time from a request's last attempt to the head of its answer."),
];

/// Upper bounds in nanoseconds: 100 µs to 60 s.
const BUCKETS: [u64; 16] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    10_000_000_000,
    60_000_000_000,
];
/// Counts of the buckets and above, then the sum.
const HISTOGRAM_WORDS: usize = BUCKETS.len() + 2;
/// Plugins with counters of their own; the agent says which plugin has which.
pub const PLUGIN_SLOTS: usize = 32;
/// Counters that a plugin's functions add to.
pub const PLUGIN_COUNTERS: usize = 4;
const PLUGIN_ROWS: [(&str, &str); 4] = [
    ("plugin_calls_total", "Calls of a plugin's functions."),
    ("plugin_failures_total", "Calls that trapped, ran out of fuel or were refused."),
    ("plugin_fuel_total", "Fuel that calls have used."),
    ("plugin_fetch_failures_total", "Requests of a plugin's own that got no answer."),
];
const PLUGIN_WORDS: usize = PLUGIN_ROWS.len() + PLUGIN_COUNTERS;
const PLUGINS_AT: usize = COUNTERS.len() + HISTOGRAMS.len() * HISTOGRAM_WORDS;
const WORDS: usize = PLUGINS_AT + PLUGIN_SLOTS * PLUGIN_WORDS;
/// Blocks do not share cache lines.
const BLOCK_BYTES: usize = (WORDS * 8).next_multiple_of(128);
const PREFIX: &str = "zeroserve_engine_";

/// The layout that the supervisor tells the agent. `blocks` is workers + 1.
pub fn describe(blocks: u32) -> protocol::MetricsRegion {
    let counters = COUNTERS.iter().enumerate().map(|(index, (name, kind, labels, help))| protocol::Metric {
        name: format!("{PREFIX}{name}"),
        help: (*help).into(),
        kind: (*kind).into(),
        labels: labels
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect::<BTreeMap<_, _>>(),
        offset_bytes: (index * 8) as u32,
        ..protocol::Metric::default()
    });
    let histograms = HISTOGRAMS.iter().enumerate().map(|(index, (name, help))| protocol::Metric {
        name: format!("{PREFIX}{name}"),
        help: (*help).into(),
        kind: MetricKind::Histogram.into(),
        offset_bytes: (histogram_word(index) * 8) as u32,
        buckets: BUCKETS.to_vec(),
        scale: 1e-9,
        ..protocol::Metric::default()
    });
    protocol::MetricsRegion {
        workers: blocks,
        block_bytes: BLOCK_BYTES as u32,
        metrics: counters.chain(histograms).chain(describe_plugins()).collect(),
    }
}

fn describe_plugins() -> impl Iterator<Item = protocol::Metric> {
    (0..PLUGIN_SLOTS * PLUGIN_WORDS).map(|index| {
        let (slot, word) = (index / PLUGIN_WORDS + 1, index % PLUGIN_WORDS);
        let mut labels = BTreeMap::from([("slot".to_owned(), slot.to_string())]);
        let (name, help) = PLUGIN_ROWS.get(word).copied().unwrap_or_else(|| {
            labels.insert("counter".into(), (word - PLUGIN_ROWS.len()).to_string());
            ("plugin_counter_total", "What a plugin's functions counted.")
        });
        protocol::Metric {
            name: format!("{PREFIX}{name}"),
            help: help.into(),
            kind: MetricKind::Counter.into(),
            labels,
            offset_bytes: ((PLUGINS_AT + index) * 8) as u32,
            ..protocol::Metric::default()
        }
    })
}

/// What is counted of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PluginCount {
    Calls,
    Failures,
    Fuel,
    /// Of requests of its own.
    FetchFailures,
    /// A counter of the plugin's own.
    Own(usize),
}

fn histogram_word(index: usize) -> usize {
    COUNTERS.len() + index * HISTOGRAM_WORDS
}

/// The mapped region.
pub struct Region {
    start: NonNull<AtomicU64>,
    blocks: usize,
}

/// Engines at a time: one that serves, one that is to replace it, and former ones that finish what runs.
pub const LOTS: usize = 4;

/// Blocks of one engine among those of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lot {
    pub index: usize,
    pub workers: usize,
}

impl Lot {
    pub fn blocks(self) -> usize {
        self.workers + 1
    }

    /// Blocks of all engines.
    pub fn all_blocks(workers: usize) -> u32 {
        (LOTS * (workers + 1)) as u32
    }

    fn first(self) -> usize {
        self.index.min(LOTS - 1) * self.blocks()
    }
}

// SAFETY: the words are atomics in shared memory.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

/// A memfd for so many blocks.
pub fn create(blocks: u32) -> io::Result<OwnedFd> {
    // SAFETY: the name is a literal with its NUL.
    let descriptor = unsafe { libc::memfd_create(c"zeroserve-metrics".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just created, owned by nobody else.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // SAFETY: no pointers.
    if unsafe { libc::ftruncate(descriptor.as_raw_fd(), (blocks as usize * BLOCK_BYTES) as i64) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(descriptor)
}

impl Region {
    pub fn map(descriptor: BorrowedFd<'_>, blocks: u32) -> io::Result<Arc<Self>> {
        let length = blocks as usize * BLOCK_BYTES;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new shared mapping of an open descriptor at an address of the kernel's choice.
        let address = unsafe {
            libc::mmap(ptr::null_mut(), length, protection, libc::MAP_SHARED, descriptor.as_raw_fd(), 0)
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Arc::new(Self { start, blocks: blocks as usize }))
    }

    /// The block of a worker; past the last one: the last.
    pub fn block(self: &Arc<Self>, index: usize) -> WorkerMetrics {
        WorkerMetrics { block: index.min(self.blocks - 1), region: self.clone() }
    }

    /// The block of a worker of an engine; past the last one: control's.
    pub fn block_of(self: &Arc<Self>, lot: Lot, worker: usize) -> WorkerMetrics {
        self.block(lot.first() + worker.min(lot.workers))
    }

    /// A new engine begins with nothing open, one that has ended has nothing open: gauges are void, counters go on.
    pub fn reset_gauges(self: &Arc<Self>, lot: Lot) {
        for block in lot.first()..lot.first() + lot.blocks() {
            for (index, row) in COUNTERS.iter().enumerate() {
                if row.1 == MetricKind::Gauge {
                    self.block(block).word(index).store(0, Ordering::Relaxed);
                }
            }
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: ours; every block holds the region by Arc.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.blocks * BLOCK_BYTES) };
    }
}

/// A worker's block: it alone writes there, so that a load and a store are enough.
#[derive(Clone)]
pub struct WorkerMetrics {
    region: Arc<Region>,
    block: usize,
}

impl WorkerMetrics {
    fn word(&self, index: usize) -> &AtomicU64 {
        // SAFETY: `block` and `index` lie inside of the region by construction; it lives as long as `self`.
        unsafe { self.region.start.add(self.block * (BLOCK_BYTES / 8) + index).as_ref() }
    }

    fn add_word(&self, index: usize, value: u64) {
        let word = self.word(index);
        word.store(word.load(Ordering::Relaxed).wrapping_add(value), Ordering::Relaxed);
    }

    pub fn add(&self, counter: Counter, value: u64) {
        self.add_word(counter as usize, value);
    }

    /// `slot` from 1; 0 and what is past the last one are not counted.
    pub fn count_plugin(&self, slot: u32, count: PluginCount, value: u64) {
        let word = match count {
            PluginCount::Calls => 0,
            PluginCount::Failures => 1,
            PluginCount::Fuel => 2,
            PluginCount::FetchFailures => 3,
            PluginCount::Own(index) => PLUGIN_ROWS.len() + index.min(PLUGIN_COUNTERS - 1),
        };
        if (1..=PLUGIN_SLOTS).contains(&(slot as usize)) {
            self.add_word(PLUGINS_AT + (slot as usize - 1) * PLUGIN_WORDS + word, value);
        }
    }

    /// Gauges only.
    pub fn subtract(&self, counter: Counter, value: u64) {
        self.add_word(counter as usize, value.wrapping_neg());
    }

    /// Gauges only.
    pub fn set(&self, counter: Counter, value: u64) {
        self.word(counter as usize).store(value, Ordering::Relaxed);
    }

    pub fn get(&self, counter: Counter) -> u64 {
        self.word(counter as usize).load(Ordering::Relaxed)
    }

    pub fn observe(&self, histogram: Histogram, value: u64) {
        let first = histogram_word(histogram as usize);
        let bucket = BUCKETS.iter().position(|&bound| value <= bound).unwrap_or(BUCKETS.len());
        self.add_word(first + bucket, 1);
        self.add_word(first + BUCKETS.len() + 1, value);
    }

    /// Counts by status class and duration in one call.
    pub fn request(&self, status: u16, duration_ns: u64) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.add_word(Counter::Requests1xx as usize + class, 1);
        self.observe(Histogram::RequestDuration, duration_ns);
    }

    /// A block of its own that nobody reads, for tests. None where the process may make no memfd.
    pub fn detached() -> io::Result<Self> {
        use std::os::fd::AsFd;
        Ok(Region::map(create(1)?.as_fd(), 1)?.block(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_lies_where_the_layout_says() {
        use std::os::fd::AsFd;
        use std::os::unix::fs::FileExt;
        let descriptor = create(2).unwrap();
        let region = Region::map(descriptor.as_fd(), 2).unwrap();
        let metrics = region.block(1);
        metrics.add(Counter::UpstreamReused, 3);
        metrics.request(204, 700_000);
        let layout = describe(2);
        let file = std::fs::File::from(descriptor);
        let read = |metric: &protocol::Metric, word: u64| {
            let mut bytes = [0; 8];
            let offset = u64::from(layout.block_bytes + metric.offset_bytes) + word * 8;
            file.read_exact_at(&mut bytes, offset).unwrap();
            u64::from_le_bytes(bytes)
        };
        let find = |name: &str| layout.metrics.iter().find(|metric| metric.name.ends_with(name)).unwrap();
        assert_eq!(read(find("upstream_reused_total"), 0), 3);
        let class = layout
            .metrics
            .iter()
            .find(|metric| metric.labels.get("class").is_some_and(|c| c == "2xx"))
            .unwrap();
        assert_eq!(read(class, 0), 1);
        let duration = find("request_duration_seconds");
        assert_eq!((0..18).map(|word| read(duration, word)).collect::<Vec<_>>(), {
            let mut expected = vec![0; 18];
            (expected[3], expected[17]) = (1, 700_000);
            expected
        });
    }

    #[test]
    fn a_new_engine_resets_its_own_gauges_only() {
        use std::os::fd::AsFd;
        let blocks = Lot::all_blocks(1);
        let descriptor = create(blocks).unwrap();
        let region = Region::map(descriptor.as_fd(), blocks).unwrap();
        let lots = [0, 1].map(|index| Lot { index, workers: 1 });
        let metrics = region.block_of(lots[1], 0);
        metrics.add(Counter::ConnectionsOpen, 5);
        metrics.subtract(Counter::ConnectionsOpen, 1);
        metrics.add(Counter::ConnectionsAccepted, 5);
        assert_eq!(metrics.get(Counter::ConnectionsOpen), 4);
        region.reset_gauges(lots[0]);
        assert_eq!(metrics.get(Counter::ConnectionsOpen), 4);
        region.reset_gauges(lots[1]);
        assert_eq!(
            (metrics.get(Counter::ConnectionsOpen), metrics.get(Counter::ConnectionsAccepted)),
            (0, 5)
        );
    }
}
