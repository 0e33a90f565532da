//! Deadlines of one worker: a hashed wheel of ticks. In: (key, generation, deadline). Out: the entries that are due.
//!
//! Rule: arming is cheap and cancelling is free. An owner keeps its true deadline itself; when an entry fires early or
//! for a generation that is gone, the owner ignores it or arms again. So a request that ends in time never touches
//! the wheel.

use crate::limits::TIMER_TICK_MS;

const SLOTS: u64 = 4096;
const WORDS: usize = (SLOTS / 64) as usize;
/// Emptied slots that are kept, and entries that one of them has room for.
const SPARE_SLOTS: usize = 64;
const SPARE_ENTRIES: usize = 256;

/// What fires: the owner's key and the generation it had when it armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: u32,
    pub generation: u32,
    pub deadline_ms: u64,
}

/// The wheel. Deadlines beyond its horizon (65 s) go once around and are put in again.
pub struct Wheel {
    slots: Vec<Vec<Entry>>,
    /// Emptied ones for slots to come: what every slot once held at most is not kept for each of them.
    spare: Vec<Vec<Entry>>,
    occupied: [u64; WORDS],
    /// All ticks below this one have fired.
    tick: u64,
}

impl Wheel {
    pub fn new(now_ms: u64) -> Wheel {
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        Wheel { slots, spare: Vec::new(), occupied: [0; WORDS], tick: now_ms / TIMER_TICK_MS }
    }

    /// Fires at or up to one tick after `deadline_ms`.
    pub fn arm(&mut self, key: u32, generation: u32, deadline_ms: u64) {
        let due = deadline_ms.div_ceil(TIMER_TICK_MS).clamp(self.tick, self.tick + SLOTS - 1);
        self.put(due, Entry { key, generation, deadline_ms });
    }

    /// Moves to `due` everything whose deadline has come.
    pub fn advance(&mut self, now_ms: u64, due: &mut Vec<Entry>) {
        let now = now_ms / TIMER_TICK_MS;
        while let Some(tick) = self.next_tick().filter(|tick| *tick <= now) {
            let slot = (tick % SLOTS) as usize;
            self.occupied[slot / 64] &= !(1 << (slot % 64));
            self.tick = tick + 1;
            let mut entries = std::mem::take(&mut self.slots[slot]);
            for entry in entries.drain(..) {
                match entry.deadline_ms.div_ceil(TIMER_TICK_MS) <= now {
                    true => due.push(entry),
                    false => self.arm(entry.key, entry.generation, entry.deadline_ms),
                }
            }
            if self.spare.len() < SPARE_SLOTS && entries.capacity() <= SPARE_ENTRIES {
                self.spare.push(entries);
            }
        }
        self.tick = self.tick.max(now + 1);
    }

    /// Milliseconds until the next entry may be due, None where nothing is armed.
    pub fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        self.next_tick().map(|tick| (tick * TIMER_TICK_MS).saturating_sub(now_ms))
    }

    fn put(&mut self, tick: u64, entry: Entry) {
        let slot = (tick % SLOTS) as usize;
        self.occupied[slot / 64] |= 1 << (slot % 64);
        let entries = &mut self.slots[slot];
        if entries.capacity() == 0 {
            *entries = self.spare.pop().unwrap_or_default();
        }
        entries.push(entry);
    }

    /// The first tick from now on whose slot holds anything.
    fn next_tick(&self) -> Option<u64> {
        let start = (self.tick % SLOTS) as usize;
        for step in 0..=WORDS {
            let word = (start / 64 + step) % WORDS;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= !0 << (start % 64);
            } else if step == WORDS {
                bits &= !(!0 << (start % 64));
            }
            if bits != 0 {
                let slot = word as u64 * 64 + u64::from(bits.trailing_zeros());
                return Some(self.tick + (slot + SLOTS - start as u64) % SLOTS);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fire(wheel: &mut Wheel, now_ms: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.advance(now_ms, &mut due);
        due.into_iter().map(|entry| entry.key).collect()
    }

    #[test]
    fn an_entry_fires_once_and_not_before_its_deadline() {
        let mut wheel = Wheel::new(1_000);
        wheel.arm(7, 0, 1_100);
        assert_eq!(fire(&mut wheel, 1_099), Vec::<u32>::new());
        assert_eq!(fire(&mut wheel, 1_100 + TIMER_TICK_MS), vec![7]);
        assert_eq!(fire(&mut wheel, 9_000), Vec::<u32>::new());
    }

    #[test]
    fn a_deadline_beyond_the_horizon_goes_around() {
        let mut wheel = Wheel::new(0);
        wheel.arm(1, 0, 300_000);
        for now in (0..300_000).step_by(1_000) {
            assert_eq!(fire(&mut wheel, now), Vec::<u32>::new(), "at {now}");
        }
        assert_eq!(fire(&mut wheel, 300_016), vec![1]);
    }

    #[test]
    fn what_slots_once_held_is_not_kept() {
        let mut wheel = Wheel::new(0);
        for round in 0..3 {
            let begin_ms = round * SLOTS * TIMER_TICK_MS;
            for tick in 0..SLOTS - 1 {
                (0..20).for_each(|key| wheel.arm(key, 0, begin_ms + tick * TIMER_TICK_MS));
            }
            assert_eq!(fire(&mut wheel, begin_ms + SLOTS * TIMER_TICK_MS).len(), 20 * (SLOTS as usize - 1));
        }
        let kept: usize = wheel.slots.iter().chain(&wheel.spare).map(Vec::capacity).sum();
        assert!(kept <= SPARE_SLOTS * SPARE_ENTRIES, "room for {kept} entries is kept");
    }

    #[test]
    fn a_late_turn_fires_everything_that_came_due() {
        let mut wheel = Wheel::new(0);
        for key in 0..100 {
            wheel.arm(key, 0, u64::from(key) * 1_000);
        }
        let mut keys = fire(&mut wheel, 1_000_000);
        keys.sort_unstable();
        assert_eq!(keys, (0..100).collect::<Vec<_>>());
        assert_eq!(wheel.wait_ms(1_000_000), None);
    }

    #[test]
    fn the_wait_ends_when_the_next_entry_is_due() {
        let mut wheel = Wheel::new(0);
        assert_eq!(wheel.wait_ms(0), None);
        wheel.arm(1, 0, 800);
        wheel.arm(2, 0, 160);
        let wait = wheel.wait_ms(0).unwrap();
        assert!((160..=160 + TIMER_TICK_MS).contains(&wait), "{wait}");
        assert_eq!(fire(&mut wheel, wait), vec![2]);
        assert!(wheel.wait_ms(wait).unwrap() <= 800);
    }

    #[test]
    fn a_past_deadline_fires_in_the_next_turn() {
        let mut wheel = Wheel::new(10_000);
        wheel.arm(3, 0, 5);
        assert_eq!(fire(&mut wheel, 10_000), vec![3]);
    }
}
