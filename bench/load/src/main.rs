//! The traffic side of the proxy comparison, one subcommand per role. Each prints one JSON object a line on stdout;
//! the last one is its result. Called by `bench`, usable by hand.
//!
//! Rule: one core. `load` and `backend` are one thread each; nothing here spreads over cores of its own accord.

mod answer;
mod backend;
mod connection;
mod grpc;
mod load;
mod report;
mod slots;
mod sweep;
mod target;
mod tls;
mod websockets;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    about = "Load, sweep, WebSocket echoes and backend for comparing reverse proxies on loopback"
)]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Answers on several ports, each with its own mark, on others calls of gRPC, and echoes WebSockets on one more.
    Backend(backend::Options),
    /// HTTP/1.1 requests, closed or open loop, keep-alive or one handshake per request.
    Load(load::Options),
    /// Unary calls of gRPC, closed loop.
    GrpcLoad(grpc::Options),
    /// Asks every host until each has given its right answer, and says how long that took.
    Sweep(sweep::Options),
    /// WebSockets that each echo one message per period.
    Websockets(websockets::Options),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().role {
        Role::Backend(options) => backend::run(&options),
        Role::Load(options) => load::run(&options),
        Role::GrpcLoad(options) => grpc::run(&options),
        Role::Sweep(options) => sweep::run(&options),
        Role::Websockets(options) => websockets::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-load: {error}");
            ExitCode::FAILURE
        }
    }
}
