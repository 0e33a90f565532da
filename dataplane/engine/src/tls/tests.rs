//! A session of each side, talking to each other over pieces of any size.

use super::policies::TlsPolicies;
use super::*;
use crate::protocol;
use crate::snapshot::{CertificateIndex, LoadedCertificate, provider};

pub(crate) fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    configs_of(&protocol::TlsPolicy::default())
}

pub fn configs_of(policy: &protocol::TlsPolicy) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["shop.example".to_owned()]).unwrap();
    let message = protocol::Certificate {
        chain: vec![made.cert.der().to_vec().into()],
        key: made.signing_key.serialize_der().into(),
        ..Default::default()
    };
    let mut index = CertificateIndex::default();
    index.set_default(Some(Arc::new(LoadedCertificate::load(&message, Box::default()).unwrap())));
    let policies = TlsPolicies::default();
    policies.resolver.store(index);
    let server = policies.get(policy).unwrap().config.clone();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, Arc::new(client))
}

struct Pair {
    server: Session,
    client: Session,
    server_plain: Vec<u8>,
    client_plain: Vec<u8>,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
}

impl Pair {
    fn new() -> Pair {
        let (server, client) = configs();
        let name = ServerName::try_from("shop.example").unwrap();
        let mut pair = Pair {
            server: Session::server(&server, Arrival::default()).unwrap(),
            client: Session::client(&client, name).unwrap(),
            server_plain: Vec::new(),
            client_plain: Vec::new(),
            to_server: Vec::new(),
            to_client: Vec::new(),
        };
        pair.client.read(&mut [], &mut pair.client_plain, &mut pair.to_server).unwrap();
        pair
    }

    fn exchange(&mut self, step: usize) {
        while !self.to_server.is_empty() || !self.to_client.is_empty() {
            for chunk in std::mem::take(&mut self.to_server).chunks_mut(step) {
                self.server.read(chunk, &mut self.server_plain, &mut self.to_client).unwrap();
            }
            for chunk in std::mem::take(&mut self.to_client).chunks_mut(step) {
                self.client.read(chunk, &mut self.client_plain, &mut self.to_server).unwrap();
            }
        }
    }
}

#[test]
fn bytes_arrive_whatever_the_size_of_the_pieces() {
    for step in [1, 7, 500, 16_384, usize::MAX] {
        let mut pair = Pair::new();
        pair.exchange(step);
        assert!(pair.server.is_established() && pair.client.is_established());
        let request = vec![b'q'; 40_000];
        let answer = vec![b'a'; 100_000];
        pair.client.write(&request, &mut pair.to_server).unwrap();
        pair.server.write(&answer, &mut pair.to_client).unwrap();
        pair.exchange(step);
        assert!(pair.server_plain == request && pair.client_plain == answer, "step {step}");
    }
}

#[test]
fn the_server_learns_version_and_name() {
    let mut pair = Pair::new();
    pair.exchange(usize::MAX);
    let info = pair.server.info().unwrap();
    assert_eq!(info.version, TlsVersion::Tls13);
    assert_eq!(info.server_name.as_deref(), Some("shop.example"));
}

#[test]
fn close_notify_is_told_once_after_the_data_before_it() {
    let mut pair = Pair::new();
    pair.exchange(usize::MAX);
    pair.client.write(b"last", &mut pair.to_server).unwrap();
    pair.client.close(&mut pair.to_server);
    let mut wire = std::mem::take(&mut pair.to_server);
    let progress = pair.server.read(&mut wire, &mut pair.server_plain, &mut pair.to_client).unwrap();
    assert!(progress.closed && pair.server_plain == b"last");
    pair.server.write(b"answer", &mut pair.to_client).unwrap();
    let mut wire = std::mem::take(&mut pair.to_client);
    pair.client.read(&mut wire, &mut pair.client_plain, &mut pair.to_server).unwrap();
    assert_eq!(pair.client_plain, b"answer");
}

#[test]
fn garbage_fails_with_an_alert() {
    let (server, _) = configs();
    let mut session = Session::server(&server, Arrival::default()).unwrap();
    let mut out = Vec::new();
    let mut garbage = b"PROPFIND / HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec();
    assert!(session.read(&mut garbage, &mut Vec::new(), &mut out).is_err());
    assert_eq!(out.first(), Some(&21), "an alert record");
}

#[test]
fn a_plain_request_is_told_so_whatever_its_pieces() {
    for size in [1, 2, 5, 100] {
        let (server, _) = configs();
        let mut session = Session::server(&server, Arrival::default()).unwrap();
        let (mut out, mut request) = (Vec::new(), b"GET / HTTP/1.1\r\n\r\n".to_vec());
        let failed =
            request.chunks_mut(size).any(|piece| session.read(piece, &mut Vec::new(), &mut out).is_err());
        assert!(failed && out.starts_with(b"HTTP/1.0 400 Bad Request\r\n"), "{size}");
    }
}

