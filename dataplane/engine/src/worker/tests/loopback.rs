//! The real worker on real sockets, once per backend: a client and a backend in threads of this test.

use super::fixture::{self, Setup};
use crate::control::{WorkerMessage, WorkerSender};
use crate::exchange::ListenerId;
use crate::serve::IoChoice;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

const BACKENDS: [IoChoice; 2] = [IoChoice::IoUring, IoChoice::Epoll];

struct Engine {
    sender: WorkerSender,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    plain: SocketAddr,
    tls: SocketAddr,
    behind_proxy: SocketAddr,
}

impl Engine {
    fn start(io: IoChoice, setup: &Setup) -> Engine {
        let snapshot = fixture::snapshot(setup);
        let (context, sender, reports) = fixture::context(io, snapshot.clone());
        let thread = std::thread::spawn(move || crate::worker::run(context));
        reports.recv_timeout(Duration::from_secs(60)).expect("the worker starts");
        let listen = |name| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let id = ListenerId(fixture::listener_key(&snapshot, name));
            assert!(sender.send(WorkerMessage::Listen(id, listener.into())));
            address
        };
        let (plain, tls) = (listen(fixture::PLAIN), listen(fixture::TLS));
        let behind_proxy = listen(fixture::BEHIND_PROXY);
        Engine { sender, thread: Some(thread), plain, tls, behind_proxy }
    }

    fn connect(&self) -> TcpStream {
        connect(self.plain)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.sender.send(WorkerMessage::Drain { timeout_ms: 0, exit: true });
        let result = self.thread.take().unwrap().join().expect("no panic in the worker");
        assert!(result.is_ok(), "{result:?}");
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A backend that plays `script` for every connection it accepts.
fn backend(script: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (script, stream) = (script.clone(), stream.unwrap());
            std::thread::spawn(move || script(stream, number));
        }
    });
    address
}

struct Message {
    head: String,
    body: Vec<u8>,
}

/// Reads one message whose body is framed; None at the end of the stream.
fn read_message(reader: &mut impl BufRead) -> Option<Message> {
    let mut head = String::new();
    loop {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if head.ends_with("\r\n\r\n") {
            break;
        }
    }
    let field = |name: &str| {
        head.lines().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix(name).map(|value| value.trim().to_owned())
        })
    };
    let mut body = Vec::new();
    if field("transfer-encoding:").is_some() {
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            assert!(chunk.ends_with(b"\r\n"));
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = field("content-length:") {
        body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).ok()?;
    }
    Some(Message { head, body })
}

/// Answers every request with its own head and body, framed as the request's path asks.
fn echo(stream: TcpStream, _number: usize) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(request) = read_message(&mut reader) {
        let path = request.head.split(' ').nth(1).unwrap().to_owned();
        let text = [request.head.as_bytes(), &request.body].concat();
        let sent = match path.as_str() {
            "/chunked" => {
                let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
                for chunk in text.chunks(10_000) {
                    answer.extend(format!("{:X};ext=1\r\n", chunk.len()).into_bytes());
                    answer.extend(chunk);
                    answer.extend(b"\r\n");
                }
                answer.extend(b"0\r\nTrailer: dropped\r\n\r\n");
                stream.write_all(&answer)
            }
            "/close" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").and_then(|()| stream.write_all(&text)).unwrap();
                return;
            }
            "/empty" => stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n"),
            _ => {
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Backend: yes\r\n\r\n", text.len());
                stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&text))
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

fn each_backend(setup: impl Fn() -> Setup, test: impl Fn(&Engine)) {
    for io in BACKENDS {
        let engine = Engine::start(io, &setup());
        test(&engine);
    }
}

fn with_echo() -> Setup {
    Setup { endpoints: vec![backend(echo)], ..Setup::default() }
}

fn get(stream: &mut (impl Read + Write), request: &str) -> Message {
    stream.write_all(request.as_bytes()).unwrap();
    read_message(&mut BufReader::new(stream)).expect("an answer")
}

