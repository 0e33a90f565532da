//! Listeners: where connections come in, who may begin them with a PROXY header, and their own bounds.

use crate::addresses::AddressSet;
use crate::exchange::ListenerId;
use crate::limits::{
    DATAGRAM_IDLE_TIMEOUT_MS, LISTENER_TIMEOUT_MS_MAX, PROGRESS_BYTES_MIN, PROGRESS_WINDOW_MS,
    PROXY_HEADER_TIMEOUT_MS, REQUEST_HEAD_BYTES_MAX,
};
use crate::protocol::{self, Transport, proxy_headers};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

pub use proxy_headers::Policy as ProxyPolicy;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub id: ListenerId,
    pub name: Arc<str>,
    /// Unspecified IPv6: all addresses of both families.
    pub address: IpAddr,
    pub port: u16,
    /// In place of address and port.
    pub unix: Option<UnixSocket>,
    pub tls: bool,
    pub proxy_protocol: bool,
    /// Whatever `proxy_protocol` says.
    pub proxy_headers: Option<Arc<ProxyHeaders>>,
    /// Plain HTTP gets nothing but a redirect.
    pub http_redirect: bool,
    /// None: the engine's own.
    pub bounds: Option<Arc<Bounds>>,
    /// Without TLS, clients may begin with HTTP/2 (RFC 9113 3.3).
    pub http2: bool,
    /// What clients see where a Service maps the port; never 0.
    pub external_port: u16,
    pub transport: Transport,
    /// Of clients that send datagrams.
    pub idle_timeout_ms: u64,
    /// Something asks which of the machine's addresses a client came to, and the socket is bound to all.
    pub reads_local: bool,
}

/// A listening socket of the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    pub path: Box<str>,
    /// Permissions of its file.
    pub mode: u32,
}

impl Listener {
    pub fn compile(message: &protocol::Listener, id: ListenerId) -> Result<Self, String> {
        let port = |value: u32| u16::try_from(value).map_err(|_| format!("{value} is no port"));
        let address = match message.address.as_str() {
            "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            text => text.parse().map_err(|_| format!("{text:?} is no address"))?,
        };
        if message.name.is_empty() || (message.port == 0 && message.unix_path.is_empty()) {
            return Err("a listener needs a name and a port".into());
        }
        let external = if message.external_port == 0 { message.port } else { message.external_port };
        let headers = message.proxy_headers.as_ref().map(ProxyHeaders::compile).transpose()?;
        Ok(Self {
            id,
            name: message.name.as_str().into(),
            address,
            port: port(message.port)?,
            unix: (!message.unix_path.is_empty())
                .then(|| UnixSocket { path: message.unix_path.as_str().into(), mode: message.unix_mode }),
            tls: message.tls,
            proxy_protocol: message.proxy_protocol,
            proxy_headers: headers.map(Arc::new),
            http_redirect: message.http_redirect,
            bounds: message.limits.as_ref().map(|limits| Arc::new(Bounds::compile(limits))),
            http2: message.http2,
            external_port: port(external)?,
            transport: message.transport(),
            reads_local: message.reads_local && address.is_unspecified() && message.unix_path.is_empty(),
            idle_timeout_ms: match message.idle_timeout_ms {
                0 => DATAGRAM_IDLE_TIMEOUT_MS,
                wanted => u64::from(wanted),
            },
        })
    }
}

impl Listener {
    /// What a connection has to begin with; `Skip`: nobody looks. None: it has to end.
    pub fn header_policy(&self, remote: IpAddr, trusted: bool) -> Option<ProxyPolicy> {
        match (&self.proxy_headers, self.proxy_protocol) {
            // As in Caddy, whoever may open the socket's file is believed.
            (Some(_), _) if self.unix.is_some() => Some(ProxyPolicy::Use),
            (Some(headers), _) => Some(headers.find(remote)),
            (None, true) => trusted.then_some(ProxyPolicy::Require),
            (None, false) => Some(ProxyPolicy::Skip),
        }
    }

    pub fn header_timeout_ms(&self) -> u64 {
        self.proxy_headers.as_ref().map_or(PROXY_HEADER_TIMEOUT_MS, |headers| headers.timeout_ms)
    }
}

/// Who may, must or must not begin with a PROXY header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeaders {
    allow: AddressSet,
    deny: AddressSet,
    fallback: ProxyPolicy,
    pub timeout_ms: u64,
}

impl ProxyHeaders {
    fn compile(message: &protocol::ProxyHeaders) -> Result<Self, String> {
        let cidrs =
            |texts: &[String]| AddressSet::parse(texts).map_err(|text| format!("{text:?} is no CIDR"));
        Ok(Self {
            allow: cidrs(&message.allow)?,
            deny: cidrs(&message.deny)?,
            fallback: message.fallback(),
            timeout_ms: bounded(message.timeout_ms).unwrap_or(PROXY_HEADER_TIMEOUT_MS),
        })
    }

