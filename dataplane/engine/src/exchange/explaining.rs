//! Why a request was answered as it was, told to those who may ask: `X-Zeroserve-Explain` is an expiry in seconds since
//! 1970, a dot, and HMAC-SHA256 in hexadecimal over host, line feed and expiry by the key of the settings.
//!
//! Such a request is served by its host's explained program, which reports its steps; no other one pays for it.

use super::Exchange;
use super::expanding::split_once;
use crate::protocol::StepKind;
use crate::snapshot::{Step, VirtualHost};
use aws_lc_rs::hmac;

pub const ASKING_FIELD: &[u8] = b"X-Zeroserve-Explain";
pub const TELLING_FIELD: &[u8] = b"X-Zeroserve-Explained";
/// A signature is not believed for longer than a day ahead.
const VALID_S_MAX: u64 = 86_400;
const EXPLANATION_BYTES_MAX: usize = 4 << 10;

impl Exchange {
    /// True where the request carries a valid signature for its host. The field goes no further.
    pub fn asks_explanation(&mut self, key: &hmac::Key) -> bool {
        let asks = self
            .request
            .get(ASKING_FIELD)
            .is_some_and(|value| is_signed(value, self.host(), key, self.now.unix_ms / 1000));
        self.request.remove(ASKING_FIELD);
        asks
    }

    /// Steps are noted from here on.
    pub fn begin_explanation(&mut self) {
        self.steps = Some(Vec::new());
    }

    /// Makes the explanation of what the host's program decided so far; nothing where nobody asked.
    pub fn explain(&mut self, host: &VirtualHost) {
        let Some(rows) = self.steps.as_ref() else { return };
        let steps = rows.iter().filter_map(|&row| host.tables.steps.get(row as usize));
        self.explanation = describe(host.name.strip_prefix("explained ").unwrap_or(&host.name), steps);
    }
}

fn is_signed(value: &[u8], host: &[u8], key: &hmac::Key, now_s: u64) -> bool {
    let Some((expiry, signature)) = split_once(value, b'.') else { return false };
    let expires_s = std::str::from_utf8(expiry).ok().and_then(|text| text.parse::<u64>().ok());
    if !expires_s.is_some_and(|at| (now_s..=now_s + VALID_S_MAX).contains(&at)) {
        return false;
    }
    let pairs = signature.chunks(2).map(|pair| {
        std::str::from_utf8(pair)
            .ok()
            .filter(|pair| pair.len() == 2)
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
    });
    let Some(signature) = pairs.collect::<Option<Vec<u8>>>() else { return false };
    hmac::verify(key, &[host, b"\n", expiry].concat(), &signature).is_ok()
}

/// `site="…"; route="FILE:LINE MATCHERS > …"; matcher="… > …"; handler="FILE:LINE DIRECTIVE"`.
fn describe<'a>(site: &str, steps: impl Iterator<Item = &'a Step>) -> Vec<u8> {
    let (mut routes, mut matchers, mut asked, mut handler) =
        (Vec::new(), Vec::new(), Vec::new(), String::new());
    for step in steps {
        let shown = format!("{} {}", step.place, step.text).replace('"', "'");
        match step.kind {
            StepKind::StepTried => asked.clear(),
            StepKind::StepCompared => asked.push(shown),
            StepKind::StepApplies => {
                routes.push(shown);
                matchers.append(&mut asked);
            }
            StepKind::StepHandled => handler = shown,
        }
    }
    let text = format!(
        "site=\"{site}\"; route=\"{}\"; matcher=\"{}\"; handler=\"{handler}\"",
        routes.join(" > "),
        matchers.join(" > ")
    );
    let safe = |byte: u8| if (0x20..0x7f).contains(&byte) { byte } else { b'?' };
    text.bytes().map(safe).take(EXPLANATION_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_for_one_host_and_ends() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"a key of these tests");
        let sign = |host: &str, expiry: u64| {
            let tag = hmac::sign(&key, format!("{host}\n{expiry}").as_bytes());
            let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{expiry}.{hex}").into_bytes()
        };
        let value = sign("a.example", 1_000);
        assert!(is_signed(&value, b"a.example", &key, 1_000));
        assert!(!is_signed(&value, b"b.example", &key, 1_000));
        assert!(!is_signed(&value, b"a.example", &key, 1_001));
        assert!(!is_signed(&sign("a.example", 1_000_000), b"a.example", &key, 1_000));
        for wrong in [&b""[..], b"1000", b"1000.", b"1000.zz", b"1000.0", b"x.00", &value[..value.len() - 1]]
        {
            assert!(!is_signed(wrong, b"a.example", &key, 1_000), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn routes_that_apply_are_told_with_their_matchers() {
        let step = |kind, text: &str| Step { kind, place: "Caddyfile:2".into(), text: text.into() };
        let steps = [
            step(StepKind::StepTried, "path /a"),
            step(StepKind::StepCompared, "path /a"),
            step(StepKind::StepTried, "path /b"),
            step(StepKind::StepCompared, "path /b"),
            step(StepKind::StepApplies, "path /b"),
            step(StepKind::StepHandled, "respond \n"),
        ];
        let told = describe("http://a", steps.iter());
        assert_eq!(
            String::from_utf8(told).unwrap(),
            "site=\"http://a\"; route=\"Caddyfile:2 path /b\"; matcher=\"Caddyfile:2 path /b\"; \
             handler=\"Caddyfile:2 respond ?\""
        );
    }
}
