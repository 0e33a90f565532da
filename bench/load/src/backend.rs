//! `backend`: what the proxies stand in front of. Each port answers every request with its own mark and a small body;
//! others answer calls of gRPC, one more echoes WebSockets. One thread for the HTTP ports. Prints `ready` when all ports are bound.

use crate::answer::MARK_HEADER;
use crate::{grpc, report, websockets};
use clap::Args;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use serde::Serialize;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

#[derive(Args, Debug)]
pub struct Options {
    /// Ports on 127.0.0.1; the first is backend 1
    #[arg(long, value_delimiter = ',', required = true)]
    ports: Vec<u16>,
    /// Ports on 127.0.0.1 that answer unary calls of gRPC; the first is backend 1
    #[arg(long, value_delimiter = ',')]
    grpc_ports: Vec<u16>,
    /// Port that echoes WebSockets
    #[arg(long)]
    echo_port: Option<u16>,
    /// Body length in bytes
    #[arg(long, default_value_t = 200)]
    body_len: usize,
}

const EVENTS_MAX: usize = 1024;
const REQUEST_LEN_MAX: usize = 64 * 1024;
const BACKLOG: i32 = 4096;

#[derive(Serialize)]
#[serde(tag = "event", rename = "ready")]
struct Ready {}

struct Link {
    stream: TcpStream,
    backend: usize,
    /// A request whose head has not come whole.
    partial: Vec<u8>,
    /// Bytes of answers that the socket did not take yet.
    outgoing: Vec<u8>,
}

pub fn run(options: &Options) -> std::io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listeners = Vec::new();
    for (index, port) in options.ports.iter().enumerate() {
        let mut listener = TcpListener::from_std(listen(*port)?);
        poll.registry()
            .register(&mut listener, Token(index), Interest::READABLE)?;
        listeners.push(listener);
    }
    if let Some(port) = options.echo_port {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        std::thread::spawn(move || websockets::serve_echoes(&listener));
    }
    if !options.grpc_ports.is_empty() {
        let listeners: std::io::Result<Vec<_>> =
            options.grpc_ports.iter().copied().map(listen).collect();
        let listeners = listeners?;
        std::thread::spawn(move || grpc::serve(listeners));
    }
    let answers: Vec<Vec<u8>> = (1..=options.ports.len())
        .map(|mark| answer(mark, options.body_len))
        .collect();
    report::print(&Ready {})?;

    let mut links: slab::Slab<Link> = slab::Slab::new();
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut scratch = vec![0; REQUEST_LEN_MAX];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            outcome => outcome?,
        }
        for event in &events {
            let Token(token) = event.token();
            if let Some(listener) = listeners.get(token) {
                accept_all(
                    listener,
                    token,
                    listeners.len(),
                    poll.registry(),
                    &mut links,
                )?;
                continue;
            }
            let id = token - listeners.len();
            let Some(link) = links.get_mut(id) else {
                continue;
            };
            let ends = event.is_read_closed() || event.is_error();
            if serve(link, &answers[link.backend], ends, &mut scratch).is_err() {
                links.remove(id);
            }
        }
    }
}

fn listen(port: u16) -> std::io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn answer(mark: usize, body_len: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {body_len}\r\n{MARK_HEADER}: {mark}\r\n\r\n"
    );
    let body = (b'a'..=b'z').cycle().take(body_len);
    head.into_bytes().into_iter().chain(body).collect()
}

fn accept_all(
    listener: &TcpListener,
    backend: usize,
    first_token: usize,
    registry: &Registry,
    links: &mut slab::Slab<Link>,
) -> std::io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            // The peer went away while it was queued.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                ) =>
            {
                continue;
            }
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let entry = links.vacant_entry();
        registry.register(
            &mut stream,
            Token(first_token + entry.key()),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        entry.insert(Link {
            stream,
            backend,
            partial: Vec::new(),
            outgoing: Vec::new(),
        });
    }
}

/// Answers what has come; an error means that the connection is over.
fn serve(link: &mut Link, answer: &[u8], ends: bool, scratch: &mut [u8]) -> std::io::Result<()> {
    flush(link)?;
    loop {
        let read_len = match link.stream.read(scratch) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read_len) => read_len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        take(link, answer, &scratch[..read_len])?;
        flush(link)?;
        if read_len < scratch.len() && !ends {
            return Ok(());
        }
    }
}

fn take(link: &mut Link, answer: &[u8], bytes: &[u8]) -> std::io::Result<()> {
    if link.partial.is_empty() {
        let taken_len = answer_requests(bytes, answer, &mut link.outgoing)?;
        link.partial.extend_from_slice(&bytes[taken_len..]);
    } else {
        link.partial.extend_from_slice(bytes);
        let taken_len = answer_requests(&link.partial, answer, &mut link.outgoing)?;
        link.partial.drain(..taken_len);
    }
    if link.partial.len() > REQUEST_LEN_MAX {
        return Err(ErrorKind::InvalidData.into());
    }
    Ok(())
}

/// Appends an answer for each whole request head; gives the number of bytes used. Requests have no bodies here.
fn answer_requests(bytes: &[u8], answer: &[u8], outgoing: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut used_len = 0;
    while used_len < bytes.len() {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        match httparse::Request::new(&mut headers).parse(&bytes[used_len..]) {
            Ok(httparse::Status::Complete(head_len)) => used_len += head_len,
            Ok(httparse::Status::Partial) => break,
            Err(_) => return Err(ErrorKind::InvalidData.into()),
        }
        outgoing.extend_from_slice(answer);
    }
    Ok(used_len)
}

fn flush(link: &mut Link) -> std::io::Result<()> {
    let mut sent_len = 0;
    while sent_len < link.outgoing.len() {
        match link.stream.write(&link.outgoing[sent_len..]) {
            Ok(written_len) => sent_len += written_len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    link.outgoing.drain(..sent_len);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_whole_request_gets_one_answer() {
        let mut outgoing = Vec::new();
        let two_and_a_half =
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT";
        let used_len =
            answer_requests(two_and_a_half, b"!", &mut outgoing).expect("requests are well-formed");
        assert_eq!(
            (used_len, outgoing.as_slice()),
            (two_and_a_half.len() - 8, b"!!".as_slice())
        );
    }

    #[test]
    fn answer_bears_its_mark_and_length() {
        let text = String::from_utf8(answer(3, 30)).expect("ascii");
        assert!(
            text.contains("x-backend: 3\r\n")
                && text.ends_with("\r\n\r\nabcdefghijklmnopqrstuvwxyzabcd")
        );
    }
}
