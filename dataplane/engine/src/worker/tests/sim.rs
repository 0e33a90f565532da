//! The whole worker on simulated sockets. One seed decides everything: pieces, order, faults, what backends answer.
//!
//! Here is how it works. A few clients pipeline numbered requests, backends answer with the number and the body they
//! got, and a part of them misbehaves. Whatever happens: no client sees another request's answer, or a cut-off
//! answer that looks whole; a request that must not be repeated reaches backends at most once; in a run without faults all
//! are answered; in the end nothing is left open. Hosts differ in what the engine does on the way: the program sees the
//! answer's head first, requests queue, bodies and answers are buffered, copies go to a mirror, silent endpoints are not
//! waited for alone. A part of the clients speaks TLS, and the snapshot is swapped in the middle.

use super::fixture::{self, Setup};
use super::playing::{Play, Stage, endpoint, play_seeds};
use super::tls_client::TlsClient;
use crate::ring::sim::{Random, Reachability, Remote};
use crate::snapshot::Snapshot;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

const HOSTS: [&str; 6] = [
    "shop.example",
    "seen.example",
    "queued.example",
    "buffered.example",
    "copied.example",
    "hedged.example",
];

/// Its number among the endpoints.
const MIRROR: u8 = 3;

#[test]
fn nothing_is_lost_mixed_up_or_leaked_whatever_the_seed() {
    let of = |endpoints| Setup { endpoints, mirror: Some(endpoint(MIRROR)), ..Setup::default() };
    let snapshots = [vec![endpoint(1), endpoint(2)], vec![endpoint(2), endpoint(1)]]
        .map(|endpoints| fixture::snapshot(&of(endpoints)));
    play_seeds(|seed| Run::new(seed, snapshots.clone()));
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
    stage: Stage,
    clients: Vec<Client>,
    backends: HashMap<Remote, Backend>,
    /// How often a request reached a backend whole.
    arrivals: HashMap<usize, usize>,
}

impl Play for Run {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn play_clients(&mut self) -> bool {
        let mut acted = false;
        for client in &mut self.clients {
            let received = self.stage.sim.take_received(client.remote);
            match &mut client.tls {
                None => client.received.extend(received),
                Some(tls) => {
                    client.received.extend(tls.open(&received));
                    let reply = tls.take_output();
                    acted |= !reply.is_empty();
                    self.stage.sim.send(client.remote, &reply);
                }
            }
            if client.gone {
                continue;
            }
            if !client.unsent.is_empty() {
                // Clients are never slow by themselves: time stands still until they have sent.
                acted = true;
                if self.stage.random.chance(60) {
                    let count = 1 + self.stage.random.below(client.unsent.len());
                    let piece: Vec<u8> = client.unsent.drain(..count).collect();
                    match &mut client.tls {
                        None => self.stage.sim.send(client.remote, &piece),
                        Some(tls) => self.stage.sim.send(client.remote, &tls.seal(&piece)),
                    }
                }
            }
            if self.stage.sim.received_end(client.remote) {
                client.gone = true;
                self.stage.sim.finish(client.remote);
                acted = true;
            } else if self.stage.faulty && self.stage.random.chance(1) && self.stage.random.chance(20) {
                client.gone = true;
                match self.stage.random.chance(50) {
                    true => self.stage.sim.reset(client.remote),
                    false => self.stage.sim.finish(client.remote),
                }
                acted = true;
            }
            if self.stage.random.chance(5) {
                client.stalled = !client.stalled && self.stage.random.chance(30);
                self.stage.sim.stall(client.remote, client.stalled);
            }
            // Without faults everybody reads in the end, before time goes on.
            acted |= !self.stage.faulty && client.stalled;
        }
        acted
    }

