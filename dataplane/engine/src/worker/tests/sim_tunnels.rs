//! Tunnels from a seed: clients ask for an upgrade, both sides send much, and each ends its half when it has sent all.
//!
//! Here is how it works. What either side sends may come early, before the 101 or with it, and so may its end; either may
//! read nothing for a while. Some backends reset their connection once the engine has read all that they sent. Whatever
//! happens: nobody gets a byte that was not sent to it, in another order, or an end before the last byte; in a run without
//! faults everybody gets all, and then the end, but for what goes to backends that reset.

use super::fixture::{self, Setup};
use super::playing::{Play, Stage, endpoint, play_seeds};
use super::tls_client::TlsClient;
use crate::limits::{PENDING_OUTPUT_BYTES_HIGH, RECEIVE_BUFFER_BYTES};
use crate::ring::sim::{Random, Reachability, Remote};
use crate::snapshot::Snapshot;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

const HOSTS: [&str; 2] = ["shop.example", "seen.example"];
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

#[test]
fn both_sides_of_a_tunnel_get_all_and_then_the_end_whatever_the_seed() {
    let setup = Setup { endpoints: vec![endpoint(1)], ..Setup::default() };
    let snapshots = [fixture::snapshot(&setup), fixture::snapshot(&setup)];
    play_seeds(|seed| Run::new(seed, snapshots.clone()));
}

/// One end of a tunnel, the client's or the backend's.
#[derive(Default)]
struct Side {
    tls: Option<TlsClient>,
    unsent: Vec<u8>,
    finished: bool,
    received: Vec<u8>,
    /// The engine ended its half.
    ended: bool,
    stalled: bool,
    gone: bool,
    /// It ends by a reset.
    resets: bool,
}

impl Side {
    /// Reads, sends some, and ends its half behind all of it. True: there is more to do before time goes on.
    fn act(&mut self, stage: &mut Stage, remote: Remote) -> bool {
        let Stage { sim, random, faulty, .. } = stage;
        let received = sim.take_received(remote);
        let mut reply = Vec::new();
        match &mut self.tls {
            None => self.received.extend(received),
            Some(tls) => {
                self.received.extend(tls.open(&received));
                reply = tls.take_output();
                sim.send(remote, &reply);
            }
        }
        self.ended |= sim.received_end(remote);
        if self.gone {
            return false;
        }
        if !self.unsent.is_empty() && random.chance(60) {
            let count = 1 + random.below(self.unsent.len());
            let piece: Vec<u8> = self.unsent.drain(..count).collect();
            match &mut self.tls {
                None => sim.send(remote, &piece),
                Some(tls) => sim.send(remote, &tls.seal(&piece)),
            }
        }
        let sent_all = self.unsent.is_empty() && !self.tls.as_ref().is_some_and(TlsClient::is_handshaking);
        if sent_all && !self.finished && random.chance(60) && (!self.resets || sim.was_read(remote)) {
            self.finished = true;
            if let Some(tls) = &mut self.tls {
                sim.send(remote, &tls.close());
            }
            match self.resets {
                true => sim.reset(remote),
                false => sim.finish(remote),
            }
        }
        if *faulty && random.chance(1) && random.chance(20) {
            self.gone = true;
            sim.reset(remote);
        }
        if random.chance(5) {
            self.stalled = !self.stalled && random.chance(60);
            sim.stall(remote, self.stalled);
        }
        // Without faults everybody reads in the end, before time goes on.
        !reply.is_empty()
            || (sent_all != self.finished)
            || !self.unsent.is_empty()
            || (!*faulty && self.stalled)
    }
}

struct Client {
    number: usize,
    remote: Remote,
    side: Side,
}

struct Run {
    stage: Stage,
    clients: Vec<Client>,
    /// By the client's number, once its request is here.
    backends: BTreeMap<usize, (Remote, Side)>,
    asked: BTreeMap<Remote, Vec<u8>>,
}

impl Play for Run {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn play_clients(&mut self) -> bool {
        let Run { stage, clients, .. } = self;
        clients.iter_mut().fold(false, |acted, client| client.side.act(stage, client.remote) | acted)
    }

