//! The command line: `supervise` for people and agents, `execute` for tools, `serve` for the supervisor alone.

use crate::metrics::Lot;
use crate::parallelism::default_workers;
use crate::serve::{self, IoChoice};
use crate::tls::tickets::KEY_BYTES;
use crate::{execute, supervisor};
use lexopt::prelude::*;
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
zeroserve-engine: serves traffic by route programs that an agent hands it

  zeroserve-engine supervise --socket PATH [--workers N] [--io auto|io_uring|epoll] [--exit-with-parent] [--files]
                              [--log-socket PATH] [--token-socket PATH]
      Listen for the agent on a Unix socket; start an engine and keep it running. --files lets it read files;
      SIGUSR2 replaces the engine by what its path names now, without a lost request;
      --log-socket is where the agent takes log lines that go to files or over the network,
      --token-socket where it leases tokens of rate limits that nodes share.
  zeroserve-engine execute
      Run programs outside traffic: length-prefixed Executions on standard input, Outcomes on standard output.
  zeroserve-engine version

Example:
  zeroserve-engine supervise --socket /run/zeroserve/engine.sock --workers 2
";

#[derive(Default)]
struct Flags {
    socket: Option<PathBuf>,
    workers: Option<usize>,
    io: Option<IoChoice>,
    exit_with_parent: bool,
    files: bool,
    log_socket: Option<PathBuf>,
    token_socket: Option<PathBuf>,
    lot: usize,
}

/// Runs a command; every failure is one line on standard error.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match dispatch(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("zeroserve-engine: {message}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: Vec<OsString>) -> Result<(), String> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let command = match parser.next().map_err(|error| error.to_string())? {
        Some(Value(command)) => command.string().map_err(|error| error.to_string())?,
        Some(Long("version") | Short('V')) => "version".into(),
        Some(Long("help") | Short('h')) | None => "help".into(),
        Some(other) => return Err(other.unexpected().to_string()),
    };
    let flags = parse_flags(&mut parser).map_err(|error| error.to_string())?;
    match command.as_str() {
        "help" => print!("{HELP}"),
        "version" => println!("zeroserve-engine {}", env!("CARGO_PKG_VERSION")),
        "execute" => {
            execute::run(std::io::stdin().lock(), std::io::stdout().lock()).map_err(|e| e.to_string())?
        }
        "supervise" => supervise(flags)?,
        "serve" => serve_engine(&flags)?,
        other => return Err(format!("no command {other:?}; see zeroserve-engine --help")),
    }
    Ok(())
}

fn parse_flags(parser: &mut lexopt::Parser) -> Result<Flags, lexopt::Error> {
    let mut flags = Flags::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("socket") => flags.socket = Some(parser.value()?.into()),
            Long("workers") => flags.workers = Some(parser.value()?.parse()?).filter(|&workers| workers > 0),
            Long("exit-with-parent") => flags.exit_with_parent = true,
            Long("files") => flags.files = true,
            Long("lot") => flags.lot = parser.value()?.parse()?,
            Long("log-socket") => flags.log_socket = Some(parser.value()?.into()),
            Long("token-socket") => flags.token_socket = Some(parser.value()?.into()),
            Long("io") => {
                flags.io = Some(match parser.value()?.string()?.as_str() {
                    "auto" => IoChoice::Auto,
                    "io_uring" => IoChoice::IoUring,
                    "epoll" => IoChoice::Epoll,
                    other => return Err(format!("--io {other:?} is none of auto, io_uring, epoll").into()),
                });
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(flags)
}

/// One listening socket per worker travels in one frame: the kernel's bound on descriptors is the bound on workers.
const WORKERS_MAX: usize = 250;

impl Flags {
    fn workers(&self) -> usize {
        self.workers.unwrap_or_else(default_workers).min(WORKERS_MAX)
    }
}

fn supervise(flags: Flags) -> Result<(), String> {
    let workers = flags.workers();
    let socket = flags.socket.ok_or("supervise needs --socket PATH")?;
    let io = flags.io.unwrap_or(IoChoice::Auto);
    let named = socket.display().to_string();
    let (exit_with_parent, files) = (flags.exit_with_parent, flags.files);
    let (log_socket, token_socket) = (flags.log_socket, flags.token_socket);
    let options =
        supervisor::Options { socket, workers, io, exit_with_parent, files, log_socket, token_socket };
    supervisor::run(options).map_err(|error| format!("{named}: {error}"))
}

fn serve_engine(flags: &Flags) -> Result<(), String> {
    let adopt = |descriptor| {
        // SAFETY: no pointers.
        if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err("serve is started by supervise only");
        }
        // SAFETY: the supervisor has put them there for this process; nobody else knows the numbers.
        Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
    };
    let mut ticket_key = [0; KEY_BYTES];
    std::io::stdin().read_exact(&mut ticket_key).map_err(|_| "serve is started by supervise only")?;
    let options = serve::Options {
        control: adopt(supervisor::CONTROL_DESCRIPTOR)?,
        metrics: adopt(supervisor::METRICS_DESCRIPTOR)?,
        lot: Lot { index: flags.lot, workers: flags.workers() },
        io: flags.io.unwrap_or(IoChoice::Auto),
        files: flags.files,
        ticket_key,
        log_socket: flags.log_socket.clone(),
        token_socket: flags.token_socket.clone(),
    };
    serve::run(options).map_err(|error| error.to_string())
}
