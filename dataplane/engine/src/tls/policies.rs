//! How TLS is spoken with the clients of a host: versions, suites, curves, ALPN, client certificates.
//!
//! Called by the snapshot, which compiles a host's policy once, and by connections, which find it by the server name of
//! the ClientHello. Rule: a connection serves only hosts of the policy that its handshake had.

use super::Noting;
use super::clients::{ClientCertificate, ClientRule};
use super::tickets::{Key, TicketKeys, Ticketer, make_key};
use crate::locks::lock;
use crate::protocol;
use crate::snapshot::{CertificateResolver, provider};
use prost::Message;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::NoServerSessionStorage;
use rustls::{ProtocolVersion, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

/// A host's policy, ready for handshakes.
pub struct TlsPolicy {
    pub config: Arc<ServerConfig>,
    /// None: clients are asked for no certificate.
    pub clients: Option<Arc<ClientRule>>,
}

/// Policies in use, one for each message.
pub struct TlsPolicies {
    pub resolver: Arc<CertificateResolver>,
    pub keys: Arc<TicketKeys>,
    known: Mutex<HashMap<Vec<u8>, Weak<TlsPolicy>>>,
}

/// What a handshake leaves behind, beside what rustls tells.
#[derive(Debug, Default)]
pub struct Handshake {
    /// None: the engine's own.
    pub policy: Option<Arc<TlsPolicy>>,
    /// Empty where nothing asks for it.
    pub ja4: Box<str>,
    pub client: Option<ClientCertificate>,
}

impl Handshake {
    /// The page for requests of a client that does not meet the policy.
    pub fn refusal(&self) -> Option<String> {
        self.policy.as_ref()?.clients.as_ref()?.refusal(self.client.as_ref())
    }
}

impl TlsPolicies {
    /// `key`: what ticket keys are derived from, unless the operator gives some.
    pub fn new(key: Key) -> Self {
        let keys = Arc::new(TicketKeys::new(key));
        Self { resolver: Arc::default(), keys, known: Mutex::default() }
    }

    /// Equal messages have one policy, so that hosts may share connections.
    pub fn get(&self, message: &protocol::TlsPolicy) -> Result<Arc<TlsPolicy>, String> {
        let key = message.encode_to_vec();
        let mut known = lock(&self.known);
        if let Some(policy) = known.get(&key).and_then(Weak::upgrade) {
            return Ok(policy);
        }
        let policy = Arc::new(self.compile(message, &key)?);
        known.retain(|_, policy| policy.strong_count() > 0);
        known.insert(key, Arc::downgrade(&policy));
        Ok(policy)
    }

    /// The engine's own policy: TLS 1.2 and 1.3, AEAD and ECDHE only, no early data.
    pub fn own(&self) -> Result<Arc<ServerConfig>, String> {
        self.compile(&protocol::TlsPolicy::default(), &[]).map(|policy| policy.config)
    }

    fn compile(&self, message: &protocol::TlsPolicy, digest: &[u8]) -> Result<TlsPolicy, String> {
        let crypto = Arc::new(choose_crypto(message)?);
        let versions = choose_versions(message, &crypto)?;
        let builder = ServerConfig::builder_with_provider(crypto);
        let builder = builder.with_protocol_versions(&versions).map_err(|error| error.to_string())?;
        let clients =
            message.client_authentication.as_ref().map(ClientRule::compile).transpose()?.map(Arc::new);
        let builder = match &clients {
            Some(rule) => builder.with_client_cert_verifier(rule.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Noting(self.resolver.clone())));
        config.alpn_protocols = match message.protocols.as_slice() {
            [] => ["h2", "http/1.1", "http/1.0"].map(Vec::from).into(),
            given => given.iter().map(|name| name.as_bytes().to_vec()).collect(),
        };
        // Stateless tickets: no session cache that all workers would have to lock.
        config.ticketer = Arc::new(Ticketer::new(self.keys.clone(), digest));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        // For `records`.
        config.enable_secret_extraction = true;
        Ok(TlsPolicy { config: Arc::new(config), clients })
    }
}

/// With a key of its own: its tickets end with it.
impl Default for TlsPolicies {
    fn default() -> Self {
        Self::new(make_key())
    }
}

impl TlsPolicy {
    pub fn judge(&self, chain: Option<&[CertificateDer<'_>]>) -> Option<ClientCertificate> {
        self.clients.as_ref()?.judge(chain, UnixTime::now())
    }
}

impl fmt::Debug for TlsPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsPolicy")
    }
}

/// Suites of TLS 1.3 are not chosen, as in Go: all of them are good.
fn choose_crypto(message: &protocol::TlsPolicy) -> Result<CryptoProvider, String> {
    let mut crypto = CryptoProvider::clone(&provider());
    if !message.cipher_suites.is_empty() {
        let known = |suite: &SupportedCipherSuite| {
            let name = suite.suite().as_str().unwrap_or_default();
            suite.tls13().is_some() || message.cipher_suites.iter().any(|wanted| wanted == name)
        };
        crypto.cipher_suites.retain(known);
    }
    if !message.curves.is_empty() {
        let curves: Result<Vec<_>, String> = message.curves.iter().map(|name| find_curve(name)).collect();
        crypto.kx_groups = curves?;
    }
    Ok(crypto)
}

fn find_curve(name: &str) -> Result<&'static dyn SupportedKxGroup, String> {
    match name {
        "x25519mlkem768" => Ok(kx_group::X25519MLKEM768),
        "x25519" => Ok(kx_group::X25519),
        "secp256r1" => Ok(kx_group::SECP256R1),
        "secp384r1" => Ok(kx_group::SECP384R1),
        _ => Err(format!("no curve {name:?}")),
    }
}

fn choose_versions(
    message: &protocol::TlsPolicy,
    crypto: &CryptoProvider,
) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let read = |text: &str, default: u8| match text {
        "" => Ok(default),
        "1.2" => Ok(2),
        "1.3" => Ok(3),
        _ => Err(format!("no version of TLS: {text:?}")),
    };
    let (least, most) = (read(&message.version_min, 2)?, read(&message.version_max, 3)?);
    let has12 = crypto.cipher_suites.iter().any(|suite| suite.version().version == ProtocolVersion::TLSv1_2);
    let mut versions = Vec::new();
    if least <= 3 && most >= 3 {
        versions.push(&rustls::version::TLS13);
    }
    if least <= 2 && most >= 2 && has12 {
        versions.push(&rustls::version::TLS12);
    }
    match versions.is_empty() {
        true => Err("no version of TLS is left".into()),
        false => Ok(versions),
    }
}
