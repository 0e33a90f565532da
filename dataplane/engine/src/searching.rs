//! Regular expressions, and what a search by one may cost: a request pays before it searches.
//!
//! The crate is linear in the text, but its factor is the pattern: where its automaton is not cheap, each byte visits
//! each state, and copies the places of each group. Memory for both is each thread's own.

use crate::limits::{PATTERN_MADE_WORK, SEARCH_WORK_MAX, WRITTEN_TEXT_BYTES_MAX};
use crate::patterns::translate;
use regex::bytes::{CaptureNames, Captures, Regex, RegexBuilder};
use regex_automata::nfa::thompson::{Compiler, Config, WhichCaptures};
use regex_automata::util::syntax;
use std::cell::Cell;

/// Of the automaton that a thread builds while it searches: so much for each state of the pattern, within bounds.
const LAZY_BYTES_PER_STATE: usize = 1 << 10;
const LAZY_BYTES_MIN: usize = 128 << 10;
const LAZY_BYTES_MAX: usize = 1 << 20;
/// Groups whose places are copied in the time that a state is visited.
const GROUPS_PER_VISIT: usize = 8;

/// A compiled pattern of Go's syntax.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    states: usize,
}

impl Pattern {
    /// `bytes_max` bounds what it is compiled to.
    pub fn compile(text: &str, bytes_max: usize) -> Result<Self, String> {
        let translated = translate(text);
        let config = Config::new().utf8(false).nfa_size_limit(Some(bytes_max));
        let automaton = Compiler::new()
            .syntax(syntax::Config::new().utf8(false))
            .configure(config.which_captures(WhichCaptures::None))
            .build(&translated);
        let states = automaton.map_err(|error| describe(text, &error))?.states().len();
        let lazy_bytes = (states * LAZY_BYTES_PER_STATE).clamp(LAZY_BYTES_MIN, LAZY_BYTES_MAX);
        let regex = RegexBuilder::new(&translated)
            .size_limit(bytes_max)
            .dfa_size_limit(lazy_bytes)
            .build()
            .map_err(|error| describe(text, &error))?;
        Ok(Self { regex, states })
    }

    /// Its groups, the whole match among them.
    pub fn group_count(&self) -> usize {
        self.regex.captures_len()
    }

    pub fn group_names(&self) -> CaptureNames<'_> {
        self.regex.capture_names()
    }

    /// False, too, where the request cannot pay: then `SearchBudget::is_used_up`.
    pub fn is_match(&self, text: &[u8], budget: &SearchBudget) -> bool {
        budget.pay(self.states, text.len()) && self.regex.is_match(text)
    }

    /// None as `is_match` is false.
    pub fn captures<'t>(&self, text: &'t [u8], budget: &SearchBudget) -> Option<Captures<'t>> {
        if !budget.pay(self.weight(), text.len()) {
            return None;
        }
        self.regex.captures(text)
    }

    /// The text with all matches replaced, until it has its full length; None where there are none. What cannot be
    /// paid for leaves nothing of the text: a part that was to go must not stay.
    pub fn replace_all(&self, text: &[u8], with: &[u8], budget: &SearchBudget) -> Option<Vec<u8>> {
        let mut found = self.regex.captures_iter(text);
        let (mut out, mut from) = (None::<Vec<u8>>, 0);
        loop {
            if !budget.pay(self.weight(), text.len() - from) {
                return Some(Vec::new());
            }
            let Some((captures, place)) =
                found.next().and_then(|captures| captures.get(0).map(|place| (captures, place)))
            else {
                break;
            };
            let out = out.get_or_insert_default();
            out.extend_from_slice(&text[from..place.start()]);
            if out.len() <= WRITTEN_TEXT_BYTES_MAX {
                captures.expand(with, out);
            }
            from = place.end();
        }
        out.map(|mut out| {
            out.extend_from_slice(&text[from..]);
            out
        })
    }

    fn weight(&self) -> usize {
        self.states * (1 + self.group_count() / GROUPS_PER_VISIT)
    }
}

fn describe(text: &str, error: &dyn std::fmt::Display) -> String {
    format!("regular expression {text:?}: {error}")
}

/// What the searches of one request may still cost.
#[derive(Clone, Debug)]
pub struct SearchBudget {
    left: Cell<u64>,
    used_up: Cell<bool>,
}

impl Default for SearchBudget {
    fn default() -> Self {
        Self { left: Cell::new(SEARCH_WORK_MAX), used_up: Cell::new(false) }
    }
}

impl SearchBudget {
    /// Something was asked for that could not be paid: what the request decides must not count.
    pub fn is_used_up(&self) -> bool {
        self.used_up.get()
    }

    /// Pays for compiling a pattern that a request's own texts make.
    pub fn pay_for_pattern(&self, text: &[u8]) -> bool {
        self.spend(PATTERN_MADE_WORK.saturating_add(text.len() as u64 * 64))
    }

    fn pay(&self, weight: usize, bytes: usize) -> bool {
        self.spend((weight as u64).saturating_mul(bytes as u64 + 1))
    }

    fn spend(&self, work: u64) -> bool {
        let left = self.left.get().checked_sub(work);
        self.left.set(left.unwrap_or(0));
        self.used_up.set(self.used_up.get() || left.is_none());
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: usize = 4 << 20;

    #[test]
    fn many_searches_of_ordinary_patterns_are_paid() {
        let pattern = Pattern::compile(r"(?i)^/api/v[0-9]+/items/([^/]+)/(.*)$", BYTES_MAX).unwrap();
        let budget = SearchBudget::default();
        let path = [b"/api/v1/items/12/", &[b'x'; 200][..]].concat();
        assert!((0..1_000).all(|_| pattern.captures(&path, &budget).is_some()));
        assert!(!budget.is_used_up());
    }

    #[test]
    fn a_search_that_could_take_seconds_is_not_begun() {
        let pattern = Pattern::compile("(.*)a.{1000}.{1000}.{1000}", BYTES_MAX).unwrap();
        let budget = SearchBudget::default();
        assert!(!pattern.is_match(&b"abbabaaab".repeat(1_600), &budget));
        assert!(budget.is_used_up());
    }

    #[test]
    fn groups_are_paid_for() {
        let pattern = Pattern::compile(&("([ab]?)".repeat(1_000) + "c$"), BYTES_MAX).unwrap();
        let budget = SearchBudget::default();
        assert!(pattern.is_match(b"abc", &budget));
        assert!(pattern.captures(&b"ab".repeat(100), &budget).is_none());
        assert!(budget.is_used_up());
    }

    #[test]
    fn each_search_of_a_replacement_is_paid_for_and_nothing_stays_of_what_is_not() {
        let pattern = Pattern::compile("a.*[^A-Z]$|[A-Z]", BYTES_MAX).unwrap();
        let budget = SearchBudget::default();
        assert_eq!(pattern.replace_all(b"xAyB", b"<$0>", &budget), Some(b"x<A>y<B>".to_vec()));
        assert_eq!(pattern.replace_all(b"xy", b"", &budget), None);
        assert_eq!(pattern.replace_all(&b"aA".repeat(1 << 14), b"", &budget), Some(Vec::new()));
        assert!(budget.is_used_up());
    }

    #[test]
    fn who_has_paid_too_much_may_still_pay_for_nothing() {
        let budget = SearchBudget::default();
        assert!(!budget.pay(1 << 40, 1 << 40));
        assert!(!budget.pay(1, 0));
    }
}
