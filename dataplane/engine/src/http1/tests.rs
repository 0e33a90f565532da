//! Strictness as tables, and properties: any pieces give the same reading, any bytes a reading or one violation.

use super::body::BodyDecoder;
use super::chunked::{ChunkDecoder, LAST_CHUNK, write_chunk};
use super::head::HeadScanner;
use super::response::Asked;
use super::{Violation, request, response};
use crate::limits::*;
use proptest::prelude::*;

/// Status of the violation, or a summary of the reading.
fn read_request(bytes: &[u8]) -> Result<String, u16> {
    let mut scanner = HeadScanner::default();
    let length =
        scanner.scan(bytes, REQUEST_HEAD_BYTES_MAX).map_err(|violation| violation.status)?.ok_or(0u16)?;
    let mut space = request::field_space();
    let request = request::parse(&bytes[..length], &mut space).map_err(|violation| violation.status)?;
    let body = match request.body {
        BodyDecoder::Chunked(_) => "chunked".to_owned(),
        _ => format!("{:?}", request.length),
    };
    Ok(format!(
        "{} {} 1.{} {body}{}{}{}",
        String::from_utf8_lossy(request.method),
        String::from_utf8_lossy(request.target),
        request.minor,
        if request.persistent { " keep" } else { "" },
        if request.expects_continue { " expect" } else { "" },
        if request.upgrade.is_some() { " upgrade" } else { "" },
    ))
}

const REQUESTS: &[(&str, Result<&str, u16>)] = &[
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok("GET / 1.1 None keep")),
    ("GET / HTTP/1.0\r\n\r\n", Ok("GET / 1.0 None")),
    ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", Ok("GET / 1.0 None keep")),
    ("GET / HTTP/1.1\r\nConnection: foo, close\r\n\r\n", Ok("GET / 1.1 None")),
    ("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", Ok("POST / 1.1 Some(0) keep")),
    ("POST / HTTP/1.1\r\nContent-Length: 007\r\n\r\n", Ok("POST / 1.1 Some(7) keep")),
    ("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n", Ok("POST / 1.1 chunked keep")),
    (
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\n",
        Ok("POST / 1.1 Some(1) keep expect"),
    ),
    ("GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", Ok("GET / 1.1 None keep")),
    (
        "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        Ok("GET / 1.1 None keep upgrade"),
    ),
    ("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", Ok("GET / 1.1 None keep")),
    ("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", Ok("GET / 1.0 None")),
    ("GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", Ok("GET / 1.1 None keep")),
    ("GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x, HTTP/2.0\r\n\r\n", Ok("GET / 1.1 None keep")),
    (
        "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\nUpgrade: h2c\r\n\r\n",
        Ok("GET / 1.1 None keep upgrade"),
    ),
    ("GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade:\r\nUpgrade: y\r\n\r\n", Ok("GET / 1.1 None keep")),
    (
        "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\nUpgrade: y\r\n\r\n",
        Ok("GET / 1.1 None keep"),
    ),
    (
        "PUT / HTTP/1.1\r\nContent-Length: 1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        Ok("PUT / 1.1 Some(1) keep"),
    ),
    ("GET / HTTP/1.1\r\nX: a\tb\u{e9}\r\n\r\n", Ok("GET / 1.1 None keep")),
    ("GET / HTTP/1.1\nHost: a\n\n", Err(400)),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", Err(400)),
    ("GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", Err(400)),
    ("GET / HTTP/1.1\r\nX: a\0b\r\n\r\n", Err(400)),
    ("GET / HTTP/1.1\r\nX: a\x7fb\r\n\r\n", Err(400)),
    ("GET / HTTP/1.1\r\nX : a\r\n\r\n", Err(400)),
    ("GET / HTTP/1.1\r\n X: a\r\n\r\n", Err(400)),
    ("GET / HTTP/1.1\r\nX: a\r\n folded\r\n\r\n", Err(400)),
    ("GET / HTTP/1.1\r\nX\r\n\r\n", Err(400)),
    ("GET / HTTP/1.1\r\n: a\r\n\r\n", Err(400)),
    ("GET / HTTP/1.1\r\nX(y): a\r\n\r\n", Err(400)),
    ("GET  / HTTP/1.1\r\n\r\n", Err(400)),
    ("GET / HTTP/1.1 \r\n\r\n", Err(400)),
    ("GET /\r\n\r\n", Err(400)),
    ("GET /a b HTTP/1.1\r\n\r\n", Err(400)),
    ("GET /\u{e9} HTTP/1.1\r\n\r\n", Err(400)),
    ("G(T / HTTP/1.1\r\n\r\n", Err(400)),
    ("GET / HTTP/1.2\r\n\r\n", Err(505)),
    ("GET / HTTP/2.0\r\n\r\n", Err(505)),
    ("GET / HTTP/1\r\n\r\n", Err(400)),
    ("GET / HTTP/1.\r\n\r\n", Err(400)),
    ("GET / HTTP/01.01\r\n\r\n", Err(400)),
    ("GET / HTTP/ 1.1\r\n\r\n", Err(400)),
    ("PRI * HTTP/2.0\r\n\r\n", Err(505)),
    ("GET / http/1.1\r\n\r\n", Err(400)),
    ("CONNECT a:1 HTTP/1.1\r\n\r\n", Err(405)),
    ("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Err(400)),
    ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", Err(400)),
    ("POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n", Err(400)),
    ("POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", Err(400)),
    ("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", Err(400)),
    ("POST / HTTP/1.1\r\nContent-Length: 0x1\r\n\r\n", Err(400)),
    ("POST / HTTP/1.1\r\nContent-Length:\r\n\r\n", Err(400)),
    ("POST / HTTP/1.1\r\nContent-Length: 1 1\r\n\r\n", Err(400)),
    ("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", Err(400)),
    ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Err(400)),
    ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Err(400)),
    ("POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n", Err(400)),
    ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", Err(400)),
    ("POST / HTTP/1.1\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n", Err(400)),
    ("POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: more\r\n\r\n", Err(417)),
    ("GET / HTTP/1.1\r\nHost: a\r\n", Err(0)),
];

