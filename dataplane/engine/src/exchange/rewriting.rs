//! Rewrites of method, path and query (Caddy: rewrite/rewrite.go).

use super::expanding::Unknown;
use super::fields::{Search, replace_text};
use super::texts::{MATCHED_FILE, Part, Placeholder, Text};
use super::{Exchange, paths, queries};
use crate::searching::Pattern;
use std::borrow::Cow;
use std::sync::Arc;

/// A row of Tables.rewrites, compiled.
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    pub method: Text,
    pub path: Option<Text>,
    /// Components of a query template; Some also where it is empty ("?" with nothing after it).
    pub query: Option<Box<[QueryComponent]>>,
    pub strip_path_prefix: Text,
    pub strip_path_suffix: Text,
    pub substring: Box<[Substitution]>,
    pub path_regexp: Box<[(Arc<Pattern>, Text)]>,
    pub query_changes: Box<[QueryChange]>,
}

#[derive(Clone, Debug)]
pub struct QueryComponent {
    pub is_key: bool,
    pub text: Text,
}

#[derive(Clone, Debug)]
pub struct Substitution {
    pub find: Text,
    pub replace: Text,
    pub limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryOperation {
    Set,
    Add,
    Rename,
    Delete,
    Replace,
}

#[derive(Clone, Debug)]
pub struct QueryChange {
    pub operation: QueryOperation,
    pub key: Text,
    pub value: Text,
    /// What `Replace` looks for.
    pub search: Option<Search>,
}

impl Rewrite {
    /// Splits a URI template at its first literal `?`; what follows `#` is dropped.
    pub fn set_uri(&mut self, uri: &Text) {
        let (mut path, mut query, mut in_query) = (Vec::new(), Vec::new(), false);
        'parts: for part in uri.parts() {
            let Part::Literal(literal) = part else {
                if in_query {
                    query.push(part)
                } else {
                    path.push(part)
                }
                continue;
            };
            let end = memchr::memchr(b'#', &literal);
            let text = &literal[..end.unwrap_or(literal.len())];
            match memchr::memchr(b'?', text).filter(|_| !in_query) {
                Some(at) => {
                    in_query = true;
                    push_literal(&mut path, &text[..at]);
                    push_literal(&mut query, &text[at + 1..]);
                }
                None => push_literal(if in_query { &mut query } else { &mut path }, text),
            }
            if end.is_some() {
                break 'parts;
            }
        }
        self.path = (!path.is_empty()).then(|| Text::from_parts(path));
        self.query = in_query.then(|| split_query(query));
    }
}

fn push_literal(parts: &mut Vec<Part>, text: &[u8]) {
    if !text.is_empty() {
        parts.push(Part::Literal(text.into()));
    }
}

/// Caddy's buildQueryString: components end at `=` or `&`; after `=` comes a value, after `&` a key.
fn split_query(parts: Vec<Part>) -> Box<[QueryComponent]> {
    let (mut components, mut current, mut is_key) = (Vec::new(), Vec::new(), true);
    for part in parts {
        let Part::Literal(literal) = part else {
            current.push(part);
            continue;
        };
        let mut rest = &literal[..];
        while let Some(at) = memchr::memchr2(b'=', b'&', rest) {
            push_literal(&mut current, &rest[..at]);
            components.push(QueryComponent { is_key, text: Text::from_parts(std::mem::take(&mut current)) });
            is_key = rest[at] == b'&';
            rest = &rest[at + 1..];
        }
        push_literal(&mut current, rest);
    }
    if !current.is_empty() {
        components.push(QueryComponent { is_key, text: Text::from_parts(current) });
    }
    components.into()
}

