//! HTTP/2 on simulated sockets: clients and a part of the endpoints speak it, by this crate's own state machine.
//!
//! Here is how it works. Clients open numbered requests as streams of one connection, in any order; they reset streams,
//! hold windows back and stop reading. Endpoints of HTTP/2 answer in pieces, refuse and reset streams, go away in the
//! middle, or are silent; connections that many streams share are reset, sockets run out, the snapshot is swapped;
//! endpoints of HTTP/1.1 answer one at a time. Whatever happens: what the worker sends is valid, no stream gets another
//! one's answer, a request that must not be repeated reaches endpoints at most once, in a run without faults all are
//! answered, and in the end nothing is left open.

use super::fixture::{self, Setup};
use super::frame_peer::{Peer, Seen};
use super::playing::{Play, Stage, endpoint, play_seeds};
use super::sim::parse;
use crate::http2::Role;
use crate::http2::frames::Code;
use crate::http2::hpack::encoder;
use crate::ring::sim::{Random, Reachability, Remote};
use crate::snapshot::Snapshot;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

const HOSTS: [&str; 6] = [
    "shop.example",
    "spoken.example",
    "spoken.example",
    "seen.example",
    "hedged.example",
    "buffered.example",
];

/// Endpoints 4 and 5 speak HTTP/2.
fn speaks_http2(address: SocketAddr) -> bool {
    address == endpoint(4) || address == endpoint(5)
}

#[test]
fn streams_are_answered_reset_or_refused_each_for_itself_whatever_the_seed() {
    let snapshots = [[1, 2], [2, 1]].map(|order| {
        let endpoints = order.map(endpoint).to_vec();
        let spoken = order.map(|number| endpoint(number + 3)).to_vec();
        fixture::snapshot(&Setup { endpoints, spoken, ..Setup::default() })
    });
    play_seeds(|seed| Run::new(seed, snapshots.clone()));
}

#[derive(Default)]
struct Request {
    id: usize,
    host: &'static str,
    body: Vec<u8>,
    repeatable: bool,
    /// The client does not want the answer any more.
    cancelled: bool,
    /// The connection, or the stream, ended first.
    lost: bool,
    status: u16,
    answer: Vec<u8>,
    ended: bool,
}

impl Request {
    fn is_over(&self) -> bool {
        self.ended || self.lost || self.cancelled
    }
}

struct Client {
    remote: Remote,
    peer: Peer,
    unopened: Vec<Request>,
    /// By stream.
    opened: BTreeMap<u32, Request>,
    stalled: bool,
    gone: bool,
}

impl Client {
    fn is_done(&self) -> bool {
        self.gone || (self.unopened.is_empty() && self.opened.values().all(Request::is_over))
    }

    /// Opens one more stream.
    fn ask(&mut self) {
        let Some(request) = self.unopened.pop() else { return };
        let Some(id) = self.peer.multiplex.open(0) else { return self.unopened.push(request) };
        self.peer.multiplex.accept(id, id);
        let mut block = Vec::new();
        let method: &[u8] = if request.repeatable { b"GET" } else { b"POST" };
        let path = format!("/{}", request.id);
        for (name, value) in [
            (&b":method"[..], method),
            (b":scheme", b"http"),
            (b":path", path.as_bytes()),
            (b":authority", request.host.as_bytes()),
        ] {
            encoder::field(name, value, &mut block);
        }
        let bodiless = request.body.is_empty();
        self.peer.multiplex.send_head(id, &block, bodiless);
        if !bodiless {
            self.peer.multiplex.send_data(id, &request.body, true, true);
        }
        self.opened.insert(id, request);
    }

