//! JA4, the fingerprint of a client's TLS stack (FoxIO, technical_details/JA4.md), over TCP.
//!
//! In: a ClientHello. Out: `t13d1516h2_8daaf6152771_e5627efa2ab1`: what it offers, then two truncated SHA-256 digests,
//! of its sorted cipher suites, and of its sorted extensions with its signature algorithms.

use super::hello::{ALPN, ClientHello, SERVER_NAME};
use aws_lc_rs::digest;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Fingerprints are computed from the first configuration on that reads one.
static WANTED: AtomicBool = AtomicBool::new(false);

pub fn want() {
    WANTED.store(true, Relaxed);
}

pub fn is_wanted() -> bool {
    WANTED.load(Relaxed)
}

/// Digits of a truncated digest.
const DIGEST_DIGITS: usize = 12;
const COUNT_MAX: usize = 99;

pub fn fingerprint(hello: &ClientHello<'_>) -> Box<str> {
    let suites = sorted(&hello.cipher_suites);
    let extensions = sorted(&hello.extensions);
    let mut out = String::with_capacity(36);
    let named = if hello.extensions.contains(&SERVER_NAME) { 'd' } else { 'i' };
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "t{}{named}{:02}{:02}",
        version(hello),
        suites.len().min(COUNT_MAX),
        extensions.len().min(COUNT_MAX)
    );
    push_protocol(hello.protocol, &mut out);
    push_digest(&joined(suites.into_iter()), &mut out);
    let others: Vec<u16> =
        extensions.into_iter().filter(|kind| ![SERVER_NAME, ALPN].contains(kind)).collect();
    let mut text = joined(others.iter().copied());
    let algorithms = hello.signature_algorithms.iter().copied().filter(|number| !is_grease(*number));
    if !text.is_empty() && !hello.signature_algorithms.is_empty() {
        text.push('_');
        text.push_str(&joined(algorithms));
    }
    push_digest(&text, &mut out);
    out.into()
}

/// Values that say nothing (RFC 8701).
fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && high & 0x0f == 0x0a
}

fn sorted(numbers: &[u16]) -> Vec<u16> {
    let mut kept: Vec<u16> = numbers.iter().copied().filter(|number| !is_grease(*number)).collect();
    kept.sort_unstable();
    kept
}

fn joined(numbers: impl Iterator<Item = u16>) -> String {
    let mut out = String::new();
    for number in numbers {
        let comma = if out.is_empty() { "" } else { "," };
        let _ = write!(out, "{comma}{number:04x}");
    }
    out
}

/// The highest version offered.
fn version(hello: &ClientHello<'_>) -> &'static str {
    let offered = hello.supported_versions.iter().copied().filter(|number| !is_grease(*number));
    match offered.max().unwrap_or(hello.legacy_version) {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// The first and last character of the first protocol, or of its hexadecimal form.
fn push_protocol(protocol: Option<&[u8]>, out: &mut String) {
    let (Some(first), Some(last)) = (protocol.and_then(<[u8]>::first), protocol.and_then(<[u8]>::last))
    else {
        return out.push_str("00");
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        out.extend([char::from(*first), char::from(*last)]);
    } else {
        let (first, last) = (format!("{first:02x}"), format!("{last:02x}"));
        out.push_str(&first[..1]);
        out.push_str(&last[1..]);
    }
}

fn push_digest(text: &str, out: &mut String) {
    out.push('_');
    if text.is_empty() {
        return out.extend(std::iter::repeat_n('0', DIGEST_DIGITS));
    }
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    for byte in &digest.as_ref()[..DIGEST_DIGITS / 2] {
        let _ = write!(out, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chrome's suites, with the values of RFC 8701 that it mixes in.
    const SUITES: [u16; 16] = [
        0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
        0x009c, 0x009d, 0x002f, 0x0035,
    ];
    const ALGORITHMS: [u16; 8] = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];

    fn chrome(extensions: &[u16]) -> ClientHello<'static> {
        ClientHello {
            legacy_version: 0x0303,
            cipher_suites: SUITES.into(),
            extensions: extensions.into(),
            server_name: Some("a.test"),
            protocol: Some(b"h2"),
            signature_algorithms: ALGORITHMS.into(),
            supported_versions: vec![0x2a2a, 0x0304, 0x0303],
        }
    }

    #[test]
    fn the_published_example_has_its_published_fingerprint() {
        let extensions = [
            0x0a0a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012,
            0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0xbaba,
        ];
        assert_eq!(&*fingerprint(&chrome(&extensions)), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn a_newer_chrome_as_an_independent_service_shows_it() {
        let extensions = [
            0x002d, 0x0033, 0x0010, 0xfe0d, 0x0017, 0x44cd, 0x0000, 0x000b, 0x000a, 0x002b, 0xff01, 0x0023,
            0x0012, 0x0005, 0x000d, 0x001b,
        ];
        assert_eq!(&*fingerprint(&chrome(&extensions)), "t13d1516h2_8daaf6152771_d8a2da3f94cd");
    }

    #[test]
    fn what_is_missing_is_zeroes_and_odd_protocols_are_hexadecimal() {
        let nothing = ClientHello { legacy_version: 0x0301, ..ClientHello::default() };
        assert_eq!(&*fingerprint(&nothing), "t10i000000_000000000000_000000000000");
        for (protocol, shown) in [(&b"\xab"[..], "ab"), (b"\x30\xab", "3b"), (b"http/1.1", "h1"), (b"", "00")]
        {
            let hello = ClientHello { protocol: Some(protocol), ..ClientHello::default() };
            assert_eq!(&fingerprint(&hello)[8..10], shown);
        }
    }

    #[test]
    fn the_version_is_the_highest_offered() {
        let hello = |offered: &[u16]| ClientHello { supported_versions: offered.into(), ..chrome(&[]) };
        assert_eq!(&fingerprint(&hello(&[0x0303, 0x0302]))[..3], "t12");
        assert_eq!(&fingerprint(&hello(&[]))[..3], "t12");
        assert_eq!(&fingerprint(&hello(&[0x7f17]))[..3], "t00");
    }
}
