//! TLS policies from a seed: shop.example begins to ask clients for certificates, or ceases to, in the middle.
//!
//! Here is how it works. Clients with and without a certificate ask one request after the other, and connect again, with
//! the ticket of their last connection, where one ended. Whatever happens: once the policy has changed, no connection
//! of the former one has a request served and no ticket of it resumes; a client without a certificate is served
//! nothing while one is asked for; who may be served is, in a run without faults.

use super::fixture::{self, Setup, TLS};
use super::playing::{Play, Stage, endpoint, play_seeds};
use super::sim::parse;
use super::tls_client::{Remembered, TlsClient};
use crate::protocol::client_authentication::Mode;
use crate::protocol::{ClientAuthentication, TlsPolicy};
use crate::ring::sim::{Reachability, Remote};
use crate::snapshot::Snapshot;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
const CONNECTIONS_MAX: usize = 6;

#[test]
fn no_request_is_served_under_a_policy_that_is_gone_whatever_the_seed() {
    let asked = TlsPolicy {
        client_authentication: Some(ClientAuthentication {
            mode: Mode::Require as i32,
            ..ClientAuthentication::default()
        }),
        ..TlsPolicy::default()
    };
    let [open, closed] = [None, Some(asked)]
        .map(|tls| fixture::snapshot(&Setup { endpoints: vec![endpoint(1)], tls, ..Setup::default() }));
    play_seeds(|seed| Run::new(seed, [open.clone(), closed.clone()]));
}

struct Connection {
    remote: Remote,
    tls: TlsClient,
    /// The policy had changed when it was dialled.
    dialled_late: bool,
    /// The policy had not changed when its handshake was over. Where neither holds, it may have either one.
    shaken_early: bool,
    received: Vec<u8>,
    asked: usize,
    /// Of those, how many were sent once the policy had changed.
    asked_late: usize,
    over: bool,
}

struct Client {
    from: SocketAddr,
    remembered: Remembered,
    certified: bool,
    connections: Vec<Connection>,
    served: usize,
}

struct Run {
    stage: Stage,
    key: u32,
    /// Certificates are asked for at first; else after the change.
    closes: bool,
    awaited: bool,
    clients: Vec<Client>,
    backends: HashMap<Remote, Vec<u8>>,
}

impl Play for Run {
    fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    fn play_clients(&mut self) -> bool {
        let changed = self.awaited && !self.stage.awaits_swap();
        let Stage { sim, random, faulty, .. } = &mut self.stage;
        let mut acted = false;
        for client in &mut self.clients {
            if client.connections.last().is_none_or(|last| last.over)
                && client.connections.len() < CONNECTIONS_MAX
            {
                let remote = sim.dial(self.key, client.from);
                let tls = client.remembered.connect();
                client.connections.push(Connection {
                    remote,
                    tls,
                    dialled_late: changed,
                    shaken_early: false,
                    received: Vec::new(),
                    asked: 0,
                    asked_late: 0,
                    over: false,
                });
                acted = true;
            }
            let Some(connection) = client.connections.last_mut().filter(|last| !last.over) else { continue };
            let received = sim.take_received(connection.remote);
            acted |= !received.is_empty();
            connection.received.extend(connection.tls.open(&received));
            sim.send(connection.remote, &connection.tls.take_output());
            let answered = count(&connection.received);
            connection.shaken_early |= !changed && !connection.tls.is_handshaking();
            let may_ask = !connection.tls.is_handshaking() && answered == connection.asked;
            // Clients are never slow by themselves.
            acted |= may_ask;
            if may_ask && random.chance(50) {
                match connection.asked < 4 {
                    true => {
                        sim.send(connection.remote, &connection.tls.seal(REQUEST));
                        connection.asked += 1;
                        connection.asked_late += usize::from(changed);
                    }
                    false => sim.finish(connection.remote),
                }
            }
            if *faulty && random.chance(1) {
                sim.reset(connection.remote);
                connection.over = true;
            }
            connection.over |= sim.received_end(connection.remote);
            if connection.over {
                sim.finish(connection.remote);
                client.served += client.judge(self.closes, changed, *faulty);
                acted = true;
            }
        }
        acted
    }

    fn play_backends(&mut self) -> bool {
        let Stage { sim, .. } = &mut self.stage;
        while let Some((remote, _)) = sim.take_connected() {
            self.backends.insert(remote, Vec::new());
        }
        let mut remotes: Vec<Remote> = self.backends.keys().copied().collect();
        remotes.sort_unstable();
        let mut acted = false;
        for remote in remotes {
            let Some(received) = self.backends.get_mut(&remote) else { continue };
            received.extend(sim.take_received(remote));
            if sim.received_end(remote) {
                self.backends.remove(&remote);
                sim.finish(remote);
                acted = true;
            } else if let Some((_, _, used)) = parse(received) {
                received.drain(..used);
                sim.send(remote, ANSWER);
                acted = true;
            }
        }
        acted
    }

    fn is_done(&self) -> bool {
        self.clients.iter().all(|client| {
            client.connections.len() == CONNECTIONS_MAX && client.connections.iter().all(|one| one.over)
        })
    }

    fn check(self) -> usize {
        self.clients.iter().map(|client| client.served).sum()
    }
}

impl Run {
    fn new(seed: u64, [open, closed]: [Arc<Snapshot>; 2]) -> Run {
        let closes = seed.is_multiple_of(2);
        let key = fixture::listener_key(&open, TLS);
        let snapshots = if closes { [open, closed] } else { [closed, open] };
        let mut stage = Stage::new(seed, 0x9011, snapshots);
        stage.sim.reach(endpoint(1), Reachability::Accepts);
        let clients = (0..1 + stage.random.below(3))
            .map(|number| {
                let certified = stage.random.chance(50);
                Client {
                    from: SocketAddr::from(([198, 51, 100, number as u8], 5000)),
                    remembered: Remembered::new(certified),
                    certified,
                    connections: Vec::new(),
                    served: 0,
                }
            })
            .collect();
        let awaited = stage.awaits_swap();
        Run { stage, key, closes, awaited, clients, backends: HashMap::new() }
    }
}

impl Client {
    /// Judges the last connection, which is over; returns how many of its requests were served.
    fn judge(&self, closes: bool, changed: bool, faulty: bool) -> usize {
        let Some((last, former)) = self.connections.split_last() else { return 0 };
        let served = statuses(&last.received).iter().filter(|status| **status == 200).count();
        let (asks_now, is_certain) = match (last.shaken_early, last.dialled_late) {
            (true, _) => (!closes, !changed),
            (false, late) => (closes, late),
        };
        if last.shaken_early {
            let early = last.asked - last.asked_late;
            assert!(served <= early, "{served} served, {early} of them asked before the policy changed");
        }
        assert!(self.certified || !asks_now || served == 0, "{served} served without a certificate");
        if is_certain && !faulty && (self.certified || !asks_now) {
            assert_eq!(served, last.asked, "not all were served");
        }
        let has_ticket = former.iter().any(|one| !one.shaken_early);
        assert!(!last.tls.resumed() || !last.dialled_late || has_ticket, "a former policy's ticket resumed");
        assert!(faulty || changed || former.is_empty() || last.tls.resumed(), "a ticket did not resume");
        served
    }
}

fn statuses(mut bytes: &[u8]) -> Vec<u16> {
    let mut found = Vec::new();
    while let Some((head, _, used)) = parse(bytes) {
        found.push(head[9..12].parse().unwrap());
        bytes = &bytes[used..];
    }
    found
}

fn count(bytes: &[u8]) -> usize {
    statuses(bytes).len()
}
