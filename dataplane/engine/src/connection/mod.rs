//! Client connections: their phases and what they hold. The behaviour is in the submodules, all of it methods of
//! `Worker`, called from the ring's events:
//!
//! `accepting` a socket, PROXY header and TLS -> `receiving` heads and bodies -> `deciding` by the host's program ->
//! `proxying` to an endpoint, `buffering` before it, `retrying` -> `answering` from the upstream -> `intercepting` by the program, where it
//! asked to see answers -> `responding`, the one way of every answer to the client -> `ending` the exchange and then
//! the connection. `timing` watches over all of it, `resting` over what is idle.
//!
//! Rule: a connection serves one request at a time; pipelined bytes wait in `input`, bounded. HTTP/2 is
//! `multiplexing` (a connection) and `streams` (requests that look like connections of their own to all others).

pub mod accepting;
pub mod answering;
mod attempting;
mod bodies;
pub mod buffering;
pub mod caching;
pub mod calling;
pub mod cgi;
pub mod deciding;
pub mod ending;
pub mod filing;
mod greeting;
mod hedging;
pub mod including;
mod informing;
pub mod intercepting;
mod limiting;
pub mod mirroring;
pub mod multiplexing;
pub mod pacing;
mod plugging;
pub mod proxying;
pub mod receiving;
mod redirecting;
pub mod responding;
mod resting;
pub mod retrying;
pub mod sending_kept;
pub mod sharing;
mod streaming;
pub mod streams;
mod switching;
mod templating;
pub mod timing;
mod trailing;
pub mod tunnelling;

use self::intercepting::HeldAnswer;
use crate::access_log::errors::RequestError;
use crate::cache::filling::Filling;
use crate::error::Failure;
use crate::exchange::filtering::BodyFilters;
use crate::exchange::{Exchange, Peer};
use crate::http1::body::BodyDecoder;
use crate::http1::head::HeadScanner;
use crate::http2::Multiplex;
use crate::limits::{
    IDLE_PER_ENDPOINT_MAX, REQUEST_HEAD_BYTES_MAX, RESPONSE_HEAD_TIMEOUT_MS, UPSTREAM_IDLE_TIMEOUT_MS,
    UPSTREAM_READ_TIMEOUT_MS, UPSTREAM_WRITE_TIMEOUT_MS,
};
use crate::ring::SocketId;
use crate::snapshot::{Bounds, ClientPace, EndpointKey, Place, ProxyPolicy, Standing, Ticket, VirtualHost};
use crate::timers::Wheel;
use crate::tls::Session;
use crate::tls::policies::TlsPolicy;
use std::net::SocketAddr;
use std::sync::Arc;
use streams::StreamLink;

/// Where a client connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waits for the PROXY protocol's header, or for what shows that there is none.
    ProxyHeader(ProxyPolicy),
    /// Waits for the bytes that tell a request from TLS, where requests are redirected.
    Beginning,
    /// Waits for the ClientHello, whose name finds the policy or the stream.
    Hello,
    Handshake,
    /// Waits for a request head: idle where `input` is empty.
    Head,
    /// One exchange is under way.
    Serving,
    /// HTTP/2: exchanges are on streams, each with a `Downstream` of its own.
    Multiplex,
    /// After 101: bytes pass unread.
    Tunnel,
    /// Our side is finished; what still comes is dropped, so that no reset destroys the answer.
    Lingering,
    /// Everything is written; the socket closes when the kernel took it.
    Closing,
}

/// A deadline that is cheap to move: the wheel holds an entry at or before it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deadline {
    pub at_ms: u64,
    armed_ms: u64,
}

impl Deadline {
    /// Moves the deadline; `key` and `generation` come back when it is due.
    pub fn set(&mut self, wheel: &mut Wheel, key: u32, generation: u32, at_ms: u64) {
        self.at_ms = at_ms;
        if self.armed_ms == 0 || at_ms < self.armed_ms {
            self.armed_ms = at_ms;
            wheel.arm(key, generation, at_ms);
        }
    }

    /// True where the entry that fired is the armed one and the deadline has really come; else it is armed again.
    pub fn is_due(&mut self, wheel: &mut Wheel, entry: crate::timers::Entry, now_ms: u64) -> bool {
        if entry.deadline_ms != self.armed_ms {
            return false;
        }
        self.armed_ms = 0;
        if self.at_ms <= now_ms {
            return true;
        }
        let at_ms = self.at_ms;
        self.set(wheel, entry.key, entry.generation, at_ms);
        false
    }
}

