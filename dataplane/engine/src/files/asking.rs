//! What a request asks of a file server: root and path joined, patterns expanded, encodings chosen.

use super::browsing::Browsing;
use super::conditional::parse_date;
use super::finding::Question;
use super::hiding::settle;
use super::negotiating;
use super::paths::{base, join};
use crate::exchange::{Exchange, Unknown, paths};
use crate::snapshot::Tables;
use std::sync::Arc;

/// Go's path.Base of the path now and as it came: a rewrite of the last element switches redirects off.
pub fn keeps_last_element(exchange: &Exchange) -> bool {
    let (mut now, original) = (Vec::new(), exchange.original().0);
    if exchange.path == original {
        return true;
    }
    let original = original_path(exchange);
    paths::decode(&exchange.path, &mut now);
    base(&now) == base(&original)
}

/// The path as it came, decoded.
pub fn original_path(exchange: &Exchange) -> Vec<u8> {
    let mut path = Vec::new();
    paths::decode(exchange.original().0, &mut path);
    path
}

/// The path as it came, decoded, ends with a slash.
pub fn original_ends_with_slash(exchange: &Exchange) -> bool {
    let original = exchange.original().0;
    match original.contains(&b'%') {
        true => original_path(exchange).ends_with(b"/"),
        false => original.ends_with(b"/"),
    }
}

/// The question of a row of Tables.file_servers.
pub fn ask(exchange: &Exchange, tables: &Arc<Tables>, row: u32) -> Question {
    let server = &tables.file_servers[row as usize];
    let expand = |text| {
        let mut out = Vec::new();
        exchange.expand(text, Unknown::Empty, &mut out);
        out
    };
    let path = exchange.decoded_matched_path();
    let mut filename = join(&expand(&server.root), &path);
    if filename.len() > 1 && filename.ends_with(b"/") {
        filename.pop();
    }
    let encodings = match exchange.request.get(b"accept-encoding") {
        Some(field) if !server.precompressed.is_empty() => negotiating::accept(field, &server.precompressed),
        _ => Vec::new(),
    };
    let browsing = server.browse.as_ref().map(|_| Box::new(ask_listing(exchange, &path)));
    Question {
        tables: tables.clone(),
        row,
        filename,
        hide: server.hide_expanded.iter().map(|pattern| settle(&expand(pattern))).collect(),
        index: server.expands_index.then(|| server.index.iter().map(expand).collect()),
        encodings,
        redirects_directory: server.browse.is_some()
            && (path.is_empty() || keeps_last_element(exchange))
            && !original_ends_with_slash(exchange),
        browsing,
    }
}

fn ask_listing(exchange: &Exchange, path: &[u8]) -> Browsing {
    let accept: Vec<&[u8]> = exchange.request.all(b"accept").collect();
    let since = exchange.request.get(b"if-modified-since");
    Browsing {
        path: path.to_vec(),
        query: exchange.query.clone(),
        accept: accept.join(&b',').to_ascii_lowercase(),
        modified_since_s: since.and_then(parse_date),
        sort: exchange.cookie(b"sort").map(<[u8]>::to_vec),
        order: exchange.cookie(b"order").map(<[u8]>::to_vec),
        is_tls: exchange.tls.is_some(),
    }
}
