//! Sets of addresses: CIDRs in, containment out. Malformed text is the caller's to refuse.

use std::net::{IpAddr, Ipv6Addr};

/// A CIDR as the 128-bit prefix of an address; IPv4 lies in ::ffff:0:0/96.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prefix {
    bits: u128,
    mask: u128,
}

/// CIDRs in the order given. Lists are short: a linear scan beats a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet(Box<[Prefix]>);

impl AddressSet {
    /// Parses CIDRs and single addresses. Err: the first text that is neither.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, String> {
        texts.iter().map(|text| Prefix::parse(text.as_ref()).ok_or_else(|| text.as_ref().into())).collect()
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = widen(address);
        self.0.iter().any(|prefix| bits & prefix.mask == prefix.bits)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Prefix> for AddressSet {
    fn from_iter<I: IntoIterator<Item = Prefix>>(prefixes: I) -> Self {
        Self(prefixes.into_iter().collect())
    }
}

impl Prefix {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (width, offset) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let length: u32 = length.map_or(Some(width), |length| length.parse().ok())?;
        if length > width {
            return None;
        }
        let length = length + offset;
        let mask = if length == 0 { 0 } else { u128::MAX << (128 - length) };
        Some(Self { bits: widen(address) & mask, mask })
    }
}

fn widen(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => Ipv6Addr::to_bits(address),
    }
}

/// A mapped IPv4 address (dual-stack sockets) as IPv4.
pub fn narrow(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_what_lies_in_a_prefix_of_either_family() {
        let set = AddressSet::parse(&["10.0.0.0/8", "192.0.2.7", "fd00::/8", "0.0.0.0/32"]).unwrap();
        for (address, expected) in [
            ("10.255.0.1", true),
            ("11.0.0.0", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::ffff:10.1.2.3", true),
            ("fd12::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(set.contains(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn everything_is_a_prefix_of_length_zero() {
        let set = AddressSet::parse(&["::/0"]).unwrap();
        assert!(set.contains("203.0.113.1".parse().unwrap()));
        let v4 = AddressSet::parse(&["0.0.0.0/0"]).unwrap();
        assert!(v4.contains("203.0.113.1".parse().unwrap()) && !v4.contains("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn malformed_prefixes_are_named() {
        for text in ["10.0.0.0/33", "10.0.0/8", "x", "::/129", "10.0.0.1/"] {
            assert_eq!(AddressSet::parse(&[text]), Err(text.to_owned()));
        }
    }
}
