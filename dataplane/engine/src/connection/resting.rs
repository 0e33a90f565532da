//! What an idle connection keeps. Clients keep thousands of connections open for minutes, so memory that only a request
//! needs goes back some seconds after the last one.
//!
//! Rule: no timer of its own: the entry of a deadline that has moved on fires in vain sooner or later, and looks here.

use super::{Phase, Serving};
use crate::ring::SocketId;
use crate::worker::Worker;

impl Worker {
    /// A deadline's entry of this client fired before its time.
    pub fn rest(&mut self, socket: SocketId) {
        let Some(down) = self.downstream(socket) else { return };
        if !down.idle || !down.input.is_empty() || !matches!(down.phase, Phase::Head | Phase::Multiplex) {
            return;
        }
        down.input = Vec::new();
        down.serving.rest();
        if let Some(multiplex) = down.multiplex.as_deref_mut() {
            multiplex.rest();
        }
    }
}

impl Serving {
    /// Gives back whatever belonged to an exchange that is over.
    pub fn rest(&mut self) {
        self.leave_cache();
        (self.host, self.place, self.ticket, self.standing) = (None, None, None, None);
        (self.upgrade, self.switch, self.sticky) = (None, None, None);
        (self.held, self.file, self.page) = (None, None, None);
        self.including = None;
        self.filters = Default::default();
        for bytes in [&mut self.buffered, &mut self.trailers, &mut self.trailer_lines] {
            *bytes = Vec::new();
        }
    }
}
