//! A snapshot with a few hosts whose programs are two instructions of byte code, and a worker that serves it.

use crate::access_log::AccessLog;
use crate::control::{WorkerSender, worker_channel};
use crate::files::pool::Files;
use crate::metrics::WorkerMetrics;
use crate::passwords::Passwords;
use crate::plugins::fetching::Fetches;
use crate::program::{abi, image};
use crate::protocol::{self, ResourceType};
use crate::serve::{IoChoice, IoReport, WorkerContext};
use crate::snapshot::{Change, Snapshot, Store};
use prost::Message;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};

pub const PLAIN: &str = "http";
pub const TLS: &str = "https";
pub const BEHIND_PROXY: &str = "proxied";
pub const DATAGRAMS: &str = "datagrams";

/// What differs between tests.
#[derive(Default)]
pub struct Setup {
    /// Endpoints of shop.example, tried in order.
    pub endpoints: Vec<SocketAddr>,
    pub body_bytes_max: u64,
    /// The upstream speaks TLS with this certificate.
    pub upstream_ca: Option<Vec<u8>>,
    /// Where copies of requests for copied.example go.
    pub mirror: Option<SocketAddr>,
    /// Endpoints of spoken.example, which speak HTTP/2 from the first byte.
    pub spoken: Vec<SocketAddr>,
    /// Where datagrams go, tried in order.
    pub datagrams: Vec<SocketAddr>,
    /// What shop.example asks of clients with TLS.
    pub tls: Option<protocol::TlsPolicy>,
}

/// Certificate and key (DER) for shop.example and 127.0.0.1.
pub fn certificate() -> &'static (Vec<u8>, Vec<u8>) {
    static MADE: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    MADE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(vec!["shop.example".to_owned()]).unwrap();
        (made.cert.der().to_vec(), made.signing_key.serialize_der())
    })
}

fn put(kind: ResourceType, name: &str, message: &impl Message) -> Change {
    let payload = message.encode_to_vec().into();
    Change::Put { kind, name: name.to_owned(), payload, descriptor: None }
}

/// `r0 = action; exit`.
fn decide(action: u64, row: u64) -> Vec<u8> {
    let value = action | row << 32;
    let mut code = vec![0x18, 0, 0, 0];
    code.extend((value as u32).to_le_bytes());
    code.extend([0, 0, 0, 0]);
    code.extend(((value >> 32) as u32).to_le_bytes());
    code.extend([0x95, 0, 0, 0, 0, 0, 0, 0]);
    code
}

fn program(name: &str, action: u64, row: u64) -> Change {
    image(name, &decide(action, row))
}

/// Proxies by row 1, and passes the answer on at any other entry.
fn seeing_program(name: &str) -> Change {
    let jump_unless_request = vec![0x55, 2, 3, 0, 0, 0, 0, 0];
    image(name, &[jump_unless_request, decide(abi::ACTION_PROXY, SEEN), decide(abi::ACTION_PASS, 0)].concat())
}

fn image(name: &str, code: &[u8]) -> Change {
    let message = protocol::Image {
        name: name.to_owned(),
        abi: abi::ABI_VERSION as u32,
        target: "ebpf".to_owned(),
        code_bytes: code.len() as u32,
        code_digest: aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, code).as_ref().to_vec().into(),
        ..protocol::Image::default()
    };
    let payload = message.encode_to_vec().into();
    let descriptor = Some(image::seal(code).unwrap());
    Change::Put { kind: ResourceType::Image, name: name.to_owned(), payload, descriptor }
}

fn text(literal: &str) -> Option<protocol::Text> {
    let part = protocol::part::Part::Literal(literal.to_owned());
    Some(protocol::Text { parts: vec![protocol::Part { part: Some(part) }] })
}

fn listener(name: &str, tls: bool, proxy_protocol: bool) -> Change {
    let message = protocol::Listener {
        name: name.to_owned(),
        address: "127.0.0.1".to_owned(),
        port: 8080,
        tls,
        proxy_protocol,
        http2: name == PLAIN,
        ..Default::default()
    };
    put(ResourceType::Listener, name, &message)
}

