//! Answers that are templates: held back whole, evaluated by the file pool, sent with what came of it (Caddy: templates.go).
//!
//! Rule: nothing of such an answer is sent before it was evaluated, so that a failed one is an error and nothing else.

use super::responding::Origin;
use super::{Serving, Waiting};
use crate::exchange::{Exchange, is_bodiless};
use crate::files::pool::Task;
use crate::limits::TEMPLATE_SOURCE_BYTES_MAX;
use crate::ring::{Io, SocketId};
use crate::templating::inclusions::Inclusions;
use crate::templating::{Answer, Outcome, Question};
use crate::worker::Worker;

/// A body that is held back.
#[derive(Default)]
pub struct Page {
    body: Vec<u8>,
    /// There was more of it than is kept.
    is_cut: bool,
}

impl Page {
    pub fn take(&mut self, data: &[u8]) {
        let room = TEMPLATE_SOURCE_BYTES_MAX - self.body.len();
        self.is_cut |= data.len() > room;
        self.body.extend_from_slice(&data[..data.len().min(room)]);
    }
}

impl Serving {
    /// The answer whose fields are in `exchange.scratch` is a template: its body is kept from here on.
    pub(super) fn holds_page(&mut self, exchange: &Exchange) -> bool {
        if exchange.templates.is_empty() || is_bodiless(self.status) {
            return false;
        }
        let Some(kind) = exchange.scratch.get(b"content-type") else { return false };
        let fits = exchange.templates.iter().any(|(tables, row)| tables.templates[*row as usize].fits(kind));
        self.page = fits.then(Box::default);
        fits
    }
}

impl Worker {
    /// All of the body is here: asks the pool.
    pub(super) fn evaluate_page<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let Some(down) = self.downstream(socket) else { return };
        let (Some(page), Some(exchange)) = (down.serving.page.take(), down.exchange.as_mut()) else { return };
        let rows = std::mem::take(&mut exchange.templates);
        let question = Question {
            exchange: exchange.clone(),
            rows,
            body: page.body,
            is_cut: page.is_cut,
            inclusions: Inclusions::default(),
        };
        down.serving.waiting = Waiting::Page;
        self.take_back_answer(socket);
        self.submit_file_task(io, socket, Task::Evaluate(Box::new(question)));
    }

    /// The pool's answer.
    pub(super) fn page_evaluated<I: Io>(&mut self, io: &mut I, socket: SocketId, outcome: Outcome) {
        match outcome {
            Outcome::Wants(question, uri) => self.include(io, socket, question, &uri),
            Outcome::Page(answer) => {
                if let Some(down) = self.downstream(socket) {
                    down.serving.waiting = Waiting::Decision;
                }
                self.send_page(io, socket, answer);
            }
        }
    }

    fn send_page<I: Io>(&mut self, io: &mut I, socket: SocketId, answer: Answer) {
        let Some(down) = self.downstream(socket) else { return };
        let status = down.serving.status;
        let Some(exchange) = down.exchange.as_mut() else { return };
        let mut fields = answer.exchange.scratch;
        // What is told of the source is not true of the page.
        for field in [&b"Accept-Ranges"[..], b"Last-Modified", b"Etag", b"Content-Length"] {
            fields.remove(field);
        }
        match answer.body {
            Ok(content) => {
                exchange.scratch = fields;
                self.send_written(io, socket, |worker, out| {
                    worker.write_answer_head(socket, Origin::Whole { status, content: &content }, out);
                    worker.write_answer_end(socket, out);
                });
                self.finish_exchange(io, socket);
            }
            Err(status) => {
                exchange.answer = fields;
                self.answer_error(io, socket, status, "the template failed");
            }
        }
    }
}
