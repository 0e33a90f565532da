//! The system calls behind files: opening, their status, reading, listing.
//!
//! `Patience::Cached` never waits: what the kernel does not have in memory is `Trouble::Later`, and the same call with
//! `Patience::Blocking` belongs on the pool. Nothing is ever opened for writing.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Whether a call may wait for a disk or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    Cached,
    Blocking,
}

/// Why a file is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Not without waiting.
    Later,
    NotFound,
    Denied,
    /// No name that a file can have: too long, a loop of links, below something that is no directory.
    Invalid,
    /// Out of descriptors or memory.
    Busy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    /// Pipes, sockets and devices: never served.
    Special,
}

/// What the file system says about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    pub kind: Kind,
    pub size: u64,
    seconds: i64,
    nanoseconds: i64,
    pub mode: u32,
    /// Of the file's entry itself, and names that it has: renaming and removing change them.
    changed: (i64, i64),
    links: libc::nlink_t,
}

impl Status {
    fn new(raw: &libc::stat) -> Status {
        let kind = match raw.st_mode & libc::S_IFMT {
            libc::S_IFREG => Kind::File,
            libc::S_IFDIR => Kind::Directory,
            _ => Kind::Special,
        };
        let size = u64::try_from(raw.st_size).unwrap_or(0);
        Status {
            kind,
            size,
            seconds: raw.st_mtime,
            nanoseconds: raw.st_mtime_nsec,
            mode: raw.st_mode,
            changed: (raw.st_ctime, raw.st_ctime_nsec),
            links: raw.st_nlink,
        }
    }

    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Since 1970.
    pub fn modified_ns(&self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }

    pub fn modified_s(&self) -> i64 {
        self.seconds
    }

    /// Seconds since 1970; 0 and 1 are what build tools write to say nothing (Caddy: usefulModTime).
    pub fn useful_time_s(&self) -> Option<i64> {
        Some(self.seconds).filter(|seconds| !matches!(seconds, 0 | 1))
    }

    #[cfg(test)]
    pub fn of_test(seconds: i64, nanoseconds: i64, size: u64) -> Status {
        Status { kind: Kind::File, size, seconds, nanoseconds, mode: 0o100_644, changed: (0, 0), links: 1 }
    }
}

/// Opens a file or directory for reading, through links. Never waits for the other end of a pipe.
pub fn open(path: &[u8], patience: Patience) -> Result<(OwnedFd, Status), Trouble> {
    let file = open_with(path, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY, patience)?;
    let status = status_of(file.as_fd())?;
    Ok((file, status))
}

/// The status of what a path leads to.
pub fn find_status(path: &[u8], patience: Patience) -> Result<Status, Trouble> {
    status_of(open_with(path, libc::O_PATH, patience)?.as_fd())
}

/// The status of a link itself. Waits.
pub fn find_link_status(path: &[u8]) -> Result<Status, Trouble> {
    status_of(open_with(path, libc::O_PATH | libc::O_NOFOLLOW, Patience::Blocking)?.as_fd())
}

fn open_with(path: &[u8], flags: i32, patience: Patience) -> Result<OwnedFd, Trouble> {
    let path = CString::new(path).map_err(|_| Trouble::Invalid)?;
    // SAFETY: `open_how` is plain numbers.
    let mut how: libc::open_how = unsafe { MaybeUninit::zeroed().assume_init() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_NO_MAGICLINKS;
    if patience == Patience::Cached {
        how.resolve |= libc::RESOLVE_CACHED;
    }
    let size = size_of::<libc::open_how>();
    // SAFETY: the path ends in NUL and `how` is of the size given; both live through the call.
    let result =
        unsafe { libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path.as_ptr(), &raw const how, size) };
    match i32::try_from(result) {
        // SAFETY: just opened, owned by nobody else.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(trouble_of(&io::Error::last_os_error(), patience)),
    }
}

