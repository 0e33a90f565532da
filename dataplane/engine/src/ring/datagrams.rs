//! System calls for datagrams, which both real backends share: batches come in with the address of ours that each was sent
//! to, and go out from that address. The backends only tell when there is something to read (`Io::watch`).
#![allow(unsafe_code)]

use super::addresses::RawAddress;
use crate::limits::{DATAGRAM_BYTES_MAX, DATAGRAMS_PER_CALL};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Room for one control message of either family's packet information, aligned as its header.
type Control = [u64; 8];

/// Datagrams of one receiving call, kept for the next one.
pub struct Batch {
    bytes: Box<[u8]>,
    lengths: [usize; DATAGRAMS_PER_CALL],
    sources: Box<[RawAddress; DATAGRAMS_PER_CALL]>,
    locals: [Option<IpAddr>; DATAGRAMS_PER_CALL],
    count: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            bytes: vec![0; DATAGRAMS_PER_CALL * DATAGRAM_BYTES_MAX].into(),
            lengths: [0; DATAGRAMS_PER_CALL],
            sources: Box::new([RawAddress::empty(); DATAGRAMS_PER_CALL]),
            locals: [None; DATAGRAMS_PER_CALL],
            count: 0,
        }
    }
}

impl Batch {
    /// Replaces the batch by what waits at the socket. Err(WouldBlock): nothing does.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.count = 0;
        let mut controls: [Control; DATAGRAMS_PER_CALL] = [[0; 8]; DATAGRAMS_PER_CALL];
        // SAFETY: zeroes are valid for both, all pointers are set below.
        let (mut parts, mut messages): (
            [libc::iovec; DATAGRAMS_PER_CALL],
            [libc::mmsghdr; DATAGRAMS_PER_CALL],
        ) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        for (index, buffer) in self.bytes.chunks_exact_mut(DATAGRAM_BYTES_MAX).enumerate() {
            parts[index] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            let header = &mut messages[index].msg_hdr;
            self.sources[index] = RawAddress::empty();
            header.msg_name = self.sources[index].pointer_mut().cast();
            header.msg_namelen = self.sources[index].length;
            header.msg_iov = &raw mut parts[index];
            header.msg_iovlen = 1;
            header.msg_control = controls[index].as_mut_ptr().cast();
            header.msg_controllen = size_of::<Control>() as _;
        }
        // SAFETY: every header names memory of this frame or of the batch, with its size.
        let received = unsafe {
            let count = DATAGRAMS_PER_CALL as libc::c_uint;
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        self.count = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (index, message) in messages[..self.count].iter().enumerate() {
            self.lengths[index] = (message.msg_len as usize).min(DATAGRAM_BYTES_MAX);
            self.locals[index] = read_local(&message.msg_hdr);
        }
        Ok(self.count)
    }

    /// The content of a datagram.
    pub fn payload(&self, index: usize) -> &[u8] {
        let start = index * DATAGRAM_BYTES_MAX;
        &self.bytes[start..start + self.lengths[index]]
    }

    pub fn source(&self, index: usize) -> SocketAddr {
        self.sources[index].get()
    }

    /// The address of ours that it was sent to.
    pub fn local(&self, index: usize) -> Option<IpAddr> {
        self.locals[index]
    }

    /// Bytes of the whole batch.
    pub fn total_bytes(&self) -> u64 {
        self.lengths[..self.count].iter().map(|length| *length as u64).sum()
    }

    /// Sends the whole batch on, from `local` where that is known; what the kernel does not take now is lost, as datagrams
    /// are. Returns how many it took.
    pub fn send_to(&mut self, socket: BorrowedFd<'_>, to: SocketAddr, local: Option<IpAddr>) -> usize {
        let mut address = RawAddress::new(&to);
        let mut control: Control = [0; 8];
        let control_bytes = local.map_or(0, |local| write_local(&mut control, local));
        // SAFETY: as in `receive`.
        let (mut parts, mut messages): (
            [libc::iovec; DATAGRAMS_PER_CALL],
            [libc::mmsghdr; DATAGRAMS_PER_CALL],
        ) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        for (index, buffer) in self.bytes.chunks_exact_mut(DATAGRAM_BYTES_MAX).take(self.count).enumerate() {
            parts[index] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: self.lengths[index] };
            let header = &mut messages[index].msg_hdr;
            header.msg_name = address.pointer_mut().cast();
            header.msg_namelen = address.length;
            header.msg_iov = &raw mut parts[index];
            header.msg_iovlen = 1;
            if control_bytes > 0 {
                header.msg_control = control.as_mut_ptr().cast();
                header.msg_controllen = control_bytes as _;
            }
        }
        let (mut at, mut taken) = (0, 0);
        while at < self.count {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            let left = (self.count - at) as libc::c_uint;
            // SAFETY: as in `receive`; `left` headers are left from `at` on.
            let sent =
                unsafe { libc::sendmmsg(socket.as_raw_fd(), messages[at..].as_mut_ptr(), left, flags) };
            match usize::try_from(sent) {
                Ok(sent) => (at, taken) = (at + sent.max(1), taken + sent),
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => break,
                // This one cannot go (too large for the way, say); others may.
                Err(_) => at += 1,
            }
        }
        taken
    }
}

