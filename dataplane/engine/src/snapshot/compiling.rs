//! Tables messages become tables. Refused with a reason: what this engine could not apply as written.

use super::answers::{FieldSelection, ResponseMatch};
use super::clusters::Cluster;
use super::encodings::compile_encoding;
use super::gateways::compile_fastcgi;
use super::interning::Interned;
use super::pattern_trie::PatternTrie;
use super::requests::{self, Values};
use super::tables::*;
use crate::addresses::AddressSet;
use crate::cache::CacheRow;
use crate::digests::digest;
use crate::exchange::fields::Search;
use crate::exchange::rewriting::{QueryChange, QueryOperation, Rewrite, Substitution};
use crate::exchange::texts::Text;
use crate::exchange::{HeaderChange, HeaderOperation};
use crate::expressions::Expression;
use crate::plugins::PluginCall;
use crate::protocol;
use crate::searching::Pattern;
use prost::Message;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Compiled size of one regular expression; the crate's own default of 10 MiB is a way to fill memory. What passes
/// `zeroserve_ir.regular_expressions` takes less: one that were refused here would close its whole host.
const REGEX_BYTES_MAX: usize = 4 << 20;

type Compiled<T> = Result<T, String>;

/// Compiles tables; equal rows and equal regular expressions of different hosts are one.
#[derive(Default)]
pub struct Compiler {
    patterns: HashMap<Box<str>, Weak<Pattern>>,
    rows: Interned<Rows>,
}

impl Compiler {
    /// `find_cluster` gives the handle of a name that was committed.
    pub fn compile(
        &mut self,
        message: &protocol::Tables,
        find_cluster: &dyn Fn(&str) -> Option<Arc<Cluster>>,
    ) -> Compiled<Tables> {
        let calls = message.proxies.iter();
        let proxies = calls.map(|call| self.compile_proxy(call, find_cluster)).collect::<Compiled<_>>()?;
        let (name, no_proxies) = (String::new(), Vec::new());
        let shared = protocol::Tables { name, proxies: no_proxies, ..message.clone() };
        let mut known = std::mem::take(&mut self.rows);
        let rows = known.get(digest(&[&shared.encode_to_vec()]), || self.compile_rows(&shared));
        self.rows = known;
        Ok(Tables { rows: rows?, proxies })
    }

