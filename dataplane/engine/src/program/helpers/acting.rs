//! Helpers that change the request, its answer or its limits.

use super::{BAD_POINTER, BYTES_PER_FUEL, HelperResult, Vm, row};
use crate::cache::WantedCache;
use crate::exchange::Unknown;
use crate::exchange::answering::Wrapper;
use crate::exchange::fields::Fields;
use crate::exchange::texts::USER_VARIABLE;
use crate::limits::{WRITTEN_FIELDS_MAX, WRITTEN_HEAD_BYTES_MAX};
use crate::occupancy;
use crate::passwords;
use crate::rates::Verdict;
use crate::tokens::{self, Taken};
use std::sync::Arc;

/// A guest pointer and a length.
type Range = (u64, u64);

/// Steps kept of one request: more than any answer header would show.
const STEPS_MAX: usize = 4096;
const REFUSED: u64 = u64::MAX;
/// Longer names and values are no header fields.
const TEXT_BYTES_MAX: u64 = 64 << 10;

/// Only programs lowered to be explained call it; nothing is kept of a request that is not.
pub fn note_step(vm: &mut Vm, index: u64) -> HelperResult {
    row(&vm.tables().steps, index)?;
    if let Some(steps) = vm.exchange().steps.as_mut().filter(|steps| steps.len() < STEPS_MAX) {
        steps.push(index as u32);
    }
    Ok(0)
}

/// 0 when the request's body is here, 2 when the program must wait for it.
pub fn read_body(vm: &mut Vm) -> u64 {
    if vm.exchange().read_body.is_some() { 0 } else { 2 }
}

pub fn rewrite(vm: &mut Vm, index: u64) -> HelperResult {
    let rewrite = row(&vm.tables().rewrites, index)?;
    let exchange = vm.exchange();
    exchange.rewrite(rewrite);
    let bytes = exchange.path.len() + exchange.query.len();
    vm.charge(bytes, BYTES_PER_FUEL);
    vm.publish_path();
    Ok(0)
}

pub fn change_request_headers(vm: &mut Vm, index: u64) -> HelperResult {
    let changes = row(&vm.tables().header_changes, index)?;
    let exchange = vm.exchange();
    exchange.change_request(&changes.changes);
    let bytes = exchange.request.length();
    exchange.outgrown.set(exchange.outgrown.get() || exchange.request.is_cut());
    vm.charge(bytes, BYTES_PER_FUEL);
    Ok(0)
}

pub fn change_response_headers(vm: &mut Vm, index: u64) -> HelperResult {
    let changes = row(&vm.tables().header_changes, index)?;
    if changes.deferred {
        let tables = vm.host().tables.clone();
        return super::answering::push_wrapper(vm, Wrapper::Changes(tables, index as u32));
    } else {
        let exchange = vm.exchange();
        exchange.change_answer(&changes.changes);
        let bytes = exchange.answer.length();
        exchange.outgrown.set(exchange.outgrown.get() || exchange.answer.is_cut());
        vm.charge(bytes, BYTES_PER_FUEL);
    }
    Ok(0)
}

pub fn limit_request_body(vm: &mut Vm, bytes: u64) -> HelperResult {
    vm.exchange().request_body_bytes_max = Some(bytes);
    Ok(0)
}

/// 0 refused, 1 right, 2 not known yet.
pub fn check_password(vm: &mut Vm, index: u64) -> HelperResult {
    let credentials = row(&vm.tables().credentials, index)?;
    let exchange = vm.exchange();
    let Some((user, password)) = exchange.credentials() else { return Ok(0) };
    let found = credentials.find(&user);
    Ok(match passwords::cache().find(found.unwrap_or(passwords::UNKNOWN_ACCOUNT), &password) {
        Some(true) if found.is_some() => {
            exchange.variables.push(USER_VARIABLE.to_vec(), user);
            1
        }
        Some(_) => 0,
        None => 2,
    })
}