    pub fn find(&self, remote: IpAddr) -> ProxyPolicy {
        match () {
            () if self.deny.contains(remote) => ProxyPolicy::Reject,
            () if self.allow.contains(remote) => ProxyPolicy::Use,
            () => self.fallback,
        }
    }
}

/// What holds for connections of one listener in place of the engine's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub request_head_timeout_ms: Option<u64>,
    pub idle_timeout_ms: Option<u64>,
    /// From a request's head: until all of its body came, until all of its answer went.
    pub request_timeout_ms: Option<u64>,
    pub answer_timeout_ms: Option<u64>,
    pub body_pace: ClientPace,
    pub answer_pace: ClientPace,
    pub head_bytes_max: usize,
}

/// What a client has to move in each window of time while it has something to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPace {
    pub window_ms: u64,
    pub bytes_min: u64,
}

impl Default for ClientPace {
    fn default() -> Self {
        Self { window_ms: PROGRESS_WINDOW_MS, bytes_min: PROGRESS_BYTES_MIN }
    }
}

impl ClientPace {
    /// Without a rate any byte is progress.
    fn compile(idle_ms: u32, rate: u64) -> Self {
        match (bounded(idle_ms), rate) {
            (None, 0) => Self::default(),
            (window_ms, _) => {
                let window_ms = window_ms.unwrap_or(PROGRESS_WINDOW_MS);
                Self { window_ms, bytes_min: (rate.saturating_mul(window_ms) / 1000).max(1) }
            }
        }
    }
}

impl Bounds {
    fn compile(message: &protocol::ListenerLimits) -> Self {
        let head_bytes = message.head_bytes_max as usize;
        Self {
            request_head_timeout_ms: bounded(message.request_head_timeout_ms),
            idle_timeout_ms: bounded(message.idle_timeout_ms),
            request_timeout_ms: bounded(message.request_timeout_ms),
            answer_timeout_ms: bounded(message.answer_timeout_ms),
            body_pace: ClientPace::compile(message.body_idle_timeout_ms, message.body_rate_min),
            answer_pace: ClientPace::compile(message.answer_idle_timeout_ms, message.answer_rate_min),
            head_bytes_max: match head_bytes {
                0 => REQUEST_HEAD_BYTES_MAX,
                _ => head_bytes.min(REQUEST_HEAD_BYTES_MAX),
            },
        }
    }
}

fn bounded(timeout_ms: u32) -> Option<u64> {
    (timeout_ms > 0).then(|| u64::from(timeout_ms).min(LISTENER_TIMEOUT_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_comes_before_allowed_and_all_others_fall_back() {
        let message = protocol::ProxyHeaders {
            allow: vec!["192.0.2.0/24".into(), "2001:db8::/32".into()],
            deny: vec!["192.0.2.9/32".into()],
            fallback: ProxyPolicy::Require as i32,
            timeout_ms: 0,
        };
        let headers = ProxyHeaders::compile(&message).unwrap();
        for (remote, policy) in [
            ("192.0.2.1", ProxyPolicy::Use),
            ("2001:db8::1", ProxyPolicy::Use),
            ("192.0.2.9", ProxyPolicy::Reject),
            ("198.51.100.1", ProxyPolicy::Require),
        ] {
            assert_eq!(headers.find(remote.parse().unwrap()), policy, "{remote}");
        }
        assert_eq!(headers.timeout_ms, PROXY_HEADER_TIMEOUT_MS);
        let wrong = protocol::ProxyHeaders { deny: vec!["everybody".into()], ..message };
        assert!(ProxyHeaders::compile(&wrong).unwrap_err().contains("everybody"));
    }

    #[test]
    fn bounds_stay_within_those_of_the_engine() {
        let message = protocol::ListenerLimits {
            request_head_timeout_ms: u32::MAX,
            head_bytes_max: 1 << 30,
            body_idle_timeout_ms: 2_000,
            body_rate_min: 3,
            answer_idle_timeout_ms: 500,
            ..Default::default()
        };
        let bounds = Bounds::compile(&message);
        assert_eq!(bounds.request_head_timeout_ms, Some(LISTENER_TIMEOUT_MS_MAX));
        assert_eq!(bounds.head_bytes_max, REQUEST_HEAD_BYTES_MAX);
        assert_eq!(bounds.idle_timeout_ms, None);
        assert_eq!(bounds.body_pace, ClientPace { window_ms: 2_000, bytes_min: 6 });
        assert_eq!(bounds.answer_pace, ClientPace { window_ms: 500, bytes_min: 1 });
        assert_eq!(Bounds::compile(&Default::default()).body_pace, ClientPace::default());
    }
}
