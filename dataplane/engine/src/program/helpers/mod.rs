//! Helpers: what programs can ask of the engine. Each checks its arguments in software and never faults.

mod acting;
mod answering;
mod encoding;
mod expressing;
mod files;
mod matching;
mod plugins;

pub use matching::matches_value;

use super::abi;
use super::confining::{confine, find};
use super::plugins::{Call, Plugins};
use super::window::Window;
use crate::exchange::Exchange;
use crate::exchange::tracing::Sampling;
use crate::snapshot::{Tables, VirtualHost};
use std::ptr;

/// What an execution works on.
pub struct Run<'a> {
    pub host: &'a VirtualHost,
    pub exchange: &'a mut Exchange,
    pub constants: &'a [u8],
    pub plugins: *mut Plugins,
    pub call: Option<Box<Call>>,
    pub fuel: i64,
}

/// What is passed on to a plugin that is called.
struct Nested<'a> {
    host: &'a VirtualHost,
    exchange: &'a mut Exchange,
    plugins: &'a mut Plugins,
}

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
    plugins: *mut Plugins,
    /// The function of a plugin that runs; None for route programs.
    call: Option<Box<Call>>,
    refused: Option<(u32, &'static str)>,
    folded: FoldedPath,
    /// Of the traces that `tracing` begins or goes on with, in all runs.
    pub sampling: Sampling,
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
        register_all(&mut helpers);
        Self {
            fuel: 0,
            reserved: 0,
            helpers,
            exchange: ptr::null_mut(),
            host: ptr::null(),
            window: ptr::null_mut(),
            plugins: ptr::null_mut(),
            call: None,
            refused: None,
            folded: FoldedPath::default(),
            sampling: Sampling::default(),
        }
    }

    /// `call` and `refused` are None: `end` leaves them so. What is not written here costs a call nothing.
    #[inline(always)]
    pub fn begin(&mut self, window: &mut Window, run: Run<'_>) {
        self.fuel = run.fuel;
        self.host = run.host;
        self.exchange = run.exchange;
        self.window = window;
        self.plugins = run.plugins;
        if run.call.is_some() {
            self.call = run.call;
        }
        self.folded.valid = false;
    }

    /// Fuel left, and the helper that refused. The pointers stay: nothing follows them but helpers of a run.
    #[inline(always)]
    pub fn end(&mut self) -> (i64, Option<(u32, &'static str)>) {
        if self.call.is_some() {
            self.call = None;
        }
        // Who refuses leaves no fuel.
        (self.fuel, if self.fuel < 0 { self.refused.take() } else { None })
    }

    pub fn fuel(&self) -> i64 {
        self.fuel
    }

    /// False when the fuel is used up.
    pub fn spend(&mut self, fuel: i64) -> bool {
        self.fuel = self.fuel.saturating_sub(fuel);
        self.fuel >= 0
    }

    /// Takes what is above so much away, and gives how much that was.
    fn limit_fuel(&mut self, fuel: i64) -> i64 {
        let taken = (self.fuel - fuel.max(0)).max(0);
        self.fuel -= taken;
        taken
    }

    /// Work that was not known before it was done, by bytes: the program ends after this call where it cannot pay.
    fn charge(&mut self, bytes: usize, bytes_per_fuel: usize) {
        self.spend(bytes.div_ceil(bytes_per_fuel) as i64);
    }

    /// False: the plugin that runs has written enough lines in this second.
    fn may_log(&mut self) -> bool {
        let now_s = self.exchange().now.unix_ms / 1000;
        self.call.as_ref().is_none_or(|call| call.plugin.log_lines.take(now_s))
    }

    pub fn window(&mut self) -> &mut Window {
        // SAFETY: set by `begin` for the run that is under way; `Machine` touches it through here only until `end`.
        unsafe { &mut *self.window }
    }

    pub fn constants(&self) -> &[u8] {
        match &self.call {
            None => &self.host().constants,
            Some(call) => &call.plugin.constants,
        }
    }

    fn plugins(&mut self) -> &mut Plugins {
        // SAFETY: set by `begin` from a mutable borrow that lasts for the run; nobody keeps this one over a call.
        unsafe { &mut *self.plugins }
    }

    /// What a call of a plugin runs on: the host, the exchange and the plugins of this run.
    fn nested(&mut self) -> Nested<'_> {
        // SAFETY: as `host`, `exchange` and `plugins`: three distinct objects, borrowed for as long as `self` is.
        unsafe { Nested { host: &*self.host, exchange: &mut *self.exchange, plugins: &mut *self.plugins } }
    }

    /// The plugin's call that is under way.
    fn call(&mut self) -> Result<&mut Call, &'static str> {
        self.call.as_deref_mut().ok_or("only plugins may call it")
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

    fn window_and_exchange(&mut self) -> (&mut Window, &Exchange) {
        // SAFETY: as `exchange` and `window`: two distinct objects, borrowed for as long as `self` is.
        unsafe { (&mut *self.window, &*self.exchange) }
    }

    /// Readable guest memory: window or constants.
    fn read(&mut self, guest: u64, length: u64) -> Option<Vec<u8>> {
        if let Some(offset) = guest.checked_sub(abi::CONSTANTS) {
            let end = offset.checked_add(length)?;
            let constants = self.constants();
            if end > constants.len() as u64 {
                return None;
            }
            let [start, end] = [offset, end].map(|at| confine(at as usize, constants.len() + 1));
            return constants.get(start..end).map(<[u8]>::to_vec);
        }
        self.window().read(guest, length).map(<[u8]>::to_vec)
    }

    /// The program traps with this reason.
    #[cold]
    fn refuse(&mut self, number: u32, reason: &'static str) -> u64 {
        self.fuel = abi::TRAP_FUEL;
        self.refused = Some((number, reason));
        0
    }

    /// After a rewrite the window's path is the exchange's again.
    fn publish_path(&mut self) {
        self.folded.valid = false;
        let (window, exchange) = self.window_and_exchange();
        window.write_path(exchange.matched_path());
    }
}