pub fn require_authentication(vm: &mut Vm, index: u64) -> HelperResult {
    let credentials = row(&vm.tables().credentials, index)?;
    let realm: &[u8] = if credentials.realm.is_empty() { b"restricted" } else { &credentials.realm };
    let mut challenge = b"Basic realm=\"".to_vec();
    for &byte in realm {
        if matches!(byte, b'"' | b'\\') {
            challenge.push(b'\\');
        }
        challenge.push(byte);
    }
    challenge.push(b'"');
    let exchange = vm.exchange();
    exchange.answer.set(b"WWW-Authenticate", &challenge);
    exchange.set_error_message("not authenticated".to_owned());
    Ok(0)
}

pub fn assign_variables(vm: &mut Vm, index: u64) -> HelperResult {
    for assignment in row(&vm.tables().assignments, index)? {
        let exchange = vm.exchange();
        let (mut name, mut value) = (Vec::new(), Vec::new());
        exchange.expand(&assignment.name, Unknown::Empty, &mut name);
        exchange.expand(&assignment.value, Unknown::Empty, &mut value);
        let bytes = name.len() + value.len();
        exchange.assign_variable(name, value, assignment.kind);
        vm.charge(bytes, BYTES_PER_FUEL);
        if vm.fuel() < 0 {
            break;
        }
    }
    Ok(0)
}

pub fn map_values(vm: &mut Vm, index: u64) -> HelperResult {
    row(&vm.tables().maps, index)?;
    let tables = vm.host().tables.clone();
    vm.exchange().add_map(tables, index as u32);
    Ok(0)
}

pub fn append_log(vm: &mut Vm, index: u64) -> HelperResult {
    row(&vm.tables().log_fields, index)?;
    let tables = vm.host().tables.clone();
    let bytes = vm.exchange().append_log(tables, index as u32);
    vm.charge(bytes, BYTES_PER_FUEL);
    Ok(0)
}

/// 1 past the rate of the zone, with Retry-After on the answer (RFC 9110 10.2.3).
pub fn limit_rate(vm: &mut Vm, index: u64) -> HelperResult {
    let limit = row(&vm.tables().rate_limits, index)?;
    let exchange = vm.exchange();
    let mut key = Vec::new();
    exchange.expand(&limit.key, Unknown::Empty, &mut key);
    match limit.table.count(&limit.zone, &key, limit.rate, exchange.now.monotonic_ns) {
        Verdict::Allowed => Ok(0),
        Verdict::Limited(wait_ns) => Ok(exchange.note_taken(Taken::Limited(wait_ns))),
    }
}

/// 0 allowed, 1 past the rate of the zone on all nodes, 2 not known yet, 3 where no tokens can be had and it is closed.
pub fn limit_shared_rate(vm: &mut Vm, index: u64) -> HelperResult {
    let limit = row(&vm.tables().rate_limits, index)?;
    let exchange = vm.exchange();
    let mut key = Vec::new();
    exchange.expand(&limit.key, Unknown::Empty, &mut key);
    let taken = tokens::table().take(limit, &key, exchange.now.monotonic_ns);
    Ok(exchange.note_taken(taken))
}

/// The next proxy call's answer may come from the cache, and go there.
pub fn use_cache(vm: &mut Vm, index: u64) -> HelperResult {
    let cache = row(&vm.tables().caches, index)?;
    let tables = vm.host().tables.clone();
    let exchange = vm.exchange();
    let key = cache.key.as_ref().map(|text| {
        let mut key = Vec::new();
        exchange.expand(text, Unknown::Empty, &mut key);
        key
    });
    let authorized = exchange.request.contains(b"authorization");
    exchange.cache = Some(Box::new(WantedCache { tables, index: index as u32, key, authorized }));
    Ok(0)
}

/// Bit 0: the request is to wait, bit 1: it is to end. Drawn from its id: asked again, a request hears the same.
pub fn draw_fault(vm: &mut Vm, index: u64) -> HelperResult {
    let fault = row(&vm.tables().faults, index)?;
    let id = vm.exchange().request_id;
    let draw = |of: u64| xxhash_rust::xxh64::xxh64(&id, index << 1 | of) % 1_000_000;
    Ok(u64::from(draw(0) < fault.delays) | u64::from(draw(1) < fault.aborts) << 1)
}

