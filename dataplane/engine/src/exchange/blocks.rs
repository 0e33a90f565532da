//! Heads as HTTP/2 header blocks: the counterpart of the lines that `writing` and `answering` push.

use super::decimals::push_decimal;
use super::explaining::TELLING_FIELD;
use super::statuses::push_date;
use super::writing::{each_response_field, is_passed_down};
use super::{Body, Exchange, Framing, HTTP_2, ResponseHead};
use crate::http2::hpack::encoder;

impl Exchange {
    /// Name and version of the client's protocol.
    pub fn protocol(&self) -> &'static str {
        match self.http_minor {
            0 => "HTTP/1.0",
            HTTP_2 => "HTTP/2.0",
            _ => "HTTP/1.1",
        }
    }

    /// Appends the block of an upstream's answer that nothing changes.
    pub(super) fn write_unchanged_block(&self, head: &ResponseHead, framing: Framing, out: &mut Vec<u8>) {
        push_status(head.status, out);
        let switched = head.status == 101;
        let mut dated = false;
        each_response_field(head, |field| {
            dated |= field.name.len() == 4 && field.name.eq_ignore_ascii_case(b"date");
            if !(switched && field.name.eq_ignore_ascii_case(b"sec-websocket-accept")) {
                encoder::field(field.name, field.value, out);
            }
        });
        self.end_block(dated, framing, out);
    }

    /// Appends an interim head with what was set so far, which is gone then.
    pub fn write_interim_block(&mut self, head: &ResponseHead, out: &mut Vec<u8>) {
        push_status(head.status, out);
        for field in self.answer.iter().filter(|field| is_passed_down(field.name)) {
            encoder::field(field.name, field.value, out);
        }
        each_response_field(head, |field| encoder::field(field.name, field.value, out));
        self.answer.clear();
    }

    /// Appends the block of the answer whose fields are in `scratch`.
    pub(super) fn write_answer_block(&self, status: u16, framing: Framing, out: &mut Vec<u8>) {
        push_status(status, out);
        for field in self.scratch.iter().filter(|field| is_passed_down(field.name)) {
            if !(status == 101 && field.name.eq_ignore_ascii_case(b"sec-websocket-accept")) {
                encoder::field(field.name, field.value, out);
            }
        }
        if !self.explanation.is_empty() {
            encoder::field(TELLING_FIELD, &self.explanation, out);
        }
        self.end_block(self.scratch.contains(b"date"), framing, out);
    }

    fn end_block(&self, dated: bool, framing: Framing, out: &mut Vec<u8>) {
        if !dated {
            let mut date = Vec::with_capacity(32);
            push_date(self.now.unix_ms, &mut date);
            encoder::field(b"date", &date, out);
        }
        if let Body::Length(length) = framing.body {
            let mut text = Vec::with_capacity(20);
            push_decimal(length, &mut text);
            encoder::field(b"content-length", &text, out);
        }
    }
}

/// A switched protocol is a plain success here (RFC 8441 5).
fn push_status(status: u16, out: &mut Vec<u8>) {
    encoder::status(if status == 101 { 200 } else { status }, out);
}
