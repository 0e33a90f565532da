//! The `file` matcher: which of several names is a file below a root (Caddy: fileserver/matcher.go).

use super::opening::{Patience, Status, Trouble, find_link_status, find_status, list, open};
use super::paths::{clean, has_glob, is_match, join};
use crate::exchange::texts::{Part, Text};
use crate::exchange::{Exchange, Unknown};
use crate::snapshot::{FileMatch, TryPolicy};
use std::os::fd::AsFd;

/// Names read of one directory for a glob.
const GLOB_NAMES_MAX: usize = 10_000;
/// Candidates that one glob may give.
const CANDIDATES_MAX: usize = 10_000;

/// A matcher's names for one request, expanded.
#[derive(Debug)]
pub struct Question {
    root: Vec<u8>,
    tries: Vec<Try>,
    policy: TryPolicy,
}

#[derive(Debug)]
enum Try {
    /// Path below the root, perhaps a glob; what `split_path` cut off.
    Path {
        pattern: Vec<u8>,
        remainder: Vec<u8>,
    },
    Raise,
}

/// A file that is there, as the placeholders have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    pub relative: Vec<u8>,
    pub absolute: Vec<u8>,
    pub remainder: Vec<u8>,
    pub is_directory: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    None,
    File(Matched),
    /// `=404` was reached.
    Raised,
}

impl Question {
    pub fn new(row: &FileMatch, exchange: &Exchange) -> Question {
        let mut root = Vec::new();
        exchange.expand(&row.root, Unknown::Empty, &mut root);
        let root = clean(&root);
        let tries = row.files.iter().map(|file| match &file.name {
            _ if file.raises => Try::Raise,
            name => {
                let mut path = clean(&expand_escaped(exchange, name));
                let end = find_split(&path, &row.split_path);
                let remainder = path.split_off(end);
                if file.is_directory {
                    path.push(b'/');
                }
                Try::Path { pattern: join(&root, &path), remainder }
            }
        });
        let tries = tries.collect();
        Question { root, tries, policy: row.policy }
    }
}

/// What placeholders give is taken literally: only globs of the configuration are globs.
fn expand_escaped(exchange: &Exchange, text: &Text) -> Vec<u8> {
    let Text::Parts(parts) = text else { return text.literal().unwrap_or_default().to_vec() };
    let mut out = Vec::new();
    for part in parts {
        let mut value = Vec::new();
        exchange.expand_part(part, Unknown::Empty, &mut value);
        match part {
            Part::Literal(_) => out.append(&mut value),
            Part::Placeholder(_) => {
                for byte in value {
                    if matches!(byte, b'*' | b'[' | b'?' | b'\\') {
                        out.push(b'\\');
                    }
                    out.push(byte);
                }
            }
        }
    }
    out
}

/// Where the path ends and its remainder begins: behind the first delimiter that ends an element.
fn find_split(path: &[u8], delimiters: &[Box<[u8]>]) -> usize {
    for delimiter in delimiters {
        let found = path
            .windows(delimiter.len().max(1))
            .position(|window| window.eq_ignore_ascii_case(delimiter))
            // Caddy does not look at the very end, where nothing would be cut off anyway.
            .filter(|at| at + delimiter.len() < path.len());
        if let Some(end) = found.map(|at| at + delimiter.len())
            && path[end] == b'/'
        {
            return end;
        }
    }
    path.len()
}

/// Answers, or says `None` where only a call that may wait can.
pub fn find(question: &Question, patience: Patience) -> Option<Answer> {
    look(question, patience).ok()
}

struct Later;

fn look(question: &Question, patience: Patience) -> Result<Answer, Later> {
    let mut best: Option<(Status, Matched)> = None;
    for (index, one) in question.tries.iter().enumerate() {
        let Try::Path { pattern, remainder } = one else { return Ok(Answer::Raised) };
        for path in expand_glob(pattern, patience)? {
            let relative = path.strip_prefix(&question.root[..]).unwrap_or(&path).to_vec();
            let matched =
                Matched { relative, absolute: path, remainder: remainder.clone(), is_directory: false };
            if question.policy == TryPolicy::FirstExistFallback && index + 1 == question.tries.len() {
                return Ok(Answer::File(matched));
            }
            let Some(status) = stat(&matched.absolute, patience)? else { continue };
            let matched = Matched { is_directory: status.is_directory(), ..matched };
            match question.policy {
                TryPolicy::FirstExist | TryPolicy::FirstExistFallback
                    if matched.absolute.ends_with(b"/") == status.is_directory() =>
                {
                    return Ok(Answer::File(matched));
                }
                TryPolicy::FirstExist | TryPolicy::FirstExistFallback => {}
                policy if is_better(policy, &status, best.as_ref().map(|(status, _)| status)) => {
                    best = Some((status, matched));
                }
                _ => {}
            }
        }
    }
    Ok(best.map_or(Answer::None, |(_, matched)| Answer::File(matched)))
}

/// Empty files are never the largest, and lose their place as the smallest to the next one, as in Caddy.
fn is_better(policy: TryPolicy, status: &Status, best: Option<&Status>) -> bool {
    match policy {
        TryPolicy::LargestSize => status.size > best.map_or(0, |best| best.size),
        TryPolicy::SmallestSize => best.is_none_or(|best| best.size == 0 || status.size < best.size),
        _ => best.is_none_or(|best| status.modified_ns() > best.modified_ns()),
    }
}

