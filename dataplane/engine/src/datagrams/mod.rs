//! Datagrams (UDP): what a client sends to a listener goes to one endpoint of the cluster that the listener's route names, and
//! what that endpoint sends back goes to the client. `sessions` is the table, `passing` the way of a datagram.
//!
//! Rules: an endpoint's datagrams reach only the client whose own made the session; a session begins only where the route
//! program sends the client on, and is judged again while it lasts; the table never grows beyond `DATAGRAM_SESSIONS_MAX`.

mod passing;
mod sessions;

use crate::connection::Deadline;
use crate::exchange::{Clock, ListenerId};
use crate::limits::{DATAGRAM_SESSIONS_MAX, DATAGRAM_SESSIONS_PERCENT};
use crate::ring::datagrams::Batch;
use crate::snapshot::{Cluster, EndpointRef, Standing, VirtualHost};
use sessions::Table;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Timer keys of sessions carry this bit beside their slot.
pub const SESSION_KEY: u32 = 1 << 30;
/// Keys of `Io::watch`: a listener's id with this bit, else a session's slot.
const LISTENER_KEY: u32 = 1 << 31;

/// A worker's listeners for datagrams, and its sessions.
pub struct Datagrams {
    listening: Vec<(ListenerId, OwnedFd)>,
    table: Table<Session>,
    /// None until the first datagram: most workers never see one.
    batch: Option<Box<Batch>>,
}

impl Datagrams {
    /// `sockets_max`: what the worker may open for everything.
    pub fn new(sockets_max: u32) -> Self {
        let share = sockets_max as usize * DATAGRAM_SESSIONS_PERCENT / 100;
        let table = Table::new(share.clamp(1, DATAGRAM_SESSIONS_MAX));
        Self { listening: Vec::new(), table, batch: None }
    }

    /// Sessions now.
    pub fn open(&self) -> usize {
        self.table.len()
    }

    fn socket(&self, listener: ListenerId) -> Option<BorrowedFd<'_>> {
        self.listening.iter().find(|(id, _)| *id == listener).map(|(_, socket)| socket.as_fd())
    }
}

/// What a client sends, and what comes back.
struct Session {
    /// Tells sessions of one slot apart.
    generation: u32,
    host: Arc<VirtualHost>,
    upstream: Upstream,
    /// The endpoint refused; the next datagram goes to another one.
    broken: bool,
    started: Clock,
    idle_ms: u64,
    judged_ms: u64,
    deadline: Deadline,
    received_bytes: u64,
    sent_bytes: u64,
    tries: u32,
}

/// A socket that hears one endpoint alone.
struct Upstream {
    socket: OwnedFd,
    cluster: Arc<Cluster>,
    endpoint: EndpointRef,
    /// Until the endpoint answered or refused.
    standing: Option<Arc<Standing>>,
}

impl Upstream {
    fn new(
        socket: OwnedFd,
        cluster: Arc<Cluster>,
        endpoint: EndpointRef,
        standing: Option<Arc<Standing>>,
    ) -> Self {
        endpoint.active.fetch_add(1, Ordering::Relaxed);
        Self { socket, cluster, endpoint, standing }
    }

    fn address(&self) -> SocketAddr {
        self.endpoint.address
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.endpoint.active.fetch_sub(1, Ordering::Relaxed);
    }
}
