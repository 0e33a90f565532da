//! The state machine against hand-made frames: states, windows, turns, the budget; pieces of any size read the same, any
//! bytes end in events or one violation.

use super::fields::{Answer, Request};
use super::frames::{self, Code, FrameHead};
use super::hpack::decoder::FieldList;
use super::hpack::encoder;
use super::multiplex::NOBODY;
use super::{Event, Multiplex, Role, Violation};
use crate::limits::*;
use proptest::prelude::*;

pub(super) const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "shop.example")];

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        // The encoder lower-cases; a literal keeps what the test wrote.
        block.push(0);
        block.push(name.len() as u8);
        block.extend(name.bytes());
        block.push(value.len() as u8);
        block.extend(value.bytes());
    }
    block
}

pub(super) fn headers(id: u32, fields: &[(&str, &str)], flags: u8) -> Vec<u8> {
    frame(frames::HEADERS, flags | frames::END_HEADERS, id, &block(fields))
}

pub(super) fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frames::push(kind, flags, id, payload, &mut out);
    out
}

/// A server after the client's preface and empty SETTINGS.
pub(super) fn server() -> Multiplex {
    let mut server = Multiplex::new(Role::Server, 0);
    let begin = [frames::PREFACE, &frame(frames::SETTINGS, 0, 0, &[])].concat();
    assert_eq!(events(&mut server, &begin), Ok(vec![Event::Ready]));
    server.out.clear();
    server
}

pub(super) fn events(multiplex: &mut Multiplex, input: &[u8]) -> Result<Vec<Event>, Violation> {
    let (mut at, mut events) = (0, Vec::new());
    while let Some(event) = multiplex.receive(input, &mut at)? {
        if let Event::Head { id, .. } = event {
            multiplex.accept(id, id + 1000);
        }
        events.push(event);
    }
    Ok(events)
}

/// Kind, stream and payload of every frame that waits to be sent.
pub(super) fn sent(multiplex: &mut Multiplex) -> Vec<(u8, u32, Vec<u8>)> {
    let out = std::mem::take(&mut multiplex.out);
    let (mut at, mut seen) = (0, Vec::new());
    while let Some(head) = FrameHead::parse(&out[at..]) {
        let end = at + frames::HEAD_BYTES + head.length;
        seen.push((head.kind, head.stream, out[at + frames::HEAD_BYTES..end].to_vec()));
        at = end;
    }
    assert_eq!(at, out.len());
    seen
}

fn data_bytes(multiplex: &mut Multiplex, id: u32) -> usize {
    let frames = sent(multiplex);
    frames.iter().filter(|(kind, stream, _)| (*kind, *stream) == (frames::DATA, id)).map(|f| f.2.len()).sum()
}

