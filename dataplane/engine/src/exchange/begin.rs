//! A request's head is taken in: authority, path, client, forwarding fields of strangers dropped.

use super::answering::{Held, Wrapper};
use super::attempts::Attempts;
use super::authority::{find_host_end, normalise_authority, parse_address, strip_scheme};
use super::fields::Fields;
use super::filtering::{AnswerLength, FilterChoice};
use super::kinds::Kind;
use super::logging::{LogValue, Sent};
use super::randomness::fill_random_hex;
use super::tracing::Span;
use super::writing::KeptTarget;
use super::{Clock, ListenerId, Peer, Refuse, RequestHead, TlsInfo, paths};
use crate::cache::WantedCache;
use crate::limits;
use crate::occupancy::Occupied;
use crate::plugins::memory::Memory;
use crate::program::abi;
use crate::searching::SearchBudget;
use crate::snapshot::{BandwidthRow, EndpointRef, Settings, Tables, Trust, ValueKind};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Names and values that programs set; the last of a name counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs(Vec<(Vec<u8>, Vec<u8>)>);

impl Pairs {
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_slice())
    }
    pub fn push(&mut self, name: Vec<u8>, value: Vec<u8>) {
        self.0.push((name, value));
    }
    pub fn iter(&self) -> impl Iterator<Item = &(Vec<u8>, Vec<u8>)> {
        self.0.iter()
    }
}

