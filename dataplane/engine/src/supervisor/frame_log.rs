//! Encoded frames in the order in which they came, packed: a supervisor holds one for every resource of a cluster and reads
//! them again only for a new engine. Frames of neighbours are alike, so they are compressed together.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Frames are packed when so many bytes have come; more gains little and makes small changes dear.
const CHUNK_BYTES: usize = 256 << 10;
const LEVEL: i32 = 3;
const PREFIX_BYTES: usize = 4;

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    chunk: u32,
    index: u32,
}

struct Chunk {
    packed: Box<[u8]>,
    plain_bytes: u32,
    count: Count,
}

#[derive(Clone, Copy, Default)]
struct Count {
    frames: u32,
    /// Of them, those that somebody still wants.
    live: u32,
}

#[derive(Default)]
pub struct FrameLog {
    sealed: BTreeMap<u32, Chunk>,
    /// The chunk `next`, which is being filled.
    open: Vec<u8>,
    open_count: Count,
    next: u32,
}

impl FrameLog {
    /// Keeps a frame, which has its length in front.
    pub fn push(&mut self, frame: &[u8]) -> Place {
        let place = Place { chunk: self.next, index: self.open_count.frames };
        self.open.extend_from_slice(frame);
        self.open_count.frames += 1;
        self.open_count.live += 1;
        if self.open.len() >= CHUNK_BYTES {
            self.seal();
        }
        place
    }

    fn seal(&mut self) {
        let plain = std::mem::take(&mut self.open);
        let count = std::mem::take(&mut self.open_count);
        if count.live > 0 {
            let packed = zstd::bulk::compress(&plain, LEVEL);
            let packed = packed.unwrap_or_else(|_| unreachable!("from memory to memory")).into();
            self.sealed.insert(self.next, Chunk { packed, plain_bytes: plain.len() as u32, count });
        }
        self.next += 1;
    }

    /// Nobody wants the frame any more.
    pub fn release(&mut self, place: Place) {
        if place.chunk == self.next {
            self.open_count.live -= 1;
        } else if let Some(chunk) = self.sealed.get_mut(&place.chunk) {
            chunk.count.live -= 1;
            if chunk.count.live == 0 {
                self.sealed.remove(&place.chunk);
            }
        }
    }

    /// Takes all frames of another log; its places are `Moved` from then on.
    pub fn absorb(&mut self, other: FrameLog) -> Moved {
        let tail_chunk = other.next;
        if other.next > 0 && !self.open.is_empty() {
            self.seal();
        }
        let offset = self.next;
        for (number, chunk) in other.sealed {
            self.sealed.insert(offset + number, chunk);
        }
        self.next += tail_chunk;
        let tail = split_frames(&other.open).map(|frame| self.push(frame)).collect();
        Moved { offset, tail_chunk, tail }
    }

    /// Packed chunks of which half is not wanted any more.
    pub fn wasteful(&self) -> Vec<u32> {
        let wasteful = self.sealed.iter().filter(|(_, chunk)| chunk.count.live * 2 <= chunk.count.frames);
        wasteful.map(|(number, _)| *number).collect()
    }

    /// Numbers of all chunks, in order.
    pub fn chunks(&self) -> impl Iterator<Item = u32> {
        self.sealed.keys().copied().chain([self.next])
    }

    /// A chunk's frames, one after the other.
    pub fn unpack(&self, number: u32) -> Cow<'_, [u8]> {
        let Some(chunk) = self.sealed.get(&number) else { return Cow::Borrowed(&self.open) };
        let plain = zstd::bulk::decompress(&chunk.packed, chunk.plain_bytes as usize);
        Cow::Owned(plain.unwrap_or_else(|_| unreachable!("packed by `seal`")))
    }

    /// All frames of a chunk with their places.
    pub fn visit(&self, number: u32, mut visit: impl FnMut(Place, &[u8])) {
        for (index, frame) in split_frames(&self.unpack(number)).enumerate() {
            visit(Place { chunk: number, index: index as u32 }, frame);
        }
    }

    pub fn reader(&self) -> Reader<'_> {
        Reader { log: self, chunk: None, index: 0, rest: 0, plain: Cow::Borrowed(&[]) }
    }
}

fn split_frames(mut plain: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = frame_bytes(plain)?;
        let (frame, rest) = plain.split_at_checked(length)?;
        plain = rest;
        Some(frame)
    })
}

