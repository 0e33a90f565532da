//! Body filters: what changes an answer's body on its way down (encoders, templates).
//!
//! A handler that a program runs pushes its choice to `Exchange::filter_choices`; once the answer's fields are known, each
//! choice says whether it applies. Rule: an answer without choices pays nothing for this.

use super::Exchange;

/// A handler's decision about one answer.
pub trait FilterChoice: Send + Sync {
    /// The filter for the answer of `status` whose fields are in `exchange.scratch`, or None. May change those fields;
    /// Content-Length is the connection's, and an answer that is filtered gets none.
    fn choose(&self, exchange: &mut Exchange, status: u16) -> Option<Box<dyn BodyFilter>>;

    /// True where the choice depends on how long the body is: an upstream's head waits for the body's first bytes then.
    fn needs_length(&self) -> bool {
        false
    }
}

/// What is known about a body's length when its head is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerLength {
    /// All of it.
    Whole(u64),
    /// This many bytes are here; more may follow.
    AtLeast(u64),
}

impl AnswerLength {
    pub fn known(self) -> u64 {
        match self {
            AnswerLength::Whole(length) | AnswerLength::AtLeast(length) => length,
        }
    }

    /// The body comes as it is made.
    pub fn is_open(self) -> bool {
        matches!(self, AnswerLength::AtLeast(_))
    }
}

/// A stream filter of one body.
pub trait BodyFilter: Send {
    /// Takes body bytes; appends what can go on now to `out`.
    fn filter(&mut self, input: &[u8], out: &mut Vec<u8>);
    /// No more bytes are here now: appends what the client of a stream must not wait for.
    fn flush(&mut self, _out: &mut Vec<u8>) {}
    /// The body is complete: appends what is left.
    fn finish(&mut self, out: &mut Vec<u8>);
    /// It cannot go on: the answer must end in the middle.
    fn is_broken(&self) -> bool {
        false
    }
}

/// The filters of one answer, in the order in which bytes pass them.
#[derive(Default)]
pub struct BodyFilters(Vec<Box<dyn BodyFilter>>);

impl BodyFilters {
    /// The handler nearest to the origin sees the body first: its choice came last.
    pub fn choose(exchange: &mut Exchange, status: u16) -> BodyFilters {
        let choices = std::mem::take(&mut exchange.filter_choices);
        let filters = choices.iter().rev().filter_map(|choice| choice.choose(exchange, status)).collect();
        exchange.filter_choices = choices;
        BodyFilters(filters)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Passes `input` through all filters; appends what comes out.
    pub fn filter(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.pass(0, input, out);
    }

    /// Each filter flushes into the next.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        for index in 0..self.0.len() {
            let mut left = Vec::new();
            self.0[index].flush(&mut left);
            self.pass(index + 1, &left, out);
        }
    }

    pub fn is_broken(&self) -> bool {
        self.0.iter().any(|filter| filter.is_broken())
    }

    /// The body is complete: each filter finishes into the next.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        for index in 0..self.0.len() {
            let mut left = Vec::new();
            self.0[index].finish(&mut left);
            self.pass(index + 1, &left, out);
        }
    }

    fn pass(&mut self, from: usize, input: &[u8], out: &mut Vec<u8>) {
        let Some((last, between)) = self.0.get_mut(from..).and_then(<[_]>::split_last_mut) else {
            return out.extend_from_slice(input);
        };
        let mut current: Option<Vec<u8>> = None;
        for filter in between {
            let mut next = Vec::new();
            filter.filter(current.as_deref().unwrap_or(input), &mut next);
            current = Some(next);
        }
        last.filter(current.as_deref().unwrap_or(input), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Repeats each byte, and tells of its end.
    struct Repeat(usize, &'static [u8]);

    impl BodyFilter for Repeat {
        fn filter(&mut self, input: &[u8], out: &mut Vec<u8>) {
            out.extend(input.iter().flat_map(|byte| std::iter::repeat_n(*byte, self.0)));
        }
        fn finish(&mut self, out: &mut Vec<u8>) {
            out.extend_from_slice(self.1);
        }
    }

    struct Chosen(usize, &'static [u8], u16);

    impl FilterChoice for Chosen {
        fn choose(&self, _: &mut Exchange, status: u16) -> Option<Box<dyn BodyFilter>> {
            (status == self.2).then(|| Box::new(Repeat(self.0, self.1)) as Box<dyn BodyFilter>)
        }
    }

    #[test]
    fn the_last_choice_sees_the_body_first_and_ends_pass_the_rest() {
        let mut exchange = Exchange::new();
        exchange.filter_choices = vec![
            Arc::new(Chosen(2, b"!", 200)),
            Arc::new(Chosen(9, b"no", 404)),
            Arc::new(Chosen(1, b"-", 200)),
        ];
        let mut filters = BodyFilters::choose(&mut exchange, 200);
        let mut out = Vec::new();
        filters.filter(b"ab", &mut out);
        filters.filter(b"c", &mut out);
        filters.finish(&mut out);
        assert_eq!(out, b"aabbcc--!");
        assert!(BodyFilters::choose(&mut exchange, 500).is_empty());
    }
}
