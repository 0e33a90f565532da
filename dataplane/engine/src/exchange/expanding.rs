//! Placeholders of one request, expanded (Caddy: caddyhttp/replacer.go).

use super::fields::Fields;
use super::texts::{ERROR_MESSAGE_VARIABLE, Part, Placeholder, Text, USER_VARIABLE};
use super::{Exchange, paths};
use crate::limits::WRITTEN_TEXT_BYTES_MAX;
use crate::snapshot::Endpoint;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What becomes of a placeholder that the engine does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Caddy's ReplaceAll with an empty default.
    Empty,
    /// Caddy's ReplaceKnown.
    Keep,
}

impl Exchange {
    pub fn expand(&self, text: &Text, unknown: Unknown, out: &mut Vec<u8>) {
        match text {
            Text::Literal(literal) => out.extend_from_slice(literal),
            Text::Parts(parts) => {
                let end = out.len().saturating_add(WRITTEN_TEXT_BYTES_MAX);
                for part in parts {
                    if out.len() > end {
                        return self.outgrown.set(true);
                    }
                    self.expand_part(part, unknown, out);
                }
            }
        }
    }

    pub fn expand_part(&self, part: &Part, unknown: Unknown, out: &mut Vec<u8>) {
        match part {
            Part::Literal(literal) => out.extend_from_slice(literal),
            Part::Placeholder(placeholder) => self.expand_placeholder(placeholder, unknown, out),
        }
    }

    /// Appends the value. Groups: the URI, the connection, the rest.
    pub fn expand_placeholder(&self, placeholder: &Placeholder, unknown: Unknown, out: &mut Vec<u8>) {
        if self.keep_unset(placeholder, unknown, out) {
            return;
        }
        match placeholder {
            Placeholder::Attempt(field) => self.expand_attempt(*field, out),
            Placeholder::Unknown(name) => {
                if !self.expand_mapped(name, out) && unknown == Unknown::Keep {
                    out.push(b'{');
                    out.extend_from_slice(name);
                    out.push(b'}');
                }
            }
            // Before its pattern matched, a capture is as unknown as any other name (Caddy: replacer.go).
            Placeholder::Regexp(key) if unknown == Unknown::Keep && self.captures.get(key).is_none() => {
                out.extend_from_slice(&[b"{http.regexp.", &key[..], b"}"].concat());
            }
            _ if unknown == Unknown::Keep && self.push_unset(placeholder, out) => {}
            Placeholder::Tls(field) => self.expand_tls(*field, out),
            Placeholder::Surrounding(surrounding) => self.expand_surrounding(*surrounding, out),
            _ if self.expand_answer(placeholder, unknown, out) => {}
            _ if self.expand_uri(placeholder, out) || self.expand_connection(placeholder, out) => {}
            _ => self.expand_message(placeholder, out),
        }
    }

    /// Appends the name of what nothing has set yet: to Caddy these are no placeholders before (replacer.go).
    fn push_unset(&self, placeholder: &Placeholder, out: &mut Vec<u8>) -> bool {
        let name: &[u8] = match placeholder {
            Placeholder::UserId => USER_VARIABLE,
            Placeholder::ErrorStatus => b"http.error.status_code",
            Placeholder::ErrorText => b"http.error.status_text",
            Placeholder::UpstreamHost => b"http.reverse_proxy.upstream.host",
            Placeholder::UpstreamPort => b"http.reverse_proxy.upstream.port",
            Placeholder::UpstreamHostPort => b"http.reverse_proxy.upstream.hostport",
            Placeholder::Variable(name) if &name[..] == ERROR_MESSAGE_VARIABLE && self.status == 0 => name,
            Placeholder::Variable(name) if name.starts_with(b"http.matchers.file.") => name,
            _ => return false,
        };
        let unset = !self.is_set(placeholder);
        if unset {
            out.extend_from_slice(&[b"{", name, b"}"].concat());
        }
        unset
    }

    fn shown_uri(&self) -> Vec<u8> {
        let mut uri = Vec::new();
        self.write_uri(&mut uri);
        uri.drain(..self.bare_bytes());
        uri
    }

