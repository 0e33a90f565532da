//! Clusters and endpoints: stable handles whose state is swapped, and the choice of an endpoint.

use crate::addresses::AddressSet;
use crate::exchange::Exchange;
use crate::{limits, protocol};
use arc_swap::{ArcSwap, Guard};
use rustls_pki_types::ServerName;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// A named set of endpoints. The handle stays the same while its state is swapped.
pub struct Cluster {
    pub name: Box<str>,
    state: ArcSwap<ClusterState>,
    /// Position of round robin, of all workers together.
    next: AtomicUsize,
}

pub struct ClusterState {
    /// None: plain HTTP to the upstream.
    pub tls: Option<UpstreamTls>,
    pub connect_timeout_ms: u64,
    pub response_head_timeout_ms: u64,
    pub read_timeout_ms: u64,
    pub write_timeout_ms: u64,
    pub keepalive_timeout_ms: u64,
    /// Further attempts where nothing was sent, or it is safe.
    pub retries: u32,
    /// 0: no limit but `retries`.
    pub try_duration_ms: u64,
    balancing: protocol::Balancing,
    slots: Box<[Slot]>,
    /// Round robin's order where weights differ: indices of slots.
    order: Box<[u16]>,
}

#[derive(Clone)]
pub struct UpstreamTls {
    pub config: Arc<rustls::ClientConfig>,
    /// None: the request's host (then it belongs to the pool's key as well).
    pub server_name: Option<ServerName<'static>>,
}

/// Identity of (address, TLS policy): pools are keyed by it and survive endpoint updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointKey(pub u32);

pub struct Endpoint {
    pub key: EndpointKey,
    pub address: SocketAddr,
    /// Requests under way, of all workers: add when one is sent, subtract when it ends (least connections).
    pub active: AtomicU32,
}

pub type EndpointRef = Arc<Endpoint>;

struct Slot {
    endpoint: EndpointRef,
    weight: u32,
    draining: bool,
}

/// A worker's own state of balancing.
#[derive(Default)]
pub struct Picker {}

impl Cluster {
    pub fn new(name: &str, state: ClusterState) -> Arc<Self> {
        Arc::new(Self { name: name.into(), state: ArcSwap::from_pointee(state), next: AtomicUsize::new(0) })
    }

    pub fn state(&self) -> Guard<Arc<ClusterState>> {
        self.state.load()
    }

    pub(super) fn set_state(&self, state: ClusterState) {
        self.state.store(Arc::new(state));
    }

    /// The endpoint for the next attempt, none of `tried`; None when there is no other.
    pub fn pick(
        &self,
        exchange: &Exchange,
        tried: &[EndpointKey],
        _worker: &mut Picker,
    ) -> Option<EndpointRef> {
        let state = self.state.load();
        state.choose(exchange, tried, &self.next).map(|slot| slot.endpoint.clone())
    }
}

impl ClusterState {
    /// Without endpoints, for programs that are run outside traffic.
    pub fn unconfigured() -> Self {
        let message = protocol::Cluster::default();
        // Cannot fail without endpoints; a default state then is the same.
        let built = EndpointRegistry::default().build(
            &message,
            &protocol::Endpoints::default(),
            None,
            &AddressSet::default(),
        );
        built.unwrap_or_else(|_| unreachable!("no endpoint can be malformed"))
    }

    fn choose(&self, exchange: &Exchange, tried: &[EndpointKey], next: &AtomicUsize) -> Option<&Slot> {
        let fresh = |slot: &&Slot| !tried.contains(&slot.endpoint.key);
        let draining = !self.slots.iter().any(|slot| !slot.draining && fresh(&slot));
        let usable = |slot: &&Slot| slot.draining == draining && fresh(slot);
        match self.balancing {
            protocol::Balancing::First => self.slots.iter().find(usable),
            protocol::Balancing::RoundRobin => {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                let order: &[u16] = &self.order;
                let at = |step: usize| &self.slots[usize::from(order[turn.wrapping_add(step) % order.len()])];
                let turned = (0..order.len()).map(at).find(usable);
                turned.or_else(|| self.slots.iter().find(usable))
            }
            protocol::Balancing::LeastConnections => {
                let start = crate::exchange::random() as usize % self.slots.len().max(1);
                let turned = self.slots[start..].iter().chain(&self.slots[..start]).filter(usable);
                turned.min_by_key(|slot| {
                    u64::from(slot.endpoint.active.load(Ordering::Relaxed)) * 65_536 / u64::from(slot.weight)
                })
            }
            protocol::Balancing::ClientIpHash => {
                let hash = hash_address(exchange.client());
                self.slots.iter().filter(usable).max_by_key(|slot| mix(hash ^ slot.hash()))
            }
            protocol::Balancing::UriHash => {
                let hash = exchange.target().iter().fold(0, |hash, &byte| mix(hash ^ u64::from(byte)));
                self.slots.iter().filter(usable).max_by_key(|slot| mix(hash ^ slot.hash()))
            }
            protocol::Balancing::Random => {
                let total: u64 = self.slots.iter().filter(usable).map(|slot| u64::from(slot.weight)).sum();
                let mut at = crate::exchange::random().checked_rem(total)?;
                self.slots.iter().filter(usable).find(|slot| {
                    let here = at < u64::from(slot.weight);
                    at = at.saturating_sub(u64::from(slot.weight));
                    here
                })
            }
        }
    }

