//! Commits: what is found afterwards, what is refused, what is shared.

use super::Snapshot;
use super::store::{Change, Store};
use crate::exchange::{Exchange, ListenerId};
use crate::program::{abi, image};
use crate::protocol::{self, ResourceType};
use prost::Message;
use std::sync::Arc;

fn put(kind: ResourceType, name: &str, message: &impl Message) -> Change {
    Change::Put { kind, name: name.into(), payload: message.encode_to_vec().into(), descriptor: None }
}

/// `mov64 r0, 2; exit`.
fn put_image(name: &str) -> Change {
    let code = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let message = protocol::Image {
        name: name.into(),
        abi: abi::ABI_VERSION as u32,
        target: "ebpf".into(),
        code_bytes: 16,
        code_digest: aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &code).as_ref().to_vec().into(),
        ..protocol::Image::default()
    };
    let payload = message.encode_to_vec().into();
    let descriptor = Some(image::seal(&code).unwrap());
    Change::Put { kind: ResourceType::Image, name: name.into(), payload, descriptor }
}

fn put_listener(name: &str) -> Change {
    let message = protocol::Listener { name: name.into(), port: 80, ..protocol::Listener::default() };
    put(ResourceType::Listener, name, &message)
}

fn put_host(name: &str, hosts: &[&str], listeners: &[&str]) -> Change {
    let message = protocol::VirtualHost {
        name: name.into(),
        hosts: hosts.iter().map(|&host| host.into()).collect(),
        listeners: listeners.iter().map(|&listener| listener.into()).collect(),
        program: "p".into(),
        ..protocol::VirtualHost::default()
    };
    put(ResourceType::VirtualHost, name, &message)
}

fn put_endpoints(name: &str, addresses: &[(&str, u32)]) -> Change {
    let endpoints = addresses.iter().map(|&(address, port)| protocol::Endpoint {
        address: address.into(),
        port,
        ..protocol::Endpoint::default()
    });
    let message =
        protocol::Endpoints { name: name.into(), endpoints: endpoints.collect(), ..Default::default() };
    put(ResourceType::Endpoints, name, &message)
}

fn put_cluster(name: &str, endpoints: &str, balancing: protocol::Balancing) -> Change {
    let message = protocol::Cluster {
        name: name.into(),
        endpoints: endpoints.into(),
        balancing: balancing.into(),
        ..protocol::Cluster::default()
    };
    put(ResourceType::Cluster, name, &message)
}

fn put_tables(name: &str, cluster: &str) -> Change {
    let call = protocol::ProxyCall { cluster: cluster.into(), ..protocol::ProxyCall::default() };
    put(
        ResourceType::Tables,
        name,
        &protocol::Tables { name: name.into(), proxies: vec![call], ..Default::default() },
    )
}

fn found<'a>(snapshot: &'a Snapshot, listener: &str, host: &str) -> Option<&'a str> {
    let id = snapshot
        .listeners()
        .iter()
        .find(|known| &*known.name == listener)
        .map_or(ListenerId(99), |known| known.id);
    snapshot.find(id, host.as_bytes()).map(|host| &*host.name)
}

#[test]
fn exact_names_win_over_wildcards_of_one_label_and_those_over_the_rest() {
    let (snapshot, refused) = Store::default().commit(
        "1",
        vec![
            put_image("p"),
            put_host("exact", &["a.example.com"], &["http", "https"]),
            put_host("wildcard", &["*.example.com"], &["http"]),
            put_host("any", &[""], &["http"]),
            put_listener("http"),
            put_listener("https"),
        ],
    );
    assert_eq!(refused, []);
    for (listener, host, expected) in [
        ("http", "a.example.com", Some("exact")),
        ("https", "a.example.com", Some("exact")),
        ("http", "b.example.com", Some("wildcard")),
        ("http", "a.b.example.com", Some("any")),
        ("http", "example.com", Some("any")),
        ("http", "", Some("any")),
        ("https", "b.example.com", None),
        ("gone", "a.example.com", None),
    ] {
        assert_eq!(found(&snapshot, listener, host), expected, "{listener} {host}");
    }
}

