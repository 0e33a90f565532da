//! The request as it will be forwarded, and the answer: at hand in a response hook, or made by the plugin.

use super::super::{HelperResult, Vm, abi, acting};
use super::{NONE, PENDING, Range, give, give_some, part, take};
use crate::exchange::Exchange;
use crate::exchange::answering::Held;
use crate::exchange::fields::{Fields, is_token};
use crate::exchange::queries;
use crate::exchange::rewriting::Rewrite;
use crate::exchange::texts::Text;
use crate::limits::METHOD_BYTES_MAX;
use crate::plugins::memory::{Memory, ReadAhead, Wanted};
use std::io::Write;

pub fn read_request(vm: &mut Vm, part: u64, room: Range) -> HelperResult {
    let exchange = vm.exchange();
    let mut out = Vec::new();
    // Writing to a Vec cannot fail.
    let _ = match part {
        abi::REQUESTPART_METHOD => out.write_all(exchange.method()),
        abi::REQUESTPART_PATH => out.write_all(exchange.path()),
        abi::REQUESTPART_QUERY => out.write_all(exchange.query()),
        abi::REQUESTPART_URI => {
            exchange.write_uri(&mut out);
            Ok(())
        }
        abi::REQUESTPART_HOST => out.write_all(exchange.authority()),
        abi::REQUESTPART_SCHEME => out.write_all(exchange.scheme().as_bytes()),
        abi::REQUESTPART_PROTOCOL => out.write_all(exchange.protocol().as_bytes()),
        abi::REQUESTPART_CLIENT_IP => write!(out, "{}", exchange.client()),
        abi::REQUESTPART_REMOTE_IP => write!(out, "{}", exchange.remote()),
        abi::REQUESTPART_ORIGINAL_URI => out.write_all(exchange.target()),
        abi::REQUESTPART_REQUEST_ID => out.write_all(exchange.request_id()),
        abi::REQUESTPART_ORIGINAL_METHOD => out.write_all(&exchange.original_method),
        _ => return give_some(vm, None, room),
    };
    give(vm, &out, room)
}

pub fn write_request(vm: &mut Vm, part: u64, value: Range) -> HelperResult {
    let value = take(vm, value)?;
    let exchange = vm.exchange();
    exchange.keep_received();
    let done = match part {
        abi::REQUESTPART_METHOD => {
            let allowed = is_token(&value) && value.len() <= METHOD_BYTES_MAX;
            if allowed {
                exchange.method = value;
            }
            allowed
        }
        abi::REQUESTPART_PATH => !value.contains(&b'?') && write_path(exchange, &value),
        abi::REQUESTPART_QUERY => write_query(exchange, &value),
        abi::REQUESTPART_URI => {
            let (path, query) = match memchr::memchr(b'?', &value) {
                Some(at) => (&value[..at], &value[at + 1..]),
                None => (&value[..], &b""[..]),
            };
            is_visible(query) && write_path(exchange, path) && write_query(exchange, query)
        }
        _ => false,
    };
    vm.publish_path();
    Ok(if done { 0 } else { NONE })
}

/// As `rewrite` does; what may not be forwarded changes nothing.
fn write_path(exchange: &mut Exchange, path: &[u8]) -> bool {
    if !path.starts_with(b"/") || !is_visible(path) || path.len() as u64 > abi::PATH_BYTES_MAX {
        return false;
    }
    let (former, refused) = (exchange.keep_target(), exchange.refused);
    let query = std::mem::take(&mut exchange.query);
    exchange.rewrite(&Rewrite { path: Some(Text::Literal(path.into())), ..Rewrite::default() });
    exchange.query = query;
    let allowed = exchange.refused.is_none() || refused.is_some();
    if !allowed {
        exchange.restore_target(former);
        exchange.refused = refused;
    }
    allowed
}

fn write_query(exchange: &mut Exchange, query: &[u8]) -> bool {
    let allowed = is_visible(query) && query.len() as u64 <= abi::PATH_BYTES_MAX;
    if allowed {
        exchange.query = query.to_vec();
        exchange.has_query = !query.is_empty();
    }
    allowed
}

/// What may stand in a request's target: no control characters, spaces or fragments.
fn is_visible(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, 0x21..=0x7e) && *byte != b'#')
}

/// Name and value of a field, names in lower case.
pub fn read_request_field(vm: &mut Vm, index: u64, room: Range) -> HelperResult {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    let field = vm
        .exchange()
        .request
        .iter()
        .nth(index)
        .map(|field| [&field.name.to_ascii_lowercase(), &b": "[..], field.value].concat());
    give_some(vm, field, room)
}

