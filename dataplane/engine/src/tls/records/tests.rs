//! A server side that has taken its keys over, beside rustls' client, and beside one that forges.

use super::super::tests::configs;
use super::super::{Arrival, Session, Side};
use super::*;
use crate::limits::TLS_TAKEOVER_BYTES;
use proptest::prelude::*;
use rustls::ClientConnection;
use rustls_pki_types::ServerName;
use std::io::{Read, Write};
use std::sync::Arc;

/// Enough for the server side to take over.
const MUCH: usize = TLS_TAKEOVER_BYTES * 3;

struct Pair {
    server: Session,
    client: ClientConnection,
    server_plain: Vec<u8>,
    client_plain: Vec<u8>,
}

impl Pair {
    /// After the handshake, and an answer that made the server take over.
    fn taken_over() -> Pair {
        let (server, client) = configs();
        let name = ServerName::try_from("shop.example").unwrap();
        let mut pair = Pair {
            server: Session::server(&server, Arrival::default()).unwrap(),
            client: ClientConnection::new(client, name).unwrap(),
            server_plain: Vec::new(),
            client_plain: Vec::new(),
        };
        pair.pass_up(usize::MAX).unwrap();
        pair.pass_up(usize::MAX).unwrap();
        assert!(pair.server.is_established());
        pair.answer(&[b'm'; MUCH]);
        assert!(std::mem::take(&mut pair.client_plain) == [b'm'; MUCH]);
        assert!(matches!(pair.server.side, Side::Own(Some(_))));
        pair
    }

    fn layer(&mut self) -> &mut RecordLayer {
        match &mut self.server.side {
            Side::Own(Some(layer)) => layer,
            _ => panic!("rustls has the keys"),
        }
    }

    /// What the client has to say goes to the server in pieces, and the answer back.
    fn pass_up(&mut self, step: usize) -> Result<(), TlsFailure> {
        let mut wire = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut wire).unwrap();
        }
        let mut back = Vec::new();
        let mut result = Ok(());
        for chunk in wire.chunks_mut(step) {
            result = self.server.read(chunk, &mut self.server_plain, &mut back).map(|_| ());
        }
        self.pass_down(&back);
        result
    }

    fn pass_down(&mut self, mut wire: &[u8]) {
        while !wire.is_empty() {
            self.client.read_tls(&mut wire).unwrap();
            let state = self.client.process_new_packets().expect("the client understands");
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            self.client.reader().read_exact(&mut plain).unwrap();
            self.client_plain.extend_from_slice(&plain);
        }
    }

    fn answer(&mut self, plain: &[u8]) {
        let mut wire = Vec::new();
        self.server.write(plain, &mut wire).unwrap();
        self.pass_down(&wire);
    }
}

#[test]
fn data_passes_both_ways_whatever_the_size_of_the_pieces() {
    for step in [1, 7, 500, 16_384, usize::MAX] {
        let mut pair = Pair::taken_over();
        for length in [1, 16_384, 16_385, 50_000] {
            pair.client.writer().write_all(&vec![b'q'; length]).unwrap();
            pair.pass_up(step).unwrap();
            assert!(std::mem::take(&mut pair.server_plain) == vec![b'q'; length], "{length} by {step}");
            pair.answer(&vec![b'a'; length]);
            assert!(std::mem::take(&mut pair.client_plain) == vec![b'a'; length], "{length} by {step}");
        }
    }
}

#[test]
fn a_client_may_change_its_key_and_ours() {
    let mut pair = Pair::taken_over();
    for round in 0..3 {
        pair.client.refresh_traffic_keys().unwrap();
        pair.client.writer().write_all(b"question").unwrap();
        pair.pass_up(usize::MAX).unwrap();
        assert_eq!(std::mem::take(&mut pair.server_plain), b"question", "round {round}");
        pair.answer(b"answer");
        assert_eq!(std::mem::take(&mut pair.client_plain), b"answer", "round {round}");
    }
}

#[test]
fn our_key_changes_before_it_is_used_up() {
    let mut pair = Pair::taken_over();
    pair.layer().records_per_key = 3;
    for _ in 0..20 {
        pair.answer(b"answer");
        assert!(pair.layer().sent.sequence <= 3);
    }
    assert_eq!(pair.client_plain, b"answer".repeat(20));
}

#[test]
fn close_notify_ends_each_direction_by_itself() {
    let mut pair = Pair::taken_over();
    pair.client.writer().write_all(b"last").unwrap();
    pair.client.send_close_notify();
    let mut wire = Vec::new();
    pair.client.write_tls(&mut wire).unwrap();
    let progress = pair.server.read(&mut wire, &mut pair.server_plain, &mut Vec::new()).unwrap();
    assert!(progress.closed && pair.server_plain == b"last");
    let progress = pair.server.read(&mut [1, 2, 3], &mut pair.server_plain, &mut Vec::new()).unwrap();
    assert!(!progress.closed && pair.server_plain == b"last", "nothing counts after it");
    pair.answer(b"answer");
    assert_eq!(pair.client_plain, b"answer");
    let mut wire = Vec::new();
    pair.server.close(&mut wire);
    pair.client.read_tls(&mut &wire[..]).unwrap();
    assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
}