#[test]
fn a_refused_resource_leaves_what_refers_to_it_at_its_former_version() {
    let mut store = Store::default();
    let base = vec![put_listener("http"), put_image("p"), put_host("h", &["a.test"], &["http"])];
    assert_eq!(store.commit("1", base).1, []);
    let mut bad =
        protocol::VirtualHost { name: "h".into(), hosts: vec!["b.test".into()], ..Default::default() };
    bad.program = "missing".into();
    let broken = Change::Put {
        kind: ResourceType::Settings,
        name: "settings".into(),
        payload: vec![0xff; 8].into(),
        descriptor: None,
    };
    let changes = vec![put(ResourceType::VirtualHost, "h", &bad), put_tables("t", "no cluster"), broken];
    let (snapshot, refused) = store.commit("2", changes);
    let names: Vec<_> = refused.iter().map(|refusal| refusal.name.as_str()).collect();
    assert_eq!(names, ["settings", "t", "h"]);
    assert_eq!((found(&snapshot, "http", "a.test"), found(&snapshot, "http", "b.test")), (Some("h"), None));
}

#[test]
fn a_host_moves_from_its_former_names_and_is_gone_when_removed() {
    let mut store = Store::default();
    store.commit("1", vec![put_listener("http"), put_image("p"), put_host("h", &["a.test"], &["http"])]);
    let (moved, _) = store.commit("2", vec![put_host("h", &["b.test"], &["http"])]);
    assert_eq!((found(&moved, "http", "a.test"), found(&moved, "http", "b.test")), (None, Some("h")));
    let remove = Change::Remove { kind: ResourceType::VirtualHost, name: "h".into() };
    let (removed, _) = store.commit("3", vec![remove]);
    assert_eq!(found(&removed, "http", "b.test"), None);
    assert_eq!(found(&moved, "http", "b.test"), Some("h"), "a snapshot in use does not change");
}

#[test]
fn each_of_many_hosts_is_found_by_all_its_names_until_it_is_removed() {
    let names = |number: usize| {
        let alias =
            format!("{}{number}.alias-longer-than-what-lies-beside-its-host.test", "x".repeat(number % 40));
        [format!("host-{number}.example.test"), alias, format!("*.of-{number}.test")]
    };
    let asked = |number| names(number).map(|name| name.replace('*', "any"));
    let put =
        |number| put_host(&format!("h{number}"), &names(number).each_ref().map(String::as_str), &["http"]);
    let mut store = Store::default();
    let changes = [put_listener("http"), put_image("p")].into_iter().chain((0..2_000).map(put)).collect();
    let (all, refused) = store.commit("1", changes);
    assert_eq!(refused, []);
    let gone = |number: &usize| number.is_multiple_of(3);
    let remove = |number| Change::Remove { kind: ResourceType::VirtualHost, name: format!("h{number}") };
    let (some, _) = store.commit("2", (0..2_000).filter(gone).map(remove).collect());
    for number in 0..2_000 {
        let name = format!("h{number}");
        for host in asked(number) {
            assert_eq!(found(&all, "http", &host), Some(&*name), "{host}");
            assert_eq!(found(&some, "http", &host), (!gone(&number)).then_some(&*name), "{host}");
        }
    }
}

#[test]
fn of_hosts_with_one_name_the_first_is_found_and_then_the_next() {
    let mut store = Store::default();
    let hosts = ["c", "a", "b"].map(|name| put_host(name, &["a.test", "a.test"], &["http"]));
    store.commit("1", [put_listener("http"), put_image("p")].into_iter().chain(hosts).collect());
    for (version, expected) in [("2", Some("b")), ("3", Some("c")), ("4", None)] {
        let first = found(&store.commit("1", vec![]).0, "http", "a.test").unwrap().to_owned();
        let remove = Change::Remove { kind: ResourceType::VirtualHost, name: first };
        assert_eq!(found(&store.commit(version, vec![remove]).0, "http", "a.test"), expected);
    }
}

#[test]
fn endpoints_change_under_a_cluster_without_its_hosts_noticing() {
    let mut store = Store::default();
    let mut host =
        protocol::VirtualHost { name: "h".into(), hosts: vec!["a.test".into()], ..Default::default() };
    (host.program, host.tables, host.listeners) = ("p".into(), "t".into(), vec!["http".into()]);
    let (snapshot, refused) = store.commit(
        "1",
        vec![
            put_listener("http"),
            put_image("p"),
            put_cluster("c", "e", protocol::Balancing::First),
            put_tables("t", "c"),
            put(ResourceType::VirtualHost, "h", &host),
            put_endpoints("e", &[("10.0.0.1", 80), ("10.0.0.2", 80)]),
        ],
    );
    assert_eq!(refused, []);
    let before = snapshot.find(snapshot.listeners()[0].id, b"a.test").unwrap().clone();
    let first =
        |tried: &[_]| before.proxy(0).cluster.pick(&Exchange::new(), tried, 1).map(|picked| picked.endpoint);
    let one = first(&[]).unwrap();
    assert_eq!(one.address.to_string(), "10.0.0.1:80");
    assert_eq!(first(&[one.key]).unwrap().address.to_string(), "10.0.0.2:80");
    let (after, _) = store.commit("2", vec![put_endpoints("e", &[("10.0.0.2", 80), ("10.0.0.1", 80)])]);
    assert!(Arc::ptr_eq(after.find(after.listeners()[0].id, b"a.test").unwrap(), &before));
    assert_eq!(first(&[]).unwrap().address.to_string(), "10.0.0.2:80");
    assert_eq!(first(&[first(&[]).unwrap().key]).unwrap().key, one.key, "an endpoint keeps its key");
    store.commit("3", vec![put_endpoints("e", &[])]);
    assert!(first(&[]).is_none());
}

