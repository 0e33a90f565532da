//! Plugins: functions that somebody wrote, what they are granted, and what a request remembers of their calls.
//!
//! In: Plugin resources. Who calls: `snapshot` builds them, `program::plugins` runs them, the helpers ask for the rest.

pub mod codecs;
pub mod documents;
pub mod fetching;
pub mod keys;
pub mod memory;
pub mod queueing;
pub mod times;
pub mod values;

use crate::access_log;
use crate::limits::{BUFFERED_INPUT_BYTES_MAX, PLUGIN_LOG_LINES_PER_S};
use crate::locks::lock;
use crate::program::abi;
use crate::program::image::Image;
use crate::protocol;
use crate::snapshot::Cluster;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use values::Values;

/// Of a request's body that a plugin may read, where its resource does not say.
const BODY_BYTES_MAX: u64 = 16 << 10;
/// What waits for the upstream may hold so much, with its framing.
const BODY_BYTES_CEILING: u64 = BUFFERED_INPUT_BYTES_MAX as u64 / 4 * 3;
const FETCH_TIMEOUT_MS: u64 = 5_000;
const FUNCTIONS_MAX: usize = 1024;

/// A plugin, as it was committed.
pub struct Plugin {
    pub name: Box<str>,
    pub namespace: Arc<str>,
    pub image: Arc<Image>,
    pub constants: Box<[u8]>,
    /// What the heap begins with.
    pub data: Box<[u8]>,
    functions: HashMap<Box<str>, u32>,
    pub capabilities: u64,
    /// Of one call.
    pub fuel: i64,
    pub fail_open: bool,
    pub values: Arc<Values>,
    pub body_bytes_max: u64,
    pub fetch_timeout_ms: u64,
    pub upstreams: Box<[Upstream]>,
    /// Where its counters lie; 0 is nowhere.
    pub slot: u32,
    secrets: HashMap<Box<[u8]>, Box<[u8]>>,
    /// Second of the last line in the log: traps come by the thousand.
    logged_s: AtomicU64,
    /// As `logged_s`, for its own requests that are not answered.
    fetch_logged_s: AtomicU64,
    /// Lines of its own.
    pub log_lines: LogLines,
}

/// Lines that a plugin has written in the second that is under way.
#[derive(Default)]
pub struct LogLines(Mutex<(u64, u64)>);

impl LogLines {
    /// False: there were enough in this second.
    pub fn take(&self, now_s: u64) -> bool {
        let mut taken = lock(&self.0);
        if taken.0 != now_s {
            *taken = (now_s, 0);
        }
        taken.1 += 1;
        taken.1 <= PLUGIN_LOG_LINES_PER_S
    }
}

/// Whom a plugin may reach.
pub struct Upstream {
    pub name: Box<str>,
    pub cluster: Arc<Cluster>,
    /// Host of requests; "" is the upstream's own.
    pub host: Box<str>,
}

impl Plugin {
    /// Refused: what could not run, or would run with less than it names.
    pub fn compile(
        message: &protocol::Plugin,
        image: Arc<Image>,
        find_cluster: &dyn Fn(&str) -> Option<Arc<Cluster>>,
    ) -> Result<Self, String> {
        if message.constants.len() < image.constants_bytes as usize {
            let (given, needed) = (message.constants.len(), image.constants_bytes);
            return Err(format!("{given} bytes of constants, the program needs {needed}"));
        }
        if message.data.len() as u64 > abi::HEAP_BYTES || message.functions.len() > FUNCTIONS_MAX {
            return Err(format!("data above {} bytes, or too many functions", abi::HEAP_BYTES));
        }
        let upstreams = message.upstreams.iter().map(|upstream| {
            let cluster = find_cluster(&upstream.cluster);
            let cluster = cluster.ok_or_else(|| format!("no cluster {}", upstream.cluster))?;
            let (name, host) = (upstream.name.as_str().into(), upstream.host.as_str().into());
            Ok(Upstream { name, cluster, host })
        });
        let or = |value: u64, default: u64| if value == 0 { default } else { value };
        Ok(Self {
            name: message.name.as_str().into(),
            namespace: message.namespace.as_str().into(),
            image,
            constants: message.constants.as_ref().into(),
            data: message.data.as_ref().into(),
            functions: message.functions.iter().map(|one| (one.name.as_str().into(), one.entry)).collect(),
            capabilities: message.capabilities,
            fuel: or(message.fuel, abi::FUEL_DEFAULT).min(i64::MAX as u64) as i64,
            fail_open: message.fail_open,
            values: values::of_plugin(&message.name, message.values_max, message.value_bytes_max),
            body_bytes_max: or(message.body_bytes_max.into(), BODY_BYTES_MAX).min(BODY_BYTES_CEILING),
            fetch_timeout_ms: or(message.fetch_timeout_ms.into(), FETCH_TIMEOUT_MS),
            upstreams: upstreams.collect::<Result<_, String>>()?,
            secrets: message
                .secrets
                .iter()
                .map(|secret| (secret.name.as_bytes().into(), secret.value.as_ref().into()))
                .collect(),
            slot: message.slot,
            logged_s: AtomicU64::new(0),
            fetch_logged_s: AtomicU64::new(0),
            log_lines: LogLines::default(),
        })
    }

