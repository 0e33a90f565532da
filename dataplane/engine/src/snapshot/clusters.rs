//! Clusters and endpoints: stable handles whose state is swapped, and the choice of an endpoint.

use super::balancing::{Question, Selection, Slot};
use super::dialling::{Dials, RequestedEndpoints};
use super::dialling::{name_probed, parse_endpoint};
use super::interning::Interned;
use super::loads::Load;
use super::standing::{FailLimit, Standing};
use crate::addresses::AddressSet;
use crate::digests::digest;
use crate::exchange::Exchange;
use crate::ring::unix_paths;
use crate::{limits, protocol};
use arc_swap::{ArcSwap, Guard};
use prost::Message;
use rustls_pki_types::ServerName;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// A named set of endpoints. The handle stays the same while its state is swapped.
pub struct Cluster {
    pub name: Arc<str>,
    state: ArcSwap<ClusterState>,
    /// Position of round robin, of all workers together.
    next: AtomicUsize,
    requested: OnceLock<Box<RequestedEndpoints>>,
    load: OnceLock<Box<Load>>,
}

/// What a cluster is now. Clusters by the thousand differ in nothing but their endpoints: all else is shared.
pub struct ClusterState {
    pub(super) policy: Arc<ClusterPolicy>,
    /// Upstreams whose addresses differ by request; `slots` then are the names known beforehand.
    pub(super) dials: Option<Box<Dials>>,
    pub(super) slots: Box<[Slot]>,
    /// None of them drains or lies in another zone.
    is_flat: bool,
    /// Round robin's order where weights differ: indices of slots.
    order: Box<[u16]>,
}

impl Deref for ClusterState {
    type Target = ClusterPolicy;

    fn deref(&self) -> &ClusterPolicy {
        &self.policy
    }
}

/// How the endpoints of a cluster are chosen and spoken to.
pub struct ClusterPolicy {
    /// The message without names, to build a state again when its endpoints change.
    pub(super) message: Box<[u8]>,
    /// None: plain HTTP to the upstream.
    pub tls: Option<UpstreamTls>,
    pub connect_timeout_ms: u64,
    pub handshake_timeout_ms: u64,
    pub response_head_timeout_ms: u64,
    pub read_timeout_ms: u64,
    pub write_timeout_ms: u64,
    pub keepalive_timeout_ms: u64,
    /// 0: tunnels end when they idle only.
    pub stream_timeout_ms: u64,
    /// Further attempts where nothing was sent, or it is safe.
    pub retries: u32,
    /// 0: no limit but `retries`.
    pub try_duration_ms: u64,
    pub try_interval_ms: u64,
    /// Idle connections that a worker keeps to one endpoint.
    pub idle_max: usize,
    /// Version of the PROXY protocol's header; 0 is none.
    pub proxy_protocol: u32,
    /// Endpoints without TLS speak HTTP/2 from the first byte.
    pub http2: bool,
    /// Host is the upstream's own.
    pub upstream_host: bool,
    /// A node's requests under way; 0 is no bound.
    pub requests_under_way_max: u32,
    /// A node's requests that wait where all is taken.
    pub queue_max: u32,
    pub queue_timeout_ms: u64,
    /// 0: retries are not budgeted.
    pub retry_budget_percent: u32,
    /// 0: no second attempt beside a silent one.
    pub hedge_after_ms: u64,
    pub(super) hedge_budget_percent: u32,
    /// Body bytes read before an upstream is asked.
    pub request_buffer_bytes: usize,
    /// Bytes of an answer kept for a client that does not take them yet, above what every answer may have.
    pub response_buffer_bytes: usize,
    /// Failures count; 0 ms where they do not.
    fails: FailLimit,
    unhealthy_statuses: Box<[u32]>,
    unhealthy_latency_ns: u64,
    requests_max: u32,
    slow_start_ms: u64,
    outliers: Option<protocol::OutlierEjection>,
    selection: Selection,
}

impl ClusterState {
    /// Requests under way to one endpoint; 0: no bound.
    pub fn requests_max(&self) -> u32 {
        self.requests_max
    }
}

