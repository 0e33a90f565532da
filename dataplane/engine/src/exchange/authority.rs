//! Host names, ports and addresses as they come in heads.

use super::Refuse;
use std::net::{IpAddr, SocketAddr};

pub(super) fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::find(target, b"://")?;
    let scheme = &target[..at];
    (scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https")).then(|| &target[at + 3..])
}

/// Checks `host[:port]` (RFC 3986 3.2.2, without user information). Lower-cases it and cuts a trailing dot, unless it is
/// to stay `as_sent`; then a name has all characters that the grammar gives it, as sites of any host may be asked for `*`;
/// but percent signs, and the comma that joins two Host lines.
pub(super) fn normalise_authority(authority: &mut Vec<u8>, as_sent: bool) -> Result<(), Refuse> {
    const REFUSE: Refuse = Refuse { status: 400, reason: super::MALFORMED_HOST };
    if !as_sent {
        authority.make_ascii_lowercase();
    }
    let end = find_host_end(authority);
    let (host, port) = authority.split_at(end);
    let port_valid = match port {
        [] | [b':'] => true,
        [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(digits).is_ok_and(|text| text.parse::<u16>().is_ok())
        }
        _ => false,
    };
    let host_valid = match host {
        [b'[', inner @ .., b']'] => {
            std::str::from_utf8(inner).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
        }
        _ => {
            host.len() <= 255
                && host.iter().all(|&c| {
                    c.is_ascii_alphanumeric()
                        || matches!(c, b'-' | b'.' | b'_')
                        || (as_sent && b"~!$&'()*+;=".contains(&c))
                })
        }
    };
    if !port_valid || !host_valid || (host.is_empty() && !port.is_empty()) || host.starts_with(b".") {
        return Err(REFUSE);
    }
    if host.ends_with(b".") && !as_sent {
        authority.remove(end - 1);
    }
    Ok(())
}

/// True for what may stand as it is in a Host field and in a URL.
pub fn is_authority(text: &[u8]) -> bool {
    !text.is_empty() && normalise_authority(&mut text.to_vec(), false).is_ok()
}

/// Where the host ends and `:port` begins.
pub(super) fn find_host_end(authority: &[u8]) -> usize {
    let from =
        if authority.first() == Some(&b'[') { memchr::memchr(b']', authority).unwrap_or(0) } else { 0 };
    memchr::memchr(b':', &authority[from..]).map_or(authority.len(), |at| from + at)
}

/// An address as proxies write it: bare, bracketed, with a port.
pub(super) fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok()
}
