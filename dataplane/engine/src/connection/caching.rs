//! Kept answers between a proxy call and its upstream (`crate::cache`): looks, waits for whoever fetches the same, asks
//! upstreams whether what is kept still holds, sends what is kept, and says so by Cache-Status (RFC 9211).
//!
//! Rule: a request that no kept answer may serve goes up as if there were no cache, but for conditions and ranges where
//! the whole answer is wanted; one that may be served costs its upstream nothing.

use super::responding::Origin;
use super::{Phase, Serving, Waiting};
use crate::cache::directives::Directives;
use crate::cache::filling::{Filling, joined};
use crate::cache::freshness::{self, Asked, Received, Use};
use crate::cache::kept::{Kept, keep_fields};
use crate::cache::store::{Fetch, Found, Key, begin_fetch, store};
use crate::cache::{CacheRow, WantedCache};
use crate::error::{Failure, Fault};
use crate::exchange::{Body, Exchange, ResponseHead, StaticAnswer};
use crate::limits::{CACHE_PASS_MS, CACHE_WAIT_MS, QUEUE_POLL_MS};
use crate::metrics::Counter;
use crate::ring::{Io, SocketId};
use crate::snapshot::VirtualHost;
use crate::worker::Worker;
use std::sync::Arc;

/// What the cache has to do with an exchange whose request goes up.
pub struct Caching {
    wanted: Box<WantedCache>,
    /// Where answers are looked for, by the fields that they vary by; `primary` is without them.
    key: Key,
    primary: Key,
    asked: Asked,
    /// To be validated, or to take an error's place.
    stale: Option<Arc<Kept>>,
    fetch: Option<Fetch>,
    wait_until_ms: u64,
    asked_ms: u64,
    /// `Store::purges` then.
    purges: u64,
    /// Why the request goes up, in the words of RFC 9211.
    forward: &'static str,
    /// A method that may change what is kept: a good answer to it forgets the key (RFC 9111 4.4).
    invalidates: bool,
    /// What is sent in the place of the upstream's answer, and its Cache-Status.
    instead: Option<(Arc<Kept>, String)>,
}

/// What becomes of an upstream's answer.
pub enum Verdict {
    Pass,
    /// The client has it already.
    NotModified,
    /// What is kept takes its place.
    Instead,
}

/// What a look led to.
enum Look {
    /// To the upstream.
    Forward,
    Wait,
    Send(Arc<Kept>, String),
    /// As `Send`, and a new one is fetched meanwhile.
    SendAndRefresh(Arc<Kept>, Box<Caching>),
    Purge,
    Refuse(u16),
}

impl Worker {
    /// A request comes to its upstream. True: it is answered, or waits; `retry_due` asks again then.
    pub fn ask_cache<I: Io>(&mut self, io: &mut I, client: SocketId) -> bool {
        let now_ms = self.now_ms();
        let Some(down) = self.downstream(client) else { return false };
        let serving = &mut down.serving;
        let (Some(host), Some(exchange)) = (serving.host.clone(), down.exchange.as_mut()) else {
            return false;
        };
        match look(serving, exchange, &host, now_ms) {
            Look::Forward => {
                self.metrics.add(Counter::CacheForwarded, 1);
                return false;
            }
            Look::Wait => {
                serving.waiting = Waiting::Fetch;
                self.set_downstream_deadline(client, now_ms + QUEUE_POLL_MS);
            }
            Look::Send(kept, note) => {
                self.metrics.add(Counter::CacheHits, 1);
                self.send_kept_answer(io, client, &kept, &note);
            }
            Look::SendAndRefresh(kept, caching) => {
                self.metrics.add(Counter::CacheStale, 1);
                self.refresh(io, client, caching);
                let note = format!("hit; ttl={}", seconds(kept.lifetime.fresh_ms_at(now_ms)));
                self.send_kept_answer(io, client, &kept, &note);
            }
            Look::Purge => self.purge(io, client),
            Look::Refuse(status) => self.answer_error(io, client, status, "the cache has no answer"),
        }
        true
    }

    fn purge<I: Io>(&mut self, io: &mut I, client: SocketId) {
        let Some(down) = self.downstream(client) else { return };
        let caching = down.serving.caching.take();
        let allowed = caching.as_ref().is_some_and(|caching| {
            let client = down.exchange.as_ref().map(|exchange| exchange.client());
            client.is_some_and(|client| caching.row().purgers.contains(client))
        });
        let status = match caching.filter(|_| allowed) {
            None => 403,
            Some(caching) if store().purge_key(&caching.primary) => 204,
            Some(_) => 404,
        };
        self.send_written(io, client, |worker, out| {
            worker.write_answer_head(client, Origin::Static(StaticAnswer::Bare(status)), out);
            worker.write_answer_end(client, out);
        });
        self.finish_exchange(io, client);
    }

