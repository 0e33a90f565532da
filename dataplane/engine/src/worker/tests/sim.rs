//! The whole worker on simulated sockets. One seed decides everything: pieces, order, faults, what backends answer.
//!
//! Here is how it works. A few clients pipeline numbered requests, backends answer with the number and the body they
//! got, and a part of them misbehaves. Whatever happens: no client sees another request's answer, or a cut-off
//! answer that looks whole; a request that must not be repeated reaches backends at most once; in a run without faults all
//! are answered; in the end nothing is left open. Hosts differ in what the engine does on the way: the program sees the
//! answer's head first, requests queue, bodies and answers are buffered, copies go to a mirror, silent endpoints are not waited for alone. A part of the clients speaks
//! TLS, and the snapshot is swapped in the middle. A failing seed is printed: `ZEROSERVE_SIM_SEED=n` replays it alone;
//! `ZEROSERVE_SIM_SEEDS=n` plays so many from a random one on (`make simulate`).

use super::fixture::{self, Setup};
use super::tls_client::TlsClient;
use crate::control::{Acknowledgement, WorkerMessage, WorkerSender};
use crate::limits::{BUFFERED_INPUT_BYTES_MAX, PENDING_OUTPUT_BYTES_HIGH, RECEIVE_BUFFER_BYTES};
use crate::ring::sim::{Random, Reachability, Remote, Sim};
use crate::serve::IoChoice;
use crate::snapshot::Snapshot;
use crate::worker::Worker;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Without optimisation a seed takes twenty times as long.
const SEEDS: u64 = if cfg!(debug_assertions) { 300 } else { 4000 };
const HOSTS: [&str; 6] = [
    "shop.example",
    "seen.example",
    "queued.example",
    "buffered.example",
    "copied.example",
    "hedged.example",
];
/// Far above what any seed needs; reaching it is a livelock.
const TURNS_MAX: usize = 200_000;

/// Its number among the endpoints.
const MIRROR: u8 = 3;

fn endpoint(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 80))
}

