//! Answers with a greeting: `zeroserve_call @NAME@ greet { greeting TEXT }`.
#![no_std]
#![no_main]

use zeroserve::*;

static BYTES: Room<1024> = Room::new();

zeroserve::function! {
    fn greet(_context: &Context) -> Verdict {
        let mut answer = Text::new(BYTES.take());
        let length = read_json(INPUT, b"/config/greeting", answer.rest());
        answer.grow(length);
        answer.put(b", ");
        match read_query(b"name", answer.rest()) {
            NONE => answer.put(b"world"),
            length => answer.grow(length),
        }
        answer.put(b"\n");
        if answer.is_full() {
            return Verdict::error(414);
        }

        write_response_header(b"Content-Type", b"text/plain; charset=utf-8");
        set_response_body(answer.as_bytes());
        Verdict::respond(200)
    }
}
