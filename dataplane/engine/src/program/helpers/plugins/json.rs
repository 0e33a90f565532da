//! JSON documents of the call.

use super::super::{HelperResult, Vm, abi};
use super::{NONE, Range, give_some, take};
use crate::plugins::documents::show;
use serde_json::Value;

/// Each name of a pointer is a member that is looked up.
const FUEL_PER_NAME: usize = 64;

/// A JSON pointer, with what following it costs.
fn take_pointer(vm: &mut Vm, pointer: Range) -> Result<Vec<u8>, &'static str> {
    let pointer = take(vm, pointer)?;
    vm.charge(pointer.iter().filter(|&&byte| byte == b'/').count() * FUEL_PER_NAME, 1);
    Ok(pointer)
}

pub fn read(vm: &mut Vm, document: u64, pointer: Range, room: Range) -> HelperResult {
    let pointer = take_pointer(vm, pointer)?;
    let found = vm.call()?.documents.find(document, &pointer);
    let (value, is_text) = (found.map(show), found.is_some_and(Value::is_string));
    if let Some(value) = value.as_ref().filter(|_| !is_text) {
        vm.charge(value.len(), 1);
    }
    give_some(vm, value, room)
}

pub fn parse(vm: &mut Vm, text: Range) -> HelperResult {
    let text = take(vm, text)?;
    Ok(vm.call()?.documents.parse(&text).unwrap_or(NONE))
}

pub fn find_kind(vm: &mut Vm, document: u64, pointer: Range) -> HelperResult {
    let pointer = take_pointer(vm, pointer)?;
    Ok(match vm.call()?.documents.find(document, &pointer) {
        None => abi::JSONKIND_ABSENT,
        Some(Value::Null) => abi::JSONKIND_NULL,
        Some(Value::Bool(_)) => abi::JSONKIND_BOOLEAN,
        Some(Value::Number(_)) => abi::JSONKIND_NUMBER,
        Some(Value::String(_)) => abi::JSONKIND_STRING,
        Some(Value::Array(_)) => abi::JSONKIND_ARRAY,
        Some(Value::Object(_)) => abi::JSONKIND_OBJECT,
    })
}

pub fn count(vm: &mut Vm, document: u64, pointer: Range) -> HelperResult {
    let pointer = take_pointer(vm, pointer)?;
    Ok(match vm.call()?.documents.find(document, &pointer) {
        Some(Value::Array(items)) => items.len() as u64,
        Some(Value::Object(members)) => members.len() as u64,
        _ => NONE,
    })
}

pub fn write_string(vm: &mut Vm, document: u64, pointer: Range, text: Range) -> HelperResult {
    let (pointer, text) = (take_pointer(vm, pointer)?, take(vm, text)?);
    let Ok(text) = String::from_utf8(text) else { return Ok(NONE) };
    let set = vm.call()?.documents.set_string(document, &pointer, text);
    Ok(set.map_or(NONE, |()| 0))
}

pub fn write(vm: &mut Vm, document: u64, pointer: Range, text: Range) -> HelperResult {
    let (pointer, text) = (take_pointer(vm, pointer)?, take(vm, text)?);
    let set = vm.call()?.documents.set(document, &pointer, &text);
    Ok(set.map_or(NONE, |()| 0))
}

pub fn print(vm: &mut Vm, document: u64, room: Range) -> HelperResult {
    let text = vm.call()?.documents.get(document).and_then(|value| serde_json::to_vec(value).ok());
    vm.charge(text.as_ref().map_or(0, Vec::len), 1);
    give_some(vm, text, room)
}

pub fn read_key(vm: &mut Vm, document: u64, index: u64, room: Range) -> HelperResult {
    let members = vm.call()?.documents.get(document).and_then(Value::as_object);
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    let passed = members.map_or(0, |members| members.len().min(index));
    let key = members.and_then(|members| members.keys().nth(index)).map(|key| key.as_bytes().to_vec());
    // A member is a step.
    vm.charge(passed * 4, 1);
    give_some(vm, key, room)
}
