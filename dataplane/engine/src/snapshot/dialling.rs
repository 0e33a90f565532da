//! Upstreams with placeholders: the address is known when the request is (Caddy: fillDialInfo).
//!
//! Rule: an address that a request names is dialled where it is a literal that may be dialled, or the port of a name that
//! the agent resolved beforehand; no other name is, as nothing here may block on a resolver.

use super::balancing::Slot;
use super::clusters::{Endpoint, EndpointKey, EndpointRef};
use crate::addresses::AddressSet;
use crate::exchange::texts::Text;
use crate::exchange::{Exchange, Unknown};
use crate::limits::REQUESTED_ENDPOINTS_MAX;
use crate::locks::lock;
use crate::protocol;
use crate::ring::unix_paths;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// The upstreams of a cluster as they were written.
pub struct Dials {
    texts: Box<[Text]>,
    denied: AddressSet,
    tls: bool,
    plain_ports: Box<[u32]>,
}

type Identity = (SocketAddr, Box<str>);

/// Endpoints that requests named, so that their connections are found again.
#[derive(Default)]
pub struct RequestedEndpoints(Mutex<HashMap<Identity, EndpointRef, ahash::RandomState>>);

/// Keys of these endpoints: the registry counts from 0, these from the middle.
static NEXT_KEY: AtomicU32 = AtomicU32::new(1 << 31);

impl Dials {
    pub fn compile(cluster: &protocol::Cluster, tls: bool, denied: &AddressSet) -> Option<Box<Dials>> {
        if cluster.dials.is_empty() {
            return None;
        }
        Some(Box::new(Dials {
            texts: cluster.dials.iter().map(|text| Text::compile(Some(text))).collect(),
            denied: denied.clone(),
            tls,
            plain_ports: cluster.plain_ports.as_slice().into(),
        }))
    }

    /// The first upstream in order that has an address and was not tried.
    pub fn find(
        &self,
        known: &[Slot],
        requested: &RequestedEndpoints,
        exchange: &Exchange,
        tried: &[EndpointKey],
    ) -> Option<EndpointRef> {
        self.texts.iter().find_map(|text| {
            let mut dial = Vec::new();
            exchange.expand(text, Unknown::Empty, &mut dial);
            let (host, port) = split(std::str::from_utf8(&dial).ok()?)?;
            let address = SocketAddr::new(self.resolve(host, known)?, port);
            let plain = !self.tls || self.plain_ports.contains(&u32::from(port));
            Some(requested.get(address, host, plain)).filter(|endpoint| !tried.contains(&endpoint.key))
        })
    }

    fn resolve(&self, host: &str, known: &[Slot]) -> Option<IpAddr> {
        let known = || known.iter().find(|slot| *slot.endpoint.name == *host);
        let address = match host.parse::<IpAddr>() {
            Ok(address) => Some(address.to_canonical()),
            // This machine, as Go's dialer has it.
            Err(_) if host.is_empty() => Some(Ipv4Addr::UNSPECIFIED.into()),
            Err(_) => known().map(|slot| slot.endpoint.address.ip()),
        };
        // RFC 6761 6.3: this name needs no resolver.
        let address = address.or_else(|| (host == "localhost").then_some(Ipv4Addr::LOCALHOST.into()))?;
        Some(address).filter(|address| !self.denied.contains(*address))
    }
}

impl RequestedEndpoints {
    fn get(&self, address: SocketAddr, name: &str, plain: bool) -> EndpointRef {
        let mut endpoints = lock(&self.0);
        if endpoints.len() >= REQUESTED_ENDPOINTS_MAX {
            endpoints.clear();
        }
        let make = || {
            let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed) | 1 << 31;
            EndpointRef::new(Endpoint {
                key: EndpointKey(key),
                address,
                name: name.into(),
                plain,
                active: AtomicU32::new(0),
                streams_max: AtomicU32::new(0),
            })
        };
        let endpoint = endpoints.entry((address, name.into())).or_insert_with(make);
        // Another TLS policy is another pool.
        if endpoint.plain != plain {
            *endpoint = make();
        }
        endpoint.clone()
    }
}

