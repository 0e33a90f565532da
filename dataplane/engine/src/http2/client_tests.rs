//! The client's side of one connection that many requests share: windows, resets, numbers that are long gone, PING.

use super::frames::{self, Code};
use super::hpack::encoder;
use super::tests::{events, frame, headers, sent};
use super::{Event, Multiplex, Role};
use crate::limits::*;

const OK: &[(&str, &str)] = &[(":status", "200")];

/// A client after the server's empty SETTINGS.
fn client() -> Multiplex {
    let mut client = Multiplex::new(Role::Client, 0);
    assert_eq!(events(&mut client, &frame(frames::SETTINGS, 0, 0, &[])), Ok(vec![Event::Ready]));
    client.out.clear();
    client
}

/// Opens a stream whose request is whole.
fn ask(client: &mut Multiplex, owner: u32) -> u32 {
    let id = client.open(owner).expect("a stream");
    let mut block = Vec::new();
    encoder::field(b":method", b"GET", &mut block);
    client.send_head(id, &block, true);
    client.out.clear();
    id
}

#[test]
fn a_stream_that_is_not_read_holds_its_own_window_back_and_not_the_connections() {
    let mut client = client();
    let mut updated = Vec::new();
    const { assert!(HTTP2_UPSTREAM_STREAMS_MAX * 16_000 > HTTP2_CONNECTION_WINDOW_BYTES) };
    for owner in 0..HTTP2_UPSTREAM_STREAMS_MAX {
        let id = ask(&mut client, owner);
        let data = frame(frames::DATA, 0, id, &[0; 16_000]);
        assert_eq!(events(&mut client, &[headers(id, OK, 0), data].concat()).map(|seen| seen.len()), Ok(2));
        updated.extend(sent(&mut client).iter().map(|(_, stream, _)| *stream));
    }
    assert!(!updated.is_empty() && updated.iter().all(|stream| *stream == 0), "{updated:?}");
    client.credit(1, 16_000);
    assert_eq!(sent(&mut client), [(frames::WINDOW_UPDATE, 1, 16_000u32.to_be_bytes().to_vec())]);
}

#[test]
fn the_window_of_an_answer_that_is_taken_grows_to_its_most_and_a_stalled_one_stays() {
    let mut client = client();
    let (taken, stalled) = (ask(&mut client, 1), ask(&mut client, 2));
    events(&mut client, &[headers(taken, OK, 0), headers(stalled, OK, 0)].concat()).unwrap();
    let window = |client: &Multiplex, id| client.streams.get(id).map(|stream| stream.receive_window);
    let mut windows = Vec::new();
    for _ in 0..6 {
        let bytes = window(&client, taken).unwrap().min(16_384) as usize;
        events(&mut client, &frame(frames::DATA, 0, taken, &vec![0; bytes])).unwrap();
        client.credit(taken, bytes);
        windows.push(window(&client, taken).unwrap());
    }
    let most = i64::from(HTTP2_STREAM_WINDOW_BYTES);
    assert_eq!(windows[0], i64::from(HTTP2_UPSTREAM_WINDOW_BYTES), "{windows:?}");
    assert!(windows.iter().all(|window| *window <= most), "{windows:?}");
    assert!(windows.iter().any(|window| *window > most / 2), "{windows:?}");
    assert_eq!(window(&client, stalled), Some(i64::from(HTTP2_UPSTREAM_WINDOW_BYTES)));
}

#[test]
fn a_stream_that_both_sides_ended_leaves_room_without_a_reset() {
    let mut client = client();
    for owner in 0..3 * HTTP2_UPSTREAM_STREAMS_MAX {
        let id = ask(&mut client, owner);
        events(&mut client, &headers(id, OK, frames::END_STREAM)).unwrap();
        client.leave(id, Code::Cancel);
    }
    assert_eq!(sent(&mut client), []);
    assert!(client.streams.is_empty());
}

#[test]
fn a_stream_that_is_left_early_is_reset() {
    let mut client = client();
    let id = ask(&mut client, 7);
    client.leave(id, Code::Cancel);
    assert_eq!(sent(&mut client), [(frames::RST_STREAM, id, vec![0, 0, 0, 8])]);
    client.leave(id, Code::Cancel);
    assert_eq!(sent(&mut client), []);
}

#[test]
fn bytes_of_streams_that_were_left_long_ago_are_ignored() {
    let mut client = client();
    let first = ask(&mut client, 1);
    events(&mut client, &headers(first, OK, 0)).unwrap();
    client.leave(first, Code::Cancel);
    for owner in 0..500 {
        let id = ask(&mut client, owner);
        client.leave(id, Code::Cancel);
    }
    assert_eq!(events(&mut client, &frame(frames::DATA, 0, first, b"late")), Ok(vec![]));
    assert_eq!(events(&mut client, &headers(first, &[("grpc-status", "0")], frames::END_STREAM)), Ok(vec![]));
}

#[test]
fn our_limit_bounds_what_a_server_allows() {
    let mut client = client();
    let settings = frame(frames::SETTINGS, 0, 0, &[0, 3, 0, 1, 0, 0]);
    events(&mut client, &settings).unwrap();
    for owner in 0..HTTP2_UPSTREAM_STREAMS_MAX {
        ask(&mut client, owner);
    }
    assert!(!client.has_room());
    assert_eq!(client.open(1), None);
}

#[test]
fn a_ping_is_pending_until_it_is_answered() {
    let mut client = client();
    client.ping();
    assert_eq!(sent(&mut client), [(frames::PING, 0, vec![0; 8])]);
    events(&mut client, &frame(frames::PING, 0, 0, b"12345678")).unwrap();
    assert!(client.ping_pending, "a PING of theirs is no answer");
    events(&mut client, &frame(frames::PING, frames::ACK, 0, &[0; 8])).unwrap();
    assert!(!client.ping_pending);
}
