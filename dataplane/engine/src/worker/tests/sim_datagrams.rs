//! Datagrams through the simulated worker: real sockets on loopback, whose order and time a seed decides.
//!
//! Here is how it works. Clients send numbered datagrams, at once, after a while, or after their session was forgotten.
//! Servers answer the sender with what they got, once, several times, late or not at all. The snapshot is swapped in the
//! middle, to one without the first server and, in faulty runs, with an address where nobody is. Whatever happens: no
//! client gets what another one's datagram was answered with; a session keeps its socket while something passes, and ends
//! with its idle time; a server that is gone gets nothing more; in a run without faults every datagram arrives once.

use super::fixture::{self, Setup};
use super::playing::{Play, Stage, play_seeds};
use crate::control::WorkerMessage;
use crate::exchange::ListenerId;
use crate::limits::{DATAGRAM_IDLE_TIMEOUT_MS, DATAGRAM_JUDGED_EVERY_MS};
use crate::snapshot::Snapshot;
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

const LENGTH: usize = 8;
/// What the worker's clock may be ahead of a client's that just sent.
const SLACK_MS: u64 = 1_000;
const PAUSES_MS: [u64; 5] = [0, 5, 900, DATAGRAM_IDLE_TIMEOUT_MS - 2_000, DATAGRAM_IDLE_TIMEOUT_MS + 2_000];