#[derive(Clone)]
pub struct UpstreamTls {
    pub config: Arc<rustls::ClientConfig>,
    /// The same, offering nothing but HTTP/1.1.
    pub http1: Arc<rustls::ClientConfig>,
    /// None: the endpoint's name, else the request's host (then it belongs to the pool's key as well).
    pub server_name: Option<ServerName<'static>>,
}

/// Identity of (address, name, TLS policy): pools are keyed by it and survive endpoint updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointKey(pub u32);

pub struct Endpoint {
    pub key: EndpointKey,
    pub address: SocketAddr,
    /// Host as it was configured, or a Unix socket's path; "" where the address is all there is. An unspecified address
    /// without name is this machine, whose host was left out.
    pub name: Box<str>,
    /// Without TLS, whatever the cluster's policy.
    pub plain: bool,
    /// Requests under way, of all workers: add when one is sent, subtract when it ends (least connections).
    pub active: AtomicU32,
    /// Streams that one connection to it takes, as its last SETTINGS said; 0 where it is not known to speak HTTP/2.
    pub streams_max: AtomicU32,
}

impl Endpoint {
    /// The name, else the address.
    pub fn host(&self) -> String {
        match &*self.name {
            "" if self.address.ip().is_unspecified() => String::new(),
            "" => self.address.ip().to_string(),
            name => name.to_owned(),
        }
    }

    pub fn is_unix(&self) -> bool {
        unix_paths::is_stand_in(self.address.ip())
    }

    /// Host and port, IPv6 in brackets; a Unix socket has no port.
    pub fn hostport(&self) -> String {
        match &*self.name {
            "" if self.address.ip().is_unspecified() => format!(":{}", self.address.port()),
            name if !name.is_empty() && self.is_unix() => name.to_owned(),
            name if name.is_empty() || name.contains(':') => self.address.to_string(),
            name => format!("{name}:{}", self.address.port()),
        }
    }
}

pub type EndpointRef = Arc<Endpoint>;

/// What was chosen for an attempt.
pub struct Picked {
    pub endpoint: EndpointRef,
    /// Where outcomes are reported; None where nobody looks at them.
    pub standing: Option<Arc<Standing>>,
    /// `Set-Cookie` of a session that begins to stick.
    pub cookie: Option<Box<[u8]>>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// No answer: refused, timed out, closed, malformed.
    Failed,
    Answered {
        status: u16,
        latency_ns: u64,
    },
}

impl Cluster {
    pub fn new(name: &str, state: ClusterState) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            state: ArcSwap::from_pointee(state),
            next: AtomicUsize::new(0),
            requested: OnceLock::new(),
            load: OnceLock::new(),
        })
    }

    /// What is counted of it; most clusters never count.
    pub fn load(&self) -> &Load {
        self.load.get_or_init(Box::default)
    }

    pub fn state(&self) -> Guard<Arc<ClusterState>> {
        self.state.load()
    }

    pub(super) fn set_state(&self, state: ClusterState) {
        self.state.store(Arc::new(state));
    }

    /// The endpoint for the next attempt, none of `tried`; None when there is no other.
    pub fn pick(&self, exchange: &Exchange, tried: &[EndpointKey], now_ms: u64) -> Option<Picked> {
        let state = self.state.load();
        if let Some(dials) = &state.dials {
            let endpoint =
                dials.find(&state.slots, self.requested.get_or_init(Box::default), exchange, tried)?;
            return Some(Picked { endpoint, standing: None, cookie: None });
        }
        let question = Question {
            exchange,
            tried,
            now_ms,
            requests_max: state.requests_max,
            slow_start_ms: state.slow_start_ms,
            is_flat: state.is_flat,
        };
        let choice = state.selection.choose(&state.slots, &state.order, &self.next, &question)?;
        Some(Picked {
            endpoint: choice.slot.endpoint.clone(),
            standing: state.policy.watches().then(|| choice.slot.standing.clone()),
            cookie: choice.cookie,
        })
    }

    /// Learns from an attempt; whether that made its endpoint an outlier, which is left out for a while.
    #[must_use]
    pub fn report(&self, standing: &Standing, attempt: Attempt, now_ns: u64) -> bool {
        self.state.load().learn(standing, attempt, now_ns)
    }
}