/// What an exchange waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing yet: the program decides.
    Decision,
    /// The password pool, then the program at this entry.
    Password(u32),
    /// A token of the shared rate limit of this row, then the program at this entry.
    Token { row: u32, entry: u32 },
    /// A body that has to be here before the upstream is asked.
    Body,
    /// All of the body, then the program at this entry.
    ReadBody(u32),
    /// The beginning of the request's body, for a plugin.
    PluginBody(plugging::Peek),
    /// The answer to a plugin's own request, then the program at this entry.
    PluginFetch(u32),
    /// The file pool, to serve by this.
    File(filing::Serve),
    /// The file pool, then the program at this entry.
    FileMatch(u32),
    /// The file pool, which evaluates the answer as a template.
    Page,
    /// A connection to the endpoint; no byte of the body is taken before.
    Upstream,
    /// The time between two attempts.
    Retry,
    /// Room for one more request at its cluster.
    Room,
    /// The delay of a fault, then the program at this entry.
    Pause(u32),
    /// Somebody else's fetch of the same answer.
    Fetch,
    /// The request goes up, the answer comes down.
    Answer,
}

/// A ClientHello that was read before its handshake.
pub struct Greeting {
    pub server_name: Option<Box<str>>,
    pub policy: Option<Arc<TlsPolicy>>,
    /// Empty where nothing asks for it.
    pub ja4: Box<str>,
}

/// What the cluster says about an attempt, taken when its endpoint was chosen.
#[derive(Clone, Copy, Debug)]
pub struct AttemptLimits {
    pub write_timeout_ms: u64,
    pub response_head_timeout_ms: u64,
    pub read_timeout_ms: u64,
    pub keepalive_timeout_ms: u64,
    /// Idle connections that a worker keeps to one endpoint.
    pub idle_max: usize,
}

impl Default for AttemptLimits {
    fn default() -> AttemptLimits {
        AttemptLimits {
            write_timeout_ms: UPSTREAM_WRITE_TIMEOUT_MS,
            response_head_timeout_ms: RESPONSE_HEAD_TIMEOUT_MS,
            read_timeout_ms: UPSTREAM_READ_TIMEOUT_MS,
            keepalive_timeout_ms: UPSTREAM_IDLE_TIMEOUT_MS,
            idle_max: IDLE_PER_ENDPOINT_MAX,
        }
    }
}

