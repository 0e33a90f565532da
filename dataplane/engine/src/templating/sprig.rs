//! Sprig's functions by a table of names (github.com/Masterminds/sprig/v3). What is not in it is refused by name.
//!
//! Times are UTC. Rule: a function that multiplies its input charges what it makes before it makes it.

use super::arguments::{dict, float, get, int, list, text, time};
use super::evaluating::Evaluation;
use super::values::Value;
use super::{Failure, escaping, sprig_dates, sprig_numbers, sprig_structures, sprig_texts};
use crate::limits::TEMPLATE_ITEMS_MAX;
use std::collections::BTreeMap;

pub type Outcome = Result<Value, Failure>;
pub type Function = fn(&mut Evaluation, &[Value]) -> Outcome;
/// Functions by name, in order.
pub type Table = &'static [(&'static str, Function)];

/// Names that do what another one does, in order: Sprig's `must…` fail where the others panic, and both end the page.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("dateInZone", "date_in_zone"),
    ("dateModify", "date_modify"),
    ("mustAppend", "append"),
    ("mustChunk", "chunk"),
    ("mustCompact", "compact"),
    ("mustDeepCopy", "deepCopy"),
    ("mustFirst", "first"),
    ("mustHas", "has"),
    ("mustInitial", "initial"),
    ("mustLast", "last"),
    ("mustMerge", "merge"),
    ("mustMergeOverwrite", "mergeOverwrite"),
    ("mustPrepend", "prepend"),
    ("mustPush", "append"),
    ("mustRegexFind", "regexFind"),
    ("mustRegexFindAll", "regexFindAll"),
    ("mustRegexReplaceAll", "regexReplaceAll"),
    ("mustRegexReplaceAllLiteral", "regexReplaceAllLiteral"),
    ("mustRegexSplit", "regexSplit"),
    ("mustRest", "rest"),
    ("mustReverse", "reverse"),
    ("mustSlice", "slice"),
    ("mustToJson", "toJson"),
    ("mustToPrettyJson", "toPrettyJson"),
    ("mustToRawJson", "toRawJson"),
    ("mustUniq", "uniq"),
    ("mustWithout", "without"),
    ("must_date_modify", "mustDateModify"),
    ("osBase", "base"),
    ("osClean", "clean"),
    ("osDir", "dir"),
    ("osExt", "ext"),
    ("osIsAbs", "isAbs"),
    ("push", "append"),
    ("trimall", "trimAll"),
    ("tuple", "list"),
    ("typeIsLike", "typeIs"),
];

const TABLES: [Table; 5] = [
    FUNCTIONS,
    sprig_dates::FUNCTIONS,
    sprig_numbers::FUNCTIONS,
    sprig_structures::FUNCTIONS,
    sprig_texts::FUNCTIONS,
];