impl ClusterPolicy {
    /// Somebody looks at the outcomes of attempts; else endpoints have no standing of their own.
    fn watches(&self) -> bool {
        self.fails.duration_ms > 0 || self.outliers.is_some() || self.selection.watches_latency()
    }
}

impl ClusterState {
    /// Without endpoints, for programs that are run outside traffic.
    pub fn unconfigured() -> Self {
        let message = protocol::Cluster::default();
        // Cannot fail without endpoints; a default state then is the same.
        let endpoints = protocol::Endpoints::default();
        let built =
            EndpointRegistry::default().build(&message, &endpoints, None, &AddressSet::default(), None);
        built.unwrap_or_else(|_| unreachable!("no endpoint can be malformed"))
    }

    /// Requests may wait, as endpoints that are well are only full.
    pub fn may_queue(&self, now_ms: u64) -> bool {
        let is_well = |slot: &Slot| !slot.down && slot.standing.is_healthy(now_ms);
        self.queue_max > 0 && self.slots.iter().any(is_well)
    }

    fn learn(&self, standing: &Standing, attempt: Attempt, now_ns: u64) -> bool {
        let now_ms = now_ns / 1_000_000;
        if let Attempt::Answered { status, latency_ns } = attempt {
            standing.observe(latency_ns, now_ns);
            let bad = self.unhealthy_statuses.iter().filter(|bad| fits_status(status, **bad)).count();
            let slow = self.unhealthy_latency_ns > 0 && latency_ns >= self.unhealthy_latency_ns;
            for _ in 0..bad + usize::from(slow) {
                standing.count_fail(self.fails, now_ms);
            }
            if status < 500 {
                standing.succeed();
                return false;
            }
        } else {
            standing.count_fail(self.fails, now_ms);
        }
        let Some(outliers) = &self.outliers else { return false };
        if standing.fail_in_row() < outliers.failures.max(1) {
            return false;
        }
        let ejected = self.slots.iter().filter(|slot| slot.standing.is_ejected(now_ms)).count();
        let share = outliers.share_max_percent.clamp(1, 100) as usize;
        let fits = (ejected + 1) * 100 <= self.slots.len() * share;
        if fits {
            standing.eject(u64::from(outliers.ejection_ms), now_ms);
        }
        fits
    }

    /// Addresses in order, for tests and metrics.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.slots.iter().map(|slot| slot.endpoint.address)
    }
}

/// Caddy's StatusCodeMatches: the status, or its first digit.
fn fits_status(status: u16, wanted: u32) -> bool {
    u32::from(status) == wanted || (wanted < 100 && u32::from(status) / 100 == wanted)
}

/// Gives (address, policy) the same endpoint, with its key and count, for as long as anybody holds it.
#[derive(Default)]
pub struct EndpointRegistry {
    known: Interned<Endpoint>,
    policies: Interned<ClusterPolicy>,
    next: u32,
}

impl EndpointRegistry {
    fn get(&mut self, address: SocketAddr, name: &str, policy: u64) -> EndpointRef {
        let identity = digest(&[address.to_string().as_bytes(), name.as_bytes(), &policy.to_le_bytes()]);
        let next = &mut self.next;
        let made: Result<_, Infallible> = self.known.get(identity, || {
            *next = next.wrapping_add(1);
            Ok(Endpoint {
                key: EndpointKey(*next),
                address,
                name: name.into(),
                plain: policy == 0,
                active: AtomicU32::new(0),
                streams_max: AtomicU32::new(0),
            })
        });
        made.unwrap_or_else(|never| match never {})
    }

    /// The policy of a message; clusters that differ in names only have one.
    fn share_policy(
        &mut self,
        cluster: &protocol::Cluster,
        tls: Option<(UpstreamTls, u64)>,
    ) -> Arc<ClusterPolicy> {
        let (name, endpoints) = (String::new(), String::new());
        let nameless = protocol::Cluster { name, endpoints, ..cluster.clone() };
        let message = nameless.encode_to_vec();
        let (tls, identity) = tls.map_or((None, 0), |(tls, identity)| (Some(tls), identity));
        let key = digest(&[&message, &identity.to_le_bytes()]);
        let make = || Ok::<_, Infallible>(compile_policy(&nameless, message.into(), tls));
        self.policies.get(key, make).unwrap_or_else(|never| match never {})
    }

