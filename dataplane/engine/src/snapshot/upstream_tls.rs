//! TLS towards upstreams: one client configuration per policy, shared by all clusters that have it.

use super::clusters::UpstreamTls;
use crate::protocol;
use crate::tls::suites::with_strict_records;
use prost::Message;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// Policies by their message. Never emptied: there are as many as kinds of upstream TLS in a cluster.
#[derive(Default)]
pub struct UpstreamPolicies {
    known: HashMap<Vec<u8>, (UpstreamTls, u64)>,
}

impl UpstreamPolicies {
    /// The policy with its identity (never 0: that is plain HTTP).
    pub fn get(&mut self, message: &protocol::UpstreamTls) -> Result<(UpstreamTls, u64), String> {
        let key = message.encode_to_vec();
        if let Some(found) = self.known.get(&key) {
            return Ok(found.clone());
        }
        let server_name = match message.server_name.as_str() {
            "" => None,
            name => Some(
                ServerName::try_from(name.to_owned()).map_err(|_| format!("{name:?} is no server name"))?,
            ),
        };
        let config = build_config(message)?;
        let mut http1 = config.clone();
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        let policy = UpstreamTls { config: Arc::new(config), http1: Arc::new(http1), server_name };
        let identity = self.known.len() as u64 + 1;
        self.known.insert(key, (policy.clone(), identity));
        Ok((policy, identity))
    }
}

/// TLS 1.2 and 1.3 by aws-lc-rs.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || Arc::new(with_strict_records(rustls::crypto::aws_lc_rs::default_provider()));
    PROVIDER.get_or_init(make).clone()
}

/// The system's roots. Read once, before the engine gives up the right to open files.
pub fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let load = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    };
    ROOTS.get_or_init(load).clone()
}

fn build_config(message: &protocol::UpstreamTls) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let trust = match (message.insecure_skip_verify, message.trusted_ca.is_empty()) {
        (true, _) => Some(Trust::Anyone),
        (false, false) => Some(Trust::in_authorities(&message.trusted_ca)?),
        (false, true) => None,
    };
    let builder = match trust {
        Some(trust) => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(UpstreamVerifier::new(trust)))
        }
        None => builder.with_root_certificates(system_roots()),
    };
    let mut config = show_certificate(builder, message)?;
    config.alpn_protocols = match message.http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Ok(config)
}

/// The certificate that an upstream gets to see when it asks for one.
fn show_certificate(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    message: &protocol::UpstreamTls,
) -> Result<ClientConfig, String> {
    if message.client_chain.is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let chain = message.client_chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let key = PrivateKeyDer::try_from(message.client_key.to_vec())
        .map_err(|error| format!("client key: {error}"))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| format!("client certificate: {error}"))
}

/// Whose certificates are believed.
#[derive(Debug)]
enum Trust {
    /// Chains to authorities; an authority's own certificate too (DER), which a server may show in person.
    Authorities { chains: Arc<WebPkiServerVerifier>, trusted: Box<[Box<[u8]>]> },
    /// `insecure_skip_verify`.
    Anyone,
}

impl Trust {
    fn in_authorities(trusted: &[prost::bytes::Bytes]) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for der in trusted {
            roots
                .add(CertificateDer::from(der.to_vec()))
                .map_err(|error| format!("trusted CA certificate: {error}"))?;
        }
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
        let chains = builder.build().map_err(|error| format!("trusted CA certificates: {error}"))?;
        Ok(Self::Authorities { chains, trusted: trusted.iter().map(|der| der[..].into()).collect() })
    }
}

/// Judges what upstreams show. In every case they prove that they have the key of their certificate.
#[derive(Debug)]
struct UpstreamVerifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl UpstreamVerifier {
    fn new(trust: Trust) -> Self {
        Self { trust, algorithms: provider().signature_verification_algorithms }
    }
}

impl ServerCertVerifier for UpstreamVerifier {
    /// As Go and OpenSSL do it: of a certificate that is itself trusted, no chain is asked, but its time and name.
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let (chains, trusted) = match &self.trust {
            Trust::Authorities { chains, trusted } => (chains, trusted),
            Trust::Anyone => return Ok(ServerCertVerified::assertion()),
        };
        match chains.verify_server_cert(leaf, intermediates, name, ocsp, now) {
            // Its time is judged before that it is an authority's.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(fault)))
                if fault.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
                    && trusted.iter().any(|der| **der == **leaf) =>
            {
                verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    fn authority(last_year: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["api.test".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(last_year, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn accepts(trusted: &CertificateDer<'_>, shown: &CertificateDer<'_>, name: &str) -> bool {
        let der = prost::bytes::Bytes::copy_from_slice(trusted);
        let verifier = UpstreamVerifier::new(Trust::in_authorities(&[der]).unwrap());
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.verify_server_cert(shown, &[], &name, &[], UnixTime::now()).is_ok()
    }

    #[test]
    fn an_authority_that_is_trusted_may_be_the_server_itself() {
        let (own, other, over) = (authority(4000), authority(4000), authority(2002));
        assert!(accepts(&own, &own, "api.test"));
        assert!(!accepts(&own, &own, "other.test"));
        assert!(!accepts(&own, &other, "api.test"));
        assert!(!accepts(&over, &over, "api.test"));
    }
}
