//! Answers that the program sees before the client does: `handle_response` of a proxy call, `intercept` around any handler.
//!
//! An answer is held with its status here and its fields in the exchange; the program runs at its response entry and
//! passes it on, changed or not, or decides otherwise. Whatever else it decides takes the answer's place.
//!
//! Rule: while an upstream's answer is held its socket is not read; a held answer that is not wanted costs the upstream
//! its connection unless all of the body is here already.

use super::responding::Origin;
use super::{Serving, Waiting};
use crate::exchange::fields::Fields;
use crate::exchange::{Body, Exchange, ResponseHead};
use crate::files::answering::Sending;
use crate::limits::PROGRESS_WINDOW_MS;
use crate::program::run::{Decision, Trap};
use crate::ring::{Io, SocketId};
use crate::upstream;
use crate::worker::Worker;

/// Where the held answer's body comes from.
enum Source {
    /// The upstream that is held.
    Upstream(Body),
    /// The upstream that is held, which has agreed to switch protocols: its 101 is the first of its input.
    Switch,
    Content(Vec<u8>),
    /// Whoever began the answer; only where the program decides at once.
    Caller(Body),
    File(Box<Sending>, Body),
}

/// An answer between its handler and the client.
pub struct HeldAnswer {
    source: Source,
    status: u16,
    /// The upstream's phrase; empty for ours.
    reason: Box<[u8]>,
    /// It is seen by `intercept`: its fields are those of our answer.
    is_own: bool,
}

/// What a route wants with an upstream's answer before the client gets it.
#[derive(Default)]
pub struct Regard {
    /// Its program decides about the answer, which is held meanwhile.
    pub is_seen: bool,
    /// It is asked whether another upstream shall answer.
    pub is_judged: bool,
}

impl Serving {
    /// Keeps of an answer what its route's program is to see or judge.
    pub fn regard_answer(&mut self, exchange: &mut Exchange, head: &ResponseHead, body: Body) -> Regard {
        let wanted = self.host.as_ref().is_some_and(|host| host.proxy(self.row).response_entry != 0);
        let regard =
            Regard { is_seen: wanted || exchange.has_interceptions(), is_judged: self.judges_answers() };
        if regard.is_seen || regard.is_judged {
            exchange.keep_upstream_answer(head);
        }
        if regard.is_seen {
            self.held = Some(Box::new(HeldAnswer::upstream(head, Source::Upstream(body))));
        }
        regard
    }

    /// As `regard_answer`, for a 101: `handle_response` sees it, `intercept` does not (Caddy: reverseProxy, intercept.go).
    pub fn regard_switch(&mut self, exchange: &mut Exchange, head: &ResponseHead) -> Regard {
        let is_seen = self.host.as_ref().is_some_and(|host| host.proxy(self.row).response_entry != 0);
        if is_seen {
            exchange.keep_upstream_answer(head);
            self.held = Some(Box::new(HeldAnswer::upstream(head, Source::Switch)));
        }
        Regard { is_seen, is_judged: false }
    }
}

impl HeldAnswer {
    fn upstream(head: &ResponseHead, source: Source) -> Self {
        Self { source, status: head.status, reason: head.reason.into(), is_own: false }
    }

    fn own(source: Source, status: u16) -> Self {
        Self { source, status, reason: Box::default(), is_own: true }
    }

    fn set_status(&mut self, status: u16) {
        if self.status != status {
            (self.status, self.reason) = (status, Box::default());
        }
    }
}

impl Serving {
    /// Routes of `intercept` that end without an answer leave the one at hand.
    pub fn settle(&self, decision: Result<Decision, Trap>) -> Result<Decision, Trap> {
        match decision {
            Ok(Decision::Empty) if self.held.as_ref().is_some_and(|held| held.is_own) => Ok(Decision::Pass),
            decision => decision,
        }
    }
}

