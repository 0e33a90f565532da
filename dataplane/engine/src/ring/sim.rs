//! Simulated backend: everything that a kernel may do to a worker, chosen by a seed. Reads come in pieces, writes are
//! taken in pieces, completions of different sockets are reordered, time jumps only when nothing else can happen.
//!
//! Here is how it works. Every connection is a `Link` with a queue in each direction. `turn` performs a few of
//! the possible events at random and then the worker's `on_turn`. The test plays all remote ends: it opens clients,
//! answers upstream connections, sends, finishes, resets and stalls. Sockets that are watched (datagrams) are real ones on
//! loopback; when the worker hears of them is simulated. One seed replays one run exactly.

mod random;

use super::{Close, End, FileSent, Handler, Io, SocketId, datagrams};
use crate::exchange::Clock;
use crate::limits::{PENDING_OUTPUT_BYTES_LOW, RECEIVE_BUFFER_BYTES};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub use random::Random;

/// A remote end that the test plays; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Remote(pub usize);

/// What happens to connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachability {
    Accepts,
    Refuses,
    /// Neither answer nor refusal.
    Silent,
}

#[derive(Default)]
struct Link {
    socket: u32,
    listener: Option<(u32, SocketAddr)>,
    address: Option<SocketAddr>,
    connecting: bool,
    /// The worker may use the socket.
    open: bool,
    closing: bool,
    gone: bool,
    paused: bool,
    /// Bytes that were read before the pause and are still to be delivered, and the end behind them.
    in_flight: usize,
    notify: bool,
    shutdown: bool,
    ended: bool,
    broken: bool,
    /// The remote does not read.
    stalled: bool,
    inbound: VecDeque<u8>,
    /// No piece ends after so many bytes of `inbound`.
    joint: Option<usize>,
    finished: bool,
    reset: bool,
    out: Vec<u8>,
    sent: u64,
    received: Vec<u8>,
    received_end: bool,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Accept,
    Connect,
    Deliver,
    Ending,
    Take,
    Drained,
    Closed,
    /// Of a watched socket, by its key.
    Readable,
}

/// The backend.
pub struct Sim {
    pub random: Random,
    links: Vec<Link>,
    /// Worker's slot to link.
    slots: Vec<usize>,
    free: Vec<u32>,
    reachability: HashMap<SocketAddr, Reachability>,
    connected: VecDeque<(Remote, SocketAddr)>,
    /// By their keys, in order: a seed decides between them.
    watched: BTreeMap<u32, OwnedFd>,
    clock: Clock,
    accepting: bool,
    /// Accepts that the kernel was asked for before `set_accepting` said no.
    late: usize,
    pub sockets_max: u32,
    pub stopped: bool,
    pub woken: bool,
    /// The most output that ever waited on one socket at the end of a turn.
    pub pending_peak: usize,
}

impl Sim {
    pub fn new(seed: u64) -> Sim {
        Sim {
            random: Random(seed),
            links: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            reachability: HashMap::new(),
            connected: VecDeque::new(),
            watched: BTreeMap::new(),
            clock: Clock { monotonic_ns: 1_000_000_000, unix_ms: 1_700_000_000_000 },
            accepting: true,
            late: 0,
            sockets_max: 1024,
            stopped: false,
            woken: false,
            pending_peak: 0,
        }
    }

    /// A client dials a listener.
    pub fn dial(&mut self, listener: u32, from: SocketAddr) -> Remote {
        self.links.push(Link { listener: Some((listener, from)), ..Link::default() });
        Remote(self.links.len() - 1)
    }

    pub fn reach(&mut self, address: SocketAddr, reachability: Reachability) {
        self.reachability.insert(address, reachability);
    }

    /// The next upstream connection that was established, to be played by the test.
    pub fn take_connected(&mut self) -> Option<(Remote, SocketAddr)> {
        self.connected.pop_front()
    }

    pub fn send(&mut self, remote: Remote, bytes: &[u8]) {
        self.links[remote.0].inbound.extend(bytes);
    }

