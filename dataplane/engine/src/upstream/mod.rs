//! Connections to endpoints: what one holds, and the pool of idle ones. `connection` drives them.
//!
//! Rule: a connection goes back to the pool only after an answer that was complete, strictly framed and followed by no
//! further byte; whatever a backend does wrong costs it the connection (reliability.md 2.7).

pub mod pool;
pub mod sharing;

use crate::connection::Deadline;
use crate::connection::streams::StreamLink;
use crate::http1::body::BodyDecoder;
use crate::http1::head::HeadScanner;
use crate::http2::Multiplex;
use crate::metrics::{Counter, WorkerMetrics};
use crate::ring::{End, SocketId};
use crate::snapshot::{Attempt, Cluster, EndpointRef, Standing};
use crate::tls::Session;
use pool::PoolKey;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Tells a cluster how an attempt at an endpoint ended, where that is watched, and counts what it ejects.
pub fn report(
    metrics: &WorkerMetrics,
    cluster: &Cluster,
    standing: Option<Arc<Standing>>,
    attempt: Attempt,
    now_ns: u64,
) {
    if let Some(standing) = standing {
        metrics.add(Counter::UpstreamEjections, u64::from(cluster.report(&standing, attempt, now_ns)));
    }
}

/// Where an upstream connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Connecting,
    Handshake,
    /// A request was sent; the answer's head is awaited.
    Head,
    /// The answer's body comes.
    Body,
    /// The program sees the answer's head; the rest waits unread.
    Held,
    Idle,
    /// HTTP/2: requests are on streams, each with an `Upstream` of its own.
    Multiplex,
    Tunnel,
    Closing,
}

/// An upstream connection.
pub struct Upstream {
    pub generation: u32,
    pub client: Option<SocketId>,
    pub endpoint: EndpointRef,
    pub key: PoolKey,
    pub session: Option<Session>,
    pub phase: Phase,
    /// It served a request before this one.
    pub reused: bool,
    /// Bytes of the current answer came.
    pub answering: bool,
    pub input: Vec<u8>,
    pub scanner: HeadScanner,
    pub interim_bytes: usize,
    /// The answer's records, where the upstream speaks FastCGI.
    pub cgi: Option<Box<crate::fastcgi::Response>>,
    pub body: BodyDecoder,
    pub persistent: bool,
    /// It began with this client's PROXY header: no other may use it.
    pub exclusive: bool,
    pub requests: u32,
    pub paused: bool,
    pub finished: bool,
    /// What ended it while it was held.
    pub ended: Option<End>,
    pub deadline: Deadline,
    pub requested_ns: u64,
    /// This deadline ends the time after which another is asked too; so much is left of its own.
    pub hedge_rest_ms: Option<u64>,
    pub sent_mark: u64,
    /// A connection that speaks HTTP/2, shared by the requests of many clients.
    pub multiplex: Option<Box<Multiplex>>,
    /// In `Worker::shared`: requests may join it.
    pub listed: bool,
    /// It said GOAWAY: no further request.
    pub going_away: bool,
    /// A shared connection's last frame; the last one of an answer; our last PING.
    pub heard_ms: u64,
    pub answered_ms: u64,
    pub pinged_ms: u64,
    /// How long it is kept without requests.
    pub keepalive_ms: u64,
    /// This is a stream of one.
    pub stream: Option<Box<StreamLink>>,
    /// In `Worker::marked`.
    pub marked: bool,
    /// Streams that wait for this connection's SETTINGS.
    pub waiting: Vec<SocketId>,
    /// `endpoint.active` counts this one.
    pub counted: bool,
}

impl Upstream {
    pub fn new(generation: u32, client: SocketId, endpoint: EndpointRef, key: PoolKey) -> Upstream {
        let mut upstream = Upstream {
            generation,
            client: Some(client),
            endpoint,
            key,
            session: None,
            phase: Phase::Connecting,
            reused: false,
            answering: false,
            input: Vec::new(),
            scanner: HeadScanner::default(),
            interim_bytes: 0,
            cgi: None,
            body: BodyDecoder::Empty,
            persistent: false,
            exclusive: false,
            requests: 0,
            paused: false,
            finished: false,
            ended: None,
            deadline: Deadline::default(),
            requested_ns: 0,
            hedge_rest_ms: None,
            sent_mark: 0,
            multiplex: None,
            listed: false,
            going_away: false,
            heard_ms: 0,
            answered_ms: 0,
            pinged_ms: 0,
            keepalive_ms: 0,
            stream: None,
            marked: false,
            waiting: Vec::new(),
            counted: false,
        };
        upstream.count(true);
        upstream
    }

    /// A request goes up on this connection: forgets all of the one before.
    pub fn begin(&mut self, now_ns: u64, sent: u64) {
        self.phase = Phase::Head;
        self.answering = false;
        self.input.clear();
        self.scanner = HeadScanner::default();
        self.interim_bytes = 0;
        self.body = BodyDecoder::Empty;
        self.persistent = false;
        self.requests += 1;
        self.requested_ns = now_ns;
        self.hedge_rest_ms = None;
        self.sent_mark = sent;
    }

    /// Says whether a request occupies the endpoint by this connection (least connections).
    pub fn count(&mut self, active: bool) {
        if self.counted != active {
            self.counted = active;
            match active {
                true => self.endpoint.active.fetch_add(1, Ordering::Relaxed),
                false => self.endpoint.active.fetch_sub(1, Ordering::Relaxed),
            };
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.count(false);
    }
}
