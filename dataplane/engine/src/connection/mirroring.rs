//! Copies of requests for upstreams whose answers nobody waits for (`mirror`).
//!
//! A copy is served as a stream that belongs to no connection: whoever sends to it sends nowhere. Rule: a copy never
//! touches its original; it runs no program, is not logged, and their number is bounded.

use super::{Downstream, Phase, Serving, Waiting, Window};
use crate::exchange::random;
use crate::limits::{COPIES_PER_WORKER_MAX, PROGRESS_WINDOW_MS};
use crate::metrics::Counter;
use crate::ring::{Io, SocketId};
use crate::worker::Worker;

impl Worker {
    /// Sends copies of a request that is about to go up, where all of it is here.
    pub fn mirror<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let Some(down) = self.downstream(socket) else { return };
        let serving = &down.serving;
        let Some(host) = serving.host.as_ref() else { return };
        let is_whole = serving.bodiless && serving.upgrade.is_none();
        let wanted: Vec<u32> = host
            .proxy(serving.row)
            .mirrors
            .iter()
            .filter(|mirror| is_whole && random() % 100 < u64::from(mirror.percent))
            .map(|mirror| mirror.row)
            .collect();
        for row in wanted {
            self.send_copy(io, socket, row);
        }
    }

    fn send_copy<I: Io>(&mut self, io: &mut I, socket: SocketId, row: u32) {
        if let Some(client) = self.copy_request(socket) {
            self.metrics.add(Counter::UpstreamCopies, 1);
            self.start_proxy(io, client, row);
        }
    }

    /// A copy of a request, which belongs to no connection.
    pub fn copy_request(&mut self, socket: SocketId) -> Option<SocketId> {
        if self.copies >= COPIES_PER_WORKER_MAX {
            return None;
        }
        let generation = self.next_generation();
        let deadline_ms = self.now_ms() + PROGRESS_WINDOW_MS;
        let original = self.downstream(socket)?;
        let mut exchange = original.exchange.clone()?;
        exchange.forget_wrappers();
        exchange.answering_call = None;
        exchange.places.clear();
        let mut copy = Downstream::new(generation, original.peer.clone(), Phase::Serving, false);
        let serving = &original.serving;
        copy.serving = Serving {
            length: serving.length,
            buffered: serving.buffered.clone(),
            body_bytes: serving.body_bytes,
            head_method: serving.head_method,
            replayable: serving.replayable,
            bodiless: true,
            host: serving.host.clone(),
            waiting: Waiting::Decision,
            started_ns: serving.started_ns,
            is_copy: true,
            ..Serving::default()
        };
        copy.window = Window::default();
        copy.exchange = Some(exchange);
        let client = self.take_stream_id();
        if self.downstreams.len() <= client.index() {
            self.downstreams.resize_with(client.index() + 1, || None);
        }
        self.downstreams[client.index()] = Some(Box::new(copy));
        self.copies += 1;
        self.set_downstream_deadline(client, deadline_ms);
        Some(client)
    }

    /// True where nobody waits for the answer.
    pub fn is_copy(&mut self, socket: SocketId) -> bool {
        self.downstream(socket).is_some_and(|down| down.serving.is_copy)
    }
}
