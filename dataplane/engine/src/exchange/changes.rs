//! Header changes of tables, applied to a list of fields (Caddy: headers.go).

use super::Exchange;
use super::expanding::Unknown;
use super::fields::{Fields, Search};
use super::kinds::Kind;
use super::texts::Text;
use crate::searching::SearchBudget;
use std::borrow::Cow;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderOperation {
    Delete,
    Set,
    Add,
    /// Sets where the field is absent.
    Default,
    Replace,
}

#[derive(Clone, Debug)]
pub struct HeaderChange {
    pub operation: HeaderOperation,
    pub name: Text,
    pub value: Text,
    pub search: Option<Search>,
}

impl Exchange {
    /// Applies changes to the request's fields. A change of Host changes the authority that is sent.
    pub fn change_request(&mut self, changes: &[HeaderChange]) {
        let mut fields = std::mem::take(&mut self.request);
        for change in changes {
            // Placeholders see the list as it is before this change, and in it the host (Caddy: headers.go).
            std::mem::swap(&mut fields, &mut self.request);
            self.request.set(b"Host", &self.authority);
            let (change, name, value) = self.expand_change(change);
            self.request.remove(b"host");
            std::mem::swap(&mut fields, &mut self.request);
            if name.eq_ignore_ascii_case(b"host") {
                self.change_host(&change, &value);
            } else {
                self.disown(change.operation, &name, &mut fields);
                apply(&change, &name, &value, &mut fields, &self.searches);
            }
        }
        self.request = fields;
    }

    /// A field that says who the client is becomes the configuration's by the change; nothing is added to a client's word.
    fn disown(&mut self, operation: HeaderOperation, name: &[u8], fields: &mut Fields) {
        if Kind::of(name) == Kind::Forwarding && self.told.contains(name) {
            self.told.remove(name);
            if operation == HeaderOperation::Add {
                fields.remove(name);
            }
        }
    }

    /// Applies changes to what programs have set on the answer so far.
    pub fn change_answer(&mut self, changes: &[HeaderChange]) {
        for change in changes {
            let (change, name, value) = self.expand_change(change);
            apply(&change, &name, &value, &mut self.answer, &self.searches);
        }
    }

    /// Applies changes to the head that is being written.
    pub(crate) fn change_scratch(&mut self, changes: &[HeaderChange]) {
        for change in changes {
            let (change, name, value) = self.expand_change(change);
            apply(&change, &name, &value, &mut self.scratch, &self.searches);
        }
    }

    /// The change with its search expanded, its name and its value.
    fn expand_change<'a>(&self, change: &'a HeaderChange) -> (Cow<'a, HeaderChange>, Vec<u8>, Vec<u8>) {
        let (mut name, mut value) = (Vec::new(), Vec::new());
        self.expand(&change.name, Unknown::Keep, &mut name);
        self.expand(&change.value, Unknown::Keep, &mut value);
        let Some(Search::Template { text, is_pattern }) = &change.search else {
            return (Cow::Borrowed(change), name, value);
        };
        let mut search = Vec::new();
        self.expand(text, Unknown::Empty, &mut search);
        let search = if *is_pattern {
            patterns::find(&search, &self.searches)
        } else {
            Some(Search::Text(search.into()))
        };
        (Cow::Owned(HeaderChange { search, ..change.clone() }), name, value)
    }

    fn change_host(&mut self, change: &HeaderChange, value: &[u8]) {
        let mut host = Fields::default();
        host.push_checked(b"Host", &self.authority);
        apply(change, b"Host", value, &mut host, &self.searches);
        let changed = host.iter().last().map(|field| field.value.to_vec()).unwrap_or_default();
        self.host_end = memchr::memrchr(b':', &changed)
            .filter(|&at| !changed[at..].contains(&b']'))
            .unwrap_or(changed.len());
        self.lower_host.clear();
        self.authority = changed;
    }
}

/// Patterns that are written by placeholders: few are in use at a time, and each is small.
mod patterns {
    use super::Search;
    use crate::searching::{Pattern, SearchBudget};
    use std::cell::RefCell;
    use std::sync::Arc;

    const KEPT_MAX: usize = 32;
    const PATTERN_BYTES_MAX: usize = 1024;
    const COMPILED_BYTES_MAX: usize = 64 << 10;

    type Found = Option<Arc<Pattern>>;

    thread_local! {
        static KEPT: RefCell<Vec<(Vec<u8>, Found)>> = const { RefCell::new(Vec::new()) };
    }

    /// None where the text is no pattern, or one too large.
    pub fn find(text: &[u8], budget: &SearchBudget) -> Option<Search> {
        KEPT.with_borrow_mut(|kept| {
            if let Some((_, found)) = kept.iter().find(|(known, _)| known == text) {
                return found.clone();
            }
            let found = if budget.pay_for_pattern(text) { compile(text) } else { return None };
            if kept.len() == KEPT_MAX {
                kept.remove(0);
            }
            kept.push((text.to_vec(), found.clone()));
            found
        })
        .map(Search::Pattern)
    }

    fn compile(text: &[u8]) -> Found {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= PATTERN_BYTES_MAX)?;
        Pattern::compile(text, COMPILED_BYTES_MAX).ok().map(Arc::new)
    }
}

fn apply(change: &HeaderChange, name: &[u8], value: &[u8], fields: &mut Fields, budget: &SearchBudget) {
    match change.operation {
        HeaderOperation::Delete => fields.remove(name),
        HeaderOperation::Set => drop(fields.set(name, value)),
        HeaderOperation::Add => drop(fields.add(name, value)),
        HeaderOperation::Default if fields.contains(name) => {}
        HeaderOperation::Default => drop(fields.add(name, value)),
        HeaderOperation::Replace => {
            if let Some(search) = &change.search {
                fields.replace(name, search, value, budget);
            }
        }
    }
}

impl std::fmt::Debug for super::StaticAnswer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Row(_) => write!(f, "Row"),
            Self::Status(status) | Self::Bare(status) => write!(f, "Status({status})"),
            Self::Text(status, text) => write!(f, "Text({status}, {text})"),
            Self::Made(status, _) => write!(f, "Made({status})"),
            Self::Empty => write!(f, "Empty"),
        }
    }
}
