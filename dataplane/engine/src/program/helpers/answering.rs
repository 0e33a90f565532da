//! Helpers about answers that the program sees before the client does, and about the status and body it chooses.

use super::{HelperResult, Vm, row};
use crate::exchange::Unknown;
use crate::exchange::answering::Wrapper;

/// More handlers around one answer than any configuration has; a program in a loop must not fill memory.
const WRAPPERS_MAX: usize = 256;

pub fn match_response(vm: &mut Vm, index: u64) -> HelperResult {
    let wanted = row(&vm.tables().response_matches, index)?;
    let (status, fields) = vm.exchange().answer_at_hand();
    Ok(u64::from(wanted.fits(status, fields)))
}

pub fn set_status(vm: &mut Vm, index: u64) -> HelperResult {
    let text = row(&vm.tables().texts, index)?;
    let exchange = vm.exchange();
    let mut value = Vec::new();
    exchange.expand(text, Unknown::Empty, &mut value);
    let status = std::str::from_utf8(&value).ok().and_then(|text| text.parse::<u16>().ok());
    if status.is_none() {
        let shown = String::from_utf8_lossy(&value);
        exchange.set_error_message(format!("strconv.Atoi: parsing {shown:?}: invalid syntax"));
    }
    exchange.chosen_status = Some(status.unwrap_or(0));
    Ok(0)
}

pub fn copy_response_fields(vm: &mut Vm, index: u64) -> HelperResult {
    let selection = row(&vm.tables().field_selections, index)?;
    let exchange = vm.exchange();
    for field in exchange.upstream_fields.iter().filter(|field| selection.selects(field.name)) {
        exchange.answer.push_checked(field.name, field.value);
    }
    Ok(0)
}

pub fn intercept(vm: &mut Vm, entry: u64) -> HelperResult {
    let entry = u32::try_from(entry).map_err(|_| "no such entry")?;
    push_wrapper(vm, Wrapper::Intercept(entry))
}

pub fn push_wrapper(vm: &mut Vm, wrapper: Wrapper) -> HelperResult {
    let wrappers = &mut vm.exchange().wrappers;
    if wrappers.len() >= WRAPPERS_MAX {
        return Err("too many handlers around one answer");
    }
    wrappers.push(wrapper);
    Ok(0)
}

pub fn set_request_body(vm: &mut Vm, index: u64) -> HelperResult {
    let text = row(&vm.tables().texts, index)?;
    let exchange = vm.exchange();
    let mut body = Vec::new();
    exchange.expand(text, Unknown::Empty, &mut body);
    exchange.replaced_body = Some(body);
    Ok(0)
}
