//! Unix sockets of upstreams among addresses of IP.
//!
//! Endpoints are `SocketAddr` in pools, balancing, logs and tests. A path gets a stand-in below 100::/64, which routers
//! discard (RFC 6666) and which no endpoint may have otherwise; `connect` of the ring finds the path by it. Paths come
//! from the owner's configuration only and are kept for the life of the process.

use crate::locks::{read, write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

static PATHS: RwLock<Vec<Arc<Path>>> = RwLock::new(Vec::new());

/// Bytes of a path with its closing NUL that the kernel takes.
const PATH_BYTES_MAX: usize = 108;
const PREFIX: u128 = 0x0100 << 112;

/// The stand-in of a path, or of `@` with an abstract name; None for one that no socket can have.
pub fn register(path: &str) -> Option<SocketAddr> {
    if path.len() >= PATH_BYTES_MAX || !path.starts_with(['/', '@']) || path.contains('\0') {
        return None;
    }
    let mut paths = write(&PATHS);
    let known = paths.iter().position(|known| known.as_os_str() == path);
    let index = known.unwrap_or_else(|| {
        paths.push(PathBuf::from(path).into());
        paths.len() - 1
    });
    Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(PREFIX | index as u128)), 1))
}

/// True for addresses that are stand-ins, or look like ones.
pub fn is_stand_in(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_bits() >> 64 == PREFIX >> 64)
}

/// The path that an address stands for.
pub fn find(address: &SocketAddr) -> Option<Arc<Path>> {
    let IpAddr::V6(ip) = address.ip() else { return None };
    if !is_stand_in(address.ip()) {
        return None;
    }
    let index = usize::try_from(ip.to_bits() & u128::from(u64::MAX)).ok()?;
    read(&PATHS).get(index).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_stand_in() {
        let one = register("/run/one.sock").unwrap();
        let two = register("/run/two.sock").unwrap();
        assert_ne!(one, two);
        assert_eq!(register("/run/one.sock"), Some(one));
        assert_eq!(find(&one).unwrap().as_os_str(), "/run/one.sock");
        assert_eq!(find(&register("@name").unwrap()).unwrap().as_os_str(), "@name");
        assert!(is_stand_in(one.ip()) && !is_stand_in("::1".parse().unwrap()));
        assert!(find(&"[::1]:80".parse().unwrap()).is_none());
        assert!(register("relative").is_none() && register(&format!("/{}", "x".repeat(107))).is_none());
    }
}
