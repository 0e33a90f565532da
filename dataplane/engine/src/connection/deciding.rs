//! What becomes of a request: its virtual host, that host's program, and the answers that need no upstream.

use super::filing::Serve;
use super::responding::Origin;
use super::{Phase, Waiting};
use crate::access_log::errors::RequestError;
use crate::error::{Failure, Fault};
use crate::exchange::texts::USER_VARIABLE;
use crate::exchange::{self, Refuse, StaticAnswer};
use crate::http2::hpack::encoder;
use crate::metrics::{Counter, PluginCount};
use crate::program::run::{Decision, Operation};
use crate::protocol::Stream;
use crate::ring::{Io, SocketId};
use crate::worker::Worker;
use std::sync::Arc;

/// An answer to write: what `StaticAnswer` borrows, named by what owns it.
#[derive(Clone, Copy)]
enum Answer {
    Row(u32),
    Status(u16),
    /// A status without a body, as Caddy answers errors.
    Bare(u16),
    Denied,
    Empty,
    /// The exchange holds what a plugin made.
    Made,
}

impl Worker {
    /// The head is in the exchange: finds the host and runs its program.
    pub fn decide_request<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return };
        let Some(exchange) = down.exchange.as_mut() else { return };
        if exchange.asks_server() {
            return self.answer(io, socket, Answer::Empty);
        }
        let settings_max = self.snapshot.settings().request_body_bytes_max;
        down.serving.body_bytes_max = lift_at_zero(settings_max);
        let Some(host) = self.snapshot.find(down.peer.listener, exchange.host()) else {
            let answer = if self.snapshot.settings().as_caddy { Answer::Empty } else { Answer::Status(404) };
            return self.answer(io, socket, answer);
        };
        host.prefetch_tables();
        down.serving.host = Some(Arc::clone(host));
        if host.stream != Stream::NoStream {
            return self.refuse(io, socket, Refuse { status: 421, reason: "the host is a stream" });
        }
        if let Some(tls) = &down.peer.tls {
            if !host.agrees(tls, exchange.host()) {
                let reason = "the host is not of this connection's TLS policy";
                return self.refuse(io, socket, Refuse { status: 421, reason });
            }
            if let Some(handshake) = tls.handshake.as_ref()
                && let Some(page) = handshake.refusal()
            {
                return self.refuse_client(io, socket, &page);
            }
        }
        if let Some(key) = &self.snapshot.settings().explain_key
            && exchange.asks_explanation(key)
            && let Some(explained) = self.snapshot.find_explained(down.peer.listener, host)
        {
            exchange.begin_explanation();
            down.serving.host = Some(Arc::clone(explained));
        }
        match host.deny() {
            Some(_) => self.answer(io, socket, Answer::Denied),
            None => self.run_program(io, socket, 0),
        }
    }

    /// Runs the host's program from `entry` and does what it decides.
    pub fn run_program<I: Io>(&mut self, io: &mut I, socket: SocketId, entry: u32) {
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return };
        let (Some(host), Some(exchange)) = (down.serving.host.as_ref(), down.exchange.as_mut()) else {
            return;
        };
        let mode = if host.image.is_native() { Counter::ProgramNative } else { Counter::ProgramInterpreted };
        self.metrics.add(mode, 1);
        let decision = self.machine.run(host, exchange, entry);
        for (slot, count, value) in self.machine.plugins.counted.drain(..) {
            if count == PluginCount::Failures {
                self.metrics.add(Counter::PluginFailures, value);
            }
            self.metrics.count_plugin(slot, count, value);
        }
        let decision = down.serving.settle(decision);
        if let Some(limit) = exchange.request_body_bytes_max() {
            down.serving.body_bytes_max = lift_at_zero(limit);
        }
        match decision {
            Ok(Decision::NotFound) => self.answer(io, socket, Answer::Status(404)),
            Ok(Decision::Respond(row)) => self.answer(io, socket, Answer::Row(row)),
            Ok(Decision::Proxy(row)) => {
                self.drop_held(io, socket);
                self.start_proxy(io, socket, row);
            }
            Ok(Decision::Abort) => {
                down.serving.reason = "aborted by the route";
                down.serving.aborted = true;
                self.abort(io, socket);
            }
            Ok(Decision::Error(status)) => self.answer_error(io, socket, status, "error of the route"),
            Ok(Decision::Suspend { operation: Operation::CheckPassword, row, entry }) => {
                self.check_password(io, socket, row, entry);
            }
            Ok(Decision::Suspend { operation: Operation::TakeToken, row, entry }) => {
                self.take_token(io, socket, row, entry);
            }
            Ok(Decision::Suspend { operation: Operation::MatchFile, row, entry }) => {
                self.match_file(io, socket, row, entry);
            }
            Ok(Decision::Suspend { operation: Operation::ReadBody, entry, .. }) => {
                self.read_body(io, socket, entry);
            }
            Ok(Decision::Suspend { operation: Operation::CallPlugin, entry, .. }) => {
                self.wait_for_plugin(io, socket, entry);
            }
            Ok(Decision::Suspend { operation: Operation::Pause, row, entry }) => {
                let delay_ms = host.tables.faults[row as usize].delay_ms;
                self.pause_program(socket, delay_ms, entry);
            }
            Ok(Decision::File { row, entry }) => self.serve_file(io, socket, Serve { row, entry }),
            Ok(Decision::Empty) => self.answer(io, socket, Answer::Empty),
            Ok(Decision::Pass) => self.pass_answer(io, socket),
            Ok(Decision::Answer) => self.answer(io, socket, Answer::Made),
            Err(trap) => {
                self.metrics.add(Counter::ProgramTraps, 1);
                down.serving.reason = "program trapped";
                let message = format!("the route's program was stopped: {trap}");
                down.serving.error = Some(Box::new(RequestError { status: 500, message, first: None }));
                self.answer(io, socket, Answer::Status(500));
            }
        }
    }

    /// An error status: the host's error routes answer it, once, else the status alone.
    pub fn answer_error<I: Io>(&mut self, io: &mut I, socket: SocketId, status: u16, reason: &'static str) {
        self.drop_held(io, socket);
        let Some(down) = self.downstream(socket) else { return };
        down.serving.reason = reason;
        if let Some(exchange) = down.exchange.as_mut() {
            exchange.forget_wrappers();
            exchange.end_call(false);
        }
        let entry = down.serving.host.as_ref().map_or(0, |host| host.error_entry);
        if self.snapshot.settings().loggers.is_some() {
            self.note_error(socket, status, reason);
        }
        let Some(down) = self.downstream(socket) else { return };
        if down.serving.in_error_routes {
            // The error that led there counts (Caddy: server.go).
            let first = down.exchange.as_ref().map_or(status, |exchange| exchange.error_status());
            return self.answer(io, socket, Answer::Bare(first));
        }
        if entry == 0 {
            return self.answer(io, socket, Answer::Bare(status));
        }
        down.serving.in_error_routes = true;
        if let Some(exchange) = down.exchange.as_mut() {
            // An error leaves the handlers that it passes (Caddy: encode.go disables its writer).
            exchange.filter_choices.clear();
            exchange.templates.clear();
            exchange.set_status(status);
            exchange.restore_received();
        }
        self.run_program(io, socket, entry);
    }

    /// For `http.log.error`, once it is known whether error routes answer it.
    fn note_error(&mut self, socket: SocketId, status: u16, reason: &str) {
        let Some(down) = self.downstream(socket) else { return };
        let message = down.exchange.as_ref().and_then(|exchange| exchange.error_message());
        let message =
            message.map_or_else(|| reason.to_owned(), |told| String::from_utf8_lossy(told).into_owned());
        let first = down.serving.error.take().filter(|_| down.serving.in_error_routes);
        // Routes that have nothing for an error leave it as it is.
        let same = first.as_ref().is_some_and(|first| first.status == status && first.message == message);
        down.serving.error =
            if same { first } else { Some(Box::new(RequestError { status, message, first })) };
    }

    /// A client without the certificate that its host asks for: no program runs, no upstream hears of it, and the
    /// connection ends, so that the next one may bring a certificate.
    fn refuse_client<I: Io>(&mut self, io: &mut I, socket: SocketId, page: &str) {
        if let Some(down) = self.downstream(socket) {
            down.serving.reason = "client certificate";
            down.serving.persistent = false;
        }
        self.send_written(io, socket, |worker, out| {
            worker.write_answer_head(socket, Origin::Static(StaticAnswer::Text(400, page)), out);
            worker.write_answer_end(socket, out);
        });
        self.finish_exchange(io, socket);
    }

    fn check_password<I: Io>(&mut self, io: &mut I, socket: SocketId, row: u32, entry: u32) {
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return };
        let ticket = u64::from(down.generation) << 32 | u64::from(socket.0);
        let (Some(host), Some(exchange)) = (down.serving.host.as_ref(), down.exchange.as_ref()) else {
            return;
        };
        down.serving.waiting = Waiting::Password(entry);
        if !self.passwords.submit(host, row, exchange, ticket, &self.myself) {
            down.serving.waiting = Waiting::Decision;
            self.answer_error(io, socket, 503, "password checks are overloaded");
        }
    }

    /// The pool's answer; the connection may be gone or serve another request by now.
    pub fn password_checked<I: Io>(&mut self, io: &mut I, ticket: u64, right: bool) {
        let socket = SocketId(ticket as u32);
        let Some(down) = self.downstream(socket) else { return };
        let Waiting::Password(entry) = down.serving.waiting else { return };
        if down.generation != (ticket >> 32) as u32 || down.phase != Phase::Serving {
            return;
        }
        down.serving.waiting = Waiting::Decision;
        if let Some(exchange) = down.exchange.as_mut() {
            exchange.set_resume_result(u32::from(right));
            if let Some((user, _)) = exchange.credentials().filter(|_| right) {
                exchange.variables.push(USER_VARIABLE.to_vec(), user);
            }
        }
        self.run_program(io, socket, entry);
        self.advance_input(io, socket);
    }

    fn answer<I: Io>(&mut self, io: &mut I, socket: SocketId, answer: Answer) {
        let Some(down) = self.downstream(socket) else { return };
        let host = down.serving.host.clone();
        let made = match (answer, down.exchange.as_mut()) {
            (Answer::Made, Some(exchange)) => exchange.plugins.take_made(),
            _ => (500, Vec::new()),
        };
        let answer = match (answer, &host) {
            (Answer::Made, _) => StaticAnswer::Made(made.0, &made.1),
            (Answer::Row(row), Some(host)) => StaticAnswer::Row(host.response(row)),
            (Answer::Denied, Some(host)) => StaticAnswer::Text(503, host.deny().unwrap_or("")),
            (Answer::Status(status), _) => StaticAnswer::Status(status),
            (Answer::Bare(status), _) => StaticAnswer::Bare(status),
            (Answer::Empty, _) => StaticAnswer::Empty,
            (Answer::Row(_) | Answer::Denied, None) => StaticAnswer::Status(500),
        };
        if let StaticAnswer::Row(_) | StaticAnswer::Made(..) = answer
            && let Some(exchange) = down.exchange.as_mut()
            && (exchange.has_wrappers() || down.serving.held.is_some())
        {
            let mut content = Vec::new();
            let status = exchange.take_static_answer(answer, &mut content);
            down.serving.persistent &= !matches!(answer, StaticAnswer::Row(row) if row.close);
            return self.wrap_answer(io, socket, status, content);
        }
        self.drop_held(io, socket);
        self.send_written(io, socket, |worker, out| {
            worker.write_answer_head(socket, Origin::Static(answer), out);
            worker.write_answer_end(socket, out);
        });
        self.finish_exchange(io, socket);
    }

    /// An answer without fields that a program could change.
    fn send_plain_answer<I: Io>(&mut self, io: &mut I, socket: SocketId, refuse: Refuse) {
        if !self.is_stream(socket) {
            return self.send_downstream(io, socket, plain_answer(refuse).as_bytes());
        }
        let mut block = Vec::new();
        encoder::status(refuse.status, &mut block);
        encoder::field(b"content-length", b"0", &mut block);
        self.write_stream(io, socket, block.len(), &block, true, &[]);
    }

    /// Answers bytes that are no request we take: the shortest answer, then the connection ends.
    pub fn refuse_head<I: Io>(&mut self, io: &mut I, socket: SocketId, refuse: Refuse) {
        self.metrics.add(Counter::RefusedHead, 1);
        self.metrics.request(refuse.status, 0);
        let message = plain_answer(refuse);
        self.send_downstream(io, socket, message.as_bytes());
        self.linger(io, socket);
    }

    /// Refuses a parsed request whose exchange never began properly.
    pub fn refuse<I: Io>(&mut self, io: &mut I, socket: SocketId, refuse: Refuse) {
        self.send_plain_answer(io, socket, refuse);
        if let Some(down) = self.downstream(socket) {
            down.serving.status = refuse.status;
            down.serving.reason = refuse.reason;
            down.serving.persistent = false;
            down.serving.answered = true;
        }
        self.finish_exchange(io, socket);
    }

    /// The exchange cannot go on: an error answer where none was begun, else the connection ends in the middle, so that
    /// a cut-off answer never looks complete.
    pub fn fail<I: Io>(&mut self, io: &mut I, socket: SocketId, failure: Failure) {
        self.release_upstream(io, socket);
        if self.answer_by_stale(io, socket, failure) {
            return;
        }
        let Some(down) = self.downstream(socket) else { return };
        if down.phase != Phase::Serving {
            return self.abort(io, socket);
        }
        let is_over = down.serving.answered || down.serving.stream || down.serving.is_copy;
        if is_over || failure == Failure::ClientGone {
            down.serving.reason = failure.reason();
            if !down.serving.answered || failure.fault() != Fault::Upstream {
                return self.abort(io, socket);
            }
            self.log_incomplete(socket, failure);
            return self.cut_answer(io, socket);
        }
        if failure.fault() != Fault::Client {
            self.metrics.add(Counter::UpstreamErrors, 1);
        }
        let Some(down) = self.downstream(socket) else { return };
        if let Some(exchange) = down.exchange.as_mut() {
            exchange.set_error_message(failure.message(down.serving.upstream_address));
        }
        self.answer_error(io, socket, failure.status(), failure.reason());
    }
}

/// What is no request, or names no site, gets the line of text that Go's server sends, up to the connection's end; others
/// get the shortest answer.
fn plain_answer(refuse: Refuse) -> String {
    let status = refuse.status;
    let reason = match status {
        400 => "Bad Request",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    };
    let cause = match refuse.reason {
        exchange::MALFORMED_HOST => ": malformed Host header",
        exchange::HOST_MISSING => ": missing required Host header",
        _ => "",
    };
    let (field, text) = match status {
        400 if exchange::STRICTER.contains(&refuse.reason) => ("Content-Length: 0", String::new()),
        400 | 431 => ("Content-Type: text/plain; charset=utf-8", format!("{status} {reason}{cause}")),
        _ => ("Content-Length: 0", String::new()),
    };
    format!("HTTP/1.1 {status} {reason}\r\n{field}\r\nConnection: close\r\n\r\n{text}")
}

/// A limit of a body's bytes, which 0 lifts.
fn lift_at_zero(bytes_max: u64) -> u64 {
    if bytes_max == 0 { u64::MAX } else { bytes_max }
}
