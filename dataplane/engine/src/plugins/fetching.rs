//! Requests of plugins to upstreams that they are granted: a small pool of threads, one connection a request.
//!
//! In: jobs of workers, which chose the endpoint. Out: `WorkerMessage::Fetched`. Rules: answers are parsed as strictly
//! as any upstream's; all of it ends by one deadline; what is too large or malformed is no answer; who gets a thread
//! is `queueing`'s matter.

use super::Upstream;
use super::memory::{Fetched, Outbound};
use super::queueing::{Queue, Turn};
use crate::control::{WorkerMessage, WorkerSender};
use crate::exchange::fields::Fields;
use crate::exchange::{Exchange, is_end_to_end};
use crate::http1::body::BodyDecoder;
use crate::http1::head::HeadScanner;
use crate::http1::{request, response};
use crate::limits::{INTERIM_BYTES_MAX, RESPONSE_HEAD_BYTES_MAX};
use crate::ring::unix_paths;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// They wait more than they work.
const THREADS: usize = 64;
/// Of an answer; larger ones are none.
const BODY_BYTES_MAX: usize = 256 << 10;
const READ_BYTES: usize = 16 << 10;

/// Where a request goes.
pub struct Route {
    /// Name of the cluster: what is slow is slow by all names that plugins have for it.
    upstream: Arc<str>,
    address: SocketAddr,
    host: Box<str>,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    timeout: Duration,
}

impl Route {
    /// None: no endpoint can be had, or none that is spoken to over TCP.
    pub fn find(upstream: &Upstream, exchange: &Exchange, now_ms: u64, timeout_ms: u64) -> Option<Self> {
        let picked = upstream.cluster.pick(exchange, &[], now_ms)?;
        let endpoint = picked.endpoint;
        if unix_paths::find(&endpoint.address).is_some() {
            return None;
        }
        let state = upstream.cluster.state();
        let tls = match state.tls.as_ref().filter(|_| !endpoint.plain) {
            None => None,
            Some(tls) => {
                let name = match &tls.server_name {
                    Some(name) => name.clone(),
                    None => ServerName::try_from(endpoint.host()).ok()?,
                };
                let mut config = (*tls.config).clone();
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
                Some((Arc::new(config), name))
            }
        };
        let host = if upstream.host.is_empty() { endpoint.hostport().into() } else { upstream.host.clone() };
        let (upstream, address) = (upstream.cluster.name.clone(), endpoint.address);
        Some(Self { upstream, address, host, tls, timeout: Duration::from_millis(timeout_ms) })
    }
}

pub struct Job {
    /// Whose plugin asks.
    pub namespace: Arc<str>,
    pub outbound: Outbound,
    pub route: Route,
    pub ticket: u64,
    pub reply: WorkerSender,
}

/// The pool's front, shared by all workers.
pub struct Fetches {
    queue: Queue<Job>,
}

impl Fetches {
    /// Starts the pool's threads.
    pub fn start() -> io::Result<Arc<Self>> {
        let fetches = Arc::new(Self { queue: Queue::default() });
        for index in 0..THREADS {
            let fetches = fetches.clone();
            thread::Builder::new().name(format!("fetch-{index}")).spawn(move || fetches.work())?;
        }
        Ok(fetches)
    }

    /// Refused where its upstream or namespace has enough under way.
    pub fn submit(&self, job: Job) -> Result<(), &'static str> {
        let (namespace, upstream) = (job.namespace.clone(), job.route.upstream.clone());
        self.queue.put(&namespace, &upstream, job)
    }

    fn work(&self) {
        loop {
            let Turn { job, tenant } = self.queue.take();
            let mut fetched = fetch(&job.outbound, &job.route).unwrap_or_else(|error| Fetched {
                failure: Some(explain(&error, &job.route).into()),
                ..Fetched::default()
            });
            let bytes = fetched.body.len() + fetched.fields.capacity();
            fetched.held = tenant.hold(bytes);
            fetched.plugin = job.outbound.plugin;
            self.queue.end(&job.namespace, &job.route.upstream);
            job.reply.send(WorkerMessage::Fetched { ticket: job.ticket, fetched: Box::new(fetched) });
        }
    }
}

fn explain(error: &io::Error, route: &Route) -> String {
    match error.kind() {
        // What a socket's own timeout gives, and what ours does.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("{} was not done within {} ms", route.address, route.timeout.as_millis())
        }
        io::ErrorKind::UnexpectedEof => format!("{} closed the connection", route.address),
        _ => format!("{}: {error}", route.address),
    }
}