impl Exchange {
    /// Applies a rewrite. The new path is normalised again; `refused` is set where that cannot be.
    pub fn rewrite(&mut self, rewrite: &Rewrite) {
        self.keep_received();
        if !rewrite.method.is_empty() {
            let mut method = self.expanded(&rewrite.method);
            method.make_ascii_uppercase();
            if super::fields::is_token(&method) {
                self.method = method;
            }
        }
        self.rewrite_uri(rewrite);
        self.strip(rewrite);
        for substitution in &rewrite.substring {
            let find = self.expanded(&substitution.find);
            let replace = self.expanded(&substitution.replace);
            let limit = if substitution.limit == 0 { usize::MAX } else { substitution.limit };
            // Caddy cleans the path whether or not it finds anything.
            let sent = self.sent_path_for(&find);
            let shown = &sent[self.bare_bytes()..];
            if let Some(path) = replace_text(shown, &find, &replace, limit) {
                self.take_replaced(path);
            } else if sent != self.path {
                self.take_replaced(shown.to_vec());
            }
            if let Some(query) = replace_text(&self.query, &find, &replace, limit) {
                self.query = query;
            }
        }
        for (pattern, replace) in &rewrite.path_regexp {
            let replace = self.expanded(replace);
            let shown = &self.path[self.bare_bytes()..];
            let path = pattern.replace_all(shown, &replace, &self.searches);
            self.take_replaced(path.unwrap_or_else(|| shown.to_vec()));
            if self.searches.is_used_up() {
                self.refused = Some("searching the path takes too long");
            }
        }
        if !rewrite.query_changes.is_empty() {
            self.change_query(&rewrite.query_changes);
        }
    }

    /// A `?` without a query stays (Go: URL.ForceQuery).
    fn shows_query(&self) -> bool {
        !self.query.is_empty() || (self.target.ends_with(b"?") && self.original().1.is_empty())
    }

    fn rewrite_uri(&mut self, rewrite: &Rewrite) {
        // Both read the URI as it was.
        let mut query = rewrite.query.as_deref().map(|components| self.build_query(components));
        let path = rewrite.path.as_ref().map(|template| self.build_path(template));
        if let Some(mut path) = path {
            if let Some(at) = memchr::memchr(b'?', &path) {
                let injected = path.split_off(at);
                if query.as_ref().is_none_or(Vec::is_empty) {
                    query = Some(injected[1..].to_vec());
                }
            }
            let mut decoded = Vec::with_capacity(path.len());
            paths::decode(&path, &mut decoded);
            self.set_decoded_path(&decoded, &path);
            self.absolute_path = self.bare_path && rewrite.path.as_ref().is_some_and(Text::is_absolute_uri);
        }
        if let Some(mut query) = query {
            query.retain(|&byte| byte > 0x20 && byte != 0x7f && byte != b'#');
            self.query = query;
            self.has_query = self.shows_query();
        }
    }

    /// The path's template; `{path}` and a matched file's go in as they are encoded, so that no `?` or `%` of it is read again.
    fn build_path(&self, template: &Text) -> Vec<u8> {
        let mut out = Vec::new();
        for part in template.parts() {
            match &part {
                Part::Placeholder(Placeholder::Path) => out.extend_from_slice(&self.path),
                Part::Placeholder(Placeholder::Variable(name)) if **name == *MATCHED_FILE => {
                    paths::encode(self.variables.get(MATCHED_FILE).unwrap_or_default(), &mut out);
                }
                part => self.expand_part(part, Unknown::Empty, &mut out),
            }
        }
        out
    }

    fn build_query(&self, components: &[QueryComponent]) -> Vec<u8> {
        let mut out = Vec::new();
        for component in components {
            let mut text = Vec::new();
            for part in component.text.parts() {
                match &part {
                    Part::Literal(literal) => text.extend_from_slice(literal),
                    Part::Placeholder(Placeholder::Query) if component.is_key => {
                        text.extend_from_slice(&self.query)
                    }
                    Part::Placeholder(placeholder) => {
                        let mut value = Vec::new();
                        self.expand_placeholder(placeholder, Unknown::Keep, &mut value);
                        paths::encode_query(&value, &mut text);
                    }
                }
            }
            if !component.is_key {
                out.push(b'=');
            } else if !out.is_empty() && !text.is_empty() {
                out.push(b'&');
            }
            out.extend_from_slice(&text);
        }
        out
    }