    /// Fetches a new answer by a copy of the request.
    fn refresh<I: Io>(&mut self, io: &mut I, client: SocketId, mut caching: Box<Caching>) {
        let Some(fetch) = begin_fetch(&caching.key) else { return };
        caching.fetch = Some(fetch);
        let Some(row) = self.downstream(client).map(|down| down.serving.row) else { return };
        let Some(copy) = self.copy_request(client) else { return };
        if let Some(down) = self.downstream(copy) {
            down.serving.caching = Some(caching);
        }
        self.start_proxy(io, copy, row);
    }

    /// The upstream's head decided that what is kept is sent: the upstream's connection goes its way.
    pub fn answer_instead<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId, clean: bool) {
        // The body of an error that nobody wants may be on its way yet.
        let is_whole = self.upstream(upstream).is_some_and(|up| up.body.is_done());
        self.give_back(io, client, upstream, clean && is_whole);
        let Some(down) = self.downstream(client) else { return };
        let instead = down.serving.caching.take().and_then(|mut caching| caching.instead.take());
        match instead {
            Some((kept, note)) if !down.serving.is_copy => {
                self.metrics.add(Counter::CacheValidated, 1);
                self.send_kept_answer(io, client, &kept, &note);
            }
            _ => self.finish_exchange(io, client),
        }
    }

    /// The upstream failed: what is kept may take the place of an error (RFC 5861 4).
    pub fn answer_by_stale<I: Io>(&mut self, io: &mut I, client: SocketId, failure: Failure) -> bool {
        let now_ms = self.now_ms();
        let Some(down) = self.downstream(client) else { return false };
        let serving = &mut down.serving;
        serving.filling = None;
        let hopeless = serving.answered || serving.is_copy || down.phase != Phase::Serving;
        if hopeless || failure.fault() == Fault::Client {
            return false;
        }
        let Some(caching) = serving.caching.take() else { return false };
        let Some(kept) = caching.stale.as_ref().filter(|kept| kept.lifetime.serves_errors(now_ms)) else {
            return false;
        };
        self.metrics.add(Counter::CacheStale, 1);
        self.send_kept_answer(io, client, kept, &format!("fwd={}; detail=stale-if-error", caching.forward));
        true
    }
}

impl Serving {
    /// An upstream's head is here. Callers ask only where `caching` is something.
    pub fn judge_kept(
        &mut self,
        exchange: &mut Exchange,
        head: &ResponseHead,
        body: Body,
        (now_ms, unix_ms): (u64, u64),
    ) -> Verdict {
        let judges_answers = self.judges_answers();
        let Some(caching) = self.caching.as_deref_mut() else { return Verdict::Pass };
        if caching.invalidates {
            if (200..400).contains(&head.status) {
                store().remove(&caching.primary);
            }
            return Verdict::Pass;
        }
        let received = Received {
            status: head.status,
            fields: head.headers,
            unix_ms,
            monotonic_ms: now_ms,
            delay_ms: now_ms.saturating_sub(caching.asked_ms),
        };
        if caching.takes_place(&received, judges_answers) {
            return Verdict::Instead;
        }
        let note = format!("fwd={}; fwd-status={}", caching.forward, head.status);
        let kept = freshness::judge(&received, caching.asked, &caching.row().defaults);
        let stored = match kept {
            Ok(lifetime) => {
                let kept = Kept {
                    status: head.status,
                    reason: head.reason.into(),
                    fields: keep_fields(head.headers),
                    body: Arc::new([]),
                    lifetime,
                };
                let length = if let Body::Length(length) = body { Some(length) } else { None };
                let request = exchange.request.clone();
                let body_bytes_max = caching.row().body_bytes_max;
                let (key, fetch) = (caching.primary.clone(), (caching.fetch.take(), caching.purges));
                let held = caching.row().filling.piece();
                self.filling =
                    Some(Box::new(Filling::new(key, request, kept, body_bytes_max, length, fetch, held)));
                "; stored"
            }
            Err(_) => {
                caching.give_up(head.status, now_ms);
                ""
            }
        };
        exchange.answer.push_checked(b"Cache-Status", format!("{NAME}; {note}{stored}").as_bytes());
        let validators = exchange.validators_of(head.headers);
        match head.status == 200 && exchange.judge_conditions(validators) == Condition::NotModified {
            true => Verdict::NotModified,
            false => Verdict::Pass,
        }
    }
}

