//! Field lists as messages (RFC 9113 8.2, 8.3): pseudo-header fields, names and values, what HTTP/1.1 alone may have.
//!
//! Rule: what is malformed here is a stream error before anything is sent upstream; one reading of every message.

use super::hpack::decoder::FieldList;
use crate::exchange::is_end_to_end;
use crate::http1::fields::{content_length, is_token_byte};

/// Why a list is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// The parts of a request's head that are no fields of HTTP, and what framing needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    pub method: &'a [u8],
    pub path: &'a [u8],
    /// `:authority`, or Host where it is missing.
    pub authority: Option<&'a [u8]>,
    /// Of an extended CONNECT (RFC 8441).
    pub protocol: Option<&'a [u8]>,
    pub length: Option<u64>,
    pub expects_continue: bool,
    /// The client takes trailers: gRPC says so and servers ask for it.
    pub takes_trailers: bool,
    cookies: usize,
}

impl<'a> Request<'a> {
    /// Reads a whole list.
    pub fn read(fields: &'a FieldList) -> Result<Request<'a>, Malformed> {
        let mut request = Request::default();
        let mut scheme: Option<&[u8]> = None;
        let mut host: Option<&[u8]> = None;
        let (mut path, mut method): (Option<&[u8]>, Option<&[u8]>) = (None, None);
        let mut regular = false;
        for (name, value) in fields.iter() {
            check_value(value)?;
            if name.first() == Some(&b':') {
                let place = match name {
                    b":method" => &mut method,
                    b":scheme" => &mut scheme,
                    b":path" => &mut path,
                    b":authority" => &mut request.authority,
                    b":protocol" => &mut request.protocol,
                    _ => return Err(Malformed("unknown pseudo-header field")),
                };
                if regular {
                    return Err(Malformed("pseudo-header field after a field"));
                }
                if place.replace(value).is_some() {
                    return Err(Malformed("pseudo-header field twice"));
                }
                continue;
            }
            regular = true;
            check_name(name)?;
            match name {
                b"host" if host.replace(value).is_some() => {
                    return Err(Malformed("more than one Host field"));
                }
                b"cookie" => request.cookies += 1,
                b"content-length" => {
                    let length = content_length(value).map_err(|rule| Malformed(rule.rule))?;
                    if request.length.replace(length).is_some() {
                        return Err(Malformed("more than one content-length"));
                    }
                }
                b"te" if value != b"trailers" => return Err(Malformed("te other than trailers")),
                b"te" => request.takes_trailers = true,
                b"expect" => request.expects_continue = value.eq_ignore_ascii_case(b"100-continue"),
                _ if is_connection_specific(name) => return Err(Malformed("connection-specific field")),
                _ => {}
            }
        }
        request.method = method.filter(|text| !text.is_empty()).ok_or(Malformed("no :method"))?;
        if !request.method.iter().all(|byte| is_token_byte(*byte)) {
            return Err(Malformed("malformed :method"));
        }
        request.check_authority(host)?;
        request.check_target(path, scheme)?;
        Ok(request)
    }

    fn check_authority(&mut self, host: Option<&'a [u8]>) -> Result<(), Malformed> {
        match (self.authority, host) {
            (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
                Err(Malformed(":authority and Host disagree"))
            }
            (None, host) => {
                self.authority = host;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check_target(&mut self, path: Option<&'a [u8]>, scheme: Option<&'a [u8]>) -> Result<(), Malformed> {
        if self.method == b"CONNECT" && self.protocol.is_none() {
            // RFC 9113 8.5: neither scheme nor path. It is refused later, by its method.
            self.path = b"/";
            return match (path, scheme) {
                (None, None) => Ok(()),
                _ => Err(Malformed("CONNECT with a path or scheme")),
            };
        }
        if self.protocol.is_some() && self.method != b"CONNECT" {
            return Err(Malformed(":protocol without CONNECT"));
        }
        if self.protocol.is_some() && self.length.is_some() {
            // Upstream it would be an upgrade with a body that never comes, which the next request would be taken for.
            return Err(Malformed("a length of what passes unread"));
        }
        if !matches!(scheme, Some(b"http" | b"https")) {
            return Err(Malformed("no :scheme of HTTP"));
        }
        self.path = path.unwrap_or_default();
        let asterisk = self.path == b"*" && self.method == b"OPTIONS";
        match self.path.first() == Some(&b'/') || asterisk {
            true if self.path.iter().all(|byte| byte.is_ascii_graphic()) => Ok(()),
            _ => Err(Malformed("malformed :path")),
        }
    }

    /// The fields that go on, Host first; crumbs of cookies are joined in `cookies` (RFC 9113 8.2.3).
    pub fn each_field(
        &self,
        fields: &'a FieldList,
        cookies: &'a mut Vec<u8>,
        mut push: impl FnMut(&'a [u8], &'a [u8]),
    ) {
        if let Some(authority) = self.authority {
            push(b"host", authority);
        }
        let joined = self.cookies > 1;
        cookies.clear();
        for (name, value) in fields.iter() {
            match name {
                [b':', ..] | b"host" => {}
                b"cookie" if joined => {
                    if !cookies.is_empty() {
                        cookies.extend_from_slice(b"; ");
                    }
                    cookies.extend_from_slice(value);
                }
                _ => push(name, value),
            }
        }
        if joined {
            push(b"cookie", cookies);
        }
    }
}

/// An answer's head from an upstream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub length: Option<u64>,
}

impl Answer {
    pub fn read(fields: &FieldList) -> Result<Answer, Malformed> {
        let mut answer = Answer::default();
        let mut regular = false;
        for (name, value) in fields.iter() {
            check_value(value)?;
            if name == b":status" {
                let digits = value.len() == 3 && value.iter().all(u8::is_ascii_digit);
                if regular || answer.status != 0 || !digits || value[0] == b'0' {
                    return Err(Malformed("malformed :status"));
                }
                answer.status = value.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
                continue;
            }
            regular = true;
            check_name(name)?;
            if is_connection_specific(name) {
                return Err(Malformed("connection-specific field"));
            }
            if name == b"content-length" {
                let length = content_length(value).map_err(|rule| Malformed(rule.rule))?;
                if answer.length.replace(length).is_some() {
                    return Err(Malformed("more than one content-length"));
                }
            }
        }
        // 101 is not used in HTTP/2 (RFC 9113 8.6).
        match answer.status {
            0 | 101 => Err(Malformed("no :status, or 101")),
            _ => Ok(answer),
        }
    }
}

/// Trailers are fields alone, well-formed and within the limits.
pub fn are_trailers(fields: &FieldList) -> bool {
    let well = |(name, value)| check_name(name).is_ok() && check_value(value).is_ok();
    !fields.too_large && fields.iter().all(well)
}

/// Fields that no trailer may be (RFC 9110 6.5.1; Go: httpguts.ValidTrailerHeader): they frame, route, authenticate, or say
/// how the content is to be taken.
const NO_TRAILERS: [&str; 17] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "host",
    "max-forwards",
    "pragma",
    "range",
    "realm",
    "set-cookie",
    "te",
    "trailer",
    "www-authenticate",
];

/// Trailers that may be passed on, whatever the case of their name.
pub fn may_trail(name: &[u8]) -> bool {
    let forbidden = |one: &&str| name.eq_ignore_ascii_case(one.as_bytes());
    let conditional = name.len() > 3 && name[..3].eq_ignore_ascii_case(b"if-");
    is_end_to_end(name) && !conditional && !NO_TRAILERS.iter().any(forbidden)
}

/// RFC 9113 8.2.2.
fn is_connection_specific(name: &[u8]) -> bool {
    matches!(name, b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade")
}

/// A token in lower case.
fn check_name(name: &[u8]) -> Result<(), Malformed> {
    let valid = |byte: &u8| is_token_byte(*byte) && !byte.is_ascii_uppercase();
    match !name.is_empty() && name.iter().all(valid) {
        true => Ok(()),
        false => Err(Malformed("malformed field name")),
    }
}

/// RFC 9113 8.2.1, and no control byte but HTAB as in HTTP/1.1.
fn check_value(value: &[u8]) -> Result<(), Malformed> {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let control = value.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f);
    match control || blank(value.first()) || blank(value.last()) {
        true => Err(Malformed("malformed field value")),
        false => Ok(()),
    }
}
