//! Rows of file servers and file matchers, compiled once.

use crate::exchange::texts::Text;
use crate::files::hiding::settle;
use crate::files::negotiating::Encoding;
use crate::protocol;

/// A row of Tables.file_servers.
pub struct FileServer {
    pub root: Text,
    /// Settled patterns without placeholders.
    pub hide: Box<[Box<[u8]>]>,
    pub hide_expanded: Box<[Text]>,
    pub index: Box<[Text]>,
    /// Some index names have placeholders.
    pub expands_index: bool,
    pub browse: Option<Browse>,
    pub precompressed: Box<[Encoding]>,
    pub status: Text,
    pub keeps_uris: bool,
    pub passes_on: bool,
    pub etag_extensions: Box<[Box<[u8]>]>,
}

#[derive(Clone, Debug, Default)]
pub struct Browse {
    pub reveal_symlinks: bool,
    pub sort: Box<[u8]>,
    pub order: Box<[u8]>,
    /// 0 is the default.
    pub file_limit: u32,
}

/// A row of Tables.file_matches.
pub struct FileMatch {
    pub root: Text,
    pub files: Box<[FilePattern]>,
    pub policy: TryPolicy,
    pub split_path: Box<[Box<[u8]>]>,
}

pub struct FilePattern {
    pub name: Text,
    pub is_directory: bool,
    /// `=404`: no name.
    pub raises: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryPolicy {
    FirstExist,
    FirstExistFallback,
    SmallestSize,
    LargestSize,
    MostRecentlyModified,
}

fn bytes(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

pub(super) fn compile_server(row: &protocol::FileServer) -> FileServer {
    let (fixed, expanded): (Vec<Text>, Vec<Text>) =
        row.hide.iter().map(|text| Text::compile(Some(text))).partition(|text| text.literal().is_some());
    let index: Box<[Text]> = row.index.iter().map(|text| Text::compile(Some(text))).collect();
    let browse = row.browse.clone().unwrap_or_default();
    FileServer {
        root: Text::compile(row.root.as_ref()),
        hide: fixed.iter().filter_map(Text::literal).map(|pattern| settle(pattern).into()).collect(),
        hide_expanded: expanded.into(),
        expands_index: index.iter().any(|name| name.literal().is_none()),
        index,
        browse: row.has_browse.then(|| Browse {
            reveal_symlinks: browse.reveal_symlinks,
            sort: bytes(&browse.sort),
            order: bytes(&browse.order),
            file_limit: browse.file_limit,
        }),
        precompressed: row.precompressed.iter().filter_map(|name| Encoding::parse(name.as_bytes())).collect(),
        status: Text::compile(row.status.as_ref()),
        keeps_uris: row.keep_uris,
        passes_on: row.pass_thru,
        etag_extensions: row.etag_extensions.iter().map(|suffix| bytes(suffix)).collect(),
    }
}

pub(super) fn compile_match(row: &protocol::FileMatch) -> FileMatch {
    let policy = match row.policy() {
        protocol::TryPolicy::FirstExist => TryPolicy::FirstExist,
        protocol::TryPolicy::FirstExistFallback => TryPolicy::FirstExistFallback,
        protocol::TryPolicy::SmallestSize => TryPolicy::SmallestSize,
        protocol::TryPolicy::LargestSize => TryPolicy::LargestSize,
        protocol::TryPolicy::MostRecentlyModified => TryPolicy::MostRecentlyModified,
    };
    let pattern = |file: &protocol::FilePattern| FilePattern {
        name: Text::compile(file.name.as_ref()),
        is_directory: file.is_directory,
        raises: file.status != 0,
    };
    FileMatch {
        root: Text::compile(row.root.as_ref()),
        files: row.files.iter().map(pattern).collect(),
        policy,
        split_path: row.split_path.iter().map(|suffix| bytes(suffix)).collect(),
    }
}
