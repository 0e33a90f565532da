//! The choice of an endpoint (Caddy: selectionpolicies.go; peak EWMA is ours).
//!
//! In: a request, the slots of a cluster, what is known of them. Out: a slot. Rule: an endpoint that is unhealthy, full or
//! already tried is never chosen; one of another zone only where none of this zone is left, one that drains only where no
//! other is.

use super::clusters::{ClusterState, EndpointKey, EndpointRef};
use super::standing::Standing;
use crate::digests::hex;
use crate::exchange::{Exchange, queries, random};
use crate::protocol;
use aws_lc_rs::hmac;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use xxhash_rust::xxh64::Xxh64;

/// A policy with its arguments.
pub struct Selection {
    balancing: protocol::Balancing,
    choose: usize,
    key: Box<[u8]>,
    secret: Box<[u8]>,
    max_age_ms: u64,
    fallback: Option<Box<Selection>>,
}

/// An endpoint as one cluster has it.
pub struct Slot {
    pub endpoint: EndpointRef,
    pub standing: Arc<Standing>,
    pub weight: u32,
    pub draining: bool,
    /// Other zones are to prefer it.
    pub elsewhere: bool,
    /// The agent's probes found it unhealthy.
    pub down: bool,
    /// As it was configured: what is hashed with a request's key, and signed in a cookie.
    pub dial: Box<str>,
    pub cookie: Box<str>,
}

/// What all choices of one request look at.
pub struct Question<'a> {
    pub exchange: &'a Exchange,
    pub tried: &'a [EndpointKey],
    pub now_ms: u64,
    /// More requests under way than this make an endpoint full; 0 is no limit.
    pub requests_max: u32,
    pub slow_start_ms: u64,
    /// All slots have the lowest rank.
    pub is_flat: bool,
}

pub struct Choice<'a> {
    pub slot: &'a Slot,
    /// The request had no cookie that still holds: this is its `Set-Cookie`.
    pub cookie: Option<Box<[u8]>>,
}

impl Slot {
    /// Slots of a higher rank are chosen where those of lower ranks cannot be.
    pub fn rank(&self) -> u8 {
        if self.draining { 2 } else { u8::from(self.elsewhere) }
    }
}

impl Question<'_> {
    fn is_usable(&self, slot: &Slot) -> bool {
        !slot.down
            && slot.standing.is_healthy(self.now_ms)
            && (self.requests_max == 0 || slot.endpoint.active.load(Relaxed) < self.requests_max)
            && !self.tried.contains(&slot.endpoint.key)
    }

    /// A slot's weight; that of a newcomer grows from a tenth of it.
    fn weight(&self, slot: &Slot) -> u64 {
        let weight = u64::from(slot.weight) * 16;
        let joined_ms = slot.standing.joined_ms.load(Relaxed);
        let age_ms = self.now_ms.saturating_sub(joined_ms);
        if joined_ms == 0 || age_ms >= self.slow_start_ms {
            return weight;
        }
        (weight * age_ms / self.slow_start_ms).max(weight / 10).max(1)
    }
}

impl Selection {
    pub fn compile(cluster: &protocol::Cluster) -> Selection {
        match &cluster.selection {
            Some(selection) => Selection::new(selection),
            None => Selection::plain(cluster.balancing()),
        }
    }

    fn plain(balancing: protocol::Balancing) -> Selection {
        Selection {
            balancing,
            choose: 2,
            key: Box::default(),
            secret: Box::default(),
            max_age_ms: 0,
            fallback: None,
        }
    }

    fn new(message: &protocol::Selection) -> Selection {
        Selection {
            choose: message.choose.max(2) as usize,
            key: message.key.as_bytes().into(),
            secret: message.secret.as_ref().into(),
            max_age_ms: message.max_age_ms,
            fallback: message.fallback.as_deref().map(|fallback| Box::new(Selection::new(fallback))),
            ..Selection::plain(message.balancing())
        }
    }

