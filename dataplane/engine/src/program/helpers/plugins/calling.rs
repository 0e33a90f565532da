//! Calls: of plugins by routes, of plugins by plugins, of upstreams by plugins.

use super::super::{BYTES_PER_FUEL, HelperResult, Nested, Vm, abi, acting, row};
use super::{NONE, PENDING, Range, give, give_some, part, take};
use crate::access_log;
use crate::exchange::fields::{Fields, is_token};
use crate::exchange::{Exchange, Unknown, is_end_to_end};
use crate::limits::{METHOD_BYTES_MAX, REQUEST_TARGET_BYTES_MAX};
use crate::metrics::PluginCount;
use crate::plugins::documents::{parse_bounded, show};
use crate::plugins::memory::{FETCHES_MAX, Fetched, Outbound, REQUEST_FUEL_MAX, Wanted};
use crate::plugins::{Plugin, PluginCall, make_input};
use crate::program::plugins::{Call, Failure, split_verdict};
use serde_json::Value;
use std::sync::Arc;

/// 500 to the error routes: what a call that failed comes to, where its plugin does not fail open.
const FAILED: u64 = abi::ACTION_ERROR | 500 << 8;
const FETCH_BODY_BYTES_MAX: usize = 64 << 10;
/// Of a function's name that a plugin makes up: longer ones say no more.
const NAME_SHOWN_MAX: usize = 64;

/// `zeroserve_call`: 0 continue, SUSPEND, or the action that the route returns.
pub fn call_plugin(vm: &mut Vm, index: u64) -> HelperResult {
    let tables = vm.host().tables.clone();
    let call = row(&tables.plugin_calls, index)?;
    let input = expand_input(vm.exchange(), call);
    vm.exchange().plugins.begin_call();
    let Some(plugin) = vm.plugins().index.find(&call.plugin).cloned() else {
        note_failure(vm, None, call, Failure::NoPlugin);
        return Ok(FAILED);
    };
    let result = attempt(vm, &plugin, &call.function, input, 0)
        .and_then(|(action, detail, upstream)| conclude(call, &plugin, (action, detail, upstream)));
    let action = match result {
        Ok(abi::ACTION_SUSPEND) => return Ok(abi::ACTION_SUSPEND),
        Ok(action) => action,
        Err(failure) => {
            note_failure(vm, Some(&plugin), call, failure);
            if plugin.fail_open { 0 } else { FAILED }
        }
    };
    vm.exchange().plugins.end_call();
    Ok(action)
}

fn expand_input(exchange: &Exchange, call: &PluginCall) -> Arc<Value> {
    if call.texts.is_empty() {
        return call.input.clone();
    }
    let mut input = (*call.input).clone();
    for (pointer, text) in &call.texts {
        let mut value = Vec::new();
        exchange.expand(text, Unknown::Empty, &mut value);
        if let Some(place) = input.pointer_mut(pointer) {
            *place = Value::String(String::from_utf8_lossy(&value).into_owned());
        }
    }
    Arc::new(input)
}

/// The verdict as the route's action.
fn conclude(call: &PluginCall, plugin: &Plugin, verdict: (u64, u32, u32)) -> Result<u64, Failure> {
    let (action, detail, index) = verdict;
    Ok(match action {
        abi::VERDICT_RESPOND | abi::VERDICT_ADOPT => abi::ACTION_ANSWER,
        abi::VERDICT_ERROR => abi::ACTION_ERROR | u64::from(detail) << 8,
        abi::VERDICT_PROXY => {
            let upstream = &plugin.upstreams[index as usize];
            let found = call.proxies.iter().find(|(name, _)| *name == upstream.name);
            let (_, proxy) = found.ok_or(Failure::Verdict(action))?;
            abi::ACTION_PROXY | u64::from(*proxy) << 32
        }
        action => action,
    })
}

/// Calls a function and judges what it returns. What a call that failed or waits has changed is undone, but for one
/// that ends the request by its failure.
fn attempt(
    vm: &mut Vm,
    plugin: &Arc<Plugin>,
    function: &str,
    input: Arc<Value>,
    depth: usize,
) -> Result<(u64, u32, u32), Failure> {
    let entry = plugin.entry(function).ok_or(Failure::NoFunction)?;
    let Nested { host, exchange, plugins } = vm.nested();
    plugins.counted.push((plugin.slot, PluginCount::Calls, 1));
    let former = (depth > 0 || plugin.may_undo()).then(|| exchange.clone());
    let call = Call::new(plugin.clone(), depth, input);
    let result = plugins.run(host, exchange, call, entry).and_then(|result| judge(plugin, exchange, result));
    let ended = matches!(result, Ok((action, ..)) if action != abi::VERDICT_SUSPEND);
    if let Some(former) = former.filter(|_| !ended) {
        let memory = std::mem::replace(exchange, former).plugins;
        exchange.plugins.take_over(memory);
    }
    vm.publish_path();
    result
}

