//! Hide lists: files that are there but not for clients (Caddy: fileHidden).

use super::paths::{clean, is_match, is_shortest};
use std::borrow::Cow;
use std::sync::OnceLock;

/// The working directory, for relative roots and patterns; read before the engine gives up its rights.
pub fn working_directory() -> &'static [u8] {
    static DIRECTORY: OnceLock<Vec<u8>> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        use std::os::unix::ffi::OsStringExt;
        std::env::current_dir().map_or_else(|_| b"/".to_vec(), |path| path.into_os_string().into_vec())
    })
}

/// Go's filepath.Abs.
pub fn absolute(path: &[u8]) -> Vec<u8> {
    if path.first() == Some(&b'/') {
        return clean(path);
    }
    let mut whole = working_directory().to_vec();
    whole.push(b'/');
    whole.extend_from_slice(path);
    clean(&whole)
}

/// A pattern as it is compared: with a slash in it, absolute.
pub fn settle(pattern: &[u8]) -> Vec<u8> {
    if pattern.contains(&b'/') { absolute(pattern) } else { pattern.to_vec() }
}

/// Whether settled patterns hide a path. A name hides it at any depth; a path hides itself and all below it.
pub fn is_hidden<'a>(path: &[u8], patterns: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut patterns = patterns.peekable();
    if patterns.peek().is_none() {
        return false;
    }
    let settled = if is_shortest(path) { Cow::Borrowed(path) } else { Cow::Owned(absolute(path)) };
    let path = &*settled;
    for pattern in patterns {
        if !pattern.contains(&b'/') {
            if path.split(|&byte| byte == b'/').any(|element| is_match(pattern, element)) {
                return true;
            }
        } else if path.strip_prefix(pattern).is_some_and(|rest| rest.first() == Some(&b'/')) {
            return true;
        }
        if is_match(pattern, path) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_any_depth_and_paths_with_all_below() {
        for (path, pattern, expected) in [
            ("/srv/.git/config", ".git", true),
            ("/srv/a.git/config", ".git", false),
            ("/srv/a.bak", "*.bak", true),
            ("/srv/x/a.bak", "*.bak", true),
            ("/foo/bar", "/foo", true),
            ("/foobar", "/foo", false),
            ("/foo", "/foo", true),
            ("/foo/x/bar", "/foo/*/bar", true),
            ("/foo/x/y/bar", "/foo/*/bar", false),
            ("/foo/x/bar/deep", "/foo/*/bar", false),
            ("/foo/../secret", "/secret", true),
        ] {
            let settled = settle(pattern.as_bytes());
            assert_eq!(
                is_hidden(path.as_bytes(), std::iter::once(&settled[..])),
                expected,
                "{path} by {pattern}"
            );
        }
    }

    #[test]
    fn relative_paths_are_those_of_the_working_directory() {
        let settled = settle(b"./Caddyfile");
        let mut expected = working_directory().to_vec();
        expected.extend_from_slice(b"/Caddyfile");
        assert_eq!(settled, expected);
        assert!(is_hidden(b"Caddyfile", std::iter::once(&settled[..])));
        assert!(!is_hidden(b"sub/Caddyfile", std::iter::once(&settled[..])));
    }
}
