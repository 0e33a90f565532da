//! The alerts that a client gets who has the keys of its session and forges, while rustls protects the records.

use super::super::tests::{configs, configs_of, record};
use super::super::{Arrival, Session};
use super::*;
use crate::exchange::TlsVersion;
use crate::protocol;
use aws_lc_rs::hkdf::{HKDF_SHA384, KeyType, Prk};
use rustls::crypto::cipher::{AeadKey, Iv};
use rustls::{ClientConfig, KeyLog, ServerConfig};
use rustls_pki_types::ServerName;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

const HEARTBEAT: u8 = 24;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// The server waits for Finished.
    Handshake,
    Data,
}

/// The secrets of one client by their labels.
#[derive(Debug, Default)]
struct Secrets(Mutex<HashMap<String, Vec<u8>>>);

impl KeyLog for Secrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        self.0.lock().unwrap().insert(label.to_owned(), secret.to_vec());
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label without context (RFC 8446 7.1).
fn expand<const N: usize>(secret: &[u8], label: &str) -> [u8; N] {
    let label = format!("tls13 {label}");
    let info = [&[0, N as u8, label.len() as u8], label.as_bytes(), &[0]].concat();
    let mut made = [0; N];
    let prk = Prk::new_less_safe(HKDF_SHA384, secret);
    prk.expand(&[&info], Length(N)).unwrap().fill(&mut made).unwrap();
    made
}

impl Secrets {
    /// What the client may seal next, of TLS_AES_256_GCM_SHA384, which both sides prefer.
    fn direction(&self, phase: Phase) -> Direction {
        let label = match phase {
            Phase::Handshake => "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
            Phase::Data => "CLIENT_TRAFFIC_SECRET_0",
        };
        let secret = &self.0.lock().unwrap()[label];
        let (key, iv) = (AeadKey::from(expand::<32>(secret, "key")), Iv::from(expand::<12>(secret, "iv")));
        Direction::new((0, ConnectionTrafficSecrets::Aes256Gcm { key, iv })).unwrap()
    }
}

/// Both sides at a phase, and what forges for the client.
fn meet(phase: Phase) -> (Session, Session, Direction) {
    let (server, client) = configs();
    let secrets = Arc::new(Secrets::default());
    let mut client = ClientConfig::clone(&client);
    client.key_log = secrets.clone();
    let (server, client) = shake_hands(server, client, phase);
    (server, client, secrets.direction(phase))
}

