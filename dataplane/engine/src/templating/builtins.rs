//! Go's own functions (text/template/funcs.go), and where a name leads to. `slice` is Sprig's, as in Caddy.

use super::evaluating::Evaluation;
use super::objects::{Object, texts};
use super::values::Value;
use super::{Failure, escaping, formatting, site, sprig};
use std::cmp::Ordering;

const NAMES: [&str; 18] = [
    "and", "or", "not", "len", "index", "print", "printf", "println", "html", "js", "urlquery", "eq", "ne",
    "lt", "le", "gt", "ge", "call",
];

pub fn knows(name: &str) -> bool {
    NAMES.contains(&name) || site::NAMES.contains(&name) || sprig::knows(name)
}

/// Calls a function by its name.
pub fn call(evaluation: &mut Evaluation, name: &str, arguments: &[Value]) -> Result<Value, Failure> {
    if let Some(result) = site::call(evaluation, name, arguments) {
        return result;
    }
    Ok(match (name, arguments) {
        ("not", [value]) => Value::Bool(!value.is_true()),
        ("len", [value]) => Value::Int(length(value)? as i64),
        ("index", [base, keys @ ..]) => index(base, keys)?,
        ("print", values) => formatting::print(values).into(),
        ("println", values) => formatting::println(values).into(),
        ("printf", [Value::Text(format), values @ ..]) => formatting::printf(format, values)?.into(),
        ("html", values) => escaping::html(&joined(values)).into(),
        ("js", values) => escaping::js(&joined(values)).into(),
        ("urlquery", values) => escaping::query(&joined(values)).into(),
        ("eq", [first, second, others @ ..]) => {
            let mut same = first.equals(second)?;
            for other in others {
                same = same || first.equals(other)?;
            }
            Value::Bool(same)
        }
        ("ne", [first, second]) => Value::Bool(!first.equals(second)?),
        ("lt", [first, second]) => Value::Bool(first.compare(second)? == Ordering::Less),
        ("le", [first, second]) => Value::Bool(first.compare(second)? != Ordering::Greater),
        ("gt", [first, second]) => Value::Bool(first.compare(second)? == Ordering::Greater),
        ("ge", [first, second]) => Value::Bool(first.compare(second)? != Ordering::Less),
        ("call", _) => return Failure::new("no value here is a function"),
        _ if NAMES.contains(&name) => return Failure::new("wrong number or type of arguments"),
        _ => return sprig::call(evaluation, name, arguments),
    })
}

/// What the escapers take (Go: evalArgs).
fn joined(values: &[Value]) -> String {
    match values {
        [Value::Text(text)] => text.to_string(),
        values => {
            let values: Vec<Value> = values
                .iter()
                .map(|value| if matches!(value, Value::Nil) { "<no value>".into() } else { value.clone() })
                .collect();
            formatting::print(&values)
        }
    }
}

pub fn length(value: &Value) -> Result<usize, Failure> {
    match value {
        Value::Text(text) => Ok(text.len()),
        Value::List(values) => Ok(values.len()),
        Value::Dict(entries) => Ok(entries.borrow().len()),
        Value::Object(object) if object.length().is_some() => Ok(object.length().unwrap_or(0)),
        other => Failure::new(format!("len of type {}", other.kind())),
    }
}

fn position(key: &Value, length: usize) -> Result<usize, Failure> {
    match key {
        Value::Int(index) => match usize::try_from(*index) {
            Ok(index) if index <= length => Ok(index),
            _ => Failure::new(format!("index out of range: {index}")),
        },
        other => Failure::new(format!("cannot index with type {}", other.kind())),
    }
}

fn index(base: &Value, keys: &[Value]) -> Result<Value, Failure> {
    let mut value = base.clone();
    for key in keys {
        let next = match &value {
            Value::List(values) => {
                let at = position(key, values.len())?;
                values.get(at).cloned().ok_or_else(|| Failure::at(0, format!("index out of range: {at}")))?
            }
            Value::Text(text) => {
                let at = position(key, text.len())?;
                let byte = text.as_bytes().get(at);
                Value::Int((*byte.ok_or_else(|| Failure::at(0, format!("index out of range: {at}")))?).into())
            }
            Value::Dict(entries) => match key {
                Value::Text(key) => entries.borrow().get(&**key).cloned().unwrap_or(Value::Nil),
                other => return Failure::new(format!("map index of type {}", other.kind())),
            },
            Value::Object(object) => match (&**object, key) {
                (Object::Values { entries, .. }, Value::Text(key)) => {
                    texts(entries.get(&**key).map_or(&[], Vec::as_slice))
                }
                _ => return Failure::new(format!("can't index item of type {}", object.kind())),
            },
            Value::Nil => return Failure::new("index of untyped nil"),
            other => return Failure::new(format!("can't index item of type {}", other.kind())),
        };
        value = next;
    }
    Ok(value)
}
