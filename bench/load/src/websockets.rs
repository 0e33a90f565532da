//! `websockets`: so many WebSockets through the proxy, each echoing one message per period until stdin is closed.
//! Also the echo server behind the proxy. A thread per WebSocket: they are few and mostly asleep.
//! Rule: a WebSocket that ends before it was told to is a closed one, and is not opened again.

use crate::load::stdin_closed;
use crate::report;
use crate::target::{Target, TargetOptions};
use clap::Args;
use rustls::{ClientConnection, StreamOwned};
use serde::Serialize;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket};

#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    target: TargetOptions,
    #[arg(long, default_value_t = 50)]
    count: u32,
    #[arg(long, default_value_t = 1000)]
    period_ms: u64,
    /// Path of the WebSocket handshake
    #[arg(long, default_value = "/echo")]
    websocket_path: String,
}

const ECHO_MAX: Duration = Duration::from_secs(10);
/// How often a sleeping WebSocket looks whether it shall end.
const TICK: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Tally {
    opened: AtomicU64,
    echoed: AtomicU64,
    refused: AtomicU64,
    closed: AtomicU64,
    wrong: AtomicU64,
    longest_us: AtomicU64,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    /// Every WebSocket is open, or was refused.
    Open,
    Result {
        opened: u64,
        refused: u64,
        echoed: u64,
        closed: u64,
        wrong: u64,
        longest_us: u64,
    },
}

trait Channel: Read + Write + Send {}
impl<T: Read + Write + Send> Channel for T {}

pub fn run(options: &Options) -> std::io::Result<()> {
    let target = Target::new(&options.target)?;
    let tally = Tally::default();
    let stop = stdin_closed();
    std::thread::scope(|scope| -> std::io::Result<()> {
        for number in 0..options.count {
            let (target, tally, stop) = (&target, &tally, &stop);
            scope.spawn(move || match open(target, &options.websocket_path) {
                Err(_) => {
                    tally.refused.fetch_add(1, Ordering::Relaxed);
                }
                Ok(socket) => {
                    tally.opened.fetch_add(1, Ordering::Relaxed);
                    // Spread over the period, so that not all echo at once.
                    let period = Duration::from_millis(options.period_ms);
                    echo_until(
                        socket,
                        number,
                        period * number / options.count,
                        period,
                        tally,
                        stop,
                    );
                }
            });
        }
        while tally.opened.load(Ordering::Relaxed) + tally.refused.load(Ordering::Relaxed)
            < u64::from(options.count)
        {
            std::thread::sleep(TICK);
        }
        report::print(&Event::Open)
    })?;
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    report::print(&Event::Result {
        opened: read(&tally.opened),
        refused: read(&tally.refused),
        echoed: read(&tally.echoed),
        closed: read(&tally.closed),
        wrong: read(&tally.wrong),
        longest_us: read(&tally.longest_us),
    })
}

fn open(target: &Target, path: &str) -> std::io::Result<WebSocket<Box<dyn Channel>>> {
    let stream = TcpStream::connect(target.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ECHO_MAX))?;
    let (scheme, channel): (_, Box<dyn Channel>) = match &target.tls {
        None => ("ws", Box::new(stream)),
        Some((config, name)) => {
            let tls = ClientConnection::new(config.clone(), name.clone())
                .map_err(std::io::Error::other)?;
            ("wss", Box::new(StreamOwned::new(tls, stream)))
        }
    };
    let address = format!("{scheme}://{}{path}", target.host(0));
    let (socket, _) = tungstenite::client(address, channel)
        .map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(socket)
}

fn echo_until(
    mut socket: WebSocket<Box<dyn Channel>>,
    number: u32,
    first: Duration,
    period: Duration,
    tally: &Tally,
    stop: &AtomicBool,
) {
    let mut due = Instant::now() + first;
    let mut turn = 0u64;
    loop {
        while Instant::now() < due {
            if stop.load(Ordering::Relaxed) {
                // The end of the run: what happens to the closing handshake is of no interest.
                let _ = socket.close(None);
                let _ = socket.flush();
                return;
            }
            std::thread::sleep(TICK.min(due.saturating_duration_since(Instant::now())));
        }
        due += period;
        turn += 1;
        let text = format!("{number}:{turn}");
        let sent_at = Instant::now();
        let echo = socket
            .send(Message::text(text.clone()))
            .and_then(|()| socket.read());
        match echo {
            Ok(Message::Text(back)) if back.as_str() == text => {
                tally.echoed.fetch_add(1, Ordering::Relaxed);
                let took_us = u64::try_from(sent_at.elapsed().as_micros()).unwrap_or(u64::MAX);
                tally.longest_us.fetch_max(took_us, Ordering::Relaxed);
            }
            Ok(Message::Close(_)) | Err(_) => {
                tally.closed.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Ok(_) => {
                tally.wrong.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Serves echoes on `listener` for ever.
pub fn serve_echoes(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            let Ok(mut socket) = tungstenite::accept(stream) else {
                return;
            };
            while let Ok(message) = socket.read() {
                if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                    return;
                }
            }
        });
    }
}