    /// The remote sends both at once: the last byte of the first comes with the first of the second.
    pub fn send_joined(&mut self, remote: Remote, first: &[u8], second: &[u8]) {
        self.send(remote, first);
        self.links[remote.0].joint = Some(self.links[remote.0].inbound.len());
        self.send(remote, second);
    }

    /// The remote sends FIN after what it has sent.
    pub fn finish(&mut self, remote: Remote) {
        self.links[remote.0].finished = true;
    }

    /// The remote resets: bytes under way in both directions may be lost.
    pub fn reset(&mut self, remote: Remote) {
        self.links[remote.0].reset = true;
    }

    pub fn stall(&mut self, remote: Remote, stalled: bool) {
        self.links[remote.0].stalled = stalled;
    }

    pub fn take_received(&mut self, remote: Remote) -> Vec<u8> {
        std::mem::take(&mut self.links[remote.0].received)
    }

    /// The worker read all that the remote had sent.
    pub fn was_read(&self, remote: Remote) -> bool {
        self.links[remote.0].inbound.is_empty()
    }

    /// The worker finished or closed its side, and all that it had sent arrived.
    pub fn received_end(&self, remote: Remote) -> bool {
        let link = &self.links[remote.0];
        link.received_end || link.gone
    }

    /// For whoever looks for a fault: accepting, and each link that is not gone.
    pub fn describe(&self) -> String {
        let live = self.links.iter().enumerate().filter(|(_, link)| !link.gone);
        let shown = live.map(|(index, link)| {
            let flags = [
                ("open", link.open),
                ("connecting", link.connecting),
                ("closing", link.closing),
                ("paused", link.paused),
                ("ended", link.ended),
                ("finished", link.finished),
                ("stalled", link.stalled),
                ("reset", link.reset),
                ("shutdown", link.shutdown),
            ];
            let set: Vec<_> = flags.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
            let (inbound, out) = (link.inbound.len(), link.out.len());
            format!("{index} {:?} in {inbound} out {out} {}", link.address, set.join(" "))
        });
        let lines: Vec<String> = shown.collect();
        format!("accepting: {}, of {} sockets:\n{}", self.accepting, self.sockets_max, lines.join("\n"))
    }

    /// Connections that the worker has not let go of.
    pub fn open_links(&self) -> usize {
        self.links.iter().filter(|link| link.open && !link.gone).count()
    }

    pub fn now_ms(&self) -> u64 {
        self.clock.monotonic_ns / 1_000_000
    }

    pub fn advance_ms(&mut self, milliseconds: u64) {
        self.clock.monotonic_ns += milliseconds * 1_000_000;
        self.clock.unix_ms += milliseconds;
    }

    /// A few random events, then the handler's turn. None: nothing could happen; Some(wait): the handler's answer.
    pub fn turn<H: Handler<Sim>>(&mut self, handler: &mut H) -> (bool, Option<u64>) {
        let mut happened = std::mem::take(&mut self.woken);
        if happened {
            handler.on_wake(self);
        }
        let budget = 1 + self.random.below(8);
        for _ in 0..budget {
            let events = self.possible();
            if events.is_empty() {
                break;
            }
            match events[self.random.below(events.len())] {
                (key, Event::Readable) => handler.on_readable(self, key as u32),
                (link, event) => self.perform(handler, link, event),
            }
            happened = true;
        }
        if self.late > 0 {
            happened = true;
            // The kernel cancels them some time.
            self.late *= usize::from(!self.random.chance(20));
        }
        let tick = u64::from(self.random.chance(10));
        self.advance_ms(tick);
        let wait_ms = handler.on_turn(self);
        let pending = self.links.iter().map(|link| link.out.len()).max().unwrap_or(0);
        self.pending_peak = self.pending_peak.max(pending);
        // A timer may have closed the last socket: the kernel has to say so yet.
        let comes = wait_ms.is_none() && !self.possible().is_empty();
        (happened || comes, wait_ms)
    }

