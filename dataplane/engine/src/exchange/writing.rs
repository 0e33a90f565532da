//! The request's head is written for the upstream; what `answering` needs to write the answer's is here too.

use super::decimals::{push_address, push_decimal};
use super::fields::Fields;
use super::kinds::{Kind, is_request_id};
use super::statuses::{push_date, reason};
use super::switching::{is_last, push_hop_field, push_switch};
use super::{Body, Connection, Exchange, Framing, HeaderSpan, ResponseHead};
use crate::fastcgi::params::UpstreamFields;
use crate::http2::fields::may_trail;
use crate::snapshot::ProxyCall;

/// Method and target as they were before they were rewritten.
#[derive(Clone)]
pub struct KeptTarget {
    method: Vec<u8>,
    path: Vec<u8>,
    clean_path: Vec<u8>,
    bare_path: bool,
    absolute_path: bool,
    query: Vec<u8>,
    has_query: bool,
    encoded_slash: bool,
}

impl Exchange {
    /// Appends path and query.
    pub(crate) fn write_uri(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.path);
        if self.has_query {
            out.push(b'?');
            out.extend_from_slice(&self.query);
        }
    }

    /// Appends the HTTP/1.1 request head for the upstream: hop-by-hop fields removed, forwarding fields ours; an upgrade is
    /// what the client asked for. True: the head says that the connection ends with this request.
    pub fn write_upstream_head(&mut self, call: &ProxyCall, framing: Framing, out: &mut Vec<u8>) -> bool {
        let protocol = match framing.connection {
            Connection::Upgrade(_) => self.protocol_left(),
            _ => None,
        };
        let protocol = protocol.as_deref();
        let mut connection = protocol.map_or(Connection::Default, Connection::Upgrade);
        let mut is_last = false;
        if call.is_plain() {
            self.write_request_line(out);
            self.push_host(out);
            let nominated = nominated(&self.request);
            for field in self.request.iter() {
                if self.goes_up(field.name) && !is_nominated(&nominated, field.name) {
                    push_field(field.name, field.value, out);
                }
            }
            self.each_forwarding_field(false, |name, value| push_field(name, value, out));
        } else {
            is_last = self.write_changed_request(call, protocol, out);
            connection = Connection::Default;
        }
        push_framing(Framing { connection, ..framing }, out);
        out.extend_from_slice(b"\r\n");
        is_last
    }

    fn write_request_line(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.method);
        out.push(b' ');
        let start = out.len();
        self.write_uri(out);
        if self.is_target_bare() {
            out.remove(start);
        }
        out.extend_from_slice(b" HTTP/1.1\r\n");
    }

    /// Whether the target goes up without its slash, as Caddy sends what `try_files` and `rewrite` leave without one; never
    /// where a reader could take its first segment for a scheme or an authority that the configuration did not write.
    fn is_target_bare(&self) -> bool {
        let first = self.path.iter().skip(1).take_while(|&&byte| byte != b'/');
        let mut plain = first
            .map(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%'));
        self.as_caddy
            && self.bare_bytes() == 1
            && self.path.len() > 1
            && (self.absolute_path || plain.all(|plain| plain))
    }

    /// Whether a request field goes to the upstream as it is: those that say who the client is where `request_header` has
    /// set them, never by the client's word. The three that Caddy writes itself are written by us.
    fn goes_up(&self, name: &[u8]) -> bool {
        let written = [&b"x-forwarded-for"[..], b"x-forwarded-proto", b"x-forwarded-host"];
        match Kind::of(name) {
            // No client's `Proxy` is taken in: where one is here, `request_header` wrote it.
            Kind::EndToEnd | Kind::Dropped => true,
            Kind::Forwarding if self.as_caddy && !self.trusted => {
                !self.told.contains(name) && !written.iter().any(|one| name.eq_ignore_ascii_case(one))
            }
            _ => false,
        }
    }

    /// HTTP/1.0 may come without a Host: its upstream gets its own, as from Caddy.
    fn names_upstream(&self) -> bool {
        self.upstream_host || self.authority.is_empty()
    }

    fn push_host(&self, out: &mut Vec<u8>) {
        match self.upstream.as_ref().filter(|_| self.names_upstream()) {
            Some(endpoint) => push_field(b"Host", endpoint.hostport().as_bytes(), out),
            None => push_field(b"Host", &self.authority, out),
        }
    }

    /// The fields that go up, as the call changes them, for upstreams that are no HTTP/1.1. The exchange is as the call
    /// rewrites it until `restore_request`.
    pub fn take_upstream_fields(&mut self, call: &ProxyCall) -> UpstreamFields {
        let kept = self.keep_target();
        if let Some(rewrite) = call.rewrite() {
            self.rewrite(rewrite);
        }
        let mut fields = std::mem::take(&mut self.scratch);
        fields.clear();
        let nominated = nominated(&self.request);
        for field in self.request.iter() {
            if self.goes_up(field.name) && !is_nominated(&nominated, field.name) {
                fields.push_checked(field.name, field.value);
            }
        }
        let trusted = call.trusts(self.remote.ip());
        self.each_forwarding_field(trusted, |name, value| fields.push_checked(name, value));
        self.scratch = fields;
        self.change_scratch(call.request_changes());
        UpstreamFields { fields: std::mem::take(&mut self.scratch), kept }
    }

    /// Method, host, target and fields as a call sends them, for the log.
    pub fn find_upstream_request(&mut self, call: &ProxyCall) -> (Vec<u8>, Vec<u8>, Vec<u8>, Fields) {
        // The fields of an answer that was sent are the log's still.
        let sent = std::mem::take(&mut self.scratch);
        let mut taken = self.take_upstream_fields(call);
        let mut uri = Vec::new();
        self.write_uri(&mut uri);
        let own = self.upstream.as_ref().filter(|_| self.names_upstream());
        let host = taken.fields.get(b"host").map(<[u8]>::to_vec);
        let host =
            host.unwrap_or_else(|| own.map_or(self.authority.clone(), |own| own.hostport().into_bytes()));
        let method = self.method.clone();
        let mut fields = std::mem::take(&mut taken.fields);
        fields.remove(b"host");
        self.restore_request(taken);
        self.scratch = sent;
        (method, host, uri, fields)
    }

    /// Undoes the call's rewrite.
    pub fn restore_request(&mut self, taken: UpstreamFields) {
        self.restore_target(taken.kept);
        self.scratch = taken.fields;
    }

    pub(crate) fn keep_target(&self) -> KeptTarget {
        KeptTarget {
            method: self.method.clone(),
            path: self.path.clone(),
            clean_path: self.clean_path.clone(),
            bare_path: self.bare_path,
            absolute_path: self.absolute_path,
            query: self.query.clone(),
            has_query: self.has_query,
            encoded_slash: self.encoded_slash,
        }
    }

    /// Before the first change of method, path or query.
    pub(crate) fn keep_received(&mut self) {
        if self.received.is_none() {
            self.received = Some(Box::new(self.keep_target()));
        }
    }

    /// Method, path and query as they came: error routes see them so (Caddy: server.go). Fields stay as they are.
    pub fn restore_received(&mut self) {
        if let Some(kept) = self.received.take() {
            self.restore_target(*kept);
        }
    }

    pub(crate) fn restore_target(&mut self, kept: KeptTarget) {
        self.method = kept.method;
        self.path = kept.path;
        self.clean_path = kept.clean_path;
        self.bare_path = kept.bare_path;
        self.absolute_path = kept.absolute_path;
        self.query = kept.query;
        self.has_query = kept.has_query;
        self.encoded_slash = kept.encoded_slash;
    }

    /// The slow way, for calls with changes of their own: they hold for this call, not for the exchange. True: as for
    /// `write_upstream_head`.
    fn write_changed_request(
        &mut self,
        call: &ProxyCall,
        protocol: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> bool {
        let mut fields = std::mem::take(&mut self.scratch);
        fields.clear();
        match self.upstream.as_ref().filter(|_| self.names_upstream()) {
            Some(endpoint) => fields.push_checked(b"Host", endpoint.hostport().as_bytes()),
            None => fields.push_checked(b"Host", &self.authority),
        }
        let nominated = nominated(&self.request);
        for field in self.request.iter() {
            if self.goes_up(field.name) && !is_nominated(&nominated, field.name) {
                fields.push_checked(field.name, field.value);
            }
        }
        if let Some(protocol) = protocol {
            push_switch(protocol, &mut fields);
        }
        let trusted = call.trusts(self.remote.ip());
        self.each_forwarding_field(trusted, |name, value| fields.push_checked(name, value));
        self.scratch = fields;
        // Placeholders of the changes see the request as it is, not as this call rewrites it.
        self.change_scratch(call.request_changes());
        let kept = self.keep_target();
        if let Some(rewrite) = call.rewrite() {
            self.rewrite(rewrite);
        }
        self.write_request_line(out);
        self.restore_target(kept);
        let host = self.scratch.iter().filter(|field| Kind::of(field.name) == Kind::Host).last();
        push_field(b"Host", host.map_or(b"", |field| field.value), out);
        for field in self.scratch.iter() {
            match Kind::of(field.name) {
                Kind::Host => {}
                Kind::Hop => push_hop_field(field.name, field.value, protocol.is_some(), out),
                _ => push_field(field.name, field.value, out),
            }
        }
        is_last(&self.scratch)
    }

    /// Forwarding fields: ours, or those of a trusted peer with ours appended. `call_trusts`: this call does, whatever the
    /// settings say.
    fn each_forwarding_field(&self, call_trusts: bool, mut push: impl FnMut(&[u8], &[u8])) {
        let mut text = Vec::with_capacity(64);
        let trusted = self.trusted || call_trusts;
        let received = if self.trusted { &self.request } else { &self.told };
        if trusted {
            for value in received.all(b"x-forwarded-for") {
                text.extend_from_slice(value);
                text.extend_from_slice(b", ");
            }
        }
        push_address(self.remote.ip(), &mut text);
        push(b"X-Forwarded-For", &text);
        let told = |name: &'static [u8]| received.get(name).filter(|value| trusted && !value.is_empty());
        push(b"X-Forwarded-Proto", told(b"x-forwarded-proto").unwrap_or(self.scheme().as_bytes()));
        push(b"X-Forwarded-Host", told(b"x-forwarded-host").unwrap_or(&self.authority));
        // Caddy sends the three above only; what else a trusted peer told goes on.
        let mut push_own = |name: &'static [u8], told: Option<&[u8]>, own: &dyn Fn(&mut Vec<u8>)| match told {
            Some(value) => push(name, value),
            None if self.as_caddy => {}
            None => {
                text.clear();
                own(&mut text);
                push(name, &text);
            }
        };
        let (port, client) = (self.external_port, self.client);
        push_own(b"X-Forwarded-Port", told(b"x-forwarded-port"), &|text| push_decimal(port, text));
        push_own(b"X-Real-IP", told(b"x-real-ip"), &|text| push_address(client, text));
        let id = told(b"x-request-id").filter(|id| is_request_id(id));
        push_own(b"X-Request-ID", id, &|text| text.extend_from_slice(&self.request_id));
        if let Some(value) = told(b"forwarded") {
            push(b"Forwarded", value);
        }
    }
}

