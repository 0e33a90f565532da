//! What plugins note about a request, keep between requests, and were given in secret.

use super::super::{HelperResult, Vm, abi};
use super::{NONE, Range, give_some, take};
use crate::metrics::{PLUGIN_COUNTERS, PluginCount};
use crate::plugins::Plugin;
use crate::rates::{Rate, Verdict};
use std::sync::LazyLock;

/// Variables that plugins set; `{http.vars.plugin.NAME}` to the route.
const PREFIX: &[u8] = b"plugin.";
/// Of one request: names and values.
const METADATA_MAX: usize = 64;
const METADATA_BYTES_MAX: usize = 64 << 10;
/// More in one call would overflow what is shown.
const DELTA_MAX: u64 = 1 << 48;
/// Of one run: they wait for its end.
const COUNTED_MAX: usize = 256;
/// Longer times are as good as none.
const TTL_S_MAX: u64 = 366 * 86_400;

/// Seconds since 1970 of the turn of the event loop: no finer clock, nothing to measure others with.
pub fn now_s(vm: &mut Vm) -> u64 {
    vm.exchange().now.unix_ms / 1000
}

pub fn read_metadata(vm: &mut Vm, name: Range, room: Range) -> HelperResult {
    let name = [PREFIX, &take(vm, name)?].concat();
    let value = vm.exchange().variables.get(&name).map(<[u8]>::to_vec);
    give_some(vm, value, room)
}

pub fn write_metadata(vm: &mut Vm, name: Range, value: Range) -> HelperResult {
    let (name, value) = ([PREFIX, &take(vm, name)?].concat(), take(vm, value)?);
    let noted = vm.exchange().variables.iter().filter(|(name, _)| name.starts_with(PREFIX));
    let (count, bytes) =
        noted.fold((0, 0), |(count, bytes), (name, value)| (count + 1, bytes + name.len() + value.len()));
    if count >= METADATA_MAX || bytes + name.len() + value.len() > METADATA_BYTES_MAX {
        return Ok(NONE);
    }
    vm.exchange().variables.push(name, value);
    Ok(0)
}

pub fn read_value(vm: &mut Vm, key: Range, room: Range) -> HelperResult {
    let (key, now_s) = (take(vm, key)?, now_s(vm));
    let value = vm.call()?.plugin.values.read(&key, now_s).map(Vec::from);
    give_some(vm, value, room)
}

pub fn write_value(vm: &mut Vm, key: Range, value: Range, ttl_s: u64) -> HelperResult {
    let (key, value, now_s) = (take(vm, key)?, take(vm, value)?, now_s(vm));
    let kept = vm.call()?.plugin.values.write(&key, &value, ttl_s.min(TTL_S_MAX), now_s);
    Ok(if kept { 0 } else { NONE })
}

pub fn remove_value(vm: &mut Vm, key: Range) -> HelperResult {
    let (key, now_s) = (take(vm, key)?, now_s(vm));
    once(vm, (abi::HELPER_REMOVE_VALUE, &key, [0; 2]), |plugin| u64::from(plugin.values.remove(&key, now_s)))
}

pub fn add_value(vm: &mut Vm, key: Range, delta: u64, ttl_s: u64) -> HelperResult {
    let (key, now_s) = (take(vm, key)?, now_s(vm));
    once(vm, (abi::HELPER_ADD_VALUE, &key, [delta, ttl_s]), |plugin| {
        let sum = plugin.values.add(&key, delta as i64, ttl_s.min(TTL_S_MAX), now_s);
        sum.map_or(NONE, |sum| sum as u64)
    })
}

/// 1 past so many events in a window; the buckets are as those of `rate_limit`, but the plugin's own.
pub fn limit_events(vm: &mut Vm, key: Range, events: u64, window_ms: u64) -> HelperResult {
    // Whole milliseconds: buckets of a nanosecond would be a clock.
    let now_ns = vm.exchange().now.monotonic_ns / 1_000_000 * 1_000_000;
    let key = take(vm, key)?;
    let Some(burst) = u32::try_from(events).ok().filter(|&events| events > 0 && window_ms > 0) else {
        return Err("events and window must be numbers above 0");
    };
    let rate = Rate { interval_ns: window_ms.saturating_mul(1_000_000) / events, burst };
    once(vm, (abi::HELPER_LIMIT_EVENTS, &key, [events, window_ms]), |plugin| {
        u64::from(plugin.values.count(&key, rate, now_ns) != Verdict::Allowed)
    })
}

/// One of the plugin's own counters, by number.
pub fn count_metric(vm: &mut Vm, counter: u64, delta: u64) -> HelperResult {
    let slot = vm.call()?.plugin.slot;
    let counter = usize::try_from(counter).unwrap_or(usize::MAX);
    if counter >= PLUGIN_COUNTERS || delta > DELTA_MAX || vm.plugins().counted.len() >= COUNTED_MAX {
        return Ok(NONE);
    }
    let what = name_change(vm, (abi::HELPER_COUNT_METRIC, &[], [counter as u64, delta]))?;
    if recall(vm, what).is_none() {
        vm.plugins().counted.push((slot, PluginCount::Own(counter), delta));
        note(vm, what, 0);
    }
    Ok(0)
}

/// Helper, key and numbers of a change that lasts.
type Change<'a> = (u32, &'a [u8], [u64; 2]);

/// Makes a change that lasts longer than the request; a call that is repeated after it waited finds what it gave.
fn once(vm: &mut Vm, change: Change, make: impl FnOnce(&Plugin) -> u64) -> HelperResult {
    let what = name_change(vm, change)?;
    if let Some(result) = recall(vm, what) {
        return Ok(result);
    }
    let plugin = vm.call()?.plugin.clone();
    let result = make(&plugin);
    note(vm, what, result);
    Ok(result)
}

fn recall(vm: &mut Vm, what: Option<u64>) -> Option<u64> {
    what.and_then(|what| vm.exchange().plugins.recall_count(what))
}

fn note(vm: &mut Vm, what: Option<u64>, result: u64) {
    if let Some(what) = what {
        vm.exchange().plugins.note_count(what, result);
    }
}

/// By keys that nobody knows: no two changes are taken for one. None: the call is never repeated, so nobody asks.
fn name_change(vm: &mut Vm, change: Change) -> Result<Option<u64>, &'static str> {
    static KEYS: LazyLock<ahash::RandomState> = LazyLock::new(ahash::RandomState::new);
    let call = vm.call()?;
    let may_repeat = call.depth > 0 || call.plugin.may_wait();
    Ok(may_repeat.then(|| KEYS.hash_one((&call.plugin.name, change))))
}

pub fn read_secret(vm: &mut Vm, name: Range, room: Range) -> HelperResult {
    let name = take(vm, name)?;
    let secret = vm.call()?.plugin.secret(&name).map(<[u8]>::to_vec);
    give_some(vm, secret, room)
}