/// One entry for each number: which of them exist is the table's matter.
fn register_all(helpers: &mut [Helper; abi::HELPERS_MAX as usize]) {
    macro_rules! register {
        ($($high:literal)*) => { $(
            for (low, helper) in [
                enter::<{ $high * 8 }> as Helper, enter::<{ $high * 8 + 1 }>, enter::<{ $high * 8 + 2 }>,
                enter::<{ $high * 8 + 3 }>, enter::<{ $high * 8 + 4 }>, enter::<{ $high * 8 + 5 }>,
                enter::<{ $high * 8 + 6 }>, enter::<{ $high * 8 + 7 }>,
            ].into_iter().enumerate() {
                helpers[$high * 8 + low] = helper;
            }
        )* };
    }
    register! { 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 }
}

const _: () = assert!(abi::HELPERS_MAX == 20 * 8);

/// What native code calls.
extern "C" fn enter<const NUMBER: u32>(vm: *mut Vm, r1: u64, r2: u64, r3: u64, r4: u64, r5: u64) -> u64 {
    // SAFETY: generated code passes on the pointer that `Machine` gave it.
    let vm = unsafe { &mut *vm };
    let result = match Numbered::<NUMBER>::ROW {
        None => Err("no such helper"),
        Some(row) => {
            let mut arguments = [r1, r2, r3, r4, r5];
            if !vm.spend(cost(row, &arguments)) {
                return 0;
            }
            // What the table does not name is 0, whatever byte code left in the registers.
            arguments[row.arguments..].fill(0);
            call::<NUMBER>(vm, row, arguments)
        }
    };
    result.unwrap_or_else(|reason| vm.refuse(NUMBER, reason))
}

/// The row of a helper's number, known when the helper is compiled.
struct Numbered<const NUMBER: u32>;