    fn play_backends(&mut self) -> bool {
        let Run { stage, asked, backends, .. } = self;
        while let Some((remote, _)) = stage.sim.take_connected() {
            asked.insert(remote, Vec::new());
        }
        asked.retain(|remote, head| {
            head.extend(stage.sim.take_received(*remote));
            let Some(end) = memchr::memmem::find(head, b"\r\n\r\n") else { return true };
            let line = String::from_utf8(head[..end].to_vec()).unwrap();
            let number: usize = line.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            let unsent = [SWITCH, &make_bytes(number, b'a')].concat();
            let (received, resets) = (head[end + 4..].to_vec(), number.is_multiple_of(3));
            let side = Side { unsent, received, resets, ..Side::default() };
            let former = backends.insert(number, (*remote, side));
            // What was not answered is asked again.
            assert!(former.is_none_or(|(_, side)| side.gone), "an upgrade was asked for twice");
            false
        });
        backends.values_mut().fold(false, |acted, (remote, side)| side.act(stage, *remote) | acted)
    }

    fn is_done(&self) -> bool {
        let is_over = |side: &Side| side.ended && side.finished;
        self.stage.faulty
            || self.clients.iter().all(|client| {
                is_over(&client.side)
                    && self.backends.get(&client.number).is_some_and(|(_, side)| is_over(side))
            })
    }

    fn check(self) -> usize {
        let mut whole = 0;
        for client in &self.clients {
            let Some((_, backend)) = self.backends.get(&client.number) else {
                assert!(self.stage.faulty);
                continue;
            };
            let down = [SWITCH, &make_bytes(client.number, b'a')].concat();
            let up = make_bytes(client.number, b'A');
            let ways = [(&client.side.received, &down, false), (&backend.received, &up, backend.resets)];
            for (got, sent, may_lack) in ways {
                assert!(sent.starts_with(&got[..]) || got.len() < SWITCH.len(), "other bytes than were sent");
                let is_whole = may_lack || got == sent;
                assert!(self.stage.faulty || is_whole, "{} of {} bytes came", got.len(), sent.len());
            }
            whole += usize::from(client.side.received == down && backend.received == up);
        }
        whole
    }
}

impl Run {
    fn new(seed: u64, snapshots: [Arc<Snapshot>; 2]) -> Run {
        let keys = [fixture::PLAIN, fixture::TLS].map(|name| fixture::listener_key(&snapshots[0], name));
        let mut stage = Stage::new(seed, 0x7055, snapshots);
        stage.sim.reach(endpoint(1), Reachability::Accepts);
        let mut clients = Vec::new();
        for at in 0..1 + stage.random.below(3) {
            let from = SocketAddr::from(([198, 51, 100, at as u8], 5000));
            // Their bytes differ from run to run: what fails without TLS fails again.
            let tls = ([1, 4, 5].contains(&(seed % 8)) && stage.random.chance(50)).then(TlsClient::new);
            let remote = stage.sim.dial(keys[usize::from(tls.is_some())], from);
            let number = stage.random.below(1_000) * 4 + at;
            let host = HOSTS[stage.random.below(HOSTS.len())];
            let head = format!(
                "GET /{number} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
            );
            let unsent = [head.as_bytes(), &make_bytes(number, b'A')].concat();
            clients.push(Client { number, remote, side: Side { tls, unsent, ..Side::default() } });
        }
        Run { stage, clients, backends: BTreeMap::new(), asked: BTreeMap::new() }
    }
}

/// What one side sends: of each number as much as ever.
fn make_bytes(number: usize, first: u8) -> Vec<u8> {
    let mut random = Random(number as u64 ^ u64::from(first));
    let size = match random.below(4) {
        0 => random.below(20_000),
        1 => random.below(400_000),
        // As much as fills the output of the other side, and some that waits.
        _ => PENDING_OUTPUT_BYTES_HIGH + random.below(4 * RECEIVE_BUFFER_BYTES),
    };
    let letters: Vec<u8> = (first..first + 26).collect();
    letters.repeat(size / 26 + 2)[number % 26..][..size].to_vec()
}
