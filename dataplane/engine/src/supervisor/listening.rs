//! Listening sockets: one per worker on the same address, kept while the engine comes and goes.

use super::unix_sockets;
use crate::protocol::{self, Transport};
use crate::snapshot::Listener;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Connections that wait for accept while the engine restarts.
const BACKLOG: i32 = 4096;

pub struct ListenerSockets {
    place: Place,
    sockets: Vec<OwnedFd>,
}

#[derive(PartialEq, Eq)]
enum Place {
    Address(Address),
    Path(Box<str>),
}

/// Datagrams' ports are others than connections'.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Address {
    ip: IpAddr,
    port: u16,
    datagrams: bool,
}

impl Place {
    fn of(listener: &Listener) -> Self {
        match &listener.unix {
            Some(socket) => Self::Path(socket.path.clone()),
            None => Self::Address(read_address(listener)),
        }
    }
}

impl ListenerSockets {
    /// Binds for so many workers. Err: the address is taken by somebody else, or cannot be had.
    pub fn bind(message: &protocol::Listener, workers: usize) -> Result<Self, String> {
        let listener = Listener::compile(message, crate::exchange::ListenerId(0))?;
        let sockets = match &listener.unix {
            Some(socket) => unix_sockets::bind(socket, workers)
                .map_err(|error| format!("bind {}: {error}", socket.path))?,
            None => bind_address(read_address(&listener), workers)?,
        };
        let bound = Self { place: Place::of(&listener), sockets };
        bound.adjust(message);
        Ok(bound)
    }

    /// True when the listener's address is the one that is bound already.
    pub fn serves(&self, message: &protocol::Listener) -> bool {
        let compiled = Listener::compile(message, crate::exchange::ListenerId(0));
        compiled.is_ok_and(|listener| Place::of(&listener) == self.place)
    }

    /// What the kernel is to find out about silent peers, which connections inherit, and who may open a path. A failure
    /// costs only that.
    pub fn adjust(&self, message: &protocol::Listener) {
        if let Place::Path(path) = &self.place {
            let _ = unix_sockets::permit(path, message.unix_mode);
        }
        let keepalive = message.limits.as_ref().and_then(|limits| limits.keepalive.as_ref());
        for socket in &self.sockets {
            let _ = set_option(socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE, i32::from(keepalive.is_some()));
            for (name, value) in keepalive.into_iter().flat_map(|keepalive| {
                [
                    (libc::TCP_KEEPIDLE, keepalive.idle_s),
                    (libc::TCP_KEEPINTVL, keepalive.interval_s),
                    (libc::TCP_KEEPCNT, keepalive.count),
                ]
            }) {
                if let Ok(value @ 1..) = i32::try_from(value) {
                    let _ = set_option(socket, libc::IPPROTO_TCP, name, value);
                }
            }
        }
    }

    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd).collect()
    }
}

impl Drop for ListenerSockets {
    fn drop(&mut self) {
        if let Place::Path(path) = &self.place {
            // What is left behind is replaced by whoever listens there next. An abstract name goes with its sockets.
            if !path.starts_with('@') {
                let _ = std::fs::remove_file(&**path);
            }
        }
    }
}

fn read_address(listener: &Listener) -> Address {
    let datagrams = listener.transport == Transport::Udp;
    Address { ip: listener.address, port: listener.port, datagrams }
}

fn bind_address(address: Address, workers: usize) -> Result<Vec<OwnedFd>, String> {
    let describe = |error: io::Error| format!("bind {}: {error}", SocketAddr::new(address.ip, address.port));
    let usable = match bind_one(address, false) {
        // No IPv6 on this machine: every address is then every IPv4 address.
        Err(error) if address.ip.is_unspecified() && error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            Address { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), ..address }
        }
        // A bind that shares the port with nobody shows that no stranger holds it.
        bound => bound.map(|_| address).map_err(describe)?,
    };
    let sockets: io::Result<Vec<OwnedFd>> = (0..workers).map(|_| bind_one(usable, true)).collect();
    let sockets = sockets.map_err(describe)?;
    for socket in sockets.iter().filter(|_| !address.datagrams) {
        // SAFETY: no pointers.
        if unsafe { libc::listen(socket.as_raw_fd(), BACKLOG) } != 0 {
            return Err(describe(io::Error::last_os_error()));
        }
    }
    Ok(sockets)
}

