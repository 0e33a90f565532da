//! A body that the program wants to see: read whole, within a bound, before the program goes on.

use super::Waiting;
use super::receiving::is_idempotent;
use crate::error::Failure;
use crate::limits::READ_BODY_BYTES_MAX;
use crate::ring::{Io, SocketId};
use crate::worker::Worker;

impl Worker {
    /// Reads the body, then runs the program at `entry`. What was read is kept for the upstream.
    pub fn read_body<I: Io>(&mut self, io: &mut I, client: SocketId, entry: u32) {
        let Some(down) = self.downstream(client) else { return };
        let serving = &mut down.serving;
        if serving.length.is_some_and(|length| length > READ_BODY_BYTES_MAX as u64) {
            return self.fail(io, client, Failure::BodyTooLarge);
        }
        if serving.request_done() {
            return self.body_read(io, client, entry);
        }
        serving.waiting = Waiting::ReadBody(entry);
        if std::mem::take(&mut serving.expects_continue) {
            self.send_continue(io, client);
        }
        self.advance_input(io, client);
    }

    /// Body bytes of a request whose program waits for them; returns how many were used.
    pub fn keep_body<I: Io>(&mut self, io: &mut I, client: SocketId, entry: u32, bytes: &[u8]) -> usize {
        let Some(down) = self.downstream(client) else { return bytes.len() };
        let serving = &mut down.serving;
        let mut at = 0;
        let mut outcome = Ok(());
        while at < bytes.len() && !serving.request_done() && outcome.is_ok() {
            match serving.body.next(&bytes[at..]) {
                Ok(piece) => {
                    serving.buffered.extend_from_slice(piece.body(&bytes[at..]));
                    serving.body_bytes += piece.data as u64;
                    at += piece.consumed;
                }
                Err(rule) => outcome = Err(Failure::BadRequest(rule.status, rule.rule)),
            }
            let bytes_max = serving.body_bytes_max.min(READ_BODY_BYTES_MAX as u64);
            if serving.body_bytes > bytes_max {
                outcome = Err(Failure::BodyTooLarge);
            }
        }
        let done = serving.request_done();
        match outcome {
            Err(failure) => {
                self.fail(io, client, failure);
                bytes.len()
            }
            Ok(()) => {
                if done {
                    self.body_read(io, client, entry);
                }
                at
            }
        }
    }

    fn body_read<I: Io>(&mut self, io: &mut I, client: SocketId, entry: u32) {
        let Some(down) = self.downstream(client) else { return };
        let repeatable = down.exchange.as_ref().is_some_and(|one| is_idempotent(one.method()));
        let serving = &mut down.serving;
        serving.waiting = Waiting::Decision;
        if !serving.bodiless {
            (serving.length, serving.chunked) = (Some(serving.body_bytes), false);
            (serving.bodiless, serving.replayable) = (true, repeatable);
        }
        if let Some(exchange) = down.exchange.as_mut() {
            exchange.read_body = Some(serving.buffered.clone());
        }
        self.run_program(io, client, entry);
    }
}
