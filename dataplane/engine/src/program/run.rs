//! One execution of a virtual host's program for an exchange.

use super::abi;
use super::cage::Cage;
use super::helpers::{self, Run, Vm};
use super::plugins::{Call, Plugins};
use super::trap;
use super::window::Window;
use crate::exchange::Exchange;
use crate::exchange::tracing::Sampling;
use crate::limits::WRITTEN_TEXT_BYTES_MAX;
use crate::plugins::{Plugin, make_input};
use crate::snapshot::VirtualHost;
use std::fmt;
use std::io;
use std::sync::Arc;

/// What the program asks for. Rows exist in the host's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// No route applied: the engine's own 404.
    NotFound,
    /// Row of Tables.responses.
    Respond(u32),
    /// Row of Tables.proxies.
    Proxy(u32),
    /// Row of Tables.file_servers; the entry to run on at where it passes the request on, or 0.
    File { row: u32, entry: u32 },
    /// Close the connection without an answer.
    Abort,
    /// To the error routes (`VirtualHost::error_entry` when not 0), or `StaticAnswer::Bare`.
    Error(u16),
    /// Do `operation` on the table row, `Exchange::set_resume_result`, run again at `entry`.
    Suspend { operation: Operation, row: u32, entry: u32 },
    /// 200 with an empty body.
    Empty,
    /// The answer that the program saw goes on.
    Pass,
    /// The answer that a plugin made; it is in the exchange.
    Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    CheckPassword,
    MatchFile,
    ReadBody,
    /// The exchange says what the plugin waits for.
    CallPlugin,
    /// The delay of a row of Tables.faults.
    Pause,
    /// Row of Tables.rate_limits.
    TakeToken,
}

/// The program was stopped: answer 500.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trap {
    Fuel,
    /// Access outside of the mapped window (guest address), or an instruction that faulted (u64::MAX).
    Memory {
        address: u64,
    },
    /// A helper refused its arguments.
    Helper {
        number: u32,
        reason: &'static str,
    },
    /// A text grew beyond its bound.
    Text,
    /// Searches by regular expressions that a request may not pay for.
    Search,
    /// r0 is no action, or names a row that is not there.
    Action(u64),
    /// Interpreter only: no instruction, or one that the verifier refuses.
    Instruction(u32),
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trap::Fuel => write!(f, "fuel"),
            Trap::Memory { address } => write!(f, "memory at {address:#x}"),
            Trap::Helper { number, reason } => write!(f, "helper {number}: {reason}"),
            Trap::Text => write!(f, "a text beyond {WRITTEN_TEXT_BYTES_MAX} bytes"),
            Trap::Search => write!(f, "regular expressions take too long"),
            Trap::Action(result) => write!(f, "action {result:#x}"),
            Trap::Instruction(index) => write!(f, "instruction {index}"),
        }
    }
}

/// What a run left in r0, and of its fuel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub result: u64,
    pub fuel_left: i64,
}

/// One per worker: the cage of route programs, and those of plugins. It stays on the thread that runs it.
pub struct Machine {
    cage: Cage,
    /// Whose bytes a written window may hold. Held, so that no other host's can come to lie at its address.
    last_host: Option<Arc<str>>,
    pub plugins: Box<Plugins>,
}

impl Machine {
    pub fn new() -> io::Result<Self> {
        trap::install()?;
        Ok(Self { cage: Cage::new()?, last_host: None, plugins: Box::default() })
    }

    /// Which traces are sampled from now on.
    pub fn set_sampling(&mut self, sampling: Sampling) {
        self.cage.vm.sampling = sampling;
    }

    /// Runs at `entry` (0: the request). The exchange keeps what the program changed.
    pub fn run(&mut self, host: &VirtualHost, exchange: &mut Exchange, entry: u32) -> Result<Decision, Trap> {
        if exchange.encoded_slash && !self.agrees_on_slashes(host, exchange, entry)? {
            return Ok(Decision::Error(400));
        }
        self.decide(host, exchange, entry)
    }

