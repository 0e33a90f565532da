//! The ClientHello, read before rustls does (RFC 8446 4.1.2, RFC 6066 3): its server name finds the policy or the
//! stream, its lists make the JA4 fingerprint.
//!
//! Rule: bytes of strangers; whatever is not understood is `Foreign` and left to rustls, which sends the alert.

use crate::limits::HELLO_BYTES_MAX;
use std::borrow::Cow;
use std::net::IpAddr;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// A record's head: kind, version, length.
const RECORD_HEAD: usize = 5;

pub const SERVER_NAME: u16 = 0;
pub const SIGNATURE_ALGORITHMS: u16 = 13;
pub const ALPN: u16 = 16;
pub const SUPPORTED_VERSIONS: u16 = 43;

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub enum Beginning<'a> {
    /// More bytes are needed.
    Partial,
    /// A ClientHello's body, joined where it came in several records.
    Hello(Cow<'a, [u8]>),
    /// No ClientHello, or one beyond the bounds.
    Foreign,
}

/// A ClientHello, borrowed from its bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ClientHello<'a> {
    pub legacy_version: u16,
    pub cipher_suites: Vec<u16>,
    /// In the order sent.
    pub extensions: Vec<u16>,
    pub server_name: Option<&'a str>,
    /// The first protocol offered.
    pub protocol: Option<&'a [u8]>,
    pub signature_algorithms: Vec<u16>,
    pub supported_versions: Vec<u16>,
}

/// Finds the ClientHello at the beginning of `bytes`.
pub fn begin(bytes: &[u8]) -> Beginning<'_> {
    let mut joined: Vec<u8> = Vec::new();
    let mut rest = bytes;
    loop {
        let Some(head) = rest.get(..RECORD_HEAD) else {
            return if may_begin(rest) { Beginning::Partial } else { Beginning::Foreign };
        };
        let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
        if head[0] != HANDSHAKE || head[1] != 3 || length == 0 || length > 1 << 14 {
            return Beginning::Foreign;
        }
        let Some(payload) = rest.get(RECORD_HEAD..RECORD_HEAD + length) else { return Beginning::Partial };
        rest = &rest[RECORD_HEAD + length..];
        if joined.is_empty()
            && let Some(body) = message(payload)
        {
            return body.map_or(Beginning::Foreign, |body| Beginning::Hello(Cow::Borrowed(body)));
        }
        joined.extend_from_slice(payload);
        if let Some(body) = message(&joined) {
            return body.map_or(Beginning::Foreign, |body| Beginning::Hello(Cow::Owned(body.to_vec())));
        }
    }
}

fn may_begin(part: &[u8]) -> bool {
    part.first().is_none_or(|kind| *kind == HANDSHAKE) && part.get(1).is_none_or(|major| *major == 3)
}

/// The body of a whole ClientHello; Some(None): these bytes begin no ClientHello; None: more are needed.
fn message(bytes: &[u8]) -> Option<Option<&[u8]>> {
    if bytes.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Some(None);
    }
    let head = bytes.get(..4)?;
    let length = usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]);
    if length > HELLO_BYTES_MAX {
        return Some(None);
    }
    bytes.get(4..4 + length).map(Some)
}

/// Reads the body of a ClientHello; None where its lengths do not fit together.
pub fn parse(body: &[u8]) -> Option<ClientHello<'_>> {
    let mut reader = Reader(body);
    let mut hello = ClientHello { legacy_version: reader.number16()?, ..ClientHello::default() };
    reader.take(32)?;
    reader.list8()?;
    hello.cipher_suites = reader.list16()?.numbers16()?;
    reader.list8()?;
    if reader.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = reader.list16()?;
    while !extensions.0.is_empty() {
        let kind = extensions.number16()?;
        let content = extensions.list16()?;
        match kind {
            SERVER_NAME => hello.server_name = server_name(content)?,
            ALPN => hello.protocol = Some(Reader(content.0).list16()?.list8()?.0),
            SIGNATURE_ALGORITHMS => hello.signature_algorithms = Reader(content.0).list16()?.numbers16()?,
            SUPPORTED_VERSIONS => hello.supported_versions = Reader(content.0).list8()?.numbers16()?,
            _ => {}
        }
        hello.extensions.push(kind);
    }
    reader.0.is_empty().then_some(hello)
}

