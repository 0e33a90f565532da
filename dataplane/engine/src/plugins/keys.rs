//! Keys that plugins bring to check signatures: from bytes, DER, PEM or a JSON Web Key (RFC 7517).

use crate::program::abi;
use aws_lc_rs::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;

/// Bits of a modulus that is worth the name, and of one that does not cost too much.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
const RSA_EXPONENT_BYTES_MAX: usize = 8;
/// A key of a curve, in any form; those of RSA are longer.
const CURVE_KEY_BYTES_MAX: usize = 128;
const CURVE_FUEL: i64 = 48 << 10;

pub enum Key {
    Hmac(Box<hmac::Key>),
    Public(&'static dyn VerificationAlgorithm, Vec<u8>),
    /// Modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
}

impl Key {
    /// None: no such kind, or no such key.
    pub fn import(kind: u64, bytes: &[u8]) -> Option<Self> {
        match kind {
            abi::KEYKIND_HMAC_SHA256 => Some(hmac_key(bytes)),
            abi::KEYKIND_ED25519 => public(&signature::ED25519, bytes),
            abi::KEYKIND_ECDSA_P256_SHA256 => public(&signature::ECDSA_P256_SHA256_FIXED, bytes),
            abi::KEYKIND_RSA_PKCS1_SHA256 => public(&signature::RSA_PKCS1_2048_8192_SHA256, bytes),
            abi::KEYKIND_JWK => from_jwk(&serde_json::from_slice(bytes).ok()?),
            _ => None,
        }
    }

    pub fn verify(&self, message: &[u8], given: &[u8]) -> bool {
        match self {
            Key::Hmac(key) => hmac::verify(key, message, given).is_ok(),
            Key::Public(algorithm, key) => {
                UnparsedPublicKey::new(*algorithm, key).verify(message, given).is_ok()
            }
            Key::Rsa(n, e) => {
                let components = RsaPublicKeyComponents { n, e };
                components.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, given).is_ok()
            }
        }
    }

    /// What a signature by it costs beside the helper's own fuel: some 50 us on a curve, 20 us to 300 us for RSA, by
    /// the square of the modulus; a large exponent makes that three times as much.
    pub fn measure_fuel(&self) -> i64 {
        match self {
            Key::Hmac(_) => 0,
            Key::Public(_, key) if key.len() <= CURVE_KEY_BYTES_MAX => CURVE_FUEL,
            Key::Public(_, key) | Key::Rsa(key, _) => (key.len() * key.len() / 2) as i64,
        }
    }

    /// None: the key signs nothing.
    pub fn sign(&self, message: &[u8]) -> Option<hmac::Tag> {
        match self {
            Key::Hmac(key) => Some(hmac::sign(key, message)),
            Key::Public(..) | Key::Rsa(..) => None,
        }
    }
}

fn hmac_key(secret: &[u8]) -> Key {
    Key::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
}

fn public(algorithm: &'static dyn VerificationAlgorithm, bytes: &[u8]) -> Option<Key> {
    let key = match bytes.starts_with(b"-----") {
        true => SubjectPublicKeyInfoDer::from_pem_slice(bytes).ok()?.as_ref().to_vec(),
        false => bytes.to_vec(),
    };
    (!key.is_empty()).then_some(Key::Public(algorithm, key))
}

/// The key's type says what it may verify, never the message: a public key is no secret for HMAC (RFC 8725 3.1).
fn from_jwk(jwk: &Value) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    match (text("kty")?, text("crv")) {
        ("oct", _) => Some(hmac_key(&bytes("k")?)),
        ("OKP", Some("Ed25519")) => public(&signature::ED25519, &bytes("x")?),
        ("EC", Some("P-256")) => {
            let (x, y) = (bytes("x")?, bytes("y")?);
            let point = (x.len() == 32 && y.len() == 32).then(|| [&[4], &x[..], &y[..]].concat());
            public(&signature::ECDSA_P256_SHA256_FIXED, &point?)
        }
        ("RSA", _) => {
            let (n, e) = (bytes("n")?, bytes("e")?);
            let fits = RSA_BYTES.contains(&n.len()) && (1..=RSA_EXPONENT_BYTES_MAX).contains(&e.len());
            fits.then_some(Key::Rsa(n, e))
        }
        _ => None,
    }
}