#[test]
fn every_request_has_one_reading_or_is_refused() {
    for (bytes, expected) in REQUESTS {
        let read = read_request(bytes.as_bytes());
        assert_eq!(read.as_deref().map_err(|status| *status), *expected, "{bytes:?}");
    }
}

#[test]
fn limits_hold_at_their_value_and_one_past_it() {
    let fields = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(count));
    assert!(read_request(fields(HEADER_FIELDS_MAX).as_bytes()).is_ok());
    assert_eq!(read_request(fields(HEADER_FIELDS_MAX + 1).as_bytes()), Err(431));
    let frame = "GET / HTTP/1.1\r\nX: \r\n\r\n".len();
    let sized = |bytes: usize| format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(bytes - frame));
    assert!(read_request(sized(REQUEST_HEAD_BYTES_MAX).as_bytes()).is_ok());
    assert_eq!(read_request(sized(REQUEST_HEAD_BYTES_MAX + 1).as_bytes()), Err(431));
    let target = |bytes: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(bytes - 1));
    assert!(read_request(target(REQUEST_TARGET_BYTES_MAX).as_bytes()).is_ok());
    assert_eq!(read_request(target(REQUEST_TARGET_BYTES_MAX + 1).as_bytes()), Err(414));
    assert_eq!(read_request("a".repeat(REQUEST_HEAD_BYTES_MAX + 1).as_bytes()), Err(400));
    assert_eq!(read_request(format!("GET /{}", "a".repeat(REQUEST_HEAD_BYTES_MAX)).as_bytes()), Err(414));
}

