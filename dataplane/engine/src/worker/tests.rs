//! The whole worker: on real sockets with both backends (`loopback`), and on simulated ones from seeds (`sim`).

mod fixture;
mod loopback;
mod sim;
mod tls_client;
