//! Functions of CEL and of cel-go's strings, lists and math: pure, and bounded by TEXT_BYTES_MAX.

use super::times;
use super::values::{Fault, NO_OVERLOAD, OVERFLOW, Value};
use std::cmp::Ordering;

/// No text grows beyond it, whatever is joined or replaced.
const TEXT_BYTES_MAX: usize = 256 << 10;
/// Elements of `lists.range`.
const RANGE_MAX: i64 = 1 << 13;
const OUT_OF_RANGE: Fault = "index out of range";

pub fn apply(function: &str, values: &[Value]) -> Result<Value, Fault> {
    if let Some(name) = function.strip_prefix("math.") {
        return calculate(name, values);
    }
    match values {
        [Value::Text(text), rest @ ..] if is_method_of_text(function) => of_text(function, text, rest),
        [Value::List(items), rest @ ..] if is_method_of_list(function) => of_list(function, items, rest),
        [Value::Timestamp(_) | Value::Duration(_), ..] if function.starts_with("get") => {
            times::part(function, values)
        }
        [Value::Integer(count)] if function == "lists.range" => range(*count),
        [value] => convert(function, value),
        _ => Err(NO_OVERLOAD),
    }
}

fn range(count: i64) -> Result<Value, Fault> {
    if count > RANGE_MAX {
        return Err("range too long");
    }
    Ok(Value::List((0..count.max(0)).map(Value::Integer).collect()))
}

fn is_method_of_text(function: &str) -> bool {
    !matches!(
        function,
        "int" | "uint" | "double" | "string" | "bytes" | "bool" | "timestamp" | "duration" | "dyn"
    )
}

fn is_method_of_list(function: &str) -> bool {
    !matches!(function, "dyn")
}

fn text(value: String) -> Result<Value, Fault> {
    if value.len() > TEXT_BYTES_MAX {
        return Err("text too long");
    }
    Ok(Value::Text(value.into()))
}

fn integer(value: usize) -> Value {
    Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

fn of_text(function: &str, text_: &str, rest: &[Value]) -> Result<Value, Fault> {
    match (function, rest) {
        ("size", []) => Ok(integer(text_.chars().count())),
        ("contains", [Value::Text(part)]) => Ok(Value::Boolean(text_.contains(&**part))),
        ("startsWith", [Value::Text(part)]) => Ok(Value::Boolean(text_.starts_with(&**part))),
        ("endsWith", [Value::Text(part)]) => Ok(Value::Boolean(text_.ends_with(&**part))),
        ("lowerAscii", []) => text(text_.to_ascii_lowercase()),
        ("upperAscii", []) => text(text_.to_ascii_uppercase()),
        ("trim", []) => text(text_.trim().to_owned()),
        ("reverse", []) => text(text_.chars().rev().collect()),
        ("charAt", [Value::Integer(at)]) => char_at(text_, *at),
        ("substring", [Value::Integer(from)]) => substring(text_, *from, None),
        ("substring", [Value::Integer(from), Value::Integer(to)]) => substring(text_, *from, Some(*to)),
        ("replace", [Value::Text(old), Value::Text(new)]) => replace(text_, old, new, -1),
        ("replace", [Value::Text(old), Value::Text(new), Value::Integer(limit)]) => {
            replace(text_, old, new, *limit)
        }
        ("split", [Value::Text(separator)]) => Ok(split(text_, separator, -1)),
        ("split", [Value::Text(separator), Value::Integer(limit)]) => Ok(split(text_, separator, *limit)),
        ("indexOf", [Value::Text(part)]) => find(text_, part, 0),
        ("indexOf", [Value::Text(part), Value::Integer(from)]) => find(text_, part, *from),
        ("lastIndexOf", [Value::Text(part)]) => Ok(find_last(text_, part, None)),
        ("lastIndexOf", [Value::Text(part), Value::Integer(from)]) => {
            let count = text_.chars().count();
            let from = usize::try_from(*from).ok().filter(|&from| from < count).ok_or(OUT_OF_RANGE)?;
            Ok(find_last(text_, part, Some(from)))
        }
        _ => Err(NO_OVERLOAD),
    }
}

fn char_at(text_: &str, at: i64) -> Result<Value, Fault> {
    let count = text_.chars().count();
    let at = usize::try_from(at).ok().filter(|&at| at <= count).ok_or(OUT_OF_RANGE)?;
    text(text_.chars().nth(at).map(String::from).unwrap_or_default())
}

fn substring(text_: &str, from: i64, to: Option<i64>) -> Result<Value, Fault> {
    let count = text_.chars().count();
    let inside = |at: i64| usize::try_from(at).ok().filter(|&at| at <= count).ok_or(OUT_OF_RANGE);
    let (from, to) = (inside(from)?, to.map_or(Ok(count), inside)?);
    if from > to {
        return Err(OUT_OF_RANGE);
    }
    text(text_.chars().skip(from).take(to - from).collect())
}

/// Go's strings.Replace; a negative limit is none.
fn replace(text_: &str, old: &str, new: &str, limit: i64) -> Result<Value, Fault> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let found = if old.is_empty() { text_.chars().count() + 1 } else { text_.matches(old).count() };
    if text_.len() + found.min(limit).saturating_mul(new.len()) > TEXT_BYTES_MAX {
        return Err("text too long");
    }
    text(text_.replacen(old, new, limit))
}