const FUNCTIONS: Table = &[
    ("abbrev", |_, a| {
        let (width, text) = (int(a, 0)?, text(a, 1)?);
        let width = usize::try_from(width).unwrap_or(0);
        Ok(if width < 4 || text.len() <= width { text } else { cut(&text, 0, width - 3) + "..." }.into())
    }),
    ("add", |_, a| fold(a, 0, i64::wrapping_add)),
    ("add1", |_, a| Ok(Value::Int(int(a, 0)?.wrapping_add(1)))),
    ("all", |_, a| Ok(Value::Bool(a.iter().all(Value::is_true)))),
    ("any", |_, a| Ok(Value::Bool(a.iter().any(Value::is_true)))),
    ("append", |_, a| Ok(Value::list(list(a, 0)?.into_iter().chain([get(a, 1)?.clone()])))),
    ("atoi", |_, a| Ok(Value::Int(text(a, 0)?.parse().unwrap_or(0)))),
    ("base", |_, a| {
        let text = text(a, 0)?;
        let trimmed = text.trim_end_matches('/');
        let own = trimmed.rsplit('/').next().unwrap_or("");
        Ok(if text.is_empty() {
            "."
        } else if own.is_empty() {
            "/"
        } else {
            own
        }
        .into())
    }),
    ("biggest", |_, a| fold(a, i64::MIN, i64::max)),
    ("camelcase", |_, a| Ok(words(&text(a, 0)?).iter().map(|word| capital(word)).collect::<String>().into())),
    ("cat", |_, a| {
        let shown: Vec<String> = a.iter().filter(|v| !matches!(v, Value::Nil)).map(Value::text).collect();
        Ok(shown.join(" ").into())
    }),
    ("ceil", |_, a| Ok(Value::Float(float(a, 0)?.ceil()))),
    ("coalesce", |_, a| Ok(a.iter().find(|value| value.is_true()).cloned().unwrap_or(Value::Nil))),
    ("compact", |_, a| Ok(Value::list(list(a, 0)?.into_iter().filter(Value::is_true)))),
    ("concat", |_, a| {
        let lists = (0..a.len()).map(|index| list(a, index)).collect::<Result<Vec<_>, _>>()?;
        Ok(Value::list(lists.into_iter().flatten()))
    }),
    ("contains", |_, a| Ok(Value::Bool(text(a, 1)?.contains(&text(a, 0)?)))),
    ("default", |_, a| Ok(a.get(1).filter(|value| value.is_true()).unwrap_or(get(a, 0)?).clone())),
    ("dict", |_, a| {
        let pairs = a.chunks(2).map(|pair| (pair[0].text(), pair.get(1).cloned().unwrap_or("".into())));
        Ok(Value::dict(pairs))
    }),
    ("dir", |_, a| {
        let text = text(a, 0)?;
        Ok(match text.rsplit_once('/') {
            None => ".".into(),
            Some(("", _)) => "/".into(),
            Some((directory, _)) => directory.trim_end_matches('/').into(),
        })
    }),
    ("div", |_, a| match int(a, 1)? {
        0 => Failure::new("division by zero"),
        by => Ok(Value::Int(int(a, 0)?.wrapping_div(by))),
    }),
    ("empty", |_, a| Ok(Value::Bool(get(a, 0)?.is_empty()))),
    ("ext", |_, a| {
        let text = text(a, 0)?;
        let own = text.rsplit('/').next().unwrap_or("");
        Ok(own.rfind('.').map_or("", |at| &own[at..]).into())
    }),
    ("fail", |_, a| Failure::new(text(a, 0)?)),
    ("first", |_, a| Ok(list(a, 0)?.first().cloned().unwrap_or(Value::Nil))),
    ("float64", |_, a| Ok(Value::Float(float(a, 0)?))),
    ("floor", |_, a| Ok(Value::Float(float(a, 0)?.floor()))),
    ("get", |_, a| Ok(dict(a, 0)?.borrow().get(&text(a, 1)?).cloned().unwrap_or("".into()))),
    ("has", |_, a| {
        let wanted = get(a, 0)?;
        Ok(Value::Bool(list(a, 1)?.iter().any(|value| value.same(wanted, 0))))
    }),
    ("hasKey", |_, a| Ok(Value::Bool(dict(a, 0)?.borrow().contains_key(&text(a, 1)?)))),
    ("hasPrefix", |_, a| Ok(Value::Bool(text(a, 1)?.starts_with(&text(a, 0)?)))),
    ("hasSuffix", |_, a| Ok(Value::Bool(text(a, 1)?.ends_with(&text(a, 0)?)))),
    ("indent", |e, a| indent(e, a, "")),
    ("initial", |_, a| {
        let mut values = list(a, 0)?;
        values.pop();
        Ok(Value::list(values))
    }),
    ("initials", |_, a| {
        Ok(text(a, 0)?.split_whitespace().filter_map(|word| word.chars().next()).collect::<String>().into())
    }),
    ("int", |_, a| Ok(Value::Int(int(a, 0)?))),
    ("int64", |_, a| Ok(Value::Int(int(a, 0)?))),
    ("join", |_, a| {
        let parts: Vec<String> = match get(a, 1)? {
            Value::List(values) => {
                values.iter().filter(|value| !matches!(value, Value::Nil)).map(Value::text).collect()
            }
            other => vec![other.text()],
        };
        Ok(parts.join(&text(a, 0)?).into())
    }),
    ("kebabcase", |_, a| Ok(words(&text(a, 0)?).join("-").into())),
    ("keys", |_, a| {
        let dicts = (0..a.len()).map(|index| dict(a, index)).collect::<Result<Vec<_>, _>>()?;
        let keys = dicts.iter().flat_map(|dict| dict.borrow().keys().cloned().collect::<Vec<_>>());
        Ok(Value::list(keys.map(Value::from)))
    }),
    ("kindIs", |_, a| Ok(Value::Bool(kind(get(a, 1)?) == text(a, 0)?))),
    ("kindOf", |_, a| Ok(kind(get(a, 0)?).into())),
    ("last", |_, a| Ok(list(a, 0)?.last().cloned().unwrap_or(Value::Nil))),
    ("list", |_, a| Ok(Value::list(a.iter().cloned()))),
    ("lower", |_, a| Ok(text(a, 0)?.to_lowercase().into())),
    ("max", |_, a| fold(a, i64::MIN, i64::max)),
    ("min", |_, a| fold(a, i64::MAX, i64::min)),
    ("mod", |_, a| match int(a, 1)? {
        0 => Failure::new("division by zero"),
        by => Ok(Value::Int(int(a, 0)?.wrapping_rem(by))),
    }),
    ("mul", |_, a| fold(a, 1, i64::wrapping_mul)),
    ("nindent", |e, a| indent(e, a, "\n")),
    ("nospace", |_, a| Ok(text(a, 0)?.split_whitespace().collect::<String>().into())),
    ("now", |e, _| Ok(Value::Time((e.exchange.now.unix_ms / 1000) as i64))),
    ("omit", |_, a| choose(a, false)),
    ("pick", |_, a| choose(a, true)),
    ("pluck", |_, a| {
        let key = text(a, 0)?;
        let dicts = (1..a.len()).map(|index| dict(a, index)).collect::<Result<Vec<_>, _>>()?;
        Ok(Value::list(dicts.iter().filter_map(|dict| dict.borrow().get(&key).cloned()).collect::<Vec<_>>()))
    }),
    ("plural", |_, a| Ok(if int(a, 2)? == 1 { text(a, 0)? } else { text(a, 1)? }.into())),
    ("prepend", |_, a| Ok(Value::list([get(a, 1)?.clone()].into_iter().chain(list(a, 0)?)))),
    ("quote", |_, a| Ok(quoted(a, escaping::quote).into())),
    ("repeat", |e, a| {
        let (count, text) = (usize::try_from(int(a, 0)?).unwrap_or(0), text(a, 1)?);
        e.spend_bytes(text.len().saturating_mul(count))?;
        Ok(text.repeat(count).into())
    }),
    ("replace", |e, a| {
        let (old, new, text) = (text(a, 0)?, text(a, 1)?, text(a, 2)?);
        e.spend_bytes((text.len() + 1).saturating_mul(new.len() + 1))?;
        Ok(text.replace(&old, &new).into())
    }),
    ("rest", |_, a| Ok(Value::list(list(a, 0)?.into_iter().skip(1)))),
    ("reverse", |_, a| Ok(Value::list(list(a, 0)?.into_iter().rev()))),
    ("round", |_, a| {
        let power = 10f64.powi(i32::try_from(int(a, 1)?.clamp(-300, 300)).unwrap_or(0));
        Ok(Value::Float((float(a, 0)? * power).round() / power))
    }),
    ("seq", |e, a| {
        let bounds = (0..a.len()).map(|index| int(a, index)).collect::<Result<Vec<_>, _>>()?;
        let (start, step, end) = match bounds[..] {
            [end] => (1, if end < 1 { -1 } else { 1 }, end),
            [start, end] => (start, if end < start { -1 } else { 1 }, end),
            [start, step, end] => (start, step, end),
            _ => return Ok("".into()),
        };
        let shown: Vec<String> =
            steps(e, start, step, end.saturating_add(step.signum()))?.map(|n| n.to_string()).collect();
        Ok(shown.join(" ").into())
    }),
    ("set", |_, a| {
        let target = dict(a, 0)?;
        target.borrow_mut().insert(text(a, 1)?, get(a, 2)?.clone());
        Ok(Value::Dict(target))
    }),
    ("slice", |_, a| {
        let values = list(a, 0)?;
        let end = if a.len() > 2 { int(a, 2)? } else { values.len() as i64 };
        let start = if a.len() > 1 { int(a, 1)? } else { 0 };
        match (usize::try_from(start), usize::try_from(end)) {
            (Ok(start), Ok(end)) if start <= end && end <= values.len() => {
                Ok(Value::list(values[start..end].iter().cloned()))
            }
            _ => Failure::new("slice bounds out of range"),
        }
    }),
    ("snakecase", |_, a| Ok(words(&text(a, 0)?).join("_").into())),
    ("sortAlpha", |_, a| {
        let mut shown: Vec<String> = list(a, 0)?.iter().map(Value::text).collect();
        shown.sort();
        Ok(Value::list(shown.into_iter().map(Value::from)))
    }),
    ("split", |_, a| {
        let (by, text) = (text(a, 0)?, text(a, 1)?);
        Ok(Value::dict(
            parts(&by, &text).into_iter().enumerate().map(|(at, part)| (format!("_{at}"), part.into())),
        ))
    }),
    ("splitList", |_, a| Ok(Value::list(parts(&text(a, 0)?, &text(a, 1)?).into_iter().map(Value::from)))),
    ("squote", |_, a| Ok(quoted(a, |text| format!("'{text}'")).into())),
    ("sub", |_, a| Ok(Value::Int(int(a, 0)?.wrapping_sub(int(a, 1)?)))),
    ("substr", |_, a| {
        let (start, end, text) = (int(a, 0)?, int(a, 1)?, text(a, 2)?);
        let start = usize::try_from(start).unwrap_or(0);
        let end = usize::try_from(end).map_or(text.len(), |end| end.min(text.len()));
        Ok(cut(&text, start, end).into())
    }),
    ("ternary", |_, a| match get(a, 2)? {
        Value::Bool(first) => Ok(if *first { get(a, 0)? } else { get(a, 1)? }.clone()),
        other => Failure::new(format!("wrong type for value; expected bool; got {}", other.kind())),
    }),
    ("title", |_, a| {
        // strings.Title: whatever is no letter, digit or underscore of ASCII stands between words.
        let parts = |character: char| match character.is_ascii() {
            true => !character.is_ascii_alphanumeric() && character != '_',
            false => character.is_whitespace(),
        };
        Ok(change_initials(&text(a, 0)?, char::to_uppercase, parts).into())
    }),
    ("toString", |_, a| Ok(get(a, 0)?.text().into())),
    ("toStrings", |_, a| {
        Ok(Value::list(list(a, 0)?.iter().map(|value| value.text().into()).collect::<Vec<_>>()))
    }),
    ("trim", |_, a| Ok(text(a, 0)?.trim().into())),
    ("trimAll", |_, a| {
        let set = text(a, 0)?;
        Ok(text(a, 1)?.trim_matches(|character| set.contains(character)).into())
    }),
    ("trimPrefix", |_, a| {
        let (prefix, text) = (text(a, 0)?, text(a, 1)?);
        Ok(text.strip_prefix(&*prefix).unwrap_or(&text).into())
    }),
    ("trimSuffix", |_, a| {
        let (suffix, text) = (text(a, 0)?, text(a, 1)?);
        Ok(text.strip_suffix(&*suffix).unwrap_or(&text).into())
    }),
    ("trunc", |_, a| {
        let (count, text) = (int(a, 0)?, text(a, 1)?);
        let size = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX).min(text.len());
        Ok(if count < 0 { cut(&text, text.len() - size, text.len()) } else { cut(&text, 0, size) }.into())
    }),
    ("typeOf", |_, a| Ok(get(a, 0)?.kind().into())),
    ("uniq", |e, a| {
        let mut kept: Vec<Value> = Vec::new();
        for value in list(a, 0)? {
            e.spend_bytes(kept.len())?;
            if !kept.iter().any(|known| known.same(&value, 0)) {
                kept.push(value);
            }
        }
        Ok(Value::list(kept))
    }),
    ("unixEpoch", |_, a| Ok(time(a, 0)?.to_string().into())),
    ("unset", |_, a| {
        let target = dict(a, 0)?;
        target.borrow_mut().remove(&text(a, 1)?);
        Ok(Value::Dict(target))
    }),
    ("until", |e, a| {
        let end = int(a, 0)?;
        Ok(Value::list(steps(e, 0, if end < 0 { -1 } else { 1 }, end)?.map(Value::Int)))
    }),
    ("untilStep", |e, a| Ok(Value::list(steps(e, int(a, 0)?, int(a, 2)?, int(a, 1)?)?.map(Value::Int)))),
    ("untitle", |_, a| Ok(change_initials(&text(a, 0)?, char::to_lowercase, char::is_whitespace).into())),
    ("upper", |_, a| Ok(text(a, 0)?.to_uppercase().into())),
    ("values", |_, a| Ok(Value::list(dict(a, 0)?.borrow().values().cloned().collect::<Vec<_>>()))),
    ("without", |_, a| {
        let values = list(a, 0)?;
        Ok(Value::list(values.into_iter().filter(|value| !a[1..].iter().any(|other| other.same(value, 0)))))
    }),
];

