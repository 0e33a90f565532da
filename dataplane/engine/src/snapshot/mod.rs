//! What the engine serves: immutable, shared by Arc. Control builds the next one from the former and what a commit
//! names; workers swap between two requests. Endpoints and certificates sit behind atomic swaps of their own.

use crate::exchange::{Exchange, ListenerId};
use crate::program::image::Image;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

pub struct Snapshot {
    settings: Arc<Settings>,
    listeners: Arc<[Listener]>,
}

pub struct Settings {
    pub access_log: bool,
    pub handshake_timeout_ms: u32,
    pub request_head_timeout_ms: u32,
    pub idle_timeout_ms: u32,
    pub drain_timeout_ms: u32,
    pub request_body_bytes_max: u64,
    pub strict_encoded_slash: bool,
}

#[derive(Clone, Debug)]
pub struct Listener {
    pub id: ListenerId,
    pub name: Arc<str>,
    pub port: u16,
    pub tls: bool,
    pub proxy_protocol: bool,
    /// What clients see where a Service maps the port.
    pub external_port: u16,
}

impl Snapshot {
    /// Serves nothing yet: 404 everywhere.
    pub fn empty() -> Arc<Self> {
        todo!()
    }
    /// Exact name, then wildcard of one label, then the listener's catch-all.
    pub fn find(&self, _listener: ListenerId, _host: &[u8]) -> Option<&Arc<VirtualHost>> {
        todo!()
    }
    /// Hot: always answers from the newest snapshot, so one for the process' life is enough.
    pub fn certificate_resolver(&self) -> Arc<dyn rustls::server::ResolvesServerCert> {
        todo!()
    }
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }
    /// True when the address' forwarding headers and PROXY header are believed.
    pub fn trusts(&self, _address: std::net::IpAddr) -> bool {
        todo!()
    }
}

/// A host name's routes.
pub struct VirtualHost {
    pub name: Box<str>,
    pub marker: Box<str>,
    pub error_entry: u32,
    pub fuel: u32,
    pub image: Arc<Image>,
    deny: Option<Box<str>>,
}

impl VirtualHost {
    pub fn proxy(&self, _row: u32) -> &ProxyCall {
        todo!()
    }
    pub fn response(&self, _row: u32) -> &ResponseRow {
        todo!()
    }
    /// Fail closed: answer 503 with this reason, whatever the program.
    pub fn deny(&self) -> Option<&str> {
        self.deny.as_deref()
    }
}

/// A row of Tables.responses.
pub struct ResponseRow {
    pub close: bool,
}

/// A row of Tables.proxies.
pub struct ProxyCall {
    pub cluster: Arc<Cluster>,
    pub response_entry: u32,
}

/// A named set of endpoints. The handle stays the same while its state is swapped.
pub struct Cluster {
    pub name: Box<str>,
    state: arc_swap::ArcSwap<ClusterState>,
}

pub struct ClusterState {
    /// None: plain HTTP to the upstream.
    pub tls: Option<UpstreamTls>,
    pub connect_timeout_ms: u32,
    pub response_head_timeout_ms: u32,
    pub read_timeout_ms: u32,
    pub write_timeout_ms: u32,
    pub keepalive_timeout_ms: u32,
    /// Further attempts where nothing was sent, or it is safe.
    pub retries: u32,
    pub try_duration_ms: u32,
}

#[derive(Clone)]
pub struct UpstreamTls {
    pub config: Arc<rustls::ClientConfig>,
    /// None: the request's host (then it belongs to the pool's key as well).
    pub server_name: Option<rustls_pki_types::ServerName<'static>>,
}

/// Identity of (address, TLS policy): pools are keyed by it and survive endpoint updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointKey(pub u32);

pub struct Endpoint {
    pub key: EndpointKey,
    pub address: SocketAddr,
    /// Requests under way, of all workers: increment when one is sent, decrement when it ends (least connections).
    pub active: AtomicU32,
}

pub type EndpointRef = Arc<Endpoint>;

/// A worker's own state of balancing: random numbers, round-robin positions.
#[derive(Default)]
pub struct Picker {}

impl Cluster {
    pub fn state(&self) -> arc_swap::Guard<Arc<ClusterState>> {
        self.state.load()
    }
    /// The endpoint for the next attempt, none of `tried`; None when there is no other.
    pub fn pick(
        &self,
        _exchange: &Exchange,
        _tried: &[EndpointKey],
        _worker: &mut Picker,
    ) -> Option<EndpointRef> {
        todo!()
    }
}