/// Go's strings.SplitN; a negative limit is none, 0 gives nothing.
fn split(text_: &str, separator: &str, limit: i64) -> Value {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut parts: Vec<Value> = Vec::new();
    let mut rest = text_;
    loop {
        let cut = match (separator.is_empty(), rest.chars().next()) {
            _ if parts.len() + 1 >= limit => None,
            (true, Some(first)) => Some((first.len_utf8(), 0)).filter(|(at, _)| *at < rest.len()),
            (true, None) => None,
            (false, _) => rest.find(separator).map(|at| (at, separator.len())),
        };
        let Some((at, skipped)) = cut else { break };
        parts.push(Value::text(&rest[..at]));
        rest = &rest[at + skipped..];
    }
    if limit > 0 && !(separator.is_empty() && rest.is_empty()) {
        parts.push(Value::text(rest));
    }
    Value::List(parts.into())
}

fn find(text_: &str, part: &str, from: i64) -> Result<Value, Fault> {
    let count = text_.chars().count();
    let from = usize::try_from(from).ok().filter(|&from| from <= count).ok_or(OUT_OF_RANGE)?;
    let skipped: usize = text_.chars().take(from).map(char::len_utf8).sum();
    let found = text_[skipped..].find(part).map(|at| from + text_[skipped..skipped + at].chars().count());
    Ok(found.map_or(Value::Integer(-1), integer))
}

fn find_last(text_: &str, part: &str, from: Option<usize>) -> Value {
    let starts = text_.char_indices().map(|(at, _)| at).chain([text_.len()]);
    let last = starts
        .enumerate()
        .filter(|&(index, at)| from.is_none_or(|from| index <= from) && text_[at..].starts_with(part));
    last.last().map_or(Value::Integer(-1), |(index, _)| integer(index))
}

fn of_list(function: &str, items: &[Value], rest: &[Value]) -> Result<Value, Fault> {
    match (function, rest) {
        ("size", []) => Ok(integer(items.len())),
        ("join", []) => join(items, ""),
        ("join", [Value::Text(separator)]) => join(items, separator),
        ("reverse", []) => Ok(Value::List(items.iter().rev().cloned().collect())),
        ("slice", [Value::Integer(from), Value::Integer(to)]) => {
            let inside = |at: i64| usize::try_from(at).ok().filter(|&at| at <= items.len());
            let (from, to) = (inside(*from).ok_or(OUT_OF_RANGE)?, inside(*to).ok_or(OUT_OF_RANGE)?);
            items.get(from..to).map(|part| Value::List(part.into())).ok_or(OUT_OF_RANGE)
        }
        ("distinct", []) => {
            let mut kept: Vec<Value> = Vec::new();
            for item in items {
                if kept.len() > 256 {
                    return Err("too much work");
                }
                if !kept.iter().any(|one| one.equals(item)) {
                    kept.push(item.clone());
                }
            }
            Ok(Value::List(kept.into()))
        }
        ("sort", []) => sort(items),
        _ => Err(NO_OVERLOAD),
    }
}

fn join(items: &[Value], separator: &str) -> Result<Value, Fault> {
    let mut joined = String::new();
    for (index, item) in items.iter().enumerate() {
        let Value::Text(part) = item else { return Err(NO_OVERLOAD) };
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(part);
        if joined.len() > TEXT_BYTES_MAX {
            return Err("text too long");
        }
    }
    text(joined)
}

fn sort(items: &[Value]) -> Result<Value, Fault> {
    let mut sorted = items.to_vec();
    for pair in items.windows(2) {
        pair[0].compare(&pair[1])?;
    }
    sorted.sort_by(|a, b| a.compare(b).ok().flatten().unwrap_or(Ordering::Equal));
    Ok(Value::List(sorted.into()))
}

