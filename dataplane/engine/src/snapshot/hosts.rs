//! Virtual hosts and the snapshot that finds them.

use super::listening::Listener;
use super::settings::Settings;
use super::sharded::{Few, Sharded};
use super::tables::{ProxyCall, ResponseRow, Tables};
use crate::exchange::{ListenerId, TlsInfo};
use crate::plugins::PluginIndex;
use crate::program::image::Image;
use crate::protocol::Stream;
use crate::tls::ja4;
use crate::tls::policies::{TlsPolicies, TlsPolicy};
use smallvec::SmallVec;
use std::net::IpAddr;
use std::sync::Arc;

/// Beside their host: those of five routes or so are read without waiting for memory once more.
pub type Constants = SmallVec<[u8; 128]>;

/// A host name's routes: code of a shape, the constants and tables of this host.
///
/// What each request looks at comes first: among many hosts every line of memory is waited for.
#[derive(Clone)]
#[repr(C)]
pub struct VirtualHost {
    pub listeners: Arc<[ListenerId]>,
    pub image: Arc<Image>,
    pub tables: Arc<Tables>,
    pub fuel: u32,
    /// Entry of the error routes; 0 is none.
    pub error_entry: u32,
    pub stream: Stream,
    pub strict_sni_host: bool,
    /// The program chooses the proxy call of a stream.
    pub judges_streams: bool,
    /// None: the engine's own policy.
    pub tls: Option<Arc<TlsPolicy>>,
    pub deny: Option<Box<str>>,
    /// As the program addresses them from CONSTANTS on.
    pub constants: Constants,
    pub name: Arc<str>,
    /// Lower case: exact, "*.suffix", "" for any.
    pub hosts: Box<[Box<str>]>,
    /// Version of this host's configuration, for the access log.
    pub marker: Box<str>,
}

impl VirtualHost {
    /// Rows come from `Decision`, which the machine has checked.
    pub fn proxy(&self, row: u32) -> &ProxyCall {
        &self.tables.proxies[row as usize]
    }

    pub fn response(&self, row: u32) -> &ResponseRow {
        &self.tables.responses[row as usize]
    }

    /// Begins to read what the program is about to: among many hosts these lines are in no cache, and wait side by side.
    pub fn warm(&self) {
        std::hint::black_box((self.constants.first().copied(), self.tables.proxies.len()));
    }

    /// A handshake must know this host before it begins.
    pub fn is_found_by_name(&self) -> bool {
        self.tls.is_some() || self.stream != Stream::NoStream
    }

    /// Whether a connection for this server name and with this policy may serve the host (RFC 9110 7.4).
    pub fn agrees(&self, tls: &TlsInfo, host: &[u8]) -> bool {
        let policy = tls.handshake.as_ref().and_then(|handshake| handshake.policy.as_ref());
        let same = match (policy, &self.tls) {
            (None, None) => true,
            (Some(had), Some(wanted)) => Arc::ptr_eq(had, wanted),
            _ => false,
        };
        let named = || tls.server_name.as_deref().unwrap_or_default().as_bytes() == host;
        same && (!self.strict_sni_host || named())
    }

    /// Fail closed: answer 503 with this reason, whatever the program.
    pub fn deny(&self) -> Option<&str> {
        self.deny.as_deref()
    }
}

/// Hosts by name: wildcards under ".suffix", the catch-all under "".
#[derive(Clone, Default)]
pub(super) struct HostIndex(Sharded<Few<Arc<VirtualHost>>>);

impl HostIndex {
    pub fn insert(&mut self, host: &Arc<VirtualHost>) {
        for name in &host.hosts {
            let list = self.0.entry(super::certificates::index_key(name));
            let at = list.partition_point(|other| other.name < host.name);
            list.insert(at, host.clone());
            list.shrink_to_fit();
        }
    }

    pub fn remove(&mut self, host: &VirtualHost) {
        for name in &host.hosts {
            let key = super::certificates::index_key(name);
            let list = self.0.entry(key);
            list.retain(|other| other.name != host.name);
            if list.is_empty() {
                self.0.remove(key);
            }
        }
    }

    fn find(&self, key: &[u8], listener: ListenerId) -> Option<&Arc<VirtualHost>> {
        self.0.get(key)?.iter().find(|host| host.listeners.contains(&listener))
    }
}

/// One version of everything.
pub struct Snapshot {
    /// The operator's digest of it.
    pub name: Box<str>,
    pub(super) settings: Arc<Settings>,
    pub(super) listeners: Arc<[Listener]>,
    pub(super) hosts: HostIndex,
    pub(super) tls: Arc<TlsPolicies>,
    /// Some host must be known before its handshake.
    pub(super) reads_hello: bool,
    pub(super) plugins: Arc<PluginIndex>,
}

impl Snapshot {
    /// Serves nothing yet: 404 everywhere.
    pub fn empty() -> Arc<Self> {
        Arc::new(Self {
            name: "".into(),
            settings: Arc::default(),
            listeners: Arc::new([]),
            hosts: HostIndex::default(),
            tls: Arc::default(),
            reads_hello: false,
            plugins: Arc::default(),
        })
    }

    /// Exact name, then wildcard of one label, then the listener's catch-all. `host` is lower case without port.
    pub fn find(&self, listener: ListenerId, host: &[u8]) -> Option<&Arc<VirtualHost>> {
        if !host.is_empty() {
            if let Some(found) = self.hosts.find(host, listener) {
                return Some(found);
            }
            if let Some(dot) = memchr::memchr(b'.', host)
                && let Some(found) = self.hosts.find(&host[dot..], listener)
            {
                return Some(found);
            }
        }
        self.hosts.find(b"", listener)
    }

    /// Hot: certificates are always what was committed last, so one for the process' life is enough.
    pub fn tls_policies(&self) -> &TlsPolicies {
        &self.tls
    }

    /// ClientHellos are read before rustls gets them.
    pub fn reads_hello(&self) -> bool {
        self.reads_hello || ja4::is_wanted()
    }

    /// The same host, whose program reports its steps. Its name is none that a client can send.
    pub fn find_explained(&self, listener: ListenerId, host: &VirtualHost) -> Option<&Arc<VirtualHost>> {
        self.hosts.find(format!("explained {}", host.name).as_bytes(), listener)
    }

    pub fn plugins(&self) -> &Arc<PluginIndex> {
        &self.plugins
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.id == id)
    }

    /// True when a listener believes the address' forwarding headers and PROXY header.
    pub fn trusts(&self, listener: ListenerId, address: IpAddr) -> bool {
        self.settings.trust(listener).proxies.contains(address)
    }
}