/// One exchange of a connection.
pub struct Serving {
    pub body: BodyDecoder,
    pub body_bytes: u64,
    pub body_bytes_max: u64,
    pub length: Option<u64>,
    pub chunked: bool,
    /// The upstream speaks FastCGI.
    pub fastcgi: bool,
    /// No request: bytes pass unread.
    pub stream: bool,
    /// What of the body had to be here before the upstream was asked; all of it is kept to be sent again.
    pub buffered: Vec<u8>,
    pub head_method: bool,
    pub replayable: bool,
    /// Nothing of the request is lost once it was sent: a repeated one is whole.
    pub bodiless: bool,
    pub http_minor: u8,
    /// The client's wish, and later our decision, to keep the connection.
    pub persistent: bool,
    pub expects_continue: bool,
    /// The protocol that the client asked to switch to, and what of it the attempt asks its upstream for.
    pub upgrade: Option<Box<[u8]>>,
    pub switch: Option<Box<[u8]>>,
    pub host: Option<Arc<VirtualHost>>,
    pub row: u32,
    pub in_error_routes: bool,
    pub waiting: Waiting,
    pub upstream: Option<SocketId>,
    pub limits: AttemptLimits,
    pub tried: Vec<EndpointKey>,
    pub attempts: u32,
    /// Among the requests that its cluster has under way, where those are bounded.
    pub place: Option<Place>,
    /// Waits for room, until when.
    pub ticket: Option<(Ticket, u64)>,
    /// Retries end here, where the cluster says so.
    pub attempts_until_ms: u64,
    pub last_failure: Option<Failure>,
    /// Where the outcome of the attempt is reported.
    pub standing: Option<Arc<Standing>>,
    /// The first attempt, while a second one is under way, and second attempts so far.
    pub rival: Option<Box<hedging::Rival>>,
    pub hedges: u8,
    /// `Set-Cookie` of the endpoint chosen.
    pub sticky: Option<Box<[u8]>>,
    /// A tunnel ends then.
    pub stream_until_ms: u64,
    /// All of the request's body has to be here, all of the answer has to be sent.
    pub request_until_ms: u64,
    pub answer_until_ms: u64,
    /// The answer's head was written.
    pub answered: bool,
    /// The answer's body is re-framed as chunks.
    pub answer_chunked: bool,
    /// A body filter failed: the connection ends in the middle of the answer.
    pub cut_off: bool,
    /// What the answer's body passes before it is framed.
    pub filters: BodyFilters,
    /// The answer that the program sees before the client does.
    pub held: Option<Box<HeldAnswer>>,
    /// The head of an answer whose body its caller has went out.
    pub begun: bool,
    /// Times that an endpoint did not take the request up.
    pub refusals: u8,
    /// Proxy calls so far, each of which may have attempts.
    pub proxy_calls: u8,
    /// The upstream gets none of the client's body on this connection: it gets no body, or another one.
    pub withholds_body: bool,
    /// What went up was HEAD: the answer has no body, whatever the client asked for.
    pub asks_head: bool,
    /// Body bytes wait because the upstream does not take them.
    pub blocked: bool,
    /// The file that is being sent.
    pub file: Option<Box<crate::files::answering::Sending>>,
    /// The answer that is held back, to be evaluated as a template.
    pub page: Option<Box<templating::Page>>,
    /// What the cache has to do with it, what is kept of its answer, and the kept answer that is being sent.
    pub caching: Option<Box<caching::Caching>>,
    pub filling: Option<Box<Filling>>,
    pub kept: Option<Box<sending_kept::SendingKept>>,
    /// `bandwidth`.
    pub pace: Option<Box<pacing::Pace>>,
    pub started_ns: u64,
    pub status: u16,
    pub response_bytes: u64,
    /// For the access log: of a body that HEAD left out, Content-Length where a handler has it, and what kind of answer.
    pub withheld_bytes: u64,
    pub told_length: Option<u64>,
    pub unhandled: bool,
    pub aborted: bool,
    pub untyped: bool,
    pub upstream_address: Option<SocketAddr>,
    pub reason: &'static str,
    /// The newest error, and those whose error routes led to it.
    pub error: Option<Box<RequestError>>,
    /// HTTP/2: bytes of the header block at the front of what is sent next.
    pub head_block: usize,
    /// HTTP/2: what is sent next is the last.
    pub answer_ended: bool,
    /// The answer's trailers: a header block of HTTP/2, or lines.
    pub trailers: Vec<u8>,
    /// The trailer section of the upstream's last chunk, so far.
    pub trailer_lines: Vec<u8>,
    /// The client takes trailers.
    pub takes_trailers: bool,
    /// A copy for a mirror: its answer goes nowhere.
    pub is_copy: bool,
    /// A request of a page: its answer goes there.
    pub inclusion: Option<Box<including::Inclusion>>,
    /// The page that waits for such a request.
    pub including: Option<Box<crate::templating::Question>>,
}

/// Progress at the start of the windows that are judged at their ends, which come together unless the listener says
/// otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    pub sent: u64,
    pub body_bytes: u64,
    pub was_pending: bool,
    pub was_expecting_body: bool,
    pub sent_since_ms: u64,
    pub body_since_ms: u64,
}

/// A client connection.
pub struct Downstream {
    pub generation: u32,
    pub peer: Peer,
    pub is_tls: bool,
    pub session: Option<Session>,
    /// What the ClientHello told, until the handshake ends.
    pub greeting: Option<Box<Greeting>>,
    pub phase: Phase,
    pub input: Vec<u8>,
    pub scanner: HeadScanner,
    pub blank_lines: u8,
    /// `advance` is on the stack: whoever ends the exchange must not call it again.
    pub advancing: bool,
    pub paused: bool,
    /// Between two requests, no byte of the next one yet.
    pub idle: bool,
    /// The client sent FIN or close_notify.
    pub finished: bool,
    pub deadline: Deadline,
    pub window: Window,
    pub lingered_bytes: u32,
    pub exchange: Option<Box<Exchange>>,
    pub serving: Serving,
    /// A connection that speaks HTTP/2.
    pub multiplex: Option<Box<Multiplex>>,
    /// This is a stream of one.
    pub stream: Option<Box<StreamLink>>,
    /// In `Worker::marked`.
    pub marked: bool,
    /// Of its listener, in place of the engine's own.
    pub bounds: Option<Arc<Bounds>>,
}