fn trouble_of(error: &io::Error, patience: Patience) -> Trouble {
    match error.raw_os_error().unwrap_or(0) {
        libc::EAGAIN | libc::EINTR | libc::ENOSYS if patience == Patience::Cached => Trouble::Later,
        libc::ENOENT => Trouble::NotFound,
        libc::EACCES | libc::EPERM => Trouble::Denied,
        libc::EMFILE | libc::ENFILE | libc::ENOMEM => Trouble::Busy,
        // Sockets, and devices without a driver.
        libc::ENXIO | libc::ENODEV => Trouble::NotFound,
        _ => Trouble::Invalid,
    }
}

/// The status of what is open.
pub fn status_of(file: BorrowedFd<'_>) -> Result<Status, Trouble> {
    let mut raw = MaybeUninit::<libc::stat>::uninit();
    // Not by glibc, whose fstat is newfstatat(2): the system call filter has to look at its arguments each time.
    // SAFETY: the descriptor is open and the memory is a `stat`, as the kernel lays it out on 64-bit machines.
    if unsafe { libc::syscall(libc::SYS_fstat, file.as_raw_fd(), raw.as_mut_ptr()) } != 0 {
        return Err(trouble_of(&io::Error::last_os_error(), Patience::Blocking));
    }
    // SAFETY: fstat succeeded and has filled it.
    Ok(Status::new(unsafe { raw.assume_init_ref() }))
}

/// Appends up to `length` bytes from `offset` on; None where they are not in memory. 0 is the file's end.
pub fn read(
    file: BorrowedFd<'_>,
    offset: u64,
    length: usize,
    patience: Patience,
    out: &mut Vec<u8>,
) -> io::Result<Option<usize>> {
    out.reserve(length);
    let vector = libc::iovec { iov_base: out.spare_capacity_mut().as_mut_ptr().cast(), iov_len: length };
    let flags = if patience == Patience::Cached { libc::RWF_NOWAIT } else { 0 };
    loop {
        // SAFETY: the vector names `length` bytes of spare capacity, which was reserved above.
        let count =
            unsafe { libc::preadv2(file.as_raw_fd(), &raw const vector, 1, offset as libc::off_t, flags) };
        if let Ok(count) = usize::try_from(count) {
            // SAFETY: the kernel has written `count` bytes into the spare capacity.
            unsafe { out.set_len(out.len() + count) };
            return Ok(Some(count));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error().unwrap_or(0) {
            libc::EINTR => {}
            libc::EAGAIN | libc::EOPNOTSUPP if patience == Patience::Cached => return Ok(None),
            _ => return Err(error),
        }
    }
}

/// cachestat(2), Linux 6.5: the same number everywhere.
pub const SYS_CACHESTAT: libc::c_long = 451;

/// True where all of a range is in memory. False also where the kernel does not tell: it does so to those who own the file
/// or may write it.
pub fn is_in_memory(file: BorrowedFd<'_>, offset: u64, length: u64) -> bool {
    const PAGE_BYTES: u64 = 4096;
    let Some(last) = length.checked_sub(1).and_then(|last| offset.checked_add(last)) else { return false };
    let range = [offset, length];
    // struct cachestat: cached, dirty, in writeback, evicted, recently evicted pages.
    let mut pages = [0u64; 5];
    // SAFETY: both arrays are laid out as the kernel's structures and live through the call.
    let result =
        unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), range.as_ptr(), pages.as_mut_ptr(), 0) };
    let mut byte = Vec::new();
    // A page that is being read counts as cached; what comes last is read last.
    result == 0
        && pages[0] > last / PAGE_BYTES - offset / PAGE_BYTES
        && matches!(read(file, last, 1, Patience::Cached, &mut byte), Ok(Some(1)))
}

