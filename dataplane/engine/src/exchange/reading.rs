//! What an exchange tells about its request, and the little that its connection sets.

use super::texts::{ERROR_MESSAGE_VARIABLE, USER_VARIABLE};
use super::{Exchange, paths};
use crate::tokens::Taken;
use std::net::{IpAddr, SocketAddr};

impl Exchange {
    /// Whether the request is about the server as a whole: `OPTIONS *`.
    pub fn asks_server(&self) -> bool {
        self.asks_server
    }

    /// Lower case, without port; "" for HTTP/1.0 without Host.
    pub fn host(&self) -> &[u8] {
        if self.lower_host.is_empty() { self.sent_host() } else { &self.lower_host }
    }

    /// The host as `authority` has it.
    pub(crate) fn sent_host(&self) -> &[u8] {
        &self.authority[..self.host_end]
    }

    /// The host as placeholders have it: without the brackets of an address where a port follows them
    /// (Go: net.SplitHostPort).
    pub(crate) fn shown_host(&self) -> &[u8] {
        match self.sent_host() {
            [b'[', address @ .., b']'] if self.host_end < self.authority.len() => address,
            host => host,
        }
    }

    /// Text after the host's colon.
    pub(crate) fn port(&self) -> &[u8] {
        self.authority.get(self.host_end + 1..).unwrap_or_default()
    }

    pub fn method(&self) -> &[u8] {
        &self.method
    }

    /// As received: what decides whether an answer has a body.
    pub fn is_head(&self) -> bool {
        self.original_method == b"HEAD"
    }

    /// Request target as received, for logs.
    pub fn target(&self) -> &[u8] {
        &self.target
    }

    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Whom `basic_auth` let in; "" is nobody.
    pub fn user_id(&self) -> &[u8] {
        self.variables.get(USER_VARIABLE).unwrap_or_default()
    }

    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// The connection's peer (after the PROXY protocol).
    pub fn remote(&self) -> IpAddr {
        self.remote.ip()
    }

    /// The client, with the port of the connection where it is the connection's peer.
    pub fn client_address(&self) -> SocketAddr {
        let port = if self.client == self.remote.ip() { self.remote.port() } else { 0 };
        SocketAddr::new(self.client, port)
    }

    pub fn query(&self) -> &[u8] {
        &self.query
    }

    /// Host and port, as the client named them.
    pub fn authority(&self) -> &[u8] {
        &self.authority
    }

    /// The client speaks TLS, to us or to a trusted proxy before us.
    pub fn is_secure(&self) -> bool {
        self.scheme() == "https" || (self.trusted && self.request.get(b"x-forwarded-proto") == Some(b"https"))
    }

    pub fn request_id(&self) -> &[u8] {
        &self.request_id
    }

    /// First value of a request field as it is now.
    pub fn request_field(&self, name: &[u8]) -> Option<&[u8]> {
        self.request.get(name)
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// `%2F` as a separator: the reading of servers that decode first.
    pub(crate) fn decode_slashes(&mut self) {
        let mut raw = Vec::with_capacity(self.path.len());
        let mut rest = self.matched_path();
        while let Some(at) = memchr::memmem::find(rest, b"%2F") {
            raw.extend_from_slice(&rest[..at]);
            raw.push(b'/');
            rest = &rest[at + 3..];
        }
        raw.extend_from_slice(rest);
        self.path.clear();
        self.clean_path.clear();
        // Cannot be refused: every escape left was accepted before.
        let _ = paths::normalise(&raw, &mut self.path);
        self.encoded_slash = false;
    }

    /// Path and query as received.
    pub(crate) fn original(&self) -> (&[u8], &[u8]) {
        super::expanding::split_once(&self.target, b'?').unwrap_or((&self.target, b""))
    }

    /// How many bytes before the path are not of it: the slash that a rewrite left out (`rewrite index.php`).
    pub(crate) fn bare_bytes(&self) -> usize {
        usize::from(self.bare_path && !self.path.is_empty())
    }

    pub(crate) fn decoded_path(&self) -> Vec<u8> {
        let mut path = Vec::with_capacity(self.path.len());
        paths::decode(&self.path, &mut path);
        path
    }

    pub(crate) fn decoded_matched_path(&self) -> Vec<u8> {
        let mut path = Vec::with_capacity(self.path.len());
        paths::decode(self.matched_path(), &mut path);
        path
    }

    /// The path as patterns with `//` see it, in lower case, its empty segments kept. None where backends get the
    /// normalised path: what such a pattern judged would be another path than theirs.
    pub(crate) fn folded_unmerged_path(&self) -> Option<Vec<u8>> {
        if !self.as_caddy {
            return None;
        }
        let mut decoded = self.decoded_path();
        decoded.make_ascii_lowercase();
        let mut cleaned = Vec::with_capacity(decoded.len());
        paths::clean_unmerged(&decoded, &mut cleaned);
        cleaned.drain(..self.bare_bytes());
        Some(cleaned)
    }

    /// What `limit_request_body` set: Some(0) lifts the limit; None: the settings' limit holds.
    pub fn request_body_bytes_max(&self) -> Option<u64> {
        self.request_body_bytes_max
    }

    /// Status for error routes and response entries (context STATUS).
    pub fn set_status(&mut self, status: u16) {
        self.status = status;
    }

    /// Status of the error whose routes run; 0 before there is one.
    pub fn error_status(&self) -> u16 {
        self.status
    }

    /// `{http.error.message}` of what went wrong in the engine.
    pub fn set_error_message(&mut self, message: String) {
        self.variables.push(ERROR_MESSAGE_VARIABLE.to_vec(), message.into_bytes());
    }

    /// What it is, where something went wrong and said so.
    pub fn error_message(&self) -> Option<&[u8]> {
        self.variables.get(ERROR_MESSAGE_VARIABLE).filter(|message| !message.is_empty())
    }

    /// What a suspended operation gave (context RESUME_RESULT).
    pub fn set_resume_result(&mut self, result: u32) {
        self.resume_result = result;
    }

    /// What `limit_shared_rate` gives; past a rate with Retry-After on the answer (RFC 9110 10.2.3).
    pub fn note_taken(&mut self, taken: Taken) -> u64 {
        match taken {
            Taken::Allowed => 0,
            Taken::Limited(wait_ns) => {
                let seconds = wait_ns.div_ceil(1_000_000_000).to_string();
                self.answer.set(b"Retry-After", seconds.as_bytes());
                1
            }
            Taken::Unknown => 2,
            Taken::Closed => 3,
        }
    }

    /// User and password of `Authorization: Basic` (RFC 7617), behind one space, as Go has it.
    pub fn credentials(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        use base64::Engine;
        let value = self.request.get(b"authorization")?;
        let (scheme, encoded) = super::expanding::split_once(value, b' ')?;
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let plain = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
        let (user, password) = super::expanding::split_once(&plain, b':')?;
        Some((user.to_vec(), password.to_vec()))
    }
}