#[test]
fn keep_alive_and_pipelining_answer_in_order() {
    each_backend(with_echo, |engine| {
        let mut stream = engine.connect();
        for path in ["/one", "/chunked", "/two"] {
            let answer = get(&mut stream, &format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n"));
            assert!(String::from_utf8_lossy(&answer.body).starts_with(&format!("GET {path} HTTP/1.1\r\n")));
        }
        let pipelined = "GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\nGET / HTTP/1.1\r\nHost: text.example\r\n\r\n\
            POST /b HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nxyzGET /c HTTP/1.1\r\nHost: shop.example\r\n\r\n";
        stream.write_all(pipelined.as_bytes()).unwrap();
        let mut reader = BufReader::new(&mut stream);
        for expected in ["GET /a", "hello", "POST /b", "GET /c"] {
            let body = String::from_utf8(read_message(&mut reader).unwrap().body).unwrap();
            assert!(body.starts_with(expected), "{expected}: {body}");
        }
    });
}

#[test]
fn forwarding_headers_name_the_client() {
    each_backend(with_echo, |engine| {
        let mut stream = connect(engine.behind_proxy);
        stream.write_all(b"PROXY TCP4 203.0.113.7 192.0.2.1 5555 80\r\n").unwrap();
        let answer =
            get(&mut stream, "GET / HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n");
        let seen = String::from_utf8(answer.body).unwrap().to_ascii_lowercase();
        assert!(seen.contains("x-forwarded-for: 203.0.113.7\r\n"), "{seen}");
        assert!(!seen.contains("1.2.3.4"), "{seen}");
    });
}

#[test]
fn big_bodies_pass_both_ways_in_any_framing() {
    let body: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    each_backend(with_echo, |engine| {
        for path in ["/length", "/chunked", "/close"] {
            let stream = engine.connect();
            let mut writer = stream.try_clone().unwrap();
            let (head, sent) = (
                format!("POST {path} HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n"),
                body.clone(),
            );
            let sending = std::thread::spawn(move || {
                writer.write_all(head.as_bytes()).unwrap();
                for chunk in sent.chunks(70_001) {
                    writer.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).unwrap();
                    writer.write_all(chunk).unwrap();
                    writer.write_all(b"\r\n").unwrap();
                }
                writer.write_all(b"0\r\n\r\n").unwrap();
            });
            let answer = read_message(&mut BufReader::new(stream)).expect(path);
            sending.join().unwrap();
            assert!(answer.body.ends_with(&body), "{path}: {} bytes", answer.body.len());
        }
    });
}

#[test]
fn https_is_proxied_to_plain_and_tls_upstreams() {
    for upstream_tls in [false, true] {
        let (chain, _) = fixture::certificate();
        let setup = || match upstream_tls {
            false => with_echo(),
            true => Setup {
                endpoints: vec![backend(tls_echo)],
                upstream_ca: Some(chain.clone()),
                ..Setup::default()
            },
        };
        each_backend(setup, |engine| {
            let mut client = tls_client(engine.tls);
            for _ in 0..3 {
                let answer = get(&mut client, "GET /secret HTTP/1.1\r\nHost: shop.example\r\n\r\n");
                let seen = String::from_utf8(answer.body).unwrap();
                assert!(seen.starts_with("GET /secret HTTP/1.1\r\n"), "{seen}");
                assert!(seen.to_ascii_lowercase().contains("x-forwarded-proto: https\r\n"), "{seen}");
            }
            let body = vec![b'x'; 500_000];
            let head =
                format!("PUT /up HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {}\r\n\r\n", body.len());
            client.write_all(&[head.as_bytes(), &body].concat()).unwrap();
            let answer = read_message(&mut BufReader::new(&mut client)).unwrap();
            assert!(answer.body.ends_with(&body));
        });
    }
}