#[test]
fn what_ends_the_connection() {
    let update = |id, increment: u32| frame(frames::WINDOW_UPDATE, 0, id, &increment.to_be_bytes());
    let cases: &[(Vec<u8>, Code)] = &[
        (frame(frames::DATA, 0, 0, b"x"), Code::Protocol),
        (frame(frames::DATA, 0, 1, b"x"), Code::Protocol),
        (frame(frames::DATA, frames::PADDED, 1, &[9, 0]), Code::Protocol),
        (headers(2, GET, 0), Code::Protocol),
        (frame(frames::CONTINUATION, 0, 1, b""), Code::Protocol),
        (frame(frames::PRIORITY, 0, 0, &[0; 5]), Code::Protocol),
        (frame(frames::RST_STREAM, 0, 1, &[0; 4]), Code::Protocol),
        (frame(frames::RST_STREAM, 0, 1, &[0; 3]), Code::FrameSize),
        (frame(frames::SETTINGS, 0, 1, &[]), Code::Protocol),
        (frame(frames::SETTINGS, 0, 0, &[0; 5]), Code::FrameSize),
        (frame(frames::SETTINGS, frames::ACK, 0, &[0; 6]), Code::FrameSize),
        (frame(frames::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]), Code::Protocol),
        (frame(frames::SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]), Code::FlowControl),
        (frame(frames::SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff]), Code::Protocol),
        (frame(frames::PUSH_PROMISE, 0, 1, &[0; 4]), Code::Protocol),
        (frame(frames::PING, 0, 0, &[0; 7]), Code::FrameSize),
        (frame(frames::PING, 0, 1, &[0; 8]), Code::Protocol),
        (frame(frames::GOAWAY, 0, 0, &[0; 7]), Code::FrameSize),
        (update(0, 0), Code::Protocol),
        (update(1, 1), Code::Protocol),
        (update(0, 0x7fff_ffff), Code::FlowControl),
        (frame(frames::HEADERS, frames::END_HEADERS, 1, &[0x80]), Code::Compression),
        (frame(frames::DATA, 0, 1, &[0; 16_385]), Code::FrameSize),
        ([frame(frames::HEADERS, 0, 1, &[]), frame(frames::PING, 0, 0, &[0; 8])].concat(), Code::Protocol),
        ([headers(5, GET, 1), headers(3, GET, 1)].concat(), Code::Protocol),
    ];
    for (number, (bytes, code)) in cases.iter().enumerate() {
        let result = events(&mut server(), bytes);
        assert_eq!(result.map_err(|violation| violation.code), Err(*code), "case {number}");
    }
    let mut fresh = Multiplex::new(Role::Server, 0);
    assert!(events(&mut fresh, b"GET / HTTP/1.1\r\n").is_err(), "no preface");
    let mut fresh = Multiplex::new(Role::Server, 0);
    let ping = [frames::PREFACE, &frame(frames::PING, 0, 0, &[0; 8])].concat();
    assert!(events(&mut fresh, &ping).is_err(), "first frame is not SETTINGS");
}

#[test]
fn what_resets_one_stream() {
    let cases: &[(Vec<u8>, Code)] = &[
        ([headers(1, GET, 1), frame(frames::DATA, 0, 1, b"x")].concat(), Code::StreamClosed),
        ([headers(1, GET, 0), headers(1, GET, 0)].concat(), Code::Protocol),
        ([headers(1, GET, 0), headers(1, &[(":path", "/")], 1)].concat(), Code::Protocol),
        ([headers(1, GET, 0), frame(frames::WINDOW_UPDATE, 0, 1, &[0; 4])].concat(), Code::Protocol),
        ([headers(1, GET, 0), frame(frames::PRIORITY, 0, 1, &[0; 4])].concat(), Code::FrameSize),
        ([headers(1, GET, 0), frame(frames::PRIORITY, 0, 1, &[0, 0, 0, 1, 0])].concat(), Code::Protocol),
        (
            [headers(1, GET, 0), frame(frames::WINDOW_UPDATE, 0, 1, &[0x7f, 255, 255, 255])].concat(),
            Code::FlowControl,
        ),
    ];
    for (number, (bytes, code)) in cases.iter().enumerate() {
        let mut server = server();
        let last = events(&mut server, bytes).unwrap().pop();
        let reset = Event::Reset { owner: 1001, code: *code as u32, by_peer: false };
        assert_eq!(last, Some(reset), "case {number}");
        let frame = (frames::RST_STREAM, 1, (*code as u32).to_be_bytes().to_vec());
        assert_eq!(sent(&mut server).pop(), Some(frame), "case {number}");
    }
}

#[test]
fn a_body_that_is_not_its_content_length_is_reset() {
    for (pieces, well) in [
        (&[(3, false), (2, true)][..], true),
        (&[(5, false), (0, true)], true),
        (&[(6, false)], false),
        (&[(5, false), (1, true)], false),
        (&[(4, true)], false),
    ] {
        let mut server = server();
        events(&mut server, &headers(1, GET, 0)).unwrap();
        server.streams.get_mut(1).unwrap().length_left = Some(5);
        let mut seen = Vec::new();
        for (size, end) in pieces {
            let data = frame(frames::DATA, u8::from(*end), 1, &vec![b'x'; *size]);
            seen.extend(events(&mut server, &data).unwrap());
        }
        let reset = seen.iter().any(|event| matches!(event, Event::Reset { .. }));
        assert_eq!(!reset, well, "{pieces:?}");
    }
}

