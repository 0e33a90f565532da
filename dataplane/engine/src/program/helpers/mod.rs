//! Helpers: what programs can ask of the engine. Each checks its arguments in software and never faults.

mod acting;
mod answering;
mod encoding;
mod expressing;
mod files;
mod matching;

pub use matching::matches_value;

use super::abi;
use super::window::Window;
use crate::exchange::Exchange;
use crate::snapshot::{Tables, VirtualHost};
use std::ptr;

type Helper = extern "C" fn(*mut Vm, u64, u64, u64, u64, u64) -> u64;

/// What native code gets as `vm`: fuel at byte 0, helpers from byte 16 on (the ABI), then what helpers work on.
#[repr(C)]
pub struct Vm {
    fuel: i64,
    reserved: u64,
    helpers: [Helper; abi::HELPERS_MAX as usize],
    exchange: *mut Exchange,
    host: *const VirtualHost,
    window: *mut Window,
    refused: Option<(u32, &'static str)>,
    folded: FoldedPath,
}

const _: () = assert!(std::mem::offset_of!(Vm, fuel) == abi::VM_FUEL_OFFSET as usize);
const _: () = assert!(std::mem::offset_of!(Vm, helpers) == abi::VM_HELPERS_OFFSET as usize);

/// The decoded, cleaned, lower-case path of Caddy's `path` matcher, made once for a path.
#[derive(Default)]
struct FoldedPath {
    valid: bool,
    text: Vec<u8>,
}

impl Vm {
    pub fn new() -> Self {
        let mut helpers: [Helper; abi::HELPERS_MAX as usize] = [enter::<0>; abi::HELPERS_MAX as usize];
        macro_rules! register {
            ($($number:ident)*) => { $(helpers[abi::$number as usize] = enter::<{ abi::$number }>;)* };
        }
        register! {
            HELPER_MATCH_PATH HELPER_MATCH_REGEXP HELPER_MATCH_HOST HELPER_MATCH_METHOD HELPER_MATCH_HEADER
            HELPER_MATCH_QUERY HELPER_MATCH_PROTOCOL HELPER_MATCH_REMOTE_IP HELPER_MATCH_CLIENT_IP
            HELPER_MATCH_VARIABLE HELPER_FIND_PATH HELPER_MATCH_FILE HELPER_MAP_VALUES HELPER_APPEND_LOG HELPER_TRACE_REQUEST HELPER_MATCH_EXPRESSION HELPER_LIMIT_RATE HELPER_READ_BODY
            HELPER_REWRITE HELPER_CHANGE_REQUEST_HEADERS
            HELPER_CHANGE_RESPONSE_HEADERS HELPER_LIMIT_REQUEST_BODY HELPER_CHECK_PASSWORD HELPER_ASSIGN_VARIABLES
            HELPER_REQUIRE_AUTHENTICATION HELPER_READ_REQUEST_HEADER HELPER_WRITE_REQUEST_HEADER
            HELPER_WRITE_RESPONSE_HEADER HELPER_NOTE_STEP HELPER_LOG_MESSAGE HELPER_ENCODE_ANSWER
            HELPER_EVALUATE_TEMPLATES
            HELPER_MATCH_RESPONSE HELPER_SET_STATUS
            HELPER_COPY_RESPONSE_FIELDS HELPER_INTERCEPT HELPER_SET_REQUEST_BODY
        }
        Self {
            fuel: 0,
            reserved: 0,
            helpers,
            exchange: ptr::null_mut(),
            host: ptr::null(),
            window: ptr::null_mut(),
            refused: None,
            folded: FoldedPath::default(),
        }
    }

    pub fn begin(&mut self, host: &VirtualHost, exchange: &mut Exchange, window: &mut Window, fuel: i64) {
        self.fuel = fuel;
        self.host = host;
        self.exchange = exchange;
        self.window = window;
        self.refused = None;
        self.folded.valid = false;
    }

