//! Tables, compiled once from their message: what programs refer to by row.

use super::answers::{FieldSelection, ResponseMatch};
use super::clusters::Cluster;
use super::files::{FileMatch, FileServer};
use super::pattern_trie::PatternTrie;
use super::requests::{LogField, RateLimit, ValueKind, ValueMap, Values};
use crate::addresses::AddressSet;
use crate::cache::CacheRow;
use crate::encoding::EncodingRow;
use crate::exchange::HeaderChange;
use crate::exchange::rewriting::Rewrite;
use crate::exchange::texts::Text;
use crate::exchange::tracing::TraceRow;
use crate::expressions::Expression;
use crate::fastcgi::FastCgi;
use crate::plugins::PluginCall;
use crate::searching::Pattern;
use crate::templating::TemplateRow;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

/// Text of any encoding.
type Bytes = Box<[u8]>;
/// Text that any of fits.
pub type Alternatives = Box<[Bytes]>;
/// Keys and what each may be.
pub type QueryMatch = Box<[(Text, Values)]>;
/// Names and what they become.
pub type Assignments = Box<[Assignment]>;
type Map = HashMap<Bytes, u32, ahash::RandomState>;

/// The tables of one host: calls of its own, and rows that hosts of one kind share.
#[derive(Default)]
pub struct Tables {
    pub(super) rows: Arc<Rows>,
    pub proxies: Box<[ProxyCall]>,
}

impl Deref for Tables {
    type Target = Rows;

    fn deref(&self) -> &Rows {
        &self.rows
    }
}

#[derive(Default)]
pub struct Rows {
    pub paths: Box<[Box<[PathPattern]>]>,
    pub regexps: Box<[Regexp]>,
    pub hosts: Box<[Values]>,
    pub methods: Box<[Alternatives]>,
    pub headers: Box<[HeaderMatch]>,
    pub queries: Box<[QueryMatch]>,
    pub protocols: Box<[Box<str>]>,
    pub addresses: Box<[AddressSet]>,
    pub variables: Box<[VariableMatch]>,
    pub rewrites: Box<[Rewrite]>,
    pub header_changes: Box<[HeaderChanges]>,
    pub responses: Box<[ResponseRow]>,
    pub credentials: Box<[Credentials]>,
    pub assignments: Box<[Assignments]>,
    pub tries: Box<[PathTrie]>,
    pub pattern_tries: Box<[PatternTrie]>,
    /// (place, text) of the points that an explained program reports.
    pub steps: Box<[Step]>,
    pub file_servers: Box<[FileServer]>,
    pub file_matches: Box<[FileMatch]>,
    pub maps: Box<[ValueMap]>,
    pub log_fields: Box<[LogField]>,
    pub rate_limits: Box<[RateLimit]>,
    pub expressions: Box<[Expression]>,
    pub traces: Box<[TraceRow]>,
    pub encodings: Box<[EncodingRow]>,
    pub templates: Box<[TemplateRow]>,
    pub texts: Box<[Text]>,
    pub response_matches: Box<[ResponseMatch]>,
    pub field_selections: Box<[FieldSelection]>,
    pub plugin_calls: Box<[PluginCall]>,
    pub caches: Box<[CacheRow]>,
    pub faults: Box<[FaultRow]>,
    pub bandwidths: Box<[BandwidthRow]>,
    pub concurrencies: Box<[ConcurrencyRow]>,
}

/// A row of Tables.faults; shares are of a million requests.
#[derive(Clone, Copy, Debug)]
pub struct FaultRow {
    pub delay_ms: u64,
    pub delays: u64,
    pub aborts: u64,
}

/// A row of Tables.bandwidths.
#[derive(Clone, Copy, Debug)]
pub struct BandwidthRow {
    pub bytes_per_second: u64,
    pub free_bytes: u64,
}

/// A row of Tables.concurrencies.
pub struct ConcurrencyRow {
    pub requests_max: u32,
    pub key: Text,
}