/// A listener for datagrams, and the host that they all belong to.
fn datagrams() -> [Change; 2] {
    let listener = protocol::Listener {
        name: DATAGRAMS.to_owned(),
        address: "127.0.0.1".to_owned(),
        port: 5353,
        transport: protocol::Transport::Udp as i32,
        ..Default::default()
    };
    let host = protocol::VirtualHost {
        name: DATAGRAMS.to_owned(),
        hosts: vec![String::new()],
        listeners: vec![DATAGRAMS.to_owned()],
        program: DATAGRAMS.to_owned(),
        tables: "tables".to_owned(),
        stream: protocol::Stream::PassThrough as i32,
        judges_streams: true,
        ..Default::default()
    };
    [put(ResourceType::Listener, DATAGRAMS, &listener), put(ResourceType::VirtualHost, DATAGRAMS, &host)]
}

fn virtual_host(host: &str, program: &str, tls: Option<protocol::TlsPolicy>) -> Change {
    let message = protocol::VirtualHost {
        name: host.to_owned(),
        hosts: vec![host.to_owned()],
        listeners: vec![PLAIN.to_owned(), TLS.to_owned(), BEHIND_PROXY.to_owned()],
        program: program.to_owned(),
        tables: "tables".to_owned(),
        deny: program.is_empty(),
        deny_reason: "closed by its owner".to_owned(),
        tls,
        ..Default::default()
    };
    put(ResourceType::VirtualHost, host, &message)
}

fn endpoints(name: &str, addresses: &[SocketAddr]) -> Change {
    let endpoint = |address: &SocketAddr| protocol::Endpoint {
        address: address.ip().to_string(),
        port: address.port().into(),
        ..Default::default()
    };
    let message = protocol::Endpoints {
        name: name.to_owned(),
        endpoints: addresses.iter().map(endpoint).collect(),
        ..Default::default()
    };
    put(ResourceType::Endpoints, name, &message)
}

/// The cluster of each host, its variants, and the mirror's.
fn clusters(setup: &Setup) -> Vec<Change> {
    let tls = setup.upstream_ca.clone().map(|ca| protocol::UpstreamTls {
        server_name: "shop.example".to_owned(),
        insecure_skip_verify: false,
        trusted_ca: vec![ca.into()],
        ..Default::default()
    });
    let message = protocol::Cluster {
        name: "shop".to_owned(),
        endpoints: "shop".to_owned(),
        balancing: protocol::Balancing::First as i32,
        tls,
        retries: 3,
        ..Default::default()
    };
    let variants = [
        message.clone(),
        protocol::Cluster {
            requests_max: 1,
            queue_max: 64,
            queue_timeout_ms: 600_000,
            ..named(&message, "queued")
        },
        protocol::Cluster {
            request_buffer_bytes: 200_000,
            response_buffer_bytes: 100_000,
            ..named(&message, "buffered")
        },
        protocol::Cluster { endpoints: "mirror".to_owned(), retries: 0, ..named(&message, "mirror") },
        protocol::Cluster { endpoints: "spoken".to_owned(), http2: true, ..named(&message, "spoken") },
        protocol::Cluster { hedge_after_ms: 40, hedge_budget_percent: 100, ..named(&message, "hedged") },
        protocol::Cluster { endpoints: DATAGRAMS.to_owned(), tls: None, ..named(&message, DATAGRAMS) },
    ];
    let mut changes = vec![
        endpoints("shop", &setup.endpoints),
        endpoints("spoken", &setup.spoken),
        endpoints(DATAGRAMS, &setup.datagrams),
        endpoints("mirror", &setup.mirror.into_iter().collect::<Vec<_>>()),
    ];
    changes.extend(variants.iter().map(|one| put(ResourceType::Cluster, &one.name, one)));
    changes
}

fn named(message: &protocol::Cluster, name: &str) -> protocol::Cluster {
    protocol::Cluster { name: name.to_owned(), ..message.clone() }
}

/// Rows of the proxy calls.
const CALLS: [&str; 9] =
    ["shop", "shop", "queued", "buffered", "shop", "mirror", "hedged", "spoken", DATAGRAMS];
const SEEN: u64 = 1;
const QUEUED: u64 = 2;
const BUFFERED: u64 = 3;
const COPIED: u64 = 4;
const MIRROR: u64 = 5;
const HEDGED: u64 = 6;
const SPOKEN: u64 = 7;
const SENT_ON: u64 = 8;

fn proxy_calls() -> Vec<protocol::ProxyCall> {
    let mut calls: Vec<_> = CALLS
        .iter()
        .map(|cluster| protocol::ProxyCall { cluster: (*cluster).to_owned(), ..Default::default() })
        .collect();
    calls[SEEN as usize].response_entry = 2;
    calls[COPIED as usize].mirrors = vec![protocol::Mirror { row: MIRROR as u32, percent: 100 }];
    calls
}