    fn expand_uri(&self, placeholder: &Placeholder, out: &mut Vec<u8>) -> bool {
        match placeholder {
            Placeholder::Uri => out.extend_from_slice(&self.shown_uri()),
            Placeholder::UriEscaped => {
                paths::encode_query(&self.shown_uri(), out);
            }
            Placeholder::Path => drop(paths::decode(&self.path[self.bare_bytes()..], out)),
            Placeholder::PathEscaped => paths::encode_query(&self.decoded_path(), out),
            Placeholder::PathSegment(index) => {
                let path = self.decoded_path();
                out.extend_from_slice(
                    path.split(|&b| b == b'/').nth(usize::from(*index) + 1).unwrap_or_default(),
                );
            }
            Placeholder::PathFile => out.extend_from_slice(split_path(&self.decoded_path()).1),
            Placeholder::PathDirectory => out.extend_from_slice(split_path(&self.decoded_path()).0),
            Placeholder::PathFileBase => {
                let path = self.decoded_path();
                let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
                let file = if end == 0 { b"/" } else { split_path(&path[..end]).1 };
                out.extend_from_slice(file.strip_suffix(extension(&path)).unwrap_or(file));
            }
            Placeholder::PathFileExtension => out.extend_from_slice(extension(&self.decoded_path())),
            Placeholder::Query => out.extend_from_slice(&self.query),
            Placeholder::QueryEscaped => paths::encode_query(&self.query, out),
            Placeholder::PrefixedQuery => push_prefixed(&self.query, out),
            Placeholder::QueryKey(key) => {
                let values =
                    super::queries::parse(&self.query).into_iter().filter(|(name, _)| name[..] == key[..]);
                push_joined(values.map(|(_, value)| value), out);
            }
            Placeholder::OriginalUri => out.extend_from_slice(&self.target),
            Placeholder::OriginalPath => drop(paths::decode(self.original().0, out)),
            Placeholder::OriginalPathFile => out.extend_from_slice(split_path(&self.original_path()).1),
            Placeholder::OriginalPathDirectory => out.extend_from_slice(split_path(&self.original_path()).0),
            Placeholder::OriginalPathSegment(index) => {
                let path = self.original_path();
                out.extend_from_slice(
                    path.split(|&b| b == b'/').nth(usize::from(*index) + 1).unwrap_or_default(),
                );
            }
            Placeholder::OriginalQuery => out.extend_from_slice(self.original().1),
            Placeholder::OriginalPrefixedQuery => push_prefixed(self.original().1, out),
            _ => return false,
        }
        true
    }

    fn expand_connection(&self, placeholder: &Placeholder, out: &mut Vec<u8>) -> bool {
        // Writing to a Vec cannot fail.
        let _ = match placeholder {
            Placeholder::Remote => write!(out, "{}", self.remote),
            Placeholder::RemoteHost => write!(out, "{}", self.remote.ip()),
            Placeholder::RemotePort => write!(out, "{}", self.remote.port()),
            Placeholder::Local => write!(out, "{}", self.local),
            Placeholder::LocalHost => write!(out, "{}", self.local.ip()),
            Placeholder::LocalPort => write!(out, "{}", self.local.port()),
            Placeholder::ClientIp => write!(out, "{}", self.client),
            Placeholder::UpstreamHostPort => self.write_upstream_hostport(out),
            Placeholder::UpstreamHost => self.write_upstream(out, Endpoint::host),
            Placeholder::UpstreamPort => self.write_upstream(out, |endpoint| match endpoint.is_unix() {
                true => "0".to_owned(),
                false => endpoint.address.port().to_string(),
            }),
            Placeholder::RemoteNetwork(four, six) => {
                let network = network_of(self.remote.ip(), *four, *six);
                network.map_or(Ok(()), |network| out.write_all(network.as_bytes()))
            }
            Placeholder::Year => {
                let days = (self.now.unix_ms / 86_400_000) as i64;
                write!(out, "{}", crate::calendar::civil_from_days(days).0)
            }
            Placeholder::HttpDate => {
                super::statuses::push_date(self.now.unix_ms, out);
                Ok(())
            }
            Placeholder::UnixSeconds => write!(out, "{}", self.now.unix_ms / 1000),
            Placeholder::UnixMilliseconds => write!(out, "{}", self.now.unix_ms),
            _ => return false,
        };
        true
    }

