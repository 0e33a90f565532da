//! Text with placeholders, compiled when a snapshot is decoded and expanded per request (Caddy: replacer.go).

use super::attempts::AttemptField;
use super::surroundings::{Surrounding, TlsField};
use crate::protocol;

/// The variable of the name that `basic_auth` let in.
pub const USER_VARIABLE: &[u8] = b"http.auth.user.id";
/// The variable of the message of `error`; the program sets it.
pub const ERROR_MESSAGE_VARIABLE: &[u8] = b"http.error.message";

/// The variable of the file that a `file` matcher found, below its root.
pub const MATCHED_FILE: &[u8] = b"http.matchers.file.relative";

/// Literal bytes and placeholders, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    Literal(Box<[u8]>),
    Parts(Box<[Part]>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Literal(Box<[u8]>),
    Placeholder(Placeholder),
}

/// A value of the request, by Caddy's long name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placeholder {
    Method,
    OriginalMethod,
    Scheme,
    Protocol,
    Host,
    HostLabel(u16),
    Port,
    HostPort,
    Uri,
    UriEscaped,
    Path,
    PathEscaped,
    PathSegment(u16),
    PathFile,
    PathDirectory,
    PathFileBase,
    PathFileExtension,
    Query,
    QueryEscaped,
    PrefixedQuery,
    QueryKey(Box<[u8]>),
    OriginalUri,
    OriginalPath,
    OriginalPathFile,
    OriginalPathDirectory,
    OriginalPathSegment(u16),
    OriginalQuery,
    OriginalPrefixedQuery,
    Remote,
    RemoteHost,
    /// The peer's network: bits kept of an IPv4 and of an IPv6 address.
    RemoteNetwork(u8, u8),
    RemotePort,
    Local,
    LocalHost,
    LocalPort,
    ClientIp,
    RequestId,
    RequestBody,
    RequestBodyBase64,
    RequestHeader(Box<[u8]>),
    Cookie(Box<[u8]>),
    Tls(TlsField),
    Surrounding(Surrounding),
    ResponseHeader(Box<[u8]>),
    Variable(Box<[u8]>),
    UserId,
    Regexp(Box<[u8]>),
    ErrorStatus,
    ErrorText,
    ErrorId,
    /// Id, status and message of an error in one.
    ErrorWhole,
    Attempt(AttemptField),
    UpstreamHostPort,
    UpstreamHost,
    UpstreamPort,
    UpstreamStatus,
    UpstreamStatusText,
    /// The attempt at hand failed without an answer.
    TransportError,
    UpstreamField(Box<[u8]>),
    InterceptedStatus,
    InterceptedField(Box<[u8]>),
    UnixSeconds,
    Year,
    HttpDate,
    UnixMilliseconds,
    /// Not of this engine: stays as written, or becomes empty, as the field's rule is.
    Unknown(Box<[u8]>),
}

impl Default for Text {
    fn default() -> Self {
        Text::Literal(Box::default())
    }
}

impl Text {
    pub fn compile(text: Option<&protocol::Text>) -> Self {
        let Some(text) = text else { return Self::default() };
        let parts: Vec<Part> = text.parts.iter().filter_map(Part::compile).collect();
        match parts.as_slice() {
            [] => Self::default(),
            [Part::Literal(literal)] => Text::Literal(literal.clone()),
            _ => Text::Parts(parts.into()),
        }
    }

    pub fn from_parts(mut parts: Vec<Part>) -> Self {
        match parts.len() {
            0 => Self::default(),
            1 if matches!(parts[0], Part::Literal(_)) => {
                let Some(Part::Literal(literal)) = parts.pop() else { return Self::default() };
                Text::Literal(literal)
            }
            _ => Text::Parts(parts.into()),
        }
    }

    /// Whether it is an absolute http(s) URI whose authority is written here or the request's own.
    pub fn is_absolute_uri(&self) -> bool {
        let mut begun = false;
        for part in self.parts() {
            let mut rest = match &part {
                Part::Literal(literal) => &literal[..],
                Part::Placeholder(Placeholder::Uri | Placeholder::Path) => return begun,
                Part::Placeholder(Placeholder::Host | Placeholder::HostPort) if begun => continue,
                Part::Placeholder(_) => return false,
            };
            if !begun {
                let begin = rest.strip_prefix(b"https://").or_else(|| rest.strip_prefix(b"http://"));
                let Some(after) = begin else { return false };
                (rest, begun) = (after, true);
            }
            if rest.contains(&b'/') {
                return true;
            }
        }
        begun
    }