impl Default for Serving {
    fn default() -> Serving {
        Serving {
            body: BodyDecoder::Empty,
            body_bytes: 0,
            body_bytes_max: u64::MAX,
            length: None,
            chunked: false,
            fastcgi: false,
            stream: false,
            buffered: Vec::new(),
            head_method: false,
            replayable: false,
            bodiless: false,
            http_minor: 1,
            persistent: false,
            expects_continue: false,
            upgrade: None,
            switch: None,
            host: None,
            row: 0,
            in_error_routes: false,
            waiting: Waiting::Decision,
            upstream: None,
            limits: AttemptLimits::default(),
            tried: Vec::new(),
            attempts: 0,
            place: None,
            ticket: None,
            attempts_until_ms: u64::MAX,
            last_failure: None,
            standing: None,
            rival: None,
            hedges: 0,
            sticky: None,
            stream_until_ms: u64::MAX,
            request_until_ms: u64::MAX,
            answer_until_ms: u64::MAX,
            answered: false,
            answer_chunked: false,
            cut_off: false,
            filters: BodyFilters::default(),
            held: None,
            begun: false,
            refusals: 0,
            proxy_calls: 0,
            withholds_body: false,
            asks_head: false,
            blocked: false,
            file: None,
            page: None,
            caching: None,
            filling: None,
            kept: None,
            pace: None,
            started_ns: 0,
            status: 0,
            response_bytes: 0,
            withheld_bytes: 0,
            told_length: None,
            unhandled: false,
            aborted: false,
            untyped: false,
            upstream_address: None,
            reason: "",
            error: None,
            head_block: 0,
            answer_ended: false,
            trailers: Vec::new(),
            trailer_lines: Vec::new(),
            takes_trailers: false,
            is_copy: false,
            inclusion: None,
            including: None,
        }
    }
}

impl Serving {
    /// All of the request was read.
    pub fn request_done(&self) -> bool {
        self.body.is_done()
    }

    /// Nothing of it is for the cache any more.
    pub fn leave_cache(&mut self) {
        (self.caching, self.filling, self.kept) = (None, None, None);
        self.pace = None;
    }

    /// When it is over, done or not.
    pub fn until_ms(&self) -> u64 {
        match self.upload_done() {
            true => self.answer_until_ms,
            false => self.answer_until_ms.min(self.request_until_ms),
        }
    }

    /// All that the upstream is to get of the request was handed over.
    pub fn upload_done(&self) -> bool {
        self.withholds_body || self.request_done()
    }
}

impl Downstream {
    /// What the client has to move of a request's body, and what of an answer.
    pub fn paces(&self) -> (ClientPace, ClientPace) {
        self.bounds.as_ref().map_or_else(Default::default, |bounds| (bounds.body_pace, bounds.answer_pace))
    }

    /// A tunnel's client sends nothing more, and all that it sent went on.
    pub fn is_spent(&self) -> bool {
        self.finished && self.input.is_empty() && !self.serving.blocked
    }

    pub fn head_bytes_max(&self) -> usize {
        self.bounds.as_ref().map_or(REQUEST_HEAD_BYTES_MAX, |bounds| bounds.head_bytes_max)
    }

    pub fn new(generation: u32, peer: Peer, phase: Phase, is_tls: bool) -> Downstream {
        Downstream {
            generation,
            peer,
            is_tls,
            session: None,
            greeting: None,
            phase,
            input: Vec::new(),
            scanner: HeadScanner::default(),
            blank_lines: 0,
            advancing: false,
            paused: false,
            idle: false,
            finished: false,
            deadline: Deadline::default(),
            window: Window::default(),
            lingered_bytes: 0,
            exchange: None,
            serving: Serving::default(),
            multiplex: None,
            stream: None,
            marked: false,
            bounds: None,
        }
    }
}
