//! The whole worker: on real sockets with both backends (`loopback`), and on simulated ones from seeds (`playing`: `sim`,
//! `sim_http2`).

mod fixture;
mod frame_peer;
mod loopback;
mod playing;
mod sim;
mod sim_http2;
mod tls_client;
