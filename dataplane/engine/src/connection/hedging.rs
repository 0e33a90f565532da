//! Hedging: where an upstream is silent for longer than its cluster wants to wait (`hedge`), another one is asked too, and
//! the first that answers serves the request.
//!
//! Rule: only requests that may be repeated and are all here have a second attempt, once, to another endpoint, within the
//! cluster's budget of retries; the attempt that lost is ended (RST_STREAM, or its connection), and one that fails while the
//! other is under way costs the request nothing.

use crate::metrics::Counter;
use crate::ring::{Io, SocketId};
use crate::snapshot::{Attempt, EndpointRef, Standing};
use crate::upstream;
use crate::worker::Worker;
use std::net::SocketAddr;
use std::sync::Arc;

/// The first attempt, while a second one is under way.
pub struct Rival {
    upstream: SocketId,
    endpoint: Option<EndpointRef>,
    standing: Option<Arc<Standing>>,
    sticky: Option<Box<[u8]>>,
    address: Option<SocketAddr>,
}

impl Worker {
    /// How long the upstream of this request may be silent before another is asked; None: it is waited for.
    pub fn hedge_after_ms(&mut self, client: SocketId) -> Option<u64> {
        let serving = &self.downstream(client)?.serving;
        let may = serving.replayable
            && serving.bodiless
            && serving.upgrade.is_none()
            && serving.hedges == 0
            && !(serving.fastcgi || serving.stream || serving.is_copy || serving.answered);
        let host = serving.host.as_ref().filter(|_| may)?;
        let after_ms = host.proxy(serving.row).cluster.state().hedge_after_ms;
        (after_ms > 0).then_some(after_ms)
    }

    /// The upstream of this client's request has been silent for so long: asks another one too, where there is one.
    pub fn hedge<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId) {
        let now_ms = self.now_ms();
        if self.hedge_after_ms(client).is_none() {
            return;
        }
        let Some(Some(down)) = self.downstreams.get_mut(client.index()) else { return };
        let (serving, Some(exchange)) = (&mut down.serving, down.exchange.as_mut()) else { return };
        let Some(host) = serving.host.as_ref().filter(|_| serving.upstream == Some(upstream)) else { return };
        let cluster = &host.proxy(serving.row).cluster;
        let Some(picked) = cluster.pick(exchange, &serving.tried, now_ms) else { return };
        if !cluster.load().take_retry(cluster.state().hedge_percent(), now_ms) {
            return self.metrics.add(Counter::UpstreamRetriesDenied, 1);
        }
        serving.hedges += 1;
        serving.attempts += 1;
        serving.rival = Some(Box::new(Rival {
            upstream,
            endpoint: exchange.upstream.clone(),
            standing: serving.standing.take(),
            sticky: serving.sticky.take(),
            address: serving.upstream_address,
        }));
        serving.upstream = None;
        self.metrics.add(Counter::UpstreamHedges, 1);
        if self.begin_attempt(io, client, picked, true).is_err() {
            self.fall_back(client);
        }
    }

    /// An answer begins: the other attempt, where there is one, has lost.
    pub fn settle_rivals<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId) {
        let Some(rival) = self.downstream(client).and_then(|down| down.serving.rival.take()) else { return };
        let loser = if rival.upstream == upstream {
            let second = self.downstream(client).and_then(|down| down.serving.upstream.take());
            self.restore(client, *rival);
            self.metrics.add(Counter::UpstreamHedgesLost, 1);
            second
        } else {
            Some(rival.upstream)
        };
        if let Some(loser) = loser {
            self.close_upstream(io, loser);
        }
    }

    /// Whether a request whose attempt ended there goes on with its other one.
    pub fn outlives(&mut self, client: SocketId, upstream: SocketId) -> bool {
        let now_ns = self.now().monotonic_ns;
        let Worker { downstreams, metrics, .. } = self;
        let Some(Some(down)) = downstreams.get_mut(client.index()) else { return false };
        match &mut down.serving.rival {
            None => false,
            Some(rival) if rival.upstream == upstream => {
                let standing = rival.standing.take();
                down.serving.rival = None;
                if let Some(host) = down.serving.host.as_ref() {
                    let cluster = &host.proxy(down.serving.row).cluster;
                    upstream::report(metrics, cluster, standing, Attempt::Failed, now_ns);
                }
                true
            }
            Some(_) => {
                self.report_attempt(client, Attempt::Failed);
                self.fall_back(client)
            }
        }
    }

    /// The second attempt is gone, the first goes on. False: there was one attempt only.
    pub fn fall_back(&mut self, client: SocketId) -> bool {
        let rival = self.downstream(client).and_then(|down| down.serving.rival.take());
        rival.map(|rival| self.restore(client, *rival)).is_some()
    }

    /// The client is served by nobody any more.
    pub fn drop_rival<I: Io>(&mut self, io: &mut I, client: SocketId) {
        if let Some(rival) = self.downstream(client).and_then(|down| down.serving.rival.take()) {
            self.close_upstream(io, rival.upstream);
        }
    }

    fn restore(&mut self, client: SocketId, rival: Rival) {
        let Some(down) = self.downstream(client) else { return };
        let serving = &mut down.serving;
        serving.upstream = Some(rival.upstream);
        (serving.standing, serving.sticky) = (rival.standing, rival.sticky);
        serving.upstream_address = rival.address;
        if let Some(exchange) = down.exchange.as_mut() {
            exchange.upstream = rival.endpoint;
        }
    }
}
