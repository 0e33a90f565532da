//! Helpers of plugins, and the one by which routes call them.
//!
//! What a plugin is not granted traps; what it asks for and is not there is -1; what is not there yet is -2.

mod calling;
mod computing;
mod json;
mod messages;
mod state;

pub use calling::call_plugin;

use super::{BAD_POINTER, BYTES_PER_FUEL, HelperResult, Vm, abi, acting, confine};

/// A guest pointer and a length.
type Range = (u64, u64);

const NONE: u64 = u64::MAX;
const PENDING: u64 = u64::MAX - 1;

/// Name of what a plugin was not granted, for the trap's reason.
pub fn refuse_capability(capability: u64) -> &'static str {
    match capability {
        abi::CAPABILITY_REQUEST_WRITE => "capability request_write is not granted",
        abi::CAPABILITY_RESPONSE_WRITE => "capability response_write is not granted",
        abi::CAPABILITY_REQUEST_BODY => "capability request_body is not granted",
        abi::CAPABILITY_OUTBOUND_HTTP => "capability outbound_http is not granted",
        abi::CAPABILITY_SECRETS => "capability secrets is not granted",
        abi::CAPABILITY_KEY_VALUE => "capability key_value is not granted",
        abi::CAPABILITY_CALL_PLUGINS => "capability call_plugins is not granted",
        abi::CAPABILITY_PROXY => "capability proxy is not granted",
        _ => "a capability is not granted",
    }
}

/// Helpers that plugins may call; the table said that this one may.
#[inline(always)]
pub fn dispatch<const NUMBER: u32>(vm: &mut Vm, [r1, r2, r3, r4, r5]: [u64; 5]) -> HelperResult {
    match NUMBER {
        abi::HELPER_READ_REQUEST_HEADER => acting::read_request_header(vm, (r1, r2), (r3, r4)),
        abi::HELPER_WRITE_REQUEST_HEADER => acting::write_request_header(vm, (r1, r2), (r3, r4)),
        abi::HELPER_WRITE_RESPONSE_HEADER => acting::write_response_header(vm, (r1, r2), (r3, r4)),
        abi::HELPER_LOG_MESSAGE => acting::log_message(vm, (r1, r2)),
        abi::HELPER_READ_JSON => json::read(vm, r1, (r2, r3), (r4, r5)),
        abi::HELPER_PARSE_JSON => json::parse(vm, (r1, r2)),
        abi::HELPER_FIND_JSON_KIND => json::find_kind(vm, r1, (r2, r3)),
        abi::HELPER_COUNT_JSON => json::count(vm, r1, (r2, r3)),
        abi::HELPER_WRITE_JSON_STRING => json::write_string(vm, r1, (r2, r3), (r4, r5)),
        abi::HELPER_WRITE_JSON => json::write(vm, r1, (r2, r3), (r4, r5)),
        abi::HELPER_PRINT_JSON => json::print(vm, r1, (r2, r3)),
        abi::HELPER_READ_JSON_KEY => json::read_key(vm, r1, r2, (r3, r4)),
        abi::HELPER_READ_REQUEST => messages::read_request(vm, r1, (r2, r3)),
        abi::HELPER_WRITE_REQUEST => messages::write_request(vm, r1, (r2, r3)),
        abi::HELPER_READ_REQUEST_FIELD => messages::read_request_field(vm, r1, (r2, r3)),
        abi::HELPER_ADD_REQUEST_HEADER => messages::add_request_header(vm, (r1, r2), (r3, r4)),
        abi::HELPER_REMOVE_REQUEST_HEADER => messages::remove_request_header(vm, (r1, r2)),
        abi::HELPER_READ_QUERY => messages::read_query(vm, (r1, r2), (r3, r4)),
        abi::HELPER_READ_COOKIE => messages::read_cookie(vm, (r1, r2), (r3, r4)),
        abi::HELPER_READ_REQUEST_BODY => messages::read_request_body(vm, r1, (r2, r3)),
        abi::HELPER_COUNT_REQUEST_BODY => messages::count_request_body(vm),
        abi::HELPER_READ_RESPONSE_STATUS => messages::read_response_status(vm),
        abi::HELPER_READ_RESPONSE_HEADER => messages::read_response_header(vm, (r1, r2), (r3, r4)),
        abi::HELPER_ADD_RESPONSE_HEADER => messages::add_response_header(vm, (r1, r2), (r3, r4)),
        abi::HELPER_REMOVE_RESPONSE_HEADER => messages::remove_response_header(vm, (r1, r2)),
        abi::HELPER_SET_RESPONSE_STATUS => messages::set_response_status(vm, r1),
        abi::HELPER_SET_RESPONSE_BODY => messages::set_response_body(vm, (r1, r2)),
        _ => dispatch_computing::<NUMBER>(vm, [r1, r2, r3, r4, r5]),
    }
}

