//! Placeholders of `map`, evaluated where they are used (Caddy: map.go).

use super::Exchange;
use super::expanding::Unknown;
use crate::limits::MAPPED_VALUES_MAX;
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
        let (depth, count) = (DEPTH.get(), self.mapped_values.get());
        if count >= MAPPED_VALUES_MAX {
            self.outgrown.set(true);
        } else if depth < DEPTH_MAX {
            self.mapped_values.set(count + 1);
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
                    if let Some(captures) = pattern.captures(input.text(), &self.searches) {
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
}
