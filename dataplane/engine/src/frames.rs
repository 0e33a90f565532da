//! Length-prefixed frames with descriptors over a Unix stream socket (control.proto).
//!
//! Descriptors come with the first byte of the frame that names them, so their order is that of the frames. Those of one
//! frame stay together: where a process has no room for some, no other frame gets what is left of them.

use crate::protocol::{Committed, Frame, frame};
use bytes::{Buf, BytesMut};
use prost::Message;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Largest frame: one resource, in practice under 2 MiB.
const FRAME_BYTES_MAX: usize = 32 << 20;
/// SCM_MAX_FD of the kernel.
const DESCRIPTORS_MAX: usize = 253;
const READ_BYTES: usize = 64 << 10;
/// Why a change is not taken of which a descriptor did not get here.
pub const NO_DESCRIPTOR: &str =
    "no file descriptor is left: raise the limit of open files (ulimit -n, LimitNOFILE=)";

/// Reassembles frames. Descriptors that no frame takes are closed with the reader.
#[derive(Default)]
pub struct FrameReader {
    bytes: BytesMut,
    /// Of each frame with some: what the kernel could give us.
    descriptors: VecDeque<Vec<OwnedFd>>,
}

/// What a read of the socket gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    Some,
    /// Nothing for now (non-blocking sockets).
    Nothing,
    End,
}

impl FrameReader {
    /// Reads once.
    pub fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<Fill> {
        let start = self.bytes.len();
        self.bytes.resize(start + READ_BYTES, 0);
        let result = receive(socket, &mut self.bytes[start..], &mut self.descriptors);
        self.bytes.truncate(start + *result.as_ref().unwrap_or(&0));
        match result {
            Ok(0) => Ok(Fill::End),
            Ok(_) => Ok(Fill::Some),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Fill::Nothing),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Fill::Nothing),
            Err(error) => Err(error),
        }
    }

    /// The next complete frame. Err: the bytes are none; the connection is of no use any more.
    pub fn take(&mut self) -> io::Result<Option<frame::Frame>> {
        let Some((length, rest)) = self.bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::other(format!("frame of {length} bytes")));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let mut content = self.bytes.split_to(4 + length).freeze();
        content.advance(4);
        // Payloads are parts of what was read: no memory of their own among what is kept for long.
        let frame = Frame::decode(content).map_err(io::Error::other)?;
        frame.frame.map(Some).ok_or_else(|| io::Error::other("frame without content"))
    }

    /// Reads until a frame is complete (blocking sockets). None: the other side is gone.
    pub fn wait(&mut self, socket: BorrowedFd<'_>) -> io::Result<Option<frame::Frame>> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            if self.fill(socket)? == Fill::End {
                return Ok(None);
            }
        }
    }

    /// The descriptors of the frame that was read last. None: this process has no room for them (EMFILE).
    pub fn take_descriptors(&mut self, count: usize) -> io::Result<Option<Vec<OwnedFd>>> {
        if count == 0 {
            return Ok(Some(Vec::new()));
        }
        let came = self.descriptors.pop_front();
        let came = came.ok_or_else(|| io::Error::other("a frame came without its descriptor"))?;
        Ok((came.len() == count).then_some(came))
    }
}

impl Committed {
    /// The answer to a commit of which a descriptor did not get here.
    pub fn lacking_descriptors(sequence: u64) -> Self {
        Self { sequence, shortage: NO_DESCRIPTOR.to_owned(), ..Self::default() }
    }
}

/// A frame as it goes over the wire.
pub fn encode(frame: frame::Frame) -> Vec<u8> {
    let frame = Frame { frame: Some(frame) };
    let length = frame.encoded_len();
    let mut bytes = Vec::with_capacity(4 + length);
    bytes.extend_from_slice(&(length as u32).to_le_bytes());
    // Cannot fail: a Vec grows.
    let _ = frame.encode(&mut bytes);
    bytes
}

pub fn send(socket: BorrowedFd<'_>, frame: frame::Frame, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    send_encoded(socket, &encode(frame), descriptors)
}

/// Sends whole; blocks.
pub fn send_encoded(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        let attached = if sent == 0 { descriptors } else { &[] };
        match transmit(socket, &bytes[sent..], attached) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Room for a control message with the most descriptors, aligned as the kernel wants it.
const CONTROL_WORDS: usize = 4 + DESCRIPTORS_MAX.div_ceil(2);

fn receive(
    socket: BorrowedFd<'_>,
    room: &mut [u8],
    descriptors: &mut VecDeque<Vec<OwnedFd>>,
) -> io::Result<usize> {
    let mut control = [0u64; CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: a zeroed msghdr is valid; all pointers in it are to locals that outlive the call.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        let count = libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC);
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut header = libc::CMSG_FIRSTHDR(&message);
        let mut came = Vec::new();
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<i32>();
                for index in 0..bytes / size_of::<i32>() {
                    came.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&message, header);
        }
        // One read ends behind the descriptors of one frame (unix(7)); what there is no room for is cut off.
        if !came.is_empty() || message.msg_flags & libc::MSG_CTRUNC != 0 {
            descriptors.push_back(came);
        }
        Ok(count as usize)
    }
}

fn transmit(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut control = [0u64; CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    if descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::Error::other("too many descriptors for one frame"));
    }
    let raw: Vec<i32> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let raw_bytes = size_of_val(raw.as_slice());
    // SAFETY: as in `receive`; the control room holds the most descriptors.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        if !raw.is_empty() {
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(raw_bytes as u32) as _;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(raw_bytes as u32) as _;
            std::ptr::copy_nonoverlapping(raw.as_ptr().cast::<u8>(), libc::CMSG_DATA(header), raw_bytes);
        }
        let count = libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL);
        if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Commit, Put, Resource};
    use proptest::prelude::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn frames_and_descriptors_arrive_in_order() {
        let (left, right) = UnixStream::pair().unwrap();
        let put = |name: &str| {
            let resource =
                Resource { name: name.into(), payload: vec![7; 100_000].into(), ..Resource::default() };
            frame::Frame::Put(Put { resource: Some(resource), descriptor: true })
        };
        let sender = std::thread::spawn(move || {
            let stdin = std::io::stdin();
            send(left.as_fd(), put("a"), &[stdin.as_fd()]).unwrap();
            send(left.as_fd(), frame::Frame::Commit(Commit { sequence: 9, ..Commit::default() }), &[])
                .unwrap();
            send(left.as_fd(), put("b"), &[stdin.as_fd(), left.as_fd()]).unwrap();
        });
        let mut reader = FrameReader::default();
        let mut names = Vec::new();
        while let Some(frame) = reader.wait(right.as_fd()).unwrap() {
            match frame {
                frame::Frame::Put(put) => {
                    let name = put.resource.unwrap().name;
                    let count = if name == "a" { 1 } else { 2 };
                    assert_eq!(reader.take_descriptors(count).unwrap().unwrap().len(), count);
                    names.push(name);
                }
                frame::Frame::Commit(commit) => names.push(commit.sequence.to_string()),
                _ => unreachable!(),
            }
        }
        sender.join().unwrap();
        assert_eq!(names, ["a", "9", "b"]);
        assert!(reader.take_descriptors(1).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_frames_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let mut reader = FrameReader { bytes: bytes[..].into(), ..FrameReader::default() };
            for _ in 0..256 {
                match reader.take() {
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => break,
                }
            }
        }
    }
}
