//! Many of Caddy's simple patterns at once: which of those that fit a folded path comes first.

use std::collections::HashMap;

/// Nodes are sorted; each knows the longest one that it begins with, so all prefixes of a path are one way upwards.
pub struct PatternTrie {
    exact: HashMap<Box<[u8]>, u32, ahash::RandomState>,
    prefixes: Box<[Prefix]>,
}

struct Prefix {
    text: Box<[u8]>,
    /// The longest other prefix of this one.
    parent: Option<u32>,
    /// The lowest value of this one and of those above it.
    value: u32,
}

impl PatternTrie {
    /// Of (text, exact, value).
    pub fn new<'a>(entries: impl Iterator<Item = (&'a [u8], bool, u32)>) -> Self {
        let mut exact = HashMap::default();
        let mut sorted: Vec<(&[u8], u32)> = Vec::new();
        for (text, is_exact, value) in entries {
            if is_exact {
                let lowest = exact.entry(text.into()).or_insert(value);
                *lowest = value.min(*lowest);
            } else {
                sorted.push((text, value));
            }
        }
        sorted.sort_unstable();
        // Of equal texts the first one has the lowest value.
        sorted.dedup_by_key(|(text, _)| *text);
        let mut prefixes: Vec<Prefix> = Vec::with_capacity(sorted.len());
        for (text, value) in sorted {
            let mut parent = prefixes.len().checked_sub(1).map(|last| last as u32);
            while let Some(above) = parent.map(|at| &prefixes[at as usize])
                && !text.starts_with(&above.text)
            {
                parent = above.parent;
            }
            let value = parent.map_or(value, |at| value.min(prefixes[at as usize].value));
            prefixes.push(Prefix { text: text.into(), parent, value });
        }
        exact.shrink_to_fit();
        Self { exact, prefixes: prefixes.into() }
    }

    /// The lowest value of the entries that fit, 0 where none does.
    pub fn find(&self, path: &[u8]) -> u32 {
        let exact = self.exact.get(path).copied();
        exact.into_iter().chain(self.find_prefix(path)).min().unwrap_or(0)
    }

    /// What begins the path sorts before it, and with all that lies between: it is the last one there, or above it.
    fn find_prefix(&self, path: &[u8]) -> Option<u32> {
        let behind = self.prefixes.partition_point(|prefix| *prefix.text <= *path);
        let mut node = &self.prefixes[behind.checked_sub(1)?];
        let shared = node.text.iter().zip(path).take_while(|(a, b)| a == b).count();
        while node.text.len() > shared {
            node = &self.prefixes[node.parent? as usize];
        }
        Some(node.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_finds_what_one_comparison_after_another_finds_first(
            entries in proptest::collection::vec(("[ab/]{0,6}", any::<bool>()), 0..40),
            paths in proptest::collection::vec("[ab/]{0,8}", 20),
        ) {
            let numbered = || entries.iter().zip(1..).map(|((text, exact), value)| (text.as_bytes(), *exact, value));
            let trie = PatternTrie::new(numbered());
            for path in &paths {
                let path = path.as_bytes();
                let fits = |(text, exact, _): &(&[u8], bool, u32)| {
                    if *exact { path == *text } else { path.starts_with(text) }
                };
                let expected = numbered().find(fits).map_or(0, |(_, _, value)| value);
                prop_assert_eq!(trie.find(path), expected);
            }
        }
    }
}