fn shake_hands(server: Arc<ServerConfig>, client: ClientConfig, phase: Phase) -> (Session, Session) {
    let name = ServerName::try_from("shop.example").unwrap();
    let mut server = Session::server(&server, Arrival::default()).unwrap();
    let mut client = Session::client(&Arc::new(client), name).unwrap();
    let (mut up, mut down, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    client.read(&mut [], &mut plain, &mut up).unwrap();
    while !(up.is_empty() || phase == Phase::Handshake && client.is_established()) {
        server.read(&mut std::mem::take(&mut up), &mut plain, &mut down).unwrap();
        client.read(&mut std::mem::take(&mut down), &mut plain, &mut up).unwrap();
    }
    assert_eq!((server.is_established(), client.is_established()), (phase == Phase::Data, true));
    (server, client)
}

/// What the client reads of the server's last word.
fn end(server: &mut Session, client: &mut Session, wire: &[u8], step: usize) -> String {
    let (mut plain, mut out, mut wire) = (Vec::new(), Vec::new(), wire.to_vec());
    let ended = wire.chunks_mut(step).any(|piece| server.read(piece, &mut plain, &mut out).is_err());
    assert!(ended && plain.is_empty(), "the server ends the session");
    if out.is_empty() {
        return "nothing".into();
    }
    client.read(&mut out, &mut plain, &mut Vec::new()).expect_err("the last is an alert").0
}

type Forge = fn(&mut Direction) -> Vec<u8>;

fn sealed(keys: &mut Direction, records: &[(u8, &[u8])]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (kind, content) in records {
        keys.seal(*kind, content, &mut wire).unwrap();
    }
    wire
}

#[test]
fn what_no_client_may_send_is_named_under_the_keys_in_force() {
    use Phase::{Data, Handshake};
    let cases: [(&str, &[Phase], Forge, &str); 11] = [
        ("no type", &[Handshake, Data], |keys| sealed(keys, &[(0, &[0, 0, 0])]), "UnexpectedMessage"),
        ("an empty alert", &[Handshake, Data], |keys| sealed(keys, &[(ALERT, b"")]), "UnexpectedMessage"),
        (
            "an empty handshake",
            &[Handshake, Data],
            |keys| sealed(keys, &[(HANDSHAKE, b"")]),
            "UnexpectedMessage",
        ),
        ("a heartbeat", &[Handshake, Data], |keys| sealed(keys, &[(HEARTBEAT, b"?")]), "UnexpectedMessage"),
        (
            "data within a message",
            &[Handshake, Data],
            |keys| sealed(keys, &[(HANDSHAKE, &[20, 0]), (APPLICATION_DATA, b"")]),
            "UnexpectedMessage",
        ),
        (
            "empty records without end",
            &[Data],
            |keys| sealed(keys, &[(APPLICATION_DATA, &b""[..]); 40]),
            "UnexpectedMessage",
        ),
        ("a message in the clear", &[Handshake, Data], |_| record(HANDSHAKE, &[20, 0]), "UnexpectedMessage"),
        ("a heartbeat in the clear", &[Handshake, Data], |_| record(HEARTBEAT, b"?"), "UnexpectedMessage"),
        (
            "changes of cipher",
            &[Handshake],
            |_| record(CHANGE_CIPHER_SPEC, &[1]).repeat(3),
            "UnexpectedMessage",
        ),
        (
            "too much ciphertext",
            &[Handshake, Data],
            |_| record(APPLICATION_DATA, &[7; TLS_RECORD_BYTES_MAX + EXPANSION_BYTES_MAX + 1]),
            "RecordOverflow",
        ),
        ("garbage", &[Handshake, Data], |_| record(APPLICATION_DATA, &[7; 100]), "BadRecordMac"),
    ];
    for (name, phases, forge, expected) in cases {
        for (phase, step) in phases.iter().flat_map(|phase| [(*phase, 1), (*phase, usize::MAX)]) {
            let (mut server, mut client, mut keys) = meet(phase);
            let wire = forge(&mut keys);
            let found = end(&mut server, &mut client, &wire, step);
            assert!(found.ends_with(expected), "{name} in {phase:?} by {step}: {found}");
        }
    }
}

#[test]
fn who_gave_up_is_told_nothing() {
    for phase in [Phase::Handshake, Phase::Data] {
        let (mut server, mut client, mut keys) = meet(phase);
        let wire = sealed(&mut keys, &[(ALERT, &[FATAL, 40])]);
        assert_eq!(end(&mut server, &mut client, &wire, usize::MAX), "nothing", "{phase:?}");
    }
    let mut server = Session::server(&configs().0, Arrival::default()).unwrap();
    let mut out = Vec::new();
    assert!(server.read(&mut record(ALERT, &[FATAL, 40]), &mut Vec::new(), &mut out).is_err());
    assert_eq!(out, b"");
}

#[test]
fn a_foreign_record_under_keys_of_tls_1_2_is_named_under_them() {
    let policy = protocol::TlsPolicy { version_max: "1.2".into(), ..Default::default() };
    let (server, client) = configs_of(&policy);
    let (mut server, mut client) = shake_hands(server, ClientConfig::clone(&client), Phase::Data);
    assert_eq!(server.info().map(|info| info.version), Some(TlsVersion::Tls12));
    let found = end(&mut server, &mut client, &record(HEARTBEAT, b"?"), usize::MAX);
    assert!(found.ends_with("UnexpectedMessage"), "{found}");
}

#[test]
fn whatever_comes_after_our_close_notify_ends_its_session_and_no_more() {
    for (kind, body) in [
        (ALERT, &[0, CLOSE_NOTIFY][..]),
        (ALERT, &[WARNING, 10]),
        (HANDSHAKE, &[99, 0, 0, 0]),
        (HEARTBEAT, b"x"),
    ] {
        let (mut server, _, mut forger) = meet(Phase::Data);
        let (mut wire, mut plain, mut out) = (Vec::new(), Vec::new(), Vec::new());
        forger.seal(kind, body, &mut wire).unwrap();
        server.close(&mut out);
        assert!(server.read(&mut wire, &mut plain, &mut out).is_err(), "{kind} {body:?}");
        assert!(plain.is_empty(), "{kind} {body:?}");
    }
}