fn stat(path: &[u8], patience: Patience) -> Result<Option<Status>, Later> {
    match find_status(path, patience) {
        Ok(status) => Ok(Some(status)),
        Err(Trouble::Later) => Err(Later),
        Err(_) => Ok(None),
    }
}

/// Paths that a pattern stands for, sorted; those that are not there may be among them.
fn expand_glob(pattern: &[u8], patience: Patience) -> Result<Vec<Vec<u8>>, Later> {
    if !has_glob(pattern) {
        // A link that leads nowhere counts for Caddy's fallback only, which asks no further.
        let there = match patience {
            Patience::Cached => stat(pattern, patience)?.is_some(),
            Patience::Blocking => find_link_status(pattern).is_ok(),
        };
        return Ok(if there { vec![pattern.to_vec()] } else { Vec::new() });
    }
    if patience == Patience::Cached {
        return Err(Later);
    }
    Ok(glob(pattern))
}

/// Go's filepath.Glob: element by element, broken patterns give nothing. Waits.
fn glob(pattern: &[u8]) -> Vec<Vec<u8>> {
    if !has_glob(pattern) {
        return if find_link_status(pattern).is_ok() { vec![pattern.to_vec()] } else { Vec::new() };
    }
    let at = memchr::memrchr(b'/', pattern).map_or(0, |at| at + 1);
    let (directory, name) = pattern.split_at(at);
    let directory = match directory {
        b"" => b".",
        b"/" => directory,
        _ => &directory[..directory.len() - 1],
    };
    // Its depth is that of the pattern, which the configuration has written.
    let directories = if has_glob(directory) { glob(directory) } else { vec![directory.to_vec()] };
    let mut found = Vec::new();
    for directory in directories {
        let Ok((descriptor, status)) = open(&directory, Patience::Blocking) else { continue };
        if !status.is_directory() {
            continue;
        }
        let mut names = list(descriptor.as_fd(), GLOB_NAMES_MAX).unwrap_or_default();
        names.retain(|one| is_match(name, one));
        names.sort();
        for one in names {
            found.push(if directory == b"." { one } else { join_name(&directory, &one) });
            if found.len() >= CANDIDATES_MAX {
                return found;
            }
        }
    }
    found
}

fn join_name(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if directory.ends_with(b"/") { b"" } else { b"/" };
    [directory, slash, name].concat()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    fn ask(tree: &Tree, patterns: &[&str], policy: TryPolicy) -> Answer {
        let root = tree.path("");
        let root = clean(&root);
        let path =
            |pattern: &&str| Try::Path { pattern: join(&root, pattern.as_bytes()), remainder: Vec::new() };
        let tries = patterns
            .iter()
            .map(|pattern| if pattern.starts_with('=') { Try::Raise } else { path(pattern) })
            .collect();
        find(&Question { root, tries, policy }, Patience::Blocking).unwrap()
    }

    fn relative(answer: Answer) -> String {
        match answer {
            Answer::File(matched) => String::from_utf8(matched.relative).unwrap(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_first_that_exists_files_and_directories_apart() {
        let tree = Tree::new();
        tree.write("a.txt", b"12345");
        tree.make_directory("dir");
        let first = |patterns: &[&str]| relative(ask(&tree, patterns, TryPolicy::FirstExist));
        assert_eq!(first(&["/none", "/a.txt"]), "/a.txt");
        assert_eq!(first(&["/dir", "/a.txt"]), "/a.txt");
        assert_eq!(first(&["/dir/", "/a.txt"]), "/dir/");
        assert_eq!(first(&["/a.txt/", "/none"]), "None");
        assert_eq!(first(&["/none", "=404", "/a.txt"]), "Raised");
        assert_eq!(first(&["/../a.txt"]), "/a.txt");
    }

    #[test]
    fn globs_of_the_configuration_in_sorted_order() {
        let tree = Tree::new();
        for name in ["b/x.txt", "a/x.txt", "a/y.md", "star*.txt"] {
            tree.write(name, b"1");
        }
        let first = |pattern: &str| relative(ask(&tree, &[pattern], TryPolicy::FirstExist));
        assert_eq!(first("/*/x.txt"), "/a/x.txt");
        assert_eq!(first("/?/*.md"), "/a/y.md");
        assert_eq!(first("/star\\*.txt"), "/star*.txt");
        assert_eq!(first("/[/x"), "None");
    }

    #[test]
    fn policies_by_size_and_fallback() {
        let tree = Tree::new();
        tree.write("small", b"1");
        tree.write("large", b"12345");
        tree.write("empty", b"");
        let by = |policy| relative(ask(&tree, &["/small", "/large", "/none"], policy));
        assert_eq!(by(TryPolicy::LargestSize), "/large");
        assert_eq!(by(TryPolicy::SmallestSize), "/small");
        assert_eq!(by(TryPolicy::FirstExistFallback), "/small");
        let fallback = ask(&tree, &["/none", "/empty"], TryPolicy::FirstExistFallback);
        assert_eq!(relative(fallback), "/empty");
    }

    #[test]
    fn paths_are_split_behind_a_whole_element() {
        let split = |path: &str| find_split(path.as_bytes(), &[b".php"[..].into()]);
        assert_eq!(split("/a.php/b"), 6);
        assert_eq!(split("/a.PHP/b"), 6);
        assert_eq!(split("/a.php"), 6);
        assert_eq!(split("/a.phpx/b"), 9);
        assert_eq!(split("/b"), 2);
    }
}