fn convert(function: &str, value: &Value) -> Result<Value, Fault> {
    match (function, value) {
        ("dyn", value) => Ok(value.clone()),
        ("size", Value::Bytes(bytes)) => Ok(integer(bytes.len())),
        ("size", Value::Map(entries)) => Ok(integer(entries.len())),
        ("string", _) => text(show(value)?),
        ("bytes", Value::Text(text_)) => Ok(Value::Bytes(text_.as_bytes().into())),
        ("bytes", Value::Bytes(_))
        | ("bool", Value::Boolean(_))
        | ("int", Value::Integer(_))
        | ("uint", Value::Unsigned(_))
        | ("double", Value::Double(_))
        | ("timestamp", Value::Timestamp(_))
        | ("duration", Value::Duration(_)) => Ok(value.clone()),
        ("bool", Value::Text(text_)) => match &**text_ {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Boolean(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Boolean(false)),
            _ => Err("no boolean"),
        },
        ("int", Value::Unsigned(number)) => i64::try_from(*number).map(Value::Integer).map_err(|_| OVERFLOW),
        ("int", Value::Double(number)) if number.abs() < 9.223_372_036_854_775e18 => {
            Ok(Value::Integer(*number as i64))
        }
        ("int", Value::Text(text_)) => text_.parse().map(Value::Integer).map_err(|_| "no integer"),
        ("int", Value::Timestamp(nanoseconds)) => {
            i64::try_from(nanoseconds.div_euclid(1_000_000_000)).map(Value::Integer).map_err(|_| OVERFLOW)
        }
        ("uint", Value::Integer(number)) => u64::try_from(*number).map(Value::Unsigned).map_err(|_| OVERFLOW),
        ("uint", Value::Double(number)) if (0.0..1.844_674_407_370_955e19).contains(number) => {
            Ok(Value::Unsigned(*number as u64))
        }
        ("uint", Value::Text(text_)) => text_.parse().map(Value::Unsigned).map_err(|_| "no integer"),
        ("double", Value::Integer(number)) => Ok(Value::Double(*number as f64)),
        ("double", Value::Unsigned(number)) => Ok(Value::Double(*number as f64)),
        ("double", Value::Text(text_)) => text_.parse().map(Value::Double).map_err(|_| "no number"),
        ("timestamp", Value::Integer(seconds)) => Ok(Value::Timestamp(i128::from(*seconds) * 1_000_000_000)),
        ("timestamp", Value::Text(text_)) => {
            times::parse_timestamp(text_).map(Value::Timestamp).ok_or("no timestamp")
        }
        ("duration", Value::Text(text_)) => {
            times::parse_duration(text_).map(Value::Duration).ok_or("no duration")
        }
        ("int" | "uint", Value::Double(_)) => Err(OVERFLOW),
        _ => Err(NO_OVERLOAD),
    }
}

fn show(value: &Value) -> Result<String, Fault> {
    Ok(match value {
        Value::Boolean(value) => value.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Unsigned(number) => number.to_string(),
        Value::Double(number) => show_double(*number),
        Value::Text(text_) => text_.to_string(),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|_| "no text")?.to_owned(),
        Value::Timestamp(nanoseconds) => times::show_timestamp(*nanoseconds),
        Value::Duration(nanoseconds) => format!("{}s", *nanoseconds as f64 / 1e9),
        _ => return Err(NO_OVERLOAD),
    })
}

/// Go's shortest form with `%g`.
pub fn show_double(number: f64) -> String {
    if !number.is_finite() {
        return if number.is_nan() {
            "NaN"
        } else if number > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        }
        .to_owned();
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // Go takes %e from 1e6 on for the shortest form (strconv/ftoa.go: eprec).
    if (-4..6).contains(&exponent) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

fn calculate(name: &str, values: &[Value]) -> Result<Value, Fault> {
    if matches!(name, "greatest" | "least") {
        return extreme(values, if name == "greatest" { Ordering::Greater } else { Ordering::Less });
    }
    match (name, values) {
        ("ceil", [Value::Double(number)]) => Ok(Value::Double(number.ceil())),
        ("floor", [Value::Double(number)]) => Ok(Value::Double(number.floor())),
        ("round", [Value::Double(number)]) => Ok(Value::Double(number.round())),
        ("trunc", [Value::Double(number)]) => Ok(Value::Double(number.trunc())),
        ("isInf", [Value::Double(number)]) => Ok(Value::Boolean(number.is_infinite())),
        ("isNaN", [Value::Double(number)]) => Ok(Value::Boolean(number.is_nan())),
        ("isFinite", [Value::Double(number)]) => Ok(Value::Boolean(number.is_finite())),
        ("abs", [Value::Double(number)]) => Ok(Value::Double(number.abs())),
        ("abs", [Value::Integer(number)]) => number.checked_abs().map(Value::Integer).ok_or(OVERFLOW),
        ("abs", [Value::Unsigned(number)]) => Ok(Value::Unsigned(*number)),
        ("sign", [Value::Integer(number)]) => Ok(Value::Integer(number.signum())),
        ("sign", [Value::Unsigned(number)]) => Ok(Value::Unsigned((*number).min(1))),
        ("sign", [Value::Double(number)]) => {
            let zero_or_nan = *number == 0.0 || number.is_nan();
            Ok(Value::Double(if zero_or_nan { *number } else { number.signum() }))
        }
        _ => Err(NO_OVERLOAD),
    }
}

fn extreme(values: &[Value], wanted: Ordering) -> Result<Value, Fault> {
    let items = match values {
        [Value::List(items)] => items,
        _ => values,
    };
    let (first, rest) = items.split_first().ok_or(NO_OVERLOAD)?;
    let mut best = first;
    for value in rest {
        if value.compare(best)? == Some(wanted) {
            best = value;
        }
    }
    Ok(best.clone())
}