    /// Fuel left, and the helper that refused. No pointer is left behind.
    pub fn end(&mut self) -> (i64, Option<(u32, &'static str)>) {
        self.exchange = ptr::null_mut();
        self.host = ptr::null();
        self.window = ptr::null_mut();
        (self.fuel, self.refused.take())
    }

    pub fn fuel(&self) -> i64 {
        self.fuel
    }

    /// False when the fuel is used up.
    pub fn spend(&mut self, fuel: i64) -> bool {
        self.fuel = self.fuel.saturating_sub(fuel);
        self.fuel >= 0
    }

    pub fn window(&mut self) -> &mut Window {
        // SAFETY: set by `begin` for the run that is under way; `Machine` touches it through here only until `end`.
        unsafe { &mut *self.window }
    }

    pub fn constants(&self) -> &[u8] {
        &self.host().constants
    }

    fn host(&self) -> &VirtualHost {
        // SAFETY: set by `begin`; the caller of `run` holds the host for the run.
        unsafe { &*self.host }
    }

    fn tables<'a>(&self) -> &'a Tables {
        // SAFETY: as `host`; helpers end before the run does, so 'a does not outlive the host.
        unsafe { &(*self.host).tables }
    }

    fn exchange(&mut self) -> &mut Exchange {
        // SAFETY: set by `begin` from a mutable borrow that lasts for the run.
        unsafe { &mut *self.exchange }
    }

    /// Readable guest memory: window or constants.
    fn read(&mut self, guest: u64, length: u64) -> Option<Vec<u8>> {
        if let Some(offset) = guest.checked_sub(abi::CONSTANTS) {
            let end = offset.checked_add(length)?;
            return self.constants().get(offset as usize..end as usize).map(<[u8]>::to_vec);
        }
        self.window().read(guest, length).map(<[u8]>::to_vec)
    }

    /// After a rewrite the window's path is the exchange's again.
    fn publish_path(&mut self) {
        self.folded.valid = false;
        // SAFETY: as `exchange` and `window`: two distinct objects.
        unsafe { (*self.window).write_path((*self.exchange).matched_path()) };
    }
}

/// What native code calls.
extern "C" fn enter<const NUMBER: u32>(vm: *mut Vm, r1: u64, r2: u64, r3: u64, r4: u64, r5: u64) -> u64 {
    // SAFETY: generated code passes on the pointer that `Machine` gave it.
    let vm = unsafe { &mut *vm };
    call(vm, NUMBER, [r1, r2, r3, r4, r5]).unwrap_or(0)
}

/// Number of arguments and fuel, by the helper's number.
const COSTS: [Option<(usize, i64)>; abi::HELPERS_MAX as usize] = {
    let mut costs = [None; abi::HELPERS_MAX as usize];
    let mut row = 0;
    while row < abi::HELPERS.len() {
        let helper = &abi::HELPERS[row];
        costs[helper.number as usize] = Some((helper.arguments, helper.fuel));
        row += 1;
    }
    costs
};

/// Charges and runs a helper. None: the program has to stop; `refused` tells why where it was not the fuel.
pub(super) fn call(vm: &mut Vm, number: u32, mut arguments: [u64; 5]) -> Option<u64> {
    let result = match COSTS.get(number as usize).copied().flatten() {
        None => Err("no such helper"),
        Some((_, cost)) if !vm.spend(cost) => return None,
        Some((count, _)) => {
            // What the table does not name is 0, whatever byte code left in the registers.
            arguments[count..].fill(0);
            dispatch(vm, number, arguments)
        }
    };
    result
        .inspect_err(|&reason| {
            vm.fuel = abi::TRAP_FUEL;
            vm.refused = Some((number, reason));
        })
        .ok()
}

type HelperResult = Result<u64, &'static str>;

fn dispatch(vm: &mut Vm, number: u32, [r1, r2, r3, r4, _]: [u64; 5]) -> HelperResult {
    match number {
        abi::HELPER_MATCH_PATH => matching::match_path(vm, r1),
        abi::HELPER_MATCH_REGEXP => matching::match_regexp(vm, r1),
        abi::HELPER_MATCH_HOST => matching::match_host(vm, r1),
        abi::HELPER_MATCH_METHOD => matching::match_method(vm, r1),
        abi::HELPER_MATCH_HEADER => matching::match_header(vm, r1),
        abi::HELPER_MATCH_QUERY => matching::match_query(vm, r1),
        abi::HELPER_MATCH_PROTOCOL => matching::match_protocol(vm, r1),
        abi::HELPER_MATCH_REMOTE_IP => matching::match_remote_ip(vm, r1),
        abi::HELPER_MATCH_CLIENT_IP => matching::match_client_ip(vm, r1),
        abi::HELPER_MATCH_VARIABLE => matching::match_variable(vm, r1),
        abi::HELPER_FIND_PATH => matching::find_path(vm, r1),
        abi::HELPER_READ_BODY => Ok(acting::read_body(vm)),
        abi::HELPER_NOTE_STEP => acting::note_step(vm, r1),
        abi::HELPER_MATCH_FILE => files::match_file(vm, r1),
        abi::HELPER_REWRITE => acting::rewrite(vm, r1),
        abi::HELPER_CHANGE_REQUEST_HEADERS => acting::change_request_headers(vm, r1),
        abi::HELPER_CHANGE_RESPONSE_HEADERS => acting::change_response_headers(vm, r1),
        abi::HELPER_LIMIT_REQUEST_BODY => acting::limit_request_body(vm, r1),
        abi::HELPER_CHECK_PASSWORD => acting::check_password(vm, r1),
        abi::HELPER_ASSIGN_VARIABLES => acting::assign_variables(vm, r1),
        abi::HELPER_MAP_VALUES => acting::map_values(vm, r1),
        abi::HELPER_APPEND_LOG => acting::append_log(vm, r1),
        abi::HELPER_MATCH_EXPRESSION => expressing::match_expression(vm, r1),
        abi::HELPER_LIMIT_RATE => acting::limit_rate(vm, r1),
        abi::HELPER_TRACE_REQUEST => acting::trace_request(vm, r1),
        abi::HELPER_REQUIRE_AUTHENTICATION => acting::require_authentication(vm, r1),
        abi::HELPER_READ_REQUEST_HEADER => acting::read_request_header(vm, (r1, r2), (r3, r4)),
        abi::HELPER_WRITE_REQUEST_HEADER => acting::write_request_header(vm, (r1, r2), (r3, r4)),
        abi::HELPER_WRITE_RESPONSE_HEADER => acting::write_response_header(vm, (r1, r2), (r3, r4)),
        abi::HELPER_ENCODE_ANSWER => encoding::encode_answer(vm, r1),
        abi::HELPER_EVALUATE_TEMPLATES => encoding::evaluate_templates(vm, r1),
        abi::HELPER_MATCH_RESPONSE => answering::match_response(vm, r1),
        abi::HELPER_SET_STATUS => answering::set_status(vm, r1),
        abi::HELPER_COPY_RESPONSE_FIELDS => answering::copy_response_fields(vm, r1),
        abi::HELPER_INTERCEPT => answering::intercept(vm, r1),
        abi::HELPER_SET_REQUEST_BODY => answering::set_request_body(vm, r1),
        abi::HELPER_LOG_MESSAGE => acting::log_message(vm, (r1, r2)),
        _ => Err("no such helper"),
    }
}

/// A row of a table, or the trap.
fn row<T>(rows: &[T], index: u64) -> Result<&T, &'static str> {
    usize::try_from(index).ok().and_then(|index| rows.get(index)).ok_or("no such row")
}