/// One request and its answer. Reused: `begin` clears everything and keeps the memory.
#[derive(Clone)]
pub struct Exchange {
    pub(crate) method: Vec<u8>,
    pub(crate) original_method: Vec<u8>,
    /// As sent.
    pub(crate) target: Vec<u8>,
    /// Lower case, without a trailing dot; port as sent.
    pub(crate) authority: Vec<u8>,
    pub(crate) host_end: usize,
    /// The host in lower case, where `authority` is not (`as_caddy`).
    pub(crate) lower_host: Vec<u8>,
    /// Normalised, percent-encoded.
    /// What goes on to the upstream: normalised, or (`as_caddy`) as sent.
    pub(crate) path: Vec<u8>,
    /// The normalised path, where `path` is not it.
    pub(crate) clean_path: Vec<u8>,
    /// A rewrite wrote the path without its slash; `path` has one all the same.
    pub(crate) bare_path: bool,
    /// The configuration wrote the path as an absolute URI, of this request's host or one of its own.
    pub(crate) absolute_path: bool,
    /// What a rewrite changed, as it came.
    pub(crate) received: Option<Box<KeptTarget>>,
    pub(crate) query: Vec<u8>,
    pub(crate) has_query: bool,
    pub(crate) encoded_slash: bool,
    /// A program's change made a request that may not be forwarded.
    pub(crate) refused: Option<&'static str>,
    /// A text was cut at its bound: what it was for must not happen.
    pub(crate) outgrown: Cell<bool>,
    /// What searches by patterns may still cost.
    pub(crate) searches: SearchBudget,
    /// Placeholders of maps filled in so far.
    pub(crate) mapped_values: Cell<u32>,
    /// Without Host.
    pub(crate) request: Fields,
    /// What programs set on the answer, before it is there.
    pub(crate) answer: Fields,
    /// What the answer passes before it is written, outermost handler first.
    pub(crate) wrappers: Vec<Wrapper>,
    /// Whose answer the program sees now, and its status.
    pub(crate) held: Held,
    pub(crate) held_status: u16,
    /// The latest upstream's answer as it came, end-to-end fields and Content-Length.
    pub(crate) upstream_fields: Fields,
    /// The answer as `intercept` found it.
    pub(crate) intercepted_fields: Fields,
    pub(crate) intercepted_status: u16,
    /// What `set_status` gave; 0 where its text was no status.
    pub(crate) chosen_status: Option<u16>,
    /// What `request_body` put in the place of the client's body.
    pub(crate) replaced_body: Option<Vec<u8>>,
    /// The request's body, where a program asked for it.
    pub(crate) read_body: Option<Vec<u8>>,
    /// Forwarding fields of a peer that the settings do not trust: some proxy calls do.
    pub(crate) told: Fields,
    /// The proxy call whose response header changes apply.
    pub(crate) answering_call: Option<(Arc<Tables>, u32)>,
    /// What may filter the answer's body, outermost handler first.
    pub(crate) filter_choices: Vec<Arc<dyn FilterChoice>>,
    /// Rows of Tables.templates that may evaluate the answer, outermost handler first.
    pub(crate) templates: Vec<(Arc<Tables>, u32)>,
    /// For filter choices: what is known of the body.
    pub(crate) answer_length: AnswerLength,
    pub(crate) variables: Pairs,
    pub(crate) captures: Pairs,
    /// What `vars` set as numbers and booleans, by name; the last counts.
    pub(crate) variable_kinds: Vec<(Vec<u8>, ValueKind)>,
    /// Rows of Tables.maps that define placeholders.
    pub(crate) maps: Vec<(Arc<Tables>, u32)>,
    /// Fields of the log line, and rows of such that are evaluated when it is written.
    pub(crate) log_values: Vec<(Vec<u8>, LogValue)>,
    pub(crate) log_rows: Vec<(Arc<Tables>, u32)>,
    /// Spans of `tracing`, the outermost handler's first.
    pub(crate) spans: Vec<Span>,
    /// The request as it came, where it is logged as Caddy does.
    pub(crate) sent: Option<Box<Sent>>,
    /// The request's UUID was asked for: Caddy logs it then.
    pub(crate) shows_uuid: Cell<bool>,
    /// Rows of Tables.steps as they were reached, of a request that is explained.
    pub(crate) steps: Option<Vec<u32>>,
    /// What the answer and the log line tell of them.
    pub(crate) explanation: Vec<u8>,
    pub(crate) scratch: Fields,
    pub(crate) writing_answer: bool,
    pub(crate) listener: ListenerId,
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) client: IpAddr,
    pub(crate) tls: Option<TlsInfo>,
    pub(crate) trusted: bool,
    pub(crate) as_caddy: bool,
    /// `OPTIONS *`: about the server, not about a resource (RFC 9110 9.3.7).
    pub(super) asks_server: bool,
    pub(crate) external_port: u16,
    pub(crate) upstream: Option<EndpointRef>,
    pub(crate) attempts: Attempts,
    /// The line of the access log is being written.
    pub(crate) is_over: Cell<bool>,
    pub(crate) upstream_host: bool,
    pub(crate) upstream_status: u16,
    /// Set while the program is asked whether a failed attempt may be repeated.
    pub(crate) transport_error: bool,
    pub(crate) http_minor: u8,
    pub(crate) request_id: [u8; 32],
    pub(crate) status: u16,
    pub(crate) resume_result: u32,
    pub(crate) request_body_bytes_max: Option<u64>,
    /// What `cache` wants of the next proxy call.
    pub(crate) cache: Option<Box<WantedCache>>,
    /// What `bandwidth` allows its answer.
    pub(crate) bandwidth: Option<BandwidthRow>,
    /// Places that `concurrency` gave it.
    pub(crate) places: Vec<Arc<Occupied>>,
    /// What plugins made of it, or wait for.
    pub(crate) plugins: Memory,
    pub(crate) now: Clock,
}