#[test]
fn datagrams_are_answered_to_who_sent_them_and_silence_ends_a_session() {
    let servers = [socket(), socket()].map(Arc::new);
    let [first, second] = [0, 1].map(|number: usize| servers[number].local_addr().unwrap());
    // Below the ports that the system gives out: one that was closed would be a client's some runs later.
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let of = |datagrams: &[SocketAddr]| Setup { datagrams: datagrams.to_vec(), ..Setup::default() };
    let before = of(&[first, second]);
    let [calm, faulty] =
        [of(&[second]), of(&[nobody, second])].map(|after| fixture::successors([&before, &after]));
    play_seeds(|seed| {
        let snapshots = if seed.is_multiple_of(4) { &calm } else { &faulty };
        Run::new(seed, snapshots.clone(), servers.clone())
    });
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// The next datagram that waits: client, number, and where it came from.
fn take(socket: &UdpSocket) -> Option<(u32, u32, SocketAddr)> {
    let mut bytes = [0; 64];
    let (length, from) = socket.recv_from(&mut bytes).ok()?;
    assert_eq!(length, LENGTH, "a datagram was cut or joined");
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    Some((number(0), number(4), from))
}

struct Client {
    socket: UdpSocket,
    sent: u32,
    left: u32,
    next_ms: u64,
    /// Something passed last; None: the session may be gone, or another one's.
    active_ms: Option<u64>,
    /// Where servers saw it, and which one.
    seen: Option<(usize, SocketAddr)>,
    answers: usize,
}

struct Answer {
    server: usize,
    to: SocketAddr,
    client: u32,
    number: u32,
    due_ms: u64,
}

struct Run {
    stage: Stage,
    /// Where the worker listens; it has a socket of its own to that address.
    listener: UdpSocket,
    servers: [Arc<UdpSocket>; 2],
    clients: Vec<Client>,
    answers: Vec<Answer>,
    /// Whom each of the worker's sockets served last: a late answer to one that is another's now is not sent.
    owners: HashMap<SocketAddr, u32>,
    arrived: HashMap<(u32, u32), usize>,
    /// The snapshot is swapped in this run.
    swaps: bool,
    swapped_ms: Option<u64>,
    drains_early: bool,
}

impl Play for Run {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn play_clients(&mut self) -> bool {
        let (mut acted, now_ms) = (false, self.stage.sim.now_ms());
        let address = self.listener.local_addr().unwrap();
        for (index, client) in self.clients.iter_mut().enumerate() {
            while let Some((owner, number, from)) = take(&client.socket) {
                assert_eq!(from, address, "from another address than the client asked");
                assert_eq!(owner, index as u32, "client {index} got an answer to client {owner}");
                assert!(number < client.sent, "an answer to what was never sent");
                (client.answers, acted) = (client.answers + 1, true);
            }
            if client.left == 0 || now_ms < client.next_ms {
                continue;
            }
            acted = true;
            if self.stage.random.chance(50) {
                let bytes = [(index as u32).to_le_bytes(), client.sent.to_le_bytes()].concat();
                client.socket.send_to(&bytes, address).unwrap();
                (client.sent, client.left) = (client.sent + 1, client.left - 1);
                client.next_ms = now_ms + PAUSES_MS[self.stage.random.below(PAUSES_MS.len())];
            }
        }
        acted
    }

    fn play_backends(&mut self) -> bool {
        let (mut acted, now_ms) = (false, self.stage.sim.now_ms());
        if self.swaps && !self.stage.awaits_swap() {
            self.swapped_ms.get_or_insert(now_ms);
        }
        for server in 0..self.servers.len() {
            while let Some((owner, number, from)) = take(&self.servers[server]) {
                acted = true;
                *self.arrived.entry((owner, number)).or_default() += 1;
                self.owners.insert(from, owner);
                self.check_place(server, owner, from, now_ms);
                let answers = [0, 1, 1, 3][self.stage.random.below(4)];
                for _ in 0..answers {
                    let due_ms = now_ms + [0, 0, 40, 20_000][self.stage.random.below(4)];
                    self.answers.push(Answer { server, to: from, client: owner, number, due_ms });
                }
            }
        }
        let (due, later) =
            std::mem::take(&mut self.answers).into_iter().partition(|one| one.due_ms <= now_ms);
        self.answers = later;
        for answer in due {
            acted = true;
            if self.owners.get(&answer.to) == Some(&answer.client) {
                let bytes = [answer.client.to_le_bytes(), answer.number.to_le_bytes()].concat();
                // Where the session is gone, nobody is there.
                let _ = self.servers[answer.server].send_to(&bytes, answer.to);
            }
        }
        acted
    }

    fn is_done(&self) -> bool {
        let is_silent = self.clients.iter().all(|client| client.left == 0) && self.answers.is_empty();
        is_silent && (self.drains_early || self.stage.worker.datagrams.open() == 0)
    }

    fn wait_ms(&mut self) -> Option<u64> {
        let now_ms = self.stage.sim.now_ms();
        let sends = self.clients.iter().filter(|client| client.left > 0).map(|client| client.next_ms);
        let answers = self.answers.iter().map(|answer| answer.due_ms);
        sends.chain(answers).min().map(|due_ms| due_ms.saturating_sub(now_ms))
    }

    fn check(self) -> usize {
        assert_eq!(self.stage.worker.datagrams.open(), 0, "sessions outlive the drain");
        for (index, client) in self.clients.iter().enumerate() {
            for number in 0..client.sent {
                let arrivals = self.arrived.get(&(index as u32, number)).copied().unwrap_or(0);
                assert!(arrivals <= 1, "{number} of client {index} came {arrivals} times");
                assert!(self.stage.faulty || arrivals == 1, "{number} of client {index} never came");
            }
        }
        self.clients.iter().map(|client| client.answers).sum()
    }
}

impl Run {
    fn new(seed: u64, snapshots: [Arc<Snapshot>; 2], servers: [Arc<UdpSocket>; 2]) -> Run {
        let key = fixture::listener_key(&snapshots[0], fixture::DATAGRAMS);
        let mut stage = Stage::new(seed, 0xda7a, snapshots);
        let listener = socket();
        let theirs = listener.try_clone().unwrap().into();
        stage.tell(WorkerMessage::Listen(ListenerId(key), theirs));
        // What was on its way when the run before ended.
        servers.iter().for_each(|server| while take(server).is_some() {});
        let clients = (0..1 + stage.random.below(4)).map(|_| Client {
            socket: socket(),
            sent: 0,
            left: 1 + stage.random.below(12) as u32,
            next_ms: 0,
            active_ms: None,
            seen: None,
            answers: 0,
        });
        let clients = clients.collect();
        let (drains_early, swaps) = (stage.random.chance(50), stage.awaits_swap());
        let (answers, owners, arrived) = (Vec::new(), HashMap::new(), HashMap::new());
        let swapped_ms = None;
        Run { stage, listener, servers, clients, answers, owners, arrived, swaps, swapped_ms, drains_early }
    }

    /// A datagram arrived at the server where its client's session is, by the socket that this one has.
    fn check_place(&mut self, server: usize, owner: u32, from: SocketAddr, now_ms: u64) {
        let since_swap = self.swapped_ms.map_or(0, |swapped_ms| now_ms - swapped_ms);
        let is_gone = server == 0 && since_swap > DATAGRAM_JUDGED_EVERY_MS + SLACK_MS;
        assert!(!is_gone, "a server that is gone for {since_swap} ms got a datagram");
        let client = &mut self.clients[owner as usize];
        let active_ms = client.active_ms.replace(now_ms);
        let former = client.seen.replace((server, from));
        let Some(silent_ms) = active_ms.map(|active_ms| now_ms - active_ms) else { return };
        let stays = silent_ms + SLACK_MS < DATAGRAM_IDLE_TIMEOUT_MS && self.swapped_ms.is_none();
        assert!(!stays || former == Some((server, from)), "a session moved after {silent_ms} ms");
    }
}
