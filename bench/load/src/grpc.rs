//! Unary calls of gRPC over HTTP/2: `grpc-load`, and what `backend` answers them with, one thread each.
//! A call is a POST with one length-prefixed message; its answer is one such message and trailers with `grpc-status: 0`.
//!
//! Closed loop only: each of `--streams` of each connection begins its next call when the last one was answered. Right is
//! an answer with status 200, the wanted backend's mark, a whole message and `grpc-status: 0`.

use crate::answer::MARK_HEADER;
use crate::report::{self, Counts, Event, Failure, Latencies, LoadResult};
use crate::target::{Target, TargetOptions};
use bytes::{Bytes, BytesMut};
use clap::Args;
use h2::{RecvStream, client, server};
use http::{HeaderMap, HeaderValue, Request, Response};
use std::cell::RefCell;
use std::io::{Error, ErrorKind};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    target: TargetOptions,
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Calls under way on each connection
    #[arg(long, default_value_t = 16)]
    streams: usize,
    #[arg(long, default_value_t = 0.7)]
    warmup_s: f64,
    #[arg(long)]
    seconds: f64,
    /// A call without an answer for this long has failed
    #[arg(long, default_value_t = 10.0)]
    timeout_s: f64,
}

/// Flow control must not be what is measured: proxies get windows as they have themselves.
const WINDOW_LEN: u32 = 1 << 20;
/// Of a call and of its answer.
const MESSAGE_LEN: usize = 100;

/// One gRPC message: not compressed, length, bytes.
fn message(len: usize) -> Bytes {
    let mut framed = BytesMut::with_capacity(5 + len);
    framed.extend_from_slice(&[0]);
    framed.extend_from_slice(&(len as u32).to_be_bytes());
    framed.extend((b'a'..=b'z').cycle().take(len));
    framed.freeze()
}

fn run_alone(work: impl Future<Output = std::io::Result<()>>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, work)
}

/// Answers on each of the listeners, which do not block, with a mark of its own. Never ends.
pub fn serve(listeners: Vec<std::net::TcpListener>) -> std::io::Result<()> {
    run_alone(async {
        let message = message(MESSAGE_LEN);
        for (index, listener) in listeners.into_iter().enumerate() {
            let listener = TcpListener::from_std(listener)?;
            let message = message.clone();
            spawn_local(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    // A connection's fault is its proxy's affair.
                    spawn_local(serve_connection(stream, index + 1, message.clone()));
                }
            });
        }
        std::future::pending().await
    })
}

async fn serve_connection(stream: TcpStream, mark: usize, message: Bytes) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut builder = server::Builder::new();
    builder
        .initial_window_size(WINDOW_LEN)
        .initial_connection_window_size(WINDOW_LEN)
        .max_concurrent_streams(1000);
    let mut connection = builder.handshake::<_, Bytes>(stream).await.ok()?;
    while let Some(Ok((request, respond))) = connection.accept().await {
        spawn_local(answer(request.into_body(), respond, mark, message.clone()));
    }
    Some(())
}

async fn answer(
    body: RecvStream,
    mut respond: server::SendResponse<Bytes>,
    mark: usize,
    message: Bytes,
) -> Option<()> {
    read_message(body).await?;
    let head = Response::builder()
        .header("content-type", "application/grpc")
        .header(MARK_HEADER, mark)
        .body(())
        .ok()?;
    let mut stream = respond.send_response(head, false).ok()?;
    stream.send_data(message, false).ok()?;
    let status = HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    stream.send_trailers(status).ok()
}

/// Reads a body to its end; its trailers, None unless it is exactly one whole message.
async fn read_message(mut body: RecvStream) -> Option<HeaderMap> {
    let mut framed = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece.ok()?;
        body.flow_control().release_capacity(piece.len()).ok()?;
        framed.extend_from_slice(&piece);
    }
    let head: [u8; 4] = framed.get(1..5)?.try_into().ok()?;
    if framed.len() != 5 + u32::from_be_bytes(head) as usize {
        return None;
    }
    Some(body.trailers().await.ok()?.unwrap_or_default())
}

/// What all callers share.
struct Calls {
    target: Target,
    message: Bytes,
    timeout: Duration,
    counts: RefCell<Counts>,
    latencies: RefCell<Latencies>,
}

