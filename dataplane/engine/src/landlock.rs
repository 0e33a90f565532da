//! An engine that may open files opens them for reading: Landlock refuses every kind of writing, for good.
//!
//! The system call filter cannot see it, since openat2 has its flags behind a pointer. Called while the process has one
//! thread, which the later ones inherit from.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// execute, write, make and remove of every kind: LANDLOCK_ACCESS_FS_* of the first version but reading (bits 2 and 3).
const REFUSED: u64 = 0x1fff & !(1 << 2 | 1 << 3);

/// Refuses writing. Err where the kernel has no Landlock.
pub fn refuse_writing() -> io::Result<()> {
    // SAFETY: no pointers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the attribute is a u64 of the size given and lives through the call.
    let created = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const REFUSED_ATTRIBUTE, size_of::<u64>(), 0)
    };
    let descriptor = i32::try_from(created).ok().filter(|descriptor| *descriptor >= 0);
    let descriptor = descriptor.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: just created, owned by nobody else.
    let rules = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // SAFETY: no pointers; the descriptor is open.
    if unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

static REFUSED_ATTRIBUTE: u64 = REFUSED;

#[cfg(test)]
mod tests {
    use super::refuse_writing;
    use std::fs::{self, File};
    use std::io::ErrorKind::PermissionDenied;

    /// On a thread of its own: the others of this process go on writing.
    #[test]
    fn files_are_read_and_never_written_made_moved_or_removed() {
        let folder = std::env::temp_dir().join(format!("zeroserve-landlock-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (file, other) = (folder.join("file"), folder.join("other"));
        fs::write(&file, "kept").unwrap();
        let path = file.clone();
        let restricted = std::thread::spawn(move || {
            refuse_writing().unwrap();
            let refused = [
                ("write", File::options().write(true).open(&path).map(drop)),
                ("truncate", File::create(&path).map(drop)),
                ("make", File::create(&other).map(drop)),
                ("make a folder", fs::create_dir(&other)),
                ("link", std::os::unix::fs::symlink(&path, &other)),
                ("move", fs::rename(&path, &other)),
                ("remove", fs::remove_file(&path)),
            ];
            for (what, result) in refused {
                assert_eq!(result.map_err(|error| error.kind()), Err(PermissionDenied), "{what}");
            }
            fs::read_to_string(&path).unwrap()
        });
        let read = restricted.join();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(read.unwrap(), "kept");
    }
}
