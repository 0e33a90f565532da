//! Loggers of a Caddyfile: which requests are logged, under which names, and where lines of a name go (Caddy: logging.go,
//! caddyhttp/logging.go).

use super::encoding::Encoder;
use super::records::Level;
use crate::exchange::Exchange;
use crate::protocol;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The logger name of access logs; a site's own follows it.
pub const ACCESS: &str = "http.log.access";

/// Where the lines of a logger go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    Stderr,
    Stdout,
    /// The agent, which writes files and to the network: by this name.
    Agent(Arc<str>),
}

#[derive(Debug)]
pub struct Logger {
    include: Box<[Box<str>]>,
    exclude: Box<[Box<str>]>,
    level_min: i32,
    sampler: Option<Sampler>,
    pub encoder: Encoder,
    /// None: lines are discarded.
    pub sink: Option<Sink>,
}

/// All of them, with what each set of listeners logs.
#[derive(Debug)]
pub struct Loggers {
    loggers: Box<[Logger]>,
    servers: Box<[ServerLogs]>,
}

#[derive(Debug)]
pub struct ServerLogs {
    listeners: Box<[Box<str>]>,
    default_name: Box<str>,
    hosts: HashMap<Box<str>, Box<[Box<str>]>>,
    skipped_hosts: Box<[Box<str>]>,
    skips_unmapped: bool,
    pub with_credentials: bool,
}

impl Loggers {
    /// None where there are no loggers; servers without logs of their own tell of errors all the same.
    pub fn compile(message: &protocol::Settings) -> Result<Option<Arc<Self>>, String> {
        if message.loggers.is_empty() {
            return Ok(None);
        }
        let loggers = message.loggers.iter().map(Logger::compile).collect::<Result<_, _>>()?;
        let servers = message.server_logs.iter().map(ServerLogs::compile).collect();
        Ok(Some(Arc::new(Self { loggers, servers })))
    }

    pub fn server(&self, listener: &str) -> Option<&ServerLogs> {
        self.servers.iter().find(|server| server.listeners.iter().any(|name| **name == *listener))
    }

    /// Some server logs its requests.
    pub fn are_requests_logged(&self) -> bool {
        !self.servers.is_empty()
    }

    /// Requests like this one are logged.
    pub fn covers(&self, listener: &str, exchange: &Exchange) -> bool {
        let host = super::strip_port(exchange.authority());
        self.server(listener).is_some_and(|server| server.covers(&String::from_utf8_lossy(host)))
    }

    /// The loggers that take a line of this name and level now.
    pub fn taking(
        &self,
        name: &str,
        level: Level,
        message: &str,
        unix_ms: u64,
    ) -> impl Iterator<Item = &Logger> {
        self.loggers.iter().filter(move |logger| {
            logger.sink.is_some()
                && level as i32 >= logger.level_min
                && logger.allows(name)
                && logger.sampler.as_ref().is_none_or(|sampler| sampler.takes(level, message, unix_ms))
        })
    }
}

impl Logger {
    fn compile(message: &protocol::Logger) -> Result<Self, String> {
        let sink = match message.output() {
            protocol::LogOutput::LogStderr => Some(Sink::Stderr),
            protocol::LogOutput::LogStdout => Some(Sink::Stdout),
            protocol::LogOutput::LogAgent => Some(Sink::Agent(message.sink.as_str().into())),
            protocol::LogOutput::LogDiscard => None,
        };
        let encoder = Encoder::compile(message.encoder.as_ref());
        Ok(Self {
            include: boxed(&message.include),
            exclude: boxed(&message.exclude),
            level_min: message.level_min,
            sampler: message.sampling.as_ref().map(Sampler::new),
            encoder: encoder.map_err(|error| format!("logger {:?}: {error}", message.name))?,
            sink,
        })
    }

    /// The longest namespace that the name lies in decides (Caddy: CustomLog.loggerAllowed).
    fn allows(&self, name: &str) -> bool {
        let longest = |spaces: &[Box<str>]| {
            let within = |space: &&str| {
                name.strip_prefix(*space).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            spaces.iter().map(|space| &**space).filter(within).map(str::len).max().unwrap_or(0)
        };
        if self.exclude.iter().any(|space| &**space == "*") {
            return false;
        }
        let (accepted, rejected) = (longest(&self.include), longest(&self.exclude));
        accepted > rejected || (self.include.is_empty() && rejected == 0)
    }
}

impl ServerLogs {
    fn compile(message: &protocol::ServerLogs) -> Self {
        let hosts = message.hosts.iter();
        Self {
            listeners: boxed(&message.listeners),
            default_name: message.default_name.as_str().into(),
            hosts: hosts.map(|row| (row.host.as_str().into(), boxed(&row.names))).collect(),
            skipped_hosts: boxed(&message.skipped_hosts),
            skips_unmapped: message.skips_unmapped,
            with_credentials: message.with_credentials,
        }
    }

    /// Requests for this host, without port, are logged (Caddy: Server.shouldLogRequest).
    pub fn covers(&self, host: &str) -> bool {
        self.hosts.keys().any(|name| matches_wildcard(host, name))
            || !(self.skips_unmapped || self.skipped_hosts.iter().any(|name| matches_wildcard(host, name)))
    }

