//! The end of a connection by our GOAWAY: what is served on, and what crosses it.

use super::Event;
use super::frames::{self, Code};
use super::tests::{GET, events, frame, headers, sent, server};

#[test]
fn after_the_first_goaway_streams_are_served_and_after_the_second_none() {
    let mut server = server();
    server.announce_end();
    assert_eq!(events(&mut server, &headers(1, GET, 1)).unwrap(), [Event::Head { id: 1, end: true }]);
    server.end(Code::None);
    assert_eq!(events(&mut server, &headers(3, GET, 1)).unwrap(), []);
    assert!(!server.is_over());
    server.send_head(1, &[0x88], true);
    assert!(server.is_over());
    let lasts: Vec<Vec<u8>> =
        sent(&mut server).into_iter().filter(|(kind, ..)| *kind == frames::GOAWAY).map(|f| f.2).collect();
    assert_eq!(lasts, [[0x7f, 255, 255, 255, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0]]);
}

#[test]
fn frames_of_a_stream_that_crossed_our_goaway_are_ignored_and_harm_no_other() {
    let mut server = server();
    events(&mut server, &headers(1, GET, 0)).unwrap();
    server.end(Code::None);
    let window = server.receive_window;
    let crossed = [
        headers(3, GET, 0),
        frame(frames::DATA, 0, 3, &[0; 9_000]),
        frame(frames::WINDOW_UPDATE, 0, 3, &[0, 0, 0, 1]),
        headers(3, GET, 1),
        headers(5, GET, 0),
        frame(frames::RST_STREAM, 0, 5, &[0, 0, 0, 8]),
    ];
    assert_eq!(events(&mut server, &crossed.concat()).unwrap(), []);
    assert_eq!(server.receive_window + i64::from(server.uncredited), window);
    // A stream that was never there is an error of the connection as before.
    assert!(events(&mut server, &frame(frames::RST_STREAM, 0, 7, &[0, 0, 0, 8])).is_err());
    assert_eq!(server.streams.get(1).map(|stream| stream.remote_done), Some(false));
}
