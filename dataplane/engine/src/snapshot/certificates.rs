//! Certificates by server name: a resolver that always answers from what was committed last.
//!
//! Rule: as Caddy chooses (certmagic handshake.go): the name, else the address that a client without one came to; what
//! is nobody's ends the handshake, unless something is to be shown for it.

use super::sharded::{Few, Sharded};
use crate::exchange::ListenerId;
use crate::limits::LOADED_CERTIFICATES_MAX;
use crate::locks::lock;
use crate::protocol;
use crate::tls::{Arrival, current_arrival};
use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

/// A certificate that rustls accepted, with the names that it is served for. Its key is kept as bytes until a
/// handshake asks for it: a parsed key takes several times their memory, and most names of many are rarely asked for.
pub struct LoadedCertificate {
    pub name: Box<str>,
    pub hosts: Box<[Box<str>]>,
    /// None: all.
    listeners: Box<[ListenerId]>,
    without_name: bool,
    other_names: bool,
    chain: Box<[Box<[u8]>]>,
    key: Box<[u8]>,
    /// Stapled, where there is one.
    ocsp: Option<Box<[u8]>>,
    parsed: ArcSwapOption<CertifiedKey>,
}

/// Certificates whose keys are parsed, oldest first.
type ParsedCertificates = Mutex<VecDeque<Weak<LoadedCertificate>>>;

/// Certificates by SNI name: exact, ".suffix" for wildcards. More than one of a name: in order of their names.
#[derive(Clone, Default)]
pub struct CertificateIndex {
    by_host: Sharded<Few<Arc<LoadedCertificate>>>,
    without_name: Vec<Arc<LoadedCertificate>>,
    other_names: Vec<Arc<LoadedCertificate>>,
    default: Option<Arc<LoadedCertificate>>,
}

#[derive(Default)]
pub struct CertificateResolver {
    current: ArcSwap<CertificateIndex>,
    parsed: ParsedCertificates,
}

impl LoadedCertificate {
    /// Refuses what rustls could not serve, once and for all: a handshake finds no bad key.
    pub fn load(message: &protocol::Certificate, listeners: Box<[ListenerId]>) -> Result<Self, String> {
        let loaded = Self {
            listeners,
            without_name: message.without_name,
            other_names: message.other_names,
            name: message.name.as_str().into(),
            hosts: message.hosts.iter().map(|host| host.to_ascii_lowercase().into()).collect(),
            chain: message.chain.iter().map(|der| der[..].into()).collect(),
            key: message.key[..].into(),
            ocsp: (!message.ocsp.is_empty()).then(|| message.ocsp[..].into()),
            parsed: ArcSwapOption::empty(),
        };
        loaded.parse().map(|_| loaded)
    }

    fn parse(&self) -> Result<CertifiedKey, String> {
        if self.chain.is_empty() {
            return Err("the certificate is empty".into());
        }
        let chain = self.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        let mut certified = CertifiedKey::new(chain, load_key(&self.key)?);
        certified.ocsp = self.ocsp.as_ref().map(|response| response.to_vec());
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
            Err(error) => Err(format!("certificate and key: {error}")),
        }
    }

    /// The parsed key; the one parsed longest ago makes room for it.
    fn certified(self: &Arc<Self>, parsed: &ParsedCertificates) -> Option<Arc<CertifiedKey>> {
        if let Some(key) = self.parsed.load_full() {
            return Some(key);
        }
        let key = Arc::new(self.parse().ok()?);
        self.parsed.store(Some(key.clone()));
        let mut queue = lock(parsed);
        queue.push_back(Arc::downgrade(self));
        while queue.len() > LOADED_CERTIFICATES_MAX {
            if let Some(oldest) = queue.pop_front().and_then(|weak| weak.upgrade()) {
                oldest.parsed.store(None);
            }
        }
        Some(key)
    }
}

/// PKCS#8, PKCS#1 or SEC1.
fn load_key(der: &[u8]) -> Result<Arc<dyn rustls::sign::SigningKey>, String> {
    let forms = [
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der)),
        PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der)),
        PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der)),
    ];
    let loaded = forms.iter().find_map(|form| rustls::crypto::aws_lc_rs::sign::any_supported_type(form).ok());
    loaded.ok_or_else(|| "the private key is none of PKCS#8, PKCS#1 and SEC1, or of an unknown kind".into())
}