/// Checks a verdict against what the plugin is granted, and makes the answer that it names.
fn judge(plugin: &Plugin, exchange: &mut Exchange, result: u64) -> Result<(u64, u32, u32), Failure> {
    let (action, detail, index) = split_verdict(result);
    let answers = || match plugin.may(abi::CAPABILITY_RESPONSE_WRITE) {
        true => Ok(()),
        false => Err(Failure::Capability("response_write")),
    };
    match action {
        abi::VERDICT_CONTINUE | abi::VERDICT_ABORT => {}
        abi::VERDICT_RESPOND => {
            answers()?;
            match detail {
                0 if exchange.plugins.made_status == 0 => exchange.plugins.made_status = 200,
                0 => {}
                200..=599 => exchange.plugins.made_status = detail as u16,
                _ => return Err(Failure::Verdict(result)),
            }
        }
        abi::VERDICT_ADOPT => {
            answers()?;
            adopt(plugin, exchange).ok_or(Failure::Verdict(result))?;
        }
        abi::VERDICT_ERROR if (400..=599).contains(&detail) => {}
        abi::VERDICT_PROXY if !plugin.may(abi::CAPABILITY_PROXY) => {
            return Err(Failure::Capability("proxy"));
        }
        abi::VERDICT_PROXY if (index as usize) < plugin.upstreams.len() => {}
        abi::VERDICT_SUSPEND if exchange.plugins.wanted.is_some() => {}
        _ => return Err(Failure::Verdict(result)),
    }
    Ok((action, detail, index))
}

/// The answer to the plugin's last fetch becomes the one that it made.
fn adopt(plugin: &Plugin, exchange: &mut Exchange) -> Option<()> {
    let fetched = exchange.plugins.last_fetched(&plugin.name).filter(|fetched| fetched.status != 0)?;
    for field in fetched.fields.iter().filter(|field| is_end_to_end(field.name)) {
        if acting::write_field(&mut exchange.answer, field.name, field.value, Fields::add) != 0 {
            return None;
        }
    }
    let (status, body) = (fetched.status, fetched.body.clone());
    (exchange.plugins.made_status, exchange.plugins.made_body) = (status, body);
    Some(())
}

fn note_failure(vm: &mut Vm, plugin: Option<&Plugin>, call: &PluginCall, failure: Failure) {
    vm.plugins().counted.push((plugin.map_or(0, |plugin| plugin.slot), PluginCount::Failures, 1));
    vm.exchange().plugins.end_call();
    let now_s = vm.exchange().now.unix_ms / 1000;
    let may_log = match plugin {
        Some(plugin) => plugin.may_log(now_s),
        None => std::mem::replace(&mut vm.plugins().missing_logged_s, now_s) != now_s,
    };
    if may_log {
        let text = format!("plugin {} {}: {failure}", call.plugin, call.function);
        access_log::log_program(&vm.host().name.clone(), &text);
    }
    vm.plugins().last_failure = Some(failure);
}

/// `PLUGIN FUNCTION` of the caller's namespace; its verdict, -1 when it failed, -2 when it waits.
pub fn call_function(vm: &mut Vm, target: Range, config: Range) -> HelperResult {
    let (target, config) = (take(vm, target)?, take(vm, config)?);
    let (caller, depth) = (vm.call()?.plugin.clone(), vm.call()?.depth + 1);
    let names = std::str::from_utf8(&target).ok().and_then(|text| text.split_once(' '));
    let (Some((name, function)), Some(config)) = (names, parse_bounded(&config)) else {
        return Ok(NONE);
    };
    let Some(plugin) = vm.plugins().index.find_near(name, &caller.namespace).cloned() else {
        return Ok(NONE);
    };
    let bytes = vm.exchange().measure();
    vm.charge(bytes, BYTES_PER_FUEL);
    let input = Arc::new(make_input(name, function, config));
    // What the callers have used so far counts while others run for them: the request's fuel bounds all of it.
    let used = vm.call()?.fuel - vm.fuel();
    vm.exchange().plugins.fuel_spent += used;
    let result = attempt(vm, &plugin, function, input, depth);
    let memory = &mut vm.exchange().plugins;
    let left = REQUEST_FUEL_MAX - memory.fuel_spent;
    memory.fuel_spent -= used;
    let taken = vm.limit_fuel(left);
    vm.call()?.fuel -= taken;
    vm.exchange().plugins.fuel_taken += taken;
    match result {
        Ok((abi::VERDICT_SUSPEND, ..)) => Ok(PENDING),
        Ok((action, detail, _)) => {
            if action == abi::VERDICT_ADOPT {
                let bytes = vm.exchange().plugins.made_body.len() + vm.exchange().answer.length();
                vm.charge(bytes, BYTES_PER_FUEL);
            }
            Ok(action | u64::from(detail) << 8)
        }
        Err(failure) => {
            vm.plugins().counted.push((plugin.slot, PluginCount::Failures, 1));
            let now_s = super::state::now_s(vm);
            if plugin.may_log(now_s) {
                let shown: String = function.chars().take(NAME_SHOWN_MAX).collect();
                let text = format!("plugin {} {shown}: {failure}", plugin.name);
                access_log::log_program(&vm.host().name.clone(), &text);
            }
            Ok(NONE)
        }
    }
}

