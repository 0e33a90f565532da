//! Placeholders that no message carries: this machine, the clock, the handshake (Caddy: replacer.go, caddyhttp/replacer.go).
//!
//! Rule: times are in UTC, whatever the machine's zone is.

use super::client_certificates::ClientField;
use super::texts::Placeholder;
use super::{Exchange, TlsInfo, TlsVersion};
use crate::calendar;
use crate::ring::addresses::read_clock;
use crate::tls::ja4;
use std::io::Write;
use std::sync::OnceLock;

/// What this process found out about its machine before it gave up its rights.
struct Machine {
    hostname: Vec<u8>,
    directory: Vec<u8>,
}

static MACHINE: OnceLock<Machine> = OnceLock::new();

/// A value of the machine or of the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surrounding {
    Hostname,
    System,
    Architecture,
    Slash,
    Directory,
    Now,
    CommonLogTime,
    Duration,
    DurationMilliseconds,
    /// Without `shutdown_delay`, which is not offered, Caddy never says that it shuts down.
    ShuttingDown,
    TimeUntilShutdown,
}

impl Surrounding {
    /// Not about a request.
    pub fn is_global(self) -> bool {
        !matches!(
            self,
            Self::Duration | Self::DurationMilliseconds | Self::ShuttingDown | Self::TimeUntilShutdown
        )
    }

    pub fn compile(name: &str) -> Option<Self> {
        Some(match name {
            "system.hostname" => Self::Hostname,
            "system.os" => Self::System,
            "system.arch" => Self::Architecture,
            "system.slash" => Self::Slash,
            "system.wd" => Self::Directory,
            "time.now" => Self::Now,
            "time.now.common_log" => Self::CommonLogTime,
            "http.request.duration" => Self::Duration,
            "http.request.duration_ms" => Self::DurationMilliseconds,
            "http.shutting_down" => Self::ShuttingDown,
            "http.time_until_shutdown" => Self::TimeUntilShutdown,
            _ => return None,
        })
    }
}

/// A value of the client's TLS session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsField {
    Version,
    CipherSuite,
    Resumed,
    Protocol,
    ProtocolMutual,
    ServerName,
    EncryptedHello,
    Ja4,
    Client(ClientField),
}

const TLS_FIELDS: [(&str, TlsField); 8] = [
    ("version", TlsField::Version),
    ("cipher_suite", TlsField::CipherSuite),
    ("resumed", TlsField::Resumed),
    ("proto", TlsField::Protocol),
    ("proto_mutual", TlsField::ProtocolMutual),
    ("server_name", TlsField::ServerName),
    ("ech", TlsField::EncryptedHello),
    ("ja4", TlsField::Ja4),
];

impl TlsField {
    /// The part of a name after `http.request.tls.`; case does not count.
    pub fn compile(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        if name == "ja4" {
            ja4::want();
        }
        if let Some((_, field)) = TLS_FIELDS.iter().find(|(known, _)| *known == name) {
            return Some(*field);
        }
        ClientField::compile(name.strip_prefix("client.")?).map(Self::Client)
    }

    fn write(self, tls: &TlsInfo, out: &mut Vec<u8>) {
        let text = match self {
            Self::Version if tls.version == TlsVersion::Tls12 => "tls1.2",
            Self::Version => "tls1.3",
            Self::CipherSuite => return push_suite(tls.cipher_suite, out),
            Self::Resumed if tls.resumed => "true",
            Self::ProtocolMutual => "true",
            Self::Resumed | Self::EncryptedHello => "false",
            Self::Protocol => tls.protocol,
            Self::ServerName => tls.server_name.as_deref().unwrap_or_default(),
            Self::Ja4 => tls.handshake.as_ref().map_or("", |handshake| &handshake.ja4),
            Self::Client(field) => {
                let client = tls.handshake.as_ref().and_then(|handshake| handshake.client.as_ref());
                return field.write(client.map_or(&[], |client| &client.leaf), out);
            }
        };
        out.extend_from_slice(text.as_bytes());
    }
}

/// Go's name of a suite: those of TLS 1.3 are without the version.
fn push_suite(suite: &str, out: &mut Vec<u8>) {
    match suite.strip_prefix("TLS13_") {
        Some(rest) => {
            out.extend_from_slice(b"TLS_");
            out.extend_from_slice(rest.as_bytes());
        }
        None => out.extend_from_slice(suite.as_bytes()),
    }
}

/// Finds out about this machine; call before the process may not look any more.
pub fn note_machine() {
    machine();
}

fn machine() -> &'static Machine {
    use std::os::unix::ffi::OsStringExt;
    MACHINE.get_or_init(|| {
        let hostname = std::fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
        let directory = std::env::current_dir().map(|path| path.into_os_string().into_vec());
        Machine { hostname: hostname.trim_ascii_end().to_vec(), directory: directory.unwrap_or_default() }
    })
}

impl Exchange {
    /// Nothing where the client speaks no TLS.
    pub(super) fn expand_tls(&self, field: TlsField, out: &mut Vec<u8>) {
        if let Some(tls) = &self.tls {
            field.write(tls, out);
        }
    }

