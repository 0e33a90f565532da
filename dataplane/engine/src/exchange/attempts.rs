//! What is known of the attempts to reach an upstream, for placeholders (Caddy: reverseproxy.go).

use super::Exchange;
use super::expanding::Unknown;
use super::surroundings::push_duration;
use super::texts::{ERROR_MESSAGE_VARIABLE, Placeholder};
use crate::snapshot::{ClusterState, EndpointRef, Standing};
use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;

/// A value of the latest attempt, or of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptField {
    /// Network and address, as Caddy shows what it dials.
    Address,
    Requests,
    RequestsMax,
    Fails,
    Latency,
    LatencyMilliseconds,
    Duration,
    DurationMilliseconds,
    UpstreamDuration,
    UpstreamDurationMilliseconds,
    Retries,
}

const FIELDS: [(&str, AttemptField); 11] = [
    ("upstream.address", AttemptField::Address),
    ("upstream.requests", AttemptField::Requests),
    ("upstream.max_requests", AttemptField::RequestsMax),
    ("upstream.fails", AttemptField::Fails),
    ("upstream.latency", AttemptField::Latency),
    ("upstream.latency_ms", AttemptField::LatencyMilliseconds),
    ("upstream.duration", AttemptField::UpstreamDuration),
    ("upstream.duration_ms", AttemptField::UpstreamDurationMilliseconds),
    ("duration", AttemptField::Duration),
    ("duration_ms", AttemptField::DurationMilliseconds),
    ("retries", AttemptField::Retries),
];

/// Counted while a proxy call is served; what a call before it left stays known until this one knows better.
#[derive(Clone, Debug, Default)]
pub struct Attempts {
    made: u32,
    begun_ns: u64,
    latest_ns: u64,
    requests: u32,
    requests_max: u32,
    fails: usize,
    latency_ns: Option<u64>,
    /// A route of `handle_response` answers, not the upstream.
    elsewhere: bool,
    ended: Option<Ended>,
    upstream_ns: Option<u64>,
}

/// What is known of a proxy call when it is over.
#[derive(Clone, Copy, Debug)]
struct Ended {
    retries: u32,
    duration_ns: u64,
}

impl Attempts {
    /// The attempts to come are those of another proxy call.
    pub fn begin_call(&mut self) {
        (self.made, self.elsewhere) = (0, false);
    }

    /// The upstream's answer is not passed on.
    pub fn answer_elsewhere(&mut self) {
        self.elsewhere = true;
    }
}

impl AttemptField {
    /// The part of a name after `http.reverse_proxy.`.
    pub fn compile(name: &str) -> Option<Self> {
        FIELDS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field)
    }

    pub fn name(self) -> &'static str {
        FIELDS.iter().find(|(_, field)| *field == self).map_or("", |(name, _)| *name)
    }

    pub fn is_number(self) -> bool {
        matches!(self, Self::Requests | Self::RequestsMax | Self::Fails | Self::Retries)
    }

    pub fn is_fraction(self) -> bool {
        matches!(
            self,
            Self::LatencyMilliseconds | Self::DurationMilliseconds | Self::UpstreamDurationMilliseconds
        )
    }
}

impl Exchange {
    /// The endpoint of the attempt, for placeholders and the Host of its own: call before `write_upstream_head`.
    pub fn begin_attempt(
        &mut self,
        endpoint: EndpointRef,
        state: &ClusterState,
        standing: Option<&Standing>,
        now_ns: u64,
    ) {
        let begun_ns = if self.attempts.made == 0 { now_ns } else { self.attempts.begun_ns };
        self.attempts = Attempts {
            made: self.attempts.made + 1,
            begun_ns,
            latest_ns: now_ns,
            requests: endpoint.active.load(Relaxed),
            requests_max: state.requests_max(),
            fails: standing.map_or(0, |standing| standing.fails(now_ns / 1_000_000)),
            ..self.attempts.clone()
        };
        self.upstream = Some(endpoint);
        self.upstream_host = state.upstream_host;
    }

    /// The upstream's answer began so long after it was asked.
    pub fn note_latency(&mut self, latency_ns: u64) {
        self.attempts.latency_ns = Some(latency_ns);
    }

    /// From the request to its answer's head; 0 where none came.
    pub fn latency_ns(&self) -> u64 {
        self.attempts.latency_ns.unwrap_or_default()
    }

    /// The proxy call at hand, if any, is over. `answered`: by an answer, not by an error.
    pub fn end_call(&mut self, answered: bool) {
        if self.attempts.made == 0 {
            return;
        }
        if answered {
            self.attempts.upstream_ns = self.upstream_ns();
        }
        self.attempts.ended = self.ended_call();
        self.attempts.made = 0;
    }