    fn expand_message(&self, placeholder: &Placeholder, out: &mut Vec<u8>) {
        match placeholder {
            Placeholder::Method => out.extend_from_slice(&self.method),
            Placeholder::OriginalMethod => out.extend_from_slice(&self.original_method),
            Placeholder::Scheme => out.extend_from_slice(self.scheme().as_bytes()),
            Placeholder::Protocol => out.extend_from_slice(self.protocol().as_bytes()),
            Placeholder::Host => out.extend_from_slice(self.shown_host()),
            Placeholder::HostLabel(index) => {
                let label = self.shown_host().rsplit(|&b| b == b'.').nth(usize::from(*index));
                out.extend_from_slice(&label.unwrap_or_default().to_ascii_lowercase());
            }
            Placeholder::Port => out.extend_from_slice(shown_port(self.port())),
            Placeholder::HostPort => out.extend_from_slice(&self.authority),
            Placeholder::RequestBody => out.extend_from_slice(self.read_body.as_deref().unwrap_or_default()),
            Placeholder::RequestBodyBase64 => {
                let body = self.read_body.as_deref().unwrap_or_default();
                out.extend_from_slice(STANDARD.encode(body).as_bytes());
            }
            Placeholder::RequestId => {
                self.shows_uuid.set(true);
                self.push_uuid(out);
            }
            Placeholder::RequestHeader(name) => push_joined(self.request.all(name), out),
            Placeholder::Cookie(name) => out.extend_from_slice(self.cookie(name).unwrap_or_default()),
            Placeholder::ResponseHeader(name) => {
                let fields = if self.writing_answer { &self.scratch } else { &self.answer };
                push_joined(fields.all(name), out);
            }
            Placeholder::Variable(name) => {
                out.extend_from_slice(self.variables.get(name).unwrap_or_default())
            }
            Placeholder::UserId => {
                out.extend_from_slice(self.variables.get(USER_VARIABLE).unwrap_or_default())
            }
            Placeholder::Regexp(key) => out.extend_from_slice(self.captures.get(key).unwrap_or_default()),
            Placeholder::ErrorStatus if self.status != 0 => drop(write!(out, "{}", self.status)),
            Placeholder::ErrorId if self.status != 0 => out.extend_from_slice(&self.request_id[..9]),
            Placeholder::ErrorText => out.extend_from_slice(super::statuses::reason(self.status).as_bytes()),
            Placeholder::ErrorWhole if self.status != 0 => self.push_error(out),
            _ => {}
        }
    }

    /// As Caddy's HandlerError without the place in its source that it names (caddyhttp/errors.go).
    fn push_error(&self, out: &mut Vec<u8>) {
        let message = self.variables.get(ERROR_MESSAGE_VARIABLE).unwrap_or_default();
        let status = format!("}}: HTTP {}: ", self.status);
        let whole = [b"{id=", &self.request_id[..9], status.as_bytes(), message].concat();
        out.extend_from_slice(whole.trim_ascii_end());
    }

    /// What is known of answers; before there is one, these are no placeholders to Caddy.
    fn expand_answer(&self, placeholder: &Placeholder, unknown: Unknown, out: &mut Vec<u8>) -> bool {
        let written = match placeholder {
            Placeholder::TransportError => {
                out.extend_from_slice(if self.transport_error { b"true" } else { b"" });
                self.transport_error
            }
            Placeholder::UpstreamStatus => push_status(self.upstream_status, out),
            Placeholder::UpstreamStatusText => {
                let written = push_status(self.upstream_status, out);
                if written {
                    out.push(b' ');
                    out.extend_from_slice(super::statuses::reason(self.upstream_status).as_bytes());
                }
                written
            }
            Placeholder::InterceptedStatus => push_status(self.intercepted_status, out),
            Placeholder::UpstreamField(name) => push_known(&self.upstream_fields, name, out),
            Placeholder::InterceptedField(name) => push_known(&self.intercepted_fields, name, out),
            _ => return false,
        };
        if !written && unknown == Unknown::Keep {
            let (prefix, name): (&[u8], &[u8]) = match placeholder {
                Placeholder::TransportError => (b"http.reverse_proxy.is_transport_error", b""),
                Placeholder::UpstreamStatus => (b"http.reverse_proxy.status_code", b""),
                Placeholder::UpstreamStatusText => (b"http.reverse_proxy.status_text", b""),
                Placeholder::InterceptedStatus => (b"http.intercept.status_code", b""),
                Placeholder::UpstreamField(name) => (b"http.reverse_proxy.header.", name),
                Placeholder::InterceptedField(name) => (b"http.intercept.header.", name),
                _ => (b"", b""),
            };
            for part in [b"{", prefix, name, b"}"] {
                out.extend_from_slice(part);
            }
        }
        true
    }