    fn compile_rows(&mut self, message: &protocol::Tables) -> Compiled<Rows> {
        Ok(Rows {
            paths: message.paths.iter().map(compile_paths).collect(),
            regexps: message.regexps.iter().map(|row| self.compile_regexp(row)).collect::<Compiled<_>>()?,
            hosts: message.hosts.iter().map(|row| Values::compile(&row.values, &row.texts)).collect(),
            methods: message.methods.iter().map(|row| compile_strings(&row.values)).collect(),
            headers: message.headers.iter().map(compile_header_match).collect(),
            queries: message.queries.iter().map(compile_query_match).collect(),
            protocols: message.protocols.iter().map(|text| text.as_str().into()).collect(),
            addresses: message.addresses.iter().map(compile_addresses).collect::<Compiled<_>>()?,
            variables: message.variables.iter().map(requests::compile_variable_match).collect(),
            rewrites: message
                .rewrites
                .iter()
                .map(|row| self.compile_rewrite(row))
                .collect::<Compiled<_>>()?,
            header_changes: message
                .header_changes
                .iter()
                .map(|row| {
                    let require = row.require.as_ref().map(ResponseMatch::compile);
                    let changes = self.compile_changes(&row.changes)?;
                    Ok(HeaderChanges { changes, deferred: row.deferred || require.is_some(), require })
                })
                .collect::<Compiled<_>>()?,
            responses: message
                .responses
                .iter()
                .map(|row| self.compile_response(row))
                .collect::<Compiled<_>>()?,
            credentials: message.credentials.iter().map(compile_credentials).collect(),
            assignments: message.assignments.iter().map(compile_assignments).collect(),
            tries: message.tries.iter().map(|row| PathTrie::new(entries_of(row))).collect(),
            pattern_tries: message
                .pattern_tries
                .iter()
                .map(|row| PatternTrie::new(entries_of(row)))
                .collect(),
            steps: message
                .steps
                .iter()
                .map(|step| Step {
                    kind: step.kind(),
                    place: step.place.as_str().into(),
                    text: step.text.as_str().into(),
                })
                .collect(),
            file_servers: message.file_servers.iter().map(super::files::compile_server).collect(),
            file_matches: message.file_matches.iter().map(super::files::compile_match).collect(),
            maps: message.maps.iter().map(|row| requests::compile_map(self, row)).collect::<Compiled<_>>()?,
            log_fields: message.log_fields.iter().map(requests::compile_log_field).collect(),
            traces: message.traces.iter().map(requests::compile_trace).collect(),
            rate_limits: message
                .rate_limits
                .iter()
                .map(requests::compile_rate_limit)
                .collect::<Compiled<_>>()?,
            encodings: message.encodings.iter().map(compile_encoding).collect(),
            templates: message.templates.iter().map(super::encodings::compile_templates).collect(),
            expressions: message
                .expressions
                .iter()
                .map(|row| Expression::compile(row, &mut |text| self.pattern(text)))
                .collect::<Compiled<_>>()?,
            texts: message.texts.iter().map(|text| Text::compile(Some(text))).collect(),
            response_matches: message.response_matches.iter().map(ResponseMatch::compile).collect(),
            field_selections: message.field_selections.iter().map(FieldSelection::compile).collect(),
            caches: message.caches.iter().map(CacheRow::compile).collect::<Compiled<_>>()?,
            faults: message.faults.iter().map(requests::compile_fault).collect(),
            bandwidths: message.bandwidths.iter().map(requests::compile_bandwidth).collect(),
            concurrencies: message.concurrencies.iter().map(requests::compile_concurrency).collect(),
            plugin_calls: message.plugin_calls.iter().map(PluginCall::compile).collect::<Compiled<_>>()?,
        })
    }

    pub(super) fn pattern(&mut self, text: &str) -> Compiled<Arc<Pattern>> {
        if let Some(pattern) = self.patterns.get(text).and_then(Weak::upgrade) {
            return Ok(pattern);
        }
        let pattern = Arc::new(Pattern::compile(text, REGEX_BYTES_MAX)?);
        self.patterns.retain(|_, pattern| pattern.strong_count() > 0);
        self.patterns.insert(text.into(), Arc::downgrade(&pattern));
        Ok(pattern)
    }

    fn compile_regexp(&mut self, row: &protocol::Regexp) -> Compiled<Regexp> {
        let subject = match row.subject() {
            protocol::Subject::Path => Subject::Path,
            protocol::Subject::Header => Subject::Header,
            protocol::Subject::Variable => Subject::Variable,
            protocol::Subject::NormalisedPath => Subject::NormalisedPath,
        };
        Ok(Regexp {
            pattern: self.pattern(&row.pattern)?,
            name: row.name.as_bytes().into(),
            subject,
            field: row.field.as_bytes().into(),
            text: row.text.as_ref().map(|text| Text::compile(Some(text))),
        })
    }

    fn compile_changes(&mut self, changes: &[protocol::HeaderChange]) -> Compiled<Box<[HeaderChange]>> {
        changes.iter().map(|change| self.compile_change(change)).collect()
    }

    fn compile_change(&mut self, change: &protocol::HeaderChange) -> Compiled<HeaderChange> {
        let operation = match change.operation() {
            protocol::HeaderOperation::HeaderDelete => HeaderOperation::Delete,
            protocol::HeaderOperation::HeaderSet => HeaderOperation::Set,
            protocol::HeaderOperation::HeaderAdd => HeaderOperation::Add,
            protocol::HeaderOperation::HeaderDefault => HeaderOperation::Default,
            protocol::HeaderOperation::HeaderReplace => HeaderOperation::Replace,
        };
        let search = match operation {
            HeaderOperation::Replace if change.search_template.is_some() => Some(Search::Template {
                text: Text::compile(change.search_template.as_ref()),
                is_pattern: !change.search_is_text,
            }),
            HeaderOperation::Replace if change.search_is_text => {
                Some(Search::Text(change.search.as_bytes().into()))
            }
            HeaderOperation::Replace => Some(Search::Pattern(self.pattern(&change.search)?)),
            _ => None,
        };
        let name = Text::compile(change.name.as_ref());
        Ok(HeaderChange { operation, name, value: Text::compile(change.value.as_ref()), search })
    }