    /// A placeholder alone, by its long name.
    pub fn placeholder(name: &str) -> Self {
        Text::Parts([Part::Placeholder(Placeholder::compile(name))].into())
    }

    pub fn literal(&self) -> Option<&[u8]> {
        match self {
            Text::Literal(literal) => Some(literal),
            Text::Parts(_) => None,
        }
    }

    /// True when nothing was configured.
    pub fn is_empty(&self) -> bool {
        matches!(self, Text::Literal(literal) if literal.is_empty())
    }

    pub fn parts(&self) -> Vec<Part> {
        match self {
            Text::Literal(literal) if literal.is_empty() => Vec::new(),
            Text::Literal(literal) => vec![Part::Literal(literal.clone())],
            Text::Parts(parts) => parts.to_vec(),
        }
    }
}

impl Part {
    fn compile(part: &protocol::Part) -> Option<Self> {
        match part.part.as_ref()? {
            protocol::part::Part::Literal(literal) => Some(Part::Literal(literal.as_bytes().into())),
            protocol::part::Part::Placeholder(name) => Some(Part::Placeholder(Placeholder::compile(name))),
        }
    }
}

impl Placeholder {
    pub fn compile(name: &str) -> Self {
        Self::compile_fixed(name)
            .or_else(|| super::surroundings::compile(name))
            .or_else(|| Self::compile_prefixed(name))
            .unwrap_or_else(|| Placeholder::Unknown(name.as_bytes().into()))
    }

    /// True for what is the machine's or the clock's, not the request's.
    pub fn is_global(&self) -> bool {
        match self {
            Placeholder::Surrounding(surrounding) => surrounding.is_global(),
            Placeholder::Year
            | Placeholder::HttpDate
            | Placeholder::UnixSeconds
            | Placeholder::UnixMilliseconds => true,
            _ => false,
        }
    }

    fn compile_fixed(name: &str) -> Option<Self> {
        Some(match name {
            "http.request.method" => Placeholder::Method,
            "http.request.orig_method" => Placeholder::OriginalMethod,
            "http.request.scheme" => Placeholder::Scheme,
            "http.request.proto" | "http.request.proto_name" => Placeholder::Protocol,
            "http.request.host" => Placeholder::Host,
            "http.request.port" => Placeholder::Port,
            "http.request.hostport" => Placeholder::HostPort,
            "http.request.uri" => Placeholder::Uri,
            "http.request.uri_escaped" => Placeholder::UriEscaped,
            "http.request.uri.path" => Placeholder::Path,
            "http.request.uri.path_escaped" => Placeholder::PathEscaped,
            "http.request.uri.path.file" => Placeholder::PathFile,
            "http.request.uri.path.dir" => Placeholder::PathDirectory,
            "http.request.uri.path.file.base" => Placeholder::PathFileBase,
            "http.request.uri.path.file.ext" => Placeholder::PathFileExtension,
            "http.request.uri.query" => Placeholder::Query,
            "http.request.uri.query_escaped" => Placeholder::QueryEscaped,
            "http.request.uri.prefixed_query" => Placeholder::PrefixedQuery,
            "http.request.orig_uri" => Placeholder::OriginalUri,
            "http.request.orig_uri.path" => Placeholder::OriginalPath,
            "http.request.orig_uri.path.file" => Placeholder::OriginalPathFile,
            "http.request.orig_uri.path.dir" => Placeholder::OriginalPathDirectory,
            "http.request.orig_uri.query" => Placeholder::OriginalQuery,
            "http.request.orig_uri.prefixed_query" => Placeholder::OriginalPrefixedQuery,
            "http.request.remote" => Placeholder::Remote,
            "http.request.remote.host" => Placeholder::RemoteHost,
            "http.request.remote.port" => Placeholder::RemotePort,
            "http.request.local" => Placeholder::Local,
            "http.request.local.host" => Placeholder::LocalHost,
            "http.request.local.port" => Placeholder::LocalPort,
            "http.request.uuid" => Placeholder::RequestId,
            "http.request.body" => Placeholder::RequestBody,
            "http.request.body_base64" => Placeholder::RequestBodyBase64,
            "http.vars.client_ip" => Placeholder::ClientIp,
            "http.auth.user.id" => Placeholder::UserId,
            "http.error.status_code" => Placeholder::ErrorStatus,
            "http.error" => Placeholder::ErrorWhole,
            "http.error.id" => Placeholder::ErrorId,
            "http.error.message" => Placeholder::Variable(ERROR_MESSAGE_VARIABLE.into()),
            "http.error.status_text" => Placeholder::ErrorText,
            "http.reverse_proxy.upstream.hostport" => Placeholder::UpstreamHostPort,
            "http.reverse_proxy.upstream.host" => Placeholder::UpstreamHost,
            "http.reverse_proxy.upstream.port" => Placeholder::UpstreamPort,
            "http.reverse_proxy.status_code" => Placeholder::UpstreamStatus,
            "http.reverse_proxy.is_transport_error" => Placeholder::TransportError,
            "time.now.year" => Placeholder::Year,
            "time.now.http" => Placeholder::HttpDate,
            "http.reverse_proxy.status_text" => Placeholder::UpstreamStatusText,
            "http.intercept.status_code" => Placeholder::InterceptedStatus,
            "time.now.unix" => Placeholder::UnixSeconds,
            "time.now.unix_ms" => Placeholder::UnixMilliseconds,
            _ => return None,
        })
    }

