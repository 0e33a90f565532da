//! Caddy's own functions (modules/caddyhttp/templates/tplcontext.go): files of the site, placeholders, documents.

use super::evaluating::Evaluation;
use super::objects::{Object, object};
use super::values::Value;
use super::{Failure, documents, escaping, humanizing, inclusions, markdown};
use crate::exchange::Unknown;
use crate::exchange::texts::Placeholder;
use crate::files::opening::{Patience, list, open, read};
use crate::limits::{TEMPLATE_LISTING_MAX, TEMPLATE_SOURCE_BYTES_MAX};
use std::os::fd::AsFd;

pub const NAMES: [&str; 17] = [
    "include",
    "readFile",
    "import",
    "stripHTML",
    "markdown",
    "splitFrontMatter",
    "listFiles",
    "fileStat",
    "fileExists",
    "env",
    "placeholder",
    "ph",
    "httpError",
    "humanize",
    "maybe",
    "pathEscape",
    "httpInclude",
];

/// None: no function of Caddy.
pub fn call(evaluation: &mut Evaluation, name: &str, arguments: &[Value]) -> Option<Result<Value, Failure>> {
    NAMES.contains(&name).then(|| call_known(evaluation, name, arguments))
}

fn call_known(evaluation: &mut Evaluation, name: &str, arguments: &[Value]) -> Result<Value, Failure> {
    Ok(match (name, arguments) {
        ("include", [Value::Text(file), given @ ..]) => {
            let source = evaluation.read_file(file)?;
            let made = evaluation.execute(file, &source, given.to_vec())?;
            made[..].into()
        }
        ("readFile", [Value::Text(file)]) => evaluation.read_file(file)?[..].into(),
        ("import", [Value::Text(file)]) => {
            let source = evaluation.read_file(file)?;
            evaluation.import(&source)?;
            "".into()
        }
        ("listFiles", [Value::Text(directory)]) => evaluation.list_files(directory)?,
        ("fileExists", [Value::Text(file)]) => {
            Value::Bool(open(&evaluation.path_of(file), Patience::Blocking).is_ok())
        }
        ("fileStat", [Value::Text(file)]) => {
            let path = evaluation.path_of(file);
            let Ok((_, status)) = open(&path, Patience::Blocking) else {
                return Failure::new(format!("open {file}: no such file or directory"));
            };
            let own = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            object(Object::File {
                name: String::from_utf8_lossy(own).into_owned(),
                size: status.size,
                modified_s: status.modified_s(),
                mode: status.mode,
            })
        }
        ("stripHTML", [Value::Text(text)]) => escaping::strip_html(text).into(),
        ("markdown", [text]) => markdown::render(&text.text())?.into(),
        ("splitFrontMatter", [text]) => {
            let (meta, body) = documents::split(&text.text())?;
            Value::dict([("Meta".to_owned(), meta), ("Body".to_owned(), body.into())])
        }
        ("env", [Value::Text(variable)]) => {
            std::env::var_os(&**variable).map_or("".into(), |value| value.to_string_lossy().as_ref().into())
        }
        ("placeholder" | "ph", [Value::Text(name)]) => evaluation.placeholder(name),
        ("httpError", [Value::Int(status)]) => {
            let status = u16::try_from(*status).ok().filter(|status| (100..=999).contains(status));
            return match status {
                Some(status) => Err(Failure::Status(status)),
                None => Failure::new("no status"),
            };
        }
        ("humanize", [Value::Text(kind), Value::Text(text)]) => {
            let now_s = (evaluation.exchange.now.unix_ms / 1000) as i64;
            humanizing::humanize(kind, text, now_s)?.into()
        }
        // There are no plugged-in functions: each is absent, which is no error.
        ("maybe", [Value::Text(_), ..]) => "".into(),
        ("pathEscape", [Value::Text(text)]) => escaping::path(text).into(),
        ("httpInclude", [Value::Text(uri)]) => {
            inclusions::next_level(&evaluation.exchange.request)?;
            let body = evaluation.inclusions.take(uri)?;
            let made = evaluation.execute(uri, &body, Vec::new())?;
            made[..].into()
        }
        _ => return Failure::new("wrong number or type of arguments"),
    })
}

impl Evaluation<'_> {
    /// Beneath the root, whatever `..` the name has (Go: http.Dir.Open).
    fn path_of(&self, name: &str) -> Vec<u8> {
        let mut parts: Vec<&str> = Vec::new();
        for part in name.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let root: &[u8] = if self.root.is_empty() { b"." } else { self.root };
        let mut path = root.to_vec();
        path.push(b'/');
        path.extend_from_slice(parts.join("/").as_bytes());
        path
    }

    fn read_file(&mut self, name: &str) -> Result<Vec<u8>, Failure> {
        let Ok((file, status)) = open(&self.path_of(name), Patience::Blocking) else {
            return Failure::new(format!("open {name}: no such file or directory"));
        };
        if status.is_directory() {
            return Failure::new(format!("read {name}: is a directory"));
        }
        if status.size > TEMPLATE_SOURCE_BYTES_MAX as u64 {
            return Failure::new(format!("{name} is longer than {TEMPLATE_SOURCE_BYTES_MAX} bytes"));
        }
        let mut bytes = Vec::new();
        while bytes.len() <= TEMPLATE_SOURCE_BYTES_MAX {
            let piece = TEMPLATE_SOURCE_BYTES_MAX + 1 - bytes.len();
            let length = piece.min(status.size as usize + 1);
            match read(file.as_fd(), bytes.len() as u64, length, Patience::Blocking, &mut bytes) {
                Ok(Some(0)) => break,
                Ok(Some(_)) => {}
                _ => return Failure::new(format!("read {name}: failed")),
            }
        }
        self.spend_bytes(bytes.len())?;
        Ok(bytes)
    }

    fn list_files(&mut self, name: &str) -> Result<Value, Failure> {
        let Ok((directory, status)) = open(&self.path_of(name), Patience::Blocking) else {
            return Failure::new(format!("open {name}: no such file or directory"));
        };
        if !status.is_directory() {
            return Failure::new(format!("{name} is not a directory"));
        }
        match list(directory.as_fd(), TEMPLATE_LISTING_MAX) {
            Ok(names) => Ok(Value::list(names.iter().map(|name| name[..].into()))),
            Err(_) => Failure::new(format!("{name} cannot be listed")),
        }
    }

    fn placeholder(&self, name: &str) -> Value {
        let mut out = Vec::new();
        match name.strip_prefix("env.") {
            Some(variable) => {
                let value = std::env::var_os(variable).unwrap_or_default();
                out.extend_from_slice(value.as_encoded_bytes());
            }
            None => self.exchange.expand_placeholder(&Placeholder::compile(name), Unknown::Empty, &mut out),
        }
        out[..].into()
    }
}