    /// Entry of an exported function.
    pub fn entry(&self, function: &str) -> Option<u32> {
        self.functions.get(function).copied()
    }

    pub fn secret(&self, name: &[u8]) -> Option<&[u8]> {
        self.secrets.get(name).map(|value| &**value)
    }

    pub fn may(&self, capability: u64) -> bool {
        self.capabilities & capability != 0
    }

    /// True once a second: whoever asks may write a line to the log.
    pub fn may_log(&self, now_s: u64) -> bool {
        self.logged_s.swap(now_s, Ordering::Relaxed) != now_s
    }

    /// Says in the log, once a second, why a request of its own got no answer: to the plugin it is only none.
    pub fn note_fetch(&self, host: &str, now_s: u64, why: &str) {
        if self.fetch_logged_s.swap(now_s, Ordering::Relaxed) != now_s {
            access_log::log_program(host, &format!("plugin {}: a fetch got no answer: {why}", self.name));
        }
    }

    /// True where a call, or one that it makes, may wait: it is repeated then.
    pub fn may_wait(&self) -> bool {
        let waits = abi::CAPABILITY_OUTBOUND_HTTP | abi::CAPABILITY_REQUEST_BODY;
        self.may(waits | abi::CAPABILITY_CALL_PLUGINS)
    }

    /// True where a call may be repeated or undone, so that what it changed must be.
    pub fn may_undo(&self) -> bool {
        self.fail_open || self.may_wait()
    }
}

/// Plugins by name.
#[derive(Clone, Default)]
pub struct PluginIndex(HashMap<Box<str>, Arc<Plugin>>);

impl PluginIndex {
    pub fn insert(&mut self, plugin: Plugin) {
        self.0.insert(plugin.name.clone(), Arc::new(plugin));
    }

    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub fn find(&self, name: &str) -> Option<&Arc<Plugin>> {
        self.0.get(name)
    }

    /// A plugin as another one of that namespace calls it: by its full name, or without its namespace's.
    pub fn find_near(&self, name: &str, namespace: &str) -> Option<&Arc<Plugin>> {
        let found = self.find(name).or_else(|| self.0.get(format!("{namespace}/{name}").as_str()));
        found.filter(|plugin| *plugin.namespace == *namespace)
    }
}

/// A row of Tables.plugin_calls.
pub struct PluginCall {
    pub plugin: Box<str>,
    pub function: Box<str>,
    /// Document 0 of the call, placeholders unexpanded.
    pub input: Arc<serde_json::Value>,
    pub texts: Box<[(Box<str>, crate::exchange::texts::Text)]>,
    /// Upstream's name and row of Tables.proxies.
    pub proxies: Box<[(Box<str>, u32)]>,
}

impl PluginCall {
    pub fn compile(message: &protocol::PluginCall) -> Result<Self, String> {
        let config: serde_json::Value = serde_json::from_str(&message.config)
            .map_err(|error| format!("config of {} {}: {error}", message.plugin, message.function))?;
        Ok(Self {
            plugin: message.plugin.as_str().into(),
            function: message.function.as_str().into(),
            input: Arc::new(make_input(&message.plugin, &message.function, config)),
            texts: message
                .texts
                .iter()
                .map(|one| {
                    let pointer = format!("/config{}", one.pointer).into();
                    (pointer, crate::exchange::texts::Text::compile(one.text.as_ref()))
                })
                .collect(),
            proxies: message.proxies.iter().map(|one| (one.upstream.as_str().into(), one.proxy)).collect(),
        })
    }
}

/// Document 0 of a call.
pub fn make_input(plugin: &str, function: &str, config: serde_json::Value) -> serde_json::Value {
    serde_json::json!({"version": 1, "config": config, "route": {"plugin": plugin, "function": function}})
}