pub fn run(options: &Options) -> std::io::Result<()> {
    let mut target = Target::new(&options.target)?;
    target.speak_http2();
    run_alone(async {
        let calls = Rc::new(Calls {
            target,
            message: message(MESSAGE_LEN),
            timeout: Duration::from_secs_f64(options.timeout_s),
            counts: RefCell::default(),
            latencies: RefCell::new(Latencies::new()),
        });
        for _ in 0..options.connections {
            let sender = connect(&calls.target).await?;
            calls.counts.borrow_mut().opened += 1;
            for _ in 0..options.streams {
                spawn_local(call_for_ever(calls.clone(), sender.clone()));
            }
        }
        tokio::time::sleep(Duration::from_secs_f64(options.warmup_s)).await;
        let under_way = (options.connections * options.streams) as u64;
        *calls.counts.borrow_mut() = Counts {
            sent: under_way,
            ..Counts::default()
        };
        calls.latencies.borrow_mut().clear();
        report::print(&Event::Measuring)?;
        let began = Instant::now();
        tokio::time::sleep(Duration::from_secs_f64(options.seconds)).await;
        report::print(&Event::Measured)?;
        let window = began.elapsed().as_secs_f64();
        let result = LoadResult::new(window, &calls.counts.borrow(), &calls.latencies.borrow());
        report::print(&Event::Result(Box::new(result)))
    })
}

async fn connect(target: &Target) -> std::io::Result<client::SendRequest<Bytes>> {
    let stream = TcpStream::connect(target.address).await?;
    stream.set_nodelay(true)?;
    match &target.tls {
        None => begin(stream).await,
        Some((config, name)) => {
            let connector = tokio_rustls::TlsConnector::from(config.clone());
            begin(connector.connect(name.clone(), stream).await?).await
        }
    }
}

async fn begin<S>(stream: S) -> std::io::Result<client::SendRequest<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut builder = client::Builder::new();
    builder
        .initial_window_size(WINDOW_LEN)
        .initial_connection_window_size(WINDOW_LEN);
    let (sender, connection) = builder.handshake(stream).await.map_err(Error::other)?;
    spawn_local(connection);
    sender.ready().await.map_err(Error::other)
}

/// One call after the other. A connection that is lost fails all calls on it, and they end.
async fn call_for_ever(calls: Rc<Calls>, sender: client::SendRequest<Bytes>) {
    loop {
        let began = Instant::now();
        let outcome = tokio::time::timeout(calls.timeout, call(&calls, sender.clone())).await;
        let outcome = outcome.unwrap_or(Err(Failure::Timeout));
        let mut counts = calls.counts.borrow_mut();
        match outcome {
            Ok(()) => {
                counts.answered += 1;
                calls.latencies.borrow_mut().add(began.elapsed());
            }
            Err(failure) => counts.fail(failure),
        }
        if matches!(outcome, Err(Failure::Cut)) {
            return;
        }
        counts.sent += 1;
    }
}

async fn call(calls: &Calls, sender: client::SendRequest<Bytes>) -> Result<(), Failure> {
    let mut sender = sender.ready().await.map_err(|_| Failure::Cut)?;
    let host = fastrand::u32(0..calls.target.hosts());
    let (path, mark) = calls.target.route(fastrand::usize(..));
    let scheme = if calls.target.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let request = Request::post(format!("{scheme}://{}{path}", calls.target.host(host)))
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|_| Failure::Malformed)?;
    let (response, mut stream) = sender
        .send_request(request, false)
        .map_err(|_| Failure::Cut)?;
    stream
        .send_data(calls.message.clone(), true)
        .map_err(|_| Failure::Cut)?;
    let response = response.await.map_err(failure)?;
    let is_marked = response
        .headers()
        .get(MARK_HEADER)
        .is_some_and(|found| found.as_bytes() == mark.to_string().as_bytes());
    let is_right = response.status() == 200 && is_marked;
    let trailers = read_message(response.into_body()).await;
    let trailers = trailers.ok_or(Failure::Malformed)?;
    match trailers.get("grpc-status") {
        Some(status) if is_right && status == "0" => Ok(()),
        _ => Err(Failure::Wrong),
    }
}

/// A stream that was reset is the call's failure; anything else is the connection's.
fn failure(error: h2::Error) -> Failure {
    let is_gone = error.is_io() || error.is_go_away();
    let is_end = error
        .get_io()
        .is_some_and(|error| error.kind() == ErrorKind::UnexpectedEof);
    if is_gone || is_end {
        Failure::Cut
    } else {
        Failure::Malformed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_says_its_length() {
        assert_eq!(&message(3)[..], b"\0\0\0\0\x03abc");
    }
}