pub fn knows(name: &str) -> bool {
    find(name).is_some()
}

fn find(name: &str) -> Option<Function> {
    let other = OTHER_NAMES.binary_search_by_key(&name, |(known, _)| known);
    let name = other.map_or(name, |index| OTHER_NAMES[index].1);
    TABLES.iter().find_map(|table| {
        table.binary_search_by_key(&name, |(known, _)| known).ok().map(|index| table[index].1)
    })
}

pub fn call(evaluation: &mut Evaluation, name: &str, arguments: &[Value]) -> Outcome {
    match find(name) {
        Some(function) => function(evaluation, arguments),
        None => Failure::new("not defined"),
    }
}

fn fold(arguments: &[Value], start: i64, step: fn(i64, i64) -> i64) -> Outcome {
    let mut total = start;
    for index in 0..arguments.len() {
        total = step(total, int(arguments, index)?);
    }
    Ok(Value::Int(total))
}

fn steps(
    evaluation: &mut Evaluation,
    start: i64,
    step: i64,
    end: i64,
) -> Result<impl Iterator<Item = i64> + use<>, Failure> {
    let span = i128::from(end) - i128::from(start);
    let count = match i128::from(step) {
        0 => 0,
        step if span.signum() == step.signum() => (span.abs() + step.abs() - 1) / step.abs(),
        _ => 0,
    };
    let count = usize::try_from(count).ok().filter(|count| *count <= TEMPLATE_ITEMS_MAX);
    let Some(count) = count else { return Failure::new("too many items") };
    evaluation.spend_bytes(count * 32)?;
    Ok((0..count as i64).map(move |index| start + index * step))
}