fn read_response(bytes: &[u8], asked: Asked<'_>) -> Result<String, Violation> {
    let mut scanner = HeadScanner::default();
    let length = scanner.scan(bytes, RESPONSE_HEAD_BYTES_MAX)?.ok_or(Violation::bad("incomplete"))?;
    let mut space = request::field_space();
    let answer = response::parse(&bytes[..length], asked, &mut space)?;
    let body = match answer.body {
        BodyDecoder::Empty => "empty".to_owned(),
        BodyDecoder::Length(length) => length.to_string(),
        BodyDecoder::Chunked(_) => "chunked".to_owned(),
        BodyDecoder::UntilClose => "close".to_owned(),
    };
    let interim = if answer.is_interim() { " interim" } else { "" };
    Ok(format!("{} {body}{}{interim}", answer.status, if answer.persistent { " keep" } else { "" }))
}

#[test]
fn every_response_has_one_framing_or_is_refused() {
    let plain = Asked::default();
    let head = Asked { head: true, upgrade: None };
    let upgrade = Asked { head: false, upgrade: Some(b"x") };
    let choice = Asked { upgrade: Some(b"w, x"), ..Asked::default() };
    let cases: &[(&str, Asked<'_>, Option<&str>)] = &[
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", plain, Some("200 5 keep")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", plain, Some("200 empty keep")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", plain, Some("200 chunked keep")),
        ("HTTP/1.1 200 OK\r\n\r\n", plain, Some("200 close")),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", plain, Some("200 5")),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", plain, Some("200 5 keep")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", plain, Some("200 5")),
        ("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", plain, Some("200 5 keep")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", head, Some("200 empty keep")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", head, Some("200 empty keep")),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", plain, Some("304 empty keep")),
        ("HTTP/1.1 204 No Content\r\n\r\n", plain, Some("204 empty keep")),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", plain, Some("204 empty")),
        ("HTTP/1.1 100 Continue\r\n\r\n", plain, Some("100 empty keep interim")),
        ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", plain, Some("103 empty keep interim")),
        ("HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", upgrade, Some("101 empty keep")),
        ("HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", plain, None),
        ("HTTP/1.1 101 S\r\nUpgrade: X\r\nConnection: upgrade\r\n\r\n", upgrade, Some("101 empty keep")),
        ("HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", choice, Some("101 empty keep")),
        ("HTTP/1.1 101 S\r\nUpgrade: w, x\r\nConnection: upgrade\r\n\r\n", choice, Some("101 empty keep")),
        ("HTTP/1.1 101 S\r\nUpgrade: x, y\r\nConnection: upgrade\r\n\r\n", choice, None),
        ("HTTP/1.1 101 S\r\nConnection: upgrade\r\n\r\n", upgrade, None),
        ("HTTP/1.1 101 S\r\nUpgrade: y\r\nConnection: upgrade\r\n\r\n", upgrade, None),
        ("HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n", plain, None),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", plain, None),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", plain, None),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", plain, None),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", plain, None),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", plain, None),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", plain, None),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", plain, None),
        ("HTTP/1.1 200 OK\r\nX : a\r\n\r\n", plain, None),
        ("HTTP/1.1 200 OK\nContent-Length: 5\n\n", plain, None),
        ("HTTP/1.1 200 OK\r\nX: \0\r\n\r\n", plain, None),
        ("HTTP/2 200 OK\r\n\r\n", plain, None),
        ("HTTP/1.1 20 OK\r\n\r\n", plain, None),
        ("HTTP/1.1 099 OK\r\n\r\n", plain, None),
        ("ICY 200 OK\r\n\r\n", plain, None),
        ("hello\r\n\r\n", plain, None),
    ];
    for (bytes, asked, expected) in cases {
        assert_eq!(read_response(bytes.as_bytes(), *asked).ok().as_deref(), *expected, "{bytes:?}");
    }
}

