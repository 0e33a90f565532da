//! Templates in answers (Caddy: templates): Go's text/template with the functions of Caddy and of Sprig.
//!
//! In: the body of an answer whose media type is asked for, the exchange, the site's directory. Out: the body that the
//! template makes, with the answer's fields as it changed them; or an error status. `connection::templating` holds answers
//! back and asks; `files::pool` calls `evaluate` on a thread of its own. Rule: an evaluation ends within the bounds of
//! `limits`, whatever the template says, and reads files beneath its root only.

mod arguments;
mod builtins;
mod documents;
mod escaping;
mod evaluating;
mod formatting;
mod humanizing;
pub mod inclusions;
mod lexing;
mod markdown;
mod objects;
mod parsing;
mod site;
mod sprig;
mod sprig_dates;
mod sprig_numbers;
mod sprig_structures;
mod sprig_texts;
#[cfg(test)]
mod tests;
pub(crate) mod times;
mod urls;
mod values;

use crate::exchange::texts::Text;
use crate::exchange::{Exchange, Unknown, paths};
use crate::limits::TEMPLATE_SOURCE_BYTES_MAX;
use crate::snapshot::Tables;
use evaluating::Evaluation;
use inclusions::Inclusions;
use std::sync::Arc;

/// A row of Tables.templates.
pub struct TemplateRow {
    pub root: Text,
    /// Parts of media types.
    pub mime_types: Box<[Box<[u8]>]>,
    pub delimiters: (Box<str>, Box<str>),
}

impl TemplateRow {
    /// An answer of this media type is a template.
    pub fn fits(&self, content_type: &[u8]) -> bool {
        self.mime_types.iter().any(|part| memchr::memmem::find(content_type, part).is_some())
    }
}

/// One body to evaluate.
pub struct Question {
    /// The answer's fields are in its `scratch`.
    pub exchange: Box<Exchange>,
    /// Handlers in the order of the route.
    pub rows: Vec<(Arc<Tables>, u32)>,
    pub body: Vec<u8>,
    /// There is more of the body than may be evaluated.
    pub is_cut: bool,
    /// What `httpInclude` asked for so far.
    pub inclusions: Inclusions,
}

/// What an evaluation came to.
pub enum Outcome {
    Page(Answer),
    /// `httpInclude` wants the answer to this URI: with it in the question's inclusions, the evaluation begins again.
    Wants(Box<Question>, String),
}

/// What became of a body.
pub struct Answer {
    pub exchange: Box<Exchange>,
    /// The body, or the status of an error.
    pub body: Result<Vec<u8>, u16>,
}

/// Why an evaluation ended.
#[derive(Debug, PartialEq)]
pub enum Failure {
    /// `httpError`
    Status(u16),
    /// `httpInclude` of a URI whose answer is not here yet.
    Wants(String),
    Broken {
        line: usize,
        what: String,
    },
}

impl Failure {
    fn new<T>(what: impl Into<String>) -> Result<T, Failure> {
        Err(Failure::at(0, what))
    }

    fn at(line: usize, what: impl Into<String>) -> Failure {
        Failure::Broken { line, what: what.into() }
    }

    /// The innermost line stands.
    fn of_line(self, of: usize) -> Failure {
        match self {
            Failure::Broken { line: 0, what } => Failure::Broken { line: of, what },
            other => other,
        }
    }

    fn of_function(self, name: &str) -> Failure {
        match self {
            Failure::Broken { line: 0, what } => Failure::at(0, format!("{name}: {what}")),
            other => other,
        }
    }
}

fn knows(name: &str) -> bool {
    builtins::knows(name)
}

/// Evaluates the body by each handler that takes its media type, the innermost first. Slow: never on a worker's thread.
pub fn evaluate(mut question: Box<Question>) -> Outcome {
    if question.is_cut {
        let what = format!("the body is longer than {TEMPLATE_SOURCE_BYTES_MAX} bytes");
        log(&question.exchange, &Failure::at(0, what));
        return Outcome::Page(Answer { exchange: question.exchange, body: Err(500) });
    }
    question.exchange.writing_answer = true;
    let fields = question.exchange.scratch.clone();
    let body = match evaluate_rows(&mut question) {
        Ok(made) => Ok(made),
        Err(Failure::Wants(uri)) => {
            question.exchange.scratch = fields;
            return Outcome::Wants(question, uri);
        }
        Err(Failure::Status(status)) => {
            question.exchange.scratch.remove(b"Content-Type");
            Err(status)
        }
        Err(failure) => {
            log(&question.exchange, &failure);
            Err(500)
        }
    };
    Outcome::Page(Answer { exchange: question.exchange, body })
}

fn evaluate_rows(question: &mut Question) -> Result<Vec<u8>, Failure> {
    let Question { exchange, rows, body, inclusions, .. } = question;
    inclusions.begin();
    let mut made: Option<Vec<u8>> = None;
    for (tables, row) in rows.iter().rev() {
        let row = &tables.templates[*row as usize];
        if !exchange.scratch.get(b"content-type").is_some_and(|kind| row.fits(kind)) {
            continue;
        }
        let mut root = Vec::new();
        exchange.expand(&row.root, Unknown::Empty, &mut root);
        let mut name = Vec::new();
        paths::decode(&exchange.path, &mut name);
        let name = String::from_utf8_lossy(&name).into_owned();
        let mut evaluation = Evaluation::new(exchange, &root, (&row.delimiters.0, &row.delimiters.1));
        evaluation.inclusions = std::mem::take(inclusions);
        evaluation.steps_left = evaluation.inclusions.steps_left;
        let result = evaluation.execute(&name, made.as_ref().unwrap_or(body), Vec::new());
        evaluation.inclusions.steps_left = evaluation.steps_left;
        *inclusions = evaluation.inclusions;
        made = Some(result?);
    }
    Ok(made.unwrap_or_else(|| std::mem::take(body)))
}

fn log(exchange: &Exchange, failure: &Failure) {
    let Failure::Broken { line, what } = failure else { return };
    const MESSAGE_BYTES_MAX: usize = 512;
    let path = exchange.path.escape_ascii();
    let message = format!("template {path} line {line}: {what}");
    let shown = message.as_bytes()[..message.len().min(MESSAGE_BYTES_MAX)].escape_ascii().to_string();
    crate::access_log::log_program(&String::from_utf8_lossy(exchange.host()), &shown);
}