fn bind_one(Address { ip: address, port, datagrams }: Address, shared: bool) -> io::Result<OwnedFd> {
    let kind = if datagrams { libc::SOCK_DGRAM } else { libc::SOCK_STREAM };
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: no pointers.
    let socket = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just created, owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    match datagrams {
        // Datagrams have no former connections to wait for, and this would share the port with anybody.
        true => tell_local_addresses(&socket, address)?,
        false => set_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?,
    }
    if shared {
        set_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    if address.is_ipv6() {
        let only = i32::from(!address.is_unspecified());
        set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, only)?;
    }
    let (storage, length) = encode_address(address, port);
    // SAFETY: `storage` is a valid address of `length` bytes.
    if unsafe { libc::bind(socket.as_raw_fd(), (&raw const storage).cast(), length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

/// Each datagram says which address of ours it was sent to.
fn tell_local_addresses(socket: &OwnedFd, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(_) => set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
        IpAddr::V6(_) => set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
    }
}

fn set_option(socket: &OwnedFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: passes four bytes of a local.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn encode_address(address: IpAddr, port: u16) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: zeroes are a valid sockaddr_storage, which is large and aligned enough for both families.
    unsafe {
        let mut storage: libc::sockaddr_storage = std::mem::zeroed();
        let length = match address {
            IpAddr::V4(address) => {
                let out = (&raw mut storage).cast::<libc::sockaddr_in>();
                (*out).sin_family = libc::AF_INET as u16;
                (*out).sin_port = port.to_be();
                (*out).sin_addr.s_addr = u32::from_ne_bytes(address.octets());
                size_of::<libc::sockaddr_in>()
            }
            IpAddr::V6(address) => {
                let out = (&raw mut storage).cast::<libc::sockaddr_in6>();
                (*out).sin6_family = libc::AF_INET6 as u16;
                (*out).sin6_port = port.to_be();
                (*out).sin6_addr.s6_addr = address.octets();
                size_of::<libc::sockaddr_in6>()
            }
        };
        (storage, length as libc::socklen_t)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    fn message(address: &str, port: u16) -> protocol::Listener {
        protocol::Listener {
            name: "x".into(),
            address: address.into(),
            port: port.into(),
            ..Default::default()
        }
    }

    #[test]
    fn datagrams_have_ports_of_their_own_and_share_them_with_no_stranger() {
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = stranger.local_addr().unwrap().port();
        let datagrams = |address: &str, port| protocol::Listener {
            transport: Transport::Udp.into(),
            ..message(address, port)
        };
        assert!(ListenerSockets::bind(&datagrams("127.0.0.1", port), 2).is_err());
        let stream = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = stream.local_addr().unwrap().port();
        let bound = ListenerSockets::bind(&datagrams("127.0.0.1", port), 2).unwrap();
        assert!(!bound.serves(&message("127.0.0.1", port)) && bound.serves(&datagrams("127.0.0.1", port)));
    }

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn a_stranger_on_the_port_is_noticed() {
        let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = stranger.local_addr().unwrap().port();
        let refused = ListenerSockets::bind(&message("127.0.0.1", port), 2).err().unwrap();
        assert!(refused.contains(&format!("127.0.0.1:{port}")), "{refused}");
    }

    #[test]
    fn every_worker_has_a_socket_on_one_address() {
        let port = free_port();
        let bound = ListenerSockets::bind(&message("127.0.0.1", port), 3).unwrap();
        assert_eq!(bound.descriptors().len(), 3);
        assert!(bound.serves(&message("127.0.0.1", port)) && !bound.serves(&message("", port)));
        TcpStream::connect(("127.0.0.1", port)).unwrap();
    }

    #[test]
    fn no_address_is_every_address_of_both_families() {
        let port = free_port();
        let _bound = ListenerSockets::bind(&message("", port), 1).unwrap();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
    }
}