/// shop.example proxies, seen.example proxies and sees the answer before it passes it on, queued.example lets one request
/// up at a time, buffered.example reads bodies and answers ahead, copied.example sends copies to the mirror,
/// hedged.example asks a second endpoint where the first is silent, spoken.example has upstreams of HTTP/2,
/// text.example answers "hello", abort.example closes, deny.example is closed by its owner; datagrams are sent on.
pub fn snapshot(setup: &Setup) -> Arc<Snapshot> {
    commit(&mut Store::default(), setup)
}

/// Two that follow each other: an address keeps its key.
pub fn successors(setups: [&Setup; 2]) -> [Arc<Snapshot>; 2] {
    let mut store = Store::default();
    setups.map(|setup| commit(&mut store, setup))
}

fn commit(store: &mut Store, setup: &Setup) -> Arc<Snapshot> {
    let (chain, key) = certificate();
    let certificate = protocol::Certificate {
        name: "certificate".to_owned(),
        hosts: vec!["shop.example".to_owned()],
        chain: vec![chain.clone().into()],
        key: key.clone().into(),
        ..Default::default()
    };
    let settings = protocol::Settings {
        trusted_proxies: vec!["127.0.0.1/32".to_owned()],
        default_certificate: "certificate".to_owned(),
        request_body_bytes_max: setup.body_bytes_max,
        ..Default::default()
    };
    let tables = protocol::Tables {
        name: "tables".to_owned(),
        responses: vec![protocol::Response { body: text("hello"), ..Default::default() }],
        proxies: proxy_calls(),
        ..Default::default()
    };
    let mut changes = vec![
        put(ResourceType::Settings, "settings", &settings),
        put(ResourceType::Certificate, "certificate", &certificate),
        put(ResourceType::Tables, "tables", &tables),
        listener(PLAIN, false, false),
        listener(TLS, true, false),
        listener(BEHIND_PROXY, false, true),
        program("proxy", abi::ACTION_PROXY, 0),
        seeing_program("seen"),
        program("queued", abi::ACTION_PROXY, QUEUED),
        program("buffered", abi::ACTION_PROXY, BUFFERED),
        program("copied", abi::ACTION_PROXY, COPIED),
        program("hedged", abi::ACTION_PROXY, HEDGED),
        program("spoken", abi::ACTION_PROXY, SPOKEN),
        program(DATAGRAMS, abi::ACTION_PROXY, SENT_ON),
        program("respond", abi::ACTION_RESPOND, 0),
        program("abort", abi::ACTION_ABORT, 0),
        virtual_host("shop.example", "proxy", setup.tls.clone()),
        virtual_host("seen.example", "seen", None),
        virtual_host("queued.example", "queued", None),
        virtual_host("buffered.example", "buffered", None),
        virtual_host("copied.example", "copied", None),
        virtual_host("hedged.example", "hedged", None),
        virtual_host("spoken.example", "spoken", None),
        virtual_host("text.example", "respond", None),
        virtual_host("abort.example", "abort", None),
        virtual_host("deny.example", "", None),
    ];
    changes.extend(clusters(setup));
    changes.extend(datagrams());
    let (snapshot, refusals) = store.commit("test", changes);
    assert_eq!(refusals, []);
    snapshot
}

/// The key under which `Io` knows a listener.
pub fn listener_key(snapshot: &Snapshot, name: &str) -> u32 {
    snapshot.listeners().iter().find(|listener| &*listener.name == name).unwrap().id.0
}

pub fn context(io: IoChoice, snapshot: Arc<Snapshot>) -> (WorkerContext, WorkerSender, Receiver<IoReport>) {
    static PASSWORDS: OnceLock<Arc<Passwords>> = OnceLock::new();
    static FILES: OnceLock<Arc<Files>> = OnceLock::new();
    static FETCHES: OnceLock<Arc<Fetches>> = OnceLock::new();
    let (sender, messages) = worker_channel().unwrap();
    let (ready, reports) = channel();
    let metrics = WorkerMetrics::detached().unwrap();
    let context = WorkerContext {
        index: 0,
        io,
        snapshot,
        messages,
        myself: sender.clone(),
        access_log: AccessLog::disabled(metrics.clone()),
        metrics,
        files: FILES.get_or_init(|| Files::start(true).unwrap()).clone(),
        passwords: PASSWORDS.get_or_init(|| Passwords::start().unwrap()).clone(),
        fetches: FETCHES.get_or_init(|| Fetches::start().unwrap()).clone(),
        ready,
    };
    (context, sender, reports)
}
