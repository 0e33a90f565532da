//! PROXY protocol v1 and v2 (haproxy's proxy-protocol.txt): the first bytes of a connection, in front of TLS.
//!
//! In: the bytes received so far. Out: how many belong to the header and whom it names. Called by `connection` only on
//! listeners that demand the header and for peers that may send it; anything else than a whole valid header is refused.

use crate::limits::{PROXY_V1_BYTES_MAX, PROXY_V2_PAYLOAD_BYTES_MAX};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD_BYTES: usize = 16;

/// A complete header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the header; what follows is the connection's data.
    pub length: usize,
    /// Client and the address it dialled; None for UNKNOWN and LOCAL: the connection speaks for itself.
    pub addresses: Option<Addresses>,
}

/// The two ends of the connection that the proxy in front accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// No valid header: close without a word, since we do not know what the peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// False: no header begins so.
pub fn begins(bytes: &[u8]) -> bool {
    let signatures: [&[u8]; 2] = [V2_SIGNATURE, b"PROXY "];
    signatures.iter().any(|whole| {
        let length = whole.len().min(bytes.len());
        bytes[..length] == whole[..length]
    })
}

/// None: more bytes are needed.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let prefix = |whole: &[u8]| {
        let length = whole.len().min(bytes.len());
        bytes[..length] == whole[..length]
    };
    if prefix(V2_SIGNATURE) {
        return if bytes.len() < V2_HEAD_BYTES { Ok(None) } else { parse_v2(bytes) };
    }
    if prefix(b"PROXY ") { parse_v1(bytes) } else { Err(Malformed("no PROXY header")) }
}

fn parse_v1(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let window = &bytes[..bytes.len().min(PROXY_V1_BYTES_MAX)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() >= PROXY_V1_BYTES_MAX { Err(Malformed("v1 line too long")) } else { Ok(None) };
    };
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| Malformed("v1 line is not ASCII"))?;
    let length = end + 2;
    let mut words = line.split(' ').skip(1);
    let family = words.next().unwrap_or("");
    if family == "UNKNOWN" {
        return Ok(Some(Header { length, addresses: None }));
    }
    let mut next = || words.next().ok_or(Malformed("v1 line too short"));
    let (source, destination) = (v1_ip(family, next()?)?, v1_ip(family, next()?)?);
    let (source_port, destination_port) = (v1_port(next()?)?, v1_port(next()?)?);
    if words.next().is_some() {
        return Err(Malformed("v1 line too long"));
    }
    let addresses = Addresses {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    };
    Ok(Some(Header { length, addresses: Some(addresses) }))
}

fn v1_ip(family: &str, word: &str) -> Result<IpAddr, Malformed> {
    let ip = match family {
        "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return Err(Malformed("v1 family is unknown")),
    };
    ip.ok_or(Malformed("v1 address is malformed"))
}

fn v1_port(word: &str) -> Result<u16, Malformed> {
    let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let zeros = word.len() > 1 && word.starts_with('0');
    let port = if digits && !zeros { word.parse().ok() } else { None };
    port.ok_or(Malformed("v1 port is malformed"))
}

fn parse_v2(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let payload_bytes = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if bytes[12] >> 4 != 2 {
        return Err(Malformed("v2 version is not 2"));
    }
    if payload_bytes > PROXY_V2_PAYLOAD_BYTES_MAX {
        return Err(Malformed("v2 header too large"));
    }
    let length = V2_HEAD_BYTES + payload_bytes;
    let (command, family) = (bytes[12] & 0x0f, bytes[13]);
    if command > 1 {
        return Err(Malformed("v2 command is unknown"));
    }
    if bytes.len() < length {
        return Ok(None);
    }
    let payload = &bytes[V2_HEAD_BYTES..length];
    let addresses = match (command, family) {
        (0, _) => None,
        // Streams, and datagrams: a proxy in front that speaks HTTP/3 says which its client sent.
        (_, 0x11 | 0x12) => Some(v2_addresses(payload, 4)?),
        (_, 0x21 | 0x22) => Some(v2_addresses(payload, 16)?),
        // UNSPEC and families without a client address: as LOCAL.
        (_, 0x00 | 0x31 | 0x32) => None,
        _ => return Err(Malformed("v2 family is unknown")),
    };
    Ok(Some(Header { length, addresses }))
}

fn v2_addresses(payload: &[u8], width: usize) -> Result<Addresses, Malformed> {
    if payload.len() < 2 * width + 4 {
        return Err(Malformed("v2 addresses are cut off"));
    }
    let ip = |at: usize| match <[u8; 16]>::try_from(&payload[at..at + width]) {
        Ok(octets) => IpAddr::V6(Ipv6Addr::from(octets)),
        Err(_) => IpAddr::V4(Ipv4Addr::new(payload[at], payload[at + 1], payload[at + 2], payload[at + 3])),
    };
    let port = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
    Ok(Addresses {
        source: SocketAddr::new(ip(0), port(2 * width)),
        destination: SocketAddr::new(ip(width), port(2 * width + 2)),
    })
}

#[cfg(test)]
#[path = "proxy_protocol_tests.rs"]
mod tests;

/// Appends a header for a connection that we begin: version 2, or 1 (specification 2.1, 2.2). A header is of one family, the
/// client's: where it dialled one of another (a trusted proxy named it, say), the destination is the unspecified address.
pub fn write(binary: bool, source: SocketAddr, dialled: SocketAddr, out: &mut Vec<u8>) {
    let destination = match (source.ip(), dialled.ip()) {
        (IpAddr::V4(_), IpAddr::V6(_)) => Ipv4Addr::UNSPECIFIED.into(),
        (IpAddr::V6(_), IpAddr::V4(_)) => Ipv6Addr::UNSPECIFIED.into(),
        (_, same_family) => same_family,
    };
    if !binary {
        let family = if source.is_ipv4() { 4 } else { 6 };
        let (from, from_port, to_port) = (source.ip(), source.port(), dialled.port());
        let line = format!("PROXY TCP{family} {from} {destination} {from_port} {to_port}\r\n");
        return out.extend_from_slice(line.as_bytes());
    }
    out.extend_from_slice(V2_SIGNATURE);
    out.extend_from_slice(if source.is_ipv4() { &[0x21, 0x11, 0, 12] } else { &[0x21, 0x21, 0, 36] });
    for address in [source.ip(), destination] {
        match address {
            IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
            IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&dialled.port().to_be_bytes());
}