/// The host name of the extension. An address is none, as rustls has it.
fn server_name(content: Reader<'_>) -> Option<Option<&str>> {
    let mut names = Reader(content.0).list16()?;
    while !names.0.is_empty() {
        let kind = names.take(1)?[0];
        let name = names.list16()?;
        if kind == 0 {
            let name = std::str::from_utf8(name.0).ok()?;
            return Some((name.parse::<IpAddr>().is_err()).then_some(name));
        }
    }
    Some(None)
}

/// Takes from the front; None where too little is left.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(front)
    }

    fn number16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn list8(&mut self) -> Option<Reader<'a>> {
        let length = usize::from(self.take(1)?[0]);
        self.take(length).map(Reader)
    }

    fn list16(&mut self) -> Option<Reader<'a>> {
        let length = usize::from(self.number16()?);
        self.take(length).map(Reader)
    }

    fn numbers16(mut self) -> Option<Vec<u16>> {
        let mut numbers = Vec::with_capacity(self.0.len() / 2);
        while !self.0.is_empty() {
            numbers.push(self.number16()?);
        }
        Some(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// What rustls' client says first.
    fn greeting(name: &'static str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = rustls_pki_types::ServerName::try_from(name).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    /// The same message in records of `size` bytes.
    fn in_records(bytes: &[u8], size: usize) -> Vec<u8> {
        let pieces = bytes[RECORD_HEAD..].chunks(size);
        pieces
            .flat_map(|piece| {
                let length = (piece.len() as u16).to_be_bytes();
                [&[HANDSHAKE, 3, 1, length[0], length[1]], piece].concat()
            })
            .collect()
    }

    #[test]
    fn a_hello_is_read_from_any_number_of_records_and_bytes() {
        let whole = greeting("shop.example");
        for bytes in [whole.clone(), in_records(&whole, 1), in_records(&whole, 100)] {
            let Beginning::Hello(body) = begin(&bytes) else { panic!("no hello") };
            let hello = parse(&body).unwrap();
            assert_eq!(hello.server_name, Some("shop.example"));
            assert_eq!(hello.protocol, Some(&b"h2"[..]));
            assert!(hello.supported_versions.contains(&0x0304) && hello.extensions.contains(&ALPN));
            for length in 0..bytes.len() {
                assert_eq!(begin(&bytes[..length]), Beginning::Partial, "{length}");
            }
        }
    }

    #[test]
    fn other_protocols_are_foreign_from_their_first_bytes() {
        for bytes in
            [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x04", b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\x00\x01\x02"]
        {
            assert_eq!(begin(bytes), Beginning::Foreign, "{bytes:?}");
        }
    }

    #[test]
    fn an_address_is_no_server_name() {
        let name = |text: &[u8]| {
            let length = text.len() as u8;
            let bytes = [&[0, length + 3, 0, 0, length], text].concat();
            server_name(Reader(&bytes)).map(|name| name.map(str::to_owned))
        };
        assert_eq!(name(b"127.0.0.1"), Some(None));
        assert_eq!(name(b"a.test"), Some(Some("a.test".into())));
        assert_eq!(name(b"\xff"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_surprise_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let _ = begin(&bytes);
        }

        #[test]
        fn a_changed_hello_is_read_or_refused(at in 0usize..230, byte in any::<u8>(), cut in 0usize..230) {
            let mut bytes = greeting("shop.example");
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(bytes.len() - cut % bytes.len());
            if let Beginning::Hello(body) = begin(&bytes) {
                let _ = parse(&body);
            }
        }
    }
}
