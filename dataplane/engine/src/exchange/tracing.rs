//! `tracing`: the request takes part in a W3C trace, by spans that the agent exports (Caddy: caddyhttp/tracing; attributes
//! are those of OpenTelemetry's semantic conventions for HTTP servers).

use super::expanding::Unknown;
use super::logging::LogValue;
use super::texts::Text;
use super::{Exchange, random};

/// A row of Tables.traces.
pub struct TraceRow {
    pub span: Text,
    pub attributes: Box<[(Box<str>, Text)]>,
}

/// Which traces are sampled (OpenTelemetry: TraceIdRatioBased, ParentBased).
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// A trace is sampled whose id's last 63 bits are below it.
    below: u64,
    ignores_parent: bool,
}

impl Default for Sampling {
    fn default() -> Self {
        Self::new(SHARE_MAX, false)
    }
}

/// All of a million.
const SHARE_MAX: u32 = 1_000_000;

impl Sampling {
    pub fn new(share_in_million: u32, ignores_parent: bool) -> Self {
        let share = u128::from(share_in_million.min(SHARE_MAX));
        let below = ((share << 63) / u128::from(SHARE_MAX)) as u64;
        Self { below, ignores_parent }
    }

    fn samples(self, trace: &[u8], parent_flags: Option<u8>) -> bool {
        match parent_flags {
            Some(flags) if !self.ignores_parent => flags & 1 == 1,
            _ => {
                let low = trace.get(16..32).and_then(|digits| std::str::from_utf8(digits).ok());
                low.and_then(|digits| u64::from_str_radix(digits, 16).ok())
                    .is_some_and(|low| low >> 1 < self.below)
            }
        }
    }
}

/// What a handler's span knows when it begins.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: Vec<u8>,
    pub id: Vec<u8>,
    /// None: the trace begins with it.
    pub parent: Option<Vec<u8>>,
    pub is_sampled: bool,
    pub state: Vec<u8>,
    pub name: Vec<u8>,
    pub method: Vec<u8>,
    /// Decoded.
    pub path: Vec<u8>,
    pub attributes: Vec<(Box<str>, Vec<u8>)>,
}

/// Spans of one request; a route with more of them is mad.
const SPANS_MAX: usize = 32;

impl Exchange {
    /// Goes on with the client's W3C trace, or begins one: a span of our own towards the upstream.
    pub(crate) fn trace(&mut self, row: &TraceRow, sampling: Sampling) {
        let parent = self.request.get(b"traceparent").and_then(parse_traceparent);
        let flags = parent.as_ref().map(|parent| parent.flags);
        let (trace, parent) = match parent {
            Some(parent) => (parent.trace, Some(parent.span)),
            None => (format!("{:016x}{:016x}", random() | 1, random()).into_bytes(), None),
        };
        let is_sampled = sampling.samples(&trace, flags);
        let id = format!("{:016x}", random() | 1).into_bytes();
        let mut header = b"00-".to_vec();
        header.extend_from_slice(&trace);
        header.push(b'-');
        header.extend_from_slice(&id);
        header.extend_from_slice(if is_sampled { b"-01" } else { b"-00" });
        let expand = |text: &Text| {
            let mut out = Vec::new();
            self.expand(text, Unknown::Empty, &mut out);
            out
        };
        let attributes = row.attributes.iter().map(|(name, value)| (name.clone(), expand(value))).collect();
        let span = Span {
            name: expand(&row.span),
            attributes,
            state: self.request.get(b"tracestate").filter(|_| parent.is_some()).unwrap_or_default().to_vec(),
            method: self.method.clone(),
            path: self.decoded_path(),
            trace: trace.clone(),
            id: id.clone(),
            parent,
            is_sampled,
        };
        self.request.set(b"Traceparent", &header);
        self.log_values.push((b"traceID".to_vec(), LogValue::Text(trace.clone())));
        self.log_values.push((b"spanID".to_vec(), LogValue::Text(id.clone())));
        self.variables.push(b"trace_id".to_vec(), trace);
        self.variables.push(b"span_id".to_vec(), id);
        if self.spans.len() < SPANS_MAX {
            self.spans.push(span);
        }
    }
}

struct Parent {
    trace: Vec<u8>,
    span: Vec<u8>,
    flags: u8,
}

