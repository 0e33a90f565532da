//! Slow on purpose: requests that `fault` delays, and answers that `bandwidth` holds back.
//!
//! Rule: what is held back costs nothing but a timer: an upstream is not read, a file not opened further, until the time
//! has come. A client that does not read is judged as any other.

use super::Waiting;
use crate::limits::PROGRESS_WINDOW_MS;
use crate::ring::{Io, SocketId};
use crate::snapshot::BandwidthRow;
use crate::upstream;
use crate::worker::Worker;

/// What goes on at a time: a receive buffer.
const PIECE_BYTES: usize = 16 << 10;

/// How far an answer's body may be.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    row: BandwidthRow,
    from_ms: u64,
    /// Nothing is sent before; 0 is no wait.
    until_ms: u64,
}

impl Pace {
    pub fn new(row: BandwidthRow, now_ms: u64) -> Self {
        Self { row, from_ms: now_ms, until_ms: 0 }
    }

    /// Milliseconds until so many bytes may have been sent.
    fn wait_ms(&self, sent: u64, now_ms: u64) -> u64 {
        let elapsed_ms = u128::from(now_ms.saturating_sub(self.from_ms));
        let rate = u128::from(self.row.bytes_per_second.max(1));
        let allowed = u128::from(self.row.free_bytes) + rate * elapsed_ms / 1000;
        let ahead = u128::from(sent).saturating_sub(allowed);
        u64::try_from((ahead * 1000).div_ceil(rate)).unwrap_or(u64::MAX)
    }
}

impl Worker {
    /// The program goes on later.
    pub fn pause_program(&mut self, client: SocketId, delay_ms: u64, entry: u32) {
        let deadline_ms = self.now_ms() + delay_ms;
        if let Some(down) = self.downstream(client) {
            down.serving.waiting = Waiting::Pause(entry);
        }
        self.set_downstream_deadline(client, deadline_ms);
    }

    /// More of the answer has to wait: whoever produces it is told when the time has come.
    pub fn holds_pace(&mut self, client: SocketId) -> bool {
        let now_ms = self.now_ms();
        let Some(down) = self.downstream(client) else { return false };
        let Some(pace) = down.serving.pace.as_mut() else { return false };
        if pace.until_ms == 0 {
            match pace.wait_ms(down.serving.response_bytes, now_ms) {
                0 => return false,
                wait_ms => pace.until_ms = now_ms.saturating_add(wait_ms),
            }
        }
        let until_ms = pace.until_ms;
        self.set_downstream_deadline(client, until_ms);
        true
    }

    /// A timer of a client whose answer is held back. False: it was another.
    pub fn pace_due<I: Io>(&mut self, io: &mut I, client: SocketId, now_ms: u64) -> bool {
        let Some(down) = self.downstream(client) else { return false };
        let Some(pace) = down.serving.pace.as_mut().filter(|pace| pace.until_ms != 0) else { return false };
        let until_ms = pace.until_ms;
        if now_ms < until_ms {
            self.set_downstream_deadline(client, until_ms);
            return true;
        }
        pace.until_ms = 0;
        let upstream = down.serving.upstream;
        self.set_downstream_deadline(client, now_ms + PROGRESS_WINDOW_MS);
        match upstream.is_some_and(|upstream| self.pass_held_bytes(io, client, upstream)) {
            true => {}
            false => self.downstream_drained(io, client),
        }
        true
    }

    /// Bytes that came while the answer was held back go on, as far as they may. True: that is all for now.
    fn pass_held_bytes<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId) -> bool {
        let Some(up) = self.upstream(upstream) else { return false };
        let held = std::mem::take(&mut up.input);
        for (index, piece) in held.chunks(PIECE_BYTES).enumerate() {
            self.answer_bytes(io, client, upstream, piece);
            let Some(up) = self.upstream(upstream).filter(|up| up.client == Some(client)) else {
                return true;
            };
            if up.phase != upstream::Phase::Body {
                return true;
            }
            if self.is_held_back(client) {
                let rest = &held[held.len().min((index + 1) * PIECE_BYTES)..];
                if let Some(up) = self.upstream(upstream) {
                    up.input.extend_from_slice(rest);
                }
                return true;
            }
        }
        let ended = self.upstream(upstream).and_then(|up| up.ended.take());
        if let Some(end) = ended {
            self.upstream_ended(io, upstream, end);
        }
        ended.is_some()
    }

    /// Room at the client says nothing while its answer is held back.
    pub fn is_held_back(&mut self, client: SocketId) -> bool {
        let pace = self.downstream(client).and_then(|down| down.serving.pace.as_ref());
        pace.is_some_and(|pace| pace.until_ms != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_waits_for_its_time() {
        let pace = Pace::new(BandwidthRow { bytes_per_second: 1000, free_bytes: 500 }, 10_000);
        assert_eq!(pace.wait_ms(500, 10_000), 0);
        assert_eq!(pace.wait_ms(501, 10_000), 1);
        assert_eq!(pace.wait_ms(2500, 10_000), 2000);
        assert_eq!(pace.wait_ms(2500, 11_500), 500);
        assert_eq!(pace.wait_ms(2500, 12_000), 0);
        assert_eq!(pace.wait_ms(u64::MAX, 12_000), u64::MAX - 2500);
    }
}