    fn compile_prefixed(name: &str) -> Option<Self> {
        let boxed = |text: &str| -> Box<[u8]> { text.as_bytes().into() };
        if let Some(field) = name.strip_prefix("http.request.header.") {
            return Some(Placeholder::RequestHeader(boxed(field)));
        }
        if let Some(key) = name.strip_prefix("http.request.uri.query.") {
            return Some(Placeholder::QueryKey(boxed(key)));
        }
        if let Some(index) = name.strip_prefix("http.request.uri.path.") {
            return index.parse().ok().map(Placeholder::PathSegment);
        }
        if let Some(index) = name.strip_prefix("http.request.orig_uri.path.") {
            return index.parse().ok().map(Placeholder::OriginalPathSegment);
        }
        if let Some(bits) = name.strip_prefix("http.request.remote.host/") {
            let (four, six) = bits.split_once(',').unwrap_or((bits, bits));
            return Some(Placeholder::RemoteNetwork(four.parse().ok()?, six.parse().ok()?));
        }
        if let Some(index) = name.strip_prefix("http.request.host.labels.") {
            return index.parse().ok().map(Placeholder::HostLabel);
        }
        if let Some(cookie) = name.strip_prefix("http.request.cookie.") {
            return Some(Placeholder::Cookie(boxed(cookie)));
        }
        if let Some(field) = name.strip_prefix("http.response.header.") {
            return Some(Placeholder::ResponseHeader(boxed(field)));
        }
        if let Some(field) = name.strip_prefix("http.reverse_proxy.").and_then(AttemptField::compile) {
            return Some(Placeholder::Attempt(field));
        }
        // These two are looked up by name as Go writes it: another case is no placeholder.
        if let Some(field) = name.strip_prefix("http.reverse_proxy.header.") {
            return is_canonical(field).then(|| Placeholder::UpstreamField(boxed(field)));
        }
        if let Some(field) = name.strip_prefix("http.intercept.header.") {
            return is_canonical(field).then(|| Placeholder::InterceptedField(boxed(field)));
        }
        if let Some(variable) = name.strip_prefix("http.vars.") {
            return Some(Placeholder::Variable(boxed(variable)));
        }
        if name.starts_with("http.matchers.file.") {
            return Some(Placeholder::Variable(boxed(name)));
        }
        name.strip_prefix("http.regexp.").map(|key| Placeholder::Regexp(boxed(key)))
    }
}

/// Every word of a field name begins with a capital and goes on in lower case (Go: textproto.CanonicalMIMEHeaderKey).
fn is_canonical(field: &str) -> bool {
    let mut begins = true;
    field.bytes().all(|byte| {
        let fits = if begins { !byte.is_ascii_lowercase() } else { !byte.is_ascii_uppercase() };
        begins = byte == b'-';
        fits
    })
}
