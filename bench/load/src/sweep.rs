//! `sweep`: asks every host once, over keep-alive connections, and again those whose answer was not right, until all
//! were. Tells how long a proxy takes until everything it was given is served; with one host it is a start probe.
//!
//! Rule: the asking must not be what takes long. A few connections wait for the first right answer, so that a proxy
//! that starts is not disturbed; then all ask, and it can answer many in a turn.

use crate::answer::{Answer, AnswerReader};
use crate::report;
use crate::target::{Target, TargetOptions, is_right};
use clap::Args;
use rustls::{ClientConnection, StreamOwned};
use serde::Serialize;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    target: TargetOptions,
    /// Begin with this host; only those from it on are asked
    #[arg(long, default_value_t = 0)]
    first_host: u32,
    #[arg(long, default_value_t = 60.0)]
    timeout_s: f64,
    #[arg(long, default_value_t = 64)]
    connections: usize,
}

/// Connections that ask before anything was right.
const SCOUTS: usize = 4;
/// Pause of a scout before a host that answered wrongly is asked again, and of another connection.
const RETRY_DELAY: Duration = Duration::from_millis(2);
const PATIENT_RETRY_DELAY: Duration = Duration::from_millis(32);
const ANSWER_MAX: Duration = Duration::from_secs(10);

#[derive(Serialize)]
#[serde(tag = "event", rename = "result")]
struct SweepResult {
    /// From the start of this process to the last host's first right answer.
    seconds: f64,
    hosts: u32,
    /// Hosts that had given their right answer in time.
    right: u32,
    /// Tries that brought something else, and the last such thing.
    retries: u64,
    last_fault: Option<String>,
}

struct Progress {
    hosts: u32,
    waiting: VecDeque<u32>,
    right: u32,
    retries: u64,
    last_fault: Option<String>,
    last_right_at: Instant,
}

trait Channel: Read + Write {}
impl<T: Read + Write> Channel for T {}

pub fn run(options: &Options) -> std::io::Result<()> {
    let target = Target::new(&options.target)?;
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(options.timeout_s);
    let waiting: VecDeque<u32> = (options.first_host..target.hosts()).collect();
    let hosts = waiting.len() as u32;
    let progress = Mutex::new(Progress {
        hosts,
        waiting,
        right: 0,
        retries: 0,
        last_fault: None,
        last_right_at: start,
    });
    std::thread::scope(|scope| {
        for number in 0..options.connections.min(hosts as usize) {
            let (target, progress) = (&target, &progress);
            scope.spawn(move || ask_all(target, progress, number < SCOUTS, end));
        }
    });
    let progress = progress
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    report::print(&SweepResult {
        seconds: (progress.last_right_at - start).as_secs_f64(),
        hosts,
        right: progress.right,
        retries: progress.retries,
        last_fault: progress.last_fault,
    })?;
    if progress.right == hosts {
        Ok(())
    } else {
        Err(std::io::Error::other(
            "not every host answered right in time",
        ))
    }
}

fn ask_all(target: &Target, progress: &Mutex<Progress>, is_scout: bool, end: Instant) {
    let mut channel = None;
    let delay = if is_scout {
        RETRY_DELAY
    } else {
        PATIENT_RETRY_DELAY
    };
    while Instant::now() < end {
        let next = {
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            if progress.right == progress.hosts {
                return;
            }
            let may_ask = is_scout || progress.right > 0;
            may_ask.then(|| progress.waiting.pop_front()).flatten()
        };
        let Some(host) = next else {
            std::thread::sleep(delay);
            continue;
        };
        let fault = ask(target, &mut channel, host).err();
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        match fault {
            None => {
                progress.right += 1;
                progress.last_right_at = Instant::now();
            }
            Some(fault) => {
                progress.waiting.push_back(host);
                progress.retries += 1;
                progress.last_fault = Some(fault);
                drop(progress);
                std::thread::sleep(delay);
            }
        }
    }
}

/// Asks one host over the channel, which is made where there is none and kept when it is still good.
fn ask(target: &Target, channel: &mut Option<Box<dyn Channel>>, host: u32) -> Result<(), String> {
    let mut open = match channel.take() {
        Some(open) => open,
        None => connect(target).map_err(|error| format!("connect: {error}"))?,
    };
    let (request, mark) = target.request(host, host as usize);
    open.write_all(&request)
        .map_err(|error| format!("send: {error}"))?;
    let answer = read_answer(open.as_mut())?;
    if !answer.close {
        *channel = Some(open);
    }
    if is_right(answer, mark) {
        Ok(())
    } else {
        Err(format!("{}: {answer:?}", target.host(host)))
    }
}

fn connect(target: &Target) -> std::io::Result<Box<dyn Channel>> {
    let stream = TcpStream::connect(target.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    Ok(match &target.tls {
        None => Box::new(stream),
        Some((config, name)) => {
            let tls = ClientConnection::new(config.clone(), name.clone())
                .map_err(std::io::Error::other)?;
            Box::new(StreamOwned::new(tls, stream))
        }
    })
}

fn read_answer(channel: &mut dyn Channel) -> Result<Answer, String> {
    let mut reader = AnswerReader::default();
    let mut bytes = [0; 4096];
    loop {
        let read_len = channel
            .read(&mut bytes)
            .map_err(|error| format!("read: {error}"))?;
        if read_len == 0 {
            return Err("closed before an answer".into());
        }
        if let Some(answer) = reader
            .push(&bytes[..read_len])
            .map_err(|flaw| format!("answer: {flaw:?}"))?
        {
            return Ok(answer);
        }
    }
}
