//! Files that one worker served lately, kept open for a moment: the next request for one costs a status, no look-up.
//!
//! `finding` opens by these; the worker lets go of all of them together, every `FILES_KEPT_MS`. Rule: what is kept is used
//! only while its status is as it was. Writing, replacing, renaming and removing a file all change its status, so that
//! they are seen at once; what becomes of the directories and links on the way to it is seen when the files are let go.

use super::opening::{Kind, Patience, Status, Trouble, is_in_memory, open, status_of};
use crate::limits::{FILES_KEPT_MAX, FILES_KEPT_MS, LENT_BYTES_MAX};
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A file or directory that was opened for reading.
#[derive(Debug)]
pub struct OpenFile {
    descriptor: OwnedFd,
    /// All of it was in memory a moment ago.
    in_memory: AtomicBool,
}

impl OpenFile {
    pub fn new(descriptor: OwnedFd) -> Arc<Self> {
        Arc::new(Self { descriptor, in_memory: AtomicBool::new(false) })
    }

    /// True where a part is in memory, or was a moment ago. `size`: of all of the file.
    pub fn has_in_memory(&self, offset: u64, length: u64, size: u64) -> bool {
        if self.in_memory.load(Ordering::Relaxed) {
            return true;
        }
        if size > LENT_BYTES_MAX {
            return is_in_memory(self.as_fd(), offset, length);
        }
        let whole = is_in_memory(self.as_fd(), 0, size);
        self.in_memory.store(whole, Ordering::Relaxed);
        whole
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// How a question opens files.
pub enum Access<'a> {
    /// Without waiting, by what is kept at this time of the monotonic clock.
    Kept(&'a mut Descriptors, u64),
    /// On the pool.
    Blocking,
}

impl Access<'_> {
    pub fn patience(&self) -> Patience {
        match self {
            Access::Kept(..) => Patience::Cached,
            Access::Blocking => Patience::Blocking,
        }
    }

    pub fn open(&mut self, path: &[u8]) -> Result<(Arc<OpenFile>, Status), Trouble> {
        match self {
            Access::Kept(kept, now_ms) => kept.open(path, *now_ms),
            Access::Blocking => {
                open(path, Patience::Blocking).map(|(file, status)| (OpenFile::new(file), status))
            }
        }
    }
}

struct Kept {
    file: Arc<OpenFile>,
    status: Status,
}

/// The files of one worker, by path.
#[derive(Default)]
pub struct Descriptors {
    kept: HashMap<Box<[u8]>, Kept, ahash::RandomState>,
    until_ms: u64,
}

impl Descriptors {
    /// Opens without waiting, or says `Later`. `now_ms`: of the monotonic clock.
    pub fn open(&mut self, path: &[u8], now_ms: u64) -> Result<(Arc<OpenFile>, Status), Trouble> {
        if let Some(kept) = self.kept.get(path) {
            if status_of(kept.file.as_fd()) == Ok(kept.status) {
                return Ok((kept.file.clone(), kept.status));
            }
            self.kept.remove(path);
        }
        let (descriptor, status) = match open(path, Patience::Cached) {
            Err(Trouble::Busy) if !self.kept.is_empty() => {
                self.kept.clear();
                open(path, Patience::Cached)?
            }
            opened => opened?,
        };
        let file = OpenFile::new(descriptor);
        if status.kind != Kind::Special && self.kept.len() < FILES_KEPT_MAX {
            if self.kept.is_empty() {
                self.until_ms = now_ms + FILES_KEPT_MS;
            }
            self.kept.insert(path.into(), Kept { file: file.clone(), status });
        }
        Ok((file, status))
    }

    /// Lets go of what was kept long enough. Returns how long the rest may stay; None: there is none.
    pub fn expire(&mut self, now_ms: u64) -> Option<u64> {
        if !self.kept.is_empty() && now_ms >= self.until_ms {
            self.kept.clear();
        }
        (!self.kept.is_empty()).then(|| self.until_ms - now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::super::opening::read;
    use super::super::testing::Tree;
    use super::*;

    /// What is served of a path: its size, and the bytes that are read.
    fn serve(kept: &mut Descriptors, tree: &Tree, name: &str) -> Result<(u64, Vec<u8>), Trouble> {
        let path = tree.path(name);
        // The kernel need not have the path in memory; the pool puts it there.
        let (file, status) = match kept.open(&path, 0) {
            Err(Trouble::Later) => {
                open(&path, Patience::Blocking)?;
                kept.open(&path, 0)?
            }
            opened => opened?,
        };
        let mut bytes = Vec::new();
        read(file.as_fd(), 0, 100, Patience::Blocking, &mut bytes).unwrap();
        Ok((status.size, bytes))
    }

    #[test]
    fn whatever_happens_to_a_file_is_seen_at_once() {
        let tree = Tree::new();
        let mut kept = Descriptors::default();
        let at = |name: &str| String::from_utf8(tree.path(name)).unwrap();
        tree.write("a", b"first");
        assert_eq!(serve(&mut kept, &tree, "a"), Ok((5, b"first".to_vec())));
        assert_eq!(kept.kept.len(), 1);
        assert_eq!(serve(&mut kept, &tree, "a"), Ok((5, b"first".to_vec())));
        tree.write("a", b"longer than it was");
        assert_eq!(serve(&mut kept, &tree, "a"), Ok((18, b"longer than it was".to_vec())));
        tree.write("new", b"another");
        std::fs::rename(at("new"), at("a")).unwrap();
        assert_eq!(serve(&mut kept, &tree, "a"), Ok((7, b"another".to_vec())));
        std::fs::remove_file(at("a")).unwrap();
        assert_eq!(serve(&mut kept, &tree, "a"), Err(Trouble::NotFound));
        tree.write("a", b"back");
        assert_eq!(serve(&mut kept, &tree, "a"), Ok((4, b"back".to_vec())));
    }

    #[test]
    fn links_and_directories_are_seen_when_files_are_let_go() {
        let tree = Tree::new();
        let mut kept = Descriptors::default();
        tree.write("one", b"1");
        tree.write("two", b"22");
        tree.link("one", "current");
        assert_eq!(serve(&mut kept, &tree, "current"), Ok((1, b"1".to_vec())));
        tree.link("two", "next");
        std::fs::rename(
            String::from_utf8(tree.path("next")).unwrap(),
            String::from_utf8(tree.path("current")).unwrap(),
        )
        .unwrap();
        assert_eq!(kept.expire(FILES_KEPT_MS - 1), Some(1));
        assert_eq!(kept.expire(FILES_KEPT_MS), None);
        assert_eq!(serve(&mut kept, &tree, "current"), Ok((2, b"22".to_vec())));
    }

    #[test]
    fn no_more_files_are_kept_than_the_limit_says() {
        let tree = Tree::new();
        let mut kept = Descriptors::default();
        for index in 0..FILES_KEPT_MAX + 10 {
            let name = format!("file-{index}");
            tree.write(&name, b"x");
            assert_eq!(serve(&mut kept, &tree, &name), Ok((1, b"x".to_vec())));
        }
        assert_eq!(kept.kept.len(), FILES_KEPT_MAX);
        assert_eq!(kept.expire(FILES_KEPT_MS), None);
        assert!(kept.kept.is_empty());
    }
}
