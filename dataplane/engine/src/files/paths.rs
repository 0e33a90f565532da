//! Go's path.Clean, filepath.Join and filepath.Match on bytes, as Caddy joins roots and requests with them.

/// Shortest equal path: no `.`, no empty elements, `..` resolved where something stands before it.
pub fn clean(path: &[u8]) -> Vec<u8> {
    if is_shortest(path) {
        return path.to_vec();
    }
    let rooted = path.first() == Some(&b'/');
    let mut kept: Vec<&[u8]> = Vec::new();
    for element in path.split(|&byte| byte == b'/') {
        match element {
            b"" | b"." => {}
            b".." => match kept.last() {
                Some(last) if *last != b".." => drop(kept.pop()),
                _ if !rooted => kept.push(b".."),
                _ => {}
            },
            name => kept.push(name),
        }
    }
    let mut out = Vec::with_capacity(path.len() + 1);
    if rooted {
        out.push(b'/');
    }
    for (index, element) in kept.iter().enumerate() {
        if index > 0 {
            out.push(b'/');
        }
        out.extend_from_slice(element);
    }
    if out.is_empty() {
        out.push(b'.');
    }
    out
}

/// A request's path below a root: nothing in it leads out by its letters (Caddy: SanitizedPathJoin).
pub fn join(root: &[u8], request: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(root.len() + request.len() + 2);
    whole.extend_from_slice(if root.is_empty() { b"." } else { root });
    whole.push(b'/');
    if is_clean(request) {
        whole.extend_from_slice(request.strip_prefix(b"/").unwrap_or(request));
    } else {
        let mut rooted = b"/".to_vec();
        rooted.extend_from_slice(request);
        whole.extend_from_slice(&clean(&rooted)[1..]);
    }
    let mut joined = if is_shortest(&whole) { whole } else { clean(&whole) };
    if request.len() > 1 && request.ends_with(b"/") && joined != b"/" {
        joined.push(b'/');
    }
    joined
}

/// True for absolute paths that `clean` leaves as they are, told by their slashes; other ones may be such too.
pub fn is_shortest(path: &[u8]) -> bool {
    path.len() > 1
        && path[0] == b'/'
        && path[path.len() - 1] != b'/'
        && !path.windows(2).any(|pair| pair[0] == b'/' && matches!(pair[1], b'/' | b'.'))
}

/// Without `.` as an element's first letter there is neither `.` nor `..` in it.
fn is_clean(path: &[u8]) -> bool {
    path.first() == Some(&b'/') && !path.windows(2).any(|pair| pair == b"/.")
}

/// Go's path.Base.
pub fn base(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |at| at + 1);
    match (path.is_empty(), end) {
        (true, _) => b".",
        (false, 0) => b"/",
        _ => path[..end].rsplit(|&byte| byte == b'/').next().unwrap_or(b""),
    }
}