/// A client whose keys we have, to seal what rustls would not.
fn forge() -> (RecordLayer, Direction) {
    let (server, client) = configs();
    let mut client = rustls::ClientConfig::clone(&client);
    client.enable_secret_extraction = true;
    let name = ServerName::try_from("shop.example").unwrap();
    let mut server = Session::server(&server, Arrival::default()).unwrap();
    let mut client = Session::client(&Arc::new(client), name).unwrap();
    let (mut up, mut down, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    client.read(&mut [], &mut plain, &mut up).unwrap();
    while !up.is_empty() || !down.is_empty() {
        server.read(&mut std::mem::take(&mut up), &mut plain, &mut down).unwrap();
        client.read(&mut std::mem::take(&mut down), &mut plain, &mut up).unwrap();
    }
    server.write(&[0; MUCH], &mut down).unwrap();
    let (Side::Own(Some(layer)), Side::Client(client)) = (server.side, client.side) else {
        panic!("keys were not taken over")
    };
    let (secrets, _) = client.dangerous_into_kernel_connection().unwrap();
    (*layer, Direction::new(secrets.tx).unwrap())
}

#[test]
fn what_no_client_may_send_ends_the_session_with_its_alert() {
    let record = |kind: u8, content: &[u8]| {
        let (layer, mut client) = forge();
        let mut wire = Vec::new();
        client.seal(kind, content, &mut wire).unwrap();
        (layer, wire)
    };
    let raw = |head: [u8; 5]| (forge().0, head.to_vec());
    let (layer, mut flipped) = record(APPLICATION_DATA, b"secret");
    flipped[7] ^= 1;
    for ((mut layer, mut wire), expected) in [
        ((layer, flipped), "BadRecordMac"),
        (record(HANDSHAKE, &[1, 0, 0, 0]), "UnexpectedMessage"),
        (record(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 2]), "IllegalParameter"),
        (record(HANDSHAKE, &[]), "UnexpectedMessage"),
        (record(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0, 0]), "UnexpectedMessage"),
        (record(CHANGE_CIPHER_SPEC, &[1]), "UnexpectedMessage"),
        (record(0, &[0, 0, 0]), "UnexpectedMessage"),
        (record(ALERT, &[FATAL]), "DecodeError"),
        (record(ALERT, &[]), "UnexpectedMessage"),
        (record(APPLICATION_DATA, &[1; TLS_RECORD_BYTES_MAX + 1]), "RecordOverflow"),
        (raw([APPLICATION_DATA, 3, 3, 0x41, 1]), "RecordOverflow"),
        (raw([APPLICATION_DATA, 3, 3, 0, 0]), "BadRecordMac"),
        (raw([ALERT, 3, 3, 0, 2]), "UnexpectedMessage"),
        (raw([b'G', b'E', b'T', b' ', b'/']), "DecodeError"),
    ] {
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        let failed = layer.read(&mut wire, &mut plain, &mut out).unwrap_err();
        assert_eq!(failed.0, expected);
        assert!(plain.is_empty() && out.len() == HEAD_BYTES + 2 + 1 + TAG_BYTES, "an alert, no more");
    }
}

#[test]
fn a_client_that_gives_up_is_told_nothing() {
    let (mut layer, mut client) = forge();
    let (mut wire, mut out) = (Vec::new(), Vec::new());
    client.seal(ALERT, &[FATAL, 40], &mut wire).unwrap();
    assert!(layer.read(&mut wire, &mut Vec::new(), &mut out).is_err() && out.is_empty());
}

#[test]
fn padding_is_dropped_and_empty_records_are_counted() {
    let (mut layer, mut client) = forge();
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let mut wire = Vec::new();
        client.seal(0, &[b'd', APPLICATION_DATA, 0, 0], &mut wire).unwrap();
        for _ in 0..TLS_KEY_UPDATES_MAX {
            client.seal(APPLICATION_DATA, b"", &mut wire).unwrap();
        }
        let length = wire.len();
        assert_eq!(layer.read(&mut wire, &mut plain, &mut out).unwrap().0, length);
    }
    assert_eq!(plain, b"ddd");
    let mut wire = Vec::new();
    client.seal(APPLICATION_DATA, b"", &mut wire).unwrap();
    assert!(layer.read(&mut wire, &mut plain, &mut out).is_err());
}

#[test]
fn key_updates_without_data_are_counted() {
    let (mut layer, mut client) = forge();
    let mut plain = Vec::new();
    let mut wire = Vec::new();
    client.seal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 1], &mut wire).unwrap();
    layer.patience = 0;
    assert!(layer.read(&mut wire, &mut plain, &mut Vec::new()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_are_refused_or_waited_for(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (mut layer, _) = forge();
        let mut plain = Vec::new();
        let result = layer.read(&mut bytes.clone(), &mut plain, &mut Vec::new());
        prop_assert!(plain.is_empty());
        if let Ok((used, progress)) = result {
            prop_assert!(used == 0 && !progress.closed);
        }
    }
}
