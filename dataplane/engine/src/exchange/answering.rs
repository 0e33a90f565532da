//! The answer's head: the upstream's, a file's or our own, changed by programs and written for the client.
//!
//! `scratch` holds the fields of an answer that anything changes; an upstream's answer that nothing changes is written
//! straight from the parser's spans. `connection::responding` calls all of this, in the order of the functions here.

use super::expanding::Unknown;
use super::explaining::TELLING_FIELD;
use super::fields::Fields;
use super::statuses::reason;
use super::writing::{
    each_response_field, push_date_field, push_end_to_end, push_field, push_framing, push_status_line,
};
use super::{Body, Connection, Exchange, Framing, HTTP_2, ResponseHead, StaticAnswer};
use crate::snapshot::{ResponseRow, Tables};
use std::io::Write;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// What an answer passes on its way out, as the handlers before it asked (Caddy: wrapped response writers).
#[derive(Clone)]
pub(crate) enum Wrapper {
    /// A row of Tables.header_changes.
    Changes(Arc<Tables>, u32),
    /// The program's entry that sees the answer.
    Intercept(u32),
}

/// Whose answer a response entry of the program sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Nothing,
    /// `reverse_proxy`: the upstream's, not yet part of ours.
    Upstream,
    /// `intercept`: ours, whose fields are in `answer` meanwhile.
    Own,
}

impl Exchange {
    /// False: an upstream's answer may go down as it came.
    pub fn changes_answers(&self) -> bool {
        // The access log needs the fields of every answer.
        !(self.answer.is_empty()
            && self.sent.is_none()
            && self.steps.is_none()
            && self.wrappers.is_empty()
            && self.answering_call.is_none()
            && self.filter_choices.is_empty()
            && self.templates.is_empty())
    }

    /// True where a filter's choice depends on the body's length.
    pub fn needs_length(&self) -> bool {
        self.filter_choices.iter().any(|choice| choice.needs_length())
    }

    pub fn has_wrappers(&self) -> bool {
        !self.wrappers.is_empty()
    }

    /// True where the program wants to see answers of handlers.
    pub fn has_interceptions(&self) -> bool {
        self.wrappers.iter().any(|wrapper| matches!(wrapper, Wrapper::Intercept(_)))
    }

    /// Errors are answered outside of what handlers wrapped around the answer.
    pub fn forget_wrappers(&mut self) {
        self.wrappers.clear();
        self.filter_choices.clear();
        self.templates.clear();
        self.release();
    }

    /// Appends the head of an upstream's answer that nothing changes.
    pub fn write_unchanged_head(&mut self, head: &ResponseHead, framing: Framing, out: &mut Vec<u8>) {
        self.upstream_status = head.status;
        if self.http_minor == HTTP_2 {
            return self.write_unchanged_block(head, framing, out);
        }
        push_status_line(head.status, head.reason, out);
        let mut dated = false;
        each_response_field(head, |field| {
            dated |= field.name.len() == 4 && field.name.eq_ignore_ascii_case(b"date");
            push_field(field.name, field.value, out);
        });
        if !dated && head.status >= 200 {
            push_date_field(self.now.unix_ms, out);
        }
        push_framing(framing, out);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends an interim head with what was set so far, which is gone then (Caddy: reverseproxy.go, Got1xxResponse).
    pub fn write_interim_head(&mut self, head: &ResponseHead, out: &mut Vec<u8>) {
        push_status_line(head.status, head.reason, out);
        push_end_to_end(&self.answer, out);
        each_response_field(head, |field| push_field(field.name, field.value, out));
        out.extend_from_slice(b"\r\n");
        self.answer.clear();
    }

    /// Keeps an upstream's answer for the program and for placeholders.
    pub fn keep_upstream_answer(&mut self, head: &ResponseHead) {
        self.upstream_status = head.status;
        self.upstream_fields.clear();
        let fields = &mut self.upstream_fields;
        each_response_field(head, |field| fields.push_checked(field.name, field.value));
        for field in head.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(b"content-length")) {
            fields.push_checked(field.name, field.value);
        }
    }

