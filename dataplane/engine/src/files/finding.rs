//! What a file server has for a path: a file, perhaps its compressed sidecar, an index, a listing, or a refusal
//! (Caddy: fileserver/staticfiles.go).

use super::browsing::{Browsing, Listing};
use super::conditional::push_etag;
use super::descriptors::{Access, OpenFile};
use super::hiding::is_hidden;
use super::listing;
use super::negotiating::Encoding;
use super::opening::{Kind, Patience, Status, Trouble, find_status, read};
use super::paths::join;
use crate::snapshot::{FileServer, Tables};
use std::os::fd::AsFd;
use std::sync::Arc;

/// Longer tags in sidecar files are no tags.
const ETAG_BYTES_MAX: usize = 4096;

/// Everything of a request that a file server needs, expanded.
pub struct Question {
    pub tables: Arc<Tables>,
    pub row: u32,
    /// Root and path, joined; without a slash at its end.
    pub filename: Vec<u8>,
    /// Patterns with placeholders, settled.
    pub hide: Vec<Vec<u8>>,
    /// Index names, where some have placeholders.
    pub index: Option<Vec<Vec<u8>>>,
    /// Sidecars that the client takes, the best first.
    pub encodings: Vec<Encoding>,
    /// A listing needs a slash at the path's end first.
    pub redirects_directory: bool,
    /// For listings, where the row has them.
    pub browsing: Option<Box<Browsing>>,
}

/// A file to send.
#[derive(Debug)]
pub struct Found {
    pub file: Arc<OpenFile>,
    /// Of what is sent.
    pub size: u64,
    /// Of the file itself, even where a sidecar is sent.
    pub status: Status,
    pub filename: Vec<u8>,
    pub etag: Vec<u8>,
    pub encoding: Option<Encoding>,
    /// The path is a directory's, the file its index.
    pub is_index: bool,
}

#[derive(Debug)]
pub enum Answer {
    File(Found),
    RedirectDirectory,
    Listing(Listing),
    NotFound,
    /// 403
    Denied,
    /// 400
    Invalid,
    /// 500
    Failed,
    /// 503
    Busy,
}

impl Question {
    fn server(&self) -> &FileServer {
        &self.tables.file_servers[self.row as usize]
    }

    pub fn is_hidden(&self, path: &[u8]) -> bool {
        let fixed = self.server().hide.iter().map(|pattern| &**pattern);
        is_hidden(path, fixed.chain(self.hide.iter().map(Vec::as_slice)))
    }

    fn index_names(&self) -> Vec<&[u8]> {
        match &self.index {
            Some(names) => names.iter().map(Vec::as_slice).collect(),
            None => self.server().index.iter().filter_map(|name| name.literal()).collect(),
        }
    }
}

/// Answers, or says `None` where only a call that may wait can.
pub fn find(question: &Question, mut access: Access<'_>) -> Option<Answer> {
    match look(question, &mut access) {
        Ok(answer) => Some(answer),
        Err(Trouble::Later) => None,
        Err(Trouble::NotFound) => Some(Answer::NotFound),
        Err(Trouble::Denied) => Some(Answer::Denied),
        Err(Trouble::Invalid) => Some(Answer::Invalid),
        Err(Trouble::Busy) => Some(Answer::Busy),
    }
}

fn look(question: &Question, access: &mut Access<'_>) -> Result<Answer, Trouble> {
    let opened = open_if_readable(&question.filename, access)?;
    if !opened.status.is_directory() {
        return finish(question, question.filename.clone(), opened, false, access);
    }
    for name in question.index_names() {
        let path = join(&question.filename, name);
        if question.is_hidden(&path) {
            continue;
        }
        match open_if_readable(&path, access) {
            Ok(index) if index.status.is_directory() => return Ok(Answer::NotFound),
            Ok(index) => return finish(question, path, index, true, access),
            Err(Trouble::Later) => return Err(Trouble::Later),
            Err(_) => {}
        }
    }
    if question.browsing.is_none() || question.is_hidden(&question.filename) {
        return Ok(Answer::NotFound);
    }
    if question.redirects_directory {
        return Ok(Answer::RedirectDirectory);
    }
    match (access.patience(), opened.file) {
        (Patience::Cached, _) => Err(Trouble::Later),
        (Patience::Blocking, None) => Ok(Answer::Denied),
        (Patience::Blocking, Some(directory)) => {
            Ok(listing::load(question, directory.as_fd(), &opened.status))
        }
    }
}

/// What is there, and its descriptor where we may read it.
struct Opened {
    file: Option<Arc<OpenFile>>,
    status: Status,
}

fn open_if_readable(path: &[u8], access: &mut Access<'_>) -> Result<Opened, Trouble> {
    match access.open(path) {
        Ok((file, status)) => Ok(Opened { file: Some(file), status }),
        // It may be there all the same: 403, or a directory that may be entered but not listed.
        Err(Trouble::Denied) => Ok(Opened { file: None, status: find_status(path, access.patience())? }),
        Err(trouble) => Err(trouble),
    }
}

fn finish(
    question: &Question,
    filename: Vec<u8>,
    opened: Opened,
    is_index: bool,
    access: &mut Access<'_>,
) -> Result<Answer, Trouble> {
    if opened.status.kind == Kind::Special || question.is_hidden(&filename) {
        return Ok(Answer::NotFound);
    }
    let Some(file) = opened.file else { return Ok(Answer::Denied) };
    let status = opened.status;
    let mut found =
        Found { file, size: status.size, status, filename, etag: Vec::new(), encoding: None, is_index };
    let mut sent = status;
    let mut sent_name = None;
    for &encoding in &question.encodings {
        let path = [&found.filename[..], encoding.suffix().as_bytes()].concat();
        match access.open(&path) {
            Ok((file, sidecar)) if sidecar.kind == Kind::File => {
                (found.file, found.size, found.encoding) = (file, sidecar.size, Some(encoding));
                (sent, sent_name) = (sidecar, Some(path));
                break;
            }
            Err(Trouble::Later) => return Err(Trouble::Later),
            Ok(_) | Err(_) => {}
        }
    }
    if !question.server().etag_extensions.is_empty() {
        match read_etag(question, sent_name.as_deref().unwrap_or(&found.filename), access)? {
            Some(tag) => found.etag = tag,
            None => return Ok(Answer::Failed),
        }
    }
    if found.etag.is_empty() {
        push_etag(&sent, &mut found.etag);
    }
    Ok(Answer::File(found))
}

/// The tag in the first sidecar that is there, "" where none is; None where one cannot be read.
fn read_etag(
    question: &Question,
    filename: &[u8],
    access: &mut Access<'_>,
) -> Result<Option<Vec<u8>>, Trouble> {
    for suffix in &question.server().etag_extensions {
        let (file, _) = match access.open(&[filename, suffix].concat()) {
            Err(Trouble::NotFound) => continue,
            Err(Trouble::Later) => return Err(Trouble::Later),
            Err(_) => return Ok(None),
            Ok(opened) => opened,
        };
        let mut tag = Vec::new();
        match read(file.as_fd(), 0, ETAG_BYTES_MAX, access.patience(), &mut tag) {
            Ok(Some(_)) => tag.retain(|&byte| byte != b'\n'),
            Ok(None) => return Err(Trouble::Later),
            Err(_) => return Ok(None),
        }
        return Ok(Some(tag));
    }
    Ok(Some(Vec::new()))
}