const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Exchange {
    pub fn new() -> Self {
        Self {
            method: Vec::new(),
            original_method: Vec::new(),
            target: Vec::new(),
            authority: Vec::new(),
            host_end: 0,
            lower_host: Vec::new(),
            path: Vec::new(),
            clean_path: Vec::new(),
            bare_path: false,
            absolute_path: false,
            received: None,
            query: Vec::new(),
            has_query: false,
            encoded_slash: false,
            refused: None,
            outgrown: Cell::new(false),
            searches: SearchBudget::default(),
            mapped_values: Cell::new(0),
            request: Fields::default(),
            answer: Fields::default(),
            wrappers: Vec::new(),
            held: Held::Nothing,
            held_status: 0,
            upstream_fields: Fields::default(),
            intercepted_fields: Fields::default(),
            intercepted_status: 0,
            chosen_status: None,
            replaced_body: None,
            read_body: None,
            told: Fields::default(),
            answering_call: None,
            filter_choices: Vec::new(),
            templates: Vec::new(),
            answer_length: AnswerLength::Whole(0),
            variables: Pairs::default(),
            captures: Pairs::default(),
            variable_kinds: Vec::new(),
            maps: Vec::new(),
            log_values: Vec::new(),
            log_rows: Vec::new(),
            spans: Vec::new(),
            sent: None,
            shows_uuid: Cell::new(false),
            steps: None,
            explanation: Vec::new(),
            scratch: Fields::default(),
            writing_answer: false,
            listener: ListenerId(0),
            remote: NOWHERE,
            local: NOWHERE,
            client: NOWHERE.ip(),
            tls: None,
            trusted: false,
            as_caddy: false,
            asks_server: false,
            external_port: 0,
            upstream: None,
            attempts: Attempts::default(),
            is_over: Cell::new(false),
            upstream_host: false,
            upstream_status: 0,
            transport_error: false,
            http_minor: 1,
            request_id: [b'0'; 32],
            status: 0,
            resume_result: 0,
            request_body_bytes_max: None,
            cache: None,
            bandwidth: None,
            places: Vec::new(),
            plugins: Memory::default(),
            now: Clock::default(),
        }
    }

    /// Takes a parsed head. Err: the request is answered with that status and its connection closed.
    pub fn begin(
        &mut self,
        head: &RequestHead,
        peer: &Peer,
        settings: &Settings,
        now: Clock,
    ) -> Result<(), Refuse> {
        self.clear();
        self.take_peer(peer, now);
        self.as_caddy = settings.as_caddy;
        self.http_minor = head.http_minor;
        self.method.extend_from_slice(head.method);
        self.original_method.extend_from_slice(head.method);
        self.target.extend_from_slice(head.target);
        let trust = settings.trust(peer.listener);
        self.take_fields(head, trust)?;
        let path = self.take_authority(head)?;
        self.take_path(path, settings)?;
        self.client = self.find_client(trust);
        self.take_request_id();
        Ok(())
    }

    /// A connection without a request; `name` is what its ClientHello asked for.
    pub fn begin_stream(&mut self, name: &[u8], peer: &Peer, settings: &Settings, now: Clock) {
        self.clear();
        self.take_peer(peer, now);
        self.as_caddy = settings.as_caddy;
        self.method.extend_from_slice(b"STREAM");
        self.authority.extend_from_slice(name);
        self.lower_host.extend_from_slice(name);
        self.host_end = name.len();
        self.client = self.find_client(settings.trust(peer.listener));
        self.take_request_id();
    }

    fn clear(&mut self) {
        self.plugins = Memory::default();
        self.cache = None;
        self.bandwidth = None;
        self.places.clear();
        for buffer in [
            &mut self.method,
            &mut self.original_method,
            &mut self.target,
            &mut self.authority,
            &mut self.path,
            &mut self.clean_path,
            &mut self.lower_host,
            &mut self.query,
        ] {
            buffer.clear();
        }
        self.host_end = 0;
        self.has_query = false;
        self.encoded_slash = false;
        self.bare_path = false;
        self.absolute_path = false;
        self.received = None;
        self.refused = None;
        self.outgrown.set(false);
        self.searches = SearchBudget::default();
        self.mapped_values.set(0);
        self.request.clear();
        self.answer.clear();
        self.wrappers.clear();
        self.held = Held::Nothing;
        self.held_status = 0;
        self.upstream_fields.clear();
        self.intercepted_fields.clear();
        self.intercepted_status = 0;
        self.chosen_status = None;
        self.replaced_body = None;
        self.read_body = None;
        self.told.clear();
        self.answering_call = None;
        self.filter_choices.clear();
        self.templates.clear();
        self.variables.0.clear();
        self.captures.0.clear();
        self.variable_kinds.clear();
        self.maps.clear();
        self.steps = None;
        self.explanation.clear();
        self.log_values.clear();
        self.log_rows.clear();
        self.spans.clear();
        self.sent = None;
        self.shows_uuid.set(false);
        self.writing_answer = false;
        self.upstream = None;
        self.attempts = Attempts::default();
        self.is_over.set(false);
        self.upstream_status = 0;
        self.status = 0;
        self.resume_result = 0;
        self.request_body_bytes_max = None;
    }

    fn take_peer(&mut self, peer: &Peer, now: Clock) {
        self.listener = peer.listener;
        self.remote = SocketAddr::new(peer.remote.ip().to_canonical(), peer.remote.port());
        self.local = SocketAddr::new(peer.local.ip().to_canonical(), peer.local.port());
        self.tls.clone_from(&peer.tls);
        self.trusted = peer.trusted;
        self.external_port = if peer.external_port == 0 { peer.local.port() } else { peer.external_port };
        self.now = now;
    }

    /// Copies the fields but Host; what strangers may not say about themselves is left out.
    fn take_fields(&mut self, head: &RequestHead, trust: &Trust) -> Result<(), Refuse> {
        let mut hosts = 0;
        for field in head.headers {
            match Kind::of(field.name) {
                Kind::Host => {
                    hosts += 1;
                    self.authority.clear();
                    self.authority.extend_from_slice(field.value);
                }
                Kind::Forwarding if !self.trusted => {
                    self.told.push_checked(field.name, field.value);
                    // A Caddyfile that asks for them by name sees them, as in Caddy; none of them goes up.
                    if self.as_caddy && trust.takes_field(field.name, || head.count(field.name)) {
                        self.request.push_checked(field.name, field.value);
                    }
                }
                Kind::Dropped => {}
                _ if !trust.takes_field(field.name, || head.count(field.name)) => {}
                _ => self.request.push_checked(field.name, field.value),
            }
        }
        if hosts > 1 {
            return Err(Refuse { status: 400, reason: "more than one Host field" });
        }
        if hosts == 0 && head.http_minor > 0 {
            return Err(Refuse { status: 400, reason: super::HOST_MISSING });
        }
        Ok(())
    }

    /// One authority: that of an absolute target wins and Host must agree (RFC 9112 3.2.2). Returns path and query.
    fn take_authority<'a>(&mut self, head: &RequestHead<'a>) -> Result<&'a [u8], Refuse> {
        let refuse = |status, reason| Err(Refuse { status, reason });
        let mut path = head.target;
        normalise_authority(&mut self.authority, self.as_caddy)?;
        if head.method == b"CONNECT" {
            return refuse(405, "CONNECT is not offered");
        }
        self.asks_server = path == b"*" && head.method == b"OPTIONS";
        if self.asks_server {
            path = b"/";
        } else if path.first() != Some(&b'/') {
            let Some(rest) = strip_scheme(path) else { return refuse(400, "malformed request target") };
            let end = memchr::memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len());
            let mut authority = rest[..end].to_vec();
            normalise_authority(&mut authority, self.as_caddy)?;
            if authority.is_empty() || (!self.authority.is_empty() && !self.same_authority(&authority)) {
                return refuse(400, "Host and request target disagree");
            }
            self.authority = authority;
            path = &rest[end..];
        }
        // A URI without a host is none (RFC 9110 4.2.1); HTTP/1.0 has no need of one.
        if self.authority.is_empty() && head.http_minor > 0 {
            return refuse(400, super::HOST_EMPTY);
        }
        self.host_end = find_host_end(&self.authority);
        if self.as_caddy && self.authority[..self.host_end].iter().any(u8::is_ascii_uppercase) {
            self.lower_host.extend(self.authority[..self.host_end].iter().map(u8::to_ascii_lowercase));
        }
        Ok(path)
    }

    /// Equal, or equal but for the scheme's default port.
    fn same_authority(&self, other: &[u8]) -> bool {
        fn cut(text: &[u8]) -> &[u8] {
            text.strip_suffix(b":80").or_else(|| text.strip_suffix(b":443")).unwrap_or(text)
        }
        cut(&self.authority).eq_ignore_ascii_case(cut(other))
    }

    fn take_path(&mut self, raw: &[u8], settings: &Settings) -> Result<(), Refuse> {
        let (path, query) = match memchr::memchr(b'?', raw) {
            Some(at) => (&raw[..at], Some(&raw[at + 1..])),
            None => (raw, None),
        };
        let path = if path.is_empty() { b"/" } else { path };
        let found =
            paths::normalise(path, &mut self.path).map_err(|reason| Refuse { status: 400, reason })?;
        if self.path.len() > abi::PATH_BYTES_MAX as usize || raw.len() > limits::REQUEST_TARGET_BYTES_MAX {
            return Err(Refuse { status: 414, reason: "request path too long" });
        }
        if found.encoded_slash && settings.strict_encoded_slash {
            return Err(Refuse { status: 400, reason: "encoded slash in path" });
        }
        self.encoded_slash = found.encoded_slash;
        self.keep_sent_path(path);
        if let Some(query) = query {
            if query.iter().any(|&byte| byte <= 0x20 || byte == 0x7f || byte == b'#') {
                return Err(Refuse { status: 400, reason: "character not allowed in query" });
            }
            self.has_query = true;
            self.query.extend_from_slice(query);
        }
        Ok(())
    }

    /// Caddy matches the normalised path and forwards the one sent, where that is well encoded (Go: URL.EscapedPath).
    pub(super) fn keep_sent_path(&mut self, sent: &[u8]) {
        self.clean_path.clear();
        if self.as_caddy && self.path != sent && paths::is_well_encoded(sent) {
            std::mem::swap(&mut self.path, &mut self.clean_path);
            self.path.clear();
            self.path.extend_from_slice(sent);
        }
    }

    /// The normalised path: what routes, policies and files go by.
    pub fn matched_path(&self) -> &[u8] {
        if self.clean_path.is_empty() { &self.path } else { &self.clean_path }
    }

    /// Who the client is by the word of a trusted peer; else the peer.
    ///
    /// The last address that is no trusted proxy; in a Caddyfile without `trusted_proxies_strict` the first one that is
    /// an address (caddyhttp/server.go trustedRealClientIP).
    fn find_client(&self, trust: &Trust) -> IpAddr {
        let peer = self.remote.ip();
        if !self.trusted {
            return peer;
        }
        if self.as_caddy && !trust.client_ip_strict {
            let names = trust.client_ip_fields.iter();
            let lines = names.flat_map(|name| self.request.all(name.as_bytes()));
            let mut parts = lines.flat_map(|line| line.split(|&byte| byte == b','));
            return parts.find_map(|part| parse_address(part.trim_ascii())).unwrap_or(peer);
        }
        let mut client = peer;
        for name in &trust.client_ip_fields {
            let lines: Vec<&[u8]> = self.request.all(name.as_bytes()).collect();
            for part in lines.iter().rev().flat_map(|line| line.rsplit(|&byte| byte == b',')) {
                let Some(address) = parse_address(part.trim_ascii()) else {
                    if self.as_caddy {
                        continue;
                    }
                    break;
                };
                if !trust.proxies.contains(address) {
                    return address;
                }
                client = if self.as_caddy { peer } else { address };
            }
        }
        client
    }

    fn take_request_id(&mut self) {
        fill_random_hex(&mut self.request_id);
    }
}