/// Bytes of a text, as Go slices it.
fn cut(text: &str, start: usize, end: usize) -> String {
    let end = end.min(text.len());
    String::from_utf8_lossy(&text.as_bytes()[start.min(end)..end]).into_owned()
}

fn parts(by: &str, text: &str) -> Vec<String> {
    match by {
        "" => text.chars().map(String::from).collect(),
        by => text.split(by).map(str::to_owned).collect(),
    }
}

/// Changes the first character of each word; words stand between characters that part them.
fn change_initials<I: Iterator<Item = char>>(
    text: &str,
    change: fn(char) -> I,
    parts: fn(char) -> bool,
) -> String {
    let mut changed = String::with_capacity(text.len());
    let mut begins = true;
    for character in text.chars() {
        match begins {
            true => changed.extend(change(character)),
            false => changed.push(character),
        }
        begins = parts(character);
    }
    changed
}

fn quoted(arguments: &[Value], quote: fn(&str) -> String) -> String {
    let shown = arguments.iter().filter(|value| !matches!(value, Value::Nil));
    shown.map(|value| quote(&value.text())).collect::<Vec<_>>().join(" ")
}

fn indent(evaluation: &mut Evaluation, arguments: &[Value], before: &str) -> Outcome {
    let (width, text) = (usize::try_from(int(arguments, 0)?).unwrap_or(0), text(arguments, 1)?);
    let lines = 1 + text.matches('\n').count();
    evaluation.spend_bytes(width.saturating_mul(lines))?;
    let blanks = " ".repeat(width);
    Ok(format!("{before}{blanks}{}", text.replace('\n', &format!("\n{blanks}"))).into())
}

