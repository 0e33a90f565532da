//! Placeholders of `map`, evaluated where they are used (Caddy: map.go); traces.

use super::Exchange;
use super::expanding::Unknown;
use super::logging::LogValue;
use super::random;
use crate::patterns::Readable;
use crate::snapshot::{MapInput, MapOutput, Tables, ValueKind, ValueMap};
use std::cell::Cell;
use std::sync::Arc;

/// Maps whose source is another map's destination are followed so far; Caddy does not end on a cycle.
const DEPTH_MAX: u32 = 8;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

impl Exchange {
    /// The placeholders of a row of Tables.maps are defined from here on; of two of a name the first holds.
    pub(crate) fn add_map(&mut self, tables: Arc<Tables>, row: u32) {
        self.maps.push((tables, row));
    }

    /// A map defines the placeholder.
    pub(crate) fn is_mapped(&self, name: &[u8]) -> bool {
        self.maps.iter().any(|(tables, row)| {
            tables.maps[*row as usize].destinations.iter().any(|known| known[..] == *name)
        })
    }

    /// Appends the value of a placeholder that a map defines; false where none does.
    pub(super) fn expand_mapped(&self, name: &[u8], out: &mut Vec<u8>) -> bool {
        let found = self.maps.iter().find_map(|(tables, row)| {
            let map = &tables.maps[*row as usize];
            map.destinations.iter().position(|known| known[..] == *name).map(|at| (map, at))
        });
        let Some((map, destination)) = found else { return false };
        let depth = DEPTH.get();
        if depth < DEPTH_MAX {
            DEPTH.set(depth + 1);
            self.map_value(map, destination, out);
            DEPTH.set(depth);
        }
        true
    }

    fn map_value(&self, map: &ValueMap, destination: usize, out: &mut Vec<u8>) {
        let mut input = Vec::new();
        self.expand(&map.source, Unknown::Empty, &mut input);
        for mapping in &map.mappings {
            match (&mapping.input, &mapping.outputs[destination]) {
                (MapInput::Text(text), Some(MapOutput::Text(output))) if text[..] == input[..] => {
                    return self.expand(output, Unknown::Empty, out);
                }
                (MapInput::Pattern(pattern), Some(MapOutput::Template(template))) => {
                    let input = Readable::new(&input);
                    if let Some(captures) = pattern.captures(input.text()) {
                        return captures.expand(template, out);
                    }
                }
                _ => {}
            }
        }
        if let Some(default) = map.defaults.get(destination) {
            self.expand(default, Unknown::Empty, out);
        }
    }

    /// Sets a variable; `kind` is what expressions take its value for.
    pub(crate) fn assign_variable(&mut self, name: Vec<u8>, value: Vec<u8>, kind: ValueKind) {
        if kind != ValueKind::Text || !self.variable_kinds.is_empty() {
            self.variable_kinds.push((name.clone(), kind));
        }
        self.variables.push(name, value);
    }

    /// Goes on with the client's W3C trace, or begins one: a span of our own towards the upstream.
    pub(crate) fn trace(&mut self) {
        let parent = self.request.get(b"traceparent").and_then(parse_traceparent);
        let (trace, sampled) = match parent {
            Some((trace, flags)) => (trace, flags & 1),
            None => (format!("{:016x}{:016x}", random() | 1, random()).into_bytes(), 1),
        };
        let span = format!("{:016x}", random() | 1).into_bytes();
        let mut header = b"00-".to_vec();
        header.extend_from_slice(&trace);
        header.push(b'-');
        header.extend_from_slice(&span);
        header.extend_from_slice(if sampled == 1 { b"-01" } else { b"-00" });
        self.request.set(b"Traceparent", &header);
        self.log_values.push((b"traceID".to_vec(), LogValue::Text(trace.clone())));
        self.log_values.push((b"spanID".to_vec(), LogValue::Text(span.clone())));
        self.variables.push(b"trace_id".to_vec(), trace);
        self.variables.push(b"span_id".to_vec(), span);
    }
}

/// Trace id and flags of a well-formed field (W3C Trace Context, 3.2).
fn parse_traceparent(value: &[u8]) -> Option<(Vec<u8>, u8)> {
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
    Some((trace.to_vec(), flags))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(found.map(|(_, flags)| flags), expected, "{value}");
        }
    }

    #[test]
    fn a_trace_goes_on_with_a_span_of_its_own() {
        let mut exchange = Exchange::new();
        exchange.request.set(b"Traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
        exchange.trace();
        let sent = exchange.request.get(b"traceparent").unwrap().to_vec();
        assert!(sent.starts_with(b"00-4bf92f3577b34da6a3ce929d0e0e4736-") && sent.ends_with(b"-00"));
        assert_ne!(&sent[36..52], b"00f067aa0ba902b7");
        assert_eq!(exchange.variables.get(b"span_id"), Some(&sent[36..52]));
        let mut fresh = Exchange::new();
        fresh.trace();
        assert!(fresh.request.get(b"traceparent").unwrap().ends_with(b"-01"));
    }
}
