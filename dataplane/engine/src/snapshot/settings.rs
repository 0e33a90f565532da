//! Settings, with the engine's defaults filled in.

use super::trusting::Trust;
use crate::access_log::loggers::Loggers;
use crate::addresses::AddressSet;
use crate::exchange::ListenerId;
use crate::exchange::tracing::Sampling;
use crate::{limits, protocol};
use aws_lc_rs::hmac;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Settings {
    /// What sites of listeners without words of their own believe.
    trust: Trust,
    trust_by_listener: Box<[(ListenerId, Trust)]>,
    pub denied_upstreams: AddressSet,
    pub default_certificate: Box<str>,
    pub access_log: bool,
    /// Of a Caddyfile; None where it logs no requests.
    pub loggers: Option<Arc<Loggers>>,
    /// Spans of `tracing` go to the agent.
    pub exports_spans: bool,
    pub trace_sampling: Sampling,
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
}

/// How long what runs may go on when nobody says otherwise.
const DRAIN_TIMEOUT_MS: u64 = 30_000;

impl Settings {
    /// `find_listener` gives a listener's id by its name.
    pub fn compile(
        message: &protocol::Settings,
        mut find_listener: impl FnMut(&str) -> ListenerId,
    ) -> Result<Self, String> {
        let or = |value: u32, default: u64| if value == 0 { default } else { u64::from(value) };
        let cidrs =
            |texts: &[String]| AddressSet::parse(texts).map_err(|text| format!("{text:?} is no CIDR"));
        Ok(Self {
            trust: Trust::compile(&protocol::ServerTrust {
                trusted_proxies: message.trusted_proxies.clone(),
                client_ip_fields: message.client_ip_fields.clone(),
                client_ip_strict: message.client_ip_strict,
                ..Default::default()
            })?,
            trust_by_listener: {
                let mut found = Vec::new();
                for server in &message.server_trusts {
                    let trust = Trust::compile(server)?;
                    found.extend(server.listeners.iter().map(|name| (find_listener(name), trust.clone())));
                }
                found.into()
            },
            denied_upstreams: cidrs(&message.denied_upstreams)?,
            default_certificate: message.default_certificate.as_str().into(),
            access_log: message.access_log,
            loggers: Loggers::compile(message)?,
            exports_spans: message.exports_spans,
            trace_sampling: message.trace_sampling.as_ref().map_or_else(Sampling::default, |wanted| {
                Sampling::new(wanted.share_in_million, wanted.ignores_parent)
            }),
            explain_key: (!message.explain_key.is_empty())
                .then(|| hmac::Key::new(hmac::HMAC_SHA256, &message.explain_key)),
            handshake_timeout_ms: or(message.handshake_timeout_ms, limits::HANDSHAKE_TIMEOUT_MS),
            request_head_timeout_ms: or(message.request_head_timeout_ms, limits::REQUEST_HEAD_TIMEOUT_MS),
            idle_timeout_ms: or(message.idle_timeout_ms, limits::IDLE_TIMEOUT_MS),
            drain_timeout_ms: or(message.drain_timeout_ms, DRAIN_TIMEOUT_MS),
            request_body_bytes_max: message.request_body_bytes_max,
            strict_encoded_slash: message.strict_encoded_slash,
            as_caddy: message.as_caddy,
        })
    }

    /// What the sites of a listener believe.
    pub fn trust(&self, listener: ListenerId) -> &Trust {
        let own = self.trust_by_listener.iter().find(|(id, _)| *id == listener);
        own.map_or(&self.trust, |(_, trust)| trust)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trust: Trust::default(),
            trust_by_listener: Box::default(),
            denied_upstreams: AddressSet::default(),
            default_certificate: "".into(),
            access_log: false,
            loggers: None,
            exports_spans: false,
            trace_sampling: Sampling::default(),
            explain_key: None,
            handshake_timeout_ms: limits::HANDSHAKE_TIMEOUT_MS,
            request_head_timeout_ms: limits::REQUEST_HEAD_TIMEOUT_MS,
            idle_timeout_ms: limits::IDLE_TIMEOUT_MS,
            drain_timeout_ms: DRAIN_TIMEOUT_MS,
            request_body_bytes_max: 0,
            strict_encoded_slash: false,
            as_caddy: false,
        }
    }
}