    /// reliability.md 2.10: `%2F` is refused where its decoded form would meet another policy on this host. At every
    /// entry: what a program decides once a password, a body or an authorizer's answer is there is policy too.
    fn agrees_on_slashes(
        &mut self,
        host: &VirtualHost,
        exchange: &Exchange,
        entry: u32,
    ) -> Result<bool, Trap> {
        let as_sent = self.decide(host, &mut exchange.clone(), entry)?;
        let mut decoded = exchange.clone();
        decoded.decode_slashes();
        Ok(self.decide(host, &mut decoded, entry)? == as_sent)
    }

    fn decide(&mut self, host: &VirtualHost, exchange: &mut Exchange, entry: u32) -> Result<Decision, Trap> {
        let fuel = if host.fuel == 0 { abi::FUEL_DEFAULT as i64 } else { i64::from(host.fuel) };
        let outcome = self.execute(host, exchange, entry, fuel)?;
        if exchange.outgrown.get() {
            return Err(Trap::Text);
        }
        if exchange.searches.is_used_up() {
            return Err(Trap::Search);
        }
        if exchange.refused.is_some() {
            return Ok(Decision::Error(400));
        }
        let decision = decode_action(host, outcome.result)?;
        Ok(match decision {
            Decision::Proxy(row) => {
                let changes = !host.proxy(row).response_changes().is_empty();
                exchange.answering_call = changes.then(|| (host.tables.clone(), row));
                decision
            }
            Decision::Error(0) => match exchange.take_chosen_status() {
                Some(Ok(status)) => Decision::Error(status),
                _ => Decision::Error(500),
            },
            decision => decision,
        })
    }

    /// Runs and gives r0 as it is: for `decide` and for `zeroserve-engine execute`.
    pub(crate) fn execute(
        &mut self,
        host: &VirtualHost,
        exchange: &mut Exchange,
        entry: u32,
        fuel: i64,
    ) -> Result<Outcome, Trap> {
        self.wipe_for(host);
        self.cage.write_context(exchange, entry);
        self.write_folded_path(host, exchange);
        self.execute_prepared(host, exchange, entry, fuel)
    }

    /// For a program that counts on it.
    #[inline]
    pub(crate) fn write_folded_path(&mut self, host: &VirtualHost, exchange: &Exchange) {
        if host.image.reads_folded_path {
            self.cage.window.write_folded_path(exchange);
        }
    }

    /// Every version of a host has a name of its own, and keeps it when its code becomes better.
    fn wipe_for(&mut self, host: &VirtualHost) {
        let same = |last: &Arc<str>| Arc::ptr_eq(last, &host.name);
        if self.cage.window.is_dirty() && !self.last_host.as_ref().is_some_and(same) {
            self.cage.window.wipe();
            self.last_host = Some(host.name.clone());
        }
    }

    pub(crate) fn window(&mut self) -> &mut Window {
        &mut self.cage.window
    }

    /// The whole window as a new machine has it: one execution must not see what another left.
    pub(crate) fn forget(&mut self) {
        self.cage.window.wipe();
        self.cage.window.clear_context();
        self.last_host = None;
    }

    /// Runs a plugin's function in this cage, with a context of the caller's: for `zeroserve-engine execute`.
    pub(crate) fn execute_call(
        &mut self,
        host: &VirtualHost,
        exchange: &mut Exchange,
        plugin: &Arc<Plugin>,
        memory: &[u8],
        entry: u32,
    ) -> Result<Outcome, Trap> {
        self.cage.window.prepare(&plugin.data);
        if let Some(context) = self.cage.window.write(abi::CONTEXT, memory.len() as u64) {
            context.copy_from_slice(memory);
        }
        let input = Arc::new(make_input(&plugin.name, "", serde_json::Value::Null));
        let call = Some(Box::new(Call::new(plugin.clone(), 0, input)));
        let plugins = &mut *self.plugins;
        let run = Run { host, exchange, constants: &plugin.constants, plugins, call, fuel: plugin.fuel };
        self.cage.enter(&plugin.image, run, entry)
    }

    /// Runs with the context as it is in the window.
    #[inline]
    pub(crate) fn execute_prepared(
        &mut self,
        host: &VirtualHost,
        exchange: &mut Exchange,
        entry: u32,
        fuel: i64,
    ) -> Result<Outcome, Trap> {
        if let Some(code) = host.image.detached() {
            let result = self.cage.call_detached(&code, &host.constants, entry);
            return Ok(Outcome { result, fuel_left: fuel });
        }
        self.execute_attached(host, exchange, entry, fuel)
    }

