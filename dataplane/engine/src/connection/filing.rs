//! File servers: asks `files` what a path leads to, at once or by the pool, and sends what it found.
//!
//! Rule: a worker reads what the kernel has in memory and nothing else; the client's own pace is kept by what `Io` has
//! pending. A file that shrinks while it is sent ends its connection: a shorter body must not look whole.

use super::responding::Origin;
use super::{Phase, Waiting};
use crate::exchange::fields::Fields;
use crate::exchange::{Body, Exchange};
use crate::files::answering::{Built, Piece, Sending, Taken, date, override_status};
use crate::files::asking::{ask, keeps_last_element, original_ends_with_slash, original_path};
use crate::files::browsing::Listing;
use crate::files::descriptors::Access;
use crate::files::finding::{self, Answer, Found};
use crate::files::opening::{Patience, read};
use crate::files::pool::{Done, Task};
use crate::files::redirecting::redirect;
use crate::files::{matching, mime};
use crate::limits::{LENT_BYTES_MAX, LENT_BYTES_MIN};
use crate::ring::{FileSent, Io, SocketId};
use crate::worker::Worker;
use std::os::fd::AsFd;

/// Which row serves, and where the program goes on when nothing is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serve {
    pub row: u32,
    pub entry: u32,
}

/// What became of a part that needs no copy.
enum Lent {
    /// `send_file` is called again when the socket has drained.
    Wait,
    Copy,
    Cut,
}

impl Worker {
    /// The program's decision: a row of Tables.file_servers answers.
    pub fn serve_file<I: Io>(&mut self, io: &mut I, socket: SocketId, serve: Serve) {
        let now_ms = self.now_ms();
        let Some(Some(down)) = self.downstreams.get_mut(socket.index()) else { return };
        let (Some(host), Some(exchange)) = (down.serving.host.as_ref(), down.exchange.as_ref()) else {
            return;
        };
        let question = ask(exchange, &host.tables, serve.row);
        let access = Access::Kept(&mut self.descriptors, now_ms);
        match finding::find(&question, access) {
            Some(answer) => self.answer_file(io, socket, serve, answer),
            None => {
                down.serving.waiting = Waiting::File(serve);
                self.submit_file_task(io, socket, Task::Find(Box::new(question)));
            }
        }
    }

    /// The program waits for a `file` matcher.
    pub fn match_file<I: Io>(&mut self, io: &mut I, socket: SocketId, row: u32, entry: u32) {
        let Some(down) = self.downstream(socket) else { return };
        let (Some(host), Some(exchange)) = (down.serving.host.as_ref(), down.exchange.as_ref()) else {
            return;
        };
        let question = matching::Question::new(&host.tables.file_matches[row as usize], exchange);
        down.serving.waiting = Waiting::FileMatch(entry);
        self.submit_file_task(io, socket, Task::Match(Box::new(question)));
    }

    pub(super) fn submit_file_task<I: Io>(&mut self, io: &mut I, socket: SocketId, task: Task) {
        let Some(down) = self.downstream(socket) else { return };
        let ticket = u64::from(down.generation) << 32 | u64::from(socket.0);
        if self.files.submit(task, ticket, &self.myself) {
            return;
        }
        let Some(down) = self.downstream(socket) else { return };
        down.serving.waiting = Waiting::Decision;
        if down.serving.answered {
            down.serving.reason = "files are overloaded";
            return self.abort(io, socket);
        }
        self.answer_error(io, socket, 503, "files are overloaded");
    }

    /// The pool's answer; the connection may be gone or serve another request by now.
    pub fn file_done<I: Io>(&mut self, io: &mut I, ticket: u64, done: Done) {
        let socket = SocketId(ticket as u32);
        let Some(down) = self.downstream(socket) else { return };
        if down.generation != (ticket >> 32) as u32 || down.phase != Phase::Serving {
            return;
        }
        match (done, down.serving.waiting) {
            (Done::Found(answer), Waiting::File(serve)) => {
                down.serving.waiting = Waiting::Decision;
                self.answer_file(io, socket, serve, *answer);
            }
            (Done::Matched(answer), Waiting::FileMatch(entry)) => {
                down.serving.waiting = Waiting::Decision;
                if let Some(exchange) = down.exchange.as_mut() {
                    let result = exchange.take_match(answer);
                    exchange.set_resume_result(result);
                }
                self.run_program(io, socket, entry);
            }
            (Done::Evaluated(outcome), Waiting::Page) => self.page_evaluated(io, socket, *outcome),
            (Done::Read(bytes), _) => self.file_read(io, socket, bytes),
            _ => {}
        }
        self.advance_input(io, socket);
    }