    fn write_upstream(&self, out: &mut Vec<u8>, show: fn(&Endpoint) -> String) -> std::io::Result<()> {
        self.upstream.as_ref().map_or(Ok(()), |endpoint| out.write_all(show(endpoint).as_bytes()))
    }

    /// The upstream as it was configured.
    pub(super) fn write_upstream_hostport(&self, out: &mut Vec<u8>) -> std::io::Result<()> {
        self.write_upstream(out, Endpoint::hostport)
    }

    fn original_path(&self) -> Vec<u8> {
        let mut path = Vec::new();
        paths::decode(self.original().0, &mut path);
        path
    }

    /// Value of a cookie, name without case (Caddy).
    pub(crate) fn cookie(&self, name: &[u8]) -> Option<&[u8]> {
        self.request.all(b"cookie").flat_map(|line| line.split(|&b| b == b';')).find_map(|pair| {
            let (key, value) = split_once(pair.trim_ascii(), b'=')?;
            let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Go's netip.Addr.Prefix: the address with the bits after the first so many cleared.
fn network_of(address: IpAddr, four: u8, six: u8) -> Option<String> {
    match address {
        IpAddr::V4(address) if four <= 32 => {
            let kept = u32::MAX.checked_shl(32 - u32::from(four)).unwrap_or(0);
            Some(format!("{}/{four}", Ipv4Addr::from(u32::from(address) & kept)))
        }
        IpAddr::V6(address) if six <= 128 => {
            let kept = u128::MAX.checked_shl(128 - u32::from(six)).unwrap_or(0);
            Some(format!("{}/{six}", Ipv6Addr::from(u128::from(address) & kept)))
        }
        _ => None,
    }
}

pub fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let index = memchr::memchr(at, text)?;
    Some((&text[..index], &text[index + 1..]))
}

/// Go's path.Split: directory with its slash, file.
fn split_path(path: &[u8]) -> (&[u8], &[u8]) {
    path.split_at(memchr::memrchr(b'/', path).map_or(0, |at| at + 1))
}

/// Go's path.Ext.
fn extension(path: &[u8]) -> &[u8] {
    let file = split_path(path).1;
    memchr::memrchr(b'.', file).map_or(b"", |at| &file[at..])
}

/// A number: without zeros in front (Go: strconv.Atoi).
fn shown_port(port: &[u8]) -> &[u8] {
    let zeros = port.iter().take_while(|&&digit| digit == b'0').count();
    &port[zeros.min(port.len().saturating_sub(1))..]
}

fn push_status(status: u16, out: &mut Vec<u8>) -> bool {
    // Writing to a Vec cannot fail.
    let _ = if status == 0 { Ok(()) } else { write!(out, "{status}") };
    status != 0
}

fn push_known(fields: &Fields, name: &[u8], out: &mut Vec<u8>) -> bool {
    push_joined(fields.all(name), out);
    fields.contains(name)
}

fn push_prefixed(query: &[u8], out: &mut Vec<u8>) {
    if !query.is_empty() {
        out.push(b'?');
        out.extend_from_slice(query);
    }
}

fn push_joined<T: AsRef<[u8]>>(values: impl Iterator<Item = T>, out: &mut Vec<u8>) {
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(value.as_ref());
    }
}
