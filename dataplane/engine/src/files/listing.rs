//! A directory's entries, read for a listing (Caddy: directoryListing). All of it waits: pool only.

use super::browsing::{Entry, Listing, render};
use super::finding::{Answer, Question};
use super::opening::{Status, find_link_status, find_status, list, read_link};
use super::paths::join;
use crate::snapshot::Browse;
use std::os::fd::BorrowedFd;

/// Entries read of a directory where the configuration says nothing.
const ENTRIES_MAX_DEFAULT: usize = 10_000;

/// The listing of an open directory.
pub fn load(question: &Question, directory: BorrowedFd<'_>, status: &Status) -> Answer {
    let server = &question.tables.file_servers[question.row as usize];
    let (Some(browse), Some(asked)) = (&server.browse, &question.browsing) else { return Answer::NotFound };
    let limit = if browse.file_limit == 0 { ENTRIES_MAX_DEFAULT } else { browse.file_limit as usize };
    let Ok(names) = list(directory, limit) else { return Answer::Failed };
    let mut modified = (status.modified_ns(), status.modified_s());
    let mut entries = Vec::with_capacity(names.len());
    for name in names {
        if question.is_hidden(&name) {
            continue;
        }
        if let Some(entry) = load_entry(&question.filename, name, browse) {
            modified = modified.max((entry.modified_ns, entry.modified_ns.div_euclid(1_000_000_000) as i64));
            entries.push(entry);
        }
    }
    let modified_s = modified.1;
    if asked.modified_since_s.is_some_and(|since| modified_s <= since) {
        return Answer::Listing(Listing::not_modified(modified_s));
    }
    Answer::Listing(render(asked, browse, entries, modified_s))
}

fn load_entry(directory: &[u8], name: Vec<u8>, browse: &Browse) -> Option<Entry> {
    let path = join(directory, &[b"/", &name[..]].concat());
    let status = find_link_status(&path).ok()?;
    let is_link = status.mode & libc::S_IFMT == libc::S_IFLNK;
    let target = if is_link { find_status(&path, super::opening::Patience::Blocking).ok() } else { None };
    let shown = target.as_ref().unwrap_or(&status);
    let is_directory = shown.is_directory();
    let mut name = name;
    if is_directory {
        name.push(b'/');
    }
    Some(Entry {
        name: String::from_utf8_lossy(&name).into_owned(),
        url: name,
        size: shown.size,
        modified_ns: status.modified_ns(),
        mode: go_mode(status.mode),
        is_directory,
        is_link,
        target: read_link(&path).filter(|_| is_link && browse.reveal_symlinks),
    })
}

/// Go's fs.FileMode of a mode.
fn go_mode(mode: u32) -> u32 {
    let kind = match mode & libc::S_IFMT {
        libc::S_IFDIR => 1 << 31,
        libc::S_IFLNK => 1 << 27,
        libc::S_IFBLK => 1 << 26,
        libc::S_IFIFO => 1 << 25,
        libc::S_IFSOCK => 1 << 24,
        libc::S_IFCHR => 1 << 26 | 1 << 21,
        _ => 0,
    };
    let bit = |have: u32, give: u32| if mode & have != 0 { give } else { 0 };
    kind | bit(libc::S_ISUID, 1 << 23)
        | bit(libc::S_ISGID, 1 << 22)
        | bit(libc::S_ISVTX, 1 << 20)
        | mode & 0o777
}