impl Worker {
    /// The upstream's head was kept: stops reading and asks the program.
    pub fn show_answer<I: Io>(&mut self, io: &mut I, client: SocketId, upstream: SocketId, rest: &[u8]) {
        let deadline_ms = self.now_ms() + PROGRESS_WINDOW_MS;
        let Some(up) = self.upstream(upstream) else { return };
        up.input.extend_from_slice(rest);
        if !std::mem::replace(&mut up.paused, true) {
            self.pause(io, upstream);
        }
        self.set_upstream_deadline(upstream, deadline_ms);
        let Some(down) = self.downstream(client) else { return };
        down.serving.waiting = Waiting::Decision;
        let (Some(host), Some(exchange)) = (down.serving.host.as_ref(), down.exchange.as_mut()) else {
            return;
        };
        match host.proxy(down.serving.row).response_entry {
            0 => {
                exchange.take_upstream_answer();
                self.go_on(io, client);
            }
            entry => {
                exchange.hold_upstream_answer();
                self.run_program(io, client, entry);
            }
        }
        self.advance_input(io, client);
    }

    /// As `show_answer`, for a kept answer.
    pub fn show_kept_answer<I: Io>(
        &mut self,
        io: &mut I,
        client: SocketId,
        head: &ResponseHead,
        content: Vec<u8>,
    ) {
        let Some(down) = self.downstream(client) else { return };
        let Some(exchange) = down.exchange.as_mut() else { return };
        exchange.keep_upstream_answer(head);
        exchange.take_upstream_answer();
        let (status, reason) = (head.status, head.reason.into());
        let held = HeldAnswer { source: Source::Content(content), status, reason, is_own: false };
        down.serving.held = Some(Box::new(held));
        self.go_on(io, client);
    }

    /// An answer of our own whose fields are in `exchange.scratch` passes what handlers wrapped around it. One without a
    /// body takes only the place of the head where `intercept` made it (Caddy: intercept.go).
    pub fn wrap_answer<I: Io>(&mut self, io: &mut I, client: SocketId, status: u16, content: Vec<u8>) {
        let Some(down) = self.downstream(client) else { return };
        match down.serving.held.as_mut() {
            Some(held) if held.is_own && content.is_empty() => held.set_status(status),
            _ => {
                self.drop_held(io, client);
                let Some(down) = self.downstream(client) else { return };
                down.serving.held = Some(Box::new(HeldAnswer::own(Source::Content(content), status)));
            }
        }
        self.go_on(io, client);
    }

    /// As `wrap_answer`, for an answer whose body its caller has. True: the head is out and the body may follow.
    pub fn wrap_begun_answer<I: Io>(
        &mut self,
        io: &mut I,
        client: SocketId,
        status: u16,
        body: Body,
    ) -> bool {
        let Some(down) = self.downstream(client) else { return false };
        down.serving.held = Some(Box::new(HeldAnswer::own(Source::Caller(body), status)));
        self.go_on(io, client);
        let Some(down) = self.downstream(client) else { return false };
        if let Some(HeldAnswer { source: Source::Caller(_), .. }) = down.serving.held.as_deref() {
            self.answer_error(io, client, 500, "the answer cannot wait for its handlers");
            return false;
        }
        self.downstream(client).is_some_and(|down| down.exchange.is_some() && down.serving.begun)
    }

    /// As `wrap_answer`, for a file.
    pub fn wrap_file<I: Io>(
        &mut self,
        io: &mut I,
        client: SocketId,
        (status, fields, body): (u16, &Fields, Body),
        sending: Sending,
    ) {
        let Some(down) = self.downstream(client) else { return };
        let Some(exchange) = down.exchange.as_mut() else { return };
        exchange.take_file_answer(fields);
        down.serving.held = Some(Box::new(HeldAnswer::own(Source::File(Box::new(sending), body), status)));
        self.go_on(io, client);
    }

    /// The program passes the answer at hand on.
    pub fn pass_answer<I: Io>(&mut self, io: &mut I, client: SocketId) {
        let Some(down) = self.downstream(client) else { return };
        let (Some(held), Some(exchange)) = (down.serving.held.as_mut(), down.exchange.as_mut()) else {
            return self.answer_error(io, client, 500, "no answer to pass on");
        };
        match exchange.take_chosen_status() {
            Some(Err(())) if held.is_own => held.set_status(500),
            Some(Err(())) => return self.answer_error(io, client, 500, "status is no number"),
            Some(Ok(status)) => held.set_status(status),
            None => {}
        }
        match held.is_own {
            true => exchange.take_intercepted_answer(),
            false => exchange.take_upstream_answer(),
        }
        self.go_on(io, client);
    }