    fn answer_file<I: Io>(&mut self, io: &mut I, socket: SocketId, serve: Serve, answer: Answer) {
        match answer {
            Answer::File(found) => self.answer_found(io, socket, serve, found),
            Answer::Listing(listing) => self.answer_listing(io, socket, listing),
            Answer::RedirectDirectory => self.redirect_path(io, socket, |path| path.push(b'/')),
            Answer::NotFound if serve.entry != 0 => self.run_program(io, socket, serve.entry),
            Answer::NotFound => {
                if let Some(exchange) = self.exchange_of(socket) {
                    exchange.set_error_message("Not Found".to_owned());
                }
                self.answer_error(io, socket, 404, "no such file");
            }
            Answer::Denied => self.answer_error(io, socket, 403, "file may not be read"),
            Answer::Invalid => self.answer_error(io, socket, 400, "no path of a file"),
            Answer::Failed => self.answer_error(io, socket, 500, "file cannot be read"),
            Answer::Busy => {
                if let Some(exchange) = self.exchange_of(socket) {
                    exchange.answer.set(b"Retry-After", b"3");
                }
                self.answer_error(io, socket, 503, "out of descriptors");
            }
        }
    }

    fn exchange_of(&mut self, socket: SocketId) -> Option<&mut Exchange> {
        self.downstream(socket)?.exchange.as_deref_mut()
    }

    fn answer_found<I: Io>(&mut self, io: &mut I, socket: SocketId, serve: Serve, found: Found) {
        let Some(down) = self.downstream(socket) else { return };
        let in_error_routes = down.serving.in_error_routes;
        let Some(host) = down.serving.host.clone() else { return };
        let server = &host.tables.file_servers[serve.row as usize];
        let Some(exchange) = down.exchange.as_deref_mut() else { return };
        if !server.keeps_uris && keeps_last_element(exchange) {
            let slash = original_ends_with_slash(exchange);
            match (found.is_index, slash) {
                (true, false) => return self.redirect_path(io, socket, |path| path.push(b'/')),
                (false, true) => {
                    return self.redirect_path(io, socket, |path| {
                        path.pop();
                    });
                }
                _ => {}
            }
        }
        exchange.answer.add(b"Vary", b"Accept-Encoding");
        let reads = matches!(&exchange.method[..], b"GET" | b"HEAD");
        if !reads && !in_error_routes {
            exchange.answer.add(b"Allow", b"GET, HEAD");
            exchange.set_error_message("Method Not Allowed".to_owned());
            return self.answer_error(io, socket, 405, "file servers take GET and HEAD");
        }
        let Some(status) = override_status(exchange, server, in_error_routes) else {
            exchange.answer.set(b"Etag", &found.etag);
            if let Some(kind) = mime::types().find(&found.filename) {
                exchange.answer.set(b"Content-Type", kind.as_bytes());
            }
            return self.answer_error(io, socket, 500, "status of file_server is no number");
        };
        let built = Built::new(exchange, &found, reads);
        self.send_built(io, socket, found, built, status);
    }

    fn send_built<I: Io>(&mut self, io: &mut I, socket: SocketId, found: Found, built: Built, status: u16) {
        let status = if status == 0 { built.status } else { status };
        let (file, size, pieces) = (found.file, found.size, built.pieces.into());
        let sending = Sending { file, size, pieces, reading: false };
        if self.exchange_of(socket).is_some_and(|exchange| exchange.has_interceptions()) {
            return self.wrap_file(io, socket, (status, &built.fields, built.body), sending);
        }
        let origin = Origin::File { status, fields: &built.fields, body: built.body };
        self.send_file_answer(io, socket, origin, sending);
    }

    /// Sends the head, and of the file what the client takes.
    pub(super) fn send_file_answer<I: Io>(
        &mut self,
        io: &mut I,
        socket: SocketId,
        origin: Origin,
        mut sending: Sending,
    ) {
        let mut failed = false;
        let head_method = self.downstream(socket).is_some_and(|down| down.serving.head_method);
        let bytes_max = self.piece_bytes(io, socket);
        self.send_written(io, socket, |worker, out| {
            worker.write_answer_head(socket, origin, out);
            // What is copied goes out with its head: a small file is one record.
            if !head_method && !worker.lends(socket, &sending) {
                failed = !worker.write_first(socket, &mut sending, bytes_max, out);
            }
        });
        if failed {
            return self.cut_file(io, socket);
        }
        if head_method || sending.pieces.is_empty() {
            return self.end_answer(io, socket);
        }
        if let Some(down) = self.downstream(socket) {
            down.serving.file = Some(Box::new(sending));
        }
        self.send_file(io, socket);
    }

