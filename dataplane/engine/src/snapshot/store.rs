//! The control thread's book of everything committed: takes changes, gives the next snapshot. A resource that cannot
//! be used is refused and what refers to it keeps its former version; all else of the commit holds.

use super::certificates::index_key;
use super::certificates::{CertificateIndex, LoadedCertificate};
use super::clusters::{Cluster, EndpointRegistry};
use super::compiling::Compiler;
use super::dialling::parse_endpoint;
use super::host_index::HostIndex;
use super::hosts::{Constants, Snapshot, VirtualHost};
use super::listening::Listener;
use super::plugins::PluginBook;
use super::settings::Settings;
use super::tables::Tables;
use super::upstream_tls::UpstreamPolicies;
use crate::digests::{Digest, digest};
use crate::exchange::ListenerId;
use crate::program::image::Image;
use crate::protocol::{self, ResourceType, Stream};
use crate::tls::policies::TlsPolicies;
use crate::tls::tickets::Key;
use prost::Message;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;

type Name = Box<str>;
/// A name that its resource and what refers to it have in common: there are as many as hosts.
type SharedName = Arc<str>;

/// A staged change.
pub enum Change {
    Put { kind: ResourceType, name: String, payload: bytes::Bytes, descriptor: Option<OwnedFd> },
    Remove { kind: ResourceType, name: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub kind: ResourceType,
    pub name: String,
    pub reason: String,
}

struct ClusterEntry {
    handle: Arc<Cluster>,
    endpoints: SharedName,
}

/// The message is kept encoded, without its name, and read again only when a cluster that uses it changes.
struct EndpointsEntry {
    payload: Box<[u8]>,
    /// Clusters that name it.
    users: Box<[SharedName]>,
}

#[derive(Default)]
pub struct Store {
    settings: Arc<Settings>,
    listeners: BTreeMap<Name, Listener>,
    listener_ids: HashMap<Name, ListenerId>,
    listener_sets: HashMap<Box<[ListenerId]>, Arc<[ListenerId]>>,
    certificates: HashMap<Name, Arc<LoadedCertificate>>,
    certificate_index: CertificateIndex,
    endpoints: HashMap<SharedName, EndpointsEntry>,
    clusters: HashMap<SharedName, ClusterEntry>,
    images: HashMap<Name, Arc<Image>>,
    /// By digest of their names.
    tables: HashMap<Digest, Arc<Tables>>,
    no_tables: Arc<Tables>,
    /// Named by clusters, and not there.
    missing_endpoints: HashSet<SharedName>,
    hosts: HashMap<SharedName, Arc<VirtualHost>>,
    /// Hosts that a connection must be found for by its server name.
    hosts_by_name: usize,
    index: HostIndex,
    tls: Arc<TlsPolicies>,
    registry: EndpointRegistry,
    policies: UpstreamPolicies,
    plugins: PluginBook,
    compiler: Compiler,
}

/// Puts go from what is referred to, to what refers; removals the other way round.
const ORDER: [ResourceType; 9] = [
    ResourceType::Settings,
    ResourceType::Listener,
    ResourceType::Certificate,
    ResourceType::Endpoints,
    ResourceType::Cluster,
    ResourceType::Image,
    ResourceType::Plugin,
    ResourceType::Tables,
    ResourceType::VirtualHost,
];

fn find_cluster(clusters: &HashMap<Arc<str>, ClusterEntry>, name: &str) -> Option<Arc<Cluster>> {
    clusters.get(name).map(|entry| entry.handle.clone())
}

fn decode<M: Message + Default>(payload: &[u8]) -> Result<M, String> {
    M::decode(payload).map_err(|error| format!("payload: {error}"))
}

impl Store {
    /// Applies changes; the snapshot is what all workers are to serve next.
    pub fn commit(&mut self, snapshot: &str, changes: Vec<Change>) -> (Arc<Snapshot>, Vec<Refusal>) {
        let mut refusals = Vec::new();
        let (mut puts, mut removals): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::Put { kind, name, payload, descriptor } => {
                    puts.push((kind, name, payload, descriptor))
                }
                Change::Remove { kind, name } => removals.push((kind, name)),
            }
        }
        puts.sort_by_key(|(kind, ..)| ORDER.iter().position(|other| other == kind));
        for (kind, name, payload, descriptor) in puts {
            if let Err(reason) = self.put(kind, &name, &payload, descriptor) {
                refusals.push(Refusal { kind, name, reason });
            }
        }
        removals.sort_by_key(|(kind, _)| std::cmp::Reverse(ORDER.iter().position(|other| other == kind)));
        for (kind, name) in removals {
            self.remove(kind, &name);
        }
        let default = self.certificates.get(&*self.settings.default_certificate).cloned();
        self.certificate_index.set_default(default);
        self.tls.resolver.store(self.certificate_index.clone());
        (self.snapshot(snapshot), refusals)
    }

    fn snapshot(&self, name: &str) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            name: name.into(),
            settings: self.settings.clone(),
            listeners: self.listeners.values().cloned().collect(),
            hosts: self.index.clone(),
            tls: self.tls.clone(),
            reads_hello: self.hosts_by_name > 0,
            plugins: self.plugins.index(),
        })
    }

    /// `key`: what the keys of session tickets are derived from.
    pub fn with_ticket_key(key: Key) -> Self {
        Self { tls: Arc::new(TlsPolicies::new(key)), ..Self::default() }
    }

    /// The resolver and defaults, before anything was committed.
    pub fn initial_snapshot(&self) -> Arc<Snapshot> {
        self.snapshot("")
    }

    /// Images held, and how many of them are native.
    pub fn image_counts(&self) -> (u64, u64) {
        (self.images.len() as u64, self.images.values().filter(|image| image.is_native()).count() as u64)
    }

    /// The handle of a cluster, for tests and tools.
    pub fn cluster(&self, name: &str) -> Option<Arc<Cluster>> {
        self.clusters.get(name).map(|entry| entry.handle.clone())
    }

    /// Addresses that a cluster may dial, in order.
    pub fn cluster_addresses(&self, name: &str) -> Vec<String> {
        let cluster = self.cluster(name);
        cluster.map_or_else(Vec::new, |cluster| cluster.state().addresses().map(|a| a.to_string()).collect())
    }

    pub fn drain_timeout_ms(&self) -> u64 {
        self.settings.drain_timeout_ms
    }

    pub fn host_count(&self) -> u64 {
        self.hosts.len() as u64
    }

    fn put(
        &mut self,
        kind: ResourceType,
        name: &str,
        payload: &[u8],
        fd: Option<OwnedFd>,
    ) -> Result<(), String> {
        match kind {
            ResourceType::Settings => self.put_settings(&decode(payload)?),
            ResourceType::Listener => self.put_listener(&decode(payload)?),
            ResourceType::Certificate => self.put_certificate(name, &decode(payload)?),
            ResourceType::Endpoints => self.put_endpoints(name, decode(payload)?),
            ResourceType::Cluster => self.put_cluster(name, &decode(payload)?),
            ResourceType::Image => self.put_image(name, &decode(payload)?, fd),
            ResourceType::Tables => self.put_tables(name, &decode(payload)?),
            ResourceType::VirtualHost => self.put_host(name, decode(payload)?),
            ResourceType::Plugin => {
                let message: protocol::Plugin = decode(payload)?;
                let image = self.images.get(message.program.as_str()).cloned();
                self.plugins.put(message, image, &|name| find_cluster(&self.clusters, name))
            }
            ResourceType::Program | ResourceType::Purge | ResourceType::Unspecified => {
                Err("not for the engine".into())
            }
        }
    }

    fn remove(&mut self, kind: ResourceType, name: &str) {
        match kind {
            ResourceType::Settings => self.settings = Arc::default(),
            ResourceType::Listener => drop(self.listeners.remove(name)),
            ResourceType::Certificate => {
                if let Some(former) = self.certificates.remove(name) {
                    self.certificate_index.remove(&former);
                }
            }
            ResourceType::Endpoints => self.remove_endpoints(name),
            ResourceType::Cluster => {
                if let Some(former) = self.clusters.remove(name) {
                    self.release_endpoints(&former.endpoints, name);
                }
            }
            ResourceType::Image => drop(self.images.remove(name)),
            ResourceType::Tables => drop(self.tables.remove(&digest(&[name.as_bytes()]))),
            ResourceType::VirtualHost => self.forget_host(name),
            ResourceType::Plugin => self.plugins.remove(name),
            ResourceType::Program | ResourceType::Purge | ResourceType::Unspecified => {}
        }
    }

    fn put_settings(&mut self, message: &protocol::Settings) -> Result<(), String> {
        let settings = Settings::compile(message, |name| self.listener_id(name))?;
        self.tls.keys.set(&message.ticket_keys)?;
        let denied_changed = settings.denied_upstreams != self.settings.denied_upstreams;
        self.settings = Arc::new(settings);
        if denied_changed {
            let names: Vec<SharedName> = self.clusters.keys().cloned().collect();
            names.iter().try_for_each(|name| self.refresh_cluster(name))?;
        }
        Ok(())
    }

    fn listener_id(&mut self, name: &str) -> ListenerId {
        let next = ListenerId(self.listener_ids.len() as u32);
        *self.listener_ids.entry(name.into()).or_insert(next)
    }

    fn put_listener(&mut self, message: &protocol::Listener) -> Result<(), String> {
        let id = self.listener_id(&message.name);
        let listener = Listener::compile(message, id)?;
        self.listeners.insert(message.name.as_str().into(), listener);
        Ok(())
    }

    fn put_certificate(&mut self, name: &str, message: &protocol::Certificate) -> Result<(), String> {
        let listeners = message.listeners.iter().map(|name| self.listener_id(name)).collect();
        let loaded = Arc::new(LoadedCertificate::load(message, listeners)?);
        if let Some(former) = self.certificates.remove(name) {
            self.certificate_index.remove(&former);
        }
        self.certificate_index.insert(&loaded);
        self.certificates.insert(name.into(), loaded);
        Ok(())
    }

    fn put_endpoints(&mut self, name: &str, mut message: protocol::Endpoints) -> Result<(), String> {
        for endpoint in &message.endpoints {
            parse_endpoint(endpoint)?;
        }
        message.name.clear();
        let payload = message.encode_to_vec().into();
        let users = match self.endpoints.get_mut(name) {
            Some(entry) => {
                entry.payload = payload;
                entry.users.clone()
            }
            None => {
                let users = self.find_users(name);
                let key = self.share_endpoints_name(name, &users);
                self.endpoints.insert(key, EndpointsEntry { payload, users: users.clone() });
                users
            }
        };
        users.iter().try_for_each(|name| self.refresh_cluster(name))
    }

    /// Clusters that named endpoints before those came: there are some only where a commit had refusals.
    fn find_users(&self, endpoints: &str) -> Box<[SharedName]> {
        if !self.missing_endpoints.contains(endpoints) {
            return Box::default();
        }
        let using = self.clusters.iter().filter(|(_, entry)| *entry.endpoints == *endpoints);
        using.map(|(name, _)| name.clone()).collect()
    }

    fn share_endpoints_name(&mut self, name: &str, users: &[SharedName]) -> SharedName {
        self.missing_endpoints.remove(name);
        let user = users.first().and_then(|user| self.clusters.get(user));
        user.map_or_else(|| name.into(), |user| user.endpoints.clone())
    }

    fn remove_endpoints(&mut self, name: &str) {
        if let Some((name, former)) = self.endpoints.remove_entry(name) {
            if !former.users.is_empty() {
                self.missing_endpoints.insert(name);
            }
            for user in former.users {
                // Without endpoints a state can always be built.
                let _ = self.refresh_cluster(&user);
            }
        }
    }

    fn put_cluster(&mut self, name: &str, message: &protocol::Cluster) -> Result<(), String> {
        let former = self.clusters.get(name).map(|entry| entry.handle.state());
        let state = self.build_state(message, &message.endpoints, former.as_deref().map(|state| &**state))?;
        if let Some(entry) = self.clusters.get(name).filter(|entry| *entry.endpoints == *message.endpoints) {
            entry.handle.set_state(state);
            return Ok(());
        }
        let handle = match self.clusters.remove(name) {
            Some(former) => {
                self.release_endpoints(&former.endpoints, name);
                former.handle.set_state(state);
                former.handle
            }
            None => Cluster::new(name, state),
        };
        let endpoints = self.use_endpoints(&message.endpoints, &handle.name);
        self.clusters.insert(handle.name.clone(), ClusterEntry { handle, endpoints });
        Ok(())
    }

    /// The endpoints' name, after the cluster was noted as one that uses them.
    fn use_endpoints(&mut self, endpoints: &str, cluster: &SharedName) -> SharedName {
        let Some((known, _)) = self.endpoints.get_key_value(endpoints) else {
            let name = self.missing_endpoints.get(endpoints).cloned().unwrap_or_else(|| endpoints.into());
            self.missing_endpoints.insert(name.clone());
            return name;
        };
        let known = known.clone();
        if let Some(entry) = self.endpoints.get_mut(endpoints) {
            entry.users = entry.users.iter().chain([cluster]).cloned().collect();
        }
        known
    }

    fn release_endpoints(&mut self, endpoints: &str, cluster: &str) {
        if let Some(entry) = self.endpoints.get_mut(endpoints) {
            entry.users = entry.users.iter().filter(|user| ***user != *cluster).cloned().collect();
        } else if !self.clusters.values().any(|entry| *entry.endpoints == *endpoints) {
            self.missing_endpoints.remove(endpoints);
        }
    }

    fn refresh_cluster(&mut self, name: &str) -> Result<(), String> {
        let Some(entry) = self.clusters.get(name) else { return Ok(()) };
        let (handle, endpoints) = (entry.handle.clone(), entry.endpoints.clone());
        let former = handle.state();
        let message = decode(&former.policy.message)?;
        let state = self.build_state(&message, &endpoints, Some(&former))?;
        handle.set_state(state);
        Ok(())
    }

    fn build_state(
        &mut self,
        message: &protocol::Cluster,
        endpoints: &str,
        former: Option<&super::ClusterState>,
    ) -> Result<super::ClusterState, String> {
        let tls = message.tls.as_ref().map(|tls| self.policies.get(tls)).transpose()?;
        let entry = self.endpoints.get(endpoints);
        let endpoints =
            entry.map_or_else(|| Ok(protocol::Endpoints::default()), |entry| decode(&entry.payload))?;
        self.registry.build(message, &endpoints, tls, &self.settings.denied_upstreams, former)
    }

    fn put_image(
        &mut self,
        name: &str,
        message: &protocol::Image,
        fd: Option<OwnedFd>,
    ) -> Result<(), String> {
        let descriptor = fd.ok_or("the image came without its descriptor")?;
        let image = Image::load(message, descriptor)?;
        self.adopt_image(name, Arc::new(image));
        Ok(())
    }

    /// Better code of a program that is served already goes to its hosts at once.
    fn adopt_image(&mut self, name: &str, image: Arc<Image>) {
        if let Some(former) = self.images.insert(name.into(), image.clone()) {
            let using = self.hosts.values().filter(|host| Arc::ptr_eq(&host.image, &former));
            let changed: Vec<_> = using
                .map(|host| Arc::new(VirtualHost { image: image.clone(), ..VirtualHost::clone(host) }))
                .collect();
            changed.into_iter().for_each(|host| self.adopt_host(host));
            self.plugins.adopt_image(name, &image, &|name| find_cluster(&self.clusters, name));
        }
    }

    fn put_tables(&mut self, name: &str, message: &protocol::Tables) -> Result<(), String> {
        let clusters = &self.clusters;
        let tables = self.compiler.compile(message, &|name| find_cluster(clusters, name))?;
        self.tables.insert(digest(&[name.as_bytes()]), Arc::new(tables));
        Ok(())
    }

    fn put_host(&mut self, name: &str, message: protocol::VirtualHost) -> Result<(), String> {
        let image = match self.images.get(message.program.as_str()) {
            Some(image) => image.clone(),
            // A closed host is closed even without its program; a stream that nobody judges has none.
            None if message.deny || (message.stream() != Stream::NoStream && !message.judges_streams) => {
                Arc::new(Image::nothing())
            }
            None => return Err(format!("no image of program {}", message.program)),
        };
        let tables = match message.tables.as_str() {
            "" => self.no_tables.clone(),
            tables => {
                let found = self.tables.get(&digest(&[tables.as_bytes()]));
                found.cloned().ok_or_else(|| format!("no tables {tables}"))?
            }
        };
        if message.constants.len() < image.constants_bytes as usize {
            return Err(format!(
                "{} bytes of constants, the program needs {}",
                message.constants.len(),
                image.constants_bytes
            ));
        }
        let policy = message.tls.as_ref().map(|policy| self.tls.get(policy)).transpose();
        let (tls, failure) = policy.map_or_else(|failure| (None, Some(failure)), |policy| (policy, None));
        if failure.is_some() && self.hosts.contains_key(name) {
            return failure.map_or(Ok(()), Err);
        }
        let stream = message.stream();
        if stream != Stream::NoStream && tables.proxies.is_empty() {
            return Err("a stream without an upstream".into());
        }
        let ids: Box<[ListenerId]> = message.listeners.iter().map(|name| self.listener_id(name)).collect();
        let listeners = self.listener_sets.entry(ids.clone()).or_insert_with(|| ids.into()).clone();
        self.adopt_host(Arc::new(VirtualHost {
            name: name.into(),
            names: message.hosts.iter().map(|host| index_key(&host.to_ascii_lowercase()).into()).collect(),
            listeners,
            image,
            constants: Constants::from_slice(&message.constants),
            tables,
            fuel: message.fuel,
            error_entry: message.error_entry,
            marker: message.marker.into(),
            // Without its policy a host might let in whom it must not: it is closed.
            deny: match &failure {
                Some(failure) => Some(failure.as_str().into()),
                None => message.deny.then(|| message.deny_reason.into()),
            },
            tls,
            strict_sni_host: message.strict_sni_host,
            stream,
            judges_streams: message.judges_streams,
        }));
        failure.map_or(Ok(()), Err)
    }

    fn forget_host(&mut self, name: &str) {
        if let Some(former) = self.hosts.remove(name) {
            self.hosts_by_name -= usize::from(former.is_found_by_name());
            self.index.remove(&former);
        }
    }

    fn adopt_host(&mut self, host: Arc<VirtualHost>) {
        self.forget_host(&host.name);
        self.hosts_by_name += usize::from(host.is_found_by_name());
        self.index.insert(&host);
        self.hosts.insert(host.name.clone(), host);
    }
}
