//! Certificates of clients: asked for where a host's policy says so, judged after the handshake, for the whole of the
//! connection, resumed ones too.
//!
//! Rule: the signature that proves the key is verified in the handshake, always; what the chain is worth is recorded,
//! and `refusal` keeps every request from its upstream where the policy is not met.

use crate::protocol::{ClientAuthentication, client_authentication};
use crate::snapshot::{provider, system_roots};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::sync::Arc;

pub use client_authentication::Mode;

/// The certificate that a client showed.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// DER.
    pub leaf: Box<[u8]>,
    /// Why it does not meet the policy.
    pub objection: Option<Box<str>>,
}

/// What a policy asks of clients.
#[derive(Debug)]
pub struct ClientRule {
    mode: Mode,
    /// None: no chain is asked for.
    chains: Option<Arc<dyn ClientCertVerifier>>,
    trusted_leaves: Box<[Box<[u8]>]>,
    /// Certificates that a client may send between its own and an authority's.
    intermediates_max: usize,
    algorithms: WebPkiSupportedAlgorithms,
    hints: Vec<DistinguishedName>,
}

impl ClientRule {
    pub fn compile(message: &ClientAuthentication) -> Result<Self, String> {
        let mode = message.mode();
        let algorithms = provider().signature_verification_algorithms;
        let verifies = matches!(mode, Mode::VerifyIfGiven | Mode::RequireAndVerify);
        let mut roots = match message.system_roots {
            true => RootCertStore::clone(&system_roots()),
            false => RootCertStore::empty(),
        };
        for der in &message.trusted_ca {
            roots
                .add(CertificateDer::from(der.to_vec()))
                .map_err(|error| format!("an authority of clients: {error}"))?;
        }
        // Naming the system's many roots would cost every handshake some 16 KiB.
        let hints = if message.system_roots { Vec::new() } else { roots.subjects() };
        let chains = match verifies {
            false => None,
            true => {
                let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                Some(builder.build().map_err(|error| format!("authorities of clients: {error}"))?)
            }
        };
        let trusted_leaves = message.trusted_leaves.iter().map(|der| der[..].into()).collect();
        let intermediates_max = match message.depth {
            0 => usize::MAX,
            depth => depth as usize - 1,
        };
        Ok(Self { mode, chains, trusted_leaves, intermediates_max, algorithms, hints })
    }

    /// Judges the chain that a client showed, leaf first; None where it showed none.
    pub fn judge(&self, chain: Option<&[CertificateDer<'_>]>, now: UnixTime) -> Option<ClientCertificate> {
        let (leaf, intermediates) = chain?.split_first()?;
        // Those left out cannot be part of a chain: of two readings of a depth this is the stricter one.
        let intermediates = &intermediates[..intermediates.len().min(self.intermediates_max)];
        let objection = match &self.chains {
            Some(chains) => {
                chains.verify_client_cert(leaf, intermediates, now).err().map(|error| error.to_string())
            }
            None => None,
        };
        let known = self.trusted_leaves.is_empty() || self.trusted_leaves.iter().any(|der| **der == **leaf);
        let objection = objection.or((!known).then(|| "it is none of those trusted".into()));
        Some(ClientCertificate { leaf: leaf.as_ref().into(), objection: objection.map(Into::into) })
    }

    /// The page for a request that may not pass; None where it may.
    pub fn refusal(&self, client: Option<&ClientCertificate>) -> Option<String> {
        match client {
            None if matches!(self.mode, Mode::Require | Mode::RequireAndVerify) => {
                Some("This site asks for a client certificate, and none was sent.".into())
            }
            None => None,
            Some(client) => client
                .objection
                .as_ref()
                .map(|objection| format!("The client certificate is not accepted: {objection}.")),
        }
    }
}

impl ClientCertVerifier for ClientRule {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// Every chain passes the handshake: `judge` decides, and the client gets an answer that says why.
    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

    fn authority() -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    #[test]
    fn a_chain_longer_than_the_depth_is_not_accepted() {
        let [root_key, middle_key, key]: [KeyPair; 3] = std::array::from_fn(|_| KeyPair::generate().unwrap());
        let root = authority().self_signed(&root_key).unwrap();
        let root_issuer = Issuer::new(authority(), &root_key);
        let mut params = authority();
        params.distinguished_name.push(rcgen::DnType::CommonName, "middle");
        let middle = params.signed_by(&middle_key, &root_issuer).unwrap();
        let middle_issuer = Issuer::new(params, &middle_key);
        let mut params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let chain = [params.signed_by(&key, &middle_issuer).unwrap().der().clone(), middle.der().clone()];
        let direct = [params.signed_by(&key, &root_issuer).unwrap().der().clone()];
        for (depth, accepted) in [(0, true), (1, false), (2, true), (3, true)] {
            let message = ClientAuthentication {
                mode: Mode::RequireAndVerify as i32,
                trusted_ca: vec![root.der().to_vec().into()],
                depth,
                ..Default::default()
            };
            let rule = ClientRule::compile(&message).unwrap();
            let judged = |chain: &[CertificateDer<'_>]| {
                rule.refusal(rule.judge(Some(chain), UnixTime::now()).as_ref()).is_none()
            };
            assert_eq!(judged(&chain), accepted, "{depth}");
            assert!(judged(&direct), "{depth}");
        }
    }
}
