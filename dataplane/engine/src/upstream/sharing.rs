//! Connections to endpoints that many requests share (HTTP/2): which there are of one worker, and which takes one more.
//! `connection::sharing` opens, drives and ends them.
//!
//! Rule: the first with room is taken, so that those behind it fall idle and end.

use super::pool::PoolKey;
use super::{Phase, Upstream};
use crate::limits::{HTTP2_UPSTREAM_STREAMS_MAX, REQUESTS_PER_UPSTREAM_MAX};
use crate::ring::SocketId;
use std::collections::HashMap;
use std::sync::atomic::Ordering;

/// Shared connections by what their requests must have in common, oldest first.
#[derive(Default)]
pub struct Shared {
    connections: HashMap<PoolKey, Vec<SocketId>, ahash::RandomState>,
}

impl Shared {
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    pub fn of(&self, key: &PoolKey) -> &[SocketId] {
        self.connections.get(key).map_or(&[], Vec::as_slice)
    }

    pub fn add(&mut self, key: &PoolKey, socket: SocketId) {
        match self.connections.get_mut(key) {
            Some(sockets) => sockets.push(socket),
            None => drop(self.connections.insert(key.clone(), vec![socket])),
        }
    }

    pub fn remove(&mut self, key: &PoolKey, socket: SocketId) {
        let Some(sockets) = self.connections.get_mut(key) else { return };
        sockets.retain(|other| *other != socket);
        if sockets.is_empty() {
            self.connections.remove(key);
        }
    }
}

/// What a connection can do for one more request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// A stream at once.
    Now,
    /// It is being opened, and will probably have a stream left.
    Soon,
    None,
}

impl Upstream {
    /// Room for one more request on this listed connection.
    pub fn room(&self) -> Room {
        let is_opening = matches!(self.phase, Phase::Connecting | Phase::Handshake);
        let has_room = match &self.multiplex {
            Some(multiplex) if multiplex.is_ready() => {
                return match multiplex.has_room() && self.requests < REQUESTS_PER_UPSTREAM_MAX {
                    true => Room::Now,
                    false => Room::None,
                };
            }
            Some(multiplex) => multiplex.streams.len() + self.waiting.len() < self.streams_expected(),
            // The one that dials it needs one.
            None => is_opening && self.waiting.len() + 1 < self.streams_expected(),
        };
        if has_room { Room::Soon } else { Room::None }
    }

    fn streams_expected(&self) -> usize {
        match self.endpoint.streams_max.load(Ordering::Relaxed) {
            0 => HTTP2_UPSTREAM_STREAMS_MAX as usize,
            told => told as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::EndpointKey;

    fn key(endpoint: u32) -> PoolKey {
        PoolKey { endpoint: EndpointKey(endpoint), name: None }
    }

    #[test]
    fn the_oldest_comes_first_and_keys_do_not_share() {
        let mut shared = Shared::default();
        for socket in [3, 1, 2] {
            shared.add(&key(1), SocketId(socket));
        }
        shared.add(&key(2), SocketId(9));
        shared.remove(&key(1), SocketId(1));
        shared.remove(&key(1), SocketId(9));
        assert_eq!(shared.of(&key(1)), [SocketId(3), SocketId(2)]);
        assert_eq!(shared.of(&key(2)), [SocketId(9)]);
    }

    #[test]
    fn it_is_empty_once_all_are_gone() {
        let mut shared = Shared::default();
        shared.add(&key(1), SocketId(1));
        shared.remove(&key(1), SocketId(1));
        assert!(shared.is_empty() && shared.of(&key(1)).is_empty());
    }
}
