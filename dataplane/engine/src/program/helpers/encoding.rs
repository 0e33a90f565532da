//! `templates` may evaluate the answer, once it comes. `encode`: what the client takes is settled when the route meets it;
//! the answer is judged when it comes.

use super::{HelperResult, Vm, row};
use crate::encoding::{EncodingChoice, allows_encoding, negotiate, strip_entity_tag};
use std::sync::Arc;

pub fn encode_answer(vm: &mut Vm, index: u64) -> HelperResult {
    let encoding = row(&vm.tables().encodings, index)?;
    let tables = vm.host().tables.clone();
    let exchange = vm.exchange();
    let request = &exchange.request;
    let accepted = request.get(b"accept-encoding").unwrap_or_default();
    // A WebSocket's handshake is not to be touched (Caddy: AcceptedEncodings).
    let websocket = request.get(b"sec-websocket-key").is_some_and(|key| !key.is_empty());
    if accepted.is_empty() || websocket || !allows_encoding(request.get(b"cache-control")) {
        return Ok(0);
    }
    let offered = encoding.encoders.iter().map(|encoder| encoder.coding);
    let Some(coding) = negotiate(accepted, offered) else { return Ok(0) };
    // The origin does not know the tag that we made of its own.
    if let Some(tag) = request.get(b"if-none-match").and_then(|tag| strip_entity_tag(tag, coding)) {
        exchange.request.set(b"If-None-Match", &tag);
    }
    exchange.filter_choices.push(Arc::new(EncodingChoice { tables, row: index as u32, coding }));
    Ok(1)
}

pub fn evaluate_templates(vm: &mut Vm, index: u64) -> HelperResult {
    row(&vm.tables().templates, index)?;
    let tables = vm.host().tables.clone();
    vm.exchange().templates.push((tables, index as u32));
    Ok(1)
}