impl Caching {
    fn row(&self) -> &CacheRow {
        self.wanted.row()
    }

    /// 304 about what is kept, or an error that it may take the place of.
    fn takes_place(&mut self, received: &Received, judges_answers: bool) -> bool {
        let Some(stale) = self.stale.as_ref() else { return false };
        let now_ms = received.monotonic_ms;
        let note = format!("fwd={}; fwd-status={}", self.forward, received.status);
        let is_error = matches!(received.status, 500 | 502 | 503 | 504);
        if is_error && !judges_answers && stale.lifetime.serves_errors(now_ms) {
            self.instead = Some((Arc::clone(stale), format!("{note}; detail=stale-if-error")));
            self.fetch = None;
            return true;
        }
        if received.status != 304 || !stale.is_meant_by(received.fields) {
            return false;
        }
        let fresh = stale.freshened(received.fields, stale.lifetime);
        let fields: Vec<_> = fresh.fields.iter().collect();
        // Its age is what the 304 says, not what the old answer had.
        let seen = Received { status: stale.status, fields: &fields, ..*received };
        let fresh = match freshness::judge(&seen, self.asked, &self.row().defaults) {
            Ok(lifetime) => {
                let fresh = Arc::new(stale.freshened(received.fields, lifetime));
                if store().purges(&self.key) == self.purges {
                    store().replace(&self.key, Arc::clone(&fresh));
                }
                fresh
            }
            Err(_) => {
                store().remove(&self.key);
                Arc::clone(stale)
            }
        };
        self.instead = Some((fresh, note));
        self.fetch = None;
        true
    }

    /// The answer is not kept: for a while nobody waits for the next one, unless it is for this request alone.
    fn give_up(&mut self, status: u16, now_ms: u64) {
        self.fetch = None;
        let is_of_request = self.asked.authorized || self.asked.no_store;
        let keeps_stale = status >= 500 && self.stale.is_some();
        if !is_of_request && !keeps_stale {
            store().pass(&self.key, now_ms + CACHE_PASS_MS);
        }
    }

    /// Conditions and ranges are the cache's to judge: the upstream gets ours, about what is kept, or none.
    pub fn condition_head(&self, head: &mut Vec<u8>) {
        if self.invalidates || self.asked.no_store {
            return;
        }
        let mut lines = Vec::with_capacity(head.len() + 128);
        for line in head.split_inclusive(|&byte| byte == b'\n') {
            let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
            let ours = CONDITIONS.iter().any(|condition| condition.eq_ignore_ascii_case(name));
            if !ours && line != b"\r\n" {
                lines.extend_from_slice(line);
            }
        }
        for (validator, condition) in
            [(&b"etag"[..], &b"If-None-Match: "[..]), (b"last-modified", b"If-Modified-Since: ")]
        {
            if let Some(value) = self.stale.as_ref().and_then(|kept| kept.fields.get(validator)) {
                lines.extend_from_slice(condition);
                lines.extend_from_slice(value);
                lines.extend_from_slice(b"\r\n");
            }
        }
        lines.extend_from_slice(b"\r\n");
        *head = lines;
    }
}

/// The name of this cache in Cache-Status.
pub(super) const NAME: &str = "zeroserve";
const CONDITIONS: [&[u8]; 4] = [b"if-none-match", b"if-modified-since", b"range", b"if-range"];

pub use super::sending_kept::Condition;

pub(super) fn seconds(milliseconds: i64) -> i64 {
    milliseconds.div_euclid(1000)
}

/// Finds what serves the request, or prepares its way up.
fn look(serving: &mut Serving, exchange: &mut Exchange, host: &VirtualHost, now_ms: u64) -> Look {
    // A copy that refreshes has what it needs already.
    let Some(wanted) = exchange.cache.clone().filter(|_| !serving.is_copy) else { return Look::Forward };
    let earlier = serving.caching.take();
    let call = host.proxy(serving.row);
    // What the route reads answers for (forward_auth above all) is about this request alone.
    if call.response_entry != 0 || serving.upgrade.is_some() || serving.fastcgi {
        return Look::Forward;
    }
    let primary = key_of(exchange, host, serving.row, &wanted);
    let mut caching = Box::new(Caching {
        purges: store().purges(&primary),
        key: primary.clone(),
        primary,
        asked: Asked { authorized: wanted.authorized, no_store: false },
        wanted,
        stale: None,
        fetch: None,
        wait_until_ms: earlier.as_ref().map_or(now_ms + CACHE_WAIT_MS, |caching| caching.wait_until_ms),
        asked_ms: now_ms,
        forward: "uri-miss",
        invalidates: false,
        instead: None,
    });
    let method = (&exchange.original_method[..], exchange.method());
    let reads = serving.bodiless && exchange.replaced_body.is_none();
    match method {
        (b"GET", b"GET") | (b"HEAD", b"HEAD") if reads => {}
        (b"PURGE", _) if !caching.row().purgers.is_empty() => {
            serving.caching = Some(caching);
            return Look::Purge;
        }
        _ => {
            caching.invalidates = !is_safe(method.1);
            exchange.answer.push_checked(b"Cache-Status", format!("{NAME}; fwd=method").as_bytes());
            serving.caching = Some(caching).filter(|caching| caching.invalidates);
            return Look::Forward;
        }
    }
    look_up(serving, exchange, caching, now_ms, earlier.is_some())
}