#[test]
fn malformed_requests() {
    let with = |name: &'static str, value: &'static str| [GET, &[(name, value)]].concat();
    let cases: &[(Vec<(&str, &str)>, bool)] = &[
        (GET.to_vec(), true),
        (with("te", "trailers"), true),
        (with("host", "SHOP.example"), true),
        (with("te", "gzip"), false),
        (with("Upper", "x"), false),
        (with("", "x"), false),
        (with("a b", "x"), false),
        (with("x", " leading"), false),
        (with("x", "a\nb"), false),
        (with("connection", "close"), false),
        (with("transfer-encoding", "chunked"), false),
        (with("upgrade", "websocket"), false),
        (with("keep-alive", "1"), false),
        (with("proxy-connection", "close"), false),
        (with("host", "other.example"), false),
        (with("content-length", "1x"), false),
        (with(":status", "200"), false),
        (with(":unknown", "x"), false),
        (with(":path", "/again"), false),
        (with(":protocol", "websocket"), false),
        ([&[("x", "y")], GET].concat(), false),
        (GET[1..].to_vec(), false),
        (GET[..2].to_vec(), false),
        (vec![(":method", "GET"), (":scheme", "ftp"), (":path", "/")], false),
        (vec![(":method", "GET"), (":scheme", "https"), (":path", "")], false),
        (vec![(":method", "GET"), (":scheme", "https"), (":path", "//a b")], false),
        (vec![(":method", "GET"), (":scheme", "https"), (":path", "*")], false),
        (vec![(":method", "OPTIONS"), (":scheme", "https"), (":path", "*")], true),
        (vec![(":method", "CONNECT"), (":authority", "a:1")], true),
        (vec![(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")], false),
        (vec![(":method", "G T"), (":scheme", "https"), (":path", "/")], false),
    ];
    for (fields, well) in cases {
        let mut list = FieldList::default();
        fields.iter().for_each(|(name, value)| list.push(name.as_bytes(), value.as_bytes()));
        assert_eq!(Request::read(&list).is_ok(), *well, "{fields:?}");
    }
}

#[test]
fn crumbs_of_cookies_are_one_field_and_the_authority_is_host() {
    let mut list = FieldList::default();
    GET.iter().for_each(|(name, value)| list.push(name.as_bytes(), value.as_bytes()));
    list.push(b"cookie", b"a=1");
    list.push(b"accept", b"*/*");
    list.push(b"cookie", b"b=2");
    let (mut cookies, mut seen) = (Vec::new(), Vec::new());
    let request = Request::read(&list).unwrap();
    request.each_field(&list, &mut cookies, |name, value| seen.push((name, value)));
    let expected: [(&[u8], &[u8]); 3] =
        [(b"host", b"shop.example"), (b"accept", b"*/*"), (b"cookie", b"a=1; b=2")];
    assert_eq!(seen, expected);
}

#[test]
fn malformed_answers() {
    for (fields, status) in [
        (&[(":status", "200"), ("x", "y")][..], Some(200)),
        (&[(":status", "101")], None),
        (&[(":status", "20")], None),
        (&[("x", "y"), (":status", "200")], None),
        (&[(":status", "200"), ("connection", "close")], None),
        (&[(":status", "200"), ("content-length", "1"), ("content-length", "1")], None),
        (&[("x", "y")], None),
    ] {
        let mut list = FieldList::default();
        fields.iter().for_each(|(name, value)| list.push(name.as_bytes(), value.as_bytes()));
        assert_eq!(Answer::read(&list).ok().map(|answer| answer.status), status, "{fields:?}");
    }
}

#[test]
fn a_body_waits_for_both_windows_and_streams_take_turns() {
    let mut server = server();
    events(&mut server, &[headers(1, GET, 1), headers(3, GET, 1)].concat()).unwrap();
    server.send_data(1, &[b'a'; 100_000], true, true);
    assert_eq!(data_bytes(&mut server, 1), 65_535, "the windows' size");
    server.send_data(3, &[b'b'; 40_000], true, true);
    assert_eq!(data_bytes(&mut server, 3), 0, "the connection's window is used up");
    events(&mut server, &frame(frames::WINDOW_UPDATE, 0, 0, &100_000u32.to_be_bytes())).unwrap();
    server.pump(1 << 20);
    assert_eq!(data_bytes(&mut server, 3), 40_000, "only stream 1 waits for its own window");
    events(&mut server, &frame(frames::WINDOW_UPDATE, 0, 1, &100_000u32.to_be_bytes())).unwrap();
    server.pump(1 << 20);
    assert_eq!(data_bytes(&mut server, 1), 34_465);
    assert!(server.streams.is_empty(), "both sides of both ended");
    server.drained.dedup();
    assert_eq!(server.drained, [1003, 1001]);

    events(&mut server, &[headers(5, GET, 1), headers(7, GET, 1)].concat()).unwrap();
    events(&mut server, &frame(frames::WINDOW_UPDATE, 0, 0, &1_000_000u32.to_be_bytes())).unwrap();
    server.send_data(5, &[b'a'; 40_000], true, false);
    server.send_data(7, &[b'b'; 40_000], true, false);
    server.pump(1 << 20);
    let order: Vec<u32> = sent(&mut server).iter().map(|(_, id, _)| *id).collect();
    assert_eq!(order, [5, 7, 5, 7, 5, 7]);
}

#[test]
fn room_bounds_what_is_framed_at_once() {
    let mut server = server();
    events(&mut server, &headers(1, GET, 1)).unwrap();
    server.send_data(1, &[b'a'; 60_000], true, false);
    server.pump(20_000);
    assert_eq!(data_bytes(&mut server, 1), 20_000);
    assert!(server.has_work());
    server.pump(1 << 20);
    assert_eq!(data_bytes(&mut server, 1), 40_000);
}

#[test]
fn used_up_bytes_are_credited_in_halves() {
    let mut server = server();
    events(&mut server, &headers(1, GET, 0)).unwrap();
    events(&mut server, &frame(frames::DATA, 0, 1, &[0; 16_000])).unwrap();
    server.credit(1, 16_000);
    assert_eq!(sent(&mut server), []);
    events(
        &mut server,
        &[frame(frames::DATA, 0, 1, &[0; 16_000]), frame(frames::DATA, 0, 1, &[0; 10_000])].concat(),
    )
    .unwrap();
    server.credit(1, 26_000);
    assert_eq!(sent(&mut server), [(frames::WINDOW_UPDATE, 1, 42_000u32.to_be_bytes().to_vec())]);
    let flood: Vec<u8> = (0..5).flat_map(|_| frame(frames::DATA, 0, 1, &[0; 16_384])).collect();
    let last = events(&mut server, &flood).unwrap().pop();
    assert!(matches!(last, Some(Event::Reset { code: 3, .. })), "{last:?}");
}

/// Each flood ends with ENHANCE_YOUR_CALM within its first few hundred frames.
#[test]
fn every_flood_is_paid_from_the_budget() {
    let ping = |_| frame(frames::PING, 0, 0, &[0; 8]);
    let settings = |_| frame(frames::SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]);
    let pong = |_| frame(frames::PING, frames::ACK, 0, &[0; 8]);
    let settled = |_| frame(frames::SETTINGS, frames::ACK, 0, &[]);
    let priority = |_| frame(frames::PRIORITY, 0, 1, &[0, 0, 0, 3, 0]);
    let unknown = |_| frame(99, 0, 0, &[]);
    let rapid =
        |n: u32| [headers(n * 2 + 1, GET, 1), frame(frames::RST_STREAM, 0, n * 2 + 1, &[0; 4])].concat();
    let made =
        |n: u32| [headers(n * 2 + 1, GET, 0), frame(frames::WINDOW_UPDATE, 0, n * 2 + 1, &[0; 4])].concat();
    let empty = |n: u32| match n {
        0 => headers(1, GET, 0),
        _ => frame(frames::DATA, 0, 1, &[]),
    };
    let continuation = |n: u32| match n {
        0 => frame(frames::HEADERS, 0, 1, &[]),
        _ => frame(frames::CONTINUATION, 0, 1, &[]),
    };
    let update = |n: u32| match n {
        0 => headers(1, GET, 1),
        _ => frame(frames::WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()),
    };
    let refused = |n: u32| headers(n * 2 + 1, GET, 1);
    type Flood<'a> = (&'a str, &'a dyn Fn(u32) -> Vec<u8>);
    let floods: [Flood; 12] = [
        ("PING", &ping),
        ("SETTINGS", &settings),
        ("answers to no PING", &pong),
        ("answers to no SETTINGS", &settled),
        ("PRIORITY", &priority),
        ("unknown frames", &unknown),
        ("rapid reset", &rapid),
        ("made you reset", &made),
        ("empty DATA", &empty),
        ("CONTINUATION", &continuation),
        ("WINDOW_UPDATE", &update),
        ("streams above the limit", &refused),
    ];
    for (name, flood) in floods {
        let mut server = server();
        let ended =
            (0..2_000).find_map(|number| events(&mut server, &flood(number)).err().map(|v| (number, v)));
        let (frames, violation) = ended.unwrap_or_else(|| panic!("{name} was never ended"));
        assert_eq!(violation.code, Code::EnhanceYourCalm, "{name}");
        assert!(frames <= HTTP2_BUDGET + HTTP2_STREAMS_MAX, "{name}: {frames}");
    }
}

#[test]
fn useful_work_and_time_earn_the_budget_back() {
    let mut server = server();
    for number in 0..2_000u32 {
        let id = number * 2 + 1;
        events(&mut server, &[headers(id, GET, 1), frame(frames::PING, 0, 0, &[0; 8])].concat()).unwrap();
        server.send_head(id, &[0x88], true);
    }
    for second in 1..500u64 {
        server.budget.fill(second * 1_000);
        events(&mut server, &frame(frames::PING, 0, 0, &[0; 8])).unwrap();
    }
}

#[test]
fn an_early_answer_leaves_the_rest_of_its_request_unwanted() {
    let mut server = server();
    events(&mut server, &headers(1, GET, 0)).unwrap();
    server.send_head(1, &[0x88], true);
    server.stop_request(1);
    server.reset(1, Code::None);
    assert_eq!(server.streams.get(1).map(|stream| stream.owner), Some(NOBODY));
    let half: Vec<u8> = (0..3).flat_map(|_| frame(frames::DATA, 0, 1, &[0; 16_000])).collect();
    assert_eq!(events(&mut server, &half).unwrap(), []);
    assert!(sent(&mut server).contains(&(frames::RST_STREAM, 1, vec![0; 4])));
    assert!(server.streams.is_empty());
}

#[test]
fn a_client_opens_streams_up_to_the_servers_limit() {
    let mut client = Multiplex::new(Role::Client, 0);
    assert!(client.out.starts_with(frames::PREFACE));
    let settings = frame(frames::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 2, 0, 8, 0, 0, 0, 1]);
    assert_eq!(events(&mut client, &settings), Ok(vec![Event::Ready]));
    assert!(client.peer.connect_protocol);
    assert_eq!((client.open(1), client.open(2), client.open(3)), (Some(1), Some(3), None));
    let mut answer = Vec::new();
    encoder::status(103, &mut answer);
    let early = frame(frames::HEADERS, frames::END_HEADERS, 1, &answer);
    answer.clear();
    encoder::status(200, &mut answer);
    let last = frame(frames::HEADERS, frames::END_HEADERS, 1, &answer);
    let data = frame(frames::DATA, 0, 1, b"body");
    let trailers = headers(1, &[("grpc-status", "0")], frames::END_STREAM);
    let seen = events(&mut client, &[early, last, data, trailers].concat()).unwrap();
    let kinds: Vec<&str> = seen
        .iter()
        .map(|event| match event {
            Event::Head { .. } => "head",
            Event::Data { .. } => "data",
            Event::Trailers { .. } => "trailers",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["head", "head", "data", "trailers"]);
    assert!(
        events(&mut client, &frame(frames::DATA, 0, 3, b"x"))
            .is_ok_and(|seen| { matches!(seen[..], [Event::Reset { by_peer: false, .. }]) })
    );
}

fn conversation() -> Vec<u8> {
    let mut bytes = frames::PREFACE.to_vec();
    bytes.extend(frame(frames::SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]));
    bytes.extend(headers(1, GET, 1));
    bytes.extend(frame(frames::HEADERS, 0, 3, &block(&GET[..2])));
    bytes.extend(frame(frames::CONTINUATION, frames::END_HEADERS, 3, &block(&GET[2..])));
    bytes.extend(frame(frames::DATA, frames::PADDED, 3, &[3, b'h', b'i', 0, 0, 0]));
    bytes.extend(frame(frames::PING, 0, 0, b"12345678"));
    bytes.extend(headers(3, &[("x-trailer", "1")], 1));
    bytes.extend(headers(5, GET, 0));
    bytes.extend(frame(frames::RST_STREAM, 0, 5, &[0, 0, 0, 8]));
    bytes
}

/// Events without their ranges, which depend on the pieces.
fn without_ranges(events: Vec<Event>) -> Vec<String> {
    let show = |event| match event {
        Event::Data { id, bytes, end, .. } => format!("data {id} {} {end}", bytes.len()),
        other => format!("{other:?}"),
    };
    events.into_iter().map(show).collect()
}

proptest! {
    #[test]
    fn pieces_of_any_size_read_the_same(sizes in proptest::collection::vec(1usize..60, 1..40)) {
        let bytes = conversation();
        let mut whole = Multiplex::new(Role::Server, 0);
        let expected = without_ranges(events(&mut whole, &bytes).unwrap());
        let (mut pieced, mut input, mut seen) = (Multiplex::new(Role::Server, 0), Vec::new(), Vec::new());
        let mut rest = &bytes[..];
        for size in sizes.iter().cycle() {
            let (piece, later) = rest.split_at((*size).min(rest.len()));
            rest = later;
            input.extend_from_slice(piece);
            let mut at = 0;
            while let Some(event) = pieced.receive(&input, &mut at).unwrap() {
                if let Event::Head { id, .. } = event {
                    pieced.accept(id, id + 1000);
                }
                seen.push(event);
            }
            input.drain(..at);
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(without_ranges(seen), expected);
        prop_assert_eq!(pieced.out, whole.out);
    }

    #[test]
    fn any_frames_end_in_events_or_a_violation(
        list in proptest::collection::vec(
            (0u8..11, any::<u8>(), 0u32..8, proptest::collection::vec(any::<u8>(), 0..40)), 0..60),
        role in prop_oneof![Just(Role::Server), Just(Role::Client)],
    ) {
        let mut multiplex = Multiplex::new(role, 0);
        let mut bytes = if role == Role::Server { frames::PREFACE.to_vec() } else { Vec::new() };
        bytes.extend(frame(frames::SETTINGS, 0, 0, &[]));
        for (kind, flags, id, payload) in list {
            bytes.extend(frame(kind, flags, id, &payload));
        }
        multiplex.open(1);
        let _ = events(&mut multiplex, &bytes);
        multiplex.pump(1 << 20);
    }
}
