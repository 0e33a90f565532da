//! `zeroserve-engine execute`: programs run outside traffic, for tests and for `zeroserve explain` (execution.proto).
//!
//! In: length-prefixed Executions. Out: as many Outcomes, in order. What cannot be used is an Outcome with `error`.

use crate::exchange::{
    Body, Clock, Connection, Exchange, Framing, HeaderSpan, ListenerId, Peer, RequestHead, StaticAnswer,
    TlsInfo,
};
use crate::plugins::memory::{Fetched, ReadAhead, Wanted};
use crate::plugins::{Plugin, PluginIndex, values};
use crate::program::abi;
use crate::program::image::{self, Image};
use crate::program::run::{self, Decision, Machine, Operation, Trap, decode_action};
use crate::protocol::{self, Execution, Field, Outcome};
use crate::snapshot::{Cluster, ClusterState, Compiler, Settings, Tables, VirtualHost};
use prost::Message;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

const EXECUTION_BYTES_MAX: usize = 64 << 20;

pub fn run(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut machine = Machine::new()?;
    loop {
        let mut length = [0; 4];
        match input.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return output.flush(),
            result => result?,
        }
        let length = u32::from_le_bytes(length) as usize;
        if length > EXECUTION_BYTES_MAX {
            return Err(io::Error::other(format!("execution of {length} bytes")));
        }
        let mut bytes = vec![0; length];
        input.read_exact(&mut bytes)?;
        let outcome = Execution::decode(&bytes[..])
            .map_err(|error| error.to_string())
            .and_then(|execution| execute(&mut machine, execution))
            .unwrap_or_else(|error| Outcome { error, ..Outcome::default() });
        let encoded = outcome.encode_to_vec();
        output.write_all(&(encoded.len() as u32).to_le_bytes())?;
        output.write_all(&encoded)?;
    }
}

fn execute(machine: &mut Machine, execution: Execution) -> Result<Outcome, String> {
    let host = build_host(&execution)?;
    machine.forget();
    machine.plugins.index = Arc::new(build_plugins(&execution)?);
    machine.plugins.last_failure = None;
    let fuel =
        if execution.fuel == 0 { abi::FUEL_DEFAULT } else { execution.fuel }.min(i64::MAX as u64) as i64;
    if let Some(message) = &execution.called {
        return execute_call(machine, &host, &execution, message);
    }
    let mut exchange = Exchange::new();
    let started;
    let mut status = 0;
    let result = match &execution.request {
        Some(request) => {
            begin(&mut exchange, request)?;
            exchange.now.unix_ms = execution.unix_s.saturating_mul(1000);
            exchange.steps = Some(Vec::new());
            started = Instant::now();
            let mut running = Running {
                machine,
                host: &host,
                fuel,
                body: &request.body,
                answers: execution.answers.iter(),
            };
            let result = running.run(&mut exchange, execution.entry);
            match (&execution.answered, result) {
                (Some(answer), Ok(done)) if is_proxied(&host, &done) => {
                    status = answer.status;
                    running.show_answer(&mut exchange, answer).map(|instead| instead.unwrap_or(done))
                }
                (_, result) => result,
            }
        }
        None => {
            let memory = machine.window().write(abi::CONTEXT, execution.memory.len() as u64);
            memory.ok_or("memory larger than the context")?.copy_from_slice(&execution.memory);
            started = Instant::now();
            machine.execute_prepared(&host, &mut exchange, execution.memory.len() as u32, fuel)
        }
    };
    let mut outcome = Outcome { nanoseconds: started.elapsed().as_nanos() as u64, ..Outcome::default() };
    if execution.repeat > 0 && execution.request.is_some() {
        let times = execution.repeat;
        outcome.call_ns = measure(times, || {
            machine.write_folded_path(&host, &exchange);
            machine.execute_prepared(&host, &mut exchange, execution.entry, fuel)
        });
        outcome.run_ns = measure(times, || machine.execute(&host, &mut exchange, execution.entry, fuel));
    }
    match &result {
        Ok(done) => {
            outcome.result = done.result as i64;
            outcome.fuel_left = done.fuel_left as u64;
        }
        Err(trap) => {
            outcome.trapped = true;
            outcome.trap = trap.to_string();
        }
    }
    outcome.steps = exchange.steps.take().unwrap_or_default();
    outcome.plugin_failure =
        machine.plugins.last_failure.take().map_or_else(String::new, |failure| failure.to_string());
    if execution.request.is_none() {
        let memory = machine.window().read(abi::CONTEXT, execution.memory.len() as u64);
        outcome.memory = memory.unwrap_or_default().to_vec().into();
    } else if let Ok(done) = result {
        match decode_action(&host, done.result) {
            Ok(decision) => {
                outcome.status = status;
                describe(&mut outcome, &host, &mut exchange, decision);
            }
            Err(trap) => {
                outcome.trapped = true;
                outcome.trap = trap.to_string();
            }
        }
    }
    Ok(outcome)
}