fn look_up(
    serving: &mut Serving,
    exchange: &mut Exchange,
    mut caching: Box<Caching>,
    now_ms: u64,
    waited: bool,
) -> Look {
    let mut asked = Directives::read(exchange.request.all(b"cache-control"));
    if exchange.request.get(b"pragma").is_some_and(|pragma| pragma.eq_ignore_ascii_case(b"no-cache")) {
        asked.no_cache |= !exchange.request.contains(b"cache-control");
    }
    caching.asked.no_store = asked.no_store;
    let found = store().find(&caching.primary, now_ms, |name| joined(&exchange.request, name));
    let mut may_wait = !(caching.asked.authorized || asked.no_store);
    match found {
        Found::Kept(key, kept) => {
            caching.key = key;
            match kept.lifetime.judge(&asked, now_ms) {
                Use::Fresh if waited => return Look::Send(kept, "fwd=uri-miss; collapsed".to_owned()),
                Use::Fresh => {
                    let left_s = seconds(kept.lifetime.fresh_ms_at(now_ms));
                    return Look::Send(kept, format!("hit; ttl={left_s}"));
                }
                Use::WhileRevalidate if exchange.method() == b"GET" => {
                    (caching.forward, caching.stale) = ("stale", Some(Arc::clone(&kept)));
                    return Look::SendAndRefresh(kept, caching);
                }
                Use::WhileRevalidate => return Look::Send(kept, "hit".to_owned()),
                Use::Validate => {
                    let is_stale = kept.lifetime.fresh_ms_at(now_ms) <= 0;
                    caching.forward = if is_stale { "stale" } else { "request" };
                    caching.stale = Some(kept).filter(|kept| kept.has_validator() || is_stale);
                }
            }
        }
        Found::Passing(key) => {
            caching.key = key;
            may_wait = false;
        }
        Found::Nothing { key, varies } => {
            caching.key = key;
            caching.forward = if varies { "vary-miss" } else { "uri-miss" };
        }
    }
    if asked.only_if_cached {
        return Look::Refuse(504);
    }
    let partial = exchange.request.contains(b"range") && caching.stale.is_none();
    let bound = exchange.request.contains(b"if-match") || exchange.request.contains(b"if-unmodified-since");
    if exchange.method() == b"HEAD" || partial || bound || asked.no_store {
        let note = format!("{NAME}; fwd={}; detail=not-kept", caching.forward);
        exchange.answer.push_checked(b"Cache-Status", note.as_bytes());
        return Look::Forward;
    }
    if may_wait {
        caching.fetch = begin_fetch(&caching.key);
        if caching.fetch.is_none() && now_ms < caching.wait_until_ms {
            serving.caching = Some(caching);
            return Look::Wait;
        }
    }
    serving.caching = Some(caching);
    Look::Forward
}

/// Begins with what belongs to one tenant. Texts are told apart by their lengths.
fn key_of(exchange: &Exchange, host: &VirtualHost, row: u32, wanted: &WantedCache) -> Key {
    let mut key = Vec::with_capacity(128);
    let mut push = |text: &[u8]| {
        key.extend_from_slice(&(text.len() as u32).to_le_bytes());
        key.extend_from_slice(text);
    };
    push(&wanted.row().tenant);
    push(host.name.as_bytes());
    push(host.proxy(row).cluster.name.as_bytes());
    push(&row.to_le_bytes());
    match &wanted.key {
        Some(text) => push(text),
        None => {
            push(exchange.scheme().as_bytes());
            push(&exchange.authority().to_ascii_lowercase());
            let mut uri = Vec::new();
            exchange.write_uri(&mut uri);
            push(&uri);
        }
    }
    key.into()
}

/// RFC 9110 9.2.1 and the registry's: methods that change nothing.
fn is_safe(method: &[u8]) -> bool {
    matches!(
        method,
        b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PROPFIND" | b"REPORT" | b"SEARCH" | b"QUERY"
    )
}
