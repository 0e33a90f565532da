//! Values of templates: what Go's reflection would see, how it prints, what is true, what is equal.
//!
//! Rule: strings are UTF-8 here; bytes of a request that are not become U+FFFD.

use super::objects::Object;
use super::{Failure, times};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

pub type Dict = Rc<RefCell<BTreeMap<String, Value>>>;

/// A dict may hold itself: printing and comparing end here.
const DEPTH_MAX: usize = 64;

#[derive(Clone, Debug)]
pub enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    List(Rc<[Value]>),
    Dict(Dict),
    /// Seconds since 1970, UTC.
    Time(i64),
    Object(Rc<Object>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text.into())
    }
}

impl From<&[u8]> for Value {
    fn from(text: &[u8]) -> Value {
        Value::Text(String::from_utf8_lossy(text).into())
    }
}

impl Value {
    pub fn list(values: impl IntoIterator<Item = Value>) -> Value {
        Value::List(values.into_iter().collect())
    }

    pub fn dict(entries: impl IntoIterator<Item = (String, Value)>) -> Value {
        Value::Dict(Rc::new(RefCell::new(entries.into_iter().collect())))
    }

    /// Go's word for the type, in messages and `%T`.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::List(_) => "[]interface {}",
            Value::Dict(_) => "map[string]interface {}",
            Value::Time(_) => "time.Time",
            Value::Object(object) => object.kind(),
        }
    }

    /// Go templates: not the zero value.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(values) => !values.is_empty(),
            Value::Dict(entries) => !entries.borrow().is_empty(),
            Value::Time(_) => true,
            Value::Object(object) => object.length() != Some(0),
        }
    }

    /// Sprig's `empty`: the zero value too.
    pub fn is_empty(&self) -> bool {
        !self.is_true()
    }

    /// Sprig's strval.
    pub fn text(&self) -> String {
        self.show(false)
    }

    /// As an action prints it.
    pub fn print(&self) -> String {
        self.show(true)
    }

    fn show(&self, top: bool) -> String {
        match self {
            Value::Nil if top => "<no value>".to_owned(),
            _ => {
                let mut out = String::new();
                self.write(&mut out, 0);
                out
            }
        }
    }

    /// Appends `%v`.
    pub fn write(&self, out: &mut String, depth: usize) {
        if depth > DEPTH_MAX {
            return out.push_str("...");
        }
        match self {
            Value::Nil => out.push_str("<nil>"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Int(value) => out.push_str(&value.to_string()),
            Value::Float(value) => out.push_str(&show_float(*value)),
            Value::Text(text) => out.push_str(text),
            Value::List(values) => {
                out.push('[');
                for (index, value) in values.iter().enumerate() {
                    out.push_str(if index > 0 { " " } else { "" });
                    value.write(out, depth + 1);
                }
                out.push(']');
            }
            Value::Dict(entries) => {
                out.push_str("map[");
                for (index, (key, value)) in entries.borrow().iter().enumerate() {
                    out.push_str(if index > 0 { " " } else { "" });
                    out.push_str(key);
                    out.push(':');
                    value.write(out, depth + 1);
                }
                out.push(']');
            }
            Value::Time(seconds) => {
                out.push_str(&times::format(*seconds, "2006-01-02 15:04:05 -0700 MST"));
            }
            Value::Object(object) => object.write(out, depth),
        }
    }

    /// Deep equality, kinds included (reflect.DeepEqual).
    pub fn same(&self, other: &Value, depth: usize) -> bool {
        depth <= DEPTH_MAX
            && match (self, other) {
                (Value::Nil, Value::Nil) => true,
                (Value::Bool(a), Value::Bool(b)) => a == b,
                (Value::Int(a), Value::Int(b)) | (Value::Time(a), Value::Time(b)) => a == b,
                (Value::Float(a), Value::Float(b)) => a == b,
                (Value::Text(a), Value::Text(b)) => a == b,
                (Value::List(a), Value::List(b)) => {
                    a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.same(b, depth + 1))
                }
                (Value::Dict(a), Value::Dict(b)) => {
                    let (a, b) = (a.borrow(), b.borrow());
                    a.len() == b.len()
                        && a.iter().zip(b.iter()).all(|(a, b)| a.0 == b.0 && a.1.same(b.1, depth + 1))
                }
                _ => false,
            }
    }

    /// The builtin `eq`: refuses what Go refuses.
    pub fn equals(&self, other: &Value) -> Result<bool, Failure> {
        match (self, other) {
            (Value::Nil, other) | (other, Value::Nil) => Ok(matches!(other, Value::Nil)),
            (
                Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Time(_),
                Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Time(_),
            ) if self.kind() == other.kind() => Ok(self.same(other, 0)),
            (Value::List(_) | Value::Dict(_), _) | (_, Value::List(_) | Value::Dict(_)) => {
                Failure::new("non-comparable type")
            }
            _ => Failure::new("incompatible types for comparison"),
        }
    }

    /// The builtin `lt` and its kin.
    pub fn compare(&self, other: &Value) -> Result<Ordering, Failure> {
        match (self, other) {
            (Value::Int(a), Value::Int(b)) => Ok(a.cmp(b)),
            (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b).unwrap_or(Ordering::Greater)),
            (Value::Text(a), Value::Text(b)) => Ok(a.cmp(b)),
            _ => Failure::new("incompatible types for comparison"),
        }
    }

    /// Bytes that this value holds, roughly: what evaluation is charged for it.
    pub fn weight(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            Value::List(values) => values.len() * size_of::<Value>(),
            Value::Dict(entries) => entries.borrow().len() * 2 * size_of::<Value>(),
            _ => 0,
        }
    }
}

/// `%v` of a float64: the shortest form, with an exponent below 1e-4 and from 1e6 on (strconv: ftoa.go).
pub fn show_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e6).contains(&size) {
        return show_exponent(&format!("{value:e}"));
    }
    format!("{value}")
}

/// Rust's `1e-7` as Go's `1e-07`.
pub fn show_exponent(text: &str) -> String {
    let Some((mantissa, exponent)) = text.split_once('e') else { return text.to_owned() };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}
