//! What the engine serves: immutable, shared by Arc. Control builds the next one from the former and what a commit
//! names; workers swap between two requests. Cluster states and certificates sit behind atomic swaps of their own.

mod answers;
mod balancing;
mod certificates;
mod clusters;
mod compiling;
mod dialling;
mod encodings;
mod files;
mod gateways;
mod host_index;
mod hosts;
mod interning;
mod listening;
mod loads;
mod pattern_trie;
mod plugins;
mod requests;
mod settings;
mod sharded;
mod standing;
mod store;
mod tables;
mod trusting;
mod upstream_tls;

pub use answers::{FieldSelection, ResponseMatch};
pub use certificates::{CertificateIndex, CertificateResolver, LoadedCertificate};
pub use clusters::{Attempt, Cluster, ClusterState, Endpoint, EndpointKey, EndpointRef, Picked, UpstreamTls};
pub use compiling::{Compiler, compile_folded_path, compile_path};
pub use files::{Browse, FileMatch, FilePattern, FileServer, TryPolicy};
pub use hosts::{Constants, Snapshot, VirtualHost};
pub use listening::{Bounds, ClientPace, Listener, ProxyPolicy, UnixSocket};
pub use loads::{Place, Ticket};
pub use requests::{LogField, MapInput, MapOutput, Mapping, RateLimit, ValueKind, ValueMap, Values};
pub use settings::Settings;
pub use standing::Standing;
pub use store::{Change, Refusal, Store};
pub use tables::*;
pub use trusting::Trust;
pub use upstream_tls::{provider, system_roots};

#[cfg(test)]
mod balancing_tests;
#[cfg(test)]
mod tests;