    /// Builds a cluster's state from what was committed. `denied` addresses are left out (design 2.14, SSRF).
    pub fn build(
        &mut self,
        cluster: &protocol::Cluster,
        endpoints: &protocol::Endpoints,
        tls: Option<(UpstreamTls, u64)>,
        denied: &AddressSet,
        former: Option<&ClusterState>,
    ) -> Result<ClusterState, String> {
        let identity = tls.as_ref().map_or(0, |(_, identity)| *identity);
        let policy = self.share_policy(cluster, tls);
        let weights = cluster.selection.as_ref().map_or(&[][..], |selection| &selection.weights);
        let mut slots = Vec::with_capacity(endpoints.endpoints.len());
        let mut group = (0, None);
        for endpoint in &endpoints.endpoints {
            let (address, port) = parse_endpoint(endpoint)?;
            // Addresses of one name stand for one upstream, which has one weight.
            let upstream = (&endpoint.name, port);
            if group.1.is_some_and(|former| former != upstream || endpoint.name.is_empty()) {
                group.0 += 1;
            }
            group.1 = Some(upstream);
            let weight = match weights {
                [] => endpoint.weight.clamp(1, 65_536),
                weights => weights.get(group.0).copied().unwrap_or(0).min(65_536),
            };
            if denied.contains(address) || weight == 0 {
                continue;
            }
            let address = SocketAddr::new(address.to_canonical(), port);
            let identity = if cluster.plain_ports.contains(&endpoint.port) { 0 } else { identity };
            let endpoint_ref = self.get(address, &endpoint.name, identity);
            let dial = endpoint_ref.hostport();
            slots.push(Slot {
                endpoint: endpoint_ref,
                standing: find_standing(&policy, former, address),
                weight,
                draining: endpoint.draining,
                elsewhere: endpoint.elsewhere,
                down: cluster.down.contains(&name_probed(endpoint, address)),
                cookie: policy.selection.sign(&dial),
                dial: dial.into(),
            });
        }
        let dials = Dials::compile(cluster, policy.tls.is_some(), denied);
        let is_flat = slots.iter().all(|slot| slot.rank() == 0);
        Ok(ClusterState { policy, dials, is_flat, order: order_slots(&slots), slots: slots.into() })
    }
}

/// What is known of an address stays known; a newcomer to a cluster that serves begins slowly.
fn find_standing(
    policy: &ClusterPolicy,
    former: Option<&ClusterState>,
    address: SocketAddr,
) -> Arc<Standing> {
    if !policy.watches() && policy.slow_start_ms == 0 {
        return Standing::unwatched();
    }
    let Some(former) = former else { return Arc::default() };
    if let Some(slot) = former.slots.iter().find(|slot| slot.endpoint.address == address) {
        let unwatched = Arc::ptr_eq(&slot.standing, &Standing::unwatched());
        return if unwatched { Arc::default() } else { slot.standing.clone() };
    }
    let standing = Arc::<Standing>::default();
    if !former.slots.is_empty() {
        standing
            .joined_ms
            .store(crate::ring::addresses::read_clock().monotonic_ns / 1_000_000, Ordering::Relaxed);
    }
    standing
}

