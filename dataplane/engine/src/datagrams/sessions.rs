//! The table of sessions: by client, and by slot. Pure: sockets, clocks and deadlines are its owner's.
//!
//! Rule: never more than `max`; a slot holds the session of one client, and every client has at most one.

use crate::exchange::ListenerId;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Who sends, and where to: an answer goes back the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    pub listener: ListenerId,
    pub address: SocketAddr,
    /// The address of ours that it was sent to.
    pub local: Option<IpAddr>,
}

pub struct Table<S> {
    // Keyed by what strangers choose.
    by_client: HashMap<Client, u32, ahash::RandomState>,
    slots: Vec<Option<(Client, S)>>,
    free: Vec<u32>,
    max: usize,
}

impl<S> Table<S> {
    pub fn new(max: usize) -> Self {
        Self { by_client: HashMap::default(), slots: Vec::new(), free: Vec::new(), max }
    }

    pub fn len(&self) -> usize {
        self.by_client.len()
    }

    pub fn has_room(&self) -> bool {
        self.len() < self.max
    }

    pub fn find(&self, client: &Client) -> Option<u32> {
        self.by_client.get(client).copied()
    }

    /// The slot of a new session. None: the table is full, or the client has one.
    pub fn insert(&mut self, client: Client, session: S) -> Option<u32> {
        if !self.has_room() || self.by_client.contains_key(&client) {
            return None;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some((client, session));
        self.by_client.insert(client, slot);
        Some(slot)
    }

    pub fn get(&mut self, slot: u32) -> Option<(&Client, &mut S)> {
        let (client, session) = self.slots.get_mut(slot as usize)?.as_mut()?;
        Some((client, session))
    }

    pub fn remove(&mut self, slot: u32) -> Option<(Client, S)> {
        let removed = self.slots.get_mut(slot as usize)?.take()?;
        self.by_client.remove(&removed.0);
        self.free.push(slot);
        Some(removed)
    }

    /// Slots of a listener's sessions; None: of all.
    pub fn slots(&self, listener: Option<ListenerId>) -> Vec<u32> {
        let belongs = |client: &Client| listener.is_none_or(|listener| client.listener == listener);
        self.by_client.iter().filter(|(client, _)| belongs(client)).map(|(_, slot)| *slot).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::sim::Random;

    fn client(random: &mut Random) -> Client {
        let port = 1 + random.below(12) as u16;
        let local = random.chance(50).then(|| IpAddr::from([192, 0, 2, 1]));
        let listener = ListenerId(random.below(3) as u32);
        Client { listener, address: SocketAddr::from(([127, 0, 0, 1], port)), local }
    }

    /// Against a list that is searched, step by step, for many seeds.
    #[test]
    fn every_client_has_its_own_session_and_the_bound_holds() {
        const MAX: usize = 20;
        for seed in 0..200 {
            let mut random = Random(seed);
            let mut table = Table::new(MAX);
            let mut model: Vec<(Client, u64)> = Vec::new();
            for step in 0..500u64 {
                let client = client(&mut random);
                let known = model.iter().position(|(other, _)| *other == client);
                let slot = table.find(&client);
                assert_eq!(slot.is_some(), known.is_some(), "seed {seed}");
                match (slot, known) {
                    (Some(slot), Some(at)) => {
                        let (found, session) = table.get(slot).unwrap();
                        assert_eq!((*found, *session), model[at], "seed {seed}");
                        assert_eq!(table.insert(client, step), None, "seed {seed}");
                        if random.chance(40) {
                            assert_eq!(table.remove(slot), Some(model.swap_remove(at)), "seed {seed}");
                            assert_eq!(table.remove(slot), None, "seed {seed}");
                        }
                    }
                    _ => {
                        let inserted = table.insert(client, step).is_some();
                        assert_eq!(inserted, model.len() < MAX, "seed {seed}");
                        model.extend(inserted.then_some((client, step)));
                    }
                }
                assert_eq!((table.len(), table.has_room()), (model.len(), model.len() < MAX));
                let of_first = model.iter().filter(|(client, _)| client.listener == ListenerId(0)).count();
                assert_eq!(table.slots(Some(ListenerId(0))).len(), of_first, "seed {seed}");
                assert_eq!(table.slots(None).len(), model.len(), "seed {seed}");
            }
        }
    }
}