    fn strip(&mut self, rewrite: &Rewrite) {
        if !rewrite.strip_path_prefix.is_empty() {
            let mut prefix = self.expanded(&rewrite.strip_path_prefix);
            if prefix.first() != Some(&b'/') {
                prefix.insert(0, b'/');
            }
            // A prefix begins with a slash: a path without one has none to strip.
            if self.bare_bytes() == 0 {
                let path = self.sent_path_for(&prefix);
                self.take_stripped(&path, trim_prefix(&path, &prefix));
            }
        }
        if !rewrite.strip_path_suffix.is_empty() {
            let suffix = self.expanded(&rewrite.strip_path_suffix);
            let path = self.sent_path_for(&suffix);
            self.take_stripped(&path, trim_suffix(&path, &suffix));
        }
    }

    /// The path that a text is looked for in: its empty segments are what `//` asks for.
    fn sent_path_for(&self, text: &[u8]) -> Vec<u8> {
        let whole = memchr::memmem::find(text, b"//").is_some();
        if whole { self.dotless_sent_path() } else { self.cleaned_sent_path() }
    }

    /// The path without dot segments and empty ones, its escapes as they are (Caddy: CleanPath of the escaped path).
    fn cleaned_sent_path(&self) -> Vec<u8> {
        if self.clean_path.is_empty() {
            return self.path.clone();
        }
        let mut cleaned = Vec::with_capacity(self.path.len());
        paths::clean(&self.path, &mut cleaned);
        cleaned
    }

    /// The path without dot segments, its empty segments kept (Caddy: CleanPath without collapsing slashes).
    fn dotless_sent_path(&self) -> Vec<u8> {
        let mut cleaned = Vec::with_capacity(self.path.len());
        paths::clean_unmerged(&self.path, &mut cleaned);
        cleaned
    }

    fn change_query(&mut self, changes: &[QueryChange]) {
        let mut pairs = queries::parse(&self.query);
        for change in changes {
            let key = self.expanded(&change.key);
            let value = self.expanded(&change.value);
            if key.is_empty() {
                continue;
            }
            match change.operation {
                QueryOperation::Set => {
                    pairs.retain(|(name, _)| *name != key);
                    pairs.push((key, value));
                }
                QueryOperation::Add => pairs.push((key, value)),
                QueryOperation::Delete => pairs.retain(|(name, _)| *name != key),
                QueryOperation::Rename if value.is_empty() || key == value => {}
                QueryOperation::Rename => {
                    if pairs.iter().any(|(name, _)| *name == key) {
                        pairs.retain(|(name, _)| *name != value);
                        pairs
                            .iter_mut()
                            .filter(|(name, _)| *name == key)
                            .for_each(|pair| pair.0.clone_from(&value));
                    }
                }
                QueryOperation::Replace => {
                    let Some(search) = self.query_search(change) else { continue };
                    let mut with = Vec::new();
                    self.expand(&change.value, Unknown::Keep, &mut with);
                    for (_, text) in pairs.iter_mut().filter(|(name, _)| *name == key || key == b"*") {
                        if let Some(changed) = search.replace(text, &with, &self.searches) {
                            *text = changed;
                        }
                    }
                }
            }
        }
        self.query = queries::encode(pairs);
        self.has_query = self.shows_query();
    }