    /// Calls with the logger name of each line, `base` and a name: those that `log_name` gave, else those of the host as it
    /// was sent.
    pub fn each_name(&self, base: &str, host: &str, given: Option<&str>, mut call: impl FnMut(&str)) {
        let mut named = |name: &str| match name {
            "" => call(base),
            name => call(&format!("{base}.{name}")),
        };
        if let Some(given) = given {
            return given.split('\n').for_each(named);
        }
        match self.hosts.get(host).or_else(|| wildcards(host).find_map(|name| self.hosts.get(name.as_str())))
        {
            Some(names) => names.iter().for_each(|name| named(name)),
            None => named(&self.default_name),
        }
    }
}

fn boxed(texts: &[String]) -> Box<[Box<str>]> {
    texts.iter().map(|text| text.as_str().into()).collect()
}

/// The host with its first label as a wildcard, its first two, and so on.
fn wildcards(host: &str) -> impl Iterator<Item = String> {
    let mut labels: Vec<String> = host.split('.').map(str::to_owned).collect();
    (0..labels.len()).filter_map(move |at| {
        if labels[at].is_empty() {
            return None;
        }
        labels[at] = "*".into();
        Some(labels.join("."))
    })
}

/// certmagic.MatchWildcard.
fn matches_wildcard(host: &str, pattern: &str) -> bool {
    host.eq_ignore_ascii_case(pattern)
        || (pattern.contains('*') && wildcards(host).any(|name| name.eq_ignore_ascii_case(pattern)))
}

/// zap's sampler: of a message and level, the first so many in an interval, then each so-manieth.
#[derive(Debug)]
struct Sampler {
    interval_ms: u64,
    first: u64,
    thereafter: u64,
    counts: [Count; 6],
}

#[derive(Debug, Default)]
struct Count {
    reset_ms: AtomicU64,
    lines: AtomicU64,
}

impl Sampler {
    fn new(message: &protocol::LogSampling) -> Self {
        let or = |value: u64, default: u64| if value == 0 { default } else { value };
        Self {
            interval_ms: or(message.interval_ns, 1_000_000_000) / 1_000_000,
            first: or(message.first, 100),
            thereafter: or(message.thereafter, 100),
            counts: Default::default(),
        }
    }

    fn takes(&self, level: Level, message: &str, unix_ms: u64) -> bool {
        let index = level as usize * 2 + usize::from(message == "NOP");
        let count = &self.counts[index];
        if count.reset_ms.load(Ordering::Relaxed) <= unix_ms {
            count.lines.store(0, Ordering::Relaxed);
            count.reset_ms.store(unix_ms + self.interval_ms, Ordering::Relaxed);
        }
        let lines = count.lines.fetch_add(1, Ordering::Relaxed) + 1;
        lines <= self.first || (lines - self.first).is_multiple_of(self.thereafter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logger(include: &[&str], exclude: &[&str]) -> Logger {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let message =
            protocol::Logger { include: texts(include), exclude: texts(exclude), ..Default::default() };
        Logger::compile(&message).unwrap()
    }

    #[test]
    fn the_longest_namespace_decides() {
        let taken = |include: &[&str], exclude: &[&str]| {
            let logger = logger(include, exclude);
            [ACCESS, "http.log.access.a", "http.log.access.ab"].map(|name| logger.allows(name))
        };
        assert_eq!(taken(&[], &[]), [true, true, true]);
        assert_eq!(taken(&["http.log.access.a"], &[]), [false, true, false]);
        assert_eq!(taken(&[], &["http.log.access.a"]), [true, false, true]);
        assert_eq!(taken(&["http"], &["http.log"]), [false, false, false]);
        assert_eq!(taken(&["http.log.access.a"], &["http.log"]), [false, true, false]);
        assert_eq!(taken(&[], &["*"]), [false, false, false]);
    }

    #[test]
    fn hosts_have_loggers_by_name_and_wildcard() {
        let host =
            |host: &str, name: &str| protocol::HostLoggers { host: host.into(), names: vec![name.into()] };
        let server = ServerLogs::compile(&protocol::ServerLogs {
            default_name: "d".into(),
            hosts: vec![host("a.example", "one"), host("*.example", "")],
            skipped_hosts: vec!["silent.test".into(), "*.silent.test".into()],
            ..Default::default()
        });
        let names = |host: &str, given: Option<&str>| {
            let mut names = Vec::new();
            server.each_name(ACCESS, host, given, |name| names.push(name.to_owned()));
            names
        };
        assert_eq!(names("a.example", None), ["http.log.access.one"]);
        assert_eq!(names("b.example", None), [ACCESS]);
        assert_eq!(names("A.EXAMPLE.test", None), ["http.log.access.d"]);
        assert_eq!(names("a.example", Some("x\n")), ["http.log.access.x", ACCESS]);
        assert!(server.covers("A.example") && server.covers("other"));
        assert!(!server.covers("silent.test") && !server.covers("x.Silent.test"));
    }

    #[test]
    fn a_sampler_takes_the_first_and_then_some() {
        let sampler =
            Sampler::new(&protocol::LogSampling { interval_ns: 1_000_000_000, first: 2, thereafter: 3 });
        let taken =
            |unix_ms| (0..8).filter(|_| sampler.takes(Level::Info, "handled request", unix_ms)).count();
        assert_eq!((taken(5_000), taken(5_999), taken(6_000)), (4, 2, 4));
    }
}