    fn take(&mut self, seen: Seen) {
        let id = match &seen {
            Seen::Head { id, .. } | Seen::Data { id, .. } | Seen::Trailers { id } | Seen::Reset { id } => *id,
            Seen::GoingAway { last } => {
                let above = self.opened.iter_mut().filter(|(id, _)| *id > last);
                above.for_each(|(_, request)| request.lost = true);
                return;
            }
        };
        let Some(request) = self.opened.get_mut(&id) else { panic!("stream {id} was never opened") };
        if request.ended && matches!(seen, Seen::Reset { .. }) {
            // The rest of its request is not wanted (RFC 9113 8.1).
            return;
        }
        assert!(!request.ended, "stream {id} goes on after its end");
        match seen {
            Seen::Head { status, .. } if status < 200 => {}
            Seen::Head { status, end, .. } => (request.status, request.ended) = (status, end),
            Seen::Data { bytes, end, .. } => {
                request.answer.extend(bytes);
                request.ended = end;
            }
            Seen::Trailers { .. } => request.ended = true,
            _ => request.lost = true,
        }
    }
}

/// An endpoint's end of a connection; `peer`: of HTTP/2.
struct Backend {
    peer: Option<Peer>,
    received: Vec<u8>,
    /// Requests by stream, as far as they came.
    bodies: HashMap<u32, (usize, Vec<u8>)>,
    dead: bool,
    stalled: bool,
}

struct Run {
    stage: Stage,
    clients: Vec<Client>,
    backends: BTreeMap<Remote, Backend>,
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
            if client.gone {
                continue;
            }
            client.peer.read(&received).into_iter().for_each(|seen| client.take(seen));
            if self.stage.random.chance(40) {
                client.ask();
            }
            if self.stage.random.chance(2) {
                cancel_one(client, &mut self.stage.random);
            }
            client.peer.credit(&mut self.stage.random);
            // Clients are never slow by themselves: time stands still until they have asked and read.
            acted |= !client.unopened.is_empty() || !client.peer.held.is_empty();
            let output = client.peer.take_output();
            acted |= !output.is_empty();
            self.stage.sim.send(client.remote, &output);
            if self.stage.sim.received_end(client.remote) {
                self.stage.sim.finish(client.remote);
                lose(client);
                acted = true;
            } else if self.stage.faulty && self.stage.random.chance(1) && self.stage.random.chance(10) {
                match self.stage.random.chance(50) {
                    true => self.stage.sim.reset(client.remote),
                    false => self.stage.sim.finish(client.remote),
                }
                lose(client);
                acted = true;
            }
            if self.stage.random.chance(5) {
                client.stalled = !client.stalled && self.stage.random.chance(30);
                self.stage.sim.stall(client.remote, client.stalled);
            }
            acted |= client.stalled && !client.gone;
        }
        acted
    }

    fn play_backends(&mut self) -> bool {
        let mut acted = false;
        while let Some((remote, address)) = self.stage.sim.take_connected() {
            let peer = speaks_http2(address).then(|| Peer::new(Role::Server));
            let (received, bodies) = (Vec::new(), HashMap::new());
            self.backends.insert(remote, Backend { peer, received, bodies, dead: false, stalled: false });
        }
        let remotes: Vec<Remote> = self.backends.keys().copied().collect();
        for remote in remotes {
            let received = self.stage.sim.take_received(remote);
            let Some(backend) = self.backends.get_mut(&remote).filter(|backend| !backend.dead) else {
                continue;
            };
            let out_of_the_blue =
                self.stage.faulty && self.stage.random.chance(1) && self.stage.random.chance(30);
            if self.stage.sim.received_end(remote) || out_of_the_blue {
                backend.dead = true;
                match out_of_the_blue && self.stage.random.chance(50) {
                    true => self.stage.sim.reset(remote),
                    false => self.stage.sim.finish(remote),
                }
                acted = true;
                continue;
            }
            if self.stage.random.chance(5) {
                backend.stalled = !backend.stalled && self.stage.random.chance(30);
                self.stage.sim.stall(remote, backend.stalled);
            }
            acted |= backend.stalled;
            acted |= match backend.peer.is_some() {
                true => self.play_http2(remote, &received),
                false => self.play_http1(remote, &received),
            };
        }
        acted
    }

    fn is_done(&self) -> bool {
        self.clients.iter().all(Client::is_done)
    }

    fn check(self) -> usize {
        let mut whole = 0;
        for request in self.clients.iter().flat_map(|client| client.opened.values()) {
            let arrivals = self.arrivals.get(&request.id).copied().unwrap_or(0);
            assert!(request.repeatable || arrivals <= 1, "request {} came {arrivals} times", request.id);
            let expected = [format!("answer {} ", request.id).as_bytes(), &request.body].concat();
            if request.status == 200 {
                assert!(expected.starts_with(&request.answer), "request {} got another answer", request.id);
            }
            if request.cancelled || (self.stage.faulty && !request.ended) {
                continue;
            }
            assert!(request.ended && !request.lost, "request {} was not answered", request.id);
            if request.status == 200 {
                assert!(request.answer == expected, "request {} got a cut-off answer", request.id);
                whole += 1;
            } else {
                let is_fault = self.stage.faulty && [502, 503, 504].contains(&request.status);
                let told = (request.host, request.body.len(), arrivals);
                assert!(is_fault, "request {} {told:?}: {}", request.id, request.status);
            }
        }
        whole
    }
}