/// Address and port of an endpoint; a path, or `@` and an abstract name, is a Unix socket's.
pub(super) fn parse_endpoint(endpoint: &protocol::Endpoint) -> Result<(IpAddr, u16), String> {
    if endpoint.address.starts_with(['/', '@']) {
        let stand_in = unix_paths::register(&endpoint.address)
            .ok_or_else(|| format!("{:?} is no path of a socket", endpoint.address))?;
        return Ok((stand_in.ip(), stand_in.port()));
    }
    let address: IpAddr =
        endpoint.address.parse().map_err(|_| format!("{:?} is no address", endpoint.address))?;
    if unix_paths::is_stand_in(address) {
        return Err(format!("{address} is a discarded address"));
    }
    let port = u16::try_from(endpoint.port).map_err(|_| format!("{} is no port", endpoint.port))?;
    Ok((address, port))
}

/// An endpoint as the agent's probes name it: a socket by its path.
pub(super) fn name_probed(endpoint: &protocol::Endpoint, address: SocketAddr) -> String {
    match unix_paths::is_stand_in(address.ip()) {
        true => endpoint.address.clone(),
        false => address.to_string(),
    }
}

/// `host:port`, `[v6]:port` or `:port`.
fn split(dial: &str) -> Option<(&str, u16)> {
    let (host, port) = dial.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let ambiguous = bare.len() == host.len() && host.contains(':');
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!ambiguous).then_some((bare, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dials(texts: &[&str], denied: &[&str]) -> Dials {
        let part = |text: &&str| protocol::Text {
            parts: vec![protocol::Part { part: Some(protocol::part::Part::Literal((*text).to_owned())) }],
        };
        let cluster =
            protocol::Cluster { dials: texts.iter().map(part).collect(), ..protocol::Cluster::default() };
        let denied: Vec<String> = denied.iter().map(|range| (*range).to_owned()).collect();
        *Dials::compile(&cluster, false, &AddressSet::parse(&denied).unwrap()).unwrap()
    }

    #[test]
    fn literals_and_localhost_are_dialled_and_nothing_else() {
        for (dial, address) in [
            ("192.0.2.1:80", Some("192.0.2.1:80")),
            ("[2001:db8::1]:80", Some("[2001:db8::1]:80")),
            ("[::ffff:192.0.2.1]:80", Some("192.0.2.1:80")),
            ("localhost:1", Some("127.0.0.1:1")),
            ("2001:db8::1:80", None),
            ("elsewhere.example:80", None),
            ("192.0.2.1", None),
            ("192.0.2.1:0", None),
            ("192.0.2.1:65536", None),
            // This machine, as Go's dialer has it.
            (":80", Some("0.0.0.0:80")),
            ("", None),
        ] {
            let found = dials(&[dial], &[]).find(&[], &RequestedEndpoints::default(), &Exchange::new(), &[]);
            assert_eq!(found.map(|endpoint| endpoint.address.to_string()).as_deref(), address, "{dial}");
        }
    }

    #[test]
    fn denied_addresses_are_not_dialled_however_they_are_written() {
        for dial in ["127.0.0.1:80", "[::ffff:127.0.0.1]:80", "localhost:80"] {
            let dials = dials(&[dial], &["127.0.0.0/8"]);
            let found = dials.find(&[], &RequestedEndpoints::default(), &Exchange::new(), &[]);
            assert!(found.is_none(), "{dial}");
        }
    }

    #[test]
    fn one_address_keeps_its_key_and_the_next_upstream_is_tried_after_it() {
        let (dials, requested) =
            (dials(&["192.0.2.1:80", "192.0.2.2:80"], &[]), RequestedEndpoints::default());
        let find = |tried: &[EndpointKey]| dials.find(&[], &requested, &Exchange::new(), tried);
        let first = find(&[]).unwrap();
        assert_eq!(find(&[]).unwrap().key, first.key);
        let second = find(&[first.key]).unwrap();
        assert_eq!(second.address.to_string(), "192.0.2.2:80");
        assert!(find(&[first.key, second.key]).is_none());
    }
}