/// A well-formed field (W3C Trace Context, 3.2).
fn parse_traceparent(value: &[u8]) -> Option<Parent> {
    let hex = |text: &[u8]| text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |text: &[u8]| text.iter().all(|&byte| byte == b'0');
    let (version, rest) = (value.get(..2)?, value.get(2..)?);
    let (trace, span, flags) = (rest.get(1..33)?, rest.get(34..50)?, rest.get(51..53)?);
    let dashes = rest[0] == b'-' && rest[33] == b'-' && rest[50] == b'-';
    let length_fits = match version {
        b"00" => rest.len() == 53,
        b"ff" => false,
        _ => rest.len() == 53 || rest[53] == b'-',
    };
    let well_formed = dashes && length_fits && hex(version) && hex(trace) && hex(span) && hex(flags);
    if !well_formed || zero(trace) || zero(span) {
        return None;
    }
    let flags = u8::from_str_radix(std::str::from_utf8(flags).ok()?, 16).ok()?;
    Some(Parent { trace: trace.to_vec(), span: span.to_vec(), flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> TraceRow {
        TraceRow { span: Text::from_parts(Vec::new()), attributes: Box::default() }
    }

    #[test]
    fn a_trace_parent_is_taken_only_when_it_is_well_formed() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (value, expected) in [
            (format!("00-{trace}-00f067aa0ba902b7-01"), Some(1)),
            (format!("00-{trace}-00f067aa0ba902b7-00"), Some(0)),
            (format!("cc-{trace}-00f067aa0ba902b7-01-later"), Some(1)),
            (format!("00-{trace}-00f067aa0ba902b7-01-more"), None),
            (format!("ff-{trace}-00f067aa0ba902b7-01"), None),
            (format!("00-{trace}-0000000000000000-01"), None),
            (format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()), None),
            ("00-0-0-0".into(), None),
            (String::new(), None),
        ] {
            let found = parse_traceparent(value.as_bytes());
            assert_eq!(found.map(|parent| parent.flags), expected, "{value}");
        }
    }

    #[test]
    fn a_share_of_the_traces_that_begin_here_is_sampled_and_the_same_one_everywhere() {
        let trace = |low: u64| format!("{:016x}{low:016x}", 7).into_bytes();
        let tenth = Sampling::new(100_000, false);
        let bound = u64::MAX / 10;
        assert!(tenth.samples(&trace(0), None) && tenth.samples(&trace(bound - 1000), None));
        assert!(!tenth.samples(&trace(bound + 1000), None) && !tenth.samples(&trace(u64::MAX), None));
        assert!(Sampling::new(1_000_000, false).samples(&trace(u64::MAX), None));
        assert!(!Sampling::new(0, false).samples(&trace(0), None));
    }

    #[test]
    fn a_parent_decides_unless_it_is_ignored() {
        let trace = b"00000000000000070000000000000007";
        for (ignores_parent, share, flags, expected) in [
            (false, 0, 1, true),
            (false, 1_000_000, 0, false),
            (false, 1_000_000, 2, false),
            (true, 0, 1, false),
            (true, 1_000_000, 0, true),
        ] {
            let found = Sampling::new(share, ignores_parent).samples(trace, Some(flags));
            assert_eq!(found, expected, "{ignores_parent} {share} {flags}");
        }
    }

    #[test]
    fn a_trace_goes_on_with_a_span_of_its_own() {
        let mut exchange = Exchange::new();
        exchange.request.set(b"Traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
        exchange.trace(&row(), Sampling::default());
        let sent = exchange.request.get(b"traceparent").unwrap().to_vec();
        assert!(sent.starts_with(b"00-4bf92f3577b34da6a3ce929d0e0e4736-") && sent.ends_with(b"-00"));
        assert_ne!(&sent[36..52], b"00f067aa0ba902b7");
        assert_eq!(exchange.variables.get(b"span_id"), Some(&sent[36..52]));
        let span = &exchange.spans[0];
        assert_eq!(span.parent.as_deref(), Some(&b"00f067aa0ba902b7"[..]));
        assert!(!span.is_sampled);
        exchange.trace(&row(), Sampling::default());
        let (outer, inner) = (&exchange.spans[0], &exchange.spans[1]);
        assert_eq!(inner.parent.as_ref(), Some(&outer.id));
        let mut fresh = Exchange::new();
        fresh.trace(&row(), Sampling::default());
        assert!(fresh.request.get(b"traceparent").unwrap().ends_with(b"-01"));
        assert!(fresh.spans[0].parent.is_none() && fresh.spans[0].is_sampled);
    }
}