#[test]
fn nothing_is_lost_mixed_up_or_leaked_whatever_the_seed() {
    let of = |endpoints| Setup { endpoints, mirror: Some(endpoint(MIRROR)), ..Setup::default() };
    let snapshots = [vec![endpoint(1), endpoint(2)], vec![endpoint(2), endpoint(1)]]
        .map(|endpoints| fixture::snapshot(&of(endpoints)));
    let mut whole = 0;
    for seed in choose_seeds() {
        match catch_unwind(AssertUnwindSafe(|| Run::new(seed, snapshots.clone()).play())) {
            Ok(answers) => whole += answers,
            Err(panic) => {
                eprintln!("failing seed: ZEROSERVE_SIM_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(whole > 0, "no answer was checked: the simulation tests nothing");
}

pub(super) fn choose_seeds() -> std::ops::Range<u64> {
    let read = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = read("ZEROSERVE_SIM_SEED") {
        return seed..seed + 1;
    }
    match read("ZEROSERVE_SIM_SEEDS") {
        None => 0..SEEDS,
        Some(count) => {
            let first = read("ZEROSERVE_SIM_FIRST").unwrap_or_else(|| crate::exchange::random() >> 16);
            eprintln!("seeds {first} to {}", first + count - 1);
            first..first + count
        }
    }
}

struct Request {
    id: usize,
    body: Vec<u8>,
    repeatable: bool,
}

struct Client {
    remote: Remote,
    tls: Option<TlsClient>,
    requests: Vec<Request>,
    unsent: Vec<u8>,
    received: Vec<u8>,
    stalled: bool,
    gone: bool,
}

#[derive(Default)]
struct Backend {
    mirror: bool,
    received: Vec<u8>,
    dead: bool,
    stalled: bool,
}

struct Run {
    /// Swapped in some time.
    next: Option<Arc<Snapshot>>,
    sim: Sim,
    worker: Worker,
    sender: WorkerSender,
    random: Random,
    faulty: bool,
    clients: Vec<Client>,
    backends: HashMap<Remote, Backend>,
    /// How often a request reached a backend whole.
    arrivals: HashMap<usize, usize>,
}

impl Run {
    fn new(seed: u64, [snapshot, other]: [Arc<Snapshot>; 2]) -> Run {
        let mut random = Random(seed ^ 0x5eed);
        let mut sim = Sim::new(seed);
        let faulty = !seed.is_multiple_of(4);
        sim.reach(endpoint(1), Reachability::Accepts);
        sim.reach(endpoint(2), Reachability::Accepts);
        if faulty {
            let states = [Reachability::Accepts, Reachability::Refuses, Reachability::Silent];
            sim.reach(endpoint(1), states[random.below(3)]);
        }
        if faulty && random.chance(15) {
            // Requests find no socket to their endpoint, clients none to us.
            sim.sockets_max = 2 + random.below(6) as u32;
        }
        sim.reach(endpoint(MIRROR), Reachability::Accepts);
        let keys = [fixture::PLAIN, fixture::TLS].map(|name| fixture::listener_key(&snapshot, name));
        let (context, sender, _reports) = fixture::context(IoChoice::Epoll, snapshot);
        let worker = Worker::new(context, &sim).unwrap();
        let mut next = 0;
        let mut clients = Vec::new();
        for number in 0..1 + random.below(4) {
            let from = SocketAddr::from(([198, 51, 100, number as u8], 5000));
            // Their bytes differ from run to run: what fails without TLS fails again.
            let tls = (seed % 4 == 1 && random.chance(50)).then(TlsClient::new);
            let remote = sim.dial(keys[usize::from(tls.is_some())], from);
            let (requests, unsent) = make_requests(&mut random, &mut next);
            let (received, stalled, gone) = (Vec::new(), false, false);
            clients.push(Client { remote, tls, requests, unsent, received, stalled, gone });
        }
        let (backends, arrivals) = (HashMap::new(), HashMap::new());
        let next = random.chance(50).then_some(other);
        Run { next, sim, worker, sender, random, faulty, clients, backends, arrivals }
    }

    /// Plays to the end and checks; returns the number of whole 200 answers.
    fn play(mut self) -> usize {
        let mut draining = false;
        for turn in 0.. {
            assert!(turn < TURNS_MAX, "livelock");
            self.swap();
            let acted = self.play_clients() | self.play_backends();
            let (happened, wait_ms) = self.sim.turn(&mut self.worker);
            if self.sim.stopped {
                break;
            }
            if acted || happened {
                continue;
            }
            let Some(wait_ms) = wait_ms else { panic!("nothing is due, {}", self.sim.describe()) };
            if !draining && self.clients.iter().all(|client| client.gone || self.has_enough(client)) {
                draining = true;
                self.sender.send(WorkerMessage::Drain { timeout_ms: 120_000, exit: true });
                self.sim.woken = true;
            }
            self.sim.advance_ms(wait_ms.max(1));
        }
        self.check()
    }

    /// Without faults a drain comes after the answers: it ends connections with requests that wait for their turn.
    fn has_enough(&self, client: &Client) -> bool {
        client.unsent.is_empty() && (self.faulty || count_answers(&client.received) >= client.requests.len())
    }

    fn swap(&mut self) {
        if self.random.chance(2)
            && let Some(snapshot) = self.next.take()
        {
            self.sender.send(WorkerMessage::Snapshot(snapshot, Acknowledgement::ignored()));
            self.sim.woken = true;
        }
    }

    fn play_clients(&mut self) -> bool {
        let mut acted = false;
        for client in &mut self.clients {
            let received = self.sim.take_received(client.remote);
            match &mut client.tls {
                None => client.received.extend(received),
                Some(tls) => {
                    client.received.extend(tls.open(&received));
                    let reply = tls.take_output();
                    acted |= !reply.is_empty();
                    self.sim.send(client.remote, &reply);
                }
            }
            if client.gone {
                continue;
            }
            if !client.unsent.is_empty() {
                // Clients are never slow by themselves: time stands still until they have sent.
                acted = true;
                if self.random.chance(60) {
                    let count = 1 + self.random.below(client.unsent.len());
                    let piece: Vec<u8> = client.unsent.drain(..count).collect();
                    match &mut client.tls {
                        None => self.sim.send(client.remote, &piece),
                        Some(tls) => self.sim.send(client.remote, &tls.seal(&piece)),
                    }
                }
            }
            if self.sim.received_end(client.remote) {
                client.gone = true;
                self.sim.finish(client.remote);
                acted = true;
            } else if self.faulty && self.random.chance(1) && self.random.chance(20) {
                client.gone = true;
                match self.random.chance(50) {
                    true => self.sim.reset(client.remote),
                    false => self.sim.finish(client.remote),
                }
                acted = true;
            }
            if self.random.chance(5) {
                client.stalled = !client.stalled && self.random.chance(30);
                self.sim.stall(client.remote, client.stalled);
            }
            // Without faults everybody reads in the end, before time goes on.
            acted |= !self.faulty && client.stalled;
        }
        acted
    }

    fn play_backends(&mut self) -> bool {
        let mut acted = false;
        while let Some((remote, address)) = self.sim.take_connected() {
            let mirror = address == endpoint(MIRROR);
            self.backends.insert(remote, Backend { mirror, ..Backend::default() });
        }
        let mut remotes: Vec<Remote> = self.backends.keys().copied().collect();
        remotes.sort_unstable();
        for remote in remotes {
            let Some(backend) = self.backends.get_mut(&remote) else { continue };
            backend.received.extend(self.sim.take_received(remote));
            if backend.dead {
                continue;
            }
            if self.sim.received_end(remote) {
                backend.dead = true;
                self.sim.finish(remote);
                acted = true;
                continue;
            }
            if self.faulty && self.random.chance(1) && self.random.chance(30) {
                // Closes an idle or busy connection out of the blue.
                backend.dead = true;
                self.sim.finish(remote);
                acted = true;
                continue;
            }
            if self.random.chance(5) {
                backend.stalled = !backend.stalled && self.random.chance(30);
                self.sim.stall(remote, backend.stalled);
            }
            acted |= !self.faulty && backend.stalled;
            let Some((head, body, used)) = parse(&backend.received) else { continue };
            backend.received.drain(..used);
            acted = true;
            let id: usize = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            if !backend.mirror {
                *self.arrivals.entry(id).or_default() += 1;
            }
            self.answer(remote, id, &body);
        }
        acted
    }

    fn answer(&mut self, remote: Remote, id: usize, body: &[u8]) {
        let text = [format!("answer {id} ").as_bytes(), body].concat();
        let kind = self.random.below(if self.faulty { 12 } else { 4 });
        let length =
            |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        let (bytes, finish, reset) = match kind {
            0 | 1 => ([length(text.len()), text].concat(), false, false),
            2 => {
                let mut bytes =
                    b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                        .to_vec();
                for chunk in text.chunks(1 + self.random.below(300)) {
                    bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                    bytes.extend(chunk);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
                (bytes, false, false)
            }
            3 => ([&b"HTTP/1.1 200 OK\r\n\r\n"[..], &text].concat(), true, false),
            4 => (Vec::new(), true, false),
            5 => (Vec::new(), false, true),
            6 => ([length(text.len() + 5), text].concat(), true, false),
            7 => ([length(text.len() + 5), text].concat(), false, true),
            8 => (
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx".to_vec(),
                false,
                false,
            ),
            9 => (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n".to_vec(),
                false,
                false,
            ),
            10 => {
                // What comes once the connection has another request cannot be told from its answer; these come before.
                let extra = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npoisoned!";
                return self.sim.send_joined(remote, &[length(text.len()), text].concat(), extra);
            }
            // Never answers.
            _ => (Vec::new(), false, false),
        };
        self.sim.send(remote, &bytes);
        if finish || reset {
            self.backends.get_mut(&remote).unwrap().dead = true;
            if finish { self.sim.finish(remote) } else { self.sim.reset(remote) }
        }
    }

    fn check(self) -> usize {
        assert_eq!(self.sim.open_links(), 0, "sockets left open");
        assert!(self.worker.pool.is_empty(), "pooled connections outlive the drain");
        // What was buffered for the client and one receive buffer may follow after the mark is passed.
        let bound = PENDING_OUTPUT_BYTES_HIGH + BUFFERED_INPUT_BYTES_MAX * 2 + RECEIVE_BUFFER_BYTES * 4;
        assert!(self.sim.pending_peak <= bound, "{} bytes waited for one socket", self.sim.pending_peak);
        let mut whole = 0;
        for client in &self.clients {
            let mut rest = &client.received[..];
            for request in &client.requests {
                let arrivals = self.arrivals.get(&request.id).copied().unwrap_or(0);
                assert!(request.repeatable || arrivals <= 1, "request {} came {arrivals} times", request.id);
                while let Some((_, _, used)) =
                    parse(rest).filter(|(head, ..)| head.starts_with("HTTP/1.1 103 "))
                {
                    rest = &rest[used..];
                }
                let Some((head, body, used)) = parse(rest) else {
                    assert!(self.faulty, "request {} was not answered", request.id);
                    break;
                };
                rest = &rest[used..];
                let status: u16 = head[9..12].parse().unwrap();
                if status == 200 {
                    let expected = [format!("answer {} ", request.id).as_bytes(), &request.body].concat();
                    assert!(body == expected, "request {}: {:?}", request.id, String::from_utf8_lossy(&body));
                    whole += 1;
                } else {
                    assert!(
                        self.faulty && [502, 503, 504, 408].contains(&status),
                        "request {}: {status}",
                        request.id
                    );
                }
            }
            // An early hint may be all that came before the connection ended.
            let answered = parse(rest).is_none_or(|(head, ..)| head.starts_with("HTTP/1.1 103 "));
            assert!(answered, "an answer too many: {:?}", String::from_utf8_lossy(rest));
        }
        whole
    }
}

fn make_requests(random: &mut Random, next: &mut usize) -> (Vec<Request>, Vec<u8>) {
    let (mut requests, mut bytes) = (Vec::new(), Vec::new());
    for _ in 0..1 + random.below(5) {
        let id = *next;
        *next += 1;
        let size = if random.chance(4) { 700_000 } else { random.below(3_000) };
        let kind = random.below(5);
        let host = HOSTS[random.below(HOSTS.len())];
        let body: Vec<u8> = match kind {
            0 | 4 => Vec::new(),
            _ => (0..size).map(|at| b'a' + ((at + id) % 26) as u8).collect(),
        };
        match kind {
            0 => bytes.extend(format!("GET /{id} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()),
            1 | 2 | 4 => {
                let length = body.len();
                let head = format!("POST /{id} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n");
                bytes.extend(head.into_bytes());
                bytes.extend(&body);
            }
            _ => {
                let head =
                    format!("PUT /{id} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n");
                bytes.extend(head.into_bytes());
                for chunk in body.chunks(1 + random.below(2_000)) {
                    bytes.extend(format!("{:X}\r\n", chunk.len()).into_bytes());
                    bytes.extend(chunk);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
            }
        }
        // GET and PUT are idempotent (RFC 9110 9.2.2): what a reused connection lost may be sent again.
        requests.push(Request { id, repeatable: matches!(kind, 0 | 3), body });
    }
    (requests, bytes)
}

fn count_answers(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Some((head, _, used)) = parse(bytes) {
        count += usize::from(!head.starts_with("HTTP/1.1 103 "));
        bytes = &bytes[used..];
    }
    count
}

/// A forgiving reader of our own, independent of the engine's: (head, body, bytes used) of one whole message.
pub(super) fn parse(bytes: &[u8]) -> Option<(String, Vec<u8>, usize)> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let field = |name: &str| {
        head.lines().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix(name).map(|value| value.trim().to_owned())
        })
    };
    if field("transfer-encoding:").is_some() {
        let (mut at, mut body) = (end, Vec::new());
        loop {
            let line = memchr::memmem::find(&bytes[at..], b"\r\n")?;
            let size =
                usize::from_str_radix(std::str::from_utf8(&bytes[at..at + line]).unwrap(), 16).unwrap();
            let data = at + line + 2;
            let chunk = bytes.get(data..data + size + 2)?;
            body.extend(&chunk[..size]);
            at = data + size + 2;
            if size == 0 {
                return Some((head, body, at));
            }
        }
    }
    let length = field("content-length:").map_or(0, |length| length.parse::<usize>().unwrap());
    let body = bytes.get(end..end + length)?.to_vec();
    Some((head, body, end + length))
}