fn frame_bytes(plain: &[u8]) -> Option<usize> {
    plain.first_chunk::<PREFIX_BYTES>().map(|length| PREFIX_BYTES + u32::from_le_bytes(*length) as usize)
}

/// Where the frames of an absorbed log are now.
pub struct Moved {
    offset: u32,
    tail_chunk: u32,
    tail: Vec<Place>,
}

impl Moved {
    pub fn find(&self, place: Place) -> Place {
        match place.chunk == self.tail_chunk {
            true => self.tail[place.index as usize],
            false => Place { chunk: self.offset + place.chunk, index: place.index },
        }
    }
}

/// Reads frames by their places; in order of places each chunk is unpacked once.
pub struct Reader<'a> {
    log: &'a FrameLog,
    chunk: Option<u32>,
    /// Of the frame at `rest`.
    index: u32,
    rest: usize,
    plain: Cow<'a, [u8]>,
}

impl Reader<'_> {
    pub fn get(&mut self, place: Place) -> &[u8] {
        if self.chunk != Some(place.chunk) {
            self.plain = self.log.unpack(place.chunk);
            self.chunk = Some(place.chunk);
            (self.index, self.rest) = (0, 0);
        } else if place.index < self.index {
            (self.index, self.rest) = (0, 0);
        }
        while self.index < place.index {
            self.rest += frame_bytes(&self.plain[self.rest..]).unwrap_or(0);
            self.index += 1;
        }
        let length = frame_bytes(&self.plain[self.rest..]).unwrap_or(0);
        &self.plain[self.rest..self.rest + length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(number: usize, bytes: usize) -> Vec<u8> {
        let body: Vec<u8> = (0..bytes).map(|at| (number * 7 + at) as u8).collect();
        [&(bytes as u32).to_le_bytes()[..], &body].concat()
    }

    #[test]
    fn frames_are_found_where_they_were_put() {
        let mut log = FrameLog::default();
        let frames: Vec<_> = (0..3000).map(|number| frame(number, 100 + number % 300)).collect();
        let places: Vec<_> = frames.iter().map(|frame| log.push(frame)).collect();
        assert!(log.sealed.len() > 1 && !log.open.is_empty());
        let mut reader = log.reader();
        for step in [1, 2999, 7] {
            for at in (0..3000).map(|at| at * step % 3000) {
                assert_eq!(reader.get(places[at]), frames[at]);
            }
        }
    }

    #[test]
    fn alike_frames_take_a_fraction() {
        let mut log = FrameLog::default();
        for number in 0..20_000 {
            log.push(&frame(number % 3, 200));
        }
        let packed: usize = log.sealed.values().map(|chunk| chunk.packed.len()).sum();
        assert!(packed * 20 < 20_000 * 200, "{packed} bytes");
    }

    #[test]
    fn a_chunk_that_nobody_wants_is_forgotten_and_one_of_which_half_is_wanted_is_wasteful() {
        let mut log = FrameLog::default();
        let places: Vec<_> = (0..2000).map(|number| log.push(&frame(number, 256))).collect();
        let first: Vec<_> = places.iter().filter(|place| place.chunk == 0).copied().collect();
        let (some, rest) = first.split_at(first.len() / 2 + 1);
        some.iter().for_each(|place| log.release(*place));
        assert_eq!(log.wasteful(), [0]);
        rest.iter().for_each(|place| log.release(*place));
        assert!(!log.sealed.contains_key(&0) && log.wasteful().is_empty());
    }

    proptest! {
        #[test]
        fn absorbed_frames_keep_their_content(before in 0usize..2000, count in 0usize..3000) {
            let mut log = FrameLog::default();
            let kept: Vec<_> = (0..before).map(|number| log.push(&frame(number, 200))).collect();
            let mut other = FrameLog::default();
            let frames: Vec<_> = (0..count).map(|number| frame(number, 150)).collect();
            let places: Vec<_> = frames.iter().map(|frame| other.push(frame)).collect();
            let moved = log.absorb(other);
            let after = log.push(&frame(9, 9));
            let mut reader = log.reader();
            for (place, expected) in places.iter().zip(&frames) {
                prop_assert_eq!(reader.get(moved.find(*place)), &expected[..]);
            }
            for (number, place) in kept.iter().enumerate() {
                prop_assert_eq!(reader.get(*place), &frame(number, 200)[..]);
            }
            prop_assert_eq!(reader.get(after), &frame(9, 9)[..]);
        }
    }
}