fn tls_client(address: SocketAddr) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(fixture::certificate().0.clone().into()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let name = rustls_pki_types::ServerName::try_from("shop.example").unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    rustls::StreamOwned::new(connection, connect(address))
}

fn tls_echo(stream: TcpStream, _number: usize) {
    let (chain, key) = fixture::certificate();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(key.clone()).unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![chain.clone().into()], key).unwrap();
    let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
    let mut reader = BufReader::new(rustls::StreamOwned::new(connection, stream));
    while let Some(request) = read_message(&mut reader) {
        let text = [request.head.as_bytes(), &request.body].concat();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
        reader.get_mut().write_all(&[head.as_bytes(), &text].concat()).unwrap();
    }
}

#[test]
fn upgrades_become_tunnels_only_after_the_backends_101() {
    let script = |mut stream: TcpStream, _number: usize| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let request = read_message(&mut reader).unwrap();
        assert!(request.head.to_ascii_lowercase().contains("upgrade: websocket\r\n"), "{}", request.head);
        // Nothing that the client sent early may come before the switch.
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(reader.fill_buf().is_err(), "raw bytes before 101");
        stream.set_read_timeout(None).unwrap();
        let switch =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst";
        stream.write_all(switch).unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        stream.write_all(format!("you said {text}").as_bytes()).unwrap();
    };
    each_backend(
        || Setup { endpoints: vec![backend(script)], ..Setup::default() },
        |engine| {
            let mut stream = engine.connect();
            stream
            .write_all(b"GET /ws HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly ")
            .unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let switched = read_message(&mut reader).unwrap();
            assert!(switched.head.starts_with("HTTP/1.1 101 "), "{}", switched.head);
            stream.write_all(b"late").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            assert_eq!(text, "firstyou said early late");
        },
    );
}

#[test]
fn expect_continue_is_answered_before_the_body() {
    each_backend(with_echo, |engine| {
        let mut stream = engine.connect();
        let head =
            "POST /e HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
        let interim = get(&mut stream, head);
        assert!(interim.head.starts_with("HTTP/1.1 100 "), "{}", interim.head);
        let answer = get(&mut stream, "body");
        let seen = String::from_utf8(answer.body).unwrap();
        assert!(seen.ends_with("\r\n\r\nbody") && !seen.to_ascii_lowercase().contains("expect:"), "{seen}");
    });
}

#[test]
fn bodies_over_the_limit_get_413() {
    each_backend(
        || Setup { body_bytes_max: 1000, ..with_echo() },
        |engine| {
            let mut stream = engine.connect();
            let answer =
                get(&mut stream, "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1001\r\n\r\n");
            assert!(answer.head.starts_with("HTTP/1.1 413 "), "{}", answer.head);
            let mut stream = engine.connect();
            let chunk = format!("3e9\r\n{}\r\n", "x".repeat(1001));
            let head = "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n";
            let answer = get(&mut stream, &format!("{head}{chunk}"));
            assert!(answer.head.starts_with("HTTP/1.1 413 "), "{}", answer.head);
        },
    );
}