    pub(super) fn expand_surrounding(&self, surrounding: Surrounding, out: &mut Vec<u8>) {
        match surrounding {
            Surrounding::Hostname => out.extend_from_slice(&machine().hostname),
            Surrounding::Directory => out.extend_from_slice(&machine().directory),
            Surrounding::System => out.extend_from_slice(b"linux"),
            Surrounding::Architecture => out.extend_from_slice(architecture().as_bytes()),
            Surrounding::Slash => out.push(b'/'),
            Surrounding::Now => push_now(self.now.unix_ms, out),
            Surrounding::CommonLogTime => push_common_log(self.now.unix_ms / 1000, out),
            Surrounding::Duration => push_duration(self.running_ns(), out),
            Surrounding::DurationMilliseconds => {
                // Writing to a Vec cannot fail.
                let _ = write!(out, "{}", self.running_ns() as f64 / 1e6);
            }
            Surrounding::ShuttingDown => out.extend_from_slice(b"false"),
            Surrounding::TimeUntilShutdown => {}
        }
    }

    /// How long ago the request's head was read.
    pub(super) fn running_ns(&self) -> u64 {
        read_clock().monotonic_ns.saturating_sub(self.now.monotonic_ns)
    }

    /// The request's id as a UUID of version 4 (RFC 9562 5.4).
    pub(super) fn push_uuid(&self, out: &mut Vec<u8>) {
        for (index, &digit) in self.request_id.iter().enumerate() {
            if matches!(index, 8 | 12 | 16 | 20) {
                out.push(b'-');
            }
            out.push(match index {
                12 => b'4',
                16 => b"89ab"[usize::from(digit & 3)],
                _ => digit,
            });
        }
    }
}

/// Go's GOARCH.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Go's time.Time.String without the monotonic reading, to the millisecond.
fn push_now(unix_ms: u64, out: &mut Vec<u8>) {
    let (year, month, day) = calendar::civil_from_days((unix_ms / 86_400_000) as i64);
    let time = unix_ms / 1000 % 86_400;
    let fraction = match unix_ms % 1000 {
        0 => String::new(),
        millis => format!(".{millis:03}").trim_end_matches('0').to_owned(),
    };
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}{fraction} +0000 UTC",
        time / 3600,
        time / 60 % 60,
        time % 60
    );
}

/// The time of a line of the Common Log Format.
fn push_common_log(seconds: u64, out: &mut Vec<u8>) {
    let (year, month, day) = calendar::civil_from_days((seconds / 86_400) as i64);
    let time = seconds % 86_400;
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "{day:02}/{}/{year:04}:{:02}:{:02}:{:02} +0000",
        calendar::short(calendar::month_name(month)),
        time / 3600,
        time / 60 % 60,
        time % 60
    );
}

/// Go's time.Duration.String.
pub(crate) fn push_duration(duration_ns: u64, out: &mut Vec<u8>) {
    let fraction = |unit_ns: u64| duration_ns as f64 / unit_ns as f64;
    // Writing to a Vec cannot fail.
    let _ = match duration_ns {
        0 => write!(out, "0s"),
        ns if ns < 1_000 => write!(out, "{ns}ns"),
        ns if ns < 1_000_000 => write!(out, "{}µs", fraction(1_000)),
        ns if ns < 1_000_000_000 => write!(out, "{}ms", fraction(1_000_000)),
        ns => {
            let minutes = ns / 60_000_000_000;
            let _ = match (minutes / 60, minutes % 60) {
                (0, 0) => Ok(()),
                (0, minutes) => write!(out, "{minutes}m"),
                (hours, minutes) => write!(out, "{hours}h{minutes}m"),
            };
            write!(out, "{}s", (ns % 60_000_000_000) as f64 / 1e9)
        }
    };
}

/// What has a name of these groups; None for any other.
pub(super) fn compile(name: &str) -> Option<Placeholder> {
    if let Some(surrounding) = Surrounding::compile(name) {
        return Some(Placeholder::Surrounding(surrounding));
    }
    TlsField::compile(name.strip_prefix("http.request.tls.")?).map(Placeholder::Tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(push: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn durations_are_go_s() {
        for (ns, expected) in [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5µs"),
            (2_000_000, "2ms"),
            (1_234_567_000, "1.234567s"),
            (60_000_000_000, "1m0s"),
            (3_661_000_000_000, "1h1m1s"),
        ] {
            assert_eq!(shown(|out| push_duration(ns, out)), expected);
        }
    }

    #[test]
    fn times_are_go_s_in_utc() {
        assert_eq!(shown(|out| push_now(1_700_000_000_120, out)), "2023-11-14 22:13:20.12 +0000 UTC");
        assert_eq!(shown(|out| push_now(1_700_000_000_000, out)), "2023-11-14 22:13:20 +0000 UTC");
        assert_eq!(shown(|out| push_common_log(1_700_000_000, out)), "14/Nov/2023:22:13:20 +0000");
    }

    #[test]
    fn an_id_is_shown_as_a_uuid_of_version_4() {
        let mut exchange = Exchange::new();
        exchange.request_id = *b"0123456789abcdef0123456789abcdef";
        assert_eq!(shown(|out| exchange.push_uuid(out)), "01234567-89ab-4def-8123-456789abcdef");
    }

    #[test]
    fn fields_of_no_certificate_are_those_of_an_empty_one() {
        for (name, expected) in [
            ("client.subject", Some("")),
            ("client.serial", Some("<nil>")),
            ("client.san.uris", Some("[]")),
            ("client.san.ips.0", Some("")),
            ("client.san.ips.x", None),
            ("client.nothing", None),
        ] {
            let found =
                TlsField::compile(name).map(|field| shown(|out| field.write(&TlsInfo::assumed(), out)));
            assert_eq!(found.as_deref(), expected, "{name}");
        }
    }
}
