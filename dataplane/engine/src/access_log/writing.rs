//! The threads that write log lines: one for standard output and error, one that hands lines to the agent, which owns
//! files and connections. Each has a bounded queue: a slow reader of the one does not hold up the other, and no worker.
//!
//! To the agent, over a Unix stream socket that the engine connects to: u32 little-endian length of what follows, u16
//! length of the sink's name, the name, the lines.

use super::loggers::Sink;
use crate::metrics::{Counter, WorkerMetrics};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Buffers that may wait for a slow reader: 64 x 64 KiB are some 15,000 lines.
const BUFFERS_WAITING_MAX: usize = 64;
/// An agent that is away is asked for this often.
const RECONNECT_DELAY: Duration = Duration::from_millis(500);
/// An agent that takes nothing for so long has lost its connection.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Whole lines of one sink.
pub struct Batch {
    pub sink: Sink,
    pub lines: u64,
    pub bytes: Vec<u8>,
}

/// The workers' end: one clone each.
#[derive(Clone)]
pub struct Writers {
    streams: SyncSender<Batch>,
    agent: SyncSender<Batch>,
}

impl Writers {
    /// False: the queue is full, the batch is lost.
    pub fn submit(&self, batch: Batch) -> bool {
        let queue = if matches!(batch.sink, Sink::Agent(_)) { &self.agent } else { &self.streams };
        queue.try_send(batch).is_ok()
    }
}

/// Starts the threads; they end when all `Writers` are gone and everything is written. `socket`: the agent's.
pub fn start(socket: Option<PathBuf>, metrics: WorkerMetrics) -> io::Result<(Writers, Vec<JoinHandle<()>>)> {
    let (streams, stream_batches) = sync_channel(BUFFERS_WAITING_MAX);
    let (agent, agent_batches) = sync_channel(BUFFERS_WAITING_MAX);
    let spawn =
        |name: &str, body: Box<dyn FnOnce() + Send>| thread::Builder::new().name(name.into()).spawn(body);
    let threads = vec![
        spawn("log-streams", Box::new(move || write_streams(&stream_batches)))?,
        spawn("log-agent", Box::new(move || write_agent(&agent_batches, socket.as_deref(), &metrics)))?,
    ];
    Ok((Writers { streams, agent }, threads))
}

fn write_streams(batches: &Receiver<Batch>) {
    while let Ok(batch) = batches.recv() {
        // A closed stream is nothing that serving should suffer from.
        let _ = match batch.sink {
            Sink::Stderr => io::stderr().write_all(&batch.bytes),
            _ => io::stdout().write_all(&batch.bytes),
        };
    }
}

fn write_agent(batches: &Receiver<Batch>, socket: Option<&Path>, metrics: &WorkerMetrics) {
    let mut link = Link { socket, stream: None, failed: None };
    while let Ok(batch) = batches.recv() {
        let Sink::Agent(name) = &batch.sink else { continue };
        let mut frame = Vec::with_capacity(batch.bytes.len() + name.len() + 6);
        frame.extend_from_slice(&((2 + name.len() + batch.bytes.len()) as u32).to_le_bytes());
        frame.extend_from_slice(&(name.len() as u16).to_le_bytes());
        frame.extend_from_slice(name.as_bytes());
        frame.extend_from_slice(&batch.bytes);
        if !link.send(&frame) {
            metrics.add(Counter::AccessLogDropped, batch.lines);
        }
    }
}

struct Link<'a> {
    socket: Option<&'a Path>,
    stream: Option<UnixStream>,
    failed: Option<Instant>,
}

impl Link<'_> {
    /// A frame that was cut off ends its connection, so that the agent never reads the rest of one as the next.
    fn send(&mut self, frame: &[u8]) -> bool {
        if self.stream.is_none() && self.failed.is_none_or(|failed| failed.elapsed() >= RECONNECT_DELAY) {
            self.stream = self.socket.and_then(|socket| connect(socket).ok());
            self.failed = self.stream.is_none().then(Instant::now);
        }
        let Some(stream) = self.stream.as_mut() else { return false };
        let sent = stream.write_all(frame).is_ok();
        if !sent {
            self.stream = None;
            self.failed = Some(Instant::now());
        }
        sent
    }
}

fn connect(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(SEND_TIMEOUT))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    #[test]
    fn the_agent_reads_whole_frames_and_what_it_misses_is_counted() {
        let folder = std::env::temp_dir().join(format!("zeroserve-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("log.sock");
        let metrics = WorkerMetrics::detached().unwrap();
        let batch = |text: &str| Batch {
            sink: Sink::Agent("file:a".into()),
            lines: 1,
            bytes: text.as_bytes().to_vec(),
        };
        let (writers, threads) = start(Some(path.clone()), metrics.clone()).unwrap();
        assert!(writers.submit(batch("lost\n")));
        while metrics.get(Counter::AccessLogDropped) == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        let listener = UnixListener::bind(&path).unwrap();
        thread::sleep(RECONNECT_DELAY);
        assert!(writers.submit(batch("one\n")) && writers.submit(batch("two\n")));
        drop(writers);
        let mut read = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"\x0c\0\0\0\x06\0file:aone\n\x0c\0\0\0\x06\0file:atwo\n");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