/// "*.example.com" is kept under ".example.com", so that a look-up needs no new string.
pub(super) fn index_key(host: &str) -> &[u8] {
    host.strip_prefix('*').unwrap_or(host).as_bytes()
}

impl CertificateIndex {
    pub fn insert(&mut self, certificate: &Arc<LoadedCertificate>) {
        for host in &certificate.hosts {
            let list = self.by_host.entry(index_key(host));
            let at = list.partition_point(|other| other.name < certificate.name);
            list.insert(at, certificate.clone());
        }
        if certificate.without_name {
            self.without_name.push(certificate.clone());
        }
        if certificate.other_names {
            self.other_names.push(certificate.clone());
        }
    }

    pub fn remove(&mut self, certificate: &LoadedCertificate) {
        self.without_name.retain(|other| other.name != certificate.name);
        self.other_names.retain(|other| other.name != certificate.name);
        for host in &certificate.hosts {
            let key = index_key(host);
            let list = self.by_host.entry(key);
            list.retain(|other| other.name != certificate.name);
            if list.is_empty() {
                self.by_host.remove(key);
            }
        }
    }

    pub fn set_default(&mut self, certificate: Option<Arc<LoadedCertificate>>) {
        self.default = certificate;
    }

    /// Exact name, then wildcard of one label; without a name the address; then what is shown for others.
    pub fn find(&self, server_name: Option<&str>, arrival: Arrival) -> Option<&Arc<LoadedCertificate>> {
        let found = match server_name {
            Some(name) => self.find_named(name, arrival.listener),
            None => {
                let address = arrival.local.to_canonical().to_string();
                self.get(address.as_bytes(), arrival.listener)
                    .or_else(|| choose(&self.without_name, arrival.listener))
            }
        };
        found.or_else(|| choose(&self.other_names, arrival.listener)).or(self.default.as_ref())
    }

    fn find_named(&self, name: &str, listener: ListenerId) -> Option<&Arc<LoadedCertificate>> {
        let lower: std::borrow::Cow<str> = match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => name.to_ascii_lowercase().into(),
            false => name.into(),
        };
        let name = lower.trim_end_matches('.').as_bytes();
        let wildcard = || memchr::memchr(b'.', name).and_then(|dot| self.get(&name[dot..], listener));
        self.get(name, listener).or_else(wildcard)
    }

    fn get(&self, key: &[u8], listener: ListenerId) -> Option<&Arc<LoadedCertificate>> {
        choose(self.by_host.get(key)?, listener)
    }
}

/// The listener's own one, else one of all listeners.
fn choose(list: &[Arc<LoadedCertificate>], listener: ListenerId) -> Option<&Arc<LoadedCertificate>> {
    let own = list.iter().find(|one| one.listeners.contains(&listener));
    own.or_else(|| list.iter().find(|one| one.listeners.is_empty()))
}

impl CertificateResolver {
    pub fn store(&self, index: CertificateIndex) {
        self.current.store(Arc::new(index));
    }
}

impl ResolvesServerCert for CertificateResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let index = self.current.load();
        index.find(hello.server_name(), current_arrival())?.certified(&self.parsed)
    }
}

impl fmt::Debug for CertificateResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateResolver")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsed_keys_are_bounded_and_the_others_are_parsed_again() {
        let made = rcgen::generate_simple_self_signed(vec!["a.test".into()]).unwrap();
        let message = protocol::Certificate {
            chain: vec![made.cert.der().to_vec().into()],
            key: made.signing_key.serialize_der().into(),
            ..Default::default()
        };
        let parsed = ParsedCertificates::default();
        let load = || Arc::new(LoadedCertificate::load(&message, Box::default()).unwrap());
        let all: Vec<_> = (0..LOADED_CERTIFICATES_MAX + 2).map(|_| load()).collect();
        assert!(all.iter().all(|certificate| certificate.certified(&parsed).is_some()));
        let held = all.iter().filter(|certificate| certificate.parsed.load().is_some()).count();
        assert_eq!((held, all[0].parsed.load().is_some()), (LOADED_CERTIFICATES_MAX, false));
        assert!(all[0].certified(&parsed).is_some());
        assert!(all[0].parsed.load().is_some());
    }
}
