//! Sprig's lists, dicts, JSON and reflection (list.go, dict.go, defaults.go, reflect.go).

use super::arguments::{dict, get, int, list, text};
use super::evaluating::Evaluation;
use super::formatting::print;
use super::sprig::{Outcome, Table};
use super::values::{Dict, Value};
use super::{Failure, documents};

/// Values in each other; a dict may hold itself.
const DEPTH_MAX: usize = 64;

pub const FUNCTIONS: Table = &[
    ("chunk", |_, a| {
        let (size, values) = (int(a, 0)?, list(a, 1)?);
        match usize::try_from(size) {
            Ok(size) if size > 0 => {
                Ok(Value::list(values.chunks(size).map(|chunk| Value::list(chunk.iter().cloned()))))
            }
            _ => Failure::new(format!("{size} is no size of a chunk")),
        }
    }),
    ("deepCopy", |e, a| copy(e, get(a, 0)?, 0)),
    ("deepEqual", |_, a| Ok(Value::Bool(get(a, 0)?.same(get(a, 1)?, 0)))),
    ("dig", |_, a| {
        let [keys @ .., default, target] = a else {
            return Failure::new("dig needs at least three arguments");
        };
        if keys.is_empty() {
            return Failure::new("dig needs at least three arguments");
        }
        let mut found = target.clone();
        for index in 0..keys.len() {
            let key = text(keys, index)?;
            let next = match &found {
                Value::Dict(entries) => entries.borrow().get(&key).cloned(),
                other => return Failure::new(format!("{} is no dict", other.kind())),
            };
            match next {
                Some(next) => found = next,
                None => return Ok(default.clone()),
            }
        }
        Ok(found)
    }),
    ("fromJson", |_, a| Ok(documents::read_json(&text(a, 0)?).unwrap_or(Value::Nil))),
    ("merge", |e, a| merge_all(e, a, false)),
    ("mergeOverwrite", |e, a| merge_all(e, a, true)),
    ("mustFromJson", |_, a| documents::read_json(&text(a, 0)?)),
    ("toJson", |_, a| Ok(escape_html(to_json(get(a, 0)?, 0)?.to_string()).into())),
    ("toPrettyJson", |_, a| {
        let shown = serde_json::to_string_pretty(&to_json(get(a, 0)?, 0)?);
        shown.map_or_else(|error| Failure::new(error.to_string()), |text| Ok(escape_html(text).into()))
    }),
    ("toRawJson", |_, a| Ok(to_json(get(a, 0)?, 0)?.to_string().into())),
    ("typeIs", |_, a| Ok(Value::Bool(get(a, 1)?.kind() == text(a, 0)?))),
];

fn copy(evaluation: &mut Evaluation, value: &Value, depth: usize) -> Outcome {
    if depth > DEPTH_MAX {
        return Failure::new("a value holds itself");
    }
    evaluation.step()?;
    evaluation.spend_bytes(value.weight())?;
    Ok(match value {
        Value::List(values) => {
            let copies = values.iter().map(|value| copy(evaluation, value, depth + 1));
            Value::list(copies.collect::<Result<Vec<_>, _>>()?)
        }
        Value::Dict(entries) => {
            let entries = entries.borrow().clone();
            let copies =
                entries.into_iter().map(|(key, value)| Ok((key, copy(evaluation, &value, depth + 1)?)));
            Value::dict(copies.collect::<Result<Vec<_>, Failure>>()?)
        }
        other => other.clone(),
    })
}

fn merge_all(evaluation: &mut Evaluation, arguments: &[Value], overwrites: bool) -> Outcome {
    let target = dict(arguments, 0)?;
    for index in 1..arguments.len() {
        merge(evaluation, &target, &dict(arguments, index)?, overwrites, 0)?;
    }
    Ok(Value::Dict(target))
}

/// What mergo's Merge and MergeWithOverwrite make of two maps: dicts within go into each other.
fn merge(
    evaluation: &mut Evaluation,
    target: &Dict,
    from: &Dict,
    overwrites: bool,
    depth: usize,
) -> Result<(), Failure> {
    if depth > DEPTH_MAX {
        return Failure::new("a value holds itself");
    }
    let entries = from.borrow().clone();
    for (key, value) in entries {
        evaluation.step()?;
        let known = target.borrow().get(&key).cloned();
        match (&known, &value) {
            (_, Value::Nil) if !overwrites => continue,
            (Some(Value::Dict(known)), Value::Dict(value)) => {
                merge(evaluation, known, value, overwrites, depth + 1)?;
                if !known.borrow().is_empty() {
                    continue;
                }
            }
            _ => {}
        }
        if overwrites || known.is_none_or(|known| known.is_empty()) {
            target.borrow_mut().insert(key, value);
        }
    }
    Ok(())
}

/// What Go's JSON escapes for HTML.
fn escape_html(text: String) -> String {
    match text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        false => text,
        true => text
            .replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026")
            .replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029"),
    }
}

fn to_json(value: &Value, depth: usize) -> Result<serde_json::Value, Failure> {
    if depth > DEPTH_MAX {
        return Failure::new("a value holds itself");
    }
    Ok(match value {
        Value::Nil => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(number) => (*number).into(),
        // Go writes whole floats without a point.
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => (*number as i64).into(),
        Value::Float(number) => (*number).into(),
        Value::List(values) => {
            values.iter().map(|value| to_json(value, depth + 1)).collect::<Result<Vec<_>, _>>()?.into()
        }
        Value::Dict(entries) => {
            let entries = entries.borrow();
            let shown = entries.iter().map(|(key, value)| Ok((key.clone(), to_json(value, depth + 1)?)));
            serde_json::Value::Object(shown.collect::<Result<_, Failure>>()?)
        }
        Value::Time(seconds) => super::times::format(*seconds, "2006-01-02T15:04:05Z07:00").into(),
        other => print(std::slice::from_ref(other)).into(),
    })
}