    /// Addresses in order, for tests and metrics.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.slots.iter().map(|slot| slot.endpoint.address)
    }
}

impl Slot {
    fn hash(&self) -> u64 {
        hash_address(self.endpoint.address.ip()) ^ mix(u64::from(self.endpoint.address.port()))
    }
}

/// Stable over restarts and nodes (rendezvous hashing): no keyed hasher.
fn hash_address(address: IpAddr) -> u64 {
    let bits = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    };
    mix((bits >> 64) as u64 ^ mix(bits as u64))
}

/// splitmix64's finaliser.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Gives (address, policy) the same endpoint, with its key and count, for as long as anybody holds it.
#[derive(Default)]
pub struct EndpointRegistry {
    known: HashMap<(SocketAddr, u64), Weak<Endpoint>>,
    next: u32,
    sweep_at: usize,
}

impl EndpointRegistry {
    fn get(&mut self, address: SocketAddr, policy: u64) -> EndpointRef {
        if let Some(endpoint) = self.known.get(&(address, policy)).and_then(Weak::upgrade) {
            return endpoint;
        }
        if self.known.len() > self.sweep_at {
            self.known.retain(|_, endpoint| endpoint.strong_count() > 0);
            self.sweep_at = self.known.len() * 2 + 64;
        }
        self.next = self.next.wrapping_add(1);
        let endpoint = Arc::new(Endpoint { key: EndpointKey(self.next), address, active: AtomicU32::new(0) });
        self.known.insert((address, policy), Arc::downgrade(&endpoint));
        endpoint
    }

    /// Builds a cluster's state from what was committed. `denied` addresses are left out (design 2.14, SSRF).
    pub fn build(
        &mut self,
        cluster: &protocol::Cluster,
        endpoints: &protocol::Endpoints,
        tls: Option<(UpstreamTls, u64)>,
        denied: &AddressSet,
    ) -> Result<ClusterState, String> {
        let policy = tls.as_ref().map_or(0, |(_, policy)| *policy);
        let mut slots = Vec::with_capacity(endpoints.endpoints.len());
        for endpoint in &endpoints.endpoints {
            let (address, port) = parse_endpoint(endpoint)?;
            if denied.contains(address) {
                continue;
            }
            let weight = endpoint.weight.clamp(1, 65_536);
            let endpoint_ref = self.get(SocketAddr::new(address.to_canonical(), port), policy);
            slots.push(Slot { endpoint: endpoint_ref, weight, draining: endpoint.draining });
        }
        let or = |value: u32, default: u64| if value == 0 { default } else { u64::from(value) };
        Ok(ClusterState {
            tls: tls.map(|(tls, _)| tls),
            connect_timeout_ms: or(cluster.connect_timeout_ms, limits::CONNECT_TIMEOUT_MS),
            response_head_timeout_ms: or(cluster.response_head_timeout_ms, limits::RESPONSE_HEAD_TIMEOUT_MS),
            read_timeout_ms: or(cluster.read_timeout_ms, limits::UPSTREAM_READ_TIMEOUT_MS),
            write_timeout_ms: or(cluster.write_timeout_ms, limits::UPSTREAM_WRITE_TIMEOUT_MS),
            keepalive_timeout_ms: or(cluster.keepalive_timeout_ms, limits::UPSTREAM_IDLE_TIMEOUT_MS),
            retries: cluster.retries,
            try_duration_ms: u64::from(cluster.try_duration_ms),
            balancing: cluster.balancing(),
            order: order_slots(&slots),
            slots: slots.into(),
        })
    }
}

/// Address and port of an endpoint.
pub(super) fn parse_endpoint(endpoint: &protocol::Endpoint) -> Result<(IpAddr, u16), String> {
    let address = endpoint.address.parse().map_err(|_| format!("{:?} is no address", endpoint.address))?;
    let port = u16::try_from(endpoint.port).map_err(|_| format!("{} is no port", endpoint.port))?;
    Ok((address, port))
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