impl<const NUMBER: u32> Numbered<NUMBER> {
    const ROW: Option<&'static abi::HelperRow> = {
        let mut found = None;
        let mut row = 0;
        while row < abi::HELPERS.len() {
            if abi::HELPERS[row].number == NUMBER {
                found = Some(&abi::HELPERS[row]);
            }
            row += 1;
        }
        found
    };
}

/// What a call costs: a fixed part, and one by the lengths that it is given.
#[inline(always)]
fn cost(row: &abi::HelperRow, arguments: &[u64; 5]) -> i64 {
    if row.bytes_per_fuel == 0 {
        return row.fuel;
    }
    let lengths = arguments.iter().enumerate().filter(|(index, _)| row.lengths >> index & 1 == 1);
    let bytes = lengths.fold(0u64, |sum, (_, length)| sum.saturating_add(*length));
    row.fuel + bytes.div_ceil(row.bytes_per_fuel).min(abi::LENGTH_FUEL_MAX as u64) as i64
}

/// Runs a helper that was paid for, where the program may call it.
#[inline(always)]
fn call<const NUMBER: u32>(vm: &mut Vm, row: &abi::HelperRow, arguments: [u64; 5]) -> HelperResult {
    match &vm.call {
        None if row.for_routes => dispatch::<NUMBER>(vm, arguments),
        None => Err("only plugins may call it"),
        Some(_) if !row.for_plugins => Err("not for plugins"),
        Some(call) if row.capability & !call.plugin.capabilities != 0 => {
            Err(plugins::refuse_capability(row.capability))
        }
        Some(_) => plugins::dispatch::<NUMBER>(vm, arguments),
    }
}

/// As native code calls a helper. None: the program has to stop; `refused` tells why where it was not the fuel.
pub(super) fn call_by_number(vm: &mut Vm, number: u32, [r1, r2, r3, r4, r5]: [u64; 5]) -> Option<u64> {
    let Some(helper) = vm.helpers.get(number as usize).copied() else {
        vm.refuse(number, "no such helper");
        return None;
    };
    let result = helper(vm, r1, r2, r3, r4, r5);
    (vm.fuel >= 0).then_some(result)
}

/// What is copied costs one fuel for so many bytes.
const BYTES_PER_FUEL: usize = 16;

const BAD_POINTER: &str = "pointer outside of the mapped memory";

type HelperResult = Result<u64, &'static str>;

/// The one helper of a number: the match is decided when `NUMBER` is.
#[inline(always)]
fn dispatch<const NUMBER: u32>(vm: &mut Vm, [r1, r2, r3, r4, _]: [u64; 5]) -> HelperResult {
    match NUMBER {
        abi::HELPER_FOLD_PATH => Ok(matching::write_folded_path(vm)),
        abi::HELPER_MATCH_PATH..=abi::HELPER_MATCH_VARIABLE => matching::dispatch(vm, NUMBER, r1),
        abi::HELPER_FIND_PATH => matching::find_path(vm, r1),
        abi::HELPER_FIND_PATTERN => matching::find_pattern(vm, r1),
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
        abi::HELPER_LIMIT_SHARED_RATE => acting::limit_shared_rate(vm, r1),
        abi::HELPER_USE_CACHE => acting::use_cache(vm, r1),
        abi::HELPER_LIMIT_CONCURRENCY => acting::limit_concurrency(vm, r1),
        abi::HELPER_DRAW_FAULT => acting::draw_fault(vm, r1),
        abi::HELPER_LIMIT_BANDWIDTH => acting::limit_bandwidth(vm, r1),
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
        abi::HELPER_CALL_PLUGIN => plugins::call_plugin(vm, r1),
        _ => Err("no such helper"),
    }
}

/// A row of a table, or the trap.
fn row<T>(rows: &[T], index: u64) -> Result<&T, &'static str> {
    find(rows, index).ok_or("no such row")
}