/// 1 where the key has no place left; a place is held until the exchange ends.
pub fn limit_concurrency(vm: &mut Vm, index: u64) -> HelperResult {
    let limit = row(&vm.tables().concurrencies, index)?;
    let mut key = Vec::new();
    vm.exchange().expand(&limit.key, Unknown::Empty, &mut key);
    let host = vm.host().name.clone();
    let Some(place) = occupancy::enter((host.as_bytes(), index as u32), &key, limit.requests_max) else {
        return Ok(1);
    };
    vm.exchange().places.push(Arc::new(place));
    Ok(0)
}

pub fn limit_bandwidth(vm: &mut Vm, index: u64) -> HelperResult {
    let bandwidth = *row(&vm.tables().bandwidths, index)?;
    vm.exchange().bandwidth = Some(bandwidth);
    Ok(0)
}

pub fn trace_request(vm: &mut Vm, index: u64) -> HelperResult {
    let trace = row(&vm.tables().traces, index)?;
    let sampling = vm.sampling;
    vm.exchange().trace(trace, sampling);
    Ok(0)
}

fn read_text(vm: &mut Vm, (guest, length): Range) -> Result<Vec<u8>, &'static str> {
    if length > TEXT_BYTES_MAX {
        return Err("text too long");
    }
    vm.read(guest, length).ok_or(BAD_POINTER)
}

/// Length of the first value of the named field, copied as far as there is room; -1 without the field.
pub fn read_request_header(vm: &mut Vm, name: Range, (room, room_bytes): Range) -> HelperResult {
    let name = read_text(vm, name)?;
    if vm.window().write(room, room_bytes).is_none() {
        return Err(BAD_POINTER);
    }
    let Some(value) = vm.exchange().request.get(&name).map(<[u8]>::to_vec) else { return Ok(REFUSED) };
    let copied = value.len().min(room_bytes as usize);
    if let Some(memory) = vm.window().write(room, copied as u64) {
        memory.copy_from_slice(&value[..copied]);
    }
    vm.charge(value.len() - copied, BYTES_PER_FUEL);
    Ok(value.len() as u64)
}

pub fn write_request_header(vm: &mut Vm, name: Range, value: Range) -> HelperResult {
    let (name, value) = (read_text(vm, name)?, read_text(vm, value)?);
    Ok(write_field(&mut vm.exchange().request, &name, &value, Fields::set))
}

pub fn write_response_header(vm: &mut Vm, name: Range, value: Range) -> HelperResult {
    let (name, value) = (read_text(vm, name)?, read_text(vm, value)?);
    Ok(write_field(&mut vm.exchange().answer, &name, &value, Fields::set))
}

/// Adds or sets a field by `write`: 0, or -1 where programs may not, or where the head has no room.
pub fn write_field(
    fields: &mut Fields,
    name: &[u8],
    value: &[u8],
    write: impl Fn(&mut Fields, &[u8], &[u8]) -> bool,
) -> u64 {
    let has_room = fields.len() < WRITTEN_FIELDS_MAX
        && fields.length() + name.len() + value.len() <= WRITTEN_HEAD_BYTES_MAX;
    let written = has_room && is_writable(name) && is_value(value) && write(fields, name, value);
    if written { 0 } else { REFUSED }
}

/// Framing, hop-by-hop and forwarding fields are the engine's alone.
pub fn is_writable(name: &[u8]) -> bool {
    crate::exchange::fields::is_token(name) && crate::exchange::is_end_to_end(name)
}

pub fn is_value(value: &[u8]) -> bool {
    !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// Control characters are shown escaped: a log line stays one line.
pub fn log_message(vm: &mut Vm, message: Range) -> HelperResult {
    const MESSAGE_BYTES_MAX: usize = 512;
    let text = read_text(vm, message)?;
    if !vm.may_log() {
        return Ok(0);
    }
    let shown = text[..text.len().min(MESSAGE_BYTES_MAX)].escape_ascii();
    let host = vm.host().name.clone();
    crate::access_log::log_program(&host, &shown.to_string());
    Ok(0)
}
