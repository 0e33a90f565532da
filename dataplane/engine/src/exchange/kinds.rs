//! What field names mean to a proxy: by name alone, without case.

use super::fields::is_token;

/// What a field name means to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    EndToEnd,
    Host,
    /// Only between two hops (RFC 9110 7.6.1), or framing, which the connection writes.
    Hop,
    /// Says who the client is: written by us.
    Forwarding,
    /// Never taken in.
    Dropped,
}

impl Kind {
    /// By length first: most names differ there.
    pub fn of(name: &[u8]) -> Self {
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        match name.len() {
            2 if is("te") => Kind::Hop,
            4 if is("host") => Kind::Host,
            5 if is("proxy") => Kind::Dropped,
            6 if is("expect") => Kind::Hop,
            7 if is("trailer") || is("upgrade") => Kind::Hop,
            9 if is("forwarded") || same_twin(name, b"x-real-ip") => Kind::Forwarding,
            10 if is("connection") || is("keep-alive") => Kind::Hop,
            12 if same_twin(name, b"x-request-id") => Kind::Forwarding,
            14 if is("content-length") => Kind::Hop,
            15 if same_twin(name, b"x-forwarded-for") => Kind::Forwarding,
            16 if is("proxy-connection") => Kind::Hop,
            16 if same_twin(name, b"x-forwarded-host") || same_twin(name, b"x-forwarded-port") => {
                Kind::Forwarding
            }
            17 if is("transfer-encoding") => Kind::Hop,
            17 if same_twin(name, b"x-forwarded-proto") => Kind::Forwarding,
            18 if is("proxy-authenticate") => Kind::Hop,
            19 if is("proxy-authorization") => Kind::Hop,
            _ => Kind::EndToEnd,
        }
    }
}

/// A field that programs may write.
pub(crate) fn is_end_to_end(name: &[u8]) -> bool {
    Kind::of(name) == Kind::EndToEnd
}

/// Equal without case, `_` for `-`: CGI-like backends cannot tell them apart.
fn same_twin(name: &[u8], canonical: &[u8]) -> bool {
    name.iter().zip(canonical).all(|(&a, &b)| a.eq_ignore_ascii_case(&b) || (a == b'_' && b == b'-'))
}

/// A client's own id is kept from trusted peers only, when it is a short token.
pub(crate) fn is_request_id(value: &[u8]) -> bool {
    value.len() <= 128 && is_token(value)
}