    fn compile_response(&mut self, row: &protocol::Response) -> Compiled<ResponseRow> {
        Ok(ResponseRow {
            status: Text::compile(row.status.as_ref()),
            headers: self.compile_changes(&row.headers)?,
            body: Text::compile(row.body.as_ref()),
            close: row.close,
        })
    }

    fn compile_proxy(
        &mut self,
        row: &protocol::ProxyCall,
        find_cluster: &dyn Fn(&str) -> Option<Arc<Cluster>>,
    ) -> Compiled<ProxyCall> {
        let cluster = find_cluster(&row.cluster).ok_or_else(|| format!("no cluster {:?}", row.cluster))?;
        let request = row.request_headers.as_ref().map_or(&[][..], |changes| &changes.changes);
        let response = row.response_headers.as_ref().map_or(&[][..], |changes| &changes.changes);
        let rewrite = row.rewrite.as_ref().filter(|_| row.has_rewrite);
        let trusted = row.trusted_proxies.as_slice();
        let plain = request.is_empty() && response.is_empty() && rewrite.is_none() && trusted.is_empty();
        let requirement = row.response_headers.as_ref().and_then(|changes| changes.require.as_ref());
        let changes = if plain {
            None
        } else {
            Some(Box::new(ProxyChanges {
                request: self.compile_changes(request)?,
                response: self.compile_changes(response)?,
                response_requirement: requirement.map(ResponseMatch::compile),
                trusted_proxies: AddressSet::parse(trusted).map_err(|text| format!("{text:?} is no CIDR"))?,
                rewrite: rewrite.map(|rewrite| self.compile_rewrite(rewrite)).transpose()?,
            }))
        };
        let fastcgi = row.fastcgi.as_ref().map(|row| Box::new(compile_fastcgi(row)));
        Ok(ProxyCall {
            cluster,
            response_entry: row.response_entry,
            retry_entry: row.retry_entry,
            answer_retry_entry: row.answer_retry_entry,
            mirrors: row.mirrors.as_slice().into(),
            fastcgi,
            changes,
        })
    }

    fn compile_rewrite(&mut self, row: &protocol::Rewrite) -> Compiled<Rewrite> {
        let text = |text: &Option<protocol::Text>| Text::compile(text.as_ref());
        let mut rewrite = Rewrite {
            method: text(&row.method),
            strip_path_prefix: text(&row.strip_path_prefix),
            strip_path_suffix: text(&row.strip_path_suffix),
            substring: row
                .substring
                .iter()
                .map(|s| Substitution {
                    find: text(&s.find),
                    replace: text(&s.replace),
                    limit: s.limit as usize,
                })
                .collect(),
            path_regexp: row
                .path_regexp
                .iter()
                .map(|s| Ok((self.pattern(&s.pattern)?, text(&s.replace))))
                .collect::<Compiled<_>>()?,
            query_changes: row
                .query
                .iter()
                .map(|change| self.compile_query_change(change))
                .collect::<Compiled<_>>()?,
            ..Rewrite::default()
        };
        if row.has_uri {
            rewrite.set_uri(&text(&row.uri));
        }
        Ok(rewrite)
    }

