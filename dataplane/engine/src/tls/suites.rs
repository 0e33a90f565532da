//! rustls' cipher suites with record protection that refuses what RFC 8446 5 refuses, by the alert that it names.
//!
//! rustls alone has the keys of a handshake, and says an alert for some errors only. A record without a type, an empty
//! alert or one that is too long becomes here an error for which it says the alert that is due.

use crate::limits::TLS_RECORD_BYTES_MAX;
use rustls::crypto::CryptoProvider;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape, MessageDecrypter,
    MessageEncrypter, Tls12AeadAlgorithm, Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::{CipherSuiteCommon, ConnectionTrafficSecrets, ContentType, Error, PeerMisbehaved};
use rustls::{SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};
use std::cell::Cell;

/// What a ciphertext may be longer than its plaintext (RFC 8446 5.2).
pub const EXPANSION_BYTES_MAX: usize = 256;
/// The one error of rustls that it answers with unexpected_message, whatever its state.
const UNEXPECTED: Error = Error::PeerMisbehaved(PeerMisbehaved::IllegalMiddleboxChangeCipherSpec);

thread_local! {
    static REFUSING: Cell<bool> = const { Cell::new(false) };
}

/// While `work` runs on this thread, every protected record is refused.
pub fn refuse_records<T>(work: impl FnOnce() -> T) -> T {
    REFUSING.set(true);
    let result = work();
    REFUSING.set(false);
    result
}

/// The suites live as long as the process: for one provider.
pub fn with_strict_records(mut provider: CryptoProvider) -> CryptoProvider {
    for suite in &mut provider.cipher_suites {
        *suite = match *suite {
            SupportedCipherSuite::Tls12(suite) => leak(Tls12CipherSuite {
                common: copy(&suite.common),
                aead_alg: leak(Strict12(suite.aead_alg)),
                ..*suite
            })
            .into(),
            SupportedCipherSuite::Tls13(suite) => leak(Tls13CipherSuite {
                common: copy(&suite.common),
                aead_alg: leak(Strict13(suite.aead_alg)),
                ..*suite
            })
            .into(),
        };
    }
    provider
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn copy(common: &CipherSuiteCommon) -> CipherSuiteCommon {
    CipherSuiteCommon {
        suite: common.suite,
        hash_provider: common.hash_provider,
        confidentiality_limit: common.confidentiality_limit,
    }
}

struct Strict13(&'static dyn Tls13AeadAlgorithm);

impl Tls13AeadAlgorithm for Strict13 {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        self.0.encrypter(key, iv)
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(StrictDecrypter13(self.0.decrypter(key, iv)))
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv)
    }
}

struct StrictDecrypter13(Box<dyn MessageDecrypter>);

impl MessageDecrypter for StrictDecrypter13 {
    fn decrypt<'a>(
        &mut self,
        record: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        if REFUSING.get() || record.typ != ContentType::ApplicationData {
            return Err(UNEXPECTED);
        }
        if record.payload.len() > TLS_RECORD_BYTES_MAX + EXPANSION_BYTES_MAX {
            return Err(Error::PeerSentOversizedRecord);
        }
        match self.0.decrypt(record, sequence) {
            Err(Error::PeerMisbehaved(PeerMisbehaved::IllegalTlsInnerPlaintext)) => Err(UNEXPECTED),
            Ok(plain) => match (plain.typ, plain.payload) {
                // RFC 8446 5.4.
                (ContentType::Alert | ContentType::Handshake, []) => Err(UNEXPECTED),
                (ContentType::Alert | ContentType::Handshake | ContentType::ApplicationData, _) => Ok(plain),
                _ => Err(UNEXPECTED),
            },
            failed => failed,
        }
    }
}

struct Strict12(&'static dyn Tls12AeadAlgorithm);

impl Tls12AeadAlgorithm for Strict12 {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        self.0.encrypter(key, iv, extra)
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        Box::new(StrictDecrypter12(self.0.decrypter(key, iv)))
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        self.0.key_block_shape()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv, explicit)
    }
}

struct StrictDecrypter12(Box<dyn MessageDecrypter>);

impl MessageDecrypter for StrictDecrypter12 {
    fn decrypt<'a>(
        &mut self,
        record: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let is_known = matches!(
            record.typ,
            ContentType::ChangeCipherSpec
                | ContentType::Alert
                | ContentType::Handshake
                | ContentType::ApplicationData
        );
        match is_known && !REFUSING.get() {
            true => self.0.decrypt(record, sequence),
            false => Err(UNEXPECTED),
        }
    }
}
