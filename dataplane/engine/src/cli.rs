//! The command line.

use std::ffi::OsString;
use std::process::ExitCode;

pub fn run(_arguments: Vec<OsString>) -> ExitCode {
    ExitCode::FAILURE
}