    /// The cookie's value for an endpoint; "" where there is no cookie (Caddy: hashCookie).
    pub fn sign(&self, dial: &str) -> Box<str> {
        if self.balancing != protocol::Balancing::Cookie {
            return "".into();
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let tag = hmac::sign(&key, dial.as_bytes());
        hex(tag.as_ref()).into()
    }

    /// Latencies are of interest.
    pub fn watches_latency(&self) -> bool {
        self.balancing == protocol::Balancing::PeakEwma
            || self.fallback.as_ref().is_some_and(|fallback| fallback.watches_latency())
    }

    /// The endpoint for an attempt. `order` and `next`: the turns of round robin.
    pub fn choose<'a>(
        &self,
        slots: &'a [Slot],
        order: &[u16],
        next: &AtomicUsize,
        question: &Question,
    ) -> Option<Choice<'a>> {
        let rank = match question.is_flat {
            true => 0,
            false => slots.iter().filter(|slot| question.is_usable(slot)).map(Slot::rank).min()?,
        };
        let usable = move |slot: &&Slot| slot.rank() == rank && question.is_usable(slot);
        let exchange = question.exchange;
        let plain = |slot: Option<&'a Slot>| slot.map(|slot| Choice { slot, cookie: None });
        match self.balancing {
            protocol::Balancing::First => plain(slots.iter().find(usable)),
            protocol::Balancing::RoundRobin | protocol::Balancing::WeightedRoundRobin => {
                // Caddy begins with the second.
                let turn = next.fetch_add(1, Relaxed).wrapping_add(1);
                let at = |step: usize| &slots[usize::from(order[turn.wrapping_add(step) % order.len()])];
                let turned = (0..order.len()).map(at).find(usable);
                plain(turned.or_else(|| slots.iter().find(usable)))
            }
            protocol::Balancing::LeastConnections => {
                let start = random() as usize % slots.len().max(1);
                let turned = slots[start..].iter().chain(&slots[..start]).filter(usable);
                plain(turned.min_by_key(|slot| {
                    u64::from(slot.endpoint.active.load(Relaxed)) * (1 << 24) / question.weight(slot)
                }))
            }
            protocol::Balancing::RandomChoose => {
                let chosen = sample(slots.iter().filter(usable), self.choose);
                plain(chosen.into_iter().min_by_key(|slot| slot.endpoint.active.load(Relaxed)))
            }
            protocol::Balancing::PeakEwma => {
                let chosen = sample(slots.iter().filter(usable), 2);
                plain(chosen.into_iter().min_by_key(|slot| {
                    let under_way = u128::from(slot.endpoint.active.load(Relaxed)) + 1;
                    ((u128::from(slot.standing.latency_ns()) * under_way) << 24)
                        / u128::from(question.weight(slot))
                }))
            }
            protocol::Balancing::Random => plain(pick_random(slots.iter().filter(usable), question)),
            protocol::Balancing::Cookie => self.choose_by_cookie(slots, order, next, question, usable),
            _ => match self.hash_key(exchange) {
                Some(key) => plain(slots.iter().filter(usable).max_by_key(|slot| hash(slot, &key))),
                None => self.fall_back(slots, order, next, question),
            },
        }
    }

    fn fall_back<'a>(
        &self,
        slots: &'a [Slot],
        order: &[u16],
        next: &AtomicUsize,
        question: &Question,
    ) -> Option<Choice<'a>> {
        match &self.fallback {
            Some(fallback) => fallback.choose(slots, order, next, question),
            None => Selection::plain(protocol::Balancing::Random).choose(slots, order, next, question),
        }
    }

    fn choose_by_cookie<'a>(
        &self,
        slots: &'a [Slot],
        order: &[u16],
        next: &AtomicUsize,
        question: &Question,
        usable: impl Fn(&&Slot) -> bool,
    ) -> Option<Choice<'a>> {
        if let Some(value) = question.exchange.cookie(&self.key) {
            let same = |slot: &&Slot| {
                subtle::ConstantTimeEq::ct_eq(slot.cookie.as_bytes(), value).into() && usable(slot)
            };
            if let Some(slot) = slots.iter().find(same) {
                return Some(Choice { slot, cookie: None });
            }
        }
        let chosen = self.fall_back(slots, order, next, question)?;
        let mut cookie = [&self.key, &b"="[..], chosen.slot.cookie.as_bytes(), b"; Path=/"].concat();
        if self.max_age_ms > 0 {
            cookie.extend_from_slice(format!("; Max-Age={}", self.max_age_ms / 1000).as_bytes());
        }
        cookie.extend_from_slice(match question.exchange.is_secure() {
            true => b"; HttpOnly; Secure; SameSite=None",
            false => b"; HttpOnly; SameSite=Lax".as_slice(),
        });
        Some(Choice { slot: chosen.slot, cookie: Some(cookie.into()) })
    }

    /// What of the request is hashed; None: nothing is there.
    fn hash_key(&self, exchange: &Exchange) -> Option<Vec<u8>> {
        let address = |address: IpAddr| address.to_canonical().to_string().into_bytes();
        match self.balancing {
            protocol::Balancing::ClientIpHash => Some(address(exchange.client())),
            protocol::Balancing::RemoteIpHash => Some(address(exchange.remote())),
            protocol::Balancing::UriHash => Some(exchange.target().to_vec()),
            protocol::Balancing::QueryHash => {
                let pairs = queries::parse(exchange.query());
                let values: Vec<_> =
                    pairs.into_iter().filter(|(key, _)| *key == *self.key).map(|(_, value)| value).collect();
                Some(values.join(&b',')).filter(|joined: &Vec<u8>| !joined.is_empty())
            }
            protocol::Balancing::HeaderHash => {
                let value = match self.key.eq_ignore_ascii_case(b"host") {
                    true => exchange.authority(),
                    false => exchange.request_field(&self.key).unwrap_or(b""),
                };
                Some(value.to_vec()).filter(|value| !value.is_empty())
            }
            _ => None,
        }
    }
}