#[test]
fn denied_upstreams_are_never_picked() {
    let mut store = Store::default();
    let settings = protocol::Settings { denied_upstreams: vec!["127.0.0.0/8".into()], ..Default::default() };
    let (_, refused) = store.commit(
        "1",
        vec![
            put_endpoints("e", &[("127.0.0.1", 80), ("::ffff:127.0.0.1", 80), ("10.0.0.1", 80)]),
            put_cluster("c", "e", protocol::Balancing::RoundRobin),
        ],
    );
    assert_eq!(refused, []);
    assert_eq!(store.cluster_addresses("c"), ["127.0.0.1:80", "127.0.0.1:80", "10.0.0.1:80"]);
    store.commit("2", vec![put(ResourceType::Settings, "settings", &settings)]);
    assert_eq!(store.cluster_addresses("c"), ["10.0.0.1:80"]);
}

#[test]
fn balancing_follows_weights_and_skips_what_drains() {
    let mut store = Store::default();
    let endpoint = |address: &str, weight, draining| protocol::Endpoint {
        address: address.into(),
        port: 80,
        weight,
        draining,
        ..Default::default()
    };
    let endpoints =
        vec![endpoint("10.0.0.1", 3, false), endpoint("10.0.0.2", 1, false), endpoint("10.0.0.3", 9, true)];
    let message = protocol::Endpoints { name: "e".into(), endpoints, ..Default::default() };
    for balancing in [protocol::Balancing::RoundRobin, protocol::Balancing::Random] {
        store
            .commit("1", vec![put(ResourceType::Endpoints, "e", &message), put_cluster("c", "e", balancing)]);
        let cluster = store.cluster("c").unwrap();
        let mut counts = [0; 4];
        for _ in 0..4000 {
            let picked = cluster.pick(&Exchange::new(), &[], 1).unwrap().endpoint;
            counts[usize::from(picked.address.to_string().as_bytes()[7] - b'0')] += 1;
        }
        assert_eq!(counts[3], 0);
        assert!((2800..3200).contains(&counts[1]), "{balancing:?} {counts:?}");
    }
}

#[test]
fn one_client_keeps_its_endpoint_when_others_come() {
    let mut store = Store::default();
    let addresses: Vec<String> = (1..20).map(|last| format!("10.0.0.{last}")).collect();
    let listed: Vec<(&str, u32)> = addresses.iter().map(|address| (address.as_str(), 80)).collect();
    store.commit(
        "1",
        vec![put_endpoints("e", &listed[1..]), put_cluster("c", "e", protocol::Balancing::ClientIpHash)],
    );
    let cluster = store.cluster("c").unwrap();
    let pick = || cluster.pick(&Exchange::new(), &[], 1).unwrap().endpoint.address;
    let before = pick();
    store.commit("2", vec![put_endpoints("e", &listed)]);
    assert!(pick() == before || pick().to_string() == "10.0.0.1:80");
}

#[test]
fn a_certificate_must_fit_its_key() {
    let made = rcgen::generate_simple_self_signed(vec!["a.test".into()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["a.test".into()]).unwrap();
    let mut message = protocol::Certificate {
        name: "c".into(),
        hosts: vec!["a.test".into()],
        chain: vec![made.cert.der().to_vec().into()],
        key: made.signing_key.serialize_der().into(),
        ..protocol::Certificate::default()
    };
    let mut store = Store::default();
    assert_eq!(store.commit("1", vec![put(ResourceType::Certificate, "c", &message)]).1, []);
    message.key = other.signing_key.serialize_der().into();
    assert_eq!(store.commit("2", vec![put(ResourceType::Certificate, "c", &message)]).1.len(), 1);
    message.key = b"no key".to_vec().into();
    assert_eq!(store.commit("3", vec![put(ResourceType::Certificate, "c", &message)]).1.len(), 1);
}