/// Nanoseconds of so many runs, whose outcomes somebody could look at; 0 where one of them failed.
fn measure<T, E>(times: u32, mut run: impl FnMut() -> Result<T, E>) -> u64 {
    let started = Instant::now();
    let all = (0..times).all(|_| std::hint::black_box(run()).is_ok());
    if all { started.elapsed().as_nanos() as u64 } else { 0 }
}

/// A plugin's function, whose trap, memory and exchange are shown: what a route that calls it would not tell.
fn execute_call(
    machine: &mut Machine,
    host: &VirtualHost,
    execution: &Execution,
    message: &protocol::Plugin,
) -> Result<Outcome, String> {
    values::forget(&message.name);
    let find = |name: &str| Some(Cluster::new(name, ClusterState::unconfigured()));
    let plugin = Arc::new(Plugin::compile(message, host.image.clone(), &find)?);
    let mut exchange = Exchange::new();
    if let Some(request) = &execution.request {
        begin(&mut exchange, request)?;
    }
    exchange.now.unix_ms = execution.unix_s.saturating_mul(1000);
    let started = Instant::now();
    let result = machine.execute_call(host, &mut exchange, &plugin, &execution.memory, execution.entry);
    let mut outcome = Outcome { nanoseconds: started.elapsed().as_nanos() as u64, ..Outcome::default() };
    match result {
        Ok(done) => (outcome.result, outcome.fuel_left) = (done.result as i64, done.fuel_left as u64),
        Err(trap) => (outcome.trapped, outcome.trap) = (true, trap.to_string()),
    }
    let memory = machine.window().read(abi::CONTEXT, execution.memory.len() as u64);
    outcome.memory = memory.unwrap_or_default().to_vec().into();
    let mut uri = Vec::new();
    exchange.write_uri(&mut uri);
    (outcome.method, outcome.uri) = (text(exchange.method()), text(&uri));
    outcome.request_fields = exchange.request.iter().map(show_field).collect();
    outcome.response_fields = exchange.answer.iter().map(show_field).collect();
    let variables = exchange.variables.iter();
    outcome.variables =
        variables.map(|(name, value)| Field { name: text(name), value: value.to_vec().into() }).collect();
    outcome.status = exchange.plugins.made_status.into();
    outcome.body = std::mem::take(&mut exchange.plugins.made_body).into();
    Ok(outcome)
}

/// A host around the program; clusters are handles without endpoints.
fn build_host(execution: &Execution) -> Result<VirtualHost, String> {
    let image = load_image(execution.image.clone(), &execution.code)?;
    if execution.constants.len() < image.constants_bytes as usize {
        return Err(format!(
            "{} bytes of constants, the program needs {}",
            execution.constants.len(),
            image.constants_bytes
        ));
    }
    let none = protocol::Tables::default();
    let tables = execution.tables.as_ref().unwrap_or(&none);
    let find = |name: &str| Some(Cluster::new(name, ClusterState::unconfigured()));
    let tables: Tables = Compiler::default().compile(tables, &find)?;
    Ok(VirtualHost {
        name: "execution".into(),
        names: Default::default(),
        listeners: Arc::new([]),
        image: Arc::new(image),
        constants: execution.constants.as_ref().into(),
        tables: Arc::new(tables),
        fuel: 0,
        error_entry: 0,
        marker: "".into(),
        deny: None,
        tls: None,
        strict_sni_host: false,
        stream: protocol::Stream::NoStream,
        judges_streams: false,
    })
}