#[inline(always)]
fn dispatch_computing<const NUMBER: u32>(vm: &mut Vm, [r1, r2, r3, r4, r5]: [u64; 5]) -> HelperResult {
    match NUMBER {
        abi::HELPER_READ_METADATA => state::read_metadata(vm, (r1, r2), (r3, r4)),
        abi::HELPER_WRITE_METADATA => state::write_metadata(vm, (r1, r2), (r3, r4)),
        abi::HELPER_ENCODE => computing::encode(vm, r1, (r2, r3), (r4, r5)),
        abi::HELPER_DECODE => computing::decode(vm, r1, (r2, r3), (r4, r5)),
        abi::HELPER_DIGEST => computing::digest(vm, r1, (r2, r3), (r4, r5)),
        abi::HELPER_IMPORT_KEY => computing::import_key(vm, r1, (r2, r3)),
        abi::HELPER_SIGN => computing::sign(vm, r1, (r2, r3), (r4, r5)),
        abi::HELPER_VERIFY_SIGNATURE => computing::verify_signature(vm, r1, (r2, r3), (r4, r5)),
        abi::HELPER_HMAC_SHA256 => computing::hmac_sha256(vm, (r1, r2), (r3, r4), r5),
        abi::HELPER_COMPARE_SECRETS => computing::compare_secrets(vm, (r1, r2), (r3, r4)),
        abi::HELPER_FILL_RANDOM => computing::fill_random(vm, (r1, r2)),
        abi::HELPER_READ_TIME => Ok(state::now_s(vm)),
        abi::HELPER_FORMAT_TIME => computing::format_time(vm, r1, (r2, r3), (r4, r5)),
        abi::HELPER_READ_VALUE => state::read_value(vm, (r1, r2), (r3, r4)),
        abi::HELPER_WRITE_VALUE => state::write_value(vm, (r1, r2), (r3, r4), r5),
        abi::HELPER_REMOVE_VALUE => state::remove_value(vm, (r1, r2)),
        abi::HELPER_ADD_VALUE => state::add_value(vm, (r1, r2), r3, r4),
        abi::HELPER_LIMIT_EVENTS => state::limit_events(vm, (r1, r2), r3, r4),
        abi::HELPER_COUNT_METRIC => state::count_metric(vm, r1, r2),
        abi::HELPER_READ_SECRET => state::read_secret(vm, (r1, r2), (r3, r4)),
        abi::HELPER_CALL_FUNCTION => calling::call_function(vm, (r1, r2), (r3, r4)),
        abi::HELPER_FETCH => calling::fetch(vm, r1),
        abi::HELPER_READ_FETCHED_HEADER => calling::read_fetched_header(vm, (r1, r2), (r3, r4)),
        abi::HELPER_READ_FETCHED_BODY => calling::read_fetched_body(vm, r1, (r2, r3)),
        abi::HELPER_FIND_UPSTREAM => calling::find_upstream(vm, (r1, r2)),
        _ => Err("no such helper"),
    }
}

/// Bytes that the plugin gives; no more than its memory holds.
fn take(vm: &mut Vm, (guest, length): Range) -> Result<Vec<u8>, &'static str> {
    vm.read(guest, length).ok_or(BAD_POINTER)
}

/// Copies out as far as there is room; gives the whole length.
fn give(vm: &mut Vm, value: &[u8], (room, room_bytes): Range) -> HelperResult {
    let memory = vm.window().write(room, room_bytes).ok_or(BAD_POINTER)?;
    let copied = value.len().min(memory.len());
    memory[..copied].copy_from_slice(&value[..copied]);
    vm.charge(value.len() - copied, BYTES_PER_FUEL);
    Ok(value.len() as u64)
}

/// As `give`; without a value the room must be one all the same.
fn give_some(vm: &mut Vm, value: Option<Vec<u8>>, room: Range) -> HelperResult {
    match value {
        Some(value) => give(vm, &value, room),
        None => give(vm, b"", room).map(|_| NONE),
    }
}

/// What follows an offset, as far as there is room.
fn part(bytes: &[u8], offset: u64, (_, room_bytes): Range) -> Vec<u8> {
    let offset = usize::try_from(offset).ok().filter(|offset| *offset <= bytes.len());
    let rest = offset.map_or(&[][..], |offset| &bytes[confine(offset, bytes.len() + 1)..]);
    rest[..rest.len().min(usize::try_from(room_bytes).unwrap_or(usize::MAX))].to_vec()
}
