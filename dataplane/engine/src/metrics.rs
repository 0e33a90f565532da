//! Counters and histograms in the memfd shared with the agent: one writer per worker, read at scrape time.

/// What a worker counts. A new metric is a new variant and a row of the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    Requests1xx,
    Requests2xx,
    Requests3xx,
    Requests4xx,
    Requests5xx,
    ProgramNative,
    ProgramInterpreted,
    ProgramTraps,
    ConnectionsAccepted,
    ConnectionsClosed,
    /// Gauge.
    ConnectionsOpen,
    /// Gauge.
    ConnectionsIdle,
    TlsHandshakes12,
    TlsHandshakes13,
    TlsHandshakesFailed,
    UpstreamConnects,
    UpstreamConnectFailures,
    UpstreamReused,
    UpstreamRetries,
    UpstreamErrors,
    /// Gauge.
    UpstreamIdle,
    DownstreamBytesReceived,
    DownstreamBytesSent,
    UpstreamBytesReceived,
    UpstreamBytesSent,
    RefusedHead,
    RefusedLimit,
    RefusedTimeout,
    RefusedOverload,
    RefusedProxyProtocol,
    Tunnels,
    SystemCalls,
    LoopTurns,
    /// Gauge: 1 on the backend in use.
    IoUring,
    /// Gauge.
    IoEpoll,
    AccessLogDropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Histogram {
    /// Nanoseconds from the head's arrival to the answer's last byte.
    RequestDuration,
    /// Nanoseconds from the request's last try to the answer's head.
    UpstreamResponse,
}

/// A worker's block. Cheap to copy within its thread.
#[derive(Clone)]
pub struct WorkerMetrics {}

impl WorkerMetrics {
    pub fn add(&self, _counter: Counter, _value: u64) {
        todo!()
    }
    /// Gauges only.
    pub fn set(&self, _counter: Counter, _value: u64) {
        todo!()
    }
    pub fn observe(&self, _histogram: Histogram, _value: u64) {
        todo!()
    }
    /// Counts by status class and duration in one call.
    pub fn request(&self, _status: u16, _duration_ns: u64) {
        todo!()
    }
    /// A block of its own that nobody reads, for tests.
    pub fn detached() -> Self {
        todo!()
    }
}
