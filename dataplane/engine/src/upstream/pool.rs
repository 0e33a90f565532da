//! Idle upstream connections of one worker, newest first: a warm congestion window and few open connections.

use crate::limits::IDLE_UPSTREAMS_MAX;
use crate::ring::SocketId;
use crate::snapshot::EndpointKey;
use rustls_pki_types::ServerName;
use std::collections::HashMap;

/// What two requests must share to use one connection: endpoint, TLS policy, and the TLS name where the request sets it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolKey {
    pub endpoint: EndpointKey,
    pub name: Option<ServerName<'static>>,
}

/// The pool. It knows sockets only; their owner closes what `put` hands back.
#[derive(Default)]
pub struct Pool {
    idle: HashMap<PoolKey, Vec<SocketId>, ahash::RandomState>,
    count: usize,
}

impl Pool {
    /// The connection used last.
    pub fn take(&mut self, key: &PoolKey) -> Option<SocketId> {
        let socket = self.idle.get_mut(key)?.pop()?;
        self.count -= 1;
        Some(socket)
    }

    /// Keeps a connection. Returns one to close where a bound is reached: the endpoint's oldest, or this one.
    pub fn put(&mut self, key: &PoolKey, socket: SocketId, idle_max: usize) -> Option<SocketId> {
        if self.count >= IDLE_UPSTREAMS_MAX {
            return Some(socket);
        }
        let sockets = match self.idle.get_mut(key) {
            Some(sockets) => sockets,
            None => self.idle.entry(key.clone()).or_default(),
        };
        sockets.push(socket);
        if sockets.len() > idle_max {
            return Some(sockets.remove(0));
        }
        self.count += 1;
        None
    }

    /// Forgets a connection that closed or timed out.
    pub fn remove(&mut self, key: &PoolKey, socket: SocketId) {
        if let Some(sockets) = self.idle.get_mut(key)
            && let Some(at) = sockets.iter().rposition(|idle| *idle == socket)
        {
            sockets.remove(at);
            self.count -= 1;
            if sockets.is_empty() {
                self.idle.remove(key);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::IDLE_PER_ENDPOINT_MAX;

    fn key(endpoint: u32) -> PoolKey {
        PoolKey { endpoint: EndpointKey(endpoint), name: None }
    }

    #[test]
    fn the_newest_is_used_first() {
        let mut pool = Pool::default();
        for socket in 0..3 {
            assert_eq!(pool.put(&key(1), SocketId(socket), IDLE_PER_ENDPOINT_MAX), None);
        }
        assert_eq!(pool.take(&key(1)), Some(SocketId(2)));
        pool.remove(&key(1), SocketId(0));
        assert_eq!((pool.take(&key(1)), pool.take(&key(1))), (Some(SocketId(1)), None));
    }

    #[test]
    fn endpoints_and_names_do_not_share() {
        let mut pool = Pool::default();
        let named =
            PoolKey { endpoint: EndpointKey(1), name: Some(ServerName::try_from("a.example").unwrap()) };
        pool.put(&named, SocketId(1), IDLE_PER_ENDPOINT_MAX);
        assert_eq!((pool.take(&key(1)), pool.take(&key(2))), (None, None));
        assert_eq!(pool.take(&named), Some(SocketId(1)));
    }

    #[test]
    fn at_the_bound_of_an_endpoint_the_oldest_goes() {
        let mut pool = Pool::default();
        for socket in 0..IDLE_PER_ENDPOINT_MAX as u32 {
            assert_eq!(pool.put(&key(1), SocketId(socket), IDLE_PER_ENDPOINT_MAX), None);
        }
        assert_eq!(pool.put(&key(1), SocketId(9_999), IDLE_PER_ENDPOINT_MAX), Some(SocketId(0)));
        assert_eq!(pool.len(), IDLE_PER_ENDPOINT_MAX);
    }

    #[test]
    fn at_the_bound_of_the_worker_the_newcomer_goes() {
        let mut pool = Pool::default();
        for socket in 0..IDLE_UPSTREAMS_MAX as u32 {
            assert_eq!(pool.put(&key(socket), SocketId(socket), IDLE_PER_ENDPOINT_MAX), None);
        }
        assert_eq!(pool.put(&key(1), SocketId(9_999), IDLE_PER_ENDPOINT_MAX), Some(SocketId(9_999)));
    }
}