fn load_image(message: Option<protocol::Image>, code: &[u8]) -> Result<Image, String> {
    let mut message = message.ok_or("no image")?;
    if message.code_digest.is_empty() {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, code);
        message.code_digest = digest.as_ref().to_vec().into();
    }
    message.code_bytes = code.len() as u32;
    let descriptor = image::seal(code).map_err(|error| error.to_string())?;
    Image::load(&message, descriptor)
}

fn build_plugins(execution: &Execution) -> Result<PluginIndex, String> {
    let find = |name: &str| Some(Cluster::new(name, ClusterState::unconfigured()));
    let mut index = PluginIndex::default();
    for one in &execution.plugins {
        let image = Arc::new(load_image(one.image.clone(), &one.code)?);
        let message = one.plugin.as_ref().ok_or("no plugin")?;
        index.insert(Plugin::compile(message, image, &find)?);
    }
    Ok(index)
}

/// The entry at which a program goes on that waits for a plugin.
fn resumed(host: &VirtualHost, result: u64) -> Option<u32> {
    match decode_action(host, result) {
        Ok(Decision::Suspend { operation: Operation::CallPlugin, entry, .. }) => Some(entry),
        _ => None,
    }
}

fn is_proxied(host: &VirtualHost, done: &run::Outcome) -> bool {
    matches!(decode_action(host, done.result), Ok(Decision::Proxy(_)))
}

/// A program, and what its plugins wait for.
struct Running<'a> {
    machine: &'a mut Machine,
    host: &'a VirtualHost,
    fuel: i64,
    body: &'a [u8],
    answers: std::slice::Iter<'a, protocol::FetchedAnswer>,
}

impl Running<'_> {
    /// To its end.
    fn run(&mut self, exchange: &mut Exchange, entry: u32) -> Result<run::Outcome, Trap> {
        let mut result = self.machine.execute(self.host, exchange, entry, self.fuel);
        while let Some(entry) = result.as_ref().ok().and_then(|done| resumed(self.host, done.result)) {
            self.give_wanted(exchange);
            result = self.machine.execute(self.host, exchange, entry, self.fuel);
        }
        result
    }

    /// The upstream's answer passes the handlers that intercept it. Some: another one takes its place.
    fn show_answer(
        &mut self,
        exchange: &mut Exchange,
        answer: &protocol::FetchedAnswer,
    ) -> Result<Option<run::Outcome>, Trap> {
        let status = answer.status as u16;
        exchange.scratch.clone_from(&exchange.answer);
        for field in &answer.fields {
            exchange.scratch.add(field.name.as_bytes(), &field.value);
        }
        while let Some(entry) = exchange.pass_wrappers(status) {
            exchange.hold_own_answer(status);
            let done = self.run(exchange, entry)?;
            exchange.release();
            match decode_action(self.host, done.result)? {
                Decision::Empty | Decision::Pass => exchange.take_intercepted_answer(),
                _ => return Ok(Some(done)),
            }
        }
        exchange.answer = std::mem::take(&mut exchange.scratch);
        Ok(None)
    }

    /// What a plugin waits for: the request's body, or the next answer that was given.
    fn give_wanted(&mut self, exchange: &mut Exchange) {
        let fetched = match exchange.plugins.wanted.take() {
            Some(Wanted::Body(limit)) => {
                let bytes = self.body[..self.body.len().min(limit as usize)].to_vec();
                let whole_bytes = Some(self.body.len() as u64);
                exchange.plugins.body = Some(ReadAhead { limit, bytes, whole_bytes });
                return;
            }
            Some(Wanted::Fetch(outbound)) => Fetched { plugin: outbound.plugin, ..Fetched::default() },
            None => return,
        };
        exchange.plugins.fetches.push(self.next_answer(fetched).into());
    }

    fn next_answer(&mut self, mut fetched: Fetched) -> Fetched {
        if let Some(answer) = self.answers.next() {
            fetched.status = answer.status as u16;
            fetched.body = answer.body.to_vec();
            for field in &answer.fields {
                fetched.fields.add(field.name.as_bytes(), &field.value);
            }
        }
        fetched
    }
}