/// Status of the answer to the request that a document describes: -2 until it is here, -1 where none came.
pub fn fetch(vm: &mut Vm, document: u64) -> HelperResult {
    let plugin = vm.call()?.plugin.clone();
    if let Some(status) = vm.exchange().plugins.replay(&plugin.name) {
        return Ok(if status == 0 { NONE } else { u64::from(status) });
    }
    let call = vm.call()?;
    let document = call.documents.get(document).ok_or("there is no such document");
    let wanted = document.and_then(|value| describe(&plugin, value));
    let memory = &mut vm.exchange().plugins;
    let why = match wanted {
        Ok(wanted) if memory.fetches.len() < FETCHES_MAX => {
            memory.wanted = Some(Wanted::Fetch(Box::new(wanted)));
            return Ok(PENDING);
        }
        wanted => wanted.err().filter(|_| memory.refuse_fetch(&plugin.name)),
    };
    let host = vm.host().name.clone();
    vm.plugins().counted.push((plugin.slot, PluginCount::FetchFailures, 1));
    plugin.note_fetch(
        &host,
        vm.exchange().now.unix_ms / 1000,
        why.unwrap_or("the request has sent too many"),
    );
    Ok(NONE)
}

/// `{"upstream": NAME, "method", "path", "headers": {NAME: VALUE}, "body"}` as a request, where it may be sent.
fn describe(plugin: &Plugin, value: &Value) -> Result<Outbound, &'static str> {
    let text = |name: &str| value.get(name).map(show);
    let name = text("upstream").ok_or("it names no upstream")?;
    let upstream = plugin.upstreams.iter().position(|upstream| upstream.name.as_bytes() == name);
    let upstream = upstream.ok_or("its upstream is not granted")?;
    let method = text("method").unwrap_or_else(|| b"GET".to_vec());
    let target = text("path").unwrap_or_else(|| b"/".to_vec());
    let body = text("body").unwrap_or_default();
    let visible = target.iter().all(|byte| matches!(byte, 0x21..=0x7e) && *byte != b'#');
    if !is_token(&method) || method.len() > METHOD_BYTES_MAX {
        return Err("its method is none");
    }
    if !target.starts_with(b"/") || !visible || target.len() > REQUEST_TARGET_BYTES_MAX {
        return Err("its path does not begin with a slash, is not encoded, or is too long");
    }
    if body.len() > FETCH_BODY_BYTES_MAX {
        return Err("its body is too long");
    }
    let mut fields = Fields::default();
    for (name, value) in value.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let (name, value) = (name.as_bytes(), show(value));
        if acting::write_field(&mut fields, name, &value, Fields::add) != 0 {
            return Err("one of its headers is not allowed");
        }
    }
    Ok(Outbound { plugin: plugin.name.clone(), upstream, method, target, fields, body })
}

pub fn read_fetched_header(vm: &mut Vm, name: Range, room: Range) -> HelperResult {
    let (name, plugin) = (take(vm, name)?, vm.call()?.plugin.clone());
    let fetched = vm.exchange().plugins.last_fetched(&plugin.name);
    let value = fetched.and_then(|fetched| fetched.fields.get(&name)).map(<[u8]>::to_vec);
    give_some(vm, value, room)
}

pub fn read_fetched_body(vm: &mut Vm, offset: u64, room: Range) -> HelperResult {
    let plugin = vm.call()?.plugin.clone();
    let fetched = vm.exchange().plugins.last_fetched(&plugin.name);
    let read = |fetched: &Fetched| (part(&fetched.body, offset, room), fetched.body.len());
    let Some((part, length)) = fetched.map(read) else {
        return give(vm, b"", room).map(|_| NONE);
    };
    give(vm, &part, room)?;
    Ok(length as u64)
}

pub fn find_upstream(vm: &mut Vm, name: Range) -> HelperResult {
    let name = take(vm, name)?;
    let upstreams = &vm.call()?.plugin.upstreams;
    let found = upstreams.iter().position(|upstream| upstream.name.as_bytes() == name);
    Ok(found.map_or(NONE, |index| index as u64))
}