/// Highest random weight: stable over restarts and nodes, and the same as Caddy's.
fn hash(slot: &Slot, key: &[u8]) -> u64 {
    let mut hasher = Xxh64::new(0);
    hasher.update(slot.dial.as_bytes());
    hasher.update(key);
    hasher.digest()
}

/// So many slots at random, each as likely as any other (Algorithm R).
fn sample<'a>(slots: impl Iterator<Item = &'a Slot>, count: usize) -> Vec<&'a Slot> {
    let mut chosen = Vec::with_capacity(count);
    for (index, slot) in slots.enumerate() {
        if chosen.len() < count {
            chosen.push(slot);
        } else if let Some(place) = chosen.get_mut(random() as usize % (index + 1)) {
            *place = slot;
        }
    }
    // Of two that are equal the first wins: which is first is chance too.
    if chosen.len() > 1 {
        let turns = random() as usize % chosen.len();
        chosen.rotate_left(turns);
    }
    chosen
}

fn pick_random<'a>(slots: impl Iterator<Item = &'a Slot> + Clone, question: &Question) -> Option<&'a Slot> {
    let total: u64 = slots.clone().map(|slot| question.weight(slot)).sum();
    let mut at = random().checked_rem(total)?;
    let mut slots = slots;
    slots.find(|slot| {
        let weight = question.weight(slot);
        let here = at < weight;
        at = at.saturating_sub(weight);
        here
    })
}
impl ClusterState {
    /// Whether the endpoint is one of the cluster's; those that requests name always are.
    pub fn has(&self, key: EndpointKey) -> bool {
        self.dials.is_some() || self.slots.iter().any(|slot| slot.endpoint.key == key)
    }
}