/// None: no such hash function.
pub fn hash(algorithm: u64, bytes: &[u8]) -> Option<digest::Digest> {
    let algorithm = match algorithm {
        abi::DIGEST_SHA256 => &digest::SHA256,
        abi::DIGEST_SHA384 => &digest::SHA384,
        abi::DIGEST_SHA512 => &digest::SHA512,
        abi::DIGEST_SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        _ => return None,
    };
    Some(digest::digest(algorithm, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::KeyPair;
    use proptest::prelude::*;

    fn assert_verifies(kind: u64, key: &[u8], signed: &[u8]) {
        let key = Key::import(kind, key).unwrap();
        assert!(key.verify(b"message", signed));
        assert!(!key.verify(b"massage", signed) && !key.verify(b"message", b""));
        let mut wrong = signed.to_vec();
        wrong[0] ^= 1;
        assert!(!key.verify(b"message", &wrong));
    }

    fn encode(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn elliptic_signatures_are_verified_by_any_form_of_the_key() {
        use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
        let pair = signature::Ed25519KeyPair::generate().unwrap();
        let signed = pair.sign(b"message");
        let raw = pair.public_key().as_ref();
        assert_verifies(abi::KEYKIND_ED25519, raw, signed.as_ref());
        let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, encode(raw));
        assert_verifies(abi::KEYKIND_JWK, jwk.as_bytes(), signed.as_ref());
        let pair = signature::EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let signed = pair.sign(&SystemRandom::new(), b"message").unwrap();
        let raw = pair.public_key().as_ref();
        assert_verifies(abi::KEYKIND_ECDSA_P256_SHA256, raw, signed.as_ref());
        let der: PublicKeyX509Der = pair.public_key().as_der().unwrap();
        assert_verifies(abi::KEYKIND_ECDSA_P256_SHA256, der.as_ref(), signed.as_ref());
        let body = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
        assert_verifies(abi::KEYKIND_ECDSA_P256_SHA256, pem.as_bytes(), signed.as_ref());
        let (x, y) = (encode(&raw[1..33]), encode(&raw[33..]));
        let jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
        assert_verifies(abi::KEYKIND_JWK, jwk.as_bytes(), signed.as_ref());
    }

    #[test]
    fn rsa_and_hmac_are_verified() {
        use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
        let pair = signature::RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let mut signed = vec![0; 256];
        pair.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), b"message", &mut signed).unwrap();
        let der: PublicKeyX509Der = pair.public_key().as_der().unwrap();
        assert_verifies(abi::KEYKIND_RSA_PKCS1_SHA256, der.as_ref(), &signed);
        let modulus = encode(pair.public_key().modulus().big_endian_without_leading_zero());
        let jwk = format!(r#"{{"kty":"RSA","n":"{modulus}","e":"AQAB"}}"#);
        assert_verifies(abi::KEYKIND_JWK, jwk.as_bytes(), &signed);
        let key = Key::import(abi::KEYKIND_HMAC_SHA256, b"secret").unwrap();
        let tag = key.sign(b"message").unwrap();
        assert_verifies(abi::KEYKIND_HMAC_SHA256, b"secret", tag.as_ref());
        let jwk = format!(r#"{{"kty":"oct","k":"{}"}}"#, encode(b"secret"));
        assert_verifies(abi::KEYKIND_JWK, jwk.as_bytes(), tag.as_ref());
        assert!(Key::import(abi::KEYKIND_RSA_PKCS1_SHA256, der.as_ref()).unwrap().sign(b"").is_none());
    }

    #[test]
    fn what_a_signature_costs_grows_with_the_square_of_an_rsa_key() {
        let rsa = |bytes: usize| Key::Rsa(vec![1; bytes], vec![1, 0, 1]).measure_fuel();
        assert_eq!((rsa(256), rsa(512), rsa(1024)), (32 << 10, 128 << 10, 512 << 10));
        let public = |kind, bytes| Key::import(kind, bytes).unwrap().measure_fuel();
        assert_eq!(public(abi::KEYKIND_ED25519, &[1; 32]), CURVE_FUEL);
        assert_eq!(public(abi::KEYKIND_ECDSA_P256_SHA256, &[4; 65]), CURVE_FUEL);
        assert_eq!(public(abi::KEYKIND_RSA_PKCS1_SHA256, &[1; 1024]), 512 << 10);
        assert_eq!(public(abi::KEYKIND_HMAC_SHA256, &[1; 1024]), 0);
    }

    #[test]
    fn what_is_no_key_is_none() {
        for jwk in
            ["{}", r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#, r#"{"kty":"RSA","n":"AA","e":"AQAB"}"#]
        {
            assert!(Key::import(abi::KEYKIND_JWK, jwk.as_bytes()).is_none(), "{jwk}");
        }
        assert!(Key::import(99, b"").is_none() && Key::import(abi::KEYKIND_ED25519, b"").is_none());
        assert!(Key::import(abi::KEYKIND_ED25519, b"-----BEGIN PUBLIC KEY-----\n").is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(kind in 0u64..6, key: Vec<u8>, message: Vec<u8>, given: Vec<u8>) {
            if let Some(key) = Key::import(kind, &key) {
                prop_assert!(!key.verify(&message, &given) || kind == abi::KEYKIND_HMAC_SHA256);
            }
        }
    }
}
