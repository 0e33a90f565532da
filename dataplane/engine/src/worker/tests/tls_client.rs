//! The client's end of TLS, without I/O, for simulated clients.

use super::fixture;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};

pub struct TlsClient(rustls::ClientConnection);

/// Clients of one memory: what tickets they got, and whether they have a certificate.
pub struct Remembered(Arc<rustls::ClientConfig>);

impl Remembered {
    pub fn new(certified: bool) -> Self {
        Remembered(Arc::new(make_config(certified)))
    }

    pub fn connect(&self) -> TlsClient {
        let name = ServerName::try_from("shop.example").unwrap();
        TlsClient(rustls::ClientConnection::new(self.0.clone(), name).unwrap())
    }
}

impl TlsClient {
    pub fn new() -> Self {
        static ALL: OnceLock<Remembered> = OnceLock::new();
        ALL.get_or_init(|| Remembered::new(false)).connect()
    }

    pub fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    pub fn resumed(&self) -> bool {
        self.0.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// Plaintext of what came. What is no TLS any more, after a cut, is nothing.
    pub fn open(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        while !bytes.is_empty() && self.0.read_tls(&mut bytes).is_ok() {
            if self.0.process_new_packets().is_err() {
                break;
            }
            // Err: nothing more now, or the end without a close.
            let _ = self.0.reader().read_to_end(&mut plain);
        }
        plain
    }

    /// Records of bytes to send, once the handshake is done; before, they wait in the session.
    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        self.0.set_buffer_limit(None);
        self.0.writer().write_all(plain).unwrap();
        self.take_output()
    }

    /// What says that no more comes.
    pub fn close(&mut self) -> Vec<u8> {
        self.0.send_close_notify();
        self.take_output()
    }

    pub fn take_output(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut output).unwrap();
        }
        output
    }
}

fn make_config(certified: bool) -> rustls::ClientConfig {
    let (certificate, key) = fixture::certificate();
    let certificate = CertificateDer::from(certificate.clone());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    match certified {
        true => {
            let key = PrivateKeyDer::Pkcs8(key.clone().into());
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
        false => builder.with_no_client_auth(),
    }
}