fn begin(exchange: &mut Exchange, request: &protocol::RequestHead) -> Result<(), String> {
    let remote: SocketAddr = match request.peer.as_str() {
        "" => SocketAddr::from(([127, 0, 0, 1], 1)),
        peer => peer.parse().map_err(|_| format!("{peer:?} is no ip:port"))?,
    };
    let https = request.scheme == "https";
    let peer = Peer {
        listener: ListenerId(0),
        remote,
        local: SocketAddr::from(([127, 0, 0, 1], if https { 443 } else { 80 })),
        tls: https.then_some(TlsInfo::assumed()),
        trusted: false,
        external_port: 0,
    };
    let headers: Vec<HeaderSpan> = request
        .fields
        .iter()
        .map(|field| HeaderSpan { name: field.name.as_bytes(), value: &field.value })
        .collect();
    let head = RequestHead {
        method: request.method.as_bytes(),
        target: request.target.as_bytes(),
        http_minor: request.http_minor as u8,
        headers: &headers,
    };
    let refused = exchange.begin(&head, &peer, &Settings::default(), Clock::default());
    refused.map_err(|refuse| format!("request refused with {}: {}", refuse.status, refuse.reason))
}

/// What the request became, by writing what would be sent and reading it again.
fn describe(outcome: &mut Outcome, host: &VirtualHost, exchange: &mut Exchange, decision: Decision) {
    let mut head = Vec::new();
    let framing = Framing { body: Body::Unframed, connection: Connection::Default, expect_continue: false };
    let mut uri = Vec::new();
    exchange.write_uri(&mut uri);
    outcome.method = text(exchange.method());
    outcome.request_fields = exchange.request.iter().map(show_field).collect();
    if let Decision::Proxy(row) = decision {
        let call = host.proxy(row);
        outcome.cluster = call.cluster.name.to_string();
        exchange.write_upstream_head(call, framing, &mut head);
        let (line, fields) = split_head(&head);
        outcome.request_fields = fields;
        uri = line.split(|&byte| byte == b' ').nth(1).unwrap_or_default().to_vec();
    }
    outcome.uri = text(&uri);
    outcome.request_body_bytes_max = exchange.request_body_bytes_max().unwrap_or(0);
    let latest: BTreeMap<_, _> =
        exchange.variables.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let variables = latest.into_iter().map(|(name, value)| Field { name: text(&name), value: value.into() });
    outcome.variables = variables.collect();
    let made = exchange.plugins.take_made();
    let answer = match decision {
        Decision::Answer => StaticAnswer::Made(made.0, &made.1),
        Decision::Respond(row) => StaticAnswer::Row(host.response(row)),
        Decision::Error(status) => StaticAnswer::Bare(status),
        Decision::NotFound => StaticAnswer::Status(404),
        Decision::Empty => StaticAnswer::Empty,
        Decision::Proxy(_)
        | Decision::File { .. }
        | Decision::Abort
        | Decision::Suspend { .. }
        | Decision::Pass => {
            outcome.response_fields = exchange.answer.iter().map(show_field).collect();
            return;
        }
    };
    let mut out = Vec::new();
    let (status, body_bytes) = exchange.write_response(answer, &mut out);
    outcome.status = status.into();
    outcome.response_fields = split_head(&out).1;
    outcome.body = out[out.len() - body_bytes..].to_vec().into();
}

fn show_field(field: HeaderSpan<'_>) -> Field {
    Field { name: text(field.name), value: field.value.to_vec().into() }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// First line, and the fields up to the empty line.
fn split_head(head: &[u8]) -> (Vec<u8>, Vec<Field>) {
    let end = memchr::memmem::find(head, b"\r\n\r\n").unwrap_or(head.len());
    let mut lines =
        head[..end].split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().unwrap_or_default().to_vec();
    let fields = lines.filter_map(|line| {
        let colon = memchr::memmem::find(line, b": ")?;
        Some(Field { name: text(&line[..colon]), value: line[colon + 2..].to_vec().into() })
    });
    (first, fields.collect())
}
