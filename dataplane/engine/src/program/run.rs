//! One execution of a virtual host's program for an exchange.

use crate::exchange::Exchange;
use crate::snapshot::VirtualHost;

/// What the program asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// No route applied: the engine's own 404.
    NotFound,
    /// Row of Tables.responses.
    Respond(u32),
    /// Row of Tables.proxies.
    Proxy(u32),
    /// Close the connection without an answer.
    Abort,
    /// To the error routes (`VirtualHost::error_entry` when not 0), or the engine's page.
    Error(u16),
    /// Do `operation` on the table row, `Exchange::set_resume_result`, run again at `entry`.
    Suspend { operation: Operation, row: u32, entry: u32 },
    /// 200 with an empty body.
    Empty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    CheckPassword,
}

/// The program was stopped: answer 500.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trap {
    Fuel,
    /// Access outside of the mapped window.
    Memory {
        address: u64,
    },
    /// A helper refused its arguments, or the action in r0 is none.
    Helper {
        number: u32,
        reason: &'static str,
    },
    Action(u64),
    /// Interpreter only: no instruction, or one that the verifier refuses.
    Instruction(u32),
}

/// One per worker: window, VM block, trap state. Not Send once it ran.
pub struct Machine {}

impl Machine {
    pub fn new() -> std::io::Result<Self> {
        todo!()
    }
    /// Runs at `entry` (0: the request). The exchange keeps what the program changed.
    pub fn run(
        &mut self,
        _host: &VirtualHost,
        _exchange: &mut Exchange,
        _entry: u32,
    ) -> Result<Decision, Trap> {
        todo!()
    }
}