    /// Takes the kept upstream's answer into `scratch`, changed as the proxy call asks.
    pub fn take_upstream_answer(&mut self) {
        // `{http.response.header.*}` is what was set before the upstream's fields come (Caddy: finalizeResponse).
        self.scratch.clone_from(&self.upstream_fields);
        if let Some((tables, row)) = self.answering_call.clone() {
            let call = &tables.proxies[row as usize];
            let required = call.response_requirement();
            if required.is_none_or(|wanted| wanted.fits(self.upstream_status, &self.upstream_fields)) {
                self.change_scratch(call.response_changes());
            }
        }
        // What was set before the answer came stands before the upstream's fields (Caddy: copyHeader adds).
        let upstream = std::mem::replace(&mut self.scratch, self.answer.clone());
        // The name of the server is the upstream's to say.
        self.scratch.remove(b"server");
        for field in upstream.iter() {
            self.scratch.push_checked(field.name, field.value);
        }
    }

    /// Takes a file's fields into `scratch`: each replaces what was set before it.
    pub fn take_file_answer(&mut self, fields: &Fields) {
        self.scratch.clone_from(&self.answer);
        for field in fields.iter() {
            self.scratch.set(field.name, field.value);
        }
    }

    /// Takes a static answer into `scratch` and its body into `body`; returns its status.
    pub fn take_static_answer(&mut self, answer: StaticAnswer, body: &mut Vec<u8>) -> u16 {
        self.writing_answer = true;
        self.scratch.clone_from(&self.answer);
        // Writing to a Vec cannot fail.
        let status = match answer {
            StaticAnswer::Row(row) => self.build_row(row, body),
            StaticAnswer::Status(status) => {
                let _ = writeln!(body, "{status} {}", reason(status));
                status
            }
            StaticAnswer::Text(status, text) => {
                let _ = writeln!(body, "{status} {}: {text}", reason(status));
                status
            }
            StaticAnswer::Made(status, content) => {
                body.extend_from_slice(content);
                status
            }
            StaticAnswer::Bare(status) => status,
            StaticAnswer::Empty => 200,
        };
        if !body.is_empty() && !self.scratch.contains(b"content-type") {
            let json = matches!(answer, StaticAnswer::Row(_) | StaticAnswer::Made(..)) && is_json(body);
            let kind: &[u8] = if json { b"application/json" } else { b"text/plain; charset=utf-8" };
            self.scratch.push_checked(b"Content-Type", kind);
        }
        self.writing_answer = false;
        if status == 0 {
            body.clear();
            return 500;
        }
        status
    }

    /// Takes what the program left of an answer that it saw by `intercept` back into `scratch`.
    pub fn take_intercepted_answer(&mut self) {
        self.scratch = std::mem::take(&mut self.answer);
    }

    /// The answer in `scratch` passes the handlers around it, innermost first, up to one that intercepts: its entry.
    pub fn pass_wrappers(&mut self, status: u16) -> Option<u32> {
        while let Some(wrapper) = self.wrappers.pop() {
            match wrapper {
                Wrapper::Intercept(entry) => return Some(entry),
                Wrapper::Changes(tables, row) => {
                    let row = &tables.header_changes[row as usize];
                    if row.require.as_ref().is_none_or(|wanted| wanted.fits(status, &self.scratch)) {
                        self.writing_answer = true;
                        self.change_scratch(&row.changes);
                        self.writing_answer = false;
                    }
                }
            }
        }
        None
    }

    /// The program sees the kept upstream's answer next.
    pub fn hold_upstream_answer(&mut self) {
        (self.held, self.held_status) = (Held::Upstream, self.upstream_status);
        self.attempts.answer_elsewhere();
    }

    /// The program sees the answer in `scratch` next, and may change its fields as those of any answer.
    pub fn hold_own_answer(&mut self, status: u16) {
        (self.held, self.held_status) = (Held::Own, status);
        self.answer = std::mem::take(&mut self.scratch);
        self.intercepted_fields.clone_from(&self.answer);
        self.intercepted_status = status;
        self.end_call(true);
    }

    /// The program decided on the answer that it saw.
    pub fn release(&mut self) {
        (self.held, self.held_status) = (Held::Nothing, 0);
    }

    /// Status and fields that response matchers see: of the answer at hand, else of the error.
    pub(crate) fn answer_at_hand(&self) -> (u16, &Fields) {
        match self.held {
            Held::Upstream => (self.held_status, &self.upstream_fields),
            Held::Own => (self.held_status, &self.answer),
            Held::Nothing => (self.status, &self.answer),
        }
    }