/// A pattern of Caddy's `path` matcher, in the form that its stars give it (matchers.go).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    Any,
    /// Compared with the path as it is encoded, since the pattern has a `%`.
    Escaped(Box<[u8]>),
    Contains(Box<[u8]>),
    Suffix(Box<[u8]>),
    Prefix(Box<[u8]>),
    Exact(Box<[u8]>),
    Glob(Box<[u8]>),
    /// Has `//`: compared with the path whose empty segments are kept; no normalised path fits.
    Unmerged(Box<PathPattern>),
    /// Has placeholders: takes its form per request.
    Dynamic(Text),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Path,
    Header,
    Variable,
    NormalisedPath,
}

pub struct Regexp {
    pub pattern: Arc<Pattern>,
    pub name: Box<[u8]>,
    pub subject: Subject,
    pub field: Box<[u8]>,
    /// The placeholder that is matched, where `field` is no variable.
    pub text: Option<Text>,
}

pub struct HeaderMatch {
    pub field: Box<[u8]>,
    pub values: Values,
    pub absent: bool,
}

pub struct VariableMatch {
    pub subject: Text,
    pub values: Values,
}

/// An entry of Tables.assignments.
pub struct Assignment {
    pub name: Text,
    pub value: Text,
    pub kind: ValueKind,
}

pub struct HeaderChanges {
    pub changes: Box<[HeaderChange]>,
    /// Response: apply when the answer's head is written.
    pub deferred: bool,
    /// Response: only where the answer fits.
    pub require: Option<ResponseMatch>,
}

/// A row of Tables.responses.
pub struct ResponseRow {
    pub status: Text,
    pub headers: Box<[HeaderChange]>,
    pub body: Text,
    /// The connection ends after it.
    pub close: bool,
}

/// A row of Tables.proxies.
pub struct ProxyCall {
    pub cluster: Arc<Cluster>,
    /// Entry to call with the response head; 0 is none.
    pub response_entry: u32,
    /// PROXY from it: the request may be repeated; 0 asks the method.
    pub retry_entry: u32,
    /// PROXY from it: the answer at hand is dropped, and the request repeated; 0 is none.
    pub answer_retry_entry: u32,
    /// Calls that get a copy of some requests.
    pub mirrors: Box<[crate::protocol::Mirror]>,
    /// The upstream speaks FastCGI.
    pub fastcgi: Option<Box<FastCgi>>,
    pub(super) changes: Option<Box<ProxyChanges>>,
}

#[derive(Default)]
pub(super) struct ProxyChanges {
    pub request: Box<[HeaderChange]>,
    pub response: Box<[HeaderChange]>,
    pub response_requirement: Option<ResponseMatch>,
    pub rewrite: Option<Rewrite>,
    pub trusted_proxies: AddressSet,
}

impl ProxyCall {
    /// The request goes up as it is: no changes of this call's own.
    pub fn is_plain(&self) -> bool {
        let plain = |changes: &ProxyChanges| {
            changes.request.is_empty() && changes.rewrite.is_none() && changes.trusted_proxies.is_empty()
        };
        self.changes.as_deref().is_none_or(plain)
    }
    pub fn request_changes(&self) -> &[HeaderChange] {
        self.changes.as_ref().map_or(&[], |changes| &changes.request)
    }
    pub fn response_changes(&self) -> &[HeaderChange] {
        self.changes.as_ref().map_or(&[], |changes| &changes.response)
    }
    pub fn response_requirement(&self) -> Option<&ResponseMatch> {
        self.changes.as_ref()?.response_requirement.as_ref()
    }
    pub fn rewrite(&self) -> Option<&Rewrite> {
        self.changes.as_ref()?.rewrite.as_ref()
    }
    /// The request goes up without its body: its method becomes one that has none (Caddy: prepareRequest).
    pub fn omits_body(&self) -> bool {
        self.rewrite().is_some_and(|rewrite| matches!(rewrite.method.literal(), Some(b"GET" | b"HEAD")))
    }
    /// Forwarding fields of this peer are believed by this call.
    pub fn trusts(&self, peer: std::net::IpAddr) -> bool {
        self.changes.as_ref().is_some_and(|changes| changes.trusted_proxies.contains(peer))
    }
}