/// One datagram on a connected socket.
pub fn send(socket: BorrowedFd<'_>, payload: &[u8]) -> io::Result<()> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: reads the payload only.
    let sent = unsafe { libc::send(socket.as_raw_fd(), payload.as_ptr().cast(), payload.len(), flags) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A socket that takes datagrams of this address alone.
pub fn connect(address: &SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointers.
    let raw = unsafe { libc::socket(family, kind, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just created, owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    let to = RawAddress::new(address);
    // SAFETY: the address lives in this frame.
    if unsafe { libc::connect(socket.as_raw_fd(), to.pointer(), to.length) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

/// Something can be read, or an error waits to be.
#[cfg(test)]
pub fn is_readable(socket: BorrowedFd<'_>) -> bool {
    let mut polled = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one initialised record.
    unsafe { libc::poll(&raw mut polled, 1, 0) > 0 }
}

fn read_local(header: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the kernel wrote whole control messages of `msg_controllen` bytes; each is read at its own type and size.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while !next.is_null() {
            let data = libc::CMSG_DATA(next);
            match ((*next).cmsg_level, (*next).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let found = data.cast::<libc::in_pktinfo>().read_unaligned();
                    return Some(Ipv4Addr::from(found.ipi_addr.s_addr.to_ne_bytes()).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let found = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    return Some(IpAddr::from(Ipv6Addr::from(found.ipi6_addr.s6_addr)).to_canonical());
                }
                _ => next = libc::CMSG_NXTHDR(header, next),
            }
        }
    }
    None
}

/// Writes the control message that sends from `local`; returns its bytes.
fn write_local(control: &mut Control, local: IpAddr) -> usize {
    // SAFETY: zeroes are a valid header, whose control memory is set here; both structures fit into a `Control`.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of::<Control>() as _;
        let message = libc::CMSG_FIRSTHDR(&header);
        let bytes = match local {
            IpAddr::V4(ip) => {
                let mut info: libc::in_pktinfo = std::mem::zeroed();
                info.ipi_spec_dst.s_addr = u32::from_ne_bytes(ip.octets());
                ((*message).cmsg_level, (*message).cmsg_type) = (libc::IPPROTO_IP, libc::IP_PKTINFO);
                libc::CMSG_DATA(message).cast::<libc::in_pktinfo>().write_unaligned(info);
                size_of::<libc::in_pktinfo>()
            }
            IpAddr::V6(ip) => {
                let mut info: libc::in6_pktinfo = std::mem::zeroed();
                info.ipi6_addr.s6_addr = ip.octets();
                ((*message).cmsg_level, (*message).cmsg_type) = (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO);
                libc::CMSG_DATA(message).cast::<libc::in6_pktinfo>().write_unaligned(info);
                size_of::<libc::in6_pktinfo>()
            }
        };
        (*message).cmsg_len = libc::CMSG_LEN(bytes as u32) as _;
        libc::CMSG_SPACE(bytes as u32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    fn wait_readable(socket: &impl AsFd) {
        let mut poll = libc::pollfd { fd: socket.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry of this frame.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 20_000) }, 1);
    }

    #[test]
    fn a_batch_comes_and_goes_whole_and_in_order() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = connect(&server.local_addr().unwrap()).unwrap();
        let sizes = [0, 1, 1200, 9000, 65_507];
        for (index, size) in sizes.iter().enumerate() {
            send(client.as_fd(), &vec![index as u8; *size]).unwrap();
        }
        wait_readable(&server);
        let mut batch = Batch::default();
        assert_eq!(batch.receive(server.as_fd()).unwrap(), sizes.len());
        for (index, size) in sizes.iter().enumerate() {
            assert_eq!(batch.payload(index), vec![index as u8; *size]);
        }
        assert_eq!(batch.total_bytes(), sizes.iter().sum::<usize>() as u64);
        let source = batch.source(0);
        assert_eq!(batch.send_to(server.as_fd(), source, Some("127.0.0.1".parse().unwrap())), sizes.len());
        let client = UdpSocket::from(client);
        client.set_nonblocking(false).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut buffer = vec![0; 70_000];
        for size in sizes {
            assert_eq!(client.recv(&mut buffer).unwrap(), size);
        }
        let refused = batch.receive(server.as_fd()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_connected_socket_hears_nobody_else() {
        let (server, stranger) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let socket = connect(&server.local_addr().unwrap()).unwrap();
        let ours = super::super::addresses::local_address(socket.as_fd());
        stranger.send_to(b"forged", ours).unwrap();
        server.send_to(b"true", ours).unwrap();
        wait_readable(&socket);
        let mut batch = Batch::default();
        assert_eq!(batch.receive(socket.as_fd()).unwrap(), 1);
        assert_eq!(batch.payload(0), b"true");
    }
}