#[test]
fn what_is_not_proxied_is_answered_by_the_engine() {
    each_backend(Setup::default, |engine| {
        for (request, status) in [
            ("GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n", "404"),
            ("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n", "503"),
            ("GET / HTTP/1.1\r\nHost: deny.example\r\n\r\n", "503"),
            ("GET / HTTP/1.1\r\nHost: text.example\r\n\r\n", "200"),
            ("GET / HTTP/1.1\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
            ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505"),
            ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "405"),
            ("\u{16}\u{3}\u{1}\u{2}", "400"),
        ] {
            let answer = get(&mut engine.connect(), request);
            assert!(answer.head.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {}", answer.head);
        }
        let mut stream = engine.connect();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: abort.example\r\n\r\n").unwrap();
        assert_eq!(stream.read(&mut [0; 100]).unwrap_or(0), 0);
    });
}

#[test]
fn http_1_0_clients_get_no_chunks_and_keep_alive_only_when_asked() {
    each_backend(with_echo, |engine| {
        let mut stream = engine.connect();
        let answer =
            get(&mut stream, "GET /k HTTP/1.0\r\nHost: shop.example\r\nConnection: keep-alive\r\n\r\n");
        assert!(answer.head.to_ascii_lowercase().contains("connection: keep-alive\r\n"), "{}", answer.head);
        stream
            .write_all(b"GET /chunked HTTP/1.0\r\nHost: shop.example\r\nConnection: keep-alive\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            !head.to_ascii_lowercase().contains("transfer-encoding") && body.starts_with("GET /chunked "),
            "{text}"
        );
    });
}

#[test]
fn a_stale_pooled_connection_is_replaced_without_the_client_noticing() {
    let script = |mut stream: TcpStream, _number: usize| {
        // Answers once, promises to keep the connection, and closes on the next request.
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let request = read_message(&mut reader);
        if request.is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
            let _ = read_message(&mut reader);
        }
    };
    each_backend(
        || Setup { endpoints: vec![backend(script)], ..Setup::default() },
        |engine| {
            let mut stream = engine.connect();
            for _ in 0..4 {
                let answer = get(&mut stream, "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
                assert!(answer.head.starts_with("HTTP/1.1 200 ") && answer.body == b"ok", "{}", answer.head);
            }
        },
    );
}

#[test]
fn refused_endpoints_are_passed_over() {
    // An address of this test alone: another test may be given the port as soon as it is free.
    let dead = TcpListener::bind("127.77.0.1:0").unwrap().local_addr().unwrap();
    each_backend(
        || Setup { endpoints: vec![dead, backend(echo)], ..Setup::default() },
        |engine| {
            let answer = get(
                &mut engine.connect(),
                "POST /x HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 2\r\n\r\nhi",
            );
            assert!(
                answer.head.starts_with("HTTP/1.1 200 ") && answer.body.ends_with(b"hi"),
                "{}",
                answer.head
            );
        },
    );
    each_backend(
        || Setup { endpoints: vec![dead], ..Setup::default() },
        |engine| {
            let answer = get(&mut engine.connect(), "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
            assert!(answer.head.starts_with("HTTP/1.1 502 "), "{}", answer.head);
        },
    );
}

#[test]
fn hostile_answers_become_502_and_truncated_ones_never_look_whole() {
    let answers: &[(&str, bool)] = &[
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", true),
        ("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", true),
        ("nonsense\r\n\r\n", true),
        ("", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfive!\r\n", false),
    ];
    for (answer, bad_gateway) in answers {
        let script = move |mut stream: TcpStream, _number: usize| {
            let _ = read_message(&mut BufReader::new(stream.try_clone().unwrap()));
            let _ = stream.write_all(answer.as_bytes());
        };
        each_backend(
            || Setup { endpoints: vec![backend(script)], ..Setup::default() },
            |engine| {
                let mut stream = engine.connect();
                stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
                let message = read_message(&mut BufReader::new(stream));
                match bad_gateway {
                    true => assert!(message.unwrap().head.starts_with("HTTP/1.1 502 "), "{answer}"),
                    false => assert!(message.is_none(), "{answer}"),
                }
            },
        );
    }
}

#[test]
fn draining_says_close_on_an_answer_first() {
    each_backend(with_echo, |engine| {
        let mut stream = engine.connect();
        let request = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
        assert!(!get(&mut stream, request).head.to_ascii_lowercase().contains("connection: close"));
        engine.sender.send(WorkerMessage::Drain { timeout_ms: 10_000, exit: false });
        // The worker hears of it when it has its turn; it ends no connection before it said so.
        while !get(&mut stream, request).head.to_ascii_lowercase().contains("connection: close\r\n") {}
        assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0);
    });
}
