//! The whole worker: on real sockets with both backends (`loopback`), and on simulated ones from seeds (`playing`: `sim`,
//! `sim_http2`, `sim_policies`, `sim_tunnels`, `sim_datagrams`).

mod fixture;
mod frame_peer;
mod loopback;
mod playing;
mod sim;
mod sim_datagrams;
mod sim_http2;
mod sim_policies;
mod sim_tunnels;
mod tls_client;
