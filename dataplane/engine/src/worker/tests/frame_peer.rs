//! One end of a connection of HTTP/2 that a simulation plays, by this crate's own state machine.

use crate::http2::fields::Answer;
use crate::http2::{Event, Multiplex, Role};
use crate::limits::HTTP2_BUDGET;
use crate::ring::sim::Random;
use std::collections::BTreeMap;

/// What a peer of the worker saw, without borrowing its input.
pub enum Seen {
    Head { id: u32, status: u16, path: String, end: bool },
    Data { id: u32, bytes: Vec<u8>, end: bool },
    Trailers { id: u32 },
    Reset { id: u32 },
    GoingAway { last: u32 },
}

/// One end of a connection of HTTP/2 that the test plays.
pub struct Peer {
    pub multiplex: Multiplex,
    input: Vec<u8>,
    /// Bytes by stream that were read and are not credited yet.
    pub held: BTreeMap<u32, usize>,
}

impl Peer {
    pub fn new(role: Role) -> Peer {
        Peer { multiplex: Multiplex::new(role, 0), input: Vec::new(), held: BTreeMap::new() }
    }

    /// Owners are the streams' own numbers. Panics where the worker broke the protocol.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Seen> {
        self.input.extend(bytes);
        // The worker is no flooder: its frames are not counted.
        self.multiplex.budget.earn(HTTP2_BUDGET);
        let input = std::mem::take(&mut self.input);
        let (mut at, mut seen) = (0, Vec::new());
        loop {
            let event = self.multiplex.receive(&input, &mut at);
            match event.unwrap_or_else(|violation| panic!("the worker sent {violation:?}")) {
                None => break,
                Some(Event::Head { id, end }) => {
                    self.multiplex.accept(id, id);
                    let fields = &self.multiplex.fields;
                    let path = fields.iter().find(|(name, _)| *name == b":path");
                    let path = path.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap());
                    let status = Answer::read(fields).map_or(0, |answer| answer.status);
                    seen.push(Seen::Head { id, status, path: path.unwrap_or_default(), end });
                }
                Some(Event::Data { id, bytes, end, .. }) => {
                    *self.held.entry(id).or_default() += bytes.len();
                    seen.push(Seen::Data { id, bytes: input[bytes].to_vec(), end });
                }
                Some(Event::Trailers { id, .. }) => seen.push(Seen::Trailers { id }),
                Some(Event::Reset { owner, .. }) => seen.push(Seen::Reset { id: owner }),
                Some(Event::GoingAway { last, .. }) => seen.push(Seen::GoingAway { last }),
                Some(Event::Ready) => {}
            }
        }
        self.input = input[at..].to_vec();
        seen
    }

    /// Some windows open; the worker's side waits for the others.
    pub fn credit(&mut self, random: &mut Random) {
        for (id, bytes) in std::mem::take(&mut self.held) {
            match random.chance(50) {
                true => self.multiplex.credit(id, bytes),
                false => drop(self.held.insert(id, bytes)),
            }
        }
    }

    pub fn take_output(&mut self) -> Vec<u8> {
        self.multiplex.pump(usize::MAX);
        self.multiplex.drained.clear();
        std::mem::take(&mut self.multiplex.out)
    }
}