    /// The held answer, its fields in `exchange.scratch`, goes to the next handler that intercepts it, or out.
    fn go_on<I: Io>(&mut self, io: &mut I, client: SocketId) {
        let Some(down) = self.downstream(client) else { return };
        let (Some(held), Some(exchange)) = (down.serving.held.as_mut(), down.exchange.as_mut()) else {
            return;
        };
        exchange.release();
        if matches!(held.source, Source::Switch) {
            return self.go_on_switching(io, client);
        }
        if let Some(entry) = exchange.pass_wrappers(held.status) {
            held.is_own = true;
            exchange.hold_own_answer(held.status);
            return self.run_program(io, client, entry);
        }
        let Some(held) = down.serving.held.take() else { return };
        let HeldAnswer { source, status, reason, .. } = *held;
        match source {
            Source::Content(content) => {
                let whole = Origin::Whole { status, content: &content };
                self.send_written(io, client, |worker, out| {
                    worker.write_answer_head(client, whole, out);
                    worker.write_answer_end(client, out);
                });
                self.finish_exchange(io, client);
            }
            Source::Switch => {}
            Source::Upstream(body) => {
                let head = Origin::Taken { status, reason: &reason, body };
                self.send_written(io, client, |worker, out| worker.write_answer_head(client, head, out));
                self.resume_answer(io, client, upstream::Phase::Body);
            }
            Source::File(sending, body) => {
                self.send_file_answer(io, client, Origin::Taken { status, reason: &reason, body }, *sending);
            }
            Source::Caller(body) => {
                down.serving.begun = true;
                let head = Origin::Taken { status, reason: &reason, body };
                self.send_written(io, client, |worker, out| worker.write_answer_head(client, head, out));
            }
        }
    }

    /// The routes let the upstream's 101 pass. That of HTTP/1.1 is read again and finds itself held. It has no other status.
    fn go_on_switching<I: Io>(&mut self, io: &mut I, client: SocketId) {
        let held = self.downstream(client).and_then(|down| down.serving.held.as_deref());
        if held.is_some_and(|held| held.status != 101) {
            return self.answer_error(io, client, 502, "a switch of protocols has no other status");
        }
        match self.downstream(client).and_then(|down| down.serving.upstream) {
            Some(call) if self.is_stream(call) => self.send_held_acceptance(io, client),
            _ => self.resume_answer(io, client, upstream::Phase::Head),
        }
    }

    /// The held upstream goes on in this phase: what came of it meanwhile, then its end where that came too.
    pub fn resume_answer<I: Io>(&mut self, io: &mut I, client: SocketId, phase: upstream::Phase) {
        let Some(down) = self.downstream(client) else { return };
        down.serving.waiting = Waiting::Answer;
        let Some(upstream) = down.serving.upstream else { return };
        let Some(up) = self.upstream(upstream) else { return };
        up.phase = phase;
        let ended = up.ended.take();
        if std::mem::take(&mut up.paused) {
            self.resume(io, upstream);
        }
        match phase {
            upstream::Phase::Tunnel => self.switch_held(io, client, upstream),
            _ => self.answer_bytes(io, client, upstream, &[]),
        }
        if let Some(end) = ended {
            self.upstream_ended(io, upstream, end);
        }
    }

    /// Another answer takes the place of the held one.
    pub fn drop_held<I: Io>(&mut self, io: &mut I, client: SocketId) {
        let Some(down) = self.downstream(client) else { return };
        let Some(held) = down.serving.held.take() else { return };
        down.serving.filling = None;
        if let Some(exchange) = down.exchange.as_mut() {
            exchange.release();
        }
        if matches!(held.source, Source::Switch) {
            return self.release_upstream(io, client);
        }
        let (Source::Upstream(_), Some(upstream)) = (held.source, down.serving.upstream) else { return };
        let Some(up) = self.upstream(upstream) else { return };
        let input = std::mem::take(&mut up.input);
        let mut at = 0;
        while at < input.len() && !up.body.is_done() {
            match up.body.next(&input[at..]) {
                Ok(piece) => at += piece.consumed,
                Err(_) => break,
            }
        }
        let clean = up.body.is_done() && at == input.len() && up.ended.is_none();
        self.give_back(io, client, upstream, clean);
    }
}