    /// What `set_status` gave since it was last asked: Err where its text was no status.
    pub fn take_chosen_status(&mut self) -> Option<Result<u16, ()>> {
        let status = self.chosen_status.take()?;
        Some(if (100..=999).contains(&status) { Ok(status) } else { Err(()) })
    }

    /// Appends the head of the answer whose fields are in `scratch`. `told`: the upstream's reason phrase, "" for ours.
    pub fn write_answer_head(&self, status: u16, told: &[u8], framing: Framing, out: &mut Vec<u8>) {
        if self.http_minor == HTTP_2 {
            return self.write_answer_block(status, framing, out);
        }
        push_status_line(status, told, out);
        push_end_to_end(&self.scratch, out);
        if !self.explanation.is_empty() {
            push_field(TELLING_FIELD, &self.explanation, out);
        }
        if status >= 200 && !self.scratch.contains(b"date") {
            push_date_field(self.now.unix_ms, out);
        }
        push_framing(framing, out);
        out.extend_from_slice(b"\r\n");
    }

    /// How an answer of our own with `length` bytes of body is framed (RFC 9110 8.6: HEAD may leave the length out).
    pub fn frame_own_answer(&self, status: u16, length: usize) -> Body {
        match is_bodiless(status) || (self.is_head() && length == 0) {
            true => Body::Unframed,
            false => Body::Length(length as u64),
        }
    }

    /// Appends a static answer with its body, outside of traffic; returns its status and the body's bytes (0 for HEAD).
    pub fn write_response(&mut self, answer: StaticAnswer, out: &mut Vec<u8>) -> (u16, usize) {
        let mut content = Vec::new();
        let status = self.take_static_answer(answer, &mut content);
        if matches!(answer, StaticAnswer::Row(_) | StaticAnswer::Made(..)) {
            while self.pass_wrappers(status).is_some() {}
        }
        let body = self.frame_own_answer(status, content.len());
        let connection = match answer {
            StaticAnswer::Row(row) if row.close => Connection::Close,
            _ => Connection::Default,
        };
        self.write_answer_head(status, b"", Framing { body, connection, expect_continue: false }, out);
        if body == Body::Unframed || self.is_head() {
            return (status, 0);
        }
        out.extend_from_slice(&content);
        (status, content.len())
    }

    /// Expands a row into scratch and body; returns its status, 0 where that is no number.
    fn build_row(&mut self, row: &ResponseRow, body: &mut Vec<u8>) -> u16 {
        let mut set: Vec<Vec<u8>> = Vec::new();
        for change in &row.headers {
            let (mut name, mut value) = (Vec::new(), Vec::new());
            self.expand(&change.name, Unknown::Keep, &mut name);
            self.expand(&change.value, Unknown::Keep, &mut value);
            name.make_ascii_lowercase();
            let mut shown = Vec::new();
            self.expand(&change.name, Unknown::Keep, &mut shown);
            if set.contains(&name) {
                self.scratch.add(&shown, &value);
            } else {
                self.scratch.set(&shown, &value);
                set.push(name);
            }
        }
        self.expand(&row.body, Unknown::Keep, body);
        let mut text = Vec::new();
        self.expand(&row.status, Unknown::Empty, &mut text);
        let default = if self.status == 0 { 200 } else { self.status };
        if row.status.is_empty() {
            return default;
        }
        let status = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<u16>().ok());
        status.filter(|status| ANSWERED.contains(status)).unwrap_or(0)
    }
}

/// Statuses that routes may answer with: what Go's net/http writes, but no interim ones.
pub const ANSWERED: RangeInclusive<u16> = 200..=999;

/// Answers of these have no body, whatever their fields say (RFC 9110 6.4.1).
pub fn is_bodiless(status: u16) -> bool {
    status < 200 || status == 204 || status == 304
}

fn is_json(body: &[u8]) -> bool {
    let content = body.trim_ascii();
    let bracketed = matches!(content, [b'{', .., b'}'] | [b'[', .., b']']);
    content.len() > 2 && bracketed && serde_json::from_slice::<serde_json::Value>(content).is_ok()
}