pub(super) fn push_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn push_date_field(unix_ms: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Date: ");
    push_date(unix_ms, out);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn push_status_line(status: u16, told: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    let digits =
        [b'0' + (status / 100 % 10) as u8, b'0' + (status / 10 % 10) as u8, b'0' + (status % 10) as u8];
    out.extend_from_slice(&digits);
    out.push(b' ');
    out.extend_from_slice(if told.is_empty() { reason(status).as_bytes() } else { told });
    out.extend_from_slice(b"\r\n");
}

/// Everything but hop-by-hop fields and framing, which no program may set.
pub(super) fn push_end_to_end(fields: &Fields, out: &mut Vec<u8>) {
    for field in fields.iter().filter(|field| is_passed_down(field.name)) {
        push_field(field.name, field.value, out);
    }
}

/// No hop-by-hop field, nor framing; `Trailer` only tells of what comes.
pub(super) fn is_passed_down(name: &[u8]) -> bool {
    Kind::of(name) != Kind::Hop || is_challenge(name) || name.eq_ignore_ascii_case(b"trailer")
}

fn is_challenge(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"proxy-authenticate")
}

pub(super) fn push_framing(framing: Framing, out: &mut Vec<u8>) {
    match framing.body {
        Body::Unframed => {}
        Body::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            push_decimal(length, out);
            out.extend_from_slice(b"\r\n");
        }
        Body::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    match framing.connection {
        Connection::Default => {}
        Connection::KeepAlive => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        Connection::Close => out.extend_from_slice(b"Connection: close\r\n"),
        Connection::Upgrade(protocol) => {
            out.extend_from_slice(b"Connection: Upgrade\r\n");
            push_field(b"Upgrade", protocol, out);
        }
    }
    if framing.expect_continue {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
}

/// Upstream fields that go on to the client.
pub(super) fn each_response_field<'a>(head: &ResponseHead<'a>, mut push: impl FnMut(HeaderSpan<'a>)) {
    let connection =
        |field: &&HeaderSpan| field.name.len() == 10 && field.name.eq_ignore_ascii_case(b"connection");
    let nominated: Vec<&[u8]> = head.headers.iter().filter(connection).map(|field| field.value).collect();
    let nominated = nominated_in(nominated.into_iter());
    for field in head.headers {
        let withheld = field.name.eq_ignore_ascii_case(b"trailer") && !announces(field.value);
        if is_passed_down(field.name) && !is_nominated(&nominated, field.name) && !withheld {
            push(*field);
        }
    }
}

/// True where all of the names are of trailers that go on.
fn announces(names: &[u8]) -> bool {
    names.split(|&byte| byte == b',').all(|name| may_trail(name.trim_ascii()))
}

/// Names that Connection makes hop-by-hop; end-to-end names which are not ours to drop are left out (reliability.md 2.8).
fn nominated(fields: &Fields) -> Vec<Vec<u8>> {
    nominated_in(fields.all(b"connection"))
}

fn nominated_in<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    lines
        .flat_map(|line| line.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
        .filter(|token| {
            !matches!(token.to_ascii_lowercase().as_slice(), b"close" | b"keep-alive" | b"upgrade")
        })
        .filter(|token| Kind::of(token) == Kind::EndToEnd && !is_protected(token))
        .map(<[u8]>::to_vec)
        .collect()
}

/// A client may not have its own credentials or content type dropped on the way.
fn is_protected(name: &[u8]) -> bool {
    [&b"authorization"[..], b"cookie", b"content-type", b"content-encoding", b"set-cookie", b"cache-control"]
        .iter()
        .any(|kept| name.eq_ignore_ascii_case(kept))
}

fn is_nominated(nominated: &[Vec<u8>], name: &[u8]) -> bool {
    !nominated.is_empty() && nominated.iter().any(|token| token.eq_ignore_ascii_case(name))
}