impl Run {
    fn new(seed: u64, snapshots: [Arc<Snapshot>; 2]) -> Run {
        let key = fixture::listener_key(&snapshots[0], fixture::PLAIN);
        let mut stage = Stage::new(seed, 0x4832, snapshots);
        [1, 2, 4, 5].into_iter().for_each(|number| stage.sim.reach(endpoint(number), Reachability::Accepts));
        if stage.faulty && stage.random.chance(40) {
            stage.sim.reach(endpoint([1, 4][stage.random.below(2)]), Reachability::Refuses);
        }
        stage.run_out_of_sockets(20);
        let mut next = 0;
        let clients = (0..1 + stage.random.below(3))
            .map(|number| Client {
                remote: stage.sim.dial(key, SocketAddr::from(([198, 51, 100, number as u8], 5000))),
                peer: Peer::new(Role::Client),
                unopened: make_requests(&mut stage.random, &mut next),
                opened: BTreeMap::new(),
                stalled: false,
                gone: false,
            })
            .collect();
        Run { stage, clients, backends: BTreeMap::new(), arrivals: HashMap::new() }
    }

    fn play_http1(&mut self, remote: Remote, received: &[u8]) -> bool {
        let Some(backend) = self.backends.get_mut(&remote) else { return false };
        backend.received.extend(received);
        let Some((head, body, used)) = parse(&backend.received) else { return false };
        backend.received.drain(..used);
        let id: usize = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
        *self.arrivals.entry(id).or_default() += 1;
        let text = [format!("answer {id} ").as_bytes(), &body].concat();
        let length = text.len() + if self.stage.faulty && self.stage.random.chance(10) { 7 } else { 0 };
        if self.stage.faulty && self.stage.random.chance(10) {
            // Never answers.
            return true;
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        self.stage.sim.send(remote, &[head, text.clone()].concat());
        if length != text.len() {
            backend.dead = true;
            self.stage.sim.finish(remote);
        }
        true
    }

    fn play_http2(&mut self, remote: Remote, received: &[u8]) -> bool {
        let Run { stage: Stage { sim, random, faulty, .. }, backends, arrivals, .. } = self;
        let Some(backend) = backends.get_mut(&remote) else { return false };
        let Some(peer) = backend.peer.as_mut() else { return false };
        for seen in peer.read(received) {
            let whole = match seen {
                Seen::Head { id, path, end, .. } => {
                    backend.bodies.insert(id, (path[1..].parse().unwrap(), Vec::new()));
                    end.then_some(id)
                }
                Seen::Data { id, bytes, end } => {
                    backend.bodies.get_mut(&id).expect("a head before its data").1.extend(bytes);
                    end.then_some(id)
                }
                Seen::Trailers { id } => Some(id),
                Seen::Reset { id } => {
                    backend.bodies.remove(&id);
                    None
                }
                Seen::GoingAway { .. } => None,
            };
            if let Some((stream, (id, body))) =
                whole.and_then(|stream| Some((stream, backend.bodies.remove(&stream)?)))
            {
                answer_stream(peer, stream, id, &body, random, *faulty, arrivals);
            }
        }
        peer.credit(random);
        let output = peer.take_output();
        sim.send(remote, &output);
        if peer.multiplex.is_over() {
            backend.dead = true;
            sim.finish(remote);
            return true;
        }
        !output.is_empty() || !peer.held.is_empty()
    }
}

/// A request of HTTP/2 is whole at its endpoint.
fn answer_stream(
    peer: &mut Peer,
    stream: u32,
    id: usize,
    body: &[u8],
    random: &mut Random,
    faulty: bool,
    arrivals: &mut HashMap<usize, usize>,
) {
    let kind = random.below(if faulty { 9 } else { 4 });
    if kind == 4 {
        // It was not taken up: it may come again.
        return peer.multiplex.reset(stream, Code::RefusedStream);
    }
    *arrivals.entry(id).or_default() += 1;
    let text = [format!("answer {id} ").as_bytes(), body].concat();
    let mut block = Vec::new();
    match kind {
        5 => return peer.multiplex.reset(stream, Code::Internal),
        // Never answers.
        6 => return,
        _ => encoder::status(200, &mut block),
    }
    peer.multiplex.send_head(stream, &block, false);
    match kind {
        7 => {
            peer.multiplex.send_data(stream, &text[..text.len() / 2], false, true);
            return peer.multiplex.reset(stream, Code::Internal);
        }
        1 => {
            let mut trailers = Vec::new();
            encoder::field(b"grpc-status", b"0", &mut trailers);
            peer.multiplex.send_data(stream, &text, false, true);
            peer.multiplex.send_trailers(stream, &trailers);
        }
        _ => {
            let cut = random.below(text.len());
            peer.multiplex.send_data(stream, &text[..cut], false, true);
            peer.multiplex.send_data(stream, &text[cut..], true, true);
        }
    }
    // Goes away: what it took up is answered, further streams go elsewhere.
    if faulty && kind == 3 && random.chance(40) && peer.multiplex.goaway.is_none() {
        peer.multiplex.end(Code::None);
    }
}

fn cancel_one(client: &mut Client, random: &mut Random) {
    let open: Vec<u32> =
        client.opened.iter().filter(|(_, request)| !request.is_over()).map(|(id, _)| *id).collect();
    if open.is_empty() {
        return;
    }
    let id = open[random.below(open.len())];
    client.peer.multiplex.leave(id, Code::Cancel);
    client.peer.held.remove(&id);
    if let Some(request) = client.opened.get_mut(&id) {
        request.cancelled = true;
    }
}

fn lose(client: &mut Client) {
    client.gone = true;
    client.peer.held.clear();
    let open = client.opened.values_mut().filter(|request| !request.is_over());
    open.for_each(|request| request.lost = true);
}

fn make_requests(random: &mut Random, next: &mut usize) -> Vec<Request> {
    let mut requests = Vec::new();
    for _ in 0..1 + random.below(8) {
        let id = *next;
        *next += 1;
        let repeatable = random.chance(50);
        let size = if random.chance(10) { 300_000 } else { 1 + random.below(3_000) };
        let size = if repeatable { 0 } else { size };
        let body = (0..size).map(|at| b'a' + ((at + id) % 26) as u8).collect();
        let host = HOSTS[random.below(HOSTS.len())];
        requests.push(Request { id, host, body, repeatable, ..Request::default() });
    }
    requests
}