fn choose(arguments: &[Value], keeps: bool) -> Outcome {
    let from = dict(arguments, 0)?;
    let keys: Vec<String> = arguments[1..].iter().map(Value::text).collect();
    let entries: BTreeMap<String, Value> = from
        .borrow()
        .iter()
        .filter(|(key, _)| keys.contains(key) == keeps)
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    Ok(Value::dict(entries))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "invalid",
        Value::List(_) => "slice",
        Value::Dict(_) => "map",
        Value::Time(_) => "struct",
        Value::Object(_) => "ptr",
        other => other.kind(),
    }
}

/// Words of an identifier, lower case.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut after_lower = false;
    for character in text.chars() {
        if !character.is_alphanumeric() || (character.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        if character.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(character.to_lowercase());
        }
        after_lower = character.is_lowercase() || character.is_ascii_digit();
    }
    words.retain(|word| !word.is_empty());
    words
}

fn capital(word: &str) -> String {
    let mut characters = word.chars();
    let first: String = characters.next().into_iter().flat_map(char::to_uppercase).collect();
    first + characters.as_str()
}

#[cfg(test)]
mod table {
    use super::*;

    #[test]
    fn tables_are_sorted_and_other_names_lead_to_functions() {
        for table in TABLES {
            assert!(table.is_sorted_by_key(|(name, _)| *name));
        }
        assert!(OTHER_NAMES.is_sorted());
        for (name, meant) in OTHER_NAMES {
            assert!(find(name).is_some() && find(meant).is_some(), "{name}");
        }
    }
}