/// Body and bytes used, the input cut into pieces of `step`.
fn decode_chunks(input: &[u8], step: usize) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let mut decoder = ChunkDecoder::default();
    let (mut body, mut used) = (Vec::new(), 0);
    for piece in input.chunks(step) {
        let mut at = 0;
        while at < piece.len() {
            let found = decoder.next(&piece[at..]).map_err(|violation| violation.rule)?;
            body.extend_from_slice(found.body(&piece[at..]));
            at += found.consumed;
            if found.done {
                return Ok(Some((body, used + at)));
            }
        }
        used += piece.len();
    }
    Ok(None)
}

#[test]
fn chunks_are_read_strictly_whatever_the_pieces() {
    let big = format!("{}\r\n", "0".repeat(17));
    let extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(CHUNK_EXTENSION_BYTES_MAX as usize + 1));
    let trailer = format!("0\r\nX: {}\r\n\r\n", "y".repeat(TRAILER_BYTES_MAX as usize));
    let cases: &[(&str, Option<&str>)] = &[
        ("5\r\nhello\r\n0\r\n\r\n", Some("hello")),
        ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nnext", Some("hello world")),
        ("0005\r\nhello\r\n0\r\n\r\n", Some("hello")),
        ("5;a=b;c=\"d\"\r\nhello\r\n0;z\r\n\r\n", Some("hello")),
        ("5; a = b;\tc =\" \\\" d;\u{e9}\";e\r\nhello\r\n0\r\n\r\n", Some("hello")),
        ("A\r\n0123456789\r\n0\r\nX-Trailer: dropped\r\nY:\r\n\r\n", Some("0123456789")),
        ("a\r\n0123456789\r\n0\r\n\r\n", Some("0123456789")),
        ("\r\n", None),
        ("5 \r\nhello\r\n0\r\n\r\n", None),
        (" 5\r\nhello\r\n0\r\n\r\n", None),
        ("0x5\r\nhello\r\n0\r\n\r\n", None),
        ("+5\r\nhello\r\n0\r\n\r\n", None),
        ("-5\r\nhello\r\n0\r\n\r\n", None),
        ("5\nhello\r\n0\r\n\r\n", None),
        ("5\r\nhello\n0\r\n\r\n", None),
        ("5\r\nhelloX\r\n0\r\n\r\n", None),
        ("5\rXhello\r\n0\r\n\r\n", None),
        ("5;a\nb\r\nhello\r\n0\r\n\r\n", None),
        ("5;a\0\r\nhello\r\n0\r\n\r\n", None),
        ("5;\r\nhello\r\n0\r\n\r\n", None),
        ("5; \r\nhello\r\n0\r\n\r\n", None),
        ("5;;a\r\nhello\r\n0\r\n\r\n", None),
        ("5;a;\r\nhello\r\n0\r\n\r\n", None),
        ("5;a b\r\nhello\r\n0\r\n\r\n", None),
        ("5;[a]\r\nhello\r\n0\r\n\r\n", None),
        ("5;=b\r\nhello\r\n0\r\n\r\n", None),
        ("5;a=\r\nhello\r\n0\r\n\r\n", None),
        ("5;a==b\r\nhello\r\n0\r\n\r\n", None),
        ("5;a=\"b\r\nhello\"\r\n0\r\n\r\n", None),
        ("5;a=\"b\"c\r\nhello\r\n0\r\n\r\n", None),
        ("5;a=\"b\\\r\n\"\r\nhello\r\n0\r\n\r\n", None),
        ("5;\u{e9}\r\nhello\r\n0\r\n\r\n", None),
        ("0\r\n folded: x\r\n\r\n", None),
        ("0\r\nno colon\r\n\r\n", None),
        ("0\r\nX: a\nY: b\r\n\r\n", None),
        ("0\r\n\n", None),
        ("g\r\n", None),
        (&big, None),
        (&extension, None),
        (&trailer, None),
    ];
    for (input, expected) in cases {
        for step in [1, 2, 3, 7, usize::MAX] {
            match (decode_chunks(input.as_bytes(), step), expected) {
                (Ok(Some((body, _))), Some(expected)) => assert_eq!(body, expected.as_bytes(), "{input:?}"),
                (Err(_), None) => {}
                (other, _) => panic!("{input:?} in pieces of {step}: {other:?}"),
            }
        }
    }
}

