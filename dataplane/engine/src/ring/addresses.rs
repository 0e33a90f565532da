//! Socket system calls that both real backends share: addresses, upstream sockets, limits, clocks.
#![allow(unsafe_code)]

use super::unix_paths;
use crate::exchange::Clock;
use crate::limits::{DESCRIPTORS_RESERVED, SOCKETS_PER_WORKER_MAX};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Room for a socket address of either family, as the kernel writes and reads it.
#[derive(Clone, Copy)]
pub struct RawAddress {
    pub storage: libc::sockaddr_storage,
    pub length: libc::socklen_t,
}

impl RawAddress {
    pub fn empty() -> RawAddress {
        // SAFETY: all zeroes is a valid sockaddr_storage (family AF_UNSPEC).
        let storage = unsafe { std::mem::zeroed() };
        RawAddress { storage, length: size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    pub fn new(address: &SocketAddr) -> RawAddress {
        let mut raw = RawAddress::empty();
        if let Some(path) = unix_paths::find(address) {
            raw.set_path(path.as_os_str().as_bytes());
            return raw;
        }
        match address {
            SocketAddr::V4(v4) => {
                let value = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                };
                // SAFETY: sockaddr_storage is larger than and at least as aligned as every sockaddr.
                unsafe { (&raw mut raw.storage).cast::<libc::sockaddr_in>().write(value) };
                raw.length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            }
            SocketAddr::V6(v6) => {
                let value = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
                // SAFETY: as above.
                unsafe { (&raw mut raw.storage).cast::<libc::sockaddr_in6>().write(value) };
                raw.length = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            }
        }
        raw
    }

    /// `path` is shorter than `sun_path`, which ends with a NUL; `@` begins an abstract name (unix(7)), which ends with
    /// the address.
    fn set_path(&mut self, path: &[u8]) {
        let mut value =
            libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; 108] };
        for (to, from) in value.sun_path[..107].iter_mut().zip(path) {
            *to = *from as libc::c_char;
        }
        let mut length = size_of::<libc::sockaddr_un>();
        if path.first() == Some(&b'@') {
            value.sun_path[0] = 0;
            length = std::mem::offset_of!(libc::sockaddr_un, sun_path) + path.len().min(107);
        }
        // SAFETY: as above.
        unsafe { (&raw mut self.storage).cast::<libc::sockaddr_un>().write(value) };
        self.length = length as libc::socklen_t;
    }

    pub fn pointer(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub fn pointer_mut(&mut self) -> *mut libc::sockaddr {
        (&raw mut self.storage).cast()
    }

    /// The address; mapped IPv4 (dual-stack sockets) as IPv4, an unknown family as 0.0.0.0:0.
    pub fn get(&self) -> SocketAddr {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says that the kernel wrote a sockaddr_in.
                let v4 = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in>().read() };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)))
            }
            libc::AF_INET6 => {
                // SAFETY: the family says that the kernel wrote a sockaddr_in6.
                let v6 = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in6>().read() };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                match ip.to_ipv4_mapped() {
                    Some(v4) => SocketAddr::V4(SocketAddrV4::new(v4, port)),
                    None => SocketAddr::V6(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id)),
                }
            }
            _ => SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)),
        }
    }
}

/// A TCP socket towards `address` with TCP_NODELAY: small heads must not wait for acknowledgements.
pub fn upstream_socket(address: &SocketAddr, extra: libc::c_int) -> io::Result<OwnedFd> {
    let family = match address {
        _ if unix_paths::is_stand_in(address.ip()) => libc::AF_UNIX,
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    };
    // SAFETY: no pointers.
    let raw = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | extra, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just created, owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    if family != libc::AF_UNIX {
        set_no_delay(&socket);
    }
    Ok(socket)
}

/// Accepted sockets inherit TCP_NODELAY from their listening socket.
pub fn set_no_delay(socket: &OwnedFd) {
    let one: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option's value is a c_int of this frame. A failure costs latency, nothing else.
    unsafe {
        let value = (&raw const one).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, value, length);
    }
}

/// The address a listening socket is bound to.
pub fn local_address(socket: BorrowedFd<'_>) -> SocketAddr {
    let mut raw = RawAddress::empty();
    // SAFETY: the storage and its length live in this frame; on failure the family stays unspecified.
    unsafe { libc::getsockname(socket.as_raw_fd(), raw.pointer_mut(), &raw mut raw.length) };
    raw.get()
}

/// Sockets a worker may open: below the process' descriptor limit, which workers on epoll share (`DESCRIPTORS_RESERVED`).
pub fn sockets_max() -> u32 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes into a local.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let free = limit.rlim_cur.saturating_sub(DESCRIPTORS_RESERVED).max(64);
    u32::try_from(free).unwrap_or(u32::MAX).min(SOCKETS_PER_WORKER_MAX)
}

/// Lets this process and its children open as many descriptors as they may at all: the limit that shells begin with is
/// for programs that call select(2).
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes into a local.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0 {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: reads a local. Where it fails, the former limit holds.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
}

/// Reads both clocks.
pub fn read_clock() -> Clock {
    let read = |clock| {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes into a local; these clocks always exist.
        unsafe { libc::clock_gettime(clock, &raw mut time) };
        time
    };
    let (monotonic, real) = (read(libc::CLOCK_MONOTONIC), read(libc::CLOCK_REALTIME));
    Clock {
        monotonic_ns: monotonic.tv_sec as u64 * 1_000_000_000 + monotonic.tv_nsec as u64,
        unix_ms: real.tv_sec as u64 * 1_000 + real.tv_nsec as u64 / 1_000_000,
    }
}
