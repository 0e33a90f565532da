//! Every selection over endpoints of any number, weight and standing.

use super::clusters::{Attempt, Cluster, EndpointRegistry};
use crate::addresses::AddressSet;
use crate::exchange::Exchange;
use crate::protocol::{self, Balancing};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const BALANCINGS: [Balancing; 13] = [
    Balancing::Random,
    Balancing::RoundRobin,
    Balancing::LeastConnections,
    Balancing::First,
    Balancing::ClientIpHash,
    Balancing::UriHash,
    Balancing::RandomChoose,
    Balancing::WeightedRoundRobin,
    Balancing::RemoteIpHash,
    Balancing::QueryHash,
    Balancing::HeaderHash,
    Balancing::Cookie,
    Balancing::PeakEwma,
];

fn endpoints(weights: &[u32]) -> protocol::Endpoints {
    let endpoint = |(index, &weight): (usize, &u32)| protocol::Endpoint {
        address: format!("192.0.2.{}", index + 1),
        port: 80,
        weight,
        ..Default::default()
    };
    protocol::Endpoints {
        endpoints: weights.iter().enumerate().map(endpoint).collect(),
        ..Default::default()
    }
}

fn build(message: &protocol::Cluster, weights: &[u32]) -> Arc<Cluster> {
    let mut registry = EndpointRegistry::default();
    let state = registry.build(message, &endpoints(weights), None, &AddressSet::default(), None);
    Cluster::new("c", state.unwrap())
}

fn with(balancing: Balancing, selection: protocol::Selection) -> protocol::Cluster {
    protocol::Cluster {
        selection: Some(protocol::Selection { balancing: balancing.into(), key: "k".into(), ..selection }),
        ..Default::default()
    }
}

/// How often each of the endpoints was chosen.
fn count(cluster: &Cluster, endpoints: usize, turns: usize) -> Vec<usize> {
    let mut counts = vec![0; endpoints];
    for _ in 0..turns {
        let picked = cluster.pick(&Exchange::new(), &[], 1).unwrap().endpoint;
        counts[usize::from(last_byte(&picked.address)) - 1] += 1;
    }
    counts
}

fn last_byte(address: &std::net::SocketAddr) -> u8 {
    match address.ip() {
        std::net::IpAddr::V4(address) => address.octets()[3],
        std::net::IpAddr::V6(_) => unreachable!("endpoints of these tests are IPv4"),
    }
}

proptest! {
    #[test]
    fn what_is_down_or_tried_is_never_chosen_and_what_is_left_always_is(
        kind in 0..BALANCINGS.len(),
        standings in prop::collection::vec((any::<bool>(), any::<bool>()), 0..8),
    ) {
        let mut message = with(BALANCINGS[kind], protocol::Selection::default());
        if BALANCINGS[kind] == Balancing::WeightedRoundRobin {
            message.selection.as_mut().unwrap().weights = vec![1; standings.len()];
        }
        let down = standings.iter().enumerate().filter(|(_, (down, _))| *down);
        message.down = down.map(|(index, _)| format!("192.0.2.{}:80", index + 1)).collect();
        let cluster = build(&message, &vec![1; standings.len()]);
        let keys: Vec<_> = cluster.state().slots.iter().map(|slot| slot.endpoint.key).collect();
        let tried: Vec<_> =
            keys.iter().zip(&standings).filter(|(_, (_, tried))| *tried).map(|(key, _)| *key).collect();
        let left = standings.iter().any(|(down, tried)| !down && !tried);
        for _ in 0..16 {
            let picked = cluster.pick(&Exchange::new(), &tried, 1);
            prop_assert_eq!(picked.is_some(), left);
            if let Some(picked) = picked {
                let index = usize::from(last_byte(&picked.endpoint.address)) - 1;
                prop_assert_eq!(standings[index], (false, false));
            }
        }
    }

    #[test]
    fn weighted_turns_are_exact_over_a_round(weights in prop::collection::vec(0u32..6, 1..6)) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let selection = protocol::Selection { weights: weights.clone(), ..Default::default() };
        let cluster = build(&with(Balancing::WeightedRoundRobin, selection), &vec![1; weights.len()]);
        let counts = count(&cluster, weights.len(), 60 * weights.iter().sum::<u32>() as usize);
        let unit = counts.iter().sum::<usize>() as f64 / f64::from(weights.iter().sum::<u32>());
        for (count, weight) in counts.iter().zip(&weights) {
            prop_assert!((*count as f64 - unit * f64::from(*weight)).abs() <= unit * 0.05, "{counts:?} {weights:?}");
        }
    }
}

#[test]
fn chance_spreads_evenly() {
    for balancing in
        [Balancing::Random, Balancing::RandomChoose, Balancing::LeastConnections, Balancing::PeakEwma]
    {
        let cluster =
            build(&with(balancing, protocol::Selection { choose: 2, ..Default::default() }), &[1; 4]);
        let counts = count(&cluster, 4, 8000);
        assert!(counts.iter().all(|count| (1600..2400).contains(count)), "{balancing:?} {counts:?}");
    }
}

#[test]
fn the_less_busy_of_those_compared_is_chosen() {
    for balancing in [Balancing::LeastConnections, Balancing::RandomChoose, Balancing::PeakEwma] {
        let selection = protocol::Selection { choose: 3, ..Default::default() };
        let cluster = build(&with(balancing, selection), &[1; 2]);
        cluster.state().slots[0].endpoint.active.store(5, Relaxed);
        assert_eq!(count(&cluster, 2, 50), [0, 50], "{balancing:?}");
    }
}