pub fn add_request_header(vm: &mut Vm, name: Range, value: Range) -> HelperResult {
    let (name, value) = (take(vm, name)?, take(vm, value)?);
    Ok(acting::write_field(&mut vm.exchange().request, &name, &value, Fields::add))
}

pub fn remove_request_header(vm: &mut Vm, name: Range) -> HelperResult {
    let name = take(vm, name)?;
    if !acting::is_writable(&name) || name.contains(&b'*') {
        return Ok(NONE);
    }
    vm.exchange().request.remove(&name);
    Ok(0)
}

pub fn read_query(vm: &mut Vm, key: Range, room: Range) -> HelperResult {
    let key = take(vm, key)?;
    let query = vm.exchange().query();
    let (value, bytes) = (queries::find(query, &key), query.len());
    vm.charge(bytes, 1);
    give_some(vm, value, room)
}

pub fn read_cookie(vm: &mut Vm, name: Range, room: Range) -> HelperResult {
    let name = take(vm, name)?;
    let bytes = vm.exchange().request.all(b"cookie").map(<[u8]>::len).sum();
    vm.charge(bytes, 1);
    let lines = vm.exchange().request.all(b"cookie");
    let value = lines.flat_map(|line| line.split(|&byte| byte == b';')).find_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        (pair[..at].trim_ascii() == name).then(|| pair[at + 1..].trim_ascii().to_vec())
    });
    give_some(vm, value, room)
}

/// Bytes in all of what is read of the body; -2 where it has to be read first.
pub fn read_request_body(vm: &mut Vm, offset: u64, room: Range) -> HelperResult {
    let limit = vm.call()?.plugin.body_bytes_max;
    let Some(ahead) = find_ahead(vm, limit) else { return give(vm, b"", room).map(|_| PENDING) };
    let body = &ahead.bytes[..ahead.bytes.len().min(limit as usize)];
    let (part, length) = (part(body, offset, room), body.len());
    give(vm, &part, room)?;
    Ok(length as u64)
}

/// Bytes of the whole body; -1 where nobody knows, -2 where it has to be read first.
pub fn count_request_body(vm: &mut Vm) -> HelperResult {
    let limit = vm.call()?.plugin.body_bytes_max;
    Ok(find_ahead(vm, limit).map_or(PENDING, |ahead| ahead.whole_bytes.unwrap_or(NONE)))
}

/// None: so much of the body has to be read first, which is wanted from now on.
fn find_ahead(vm: &mut Vm, limit: u64) -> Option<&ReadAhead> {
    let Memory { body, wanted, .. } = &mut vm.exchange().plugins;
    let found = body.as_ref().filter(|ahead| ahead.limit >= limit);
    if found.is_none() {
        *wanted = Some(Wanted::Body(limit));
    }
    found
}

pub fn read_response_status(vm: &mut Vm) -> HelperResult {
    Ok(u64::from(vm.exchange().answer_at_hand().0))
}

pub fn read_response_header(vm: &mut Vm, name: Range, room: Range) -> HelperResult {
    let name = take(vm, name)?;
    let value = vm.exchange().answer_at_hand().1.get(&name).map(<[u8]>::to_vec);
    give_some(vm, value, room)
}

pub fn add_response_header(vm: &mut Vm, name: Range, value: Range) -> HelperResult {
    let (name, value) = (take(vm, name)?, take(vm, value)?);
    Ok(acting::write_field(&mut vm.exchange().answer, &name, &value, Fields::add))
}

pub fn remove_response_header(vm: &mut Vm, name: Range) -> HelperResult {
    let name = take(vm, name)?;
    if !acting::is_writable(&name) || name.contains(&b'*') {
        return Ok(NONE);
    }
    vm.exchange().answer.remove(&name);
    Ok(0)
}

/// In a response hook also the status that the answer passes on with.
pub fn set_response_status(vm: &mut Vm, status: u64) -> HelperResult {
    if !(200..=599).contains(&status) {
        return Ok(NONE);
    }
    let exchange = vm.exchange();
    exchange.plugins.made_status = status as u16;
    if exchange.held != Held::Nothing {
        exchange.chosen_status = Some(status as u16);
    }
    Ok(0)
}

pub fn set_response_body(vm: &mut Vm, body: Range) -> HelperResult {
    vm.exchange().plugins.made_body = take(vm, body)?;
    Ok(0)
}
