//! Arguments of Sprig's functions, by position: what is missing or of the wrong type is a failure.

use super::Failure;
use super::values::{Dict, Value};

pub fn get(arguments: &[Value], index: usize) -> Result<&Value, Failure> {
    arguments.get(index).ok_or_else(|| Failure::at(0, "not enough arguments"))
}

pub fn text(arguments: &[Value], index: usize) -> Result<String, Failure> {
    match get(arguments, index)? {
        Value::Text(text) => Ok(text.to_string()),
        other => Failure::new(format!("wrong type for value; expected string; got {}", other.kind())),
    }
}

/// Sprig's toInt64: what is no number is 0.
pub fn int(arguments: &[Value], index: usize) -> Result<i64, Failure> {
    Ok(match get(arguments, index)? {
        Value::Int(number) => *number,
        Value::Float(number) => *number as i64,
        Value::Bool(value) => i64::from(*value),
        Value::Text(text) => super::parsing::integer(text).unwrap_or(0),
        _ => 0,
    })
}

pub fn float(arguments: &[Value], index: usize) -> Result<f64, Failure> {
    Ok(match get(arguments, index)? {
        Value::Float(number) => *number,
        Value::Text(text) => text.parse().unwrap_or(0.0),
        _ => int(arguments, index)? as f64,
    })
}

pub fn time(arguments: &[Value], index: usize) -> Result<i64, Failure> {
    match get(arguments, index)? {
        Value::Time(seconds) | Value::Int(seconds) => Ok(*seconds),
        other => Failure::new(format!("{} is no time", other.kind())),
    }
}

pub fn list(arguments: &[Value], index: usize) -> Result<Vec<Value>, Failure> {
    match get(arguments, index)? {
        Value::List(values) => Ok(values.to_vec()),
        other => Failure::new(format!("{} is no list", other.kind())),
    }
}

pub fn dict(arguments: &[Value], index: usize) -> Result<Dict, Failure> {
    match get(arguments, index)? {
        Value::Dict(entries) => Ok(entries.clone()),
        other => Failure::new(format!("{} is no dict", other.kind())),
    }
}