#[test]
fn peak_ewma_leaves_the_slow_one() {
    let cluster = build(&with(Balancing::PeakEwma, protocol::Selection::default()), &[1; 2]);
    for latency_ms in [5u64, 50] {
        let state = cluster.state();
        let slot = &state.slots[usize::from(latency_ms == 5)];
        let attempt = Attempt::Answered { status: 200, latency_ns: latency_ms * 1_000_000 };
        assert!(!cluster.report(&slot.standing, attempt, 1_000_000_000));
    }
    assert_eq!(count(&cluster, 2, 50), [0, 50]);
}

#[test]
fn outliers_are_ejected_up_to_their_share_and_come_back() {
    let outliers = protocol::OutlierEjection { failures: 3, ejection_ms: 1000, share_max_percent: 50 };
    let message = protocol::Cluster { outliers: Some(outliers), ..Default::default() };
    let cluster = build(&message, &[1; 4]);
    let state = cluster.state();
    let ejected: Vec<_> = state
        .slots
        .iter()
        .flat_map(|slot| [0; 3].map(|now_ns| cluster.report(&slot.standing, Attempt::Failed, now_ns)))
        .collect();
    assert_eq!(ejected.iter().filter(|ejected| **ejected).count(), 2);
    assert!(ejected[2] && ejected[5]);
    assert_eq!(
        state.slots.iter().map(|slot| slot.standing.is_ejected(1)).collect::<Vec<_>>(),
        [true, true, false, false]
    );
    assert!(state.slots.iter().all(|slot| slot.standing.is_healthy(1000)));
}

#[test]
fn full_endpoints_are_passed_over_and_with_all_full_none_is_chosen() {
    let message = protocol::Cluster { requests_per_endpoint_max: 2, ..Default::default() };
    let cluster = build(&message, &[1; 2]);
    cluster.state().slots[0].endpoint.active.store(2, Relaxed);
    assert_eq!(count(&cluster, 2, 50), [0, 50]);
    cluster.state().slots[1].endpoint.active.store(2, Relaxed);
    assert!(cluster.pick(&Exchange::new(), &[], 1).is_none());
}

#[test]
fn unhealthy_statuses_and_slow_answers_count_as_failures() {
    let passive = protocol::PassiveHealth {
        fail_duration_ms: 1000,
        fails_max: 1,
        statuses: vec![5, 429],
        latency_ms: 100,
        ..Default::default()
    };
    let message = protocol::Cluster { passive_health: Some(passive), ..Default::default() };
    for (status, latency_ns, healthy) in
        [(200, 0, true), (404, 0, true), (500, 0, false), (429, 0, false), (200, 100_000_000, false)]
    {
        let cluster = build(&message, &[1]);
        let standing = cluster.pick(&Exchange::new(), &[], 1).unwrap().standing.unwrap();
        assert!(!cluster.report(&standing, Attempt::Answered { status, latency_ns }, 0));
        assert_eq!(cluster.pick(&Exchange::new(), &[], 1).is_some(), healthy, "{status}");
        assert!(cluster.pick(&Exchange::new(), &[], 1000).is_some());
    }
}

#[test]
fn a_newcomer_to_a_serving_cluster_starts_slowly() {
    let message = protocol::Cluster { slow_start_ms: 10_000, ..Default::default() };
    let cluster = build(&message, &[1; 2]);
    cluster.state().slots[1].standing.joined_ms.store(1, Relaxed);
    let counts = count(&cluster, 2, 8000);
    assert!(counts[1] < 1200 && counts[1] > 300, "{counts:?}");
}

#[test]
fn what_is_known_of_an_endpoint_outlives_a_swap_of_endpoints() {
    let mut registry = EndpointRegistry::default();
    let mut message = protocol::Cluster::default();
    let unwatched =
        registry.build(&message, &endpoints(&[1, 1]), None, &AddressSet::default(), None).unwrap();
    assert!(Arc::ptr_eq(&unwatched.slots[0].standing, &unwatched.slots[1].standing));
    message.passive_health = Some(protocol::PassiveHealth { fail_duration_ms: 1000, ..Default::default() });
    let mut build = |weights: &[u32], former: Option<&super::ClusterState>| {
        registry.build(&message, &endpoints(weights), None, &AddressSet::default(), former).unwrap()
    };
    let before = build(&[1, 1], Some(&unwatched));
    assert!(!Arc::ptr_eq(&before.slots[0].standing, &before.slots[1].standing));
    assert_eq!(before.slots[0].standing.joined_ms.load(Relaxed), 0);
    let after = build(&[1, 1, 1], Some(&before));
    assert!(Arc::ptr_eq(&before.slots[1].standing, &after.slots[1].standing));
    assert!(after.slots[2].standing.joined_ms.load(Relaxed) > 0);
}

#[test]
fn another_zone_serves_where_this_one_cannot_and_what_drains_comes_last() {
    for balancing in BALANCINGS {
        let mut message = endpoints(&[1, 1, 1]);
        message.endpoints[0].draining = true;
        message.endpoints[1].elsewhere = true;
        let cluster = with(balancing, protocol::Selection::default());
        let built = EndpointRegistry::default().build(&cluster, &message, None, &AddressSet::default(), None);
        let cluster = Cluster::new("c", built.unwrap());
        let mut tried = Vec::new();
        let mut order = Vec::new();
        while let Some(picked) = cluster.pick(&Exchange::new(), &tried, 1) {
            tried.push(picked.endpoint.key);
            order.push(last_byte(&picked.endpoint.address));
        }
        assert_eq!(order, [3, 2, 1], "{balancing:?}");
    }
}