    fn query_search<'a>(&self, change: &'a QueryChange) -> Option<Cow<'a, Search>> {
        let Some(Search::Template { text, .. }) = &change.search else {
            return change.search.as_ref().map(Cow::Borrowed);
        };
        let mut search = Vec::new();
        self.expand(text, Unknown::Keep, &mut search);
        Some(Cow::Owned(Search::Text(search.into())))
    }

    fn expanded(&self, text: &Text) -> Vec<u8> {
        let mut out = Vec::new();
        self.expand(text, Unknown::Empty, &mut out);
        out
    }

    /// Takes what stripping left of a path; where its first byte is an escaped slash, that slash is the one the path
    /// begins with. Dot segments that come to light are resolved (Caddy: canonicalizePath).
    fn take_stripped(&mut self, path: &[u8], left: &[u8]) {
        if paths::decode_escape(left) == Some(b'/') {
            let mut decoded = Vec::with_capacity(left.len());
            paths::decode(left, &mut decoded);
            return self.set_decoded_path(&decoded, left);
        }
        if left.len() == path.len() || !paths::has_dot_segment(left) {
            return self.change_path(left.to_vec());
        }
        let (mut cleaned, mut decoded) =
            (Vec::with_capacity(left.len() + 1), Vec::with_capacity(left.len() + 1));
        paths::clean_unmerged(&paths::decode_dots(left), &mut cleaned);
        paths::decode(&cleaned, &mut decoded);
        self.set_decoded_path(&decoded, &cleaned);
    }

    /// Takes what a replacement made of the encoded path, which may have lost its slash.
    fn take_replaced(&mut self, encoded: Vec<u8>) {
        let is_bare = encoded.first().is_some_and(|&byte| byte != b'/');
        self.change_path(encoded);
        self.bare_path = is_bare && self.refused.is_none();
    }

    /// Takes an encoded path (Caddy: changePath).
    fn change_path(&mut self, encoded: Vec<u8>) {
        self.path.clear();
        self.bare_path = false;
        let raw = if encoded.first() == Some(&b'/') { encoded } else { [b"/", &encoded[..]].concat() };
        self.take_rewritten(&raw);
    }

    /// Takes a decoded path as Caddy's `rewrite` does: `%2F` becomes `/`, unless a dot segment would come of it.
    fn set_decoded_path(&mut self, decoded: &[u8], encoded: &[u8]) {
        if paths::count_dot_segments(decoded) > paths::count_dot_segments(&paths::decode_dots(encoded)) {
            self.change_path(encoded.to_vec());
            return;
        }
        let mut path = Vec::with_capacity(decoded.len() + 8);
        if decoded.first() != Some(&b'/') {
            path.push(b'/');
        }
        if self.as_caddy {
            paths::encode_as_go(decoded, &mut path);
        } else {
            paths::encode(decoded, &mut path);
        }
        self.path.clear();
        self.bare_path = decoded.first().is_some_and(|&byte| byte != b'/');
        self.take_rewritten(&path);
    }

    fn take_rewritten(&mut self, raw: &[u8]) {
        let start = self.path.len();
        let escaped: Vec<u8>;
        let raw = match memchr::memchr2(b'?', b'#', raw) {
            Some(_) => {
                escaped = raw.iter().flat_map(|&b| escape_delimiter(b)).collect();
                &escaped
            }
            None => raw,
        };
        match paths::normalise(raw, &mut self.path) {
            Ok(found) => {
                self.encoded_slash = found.encoded_slash;
                self.keep_sent_path(raw);
            }
            Err(reason) => self.refused = Some(reason),
        }
        if self.path.len() - start > crate::program::abi::PATH_BYTES_MAX as usize {
            self.refused = Some("rewritten path too long");
        }
        if self.refused.is_some() {
            self.clean_path.clear();
            self.path.truncate(start);
            self.path.push(b'/');
        }
    }
}

fn escape_delimiter(byte: u8) -> Vec<u8> {
    match byte {
        b'?' | b'#' => {
            let mut out = Vec::with_capacity(3);
            paths::push_escape(byte, &mut out);
            out
        }
        _ => vec![byte],
    }
}

/// Caddy's trimPathPrefix: without case; an escape in the prefix wants that very escape in the path.
fn trim_prefix<'a>(path: &'a [u8], prefix: &[u8]) -> &'a [u8] {
    let (mut at, mut in_prefix) = (0, 0);
    while at < path.len() && in_prefix < prefix.len() {
        let wanted = prefix[in_prefix];
        let mut found = path[at];
        if found == b'%'
            && wanted != b'%'
            && let Some(value) = paths::decode_escape(&path[at..])
        {
            found = value;
            at += 2;
        }
        if !found.eq_ignore_ascii_case(&wanted) {
            return path;
        }
        at += 1;
        in_prefix += 1;
    }
    if in_prefix == prefix.len() { &path[at..] } else { path }
}

/// The same from the end.
fn trim_suffix<'a>(path: &'a [u8], suffix: &[u8]) -> &'a [u8] {
    let mut end = path.len();
    for &wanted in suffix.iter().rev() {
        let escape =
            end.checked_sub(3).filter(|_| wanted != b'%').and_then(|at| paths::decode_escape(&path[at..]));
        let Some(found) = escape.or_else(|| end.checked_sub(1).map(|at| path[at])) else { return path };
        if !found.eq_ignore_ascii_case(&wanted) {
            return path;
        }
        end -= if escape.is_some() { 3 } else { 1 };
    }
    &path[..end]
}