    fn play_backends(&mut self) -> bool {
        let mut acted = false;
        while let Some((remote, address)) = self.stage.sim.take_connected() {
            let mirror = address == endpoint(MIRROR);
            self.backends.insert(remote, Backend { mirror, ..Backend::default() });
        }
        let mut remotes: Vec<Remote> = self.backends.keys().copied().collect();
        remotes.sort_unstable();
        for remote in remotes {
            let Some(backend) = self.backends.get_mut(&remote) else { continue };
            backend.received.extend(self.stage.sim.take_received(remote));
            if backend.dead {
                continue;
            }
            if self.stage.sim.received_end(remote) {
                backend.dead = true;
                self.stage.sim.finish(remote);
                acted = true;
                continue;
            }
            if self.stage.faulty && self.stage.random.chance(1) && self.stage.random.chance(30) {
                // Closes an idle or busy connection out of the blue.
                backend.dead = true;
                self.stage.sim.finish(remote);
                acted = true;
                continue;
            }
            if self.stage.random.chance(5) {
                backend.stalled = !backend.stalled && self.stage.random.chance(30);
                self.stage.sim.stall(remote, backend.stalled);
            }
            acted |= !self.stage.faulty && backend.stalled;
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

    fn is_done(&self) -> bool {
        self.clients.iter().all(|client| client.gone || self.has_enough(client))
    }

    fn check(self) -> usize {
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
                    assert!(self.stage.faulty, "request {} was not answered", request.id);
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
                        self.stage.faulty && [502, 503, 504, 408].contains(&status),
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

impl Run {
    fn new(seed: u64, snapshots: [Arc<Snapshot>; 2]) -> Run {
        let keys = [fixture::PLAIN, fixture::TLS].map(|name| fixture::listener_key(&snapshots[0], name));
        let mut stage = Stage::new(seed, 0x5eed, snapshots);
        [1, 2, MIRROR]
            .into_iter()
            .for_each(|number| stage.sim.reach(endpoint(number), Reachability::Accepts));
        if stage.faulty {
            let states = [Reachability::Accepts, Reachability::Refuses, Reachability::Silent];
            stage.sim.reach(endpoint(1), states[stage.random.below(3)]);
        }
        stage.run_out_of_sockets(15);
        let mut next = 0;
        let mut clients = Vec::new();
        for number in 0..1 + stage.random.below(4) {
            let from = SocketAddr::from(([198, 51, 100, number as u8], 5000));
            // Their bytes differ from run to run: what fails without TLS fails again.
            let tls = (seed % 4 == 1 && stage.random.chance(50)).then(TlsClient::new);
            let remote = stage.sim.dial(keys[usize::from(tls.is_some())], from);
            let (requests, unsent) = make_requests(&mut stage.random, &mut next);
            let (received, stalled, gone) = (Vec::new(), false, false);
            clients.push(Client { remote, tls, requests, unsent, received, stalled, gone });
        }
        Run { stage, clients, backends: HashMap::new(), arrivals: HashMap::new() }
    }

    /// Without faults a drain comes after the answers: it ends connections with requests that wait for their turn.
    fn has_enough(&self, client: &Client) -> bool {
        let is_answered = count_answers(&client.received) >= client.requests.len();
        client.unsent.is_empty() && (self.stage.faulty || is_answered)
    }

    fn answer(&mut self, remote: Remote, id: usize, body: &[u8]) {
        let text = [format!("answer {id} ").as_bytes(), body].concat();
        let kind = self.stage.random.below(if self.stage.faulty { 12 } else { 4 });
        let length =
            |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        let (bytes, finish, reset) = match kind {
            0 | 1 => ([length(text.len()), text].concat(), false, false),
            2 => {
                let mut bytes =
                    b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                        .to_vec();
                for chunk in text.chunks(1 + self.stage.random.below(300)) {
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
                return self.stage.sim.send_joined(remote, &[length(text.len()), text].concat(), extra);
            }
            // Never answers.
            _ => (Vec::new(), false, false),
        };
        self.stage.sim.send(remote, &bytes);
        if finish || reset {
            self.backends.get_mut(&remote).unwrap().dead = true;
            if finish { self.stage.sim.finish(remote) } else { self.stage.sim.reset(remote) }
        }
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