    fn possible(&self) -> Vec<(usize, Event)> {
        let readable = self.watched.iter().filter(|(_, socket)| datagrams::is_readable(socket.as_fd()));
        let mut events: Vec<_> = readable.map(|(key, _)| (*key as usize, Event::Readable)).collect();
        let open = self.links.iter().filter(|link| link.open && !link.gone).count();
        for (index, link) in self.links.iter().enumerate() {
            if link.gone {
                continue;
            }
            let accepting = self.accepting || self.late > 0;
            if !link.open && link.listener.is_some() && accepting && (open as u32) < self.sockets_max {
                events.push((index, Event::Accept));
            }
            if !link.open {
                continue;
            }
            let reach = link.address.map_or(Reachability::Accepts, |address| self.reachability_of(address));
            if link.connecting && reach != Reachability::Silent && !link.closing {
                events.push((index, Event::Connect));
            }
            let live = !link.connecting && !link.closing;
            let comes = !link.paused || link.in_flight > 0;
            if live && !link.ended && comes && !link.inbound.is_empty() {
                events.push((index, Event::Deliver));
            }
            let fin = link.finished && link.inbound.is_empty() && !link.ended && comes;
            if live && !link.broken && (fin || link.reset) {
                events.push((index, Event::Ending));
            }
            if !link.connecting && (!link.out.is_empty() || link.shutdown) && (!link.stalled || link.reset) {
                events.push((index, Event::Take));
            }
            if live && link.notify && link.out.len() <= PENDING_OUTPUT_BYTES_LOW {
                events.push((index, Event::Drained));
            }
            if link.closing && (link.out.is_empty() || link.connecting) {
                events.push((index, Event::Closed));
            }
        }
        events
    }

    fn reachability_of(&self, address: SocketAddr) -> Reachability {
        self.reachability.get(&address).copied().unwrap_or(Reachability::Refuses)
    }

    fn perform<H: Handler<Sim>>(&mut self, handler: &mut H, index: usize, event: Event) {
        let socket = SocketId(self.links[index].socket);
        match event {
            Event::Accept => {
                let Some((listener, from)) = self.links[index].listener else { return };
                self.late = self.late.saturating_sub(1);
                let socket = self.allocate(index);
                let local = SocketAddr::from(([127, 0, 0, 1], 80));
                handler.on_accept(self, socket, listener, from, local);
            }
            Event::Connect => {
                let Some(address) = self.links[index].address else { return };
                let connected = self.reachability_of(address) == Reachability::Accepts;
                let link = &mut self.links[index];
                link.connecting = false;
                link.ended = !connected;
                link.broken = !connected;
                if connected {
                    self.connected.push_back((Remote(index), address));
                }
                handler.on_connect(self, socket, connected);
            }
            Event::Deliver => self.deliver(handler, index, socket),
            Event::Ending => {
                let link = &mut self.links[index];
                let end = if link.reset { End::Reset } else { End::Finished };
                link.ended = true;
                link.broken = link.reset;
                handler.on_end(self, socket, end);
            }
            Event::Take => {
                let some = 1 + self.random.below(self.links[index].out.len().max(1));
                let all = self.random.chance(50);
                let link = &mut self.links[index];
                let count = if all { link.out.len() } else { some.min(link.out.len()) };
                link.sent += count as u64;
                // What is written after the end is lost.
                link.received.extend_from_slice(if link.received_end { &[] } else { &link.out[..count] });
                link.out.drain(..count);
                if link.reset {
                    link.received.clear();
                }
                if link.shutdown && link.out.is_empty() {
                    link.shutdown = false;
                    link.received_end = true;
                }
            }
            Event::Drained => {
                self.links[index].notify = false;
                handler.on_drained(self, socket);
            }
            Event::Closed => {
                let link = &mut self.links[index];
                link.gone = true;
                handler.on_closed(self, socket);
                self.free.push(socket.0);
            }
            Event::Readable => unreachable!("of no link"),
        }
    }