/// Whether a name fits a glob; a broken glob fits nothing. `*` and `?` stop at slashes.
pub fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    // Where the last star stood, and how much of the name it has taken: all that backtracking needs.
    let (mut at, mut used) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if at < pattern.len() && pattern[at] == b'*' {
            star = Some((at, used));
            at += 1;
            continue;
        }
        let step = if at == pattern.len() && used == name.len() {
            return is_well_formed(pattern);
        } else {
            name.get(used).and_then(|&byte| match_one(&pattern[at..], byte))
        };
        match (step, star) {
            (Some(length), _) => {
                at += length;
                used += 1;
            }
            (None, Some((star_at, taken))) if taken < name.len() && name[taken] != b'/' => {
                star = Some((star_at, taken + 1));
                (at, used) = (star_at + 1, taken + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Bytes of the pattern that one byte of the name fits.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern.first()? {
        b'?' => (byte != b'/').then_some(1),
        b'[' => match_class(pattern, byte),
        b'\\' => (pattern.get(1) == Some(&byte)).then_some(2),
        literal => (*literal == byte).then_some(1),
    }
}

fn match_class(pattern: &[u8], byte: u8) -> Option<usize> {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let (mut found, mut first) = (false, true);
    while first || pattern.get(at)? != &b']' {
        let low = class_byte(pattern, &mut at)?;
        let mut high = low;
        if pattern.get(at) == Some(&b'-') {
            at += 1;
            high = class_byte(pattern, &mut at)?;
        }
        found |= (low..=high).contains(&byte);
        first = false;
    }
    (found != negated && byte != b'/').then_some(at + 1)
}

fn class_byte(pattern: &[u8], at: &mut usize) -> Option<u8> {
    let escaped = pattern.get(*at) == Some(&b'\\');
    *at += usize::from(escaped);
    let byte = *pattern.get(*at).filter(|&&byte| escaped || !matches!(byte, b'-' | b']'))?;
    *at += 1;
    Some(byte)
}

fn is_well_formed(pattern: &[u8]) -> bool {
    let mut at = 0;
    while at < pattern.len() {
        at += match pattern[at] {
            b'\\' if at + 1 == pattern.len() => return false,
            b'\\' => 2,
            b'[' => {
                let end = pattern[at..].iter().position(|&byte| byte == b']');
                let Some(end) = end else { return false };
                end + 1
            }
            _ => 1,
        };
    }
    true
}

/// Whether a pattern may stand for several names, or has escapes.
pub fn has_glob(pattern: &[u8]) -> bool {
    pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn clean_paths_are_those_of_go() {
        for (path, expected) in [
            ("", "."),
            ("/", "/"),
            ("abc/", "abc"),
            ("a//b/./c/..", "a/b"),
            ("../../a", "../../a"),
            ("a/../../b", "../b"),
            ("/../a", "/a"),
            ("./", "."),
            ("/a/b/../../..", "/"),
        ] {
            assert_eq!(text(&clean(path.as_bytes())), expected, "{path}");
        }
    }

    #[test]
    fn nothing_leads_out_of_a_root() {
        for (root, request, expected) in [
            ("/srv", "/a/b", "/srv/a/b"),
            ("/srv/", "/a/", "/srv/a/"),
            ("/srv", "/", "/srv"),
            ("/srv", "", "/srv"),
            ("/srv", "/../../etc/passwd", "/srv/etc/passwd"),
            ("/srv", "/a/../../x", "/srv/x"),
            ("/srv", "..", "/srv"),
            ("", "/a", "a"),
            (".", "/", "."),
            ("./site", "/a", "site/a"),
            ("../site", "/a", "../site/a"),
            ("/", "/a", "/a"),
            ("/srv", "/.hidden/..x", "/srv/.hidden/..x"),
        ] {
            assert_eq!(text(&join(root.as_bytes(), request.as_bytes())), expected, "{root} {request}");
        }
    }

    #[test]
    fn bases() {
        for (path, expected) in [("", "."), ("/", "/"), ("//", "/"), ("/a", "a"), ("/a/", "a"), ("/a/b", "b")]
        {
            assert_eq!(text(base(path.as_bytes())), expected, "{path}");
        }
    }

    #[test]
    fn globs_are_those_of_go() {
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[^b-d]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[]a]", "]", false),
            ("[a-b-c]", "a", false),
            ("[", "a", false),
            ("a[", "a", false),
            ("*x", "xxx", true),
            ("", "", true),
        ] {
            assert_eq!(is_match(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn joined_paths_stay_below(request in proptest::collection::vec(
            prop_oneof![Just(b'/'), Just(b'.'), any::<u8>()], 0..40)) {
            let joined = join(b"/srv/site", &request);
            prop_assert!(joined == b"/srv/site" || joined.starts_with(b"/srv/site/"));
            prop_assert!(!joined.split(|&byte| byte == b'/').any(|element| element == b".."));
        }

        #[test]
        fn what_looks_shortest_is(path in proptest::collection::vec(
            prop_oneof![Just(b'/'), Just(b'.'), Just(b'a')], 0..12)) {
            if is_shortest(&path) {
                // The long way: below an element that it takes away again.
                prop_assert_eq!(clean(&[b"/x/..", &path[..]].concat()), path);
            }
        }

        #[test]
        fn any_glob_ends(pattern in "[a*?\\[\\]^\\\\/-]{0,12}", name in "[a/]{0,12}") {
            let _ = is_match(pattern.as_bytes(), name.as_bytes());
        }
    }
}
