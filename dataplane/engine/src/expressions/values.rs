//! Values of expressions: equality, order and arithmetic as CEL has them (cel-spec, doc/langdef.md).

use std::cmp::Ordering;
use std::rc::Rc;

/// Why an expression has no value.
pub type Fault = &'static str;

pub const NO_OVERLOAD: Fault = "no such overload";
pub const OVERFLOW: Fault = "overflow";
pub const NO_KEY: Fault = "no such key";

#[derive(Clone, Debug)]
pub enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Unsigned(u64),
    Double(f64),
    Text(Rc<str>),
    Bytes(Rc<[u8]>),
    List(Rc<[Value]>),
    Map(Rc<[(Value, Value)]>),
    /// Nanoseconds since 1970.
    Timestamp(i128),
    /// Nanoseconds.
    Duration(i64),
}

impl Value {
    pub fn text(text: &str) -> Self {
        Value::Text(text.into())
    }

    /// What a value costs to go over, in steps of the evaluator.
    pub fn weight(&self) -> usize {
        match self {
            Value::Text(text) => text.len() / 16,
            Value::Bytes(bytes) => bytes.len() / 16,
            Value::List(items) => items.iter().map(|item| 1 + item.weight()).sum(),
            Value::Map(entries) => entries.iter().map(|(key, value)| 1 + key.weight() + value.weight()).sum(),
            _ => 0,
        }
    }

    /// Equality of any two values: numbers by what they are worth, other kinds only with their own.
    pub fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Boolean(a), Value::Boolean(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
            (Value::Duration(a), Value::Duration(b)) => a == b,
            (Value::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b.iter()).all(|(x, y)| x.equals(y))
            }
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(key, value)| find(b, key).is_some_and(|found| found.equals(value)))
            }
            _ => compare_numbers(self, other) == Some(Ordering::Equal),
        }
    }

    pub fn compare(&self, other: &Self) -> Result<Option<Ordering>, Fault> {
        Ok(match (self, other) {
            (Value::Boolean(a), Value::Boolean(b)) => Some(a.cmp(b)),
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
            (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
            (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            _ if self.is_number() && other.is_number() => compare_numbers(self, other),
            _ => return Err(NO_OVERLOAD),
        })
    }

    fn is_number(&self) -> bool {
        matches!(self, Value::Integer(_) | Value::Unsigned(_) | Value::Double(_))
    }
}

/// None for what is no number, and for NaN.
fn compare_numbers(one: &Value, other: &Value) -> Option<Ordering> {
    let integer = |value: &Value| match value {
        Value::Integer(number) => Some(i128::from(*number)),
        Value::Unsigned(number) => Some(i128::from(*number)),
        _ => None,
    };
    match (one, other) {
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        // As cel-go: beside a double, an integer is one.
        (Value::Double(a), b) => a.partial_cmp(&(integer(b)? as f64)),
        (a, Value::Double(b)) => (integer(a)? as f64).partial_cmp(b),
        (a, b) => Some(integer(a)?.cmp(&integer(b)?)),
    }
}

/// The value of a key.
pub fn find<'a>(entries: &'a [(Value, Value)], key: &Value) -> Option<&'a Value> {
    entries.iter().find(|(known, _)| known.equals(key)).map(|(_, value)| value)
}

pub fn add(left: &Value, right: &Value) -> Result<Value, Fault> {
    Ok(match (left, right) {
        (Value::Integer(a), Value::Integer(b)) => Value::Integer(a.checked_add(*b).ok_or(OVERFLOW)?),
        (Value::Unsigned(a), Value::Unsigned(b)) => Value::Unsigned(a.checked_add(*b).ok_or(OVERFLOW)?),
        (Value::Double(a), Value::Double(b)) => Value::Double(a + b),
        (Value::Text(a), Value::Text(b)) => Value::Text([&**a, &**b].concat().into()),
        (Value::Bytes(a), Value::Bytes(b)) => Value::Bytes([&**a, &**b].concat().into()),
        (Value::List(a), Value::List(b)) => Value::List(a.iter().chain(b.iter()).cloned().collect()),
        (Value::Duration(a), Value::Duration(b)) => Value::Duration(a.checked_add(*b).ok_or(OVERFLOW)?),
        (Value::Timestamp(time), Value::Duration(span)) | (Value::Duration(span), Value::Timestamp(time)) => {
            Value::Timestamp(time + i128::from(*span))
        }
        _ => return Err(NO_OVERLOAD),
    })
}

pub fn subtract(left: &Value, right: &Value) -> Result<Value, Fault> {
    Ok(match (left, right) {
        (Value::Integer(a), Value::Integer(b)) => Value::Integer(a.checked_sub(*b).ok_or(OVERFLOW)?),
        (Value::Unsigned(a), Value::Unsigned(b)) => Value::Unsigned(a.checked_sub(*b).ok_or(OVERFLOW)?),
        (Value::Double(a), Value::Double(b)) => Value::Double(a - b),
        (Value::Duration(a), Value::Duration(b)) => Value::Duration(a.checked_sub(*b).ok_or(OVERFLOW)?),
        (Value::Timestamp(time), Value::Duration(span)) => Value::Timestamp(time - i128::from(*span)),
        (Value::Timestamp(a), Value::Timestamp(b)) => {
            Value::Duration(i64::try_from(a - b).map_err(|_| OVERFLOW)?)
        }
        _ => return Err(NO_OVERLOAD),
    })
}

pub fn multiply(operator: &str, left: &Value, right: &Value) -> Result<Value, Fault> {
    Ok(match (operator, left, right) {
        ("*", Value::Integer(a), Value::Integer(b)) => Value::Integer(a.checked_mul(*b).ok_or(OVERFLOW)?),
        ("*", Value::Unsigned(a), Value::Unsigned(b)) => Value::Unsigned(a.checked_mul(*b).ok_or(OVERFLOW)?),
        ("*", Value::Double(a), Value::Double(b)) => Value::Double(a * b),
        ("/", Value::Double(a), Value::Double(b)) => Value::Double(a / b),
        (_, Value::Integer(_), Value::Integer(0)) | (_, Value::Unsigned(_), Value::Unsigned(0)) => {
            return Err("division by zero");
        }
        ("/", Value::Integer(a), Value::Integer(b)) => Value::Integer(a.checked_div(*b).ok_or(OVERFLOW)?),
        ("/", Value::Unsigned(a), Value::Unsigned(b)) => Value::Unsigned(a / b),
        ("%", Value::Integer(a), Value::Integer(b)) => Value::Integer(a.checked_rem(*b).ok_or(OVERFLOW)?),
        ("%", Value::Unsigned(a), Value::Unsigned(b)) => Value::Unsigned(a % b),
        _ => return Err(NO_OVERLOAD),
    })
}