    /// Appends what is in memory of the first piece; false where the file has become shorter.
    fn write_first(
        &mut self,
        socket: SocketId,
        sending: &mut Sending,
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(Piece::Part(span)) = sending.pieces.front_mut() else { return true };
        let Some(down) = self.downstream(socket) else { return true };
        let length = span.length.min(bytes_max as u64) as usize;
        let count = if down.serving.passes_data() {
            let count = read(sending.file.as_fd(), span.start, length, Patience::Cached, out);
            down.serving.response_bytes += count.as_ref().map_or(0, |count| count.unwrap_or(0)) as u64;
            count
        } else {
            let mut bytes = std::mem::take(&mut self.scratch.file);
            bytes.clear();
            let count = read(sending.file.as_fd(), span.start, length, Patience::Cached, &mut bytes);
            self.write_answer_data(socket, &bytes, out);
            self.scratch.file = bytes;
            count
        };
        match count {
            Ok(None) => true,
            Ok(Some(count)) if count > 0 => {
                sending.advance(count as u64);
                true
            }
            Ok(Some(_)) | Err(_) => false,
        }
    }

    /// Sends as much of the file as the client takes and the kernel has in memory.
    pub fn send_file<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        loop {
            if self.is_full(io, socket) {
                return self.notify_drained(io, socket);
            }
            if self.holds_pace(socket) {
                return;
            }
            match self.lend_file(io, socket) {
                Lent::Wait => return,
                Lent::Cut => return self.cut_file(io, socket),
                Lent::Copy => {}
            }
            let bytes_max = self.piece_bytes(io, socket);
            let mut bytes = std::mem::take(&mut self.scratch.file);
            bytes.clear();
            let Some(down) = self.downstream(socket).filter(|down| down.phase == Phase::Serving) else {
                self.scratch.file = bytes;
                return;
            };
            let Some(sending) = down.serving.file.as_mut().filter(|sending| !sending.reading) else {
                self.scratch.file = bytes;
                return;
            };
            let step = sending.take(bytes_max, &mut bytes);
            if down.serving.passes_data() {
                down.serving.response_bytes += bytes.len() as u64;
                self.send_downstream(io, socket, &bytes);
            } else if !bytes.is_empty() {
                self.answer_data(io, socket, &bytes);
            }
            self.scratch.file = bytes;
            match step {
                Taken::Some => {}
                Taken::All => {
                    if let Some(down) = self.downstream(socket) {
                        down.serving.file = None;
                    }
                    return self.end_answer(io, socket);
                }
                Taken::Later(file, span) => {
                    let length = span.length.min(bytes_max as u64) as usize;
                    return self.submit_file_task(
                        io,
                        socket,
                        Task::Read { file, offset: span.start, length },
                    );
                }
                Taken::Cut => return self.cut_file(io, socket),
            }
        }
    }

    /// Sends of a large part without copying it, where the client's side is plain and the kernel has it in memory.
    fn lend_file<I: Io>(&mut self, io: &mut I, socket: SocketId) -> Lent {
        let Some(down) = self.downstream(socket).filter(|down| down.phase == Phase::Serving) else {
            return Lent::Copy;
        };
        let Some(mut sending) = down.serving.file.take_if(|sending| !sending.reading) else {
            return Lent::Copy;
        };
        let lent = match self.lends(socket, &sending) {
            true => self.lend_part(io, socket, &mut sending),
            false => Lent::Copy,
        };
        if let Some(down) = self.downstream(socket) {
            down.serving.file = Some(sending);
        }
        lent
    }

    /// The next bytes may go without copying.
    fn lends(&mut self, socket: SocketId, sending: &Sending) -> bool {
        let is_stream = self.is_stream(socket);
        let Some(down) = self.downstream(socket) else { return false };
        let Some(Piece::Part(span)) = sending.pieces.front() else { return false };
        !is_stream && down.session.is_none() && down.serving.passes_data() && span.length >= LENT_BYTES_MIN
    }

    fn lend_part<I: Io>(&mut self, io: &mut I, socket: SocketId, sending: &mut Sending) -> Lent {
        let Some(&Piece::Part(span)) = sending.pieces.front() else { return Lent::Copy };
        let length = span.length.min(LENT_BYTES_MAX);
        if !sending.file.has_in_memory(span.start, length, sending.size) {
            return Lent::Copy;
        }
        match io.send_file(socket, sending.file.as_fd(), span.start, length as usize) {
            FileSent::Taken(0) => Lent::Cut,
            FileSent::Taken(count) => {
                sending.advance(count as u64);
                if let Some(down) = self.downstream(socket) {
                    down.serving.response_bytes += count as u64;
                }
                if sending.pieces.is_empty() {
                    // The end of the answer follows at once.
                    return Lent::Copy;
                }
                io.await_room(socket);
                Lent::Wait
            }
            FileSent::Full => Lent::Wait,
            FileSent::Unable => Lent::Copy,
        }
    }

    fn file_read<I: Io>(&mut self, io: &mut I, socket: SocketId, bytes: Option<Vec<u8>>) {
        let Some(sending) = self.downstream(socket).and_then(|down| down.serving.file.as_mut()) else {
            return;
        };
        if !std::mem::take(&mut sending.reading) {
            return;
        }
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { return self.cut_file(io, socket) };
        sending.advance(bytes.len() as u64);
        self.answer_data(io, socket, &bytes);
        self.send_file(io, socket);
    }

    fn cut_file<I: Io>(&mut self, io: &mut I, socket: SocketId) {
        if let Some(down) = self.downstream(socket) {
            down.serving.reason = "file became shorter while it was sent";
            down.serving.file = None;
        }
        self.abort(io, socket);
    }

    fn answer_listing<I: Io>(&mut self, io: &mut I, socket: SocketId, listing: Listing) {
        let Some(exchange) = self.exchange_of(socket) else { return };
        exchange.answer.add(b"Vary", b"Accept, Accept-Encoding");
        for cookie in &listing.cookies {
            exchange.answer.add(b"Set-Cookie", cookie.as_bytes());
        }
        let mut fields = Fields::default();
        let Some(body) = listing.body else {
            return self.answer_whole(io, socket, 304, &fields, &[]);
        };
        fields.push_checked(b"Last-Modified", &date(listing.modified_s));
        fields.push_checked(b"Content-Type", listing.content_type.as_bytes());
        self.answer_whole(io, socket, 200, &fields, &body);
    }

    /// 308 to the original path as `change` makes it.
    fn redirect_path<I: Io>(&mut self, io: &mut I, socket: SocketId, change: impl FnOnce(&mut Vec<u8>)) {
        let Some(exchange) = self.exchange_of(socket) else { return };
        let mut path = original_path(exchange);
        change(&mut path);
        let target = redirect(&path, exchange.has_query.then_some(&exchange.query[..]));
        let typed = exchange.answer.contains(b"content-type");
        let is_get = exchange.method == b"GET";
        let mut fields = Fields::default();
        fields.push_checked(b"Location", &target.location);
        if !typed && (is_get || exchange.method == b"HEAD") {
            fields.push_checked(b"Content-Type", b"text/html; charset=utf-8");
        }
        let page = if is_get && !typed { target.page } else { Vec::new() };
        self.answer_whole(io, socket, 308, &fields, &page);
    }

    fn answer_whole<I: Io>(
        &mut self,
        io: &mut I,
        socket: SocketId,
        status: u16,
        fields: &Fields,
        body: &[u8],
    ) {
        self.send_written(io, socket, |worker, out| {
            let length = Body::Length(body.len() as u64);
            worker.write_answer_head(socket, Origin::File { status, fields, body: length }, out);
            worker.write_answer_data(socket, body, out);
        });
        self.end_answer(io, socket);
    }
}

impl Exchange {
    /// Keeps what a `file` matcher found; gives RESUME_RESULT.
    pub fn take_match(&mut self, answer: matching::Answer) -> u32 {
        match answer {
            matching::Answer::None => 0,
            matching::Answer::Raised => 3,
            matching::Answer::File(matched) => {
                let kind: &[u8] = if matched.is_directory { b"directory" } else { b"file" };
                for (name, value) in [
                    ("relative", matched.relative),
                    ("absolute", matched.absolute),
                    ("remainder", matched.remainder),
                    ("type", kind.to_vec()),
                ] {
                    self.variables.push(format!("http.matchers.file.{name}").into_bytes(), value);
                }
                1
            }
        }
    }
}