/// A connection whose every wait ends by one deadline.
struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Timed {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(room)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn fetch(outbound: &Outbound, route: &Route) -> io::Result<Fetched> {
    let deadline = Instant::now() + route.timeout;
    let stream = TcpStream::connect_timeout(&route.address, route.timeout)?;
    let mut timed = Timed { stream, deadline };
    match &route.tls {
        None => exchange(&mut timed, outbound, &route.host),
        Some((config, name)) => {
            let session = ClientConnection::new(config.clone(), name.clone()).map_err(io::Error::other)?;
            exchange(&mut StreamOwned::new(session, timed), outbound, &route.host)
        }
    }
}

fn exchange(stream: &mut (impl Read + Write), outbound: &Outbound, host: &str) -> io::Result<Fetched> {
    stream.write_all(&write_request(outbound, host))?;
    stream.flush()?;
    read_answer(stream, outbound.method == b"HEAD")
}

fn write_request(outbound: &Outbound, host: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 + outbound.body.len());
    let lines = [&outbound.method[..], b" ", &outbound.target, b" HTTP/1.1\r\nHost: ", host.as_bytes()];
    lines.into_iter().for_each(|part| out.extend_from_slice(part));
    for field in outbound.fields.iter() {
        let parts = [b"\r\n", field.name, b": ", field.value];
        parts.into_iter().for_each(|part| out.extend_from_slice(part));
    }
    if !outbound.body.is_empty() || !matches!(&outbound.method[..], b"GET" | b"HEAD" | b"DELETE") {
        out.extend_from_slice(format!("\r\nContent-Length: {}", outbound.body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\nConnection: close\r\n\r\n");
    out.extend_from_slice(&outbound.body);
    out
}

fn read_answer(stream: &mut impl Read, head: bool) -> io::Result<Fetched> {
    let mut input = Vec::new();
    let mut interim_bytes = 0;
    while interim_bytes <= INTERIM_BYTES_MAX {
        let length = read_head(stream, &mut input)?;
        interim_bytes += length;
        let (mut fetched, body) = parse_head(&input[..length], head)?;
        input.drain(..length);
        if fetched.status >= 200 {
            read_body(stream, input, body, &mut fetched.body)?;
            return Ok(fetched);
        }
    }
    Err(io::Error::other("too many interim answers"))
}

fn read_head(stream: &mut impl Read, input: &mut Vec<u8>) -> io::Result<usize> {
    let mut scanner = HeadScanner::default();
    loop {
        let found =
            scanner.scan(input, RESPONSE_HEAD_BYTES_MAX).map_err(|rule| io::Error::other(rule.rule))?;
        match found {
            Some(length) => return Ok(length),
            None if read_more(stream, input)? == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            None => {}
        }
    }
}

fn read_more(stream: &mut impl Read, input: &mut Vec<u8>) -> io::Result<usize> {
    let before = input.len();
    input.resize(before + READ_BYTES, 0);
    let result = stream.read(&mut input[before..]);
    input.truncate(before + *result.as_ref().unwrap_or(&0));
    result
}

fn parse_head(head: &[u8], asked_head: bool) -> io::Result<(Fetched, BodyDecoder)> {
    let mut space = request::field_space();
    let asked = response::Asked { head: asked_head, upgrade: None };
    let parsed = response::parse(head, asked, &mut space).map_err(|rule| io::Error::other(rule.rule))?;
    let mut fields = Fields::default();
    for field in parsed.fields.iter().filter(|field| is_end_to_end(field.name.as_bytes())) {
        fields.push_checked(field.name.as_bytes(), field.value);
    }
    Ok((Fetched { status: parsed.status, fields, ..Fetched::default() }, parsed.body))
}

fn read_body(
    stream: &mut impl Read,
    mut input: Vec<u8>,
    mut decoder: BodyDecoder,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    loop {
        let mut at = 0;
        while at < input.len() && !decoder.is_done() {
            let piece = decoder.next(&input[at..]).map_err(|rule| io::Error::other(rule.rule))?;
            out.extend_from_slice(piece.body(&input[at..]));
            at += piece.consumed;
            if piece.consumed == 0 {
                break;
            }
        }
        input.drain(..at);
        if out.len() > BODY_BYTES_MAX {
            return Err(io::Error::other(format!("the body is longer than {BODY_BYTES_MAX} bytes")));
        }
        if decoder.is_done() {
            return Ok(());
        }
        match read_more(stream, &mut input) {
            Ok(0) if decoder == BodyDecoder::UntilClose => return Ok(()),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(answer: &[u8], head: bool) -> io::Result<Fetched> {
        read_answer(&mut &answer[..], head)
    }

    #[test]
    fn answers_are_read_by_their_framing() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhixx"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nX-A: b\r\n\r\nhi",
            b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhi",
        ] {
            let fetched = read(answer, false).unwrap();
            assert_eq!((fetched.status, &fetched.body[..]), (200, &b"hi"[..]));
            assert_eq!(fetched.fields.get(b"x-a"), Some(&b"b"[..]));
            assert!(!fetched.fields.contains(b"content-length"));
        }
        let head = read(b"HTTP/1.1 204 None\r\n\r\n", false).unwrap();
        assert_eq!((head.status, head.body.len()), (204, 0));
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true).unwrap().status, 200);
    }

    #[test]
    fn what_is_cut_off_malformed_or_too_large_is_no_answer() {
        let large = [&b"HTTP/1.0 200 OK\r\n\r\n"[..], &[0; BODY_BYTES_MAX + 1]].concat();
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n",
            b"HTTP/1.1 200",
            b"hello\r\n\r\n",
            &large,
        ] {
            assert!(read(answer, false).is_err());
        }
    }

    #[test]
    fn requests_say_their_length_and_end_the_connection() {
        let mut fields = Fields::default();
        fields.add(b"X-A", b"b");
        let mut outbound = Outbound {
            plugin: "p".into(),
            upstream: 0,
            method: b"POST".to_vec(),
            target: b"/x?y".to_vec(),
            fields,
            body: b"hi".to_vec(),
        };
        let written = String::from_utf8(write_request(&outbound, "h:1")).unwrap();
        let expected =
            "POST /x?y HTTP/1.1\r\nHost: h:1\r\nX-A: b\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
        assert_eq!(written, expected);
        (outbound.method, outbound.body) = (b"GET".to_vec(), Vec::new());
        assert!(!String::from_utf8(write_request(&outbound, "h")).unwrap().contains("Length"));
    }

    proptest! {
        #[test]
        fn no_answer_does_harm(answer: Vec<u8>, prefix in prop::bool::ANY) {
            let start: &[u8] = if prefix { b"HTTP/1.1 200 OK\r\n" } else { b"" };
            let _ = read(&[start, &answer].concat(), false);
        }
    }
}
