//! A running engine, as its supervisor sees it.

use super::Options;
use super::spawning::spawn;
use crate::frames::{self, Fill, FrameReader};
use crate::metrics::Lot;
use crate::protocol::{self, frame};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ExitStatus};

pub struct Engine {
    child: Child,
    socket: UnixStream,
    reader: FrameReader,
    lot: Lot,
    pub hello: Option<protocol::Hello>,
    /// It serves all that was committed before it started.
    pub fed: bool,
}

impl Engine {
    /// `lot`: its blocks among the shared counters.
    pub fn start(options: &Options, path: &Path, lot: usize, metrics: BorrowedFd<'_>) -> io::Result<Self> {
        let lot = Lot { index: lot, workers: options.workers };
        let (child, socket) = spawn(options, path, lot, metrics)?;
        let socket = UnixStream::from(socket as OwnedFd);
        socket.set_write_timeout(Some(super::SEND_TIMEOUT))?;
        Ok(Self { child, socket, reader: FrameReader::default(), lot, hello: None, fed: false })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its blocks of the shared counters.
    pub fn counters(&self) -> Lot {
        self.lot
    }

    pub fn lot(&self) -> usize {
        self.lot.index
    }

    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub fn send(&self, frame: frame::Frame) -> io::Result<()> {
        frames::send(self.socket.as_fd(), frame, &[])
    }

    /// Frames that one read completes. The end of the stream is no error: the process' end follows.
    pub fn read(&mut self) -> io::Result<Vec<frame::Frame>> {
        let mut frames = Vec::new();
        match self.reader.fill(self.socket.as_fd()) {
            Ok(Fill::End) => self.kill()?,
            Ok(_) => {
                while let Some(frame) = self.reader.take()? {
                    frames.push(frame);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.kill()?,
            Err(error) => return Err(error),
        }
        Ok(frames)
    }

    /// Its status, once it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// For an engine that hangs, or whose control thread is gone.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}
