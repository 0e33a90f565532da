//! Virtual hosts and the snapshot that finds them.

use super::host_index::HostIndex;
use super::listening::Listener;
use super::settings::Settings;
use super::tables::{ProxyCall, ResponseRow, Tables};
use crate::exchange::{ListenerId, TlsInfo};
use crate::plugins::PluginIndex;
use crate::prefetch::prefetch;
use crate::program::image::Image;
use crate::protocol::Stream;
use crate::tls::ja4;
use crate::tls::policies::{TlsPolicies, TlsPolicy};
use smallvec::SmallVec;
use std::net::IpAddr;
use std::sync::Arc;

/// Beside their host: those of five routes or so are read without waiting for memory once more.
pub type Constants = SmallVec<[u8; 128]>;
/// A name beside its host: nearly every one is this short.
type Name = SmallVec<[u8; 32]>;
/// How much of a host each request looks at, from its beginning on, and how much comes from memory at a time.
const LOOKED_AT_BYTES: usize = 192;
const LINE_BYTES: usize = 64;

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
    /// Lower case: exact, ".suffix" of a wildcard, "" for any.
    pub names: SmallVec<[Name; 1]>,
    /// None: the engine's own policy.
    pub tls: Option<Arc<TlsPolicy>>,
    pub deny: Option<Box<str>>,
    /// As the program addresses them from CONSTANTS on.
    pub constants: Constants,
    pub name: Arc<str>,
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

    /// What requests look at begins to come: among many hosts it is in no cache.
    #[inline(always)]
    pub fn prefetch(&self) {
        let start = std::ptr::from_ref(self).cast::<u8>();
        (0..LOOKED_AT_BYTES).step_by(LINE_BYTES).for_each(|offset| prefetch(start.wrapping_add(offset)));
    }

    /// Its tables, too, now that it is here itself.
    #[inline(always)]
    pub fn prefetch_tables(&self) {
        prefetch(Arc::as_ptr(&self.tables).cast());
    }

    /// What an answer looks at, while the answer is still being read.
    #[inline(always)]
    pub fn prefetch_for_answer(&self) {
        prefetch(std::ptr::from_ref(self).cast());
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

    /// The host that a request seems to be for begins to come from memory; what the name is worth is found out later.
    pub fn foresee(&self, authority: &[u8]) {
        let end = memchr::memchr(b':', authority).unwrap_or(authority.len());
        self.hosts.prefetch(&authority[..end]);
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
