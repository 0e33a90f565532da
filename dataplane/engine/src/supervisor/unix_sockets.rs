//! Listening sockets of the file system, or with abstract names (`@name`): one for all workers, as nothing spreads
//! connections over several.
//!
//! Rule: a file at the path is replaced only where it is a socket at which nobody listens.

use crate::snapshot::UnixSocket;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;

/// Descriptors of one socket for so many workers.
pub fn bind(socket: &UnixSocket, workers: usize) -> io::Result<Vec<OwnedFd>> {
    let listener = match socket.path.strip_prefix('@') {
        Some(name) => UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => {
            remove_deserted(Path::new(&*socket.path))?;
            UnixListener::bind(&*socket.path)?
        }
    };
    permit(&socket.path, socket.mode)?;
    listener.set_nonblocking(true)?;
    let descriptor = OwnedFd::from(listener);
    let mut descriptors: Vec<OwnedFd> =
        (1..workers).map(|_| descriptor.try_clone()).collect::<Result<_, _>>()?;
    descriptors.push(descriptor);
    Ok(descriptors)
}

/// Sets who may connect; to an abstract name everybody of the network namespace may.
pub fn permit(path: &str, mode: u32) -> io::Result<()> {
    if path.starts_with('@') {
        return Ok(());
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

fn remove_deserted(path: &Path) -> io::Result<()> {
    let is_socket = match std::fs::symlink_metadata(path) {
        Ok(found) => found.file_type().is_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    match UnixStream::connect(path) {
        Err(error) if is_socket && error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("zeroserve-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    fn socket(path: &Path) -> UnixSocket {
        UnixSocket { path: path.to_str().unwrap().into(), mode: 0o222 }
    }

    #[test]
    fn every_worker_has_a_descriptor_and_the_file_its_permissions() {
        let folder = folder("bound");
        let path = folder.join("a.sock");
        let bound = bind(&socket(&path), 3).unwrap();
        assert_eq!(bound.len(), 3);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o222);
        UnixStream::connect(&path).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_abstract_name_has_no_file() {
        let name = format!("zeroserve-abstract-{}", std::process::id());
        let bound = bind(&UnixSocket { path: format!("@{name}").into(), mode: 0o222 }, 2).unwrap();
        assert_eq!(bound.len(), 2);
        UnixStream::connect_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        assert!(!Path::new(&format!("@{name}")).exists());
    }

    #[test]
    fn only_a_deserted_socket_is_replaced() {
        let folder = folder("deserted");
        let path = folder.join("a.sock");
        drop(UnixListener::bind(&path).unwrap());
        let bound = bind(&socket(&path), 1).unwrap();
        assert!(bind(&socket(&path), 1).is_err(), "somebody listens there");
        drop(bound);
        let file = folder.join("file");
        std::fs::write(&file, "kept").unwrap();
        assert!(bind(&socket(&file), 1).is_err(), "it is no socket");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
