//! What a handshake's first flight says beside what rustls' unbuffered API tells afterwards, noted on its way to the resolver.

use super::Arrival;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::cell::Cell;
use std::sync::Arc;

/// Where the client came to whose ClientHello is processed just now on this thread.
pub fn current_arrival() -> Arrival {
    ARRIVAL.get()
}

thread_local! {
    pub static ARRIVAL: Cell<Arrival> = Cell::new(Arrival::default());
    /// There was no certificate for the ClientHello processed just now on this thread.
    pub static UNRESOLVED: Cell<bool> = const { Cell::new(false) };
    /// The name that the ClientHello processed just now on this thread carried.
    pub static SERVER_NAME: Cell<Option<Arc<str>>> = const { Cell::new(None) };
}

/// Passes on to the resolver and notes the server name, which rustls' unbuffered API does not tell afterwards. Every
/// handshake asks the resolver, resumed ones too, while `Session::read` runs on this thread.
#[derive(Debug)]
pub struct Noting(pub Arc<dyn ResolvesServerCert>);

impl ResolvesServerCert for Noting {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        SERVER_NAME.set(name.map(|name| Arc::from(name.trim_end_matches('.').to_ascii_lowercase())));
        let resolved = self.0.resolve(hello);
        UNRESOLVED.set(resolved.is_none());
        resolved
    }
}
