//! The engine's binary: everything is in the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    zeroserve_engine::cli::run(std::env::args_os().skip(1).collect())
}
