//! Expressions see the request: placeholders with their types (Caddy: replacer.go), matchers by their helpers.

use super::{HelperResult, Vm, matching, row};
use crate::exchange::texts::Placeholder;
use crate::exchange::{Exchange, Unknown};
use crate::expressions::{Fault, Request, Value};
use crate::searching::SearchBudget;
use crate::snapshot::ValueKind;

/// 1 when it holds, 0 when not, 2 when it has no value: the request ends as an error.
pub fn match_expression(vm: &mut Vm, index: u64) -> HelperResult {
    let expression = row(&vm.tables().expressions, index)?;
    let result = match expression.holds(&mut Subject { vm }) {
        Ok(holds) => u64::from(holds),
        Err(_) => 2,
    };
    Ok(result)
}

struct Subject<'a> {
    vm: &'a mut Vm,
}

impl Request for Subject<'_> {
    fn value_of(&mut self, placeholder: &Placeholder) -> Value {
        value_of(self.vm.exchange(), placeholder)
    }

    fn matches(&mut self, helper: u32, row: u32) -> Result<bool, Fault> {
        matching::dispatch(self.vm, helper, u64::from(row)).map(|found| found == 1)
    }

    fn searches(&mut self) -> &SearchBudget {
        &self.vm.exchange().searches
    }
}

fn value_of(exchange: &Exchange, placeholder: &Placeholder) -> Value {
    if !exchange.is_set(placeholder) {
        return Value::Null;
    }
    let mut bytes = Vec::new();
    exchange.expand_placeholder(placeholder, Unknown::Empty, &mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    match exchange.kind_of(placeholder) {
        ValueKind::Text => {}
        ValueKind::Boolean => return Value::Boolean(text == "true"),
        ValueKind::Integer => {
            if let Ok(number) = text.parse() {
                return Value::Integer(number);
            }
        }
        ValueKind::Double => {
            if let Ok(number) = text.parse() {
                return Value::Double(number);
            }
        }
    }
    Value::text(&text)
}