    fn deliver<H: Handler<Sim>>(&mut self, handler: &mut H, index: usize, socket: SocketId) {
        let whole = self.links[index].inbound.len();
        let style = self.random.below(4);
        let count = match style {
            0 => 1,
            1 => 1 + self.random.below(whole.min(40)),
            2 => 1 + self.random.below(whole),
            _ => whole,
        };
        let count = count.min(whole).min(RECEIVE_BUFFER_BYTES);
        self.links[index].in_flight = self.links[index].in_flight.saturating_sub(count);
        let joint = self.links[index].joint;
        let count = match joint == Some(count) {
            true if count > 1 => count - 1,
            true => count + 1,
            false => count,
        };
        self.links[index].joint = joint.and_then(|joint| joint.checked_sub(count)).filter(|&joint| joint > 0);
        let mut data: Vec<u8> = self.links[index].inbound.drain(..count).collect();
        handler.on_data(self, socket, &mut data);
    }

    fn allocate(&mut self, index: usize) -> SocketId {
        let socket = self.free.pop().unwrap_or(self.slots.len() as u32);
        if socket as usize == self.slots.len() {
            self.slots.push(0);
        }
        self.slots[socket as usize] = index;
        self.links[index].socket = socket;
        self.links[index].open = true;
        SocketId(socket)
    }

    fn link(&mut self, socket: SocketId) -> &mut Link {
        let index = self.slots[socket.index()];
        let link = &mut self.links[index];
        assert!(link.open && !link.gone, "the worker used {socket:?} after it was closed");
        link
    }
}

impl Io for Sim {
    fn out(&mut self, socket: SocketId) -> &mut Vec<u8> {
        let link = self.link(socket);
        assert!(!link.closing, "the worker wrote to {socket:?} after closing it");
        &mut link.out
    }

    fn pending(&self, socket: SocketId) -> usize {
        self.links[self.slots[socket.index()]].out.len()
    }

    fn sent(&self, socket: SocketId) -> u64 {
        self.links[self.slots[socket.index()]].sent
    }

    fn send_file(&mut self, _: SocketId, _: BorrowedFd<'_>, _: u64, _: usize) -> FileSent {
        FileSent::Unable
    }

    fn connect(&mut self, address: &SocketAddr) -> Option<SocketId> {
        if self.open_links() as u32 >= self.sockets_max {
            return None;
        }
        self.links.push(Link { address: Some(*address), connecting: true, ..Link::default() });
        Some(self.allocate(self.links.len() - 1))
    }

    fn shutdown(&mut self, socket: SocketId) {
        self.link(socket).shutdown = true;
    }

    fn close(&mut self, socket: SocketId, when: Close) {
        let link = self.link(socket);
        link.closing = true;
        if when == Close::Now {
            link.out.clear();
        }
    }

    fn pause(&mut self, socket: SocketId) {
        let in_flight = self.random.below(2 * RECEIVE_BUFFER_BYTES);
        let link = self.link(socket);
        (link.paused, link.in_flight) = (true, in_flight);
    }

    fn resume(&mut self, socket: SocketId) {
        self.link(socket).paused = false;
    }

    fn notify_drained(&mut self, socket: SocketId) {
        self.link(socket).notify = true;
    }

    fn listen(&mut self, _key: u32, _descriptor: OwnedFd) {}

    fn unlisten(&mut self, _key: u32) {
        self.accepting = false;
    }

    fn set_accepting(&mut self, accepting: bool) {
        self.accepting = accepting;
    }

    fn stop_accepting(&mut self) {
        self.late = self.random.below(3);
        self.accepting = false;
    }

    fn accepts_late(&self) -> bool {
        self.late > 0
    }

    fn watch(&mut self, key: u32, socket: BorrowedFd<'_>) {
        let former = self.watched.insert(key, socket.try_clone_to_owned().unwrap());
        assert!(former.is_none(), "{key:#x} is watched already");
    }

    fn unwatch(&mut self, key: u32) {
        self.watched.remove(&key);
    }

    fn sockets_max(&self) -> u32 {
        self.sockets_max
    }

    fn now(&self) -> Clock {
        self.clock
    }

    fn system_calls(&self) -> u64 {
        0
    }

    fn stop(&mut self) {
        self.stopped = true;
    }
}