    /// The latest proxy call that is over; with the request, the one at hand is.
    fn ended_call(&self) -> Option<Ended> {
        let attempts = &self.attempts;
        if attempts.made == 0 {
            return attempts.ended;
        }
        Some(Ended { retries: attempts.made - 1, duration_ns: self.since_ns(attempts.begun_ns) })
    }

    fn upstream_ns(&self) -> Option<u64> {
        let attempts = &self.attempts;
        let passes = attempts.made > 0 && !attempts.elsewhere && attempts.latency_ns.is_some();
        if passes { Some(self.since_ns(attempts.latest_ns)) } else { attempts.upstream_ns }
    }

    fn known_call(&self) -> Option<Ended> {
        if self.is_over.get() { self.ended_call() } else { self.attempts.ended }
    }

    fn known_upstream_ns(&self) -> Option<u64> {
        if self.is_over.get() { self.upstream_ns() } else { self.attempts.upstream_ns }
    }

    /// Whether Caddy knows the value by now: counts and times of all attempts when they are over.
    pub(super) fn knows_attempt(&self, field: AttemptField) -> bool {
        match field {
            AttemptField::Latency | AttemptField::LatencyMilliseconds => self.attempts.latency_ns.is_some(),
            AttemptField::Duration | AttemptField::DurationMilliseconds | AttemptField::Retries => {
                self.known_call().is_some()
            }
            AttemptField::UpstreamDuration | AttemptField::UpstreamDurationMilliseconds => {
                self.known_upstream_ns().is_some()
            }
            _ => self.upstream.is_some(),
        }
    }

    pub(super) fn expand_attempt(&self, field: AttemptField, out: &mut Vec<u8>) {
        let attempts = &self.attempts;
        let duration_ns = self.attempt_duration_ns(field).unwrap_or_default();
        // Writing to a Vec cannot fail.
        let _ = match field {
            _ if !self.knows_attempt(field) => Ok(()),
            AttemptField::Address => {
                let unix = self.upstream.as_ref().is_some_and(|upstream| upstream.is_unix());
                out.extend_from_slice(if unix { b"unix/" } else { b"tcp/" });
                self.write_upstream_hostport(out)
            }
            AttemptField::Requests => write!(out, "{}", attempts.requests),
            AttemptField::RequestsMax => write!(out, "{}", attempts.requests_max),
            AttemptField::Fails => write!(out, "{}", attempts.fails),
            AttemptField::Retries => {
                write!(out, "{}", self.known_call().map_or(0, |call| call.retries))
            }
            AttemptField::Latency | AttemptField::Duration | AttemptField::UpstreamDuration => {
                push_duration(duration_ns, out);
                Ok(())
            }
            AttemptField::LatencyMilliseconds
            | AttemptField::DurationMilliseconds
            | AttemptField::UpstreamDurationMilliseconds => write!(out, "{}", duration_ns as f64 / 1e6),
        };
    }

    /// What a log shows as a duration, where it is no number of milliseconds.
    pub(super) fn attempt_duration_ns(&self, field: AttemptField) -> Option<u64> {
        match field {
            AttemptField::Latency | AttemptField::LatencyMilliseconds => self.attempts.latency_ns,
            AttemptField::Duration | AttemptField::DurationMilliseconds => {
                self.known_call().map(|call| call.duration_ns)
            }
            AttemptField::UpstreamDuration | AttemptField::UpstreamDurationMilliseconds => {
                self.known_upstream_ns()
            }
            _ => None,
        }
    }

    fn since_ns(&self, moment_ns: u64) -> u64 {
        (self.now.monotonic_ns + self.running_ns()).saturating_sub(moment_ns)
    }

    /// A name that Caddy does not know yet stays as it was written.
    pub(super) fn keep_unset(&self, placeholder: &Placeholder, unknown: Unknown, out: &mut Vec<u8>) -> bool {
        if unknown == Unknown::Empty || self.is_set(placeholder) {
            return false;
        }
        let name: &[u8] = match placeholder {
            Placeholder::Variable(name) if name[..] == *ERROR_MESSAGE_VARIABLE && self.status != 0 => {
                return true;
            }
            Placeholder::Variable(name) if name.starts_with(b"http.") => name,
            Placeholder::UserId => b"http.auth.user.id",
            Placeholder::ErrorStatus => b"http.error.status_code",
            Placeholder::ErrorText => b"http.error.status_text",
            Placeholder::ErrorId => b"http.error.id",
            Placeholder::ErrorWhole => b"http.error",
            Placeholder::UpstreamHostPort => b"http.reverse_proxy.upstream.hostport",
            Placeholder::UpstreamHost => b"http.reverse_proxy.upstream.host",
            Placeholder::UpstreamPort => b"http.reverse_proxy.upstream.port",
            Placeholder::Attempt(field) => &[b"http.reverse_proxy.", field.name().as_bytes()].concat(),
            _ => return false,
        };
        for part in [b"{", name, b"}"] {
            out.extend_from_slice(part);
        }
        true
    }
}
