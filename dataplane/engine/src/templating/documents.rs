//! `splitFrontMatter`: YAML, TOML or JSON before a document's body (Caddy: frontmatter.go).

use super::values::Value;
use super::{Failure, times};
use saphyr::{Scalar, ScalarStyle, Yaml, YamlLoader};
use saphyr_parser::Parser;

/// Values in each other: a front matter is a page's head, not a data set.
const DEPTH_MAX: usize = 32;

/// What a plain scalar is a time by (yaml.v3: resolve.go allowedTimestampFormats).
const YAML_TIMES: &[&str] =
    &["2006-1-2", "2006-1-2T15:4:5Z07:00", "2006-1-2t15:4:5Z07:00", "2006-1-2 15:4:5"];
/// A time without a date stays a text.
const TOML_TIMES: &[&str] = &["2006-01-02", "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05"];

/// (meta, body); an empty meta where none is there.
pub fn split(text: &str) -> Result<(Value, String), Failure> {
    let Some((first, rest)) = first_line(text) else { return Ok((Value::dict([]), text.to_owned())) };
    let fences: &[&str] = match first {
        "---" => &["\n---", "\n..."],
        "+++" => &["\n+++"],
        "{" => &["\n}"],
        _ => return Ok((Value::dict([]), text.to_owned())),
    };
    let found = fences.iter().find_map(|fence| rest.find(fence).map(|at| (at, fence.len())));
    let Some((at, length)) = found else { return Failure::new("unterminated front matter") };
    let (matter, body) = (&rest[..=at], &rest[at + length..]);
    let meta = match first {
        "---" => read_yaml(matter)?,
        "+++" => read_toml(matter)?,
        _ => read_json(&format!("{{{matter}}}"))?,
    };
    Ok((meta, body.to_owned()))
}

/// The first line that is not blank, and what follows, its line end included.
fn first_line(text: &str) -> Option<(&str, &str)> {
    let mut at = 0;
    loop {
        let end = at + text[at..].find('\n')?;
        let line = text[at..end].trim();
        if !line.is_empty() {
            return Some((line, &text[end..]));
        }
        at = end + 1;
    }
}

fn read_yaml(text: &str) -> Result<Value, Failure> {
    let mut loader = YamlLoader::<Yaml>::default();
    // Scalars stay as they are written: a plain date is a time, a quoted one a text.
    loader.early_parse(false);
    let loaded = Parser::new_from_str(text).load(&mut loader, true);
    if let Some(error) = loaded.err().or_else(|| loader.error().cloned()) {
        return Failure::new(format!("YAML: {error}"));
    }
    match loader.into_documents().into_iter().next() {
        None => Ok(Value::dict([])),
        Some(document) => of_yaml(&document, 0),
    }
}

fn of_yaml(node: &Yaml, depth: usize) -> Result<Value, Failure> {
    if depth > DEPTH_MAX {
        return Failure::new("front matter is nested too deep");
    }
    Ok(match node {
        Yaml::Value(Scalar::Null) => Value::Nil,
        Yaml::Value(Scalar::Boolean(value)) => Value::Bool(*value),
        Yaml::Value(Scalar::Integer(value)) => Value::Int(*value),
        Yaml::Value(Scalar::FloatingPoint(value)) => Value::Float(value.into_inner()),
        Yaml::Value(Scalar::String(text)) => text.as_ref().into(),
        Yaml::Representation(text, style, tag) => {
            let plain = *style == ScalarStyle::Plain && tag.is_none();
            match times::parse_any(text, YAML_TIMES).filter(|_| plain) {
                Some(seconds) => Value::Time(seconds),
                None => {
                    of_yaml(&Yaml::value_from_cow_and_metadata(text.clone(), *style, tag.as_ref()), depth)?
                }
            }
        }
        Yaml::Sequence(values) => {
            Value::list(values.iter().map(|value| of_yaml(value, depth + 1)).collect::<Result<Vec<_>, _>>()?)
        }
        Yaml::Mapping(entries) => {
            let entry = |(key, value): (&Yaml, &Yaml)| {
                Ok((of_yaml(key, depth + 1)?.text(), of_yaml(value, depth + 1)?))
            };
            Value::dict(entries.iter().map(entry).collect::<Result<Vec<_>, Failure>>()?)
        }
        Yaml::Tagged(_, inner) => of_yaml(inner, depth + 1)?,
        Yaml::Alias(_) | Yaml::BadValue => return Failure::new("YAML of an unknown kind"),
    })
}

fn read_toml(text: &str) -> Result<Value, Failure> {
    let table: toml::Table = text.parse().map_err(|error| Failure::at(0, format!("TOML: {error}")))?;
    of_toml(&toml::Value::Table(table), 0)
}

fn of_toml(node: &toml::Value, depth: usize) -> Result<Value, Failure> {
    if depth > DEPTH_MAX {
        return Failure::new("front matter is nested too deep");
    }
    Ok(match node {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(value) => Value::Int(*value),
        toml::Value::Float(value) => Value::Float(*value),
        toml::Value::Boolean(value) => Value::Bool(*value),
        toml::Value::Datetime(value) => {
            let text = value.to_string();
            times::parse_any(&text, TOML_TIMES).map_or_else(|| text.into(), Value::Time)
        }
        toml::Value::Array(values) => {
            Value::list(values.iter().map(|value| of_toml(value, depth + 1)).collect::<Result<Vec<_>, _>>()?)
        }
        toml::Value::Table(entries) => {
            let entry = |(key, value): (&String, &toml::Value)| Ok((key.clone(), of_toml(value, depth + 1)?));
            Value::dict(entries.iter().map(entry).collect::<Result<Vec<_>, Failure>>()?)
        }
    })
}

/// JSON as Go reads it into `any`: all numbers are float64.
pub fn read_json(text: &str) -> Result<Value, Failure> {
    let node: serde_json::Value =
        serde_json::from_str(text).map_err(|error| Failure::at(0, format!("JSON: {error}")))?;
    Ok(of_json(&node))
}

/// The parser bounds the depth.
fn of_json(node: &serde_json::Value) -> Value {
    match node {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => Value::Float(number.as_f64().unwrap_or(0.0)),
        serde_json::Value::String(text) => text.as_str().into(),
        serde_json::Value::Array(values) => Value::list(values.iter().map(of_json)),
        serde_json::Value::Object(entries) => {
            Value::dict(entries.iter().map(|(key, value)| (key.clone(), of_json(value))))
        }
    }
}
