//! Codecs, hashes, signatures, random numbers, times.

use super::super::{BAD_POINTER, HelperResult, Vm, abi, find};
use super::{NONE, Range, give, give_some, take};
use crate::plugins::keys::{self, Key};
use crate::plugins::{codecs, times};
use aws_lc_rs::{hmac, rand};
use subtle::ConstantTimeEq;

/// Keys of one call.
const KEYS_MAX: usize = 64;
/// A number of a time is written as text.
const FUEL_PER_LETTER: usize = 16;

pub fn encode(vm: &mut Vm, codec: u64, bytes: Range, room: Range) -> HelperResult {
    let bytes = take(vm, bytes)?;
    give_some(vm, codecs::encode(codec, &bytes), room)
}

pub fn decode(vm: &mut Vm, codec: u64, text: Range, room: Range) -> HelperResult {
    let text = take(vm, text)?;
    give_some(vm, codecs::decode(codec, &text), room)
}

pub fn digest(vm: &mut Vm, algorithm: u64, bytes: Range, room: Range) -> HelperResult {
    let bytes = take(vm, bytes)?;
    let made = keys::hash(algorithm, &bytes).map(|digest| digest.as_ref().to_vec());
    give_some(vm, made, room)
}

pub fn import_key(vm: &mut Vm, kind: u64, bytes: Range) -> HelperResult {
    let bytes = take(vm, bytes)?;
    let keys = &mut vm.call()?.keys;
    let Some(key) = Key::import(kind, &bytes).filter(|_| keys.len() < KEYS_MAX) else { return Ok(NONE) };
    keys.push(key);
    Ok(keys.len() as u64 - 1)
}

fn key(vm: &mut Vm, number: u64) -> Result<&Key, &'static str> {
    let keys = &vm.call()?.keys;
    find(keys, number).ok_or("no such key")
}

pub fn sign(vm: &mut Vm, number: u64, bytes: Range, room: Range) -> HelperResult {
    let bytes = take(vm, bytes)?;
    let tag = key(vm, number)?.sign(&bytes).map(|tag| tag.as_ref().to_vec());
    give_some(vm, tag, room)
}

pub fn verify_signature(vm: &mut Vm, number: u64, message: Range, signature: Range) -> HelperResult {
    let (message, signature) = (take(vm, message)?, take(vm, signature)?);
    let fuel = key(vm, number)?.measure_fuel();
    if !vm.spend(fuel) {
        return Ok(0);
    }
    Ok(u64::from(key(vm, number)?.verify(&message, &signature)))
}

pub fn hmac_sha256(vm: &mut Vm, key: Range, bytes: Range, room: u64) -> HelperResult {
    let (key, bytes) = (take(vm, key)?, take(vm, bytes)?);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &bytes);
    give(vm, tag.as_ref(), (room, abi::DIGEST_BYTES))
}

pub fn compare_secrets(vm: &mut Vm, left: Range, right: Range) -> HelperResult {
    let (left, right) = (take(vm, left)?, take(vm, right)?);
    Ok(u64::from(bool::from(left.ct_eq(&right))))
}

pub fn fill_random(vm: &mut Vm, (room, room_bytes): Range) -> HelperResult {
    let memory = vm.window().write(room, room_bytes).ok_or(BAD_POINTER)?;
    rand::fill(memory).map_err(|_| "no random numbers")?;
    Ok(room_bytes)
}

pub fn format_time(vm: &mut Vm, seconds: u64, pattern: Range, room: Range) -> HelperResult {
    let pattern = take(vm, pattern)?;
    vm.charge(pattern.iter().filter(|&&byte| byte == b'%').count() * FUEL_PER_LETTER, 1);
    give_some(vm, times::format(seconds, &pattern), room)
}