#[test]
fn bytes_after_the_last_chunk_are_left_alone() {
    let (body, used) = decode_chunks(b"1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1", usize::MAX).unwrap().unwrap();
    assert_eq!((body.as_slice(), used), (&b"x"[..], 11));
}

fn pieces(bytes: &[u8], step: usize) -> Result<Option<usize>, Violation> {
    let mut scanner = HeadScanner::default();
    let mut end = 0;
    while end < bytes.len() {
        end = (end + step).min(bytes.len());
        if let Some(length) = scanner.scan(&bytes[..end], REQUEST_HEAD_BYTES_MAX)? {
            return Ok(Some(length));
        }
    }
    Ok(None)
}

#[test]
fn a_head_ends_at_the_same_byte_whatever_the_pieces() {
    for (bytes, _) in REQUESTS {
        let whole = pieces(bytes.as_bytes(), bytes.len());
        for step in 1..8 {
            assert_eq!(pieces(bytes.as_bytes(), step), whole, "{bytes:?} in pieces of {step}");
        }
    }
}

/// Bytes that are nearly HTTP: the ones that parsers disagree about.
fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"GET",
        b" ",
        b"/",
        b"HTTP/1.1",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"\t",
        b":",
        b"Host: a",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"0",
        b"5",
        b"hello",
        b";",
        b",",
        b"X: y",
        b"HTTP/1.1 200 OK",
        b"\x80",
        b"f",
    ];
    proptest::collection::vec(proptest::sample::select(words), 0..30).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn nearly_http_never_panics_and_pieces_do_not_matter(bytes in nearly_http(), step in 1usize..9) {
        prop_assert_eq!(pieces(&bytes, step), pieces(&bytes, usize::MAX / 2));
        if let Ok(Some(length)) = pieces(&bytes, step) {
            prop_assert!(bytes[..length].ends_with(b"\r\n\r\n"));
            let mut space = request::field_space();
            if let Ok(request) = request::parse(&bytes[..length], &mut space) {
                prop_assert!(!(request.length.is_some() && matches!(request.body, BodyDecoder::Chunked(_))));
                for field in request.fields {
                    let clean = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
                    prop_assert!(field.value.iter().all(clean));
                }
            }
            let mut space = request::field_space();
            let _ = response::parse(&bytes[..length], Asked::default(), &mut space);
        }
        let whole = decode_chunks(&bytes, usize::MAX);
        prop_assert_eq!(decode_chunks(&bytes, step), whole);
    }

    #[test]
    fn what_we_frame_we_read_back(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..9)) {
        let mut wire = Vec::new();
        chunks.iter().for_each(|chunk| write_chunk(chunk, &mut wire));
        wire.extend_from_slice(LAST_CHUNK);
        let (body, used) = decode_chunks(&wire, 5).unwrap().unwrap();
        prop_assert_eq!(body, chunks.concat());
        prop_assert_eq!(used, wire.len());
    }
}

#[test]
fn the_trailer_section_is_shown_without_the_line_that_ends_it() {
    let input = b"1\r\na\r\n0\r\nX-A: 1\r\nb:\r\n\r\nrest";
    for step in [1, 2, 3, 7, input.len()] {
        let (mut decoder, mut seen, mut at) = (ChunkDecoder::default(), Vec::new(), 0);
        while !decoder.is_done() {
            let here = &input[at..(at + step).min(input.len())];
            let piece = decoder.next(here).unwrap();
            seen.extend_from_slice(piece.trailer_lines(here));
            at += piece.consumed;
        }
        assert_eq!((seen.as_slice(), &input[at..]), (&b"X-A: 1\r\nb:\r\n"[..], &b"rest"[..]), "{step}");
    }
}