#[test]
fn a_flipped_bit_in_a_record_fails() {
    let mut pair = Pair::new();
    pair.exchange(usize::MAX);
    pair.client.write(b"secret", &mut pair.to_server).unwrap();
    let last = pair.to_server.len() - 1;
    pair.to_server[last] ^= 1;
    let mut wire = std::mem::take(&mut pair.to_server);
    assert!(pair.server.read(&mut wire, &mut pair.server_plain, &mut pair.to_client).is_err());
    assert!(pair.server_plain.is_empty());
}

/// A record in the clear.
pub fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &u16::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

#[test]
fn half_a_handshake_message_before_anything_else_fails_with_an_alert() {
    let hello = Pair::new().to_server.split_off(5);
    for cut in [1, 3, 4, 5, 60, hello.len() - 1] {
        for next in [
            record(23, b"data"),
            record(21, &[1, 0]),
            record(20, &[1]),
            record(99, b"?"),
            b"GET / HTTP/1.1".to_vec(),
        ] {
            for step in [1, 16_384] {
                let mut session = Session::server(&configs().0, Arrival::default()).unwrap();
                let (mut plain, mut out) = (Vec::new(), Vec::new());
                let mut wire = [record(22, &hello[..cut]), next.clone()].concat();
                let ends =
                    wire.chunks_mut(step).any(|piece| session.read(piece, &mut plain, &mut out).is_err());
                assert!(ends && plain.is_empty(), "cut at {cut} before {next:?}");
                assert!(out.len() == 7 && out.starts_with(&[21, 3]), "{out:?}, cut at {cut} before {next:?}");
                session.close(&mut out);
                assert!(
                    session.write(b"x", &mut out).is_err()
                        && session.read(&mut [], &mut plain, &mut out).is_err()
                );
            }
        }
    }
}

#[test]
fn a_handshake_s_record_may_be_as_long_as_one_may_be() {
    for (length, overflows) in [(TLS_RECORD_BYTES_MAX, false), (TLS_RECORD_BYTES_MAX + 1, true)] {
        let mut session = Session::server(&configs().0, Arrival::default()).unwrap();
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        let mut hello = vec![1, 0, 0x80, 0, 3, 3];
        hello.resize(length, 0);
        let refused = session.read(&mut record(22, &hello), &mut plain, &mut out).is_err();
        assert_eq!((refused, out == alerts::write(alerts::RECORD_OVERFLOW)), (overflows, overflows));
    }
}

#[test]
fn a_session_with_half_a_handshake_message_is_closed() {
    let hello = Pair::new().to_server.split_off(5);
    let mut session = Session::server(&configs().0, Arrival::default()).unwrap();
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    session.read(&mut record(22, &hello[..60]), &mut plain, &mut out).unwrap();
    session.close(&mut out);
    assert!(session.write(b"x", &mut out).is_err());
    let rest = session.read(&mut record(22, &hello[60..]), &mut plain, &mut out);
    assert!(rest.is_ok() && !session.is_established());
}

/// Where an extension of rustls' hello begins.
fn find_extension(record: &[u8], kind: u16) -> usize {
    let number = |at: usize| u16::from_be_bytes([record[at], record[at + 1]]);
    let session = 5 + 4 + 2 + 32;
    let suites = session + 1 + usize::from(record[session]);
    let compressions = suites + 2 + usize::from(number(suites));
    let mut at = compressions + 1 + usize::from(record[compressions]) + 2;
    while number(at) != kind {
        at += 4 + usize::from(number(at + 2));
    }
    at
}

#[test]
fn in_the_clear_an_alert_is_the_one_that_the_rfc_names() {
    const KEY_SHARE: u16 = 51;
    const LEGACY_VERSION: usize = 9;
    let hello = Pair::new().to_server;
    let with = |at: usize, bytes: [u8; 2]| {
        let mut changed = hello.clone();
        changed[at..at + 2].copy_from_slice(&bytes);
        changed
    };
    for (wire, alert) in [
        (with(LEGACY_VERSION, [3, 0]), 70),
        (with(LEGACY_VERSION, [0, 2]), 70),
        (with(find_extension(&hello, KEY_SHARE), [0x7a, 0x7b]), 109),
        (record(24, b"?"), 10),
        (record(20, &[1, 1]), 10),
        ([record(22, &[1, 0]), record(23, b"")].concat(), 10),
        (record(22, &[1, 0, 0, 1, 0]), 50),
    ] {
        for step in [7, 16_384] {
            let mut session = Session::server(&configs().0, Arrival::default()).unwrap();
            let (mut plain, mut out, mut wire) = (Vec::new(), Vec::new(), wire.clone());
            let ends = wire.chunks_mut(step).any(|piece| session.read(piece, &mut plain, &mut out).is_err());
            assert!(ends);
            assert_eq!(out, alerts::write(alert), "by {step}");
        }
    }
}