/// Names in a directory in its own order, at most `limit`, without `.` and `..`. Waits.
pub fn list(directory: BorrowedFd<'_>, limit: usize) -> io::Result<Vec<Vec<u8>>> {
    const BATCH_BYTES: usize = 32 << 10;
    let mut names = Vec::new();
    let mut batch = vec![0u8; BATCH_BYTES];
    loop {
        // SAFETY: the buffer is writable for the length given.
        let count = unsafe {
            libc::syscall(libc::SYS_getdents64, directory.as_raw_fd(), batch.as_mut_ptr(), batch.len())
        };
        match usize::try_from(count) {
            Err(_) => return Err(io::Error::last_os_error()),
            Ok(0) => return Ok(names),
            Ok(count) => take_entries(&batch[..count], &mut names),
        }
        if names.len() >= limit {
            names.truncate(limit);
            return Ok(names);
        }
    }
}

/// linux_dirent64: inode and offset of eight bytes each, record length of two, type of one, name up to NUL.
fn take_entries(mut batch: &[u8], names: &mut Vec<Vec<u8>>) {
    const NAME_AT: usize = 19;
    while batch.len() > NAME_AT {
        let length = usize::from(u16::from_ne_bytes([batch[16], batch[17]]));
        if length <= NAME_AT || length > batch.len() {
            return;
        }
        let name = &batch[NAME_AT..length];
        let name = &name[..memchr::memchr(0, name).unwrap_or(name.len())];
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
        batch = &batch[length..];
    }
}

/// Where a link leads, as it is written. Waits.
pub fn read_link(path: &[u8]) -> Option<Vec<u8>> {
    let path = CString::new(path).ok()?;
    let mut target = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: the path ends in NUL; the buffer is writable for the length given.
    let count =
        unsafe { libc::readlinkat(libc::AT_FDCWD, path.as_ptr(), target.as_mut_ptr().cast(), target.len()) };
    target.truncate(usize::try_from(count).ok()?);
    Some(target)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn files_directories_and_what_is_neither() {
        let tree = Tree::new();
        tree.write("a.txt", b"hello");
        tree.make_pipe("pipe");
        tree.link("a.txt", "link");
        let open = |name| open(&tree.path(name), Patience::Blocking);
        let (file, status) = open("a.txt").unwrap();
        assert_eq!((status.kind, status.size), (Kind::File, 5));
        let mut out = b"> ".to_vec();
        assert_eq!(read(file.as_fd(), 1, 100, Patience::Blocking, &mut out).unwrap(), Some(4));
        assert_eq!(out, b"> ello");
        assert_eq!(read(file.as_fd(), 5, 100, Patience::Blocking, &mut out).unwrap(), Some(0));
        assert_eq!(open("link").unwrap().1.size, 5);
        assert_eq!(open("").unwrap().1.kind, Kind::Directory);
        assert_eq!(open("pipe").unwrap().1.kind, Kind::Special);
        for (name, trouble) in
            [("none", Trouble::NotFound), ("a.txt/x", Trouble::Invalid), ("a\0b", Trouble::Invalid)]
        {
            assert_eq!(open(name).unwrap_err(), trouble, "{name:?}");
            assert_eq!(find_status(&tree.path(name), Patience::Blocking).unwrap_err(), trouble);
        }
        assert_eq!(open(&"x".repeat(300)).unwrap_err(), Trouble::Invalid);
    }

    #[test]
    fn a_cached_open_says_the_same_or_later() {
        let tree = Tree::new();
        tree.write("a.txt", b"hello");
        match open(&tree.path("a.txt"), Patience::Cached) {
            Ok((_, status)) => assert_eq!(status.size, 5),
            Err(trouble) => assert_eq!(trouble, Trouble::Later),
        }
    }

    #[test]
    fn listings_are_bounded() {
        let tree = Tree::new();
        for index in 0..2000 {
            tree.write(&format!("file-{index}"), b"");
        }
        let (directory, _) = open(&tree.path(""), Patience::Blocking).unwrap();
        assert_eq!(list(directory.as_fd(), 100).unwrap().len(), 100);
        let (directory, _) = open(&tree.path(""), Patience::Blocking).unwrap();
        let mut names = list(directory.as_fd(), 10_000).unwrap();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 2000);
    }
}
