//! What a request remembers of the plugins that it called: the answer they made, results that they wait for.

use super::queueing::Held;
use crate::exchange::fields::Fields;
use std::sync::Arc;

/// Results of one request: more are a loop.
pub const FETCHES_MAX: usize = 16;
/// Counts that a call remembers in case that it is repeated: those beyond count again.
pub const COUNTS_MAX: usize = 64;
/// Fuel of all calls of one request together.
pub const REQUEST_FUEL_MAX: i64 = 8 << 20;

#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Fuel that calls have used so far.
    pub fuel_spent: i64,
    /// Taken from the call under way unused: those that it called left the request no more.
    pub fuel_taken: i64,
    /// Status and body of the answer that a plugin made; its fields are in `Exchange::answer`.
    pub made_status: u16,
    pub made_body: Vec<u8>,
    /// The beginning of the request's body, once it was asked for and is here.
    pub body: Option<ReadAhead>,
    pub fetches: Vec<Arc<Fetched>>,
    /// How many of `fetches` the call under way has asked for again.
    pub replayed: usize,
    pub wanted: Option<Wanted>,
    /// What the call under way has counted, before it waited too.
    counts: Vec<Count>,
}

/// A change of what lasts longer than the request.
#[derive(Clone, Copy, Debug)]
struct Count {
    what: u64,
    result: u64,
    /// The call that is repeated came by.
    seen: bool,
}

/// The beginning of a request's body.
#[derive(Clone, Debug)]
pub struct ReadAhead {
    /// So many bytes were asked for, at most.
    pub limit: u64,
    pub bytes: Vec<u8>,
    /// Of the whole body; None: it is longer than `limit`, and nobody said how long.
    pub whole_bytes: Option<u64>,
}

/// What a suspended call waits for.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// So many bytes of the request's body.
    Body(u64),
    Fetch(Box<Outbound>),
}

/// A request of a plugin's own.
#[derive(Clone, Debug)]
pub struct Outbound {
    pub plugin: Box<str>,
    /// Index in the plugin's upstreams.
    pub upstream: usize,
    pub method: Vec<u8>,
    /// Path and query.
    pub target: Vec<u8>,
    pub fields: Fields,
    pub body: Vec<u8>,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Who asked: nobody else may read it.
    pub plugin: Box<str>,
    /// 0: there was no answer.
    pub status: u16,
    pub fields: Fields,
    pub body: Vec<u8>,
    /// Why there was none.
    pub failure: Option<Box<str>>,
    /// Counts it among what its namespace holds, for as long as a request remembers it.
    pub held: Held,
}

impl Memory {
    /// Status and body of the answer that was made, for whoever writes it.
    pub fn take_made(&mut self) -> (u16, Vec<u8>) {
        let status = std::mem::take(&mut self.made_status);
        (if status == 0 { 200 } else { status }, std::mem::take(&mut self.made_body))
    }

    /// After a call was undone: what it used and waits for stays, the answer that it made does not.
    pub fn take_over(&mut self, undone: Self) {
        let (status, body) = (self.made_status, std::mem::take(&mut self.made_body));
        *self = Self { made_status: status, made_body: body, ..undone };
    }

    /// Bytes that a copy copies.
    pub fn measure(&self) -> usize {
        self.made_body.len() + self.body.as_ref().map_or(0, |ahead| ahead.bytes.len())
    }

    /// A route calls a function anew, or for the second time after a suspend.
    pub fn begin_call(&mut self) {
        self.replayed = 0;
        self.wanted = None;
        self.counts.iter_mut().for_each(|count| count.seen = false);
    }

    /// The function came to its end: its results are nobody else's.
    pub fn end_call(&mut self) {
        self.fetches.clear();
        self.counts.clear();
        self.begin_call();
    }

    /// What a count gave before the call waited: it is not made again. `what` stands for plugin, helper and arguments.
    pub fn recall_count(&mut self, what: u64) -> Option<u64> {
        let found = self.counts.iter_mut().find(|count| count.what == what && !count.seen)?;
        found.seen = true;
        Some(found.result)
    }

    pub fn note_count(&mut self, what: u64, result: u64) {
        if self.counts.len() < COUNTS_MAX {
            self.counts.push(Count { what, result, seen: true });
        }
    }

    /// A fetch is refused before it is sent. It counts: those after it find their own results when the call is repeated.
    /// False: there were too many.
    pub fn refuse_fetch(&mut self, plugin: &str) -> bool {
        let fits = self.fetches.len() < FETCHES_MAX;
        if fits {
            self.fetches.push(Arc::new(Fetched { plugin: plugin.into(), ..Fetched::default() }));
            self.replayed += 1;
        }
        fits
    }

    /// Status of the call's next fetch, where its result is here; 0 also where another plugin of the call asked for it.
    pub fn replay(&mut self, plugin: &str) -> Option<u16> {
        let found = self.fetches.get(self.replayed)?;
        self.replayed += 1;
        Some(if *found.plugin == *plugin { found.status } else { 0 })
    }

    /// The answer to the last fetch that a plugin saw of its own, where there was one.
    pub fn last_fetched(&self, plugin: &str) -> Option<&Fetched> {
        let seen = self.fetches.get(..self.replayed)?;
        let last = seen.iter().rev().find(|fetched| *fetched.plugin == *plugin)?;
        (last.status != 0).then_some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_before_a_call_waited_is_not_counted_again() {
        let mut memory = Memory::default();
        memory.begin_call();
        assert_eq!(memory.recall_count(1), None);
        memory.note_count(1, 10);
        assert_eq!(memory.recall_count(1), None, "a second one of the same call");
        memory.note_count(1, 11);
        memory.begin_call();
        assert_eq!([1, 2, 1, 1].map(|what| memory.recall_count(what)), [Some(10), None, Some(11), None]);
        memory.end_call();
        assert_eq!(memory.recall_count(1), None);
        (0..2 * COUNTS_MAX as u64).for_each(|what| memory.note_count(what, 0));
        assert_eq!(memory.counts.len(), COUNTS_MAX);
    }

    #[test]
    fn what_is_refused_leaves_its_place_to_nobody() {
        let mut memory = Memory::default();
        assert!(memory.refuse_fetch("p"));
        assert!(memory.last_fetched("p").is_none(), "no answer, and none that is empty");
        let answered = Fetched { plugin: "p".into(), status: 200, ..Fetched::default() };
        memory.fetches.push(answered.into());
        memory.begin_call();
        assert_eq!([memory.replay("p"), memory.replay("p"), memory.replay("p")], [Some(0), Some(200), None]);
        assert!((memory.fetches.len()..FETCHES_MAX).all(|_| memory.refuse_fetch("p")));
        assert!(!memory.refuse_fetch("p"));
    }

    #[test]
    fn a_plugin_reads_no_answer_that_another_one_of_its_request_asked_for() {
        let fetched =
            |plugin: &str, status| Arc::new(Fetched { plugin: plugin.into(), status, ..Fetched::default() });
        let fetches = vec![fetched("web/idp", 201), fetched("web/store", 202)];
        let mut memory = Memory { fetches, ..Memory::default() };
        assert_eq!(memory.replay("web/store"), Some(0));
        assert!(memory.last_fetched("web/store").is_none());
        assert_eq!(memory.replay("web/store"), Some(202));
        assert_eq!(memory.replay("web/store"), None);
        assert_eq!(memory.last_fetched("web/idp").map(|one| one.status), Some(201));
        assert_eq!(memory.last_fetched("web/store").map(|one| one.status), Some(202));
    }
}
