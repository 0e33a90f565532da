//! Requests that wait for a token of a shared rate limit.

use super::{Phase, Waiting};
use crate::exchange::Unknown;
use crate::ring::{Io, SocketId};
use crate::tokens::{self, Taken, Told};
use crate::worker::Worker;

impl Worker {
    pub fn take_token<I: Io>(&mut self, io: &mut I, socket: SocketId, row: u32, entry: u32) {
        let now_ns = io.now().monotonic_ns;
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return };
        let ticket = u64::from(down.generation) << 32 | u64::from(socket.0);
        let (Some(host), Some(exchange)) = (down.serving.host.as_ref(), down.exchange.as_ref()) else {
            return;
        };
        let limit = &host.tables.rate_limits[row as usize];
        let mut key = Vec::new();
        exchange.expand(&limit.key, Unknown::Empty, &mut key);
        down.serving.waiting = Waiting::Token { row, entry };
        if let Some(told) = tokens::table().wait(limit, &key, now_ns, (&self.myself, ticket)) {
            self.go_on_with_token(io, socket, told);
        }
    }

    /// The connection may be gone or serve another request by now: its token is spent.
    pub fn token_taken<I: Io>(&mut self, io: &mut I, ticket: u64, told: Told) {
        let socket = SocketId(ticket as u32);
        let Some(down) = self.downstream(socket) else { return };
        if down.generation != (ticket >> 32) as u32 || down.phase != Phase::Serving {
            return;
        }
        self.go_on_with_token(io, socket, told);
        self.advance_input(io, socket);
    }

    fn go_on_with_token<I: Io>(&mut self, io: &mut I, socket: SocketId, told: Told) {
        let now_ns = io.now().monotonic_ns;
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return };
        let Waiting::Token { row, entry } = down.serving.waiting else { return };
        down.serving.waiting = Waiting::Decision;
        let (Some(host), Some(exchange)) = (down.serving.host.as_ref(), down.exchange.as_mut()) else {
            return;
        };
        let limit = &host.tables.rate_limits[row as usize];
        let taken = match told {
            Told::Away => {
                let mut key = Vec::new();
                exchange.expand(&limit.key, Unknown::Empty, &mut key);
                tokens::table().count_alone(limit, &key, now_ns)
            }
            told => Taken::from(told),
        };
        let result = exchange.note_taken(taken);
        exchange.set_resume_result(result as u32);
        self.run_program(io, socket, entry);
    }
}
