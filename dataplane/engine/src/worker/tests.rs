//! The whole worker: on real sockets with both backends (`loopback`), and on simulated ones from seeds (`sim`,
//! `sim_http2`).

mod fixture;
mod frame_peer;
mod loopback;
mod sim;
mod sim_http2;
mod tls_client;