fn compile_policy(
    cluster: &protocol::Cluster,
    message: Box<[u8]>,
    tls: Option<UpstreamTls>,
) -> ClusterPolicy {
    let or = |value: u32, default: u64| if value == 0 { default } else { u64::from(value) };
    let passive = cluster.passive_health.clone().unwrap_or_default();
    let bounds =
        [passive.requests_max, cluster.requests_per_endpoint_max, cluster.connections_per_endpoint_max];
    ClusterPolicy {
        message,
        tls,
        connect_timeout_ms: or(cluster.connect_timeout_ms, limits::CONNECT_TIMEOUT_MS),
        handshake_timeout_ms: or(cluster.handshake_timeout_ms, limits::UPSTREAM_HANDSHAKE_TIMEOUT_MS),
        response_head_timeout_ms: or(cluster.response_head_timeout_ms, limits::RESPONSE_HEAD_TIMEOUT_MS),
        read_timeout_ms: or(cluster.read_timeout_ms, limits::UPSTREAM_READ_TIMEOUT_MS),
        write_timeout_ms: or(cluster.write_timeout_ms, limits::UPSTREAM_WRITE_TIMEOUT_MS),
        keepalive_timeout_ms: or(cluster.keepalive_timeout_ms, limits::UPSTREAM_IDLE_TIMEOUT_MS),
        stream_timeout_ms: u64::from(cluster.stream_timeout_ms),
        retries: cluster.retries,
        try_duration_ms: u64::from(cluster.try_duration_ms),
        try_interval_ms: u64::from(cluster.try_interval_ms),
        idle_max: match cluster.idle_per_endpoint_max {
            0 => limits::IDLE_PER_ENDPOINT_MAX,
            wanted => limits::IDLE_PER_ENDPOINT_MAX.min(wanted as usize),
        },
        proxy_protocol: cluster.proxy_protocol,
        http2: cluster.http2,
        upstream_host: cluster.upstream_host,
        requests_under_way_max: cluster.requests_max,
        queue_max: cluster.queue_max,
        queue_timeout_ms: u64::from(cluster.queue_timeout_ms),
        retry_budget_percent: cluster.retry_budget_percent,
        hedge_after_ms: u64::from(cluster.hedge_after_ms),
        hedge_budget_percent: cluster.hedge_budget_percent,
        request_buffer_bytes: buffer_bytes(cluster.request_buffer_bytes, limits::REQUEST_BUFFER_BYTES_MAX),
        response_buffer_bytes: buffer_bytes(cluster.response_buffer_bytes, limits::RESPONSE_BUFFER_BYTES_MAX),
        fails: FailLimit { duration_ms: u64::from(passive.fail_duration_ms), fails_max: passive.fails_max },
        unhealthy_statuses: passive.statuses.into(),
        unhealthy_latency_ns: u64::from(passive.latency_ms) * 1_000_000,
        requests_max: bounds.into_iter().filter(|limit| *limit > 0).min().unwrap_or(0),
        slow_start_ms: u64::from(cluster.slow_start_ms),
        outliers: cluster.outliers,
        selection: Selection::compile(cluster),
    }
}

/// -1 is as much as allowed.
fn buffer_bytes(wanted: i64, max: usize) -> usize {
    usize::try_from(wanted).map_or(max, |wanted| wanted.min(max))
}

/// Smooth weighted round robin (nginx) of what does not drain, as a fixed order without bursts. Equal weights: one turn.
fn order_slots(slots: &[Slot]) -> Box<[u16]> {
    /// Longer orders gain nothing: weights are scaled down to it.
    const TURNS_MAX: u64 = 1024;
    let serving = slots.iter().take(usize::from(u16::MAX)).enumerate().filter(|(_, slot)| !slot.draining);
    let (indices, slots): (Vec<u16>, Vec<&Slot>) = serving.map(|(index, slot)| (index as u16, slot)).unzip();
    let greatest = slots.iter().map(|slot| u64::from(slot.weight)).max().unwrap_or(1);
    let total: u64 = slots.iter().map(|slot| u64::from(slot.weight)).sum();
    if slots.iter().all(|slot| u64::from(slot.weight) == greatest) {
        return indices.into();
    }
    let count = slots.len();
    let scale = |weight: u32| (u64::from(weight) * TURNS_MAX.min(total)).div_ceil(total) as i64;
    let weights: Vec<i64> = slots.iter().map(|slot| scale(slot.weight)).collect();
    let turns: i64 = weights.iter().sum();
    let mut current = vec![0i64; count];
    (0..turns)
        .map(|_| {
            current.iter_mut().zip(&weights).for_each(|(now, weight)| *now += weight);
            let (best, _) = current
                .iter()
                .enumerate()
                .max_by_key(|(index, now)| (**now, usize::MAX - index))
                .unwrap_or((0, &0));
            current[best] -= turns;
            indices[best]
        })
        .collect()
}
