//! Requests that templates make to their own site (`httpInclude`): an exchange like any other, whose answer's body is
//! collected for the page that asked.
//!
//! It is served as a stream that belongs to no connection, from 127.0.0.1 without TLS, as Caddy has it. Rule: it ends on
//! its own, within a bounded time and number, whether somebody still waits for it or not.

use super::{Downstream, Phase, Serving, Waiting};
use crate::exchange::{HeaderSpan, Peer, RequestHead};
use crate::files::pool::Task;
use crate::http2::Code;
use crate::limits::{INCLUSION_TIMEOUT_MS, INCLUSIONS_PER_WORKER_MAX, TEMPLATE_SOURCE_BYTES_MAX};
use crate::ring::{Io, SocketId};
use crate::templating::Question;
use crate::templating::inclusions::{LEVEL_FIELD, next_level, target_of};
use crate::worker::Worker;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where Caddy says that such requests come from.
const SOURCE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10_000);

/// What such a request collects, and for whom.
pub struct Inclusion {
    page: SocketId,
    generation: u32,
    uri: Box<str>,
    body: Vec<u8>,
    is_cut: bool,
    until_ms: u64,
}

impl Inclusion {
    pub fn take(&mut self, data: &[u8]) {
        let room = TEMPLATE_SOURCE_BYTES_MAX - self.body.len();
        self.is_cut |= data.len() > room;
        self.body.extend_from_slice(&data[..data.len().min(room)]);
    }
}

/// One that is over.
pub struct Ended {
    inclusion: Box<Inclusion>,
    /// None: it was cut off.
    status: Option<u16>,
}

impl Worker {
    /// A page wants the answer to `uri` before it can go on.
    pub(super) fn include<I: Io>(
        &mut self,
        io: &mut I,
        page: SocketId,
        mut question: Box<Question>,
        uri: &str,
    ) {
        let level = next_level(&question.exchange.request);
        let (Some(target), Ok(level)) = (target_of(uri), level) else {
            question.inclusions.add(uri, Err("takes a path of this site".to_owned()));
            return self.submit_file_task(io, page, Task::Evaluate(question));
        };
        if self.inclusions >= INCLUSIONS_PER_WORKER_MAX {
            question.inclusions.add(uri, Err("too many requests of pages are under way".to_owned()));
            return self.submit_file_task(io, page, Task::Evaluate(question));
        }
        let Some(client) = self.insert_inclusion(page) else { return };
        let level = level.to_string();
        let mut spans = self.scratch.take_spans();
        let exchange = &question.exchange;
        spans.push(HeaderSpan { name: b"Host", value: &exchange.authority });
        spans.extend(exchange.request.iter().filter(|field| {
            !field.name.eq_ignore_ascii_case(b"Accept-Encoding")
                && !field.name.eq_ignore_ascii_case(LEVEL_FIELD)
        }));
        spans.push(HeaderSpan { name: b"Accept-Encoding", value: b"identity" });
        spans.push(HeaderSpan { name: LEVEL_FIELD, value: level.as_bytes() });
        let head = RequestHead { method: b"GET", target: &target, http_minor: 1, headers: &spans };
        let Some(generation) = self.downstream(page).map(|down| down.generation) else { return };
        let inclusion = Inclusion {
            page,
            generation,
            uri: uri.into(),
            body: Vec::new(),
            is_cut: false,
            until_ms: self.now_ms() + INCLUSION_TIMEOUT_MS,
        };
        let serving = Serving {
            replayable: true,
            bodiless: true,
            inclusion: Some(Box::new(inclusion)),
            ..Serving::default()
        };
        self.open_exchange(io, client, &head, serving);
        self.scratch.give_spans(spans);
        if let Some(down) = self.downstream(page) {
            down.serving.waiting = Waiting::Page;
            down.serving.including = Some(question);
        }
    }

    /// A place for the request, on the listener of the page.
    fn insert_inclusion(&mut self, page: SocketId) -> Option<SocketId> {
        let generation = self.next_generation();
        let peer = &self.downstream(page)?.peer;
        let peer = Peer { remote: SOURCE, tls: None, trusted: false, ..peer.clone() };
        let client = self.take_stream_id();
        self.insert_downstream(client, Downstream::new(generation, peer, Phase::Head, false));
        self.inclusions += 1;
        Some(client)
    }

    /// A stream ended that may have been such a request.
    pub(super) fn note_inclusion(&mut self, serving: &mut Serving, code: Code) {
        let Some(inclusion) = serving.inclusion.take() else { return };
        self.inclusions -= 1;
        let status = (code == Code::None && !serving.cut_off).then_some(serving.status);
        self.ended_inclusions.push(Ended { inclusion, status });
    }

    /// Pages go on whose requests are over.
    pub fn settle_inclusions<I: Io>(&mut self, io: &mut I) {
        while let Some(Ended { inclusion, status }) = self.ended_inclusions.pop() {
            let Inclusion { page, generation, uri, body, is_cut, .. } = *inclusion;
            let Some(down) = self.downstream(page).filter(|down| down.generation == generation) else {
                continue;
            };
            let Some(mut question) = down.serving.including.take() else { continue };
            let answer = match status {
                None => Err("the answer was cut off".to_owned()),
                Some(status) if status >= 400 => Err(format!("http {status}")),
                Some(_) if is_cut => {
                    Err(format!("the answer is longer than {TEMPLATE_SOURCE_BYTES_MAX} bytes"))
                }
                Some(_) => Ok(body),
            };
            question.inclusions.add(&uri, answer);
            self.submit_file_task(io, page, Task::Evaluate(question));
        }
    }

    /// True where this is such a request and nobody waits for it, or not any longer.
    pub(super) fn is_vain(&mut self, socket: SocketId, now_ms: u64) -> bool {
        let Some(inclusion) = self.downstream(socket).and_then(|down| down.serving.inclusion.as_deref())
        else {
            return false;
        };
        let (page, generation) = (inclusion.page, inclusion.generation);
        let is_late = inclusion.is_cut || now_ms >= inclusion.until_ms;
        is_late || self.downstream(page).is_none_or(|down| down.generation != generation)
    }
}
