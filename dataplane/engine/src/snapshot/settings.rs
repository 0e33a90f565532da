//! Settings and listeners, with the engine's defaults filled in.

use crate::access_log::loggers::Loggers;
use crate::addresses::AddressSet;
use crate::exchange::ListenerId;
use crate::protocol::Transport;
use crate::{limits, protocol};
use aws_lc_rs::hmac;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Settings {
    pub trusted_proxies: AddressSet,
    pub denied_upstreams: AddressSet,
    pub default_certificate: Box<str>,
    pub access_log: bool,
    /// Of a Caddyfile; None where it logs no requests.
    pub loggers: Option<Arc<Loggers>>,
    /// Signs debug headers; None: no request is explained.
    pub explain_key: Option<hmac::Key>,
    pub handshake_timeout_ms: u64,
    pub request_head_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    pub drain_timeout_ms: u64,
    /// 0: no limit.
    pub request_body_bytes_max: u64,
    pub strict_encoded_slash: bool,
    /// A Caddyfile is served: Host, forwarding fields and unknown hosts are as Caddy has them.
    pub as_caddy: bool,
    /// Lower-case names of the fields in which trusted proxies say who the client is.
    pub client_ip_fields: Box<[Box<str>]>,
    /// As Caddy's `trusted_proxies_strict`.
    pub client_ip_strict: bool,
}

const CLIENT_IP_FIELD: &str = "x-forwarded-for";

/// How long what runs may go on when nobody says otherwise.
const DRAIN_TIMEOUT_MS: u64 = 30_000;

impl Settings {
    pub fn compile(message: &protocol::Settings) -> Result<Self, String> {
        let or = |value: u32, default: u64| if value == 0 { default } else { u64::from(value) };
        let cidrs =
            |texts: &[String]| AddressSet::parse(texts).map_err(|text| format!("{text:?} is no CIDR"));
        Ok(Self {
            trusted_proxies: cidrs(&message.trusted_proxies)?,
            denied_upstreams: cidrs(&message.denied_upstreams)?,
            default_certificate: message.default_certificate.as_str().into(),
            access_log: message.access_log,
            loggers: Loggers::compile(message)?,
            explain_key: (!message.explain_key.is_empty())
                .then(|| hmac::Key::new(hmac::HMAC_SHA256, &message.explain_key)),
            handshake_timeout_ms: or(message.handshake_timeout_ms, limits::HANDSHAKE_TIMEOUT_MS),
            request_head_timeout_ms: or(message.request_head_timeout_ms, limits::REQUEST_HEAD_TIMEOUT_MS),
            idle_timeout_ms: or(message.idle_timeout_ms, limits::IDLE_TIMEOUT_MS),
            drain_timeout_ms: or(message.drain_timeout_ms, DRAIN_TIMEOUT_MS),
            request_body_bytes_max: message.request_body_bytes_max,
            strict_encoded_slash: message.strict_encoded_slash,
            as_caddy: message.as_caddy,
            client_ip_fields: match message.client_ip_fields.as_slice() {
                [] => [CLIENT_IP_FIELD.into()].into(),
                names => names.iter().map(|name| name.to_ascii_lowercase().into()).collect(),
            },
            client_ip_strict: message.client_ip_strict,
        })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trusted_proxies: AddressSet::default(),
            denied_upstreams: AddressSet::default(),
            default_certificate: "".into(),
            access_log: false,
            loggers: None,
            explain_key: None,
            handshake_timeout_ms: limits::HANDSHAKE_TIMEOUT_MS,
            request_head_timeout_ms: limits::REQUEST_HEAD_TIMEOUT_MS,
            idle_timeout_ms: limits::IDLE_TIMEOUT_MS,
            drain_timeout_ms: DRAIN_TIMEOUT_MS,
            request_body_bytes_max: 0,
            strict_encoded_slash: false,
            as_caddy: false,
            client_ip_fields: [CLIENT_IP_FIELD.into()].into(),
            client_ip_strict: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub id: ListenerId,
    pub name: Arc<str>,
    /// Unspecified IPv6: all addresses of both families.
    pub address: IpAddr,
    pub port: u16,
    pub tls: bool,
    pub proxy_protocol: bool,
    /// Without TLS, clients may begin with HTTP/2 (RFC 9113 3.3).
    pub http2: bool,
    /// What clients see where a Service maps the port; never 0.
    pub external_port: u16,
    pub transport: Transport,
}

impl Listener {
    pub fn compile(message: &protocol::Listener, id: ListenerId) -> Result<Self, String> {
        let port = |value: u32| u16::try_from(value).map_err(|_| format!("{value} is no port"));
        let address = match message.address.as_str() {
            "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            text => text.parse().map_err(|_| format!("{text:?} is no address"))?,
        };
        if message.name.is_empty() || message.port == 0 {
            return Err("a listener needs a name and a port".into());
        }
        let external = if message.external_port == 0 { message.port } else { message.external_port };
        Ok(Self {
            id,
            name: message.name.as_str().into(),
            address,
            port: port(message.port)?,
            tls: message.tls,
            proxy_protocol: message.proxy_protocol,
            http2: message.http2,
            external_port: port(external)?,
            transport: message.transport(),
        })
    }
}