pub struct Credentials {
    pub realm: Box<[u8]>,
    pub accounts: Box<[(Bytes, Box<str>)]>,
}

impl Credentials {
    /// The account's hash.
    pub fn find(&self, user: &[u8]) -> Option<&str> {
        self.accounts.iter().find(|(name, _)| name[..] == *user).map(|(_, hash)| &**hash)
    }
}

/// Many Ingress paths of one host. Work per request is bounded by the longest configured path, not by the request's.
pub struct PathTrie {
    exact: Map,
    /// Without trailing slash: "/" is "".
    prefix: Map,
    prefix_bytes_max: usize,
}

impl PathTrie {
    pub fn new<'a>(entries: impl Iterator<Item = (&'a [u8], bool, u32)>) -> Self {
        let mut trie = Self { exact: HashMap::default(), prefix: HashMap::default(), prefix_bytes_max: 0 };
        for (path, exact, value) in entries {
            if exact {
                trie.exact.entry(path.into()).or_insert(value);
            } else {
                let key = path.strip_suffix(b"/").unwrap_or(path);
                trie.prefix_bytes_max = trie.prefix_bytes_max.max(key.len());
                trie.prefix.entry(key.into()).or_insert(value);
            }
        }
        trie.exact.shrink_to_fit();
        trie.prefix.shrink_to_fit();
        trie
    }

    /// Value of the exact entry, else of the longest prefix by whole elements, else 0.
    pub fn find(&self, path: &[u8]) -> u32 {
        if let Some(&value) = self.exact.get(path) {
            return value;
        }
        if self.prefix.is_empty() {
            return 0;
        }
        let mut end = path.len();
        if end > self.prefix_bytes_max {
            end = memchr::memrchr(b'/', &path[..=self.prefix_bytes_max]).unwrap_or(0);
        }
        loop {
            if let Some(&value) = self.prefix.get(&path[..end]) {
                return value;
            }
            if end == 0 {
                return 0;
            }
            end = memchr::memrchr(b'/', &path[..end]).unwrap_or(0);
        }
    }
}

/// A row of Tables.steps: a point of the decision, in the words of the configuration.
pub struct Step {
    pub kind: crate::protocol::StepKind,
    pub place: Box<str>,
    pub text: Box<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_wins_then_the_longest_prefix_of_whole_elements() {
        let entries: [(&[u8], bool, u32); 6] = [
            (b"/", false, 1),
            (b"/foo", false, 2),
            (b"/foo/bar/", false, 3),
            (b"/foo", true, 4),
            (b"/x/", true, 5),
            (b"/aaa/bbb", false, 6),
        ];
        let trie = PathTrie::new(entries.into_iter());
        for (path, value) in [
            ("/", 1),
            ("/foo", 4),
            ("/foo/", 2),
            ("/foobar", 1),
            ("/foo/bar", 3),
            ("/foo/bar/", 3),
            ("/foo/bar/deep/er", 3),
            ("/foo/barn", 2),
            ("/x/", 5),
            ("/x", 1),
            ("/aaa/bbb", 6),
            ("/aaa/bbbb", 1),
            ("/aaa/bbb/c/d/e/f", 6),
            ("/Foo", 1),
        ] {
            assert_eq!(trie.find(path.as_bytes()), value, "{path}");
        }
        let none = PathTrie::new([(&b"/only"[..], false, 9)].into_iter());
        assert_eq!((none.find(b"/"), none.find(b"/other/only"), none.find(b"/only/x")), (0, 0, 9));
    }
}