    /// Apart, so that a detached program's call keeps no registers for it.
    #[inline(never)]
    fn execute_attached(
        &mut self,
        host: &VirtualHost,
        exchange: &mut Exchange,
        entry: u32,
        fuel: i64,
    ) -> Result<Outcome, Trap> {
        let run =
            Run { host, exchange, constants: &host.constants, plugins: &mut *self.plugins, call: None, fuel };
        self.cage.enter(&host.image, run, entry)
    }
}

/// r0: action in bits 0 to 7, detail in 8 to 31, index in 32 to 63.
pub(crate) fn decode_action(host: &VirtualHost, result: u64) -> Result<Decision, Trap> {
    let detail = (result >> 8) as u32 & 0xff_ffff;
    let index = (result >> 32) as u32;
    let row = |rows: usize| if (index as usize) < rows { Ok(index) } else { Err(Trap::Action(result)) };
    Ok(match result & 0xff {
        abi::ACTION_NOT_FOUND => Decision::NotFound,
        abi::ACTION_RESPOND => Decision::Respond(row(host.tables.responses.len())?),
        abi::ACTION_PROXY => Decision::Proxy(row(host.tables.proxies.len())?),
        abi::ACTION_ABORT => Decision::Abort,
        abi::ACTION_ERROR if detail == 0 || (200..=999).contains(&detail) => Decision::Error(detail as u16),
        abi::ACTION_PASS => Decision::Pass,
        abi::ACTION_ERROR => Decision::Error(500),
        abi::ACTION_EMPTY => Decision::Empty,
        abi::ACTION_ANSWER => Decision::Answer,
        abi::ACTION_SUSPEND if u64::from(index & 0xff) == abi::OPERATION_CALL_PLUGIN => {
            let row = index >> 8;
            if row as usize >= host.tables.plugin_calls.len() {
                return Err(Trap::Action(result));
            }
            Decision::Suspend { operation: Operation::CallPlugin, row, entry: detail }
        }
        abi::ACTION_SUSPEND if u64::from(index & 0xff) == abi::OPERATION_CHECK_PASSWORD => {
            let row = index >> 8;
            if row as usize >= host.tables.credentials.len() {
                return Err(Trap::Action(result));
            }
            Decision::Suspend { operation: Operation::CheckPassword, row, entry: detail }
        }
        abi::ACTION_SUSPEND if u64::from(index & 0xff) == abi::OPERATION_PAUSE => {
            let row = index >> 8;
            if row as usize >= host.tables.faults.len() {
                return Err(Trap::Action(result));
            }
            Decision::Suspend { operation: Operation::Pause, row, entry: detail }
        }
        abi::ACTION_SUSPEND if u64::from(index & 0xff) == abi::OPERATION_TAKE_TOKEN => {
            let row = index >> 8;
            if row as usize >= host.tables.rate_limits.len() {
                return Err(Trap::Action(result));
            }
            Decision::Suspend { operation: Operation::TakeToken, row, entry: detail }
        }
        abi::ACTION_FILE => Decision::File { row: row(host.tables.file_servers.len())?, entry: detail },
        abi::ACTION_SUSPEND if u64::from(index & 0xff) == abi::OPERATION_MATCH_FILE => {
            let row = index >> 8;
            if row as usize >= host.tables.file_matches.len() {
                return Err(Trap::Action(result));
            }
            Decision::Suspend { operation: Operation::MatchFile, row, entry: detail }
        }
        abi::ACTION_SUSPEND if u64::from(index & 0xff) == abi::OPERATION_READ_BODY => {
            Decision::Suspend { operation: Operation::ReadBody, row: 0, entry: detail }
        }
        _ => return Err(Trap::Action(result)),
    })
}

/// The helpers' entry into the module, for the interpreter.
pub(super) fn call_helper(vm: &mut Vm, number: u32, arguments: [u64; 5]) -> Option<u64> {
    helpers::call_by_number(vm, number, arguments)
}