    fn compile_query_change(&mut self, change: &protocol::QueryChange) -> Compiled<QueryChange> {
        let operation = match change.operation() {
            protocol::QueryOperation::QuerySet => QueryOperation::Set,
            protocol::QueryOperation::QueryAdd => QueryOperation::Add,
            protocol::QueryOperation::QueryRename => QueryOperation::Rename,
            protocol::QueryOperation::QueryDelete => QueryOperation::Delete,
            protocol::QueryOperation::QueryReplace => QueryOperation::Replace,
        };
        let search = match &change.search {
            _ if !change.pattern.is_empty() => Some(Search::Pattern(self.pattern(&change.pattern)?)),
            Some(text) => Some(Search::Template { text: Text::compile(Some(text)), is_pattern: false }),
            None => None,
        };
        Ok(QueryChange {
            operation,
            key: Text::compile(change.key.as_ref()),
            value: Text::compile(change.value.as_ref()),
            search,
        })
    }
}

fn compile_paths(row: &protocol::PathPatterns) -> Box<[PathPattern]> {
    if row.texts.is_empty() {
        return row.patterns.iter().map(|text| compile_path(text)).collect();
    }
    row.texts.iter().map(|text| PathPattern::Dynamic(Text::compile(Some(text)))).collect()
}

/// The form of a `path` pattern; lower case but for its escapes, as Caddy provisions it.
pub fn compile_path(text: &str) -> PathPattern {
    compile_folded_path(&text.to_lowercase())
}

/// The form of a pattern that is in lower case already, or is compared as it is.
pub fn compile_folded_path(text: &str) -> PathPattern {
    if text == "*" {
        PathPattern::Any
    } else if text.contains('%') {
        PathPattern::Escaped(text.as_bytes().into())
    } else if text.contains("//") {
        PathPattern::Unmerged(Box::new(compile_stars(text)))
    } else {
        compile_stars(text)
    }
}

fn compile_stars(text: &str) -> PathPattern {
    let bytes = |text: &str| -> Box<[u8]> { text.as_bytes().into() };
    let stars = text.matches('*').count();
    if stars == 2 && text.starts_with('*') && text.ends_with('*') {
        PathPattern::Contains(bytes(&text[1..text.len() - 1]))
    } else if stars == 1 && text.starts_with('*') {
        PathPattern::Suffix(bytes(&text[1..]))
    } else if stars == 1 && text.ends_with('*') {
        PathPattern::Prefix(bytes(&text[..text.len() - 1]))
    } else if text.contains(['*', '?', '[', '\\']) {
        PathPattern::Glob(bytes(text))
    } else {
        PathPattern::Exact(bytes(text))
    }
}

fn compile_strings(values: &[String]) -> Alternatives {
    values.iter().map(|value| value.as_bytes().into()).collect()
}

fn compile_header_match(row: &protocol::HeaderMatch) -> HeaderMatch {
    HeaderMatch {
        field: row.field.as_bytes().into(),
        values: Values::compile(&row.values, &row.texts),
        absent: row.absent,
    }
}

fn compile_query_match(row: &protocol::KeyValues) -> QueryMatch {
    let key = |entry: &protocol::KeyValue| match &entry.key_text {
        Some(text) => Text::compile(Some(text)),
        None => Text::Literal(entry.key.as_bytes().into()),
    };
    row.entries.iter().map(|entry| (key(entry), Values::compile(&entry.values, &entry.texts))).collect()
}

fn compile_addresses(row: &protocol::Strings) -> Compiled<AddressSet> {
    AddressSet::parse(&row.values).map_err(|text| format!("{text:?} is no CIDR"))
}

fn compile_credentials(row: &protocol::Credentials) -> Credentials {
    let accounts = row.accounts.iter();
    Credentials {
        realm: row.realm.as_bytes().into(),
        accounts: accounts.map(|a| (a.name.as_bytes().into(), a.hash.as_str().into())).collect(),
    }
}

fn compile_assignments(row: &protocol::Assignments) -> Assignments {
    row.assignments.iter().map(requests::compile_assignment).collect()
}

fn entries_of(row: &protocol::PathTrie) -> impl Iterator<Item = (&[u8], bool, u32)> {
    row.entries.iter().map(|entry| (entry.path.as_bytes(), entry.exact, entry.value))
}
