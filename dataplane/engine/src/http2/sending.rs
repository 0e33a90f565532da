//! Heads, bodies and trailers go out, as windows allow. A body's bytes go straight into frames where nothing waits before
//! them; what does not fit waits in its stream's queue, and streams are served in turn, a bounded piece each.

use super::frames;
use super::multiplex::Multiplex;
use super::streams::{Ending, Gone};
use crate::limits::{HTTP2_PIECE_BYTES, HTTP2_STREAM_PENDING_BYTES_LOW};

impl Multiplex {
    /// Writes a head's block. `end`: no body follows.
    pub fn send_head(&mut self, id: u32, block: &[u8], end: bool) {
        let payload_max = self.peer.payload_bytes_max;
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.local_done {
            return;
        }
        stream.head_sent = true;
        frames::push_block(block, end, id, payload_max, &mut self.out);
        if end {
            stream.local_done = true;
            self.finish(id);
        }
    }

    /// Takes body bytes, up to all; `end` with the last ones. `room`: whether the connection's output has any.
    pub fn send_data(&mut self, id: u32, data: &[u8], end: bool, room: bool) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.local_done || stream.ending != Ending::Open {
            return;
        }
        let mut rest = data;
        if room && stream.queue.is_empty() {
            let payload_max = self.peer.payload_bytes_max;
            while !rest.is_empty() {
                let window = stream.send_window.min(self.send_window).max(0) as usize;
                let piece = rest.len().min(window).min(payload_max);
                if piece == 0 {
                    break;
                }
                let last = end && piece == rest.len();
                let flags = u8::from(last) * frames::END_STREAM;
                frames::push(frames::DATA, flags, id, &rest[..piece], &mut self.out);
                self.budget.earn(earned(piece, piece == rest.len()));
                stream.send_window -= piece as i64;
                self.send_window -= piece as i64;
                stream.sent += piece as u64;
                rest = &rest[piece..];
                if last {
                    stream.local_done = true;
                    return self.finish(id);
                }
            }
            if rest.is_empty() && end {
                frames::push(frames::DATA, frames::END_STREAM, id, &[], &mut self.out);
                stream.local_done = true;
                return self.finish(id);
            }
        }
        // Exactly: a stream that stalls must not hold twice what it waits for.
        stream.queue.reserve_exact(rest.len());
        stream.queue.extend(rest);
        if end {
            stream.ending = Ending::Plain;
        }
        if stream.has_work() {
            self.streams.line_up(id);
        }
    }

    /// Ends our side with trailers, after what waits.
    pub fn send_trailers(&mut self, id: u32, block: &[u8]) {
        let payload_max = self.peer.payload_bytes_max;
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.local_done || stream.ending != Ending::Open {
            return;
        }
        if stream.queue.is_empty() {
            frames::push_block(block, true, id, payload_max, &mut self.out);
            stream.local_done = true;
            return self.finish(id);
        }
        stream.ending = Ending::Trailers(block.to_vec());
        self.streams.line_up(id);
    }

    /// Bytes that wait for windows.
    pub fn queued(&self, id: u32) -> usize {
        self.streams.get(id).map_or(0, |stream| stream.queue.len())
    }

    /// Bytes that the peer would take now.
    pub fn sendable(&self, id: u32) -> usize {
        let window = self.streams.get(id).map_or(0, |stream| stream.send_window.min(self.send_window));
        usize::try_from(window).unwrap_or(0)
    }

    /// Serves those in line in turn, until windows or `room` bytes are used up. Notes whose queue got low in `drained`.
    pub fn pump(&mut self, mut room: usize) {
        let mut turns = self.streams.line.len();
        while turns > 0 && room > 0 {
            turns -= 1;
            let Some(id) = self.streams.line.pop_front() else { return };
            let Some(stream) = self.streams.get_mut(id) else { continue };
            stream.lined_up = false;
            let before = stream.queue.len();
            let window = stream.send_window.min(self.send_window).max(0) as usize;
            let piece = before.min(window).min(HTTP2_PIECE_BYTES.min(self.peer.payload_bytes_max)).min(room);
            if piece == 0 && before > 0 {
                // Only the connection's window brings nobody back into the line.
                if stream.send_window > 0 {
                    self.streams.line_up(id);
                }
                continue;
            }
            let last = piece == before;
            let plain_end = last && stream.ending == Ending::Plain;
            if piece > 0 || plain_end {
                frames::push_head(
                    piece,
                    frames::DATA,
                    u8::from(plain_end) * frames::END_STREAM,
                    id,
                    &mut self.out,
                );
                let (front, back) = stream.queue.as_slices();
                let cut = piece.min(front.len());
                self.out.extend_from_slice(&front[..cut]);
                self.out.extend_from_slice(&back[..piece - cut]);
                stream.queue.drain(..piece);
                stream.send_window -= piece as i64;
                stream.sent += piece as u64;
                self.send_window -= piece as i64;
                self.budget.earn(earned(piece, last));
                room -= piece;
            }
            if last && let Ending::Trailers(block) = &stream.ending {
                frames::push_block(block, true, id, self.peer.payload_bytes_max, &mut self.out);
                stream.local_done = true;
            }
            stream.local_done |= plain_end;
            if stream.queue.is_empty() {
                stream.queue = Default::default();
            }
            let (owner, local_done, left) = (stream.owner, stream.local_done, stream.queue.len());
            if local_done
                || (before > HTTP2_STREAM_PENDING_BYTES_LOW && left <= HTTP2_STREAM_PENDING_BYTES_LOW)
            {
                self.drained.push(owner);
            }
            if local_done {
                self.finish(id);
            } else if left > 0 {
                self.streams.line_up(id);
                turns += 1;
            }
        }
    }

    /// Something waits and could go out now.
    pub fn has_work(&self) -> bool {
        self.send_window > 0 && !self.streams.line.is_empty()
    }

    /// Both sides ended: the stream is gone.
    pub(super) fn finish(&mut self, id: u32) {
        let Some(stream) = self.streams.get(id) else { return };
        if stream.remote_done {
            self.streams.remove(id, Gone::Finished);
            // An answer may cost its client a PING and window updates.
            self.budget.earn(3);
        }
    }

    /// The answer is or will be complete while the request is not: its rest is not wanted (RFC 9113 8.1).
    pub fn stop_request(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.reset_after = true;
    }
}

/// What a DATA frame earns back: the window updates and measuring PINGs that it may cause. A small piece of more does not,
/// or windows of one byte would pay for themselves (CVE-2019-9511).
fn earned(piece: usize, whole: bool) -> u32 {
    match whole || piece >= 1024 {
        true => 2 + (piece >> 10) as u32,
        false => 0,
    }
}
