//! Matchers with the meaning of Caddy's (caddyhttp/matchers.go): pure predicates on the request as it is now.

use super::{HelperResult, Vm, abi, row};
use crate::exchange::{Exchange, HTTP_2, Unknown, paths, queries};
use crate::patterns::Readable;
use crate::program::folding;
use crate::snapshot::{PathPattern, Subject, compile_folded_path};

/// The matcher of a helper's number. Nothing that acts is among them: expressions ask them too.
#[inline(always)]
pub fn dispatch(vm: &mut Vm, number: u32, index: u64) -> HelperResult {
    match number {
        abi::HELPER_MATCH_PATH => match_path(vm, index),
        abi::HELPER_MATCH_REGEXP => match_regexp(vm, index),
        abi::HELPER_MATCH_HOST => match_host(vm, index),
        abi::HELPER_MATCH_METHOD => match_method(vm, index),
        abi::HELPER_MATCH_HEADER => match_header(vm, index),
        abi::HELPER_MATCH_QUERY => match_query(vm, index),
        abi::HELPER_MATCH_PROTOCOL => match_protocol(vm, index),
        abi::HELPER_MATCH_REMOTE_IP => match_remote_ip(vm, index),
        abi::HELPER_MATCH_CLIENT_IP => match_client_ip(vm, index),
        abi::HELPER_MATCH_VARIABLE => match_variable(vm, index),
        _ => Err("no such matcher"),
    }
}

fn match_path(vm: &mut Vm, index: u64) -> HelperResult {
    let patterns = row(&vm.tables().paths, index)?;
    fold_path(vm);
    let path = std::mem::take(&mut vm.folded.text);
    let fits = patterns.iter().any(|pattern| matches_path(pattern, &path, vm.exchange()));
    vm.folded.text = path;
    Ok(u64::from(fits))
}

/// `path` is decoded, cleaned and in lower case.
fn matches_path(pattern: &PathPattern, path: &[u8], exchange: &Exchange) -> bool {
    match pattern {
        PathPattern::Any => true,
        PathPattern::Contains(text) => text.is_empty() || memchr::memmem::find(path, text).is_some(),
        PathPattern::Suffix(text) => path.ends_with(text),
        PathPattern::Prefix(text) => path.starts_with(text),
        PathPattern::Exact(text) => *path == text[..],
        PathPattern::Glob(text) => matches_glob(text, path),
        PathPattern::Escaped(text) => matches_escaped(text, exchange.matched_path()),
        PathPattern::Unmerged(form) => {
            exchange.folded_unmerged_path().is_some_and(|path| matches_path(form, &path, exchange))
        }
        PathPattern::Dynamic(text) => {
            let mut pattern = Vec::new();
            exchange.expand(text, Unknown::Empty, &mut pattern);
            // Not dynamic again: what a client sent is never expanded.
            matches_path(&compile_folded_path(&String::from_utf8_lossy(&pattern)), path, exchange)
        }
    }
}

/// Places the folded path in the context, where programs compare it themselves.
pub fn write_folded_path(vm: &mut Vm) -> u64 {
    let (window, exchange) = vm.window_and_exchange();
    window.write_folded_path(exchange);
    0
}

fn fold_path(vm: &mut Vm) {
    if vm.folded.valid {
        return;
    }
    let mut folded = std::mem::take(&mut vm.folded.text);
    folding::fold_whole(vm.exchange(), &mut folded);
    vm.folded.text = folded;
    vm.folded.valid = true;
}

/// Go's path.Match: `*` and `?` stop at slashes, `[a-z]` classes, `\` takes the next byte as it is.
pub fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // The last star and how much of the text it takes: one retry point is enough.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() || p < pattern.len() {
        if p < pattern.len() {
            if pattern[p] == b'*' {
                star = Some((p, t));
                p += 1;
                continue;
            }
            if t < text.len()
                && let Some(after) = match_one(pattern, p, text[t])
            {
                p = after;
                t += 1;
                continue;
            }
        }
        match star {
            Some((at, taken)) if taken < text.len() && text[taken] != b'/' => {
                star = Some((at, taken + 1));
                p = at + 1;
                t = taken + 1;
            }
            _ => return false,
        }
    }
    true
}

/// One byte against the pattern at `at`: the position after it where it fits.
fn match_one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match pattern[at] {
        b'?' => (byte != b'/').then_some(at + 1),
        b'\\' => (pattern.get(at + 1) == Some(&byte)).then_some(at + 2),
        b'[' => match_class(pattern, at, byte),
        literal => (literal == byte).then_some(at + 1),
    }
}

fn match_class(pattern: &[u8], start: usize, byte: u8) -> Option<usize> {
    let mut at = start + 1;
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let (mut found, first) = (false, at);
    loop {
        let mut low = *pattern.get(at)?;
        if low == b']' && at > first {
            return (found != negated).then_some(at + 1);
        }
        if low == b'\\' {
            at += 1;
            low = *pattern.get(at)?;
        }
        at += 1;
        let mut high = low;
        if pattern.get(at) == Some(&b'-') {
            high = *pattern.get(at + 1)?;
            at += 2;
            if high == b'\\' {
                high = *pattern.get(at)?;
                at += 1;
            }
        }
        found |= (low..=high).contains(&byte);
    }
}

/// Caddy's matchPatternWithEscapeSequence: where the pattern has an escape, the path must have the same.
pub fn matches_escaped(pattern: &[u8], escaped_path: &[u8]) -> bool {
    let path = escaped_path.to_ascii_lowercase();
    let mut text = Vec::with_capacity(path.len());
    let (mut p, mut t) = (0, 0);
    while p < pattern.len() && t < path.len() {
        let mut byte = path[t];
        let mut escape: &[u8] = b"";
        if byte == b'%'
            && let Some(value) = paths::decode_escape(&path[t..])
        {
            escape = &path[t..t + 3];
            byte = value;
            t += 2;
        }
        let star = pattern[p] == b'*';
        let raw_star = pattern[p] == b'%' && pattern.get(p + 1) == Some(&b'*');
        if pattern[p] == b'%' && !raw_star && pattern.len() >= p + 3 {
            text.extend_from_slice(escape);
            t += 1;
            p += 2;
        } else if star || raw_star {
            p += usize::from(raw_star);
            let rest = &path[t..];
            let until = match pattern.get(p + 1) {
                Some(&next) => match memchr::memchr(next, rest) {
                    Some(at) => at,
                    None => return false,
                },
                None => rest.len(),
            };
            if star {
                paths::decode(&rest[..until], &mut text);
            } else {
                text.extend_from_slice(&rest[..until]);
            }
            t += until;
        } else {
            text.push(byte);
            t += 1;
        }
        p += 1;
    }
    if t < path.len() {
        paths::decode(&path[t..], &mut text);
    }
    let mut glob = Vec::with_capacity(pattern.len());
    for (index, &byte) in pattern.iter().enumerate() {
        if !(byte == b'%' && pattern.get(index + 1) == Some(&b'*')) {
            glob.push(byte);
        }
    }
    text.make_ascii_lowercase();
    matches_glob(&glob, &text)
}

fn match_regexp(vm: &mut Vm, index: u64) -> HelperResult {
    let regexp = row(&vm.tables().regexps, index)?;
    let exchange = vm.exchange();
    let mut subject = Vec::new();
    match regexp.subject {
        Subject::NormalisedPath => subject.extend_from_slice(exchange.matched_path()),
        Subject::Path => {
            paths::clean(&exchange.decoded_matched_path(), &mut subject);
            subject.drain(..exchange.bare_bytes().min(subject.len()));
        }
        Subject::Variable => match &regexp.text {
            Some(text) => exchange.expand(text, Unknown::Empty, &mut subject),
            None => subject.extend_from_slice(exchange.variables.get(&regexp.field).unwrap_or_default()),
        },
        Subject::Header if regexp.field.eq_ignore_ascii_case(b"host") => {
            subject.extend_from_slice(&exchange.authority);
        }
        Subject::Header => {
            let values: Vec<Vec<u8>> = exchange.request.all(&regexp.field).map(<[u8]>::to_vec).collect();
            for value in &values {
                if capture(vm, index, value)? {
                    return Ok(1);
                }
            }
            return Ok(0);
        }
    }
    capture(vm, index, &subject).map(u64::from)
}

/// Matches and keeps the captures as `<name>.<group>` and `<group>`, by number and by name.
fn capture(vm: &mut Vm, index: u64, subject: &[u8]) -> Result<bool, &'static str> {
    let regexp = row(&vm.tables().regexps, index)?;
    let exchange = vm.exchange();
    let readable = Readable::new(subject);
    if regexp.pattern.group_count() == 1 && regexp.name.is_empty() {
        let fits = regexp.pattern.is_match(readable.text(), &exchange.searches);
        return paid(exchange).map(|()| fits);
    }
    let Some(found) = regexp.pattern.captures(readable.text(), &exchange.searches) else {
        return paid(exchange).map(|()| false);
    };
    for (group, name) in regexp.pattern.group_names().enumerate() {
        let value = found
            .get(group)
            .map_or(&b""[..], |one| &subject[readable.place(one.start())..readable.place(one.end())]);
        for key in [Some(group.to_string()), name.map(str::to_owned)].into_iter().flatten() {
            if !regexp.name.is_empty() {
                exchange.captures.push([&regexp.name[..], b".", key.as_bytes()].concat(), value.to_vec());
            }
            exchange.captures.push(key.into_bytes(), value.to_vec());
        }
    }
    Ok(true)
}

/// What was not searched for may have been there: the program does not go on.
pub(super) fn paid(exchange: &Exchange) -> Result<(), &'static str> {
    if exchange.searches.is_used_up() { Err("its regular expressions take too long") } else { Ok(()) }
}

fn match_host(vm: &mut Vm, index: u64) -> HelperResult {
    let patterns = row(&vm.tables().hosts, index)?;
    let exchange = vm.exchange();
    let host = exchange.host();
    let host = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
    Ok(u64::from(patterns.any(exchange, |pattern| matches_host(pattern, host))))
}

/// Caddy's host matcher: `*` stands for one whole label anywhere.
pub fn matches_host(pattern: &[u8], host: &[u8]) -> bool {
    if !pattern.contains(&b'*') {
        return pattern.eq_ignore_ascii_case(host);
    }
    let mut labels = host.split(|&byte| byte == b'.');
    let fits = pattern.split(|&byte| byte == b'.').all(|wanted| {
        labels.next().is_some_and(|label| wanted == b"*" || wanted.eq_ignore_ascii_case(label))
    });
    fits && labels.next().is_none()
}

fn match_method(vm: &mut Vm, index: u64) -> HelperResult {
    let methods = row(&vm.tables().methods, index)?;
    let method = &vm.exchange().method;
    Ok(u64::from(methods.iter().any(|allowed| allowed[..] == method[..])))
}

fn match_header(vm: &mut Vm, index: u64) -> HelperResult {
    let matcher = row(&vm.tables().headers, index)?;
    let exchange = vm.exchange();
    if matcher.field.eq_ignore_ascii_case(b"host") {
        let fits = matcher.values.any(exchange, |value| matches_value(value, &exchange.authority));
        return Ok(u64::from(!matcher.absent && fits));
    }
    let mut values = exchange.request.all(&matcher.field).peekable();
    if matcher.absent {
        return Ok(u64::from(values.peek().is_none()));
    }
    if matcher.values.is_empty() {
        return Ok(u64::from(values.peek().is_some()));
    }
    Ok(u64::from(values.any(|value| matcher.values.any(exchange, |wanted| matches_value(wanted, value)))))
}

/// `*` at either end of a value is any text; case counts.
pub fn matches_value(wanted: &[u8], value: &[u8]) -> bool {
    match wanted {
        b"*" => true,
        [b'*', middle @ .., b'*'] => middle.is_empty() || memchr::memmem::find(value, middle).is_some(),
        [b'*', end @ ..] => value.ends_with(end),
        [begin @ .., b'*'] => value.starts_with(begin),
        exact => exact == value,
    }
}

fn match_query(vm: &mut Vm, index: u64) -> HelperResult {
    let wanted = row(&vm.tables().queries, index)?;
    let exchange = vm.exchange();
    let query = &exchange.query;
    if wanted.is_empty() {
        return Ok(u64::from(queries::parse(query).is_empty()));
    }
    if !queries::is_well_formed(query) {
        return Ok(0);
    }
    let pairs = queries::parse(query);
    let fits = wanted.iter().all(|(key, values)| {
        let mut expected = Vec::new();
        exchange.expand(key, Unknown::Empty, &mut expected);
        let mut found = pairs.iter().filter(|(name, _)| *name == expected);
        found.any(|(_, value)| values.any(exchange, |wanted| wanted == b"*" || wanted == value))
    });
    Ok(u64::from(fits))
}

/// Caddy's protocol matcher: http, https, grpc, http/1.0, http/1.1, with `+` for "at least".
fn match_protocol(vm: &mut Vm, index: u64) -> HelperResult {
    let protocol = row(&vm.tables().protocols, index)?;
    let exchange = vm.exchange();
    let grpc =
        || exchange.request.get(b"content-type").is_some_and(|kind| kind.starts_with(b"application/grpc"));
    let fits = match &**protocol {
        "https" => exchange.tls.is_some(),
        "http" => exchange.tls.is_none(),
        "grpc" => grpc(),
        "http/1" => exchange.http_minor != HTTP_2,
        "http/1+" | "http/1.0+" => true,
        "http/1.0" => exchange.http_minor == 0,
        "http/1.1" => exchange.http_minor == 1,
        "http/1.1+" => exchange.http_minor > 0,
        "http/2" | "http/2+" => exchange.http_minor == HTTP_2,
        _ => false,
    };
    Ok(u64::from(fits))
}

fn match_remote_ip(vm: &mut Vm, index: u64) -> HelperResult {
    let addresses = row(&vm.tables().addresses, index)?;
    Ok(u64::from(addresses.contains(vm.exchange().remote.ip())))
}

fn match_client_ip(vm: &mut Vm, index: u64) -> HelperResult {
    let addresses = row(&vm.tables().addresses, index)?;
    Ok(u64::from(addresses.contains(vm.exchange().client)))
}

fn match_variable(vm: &mut Vm, index: u64) -> HelperResult {
    let matcher = row(&vm.tables().variables, index)?;
    let mut value = Vec::new();
    let exchange = vm.exchange();
    exchange.expand(&matcher.subject, Unknown::Empty, &mut value);
    Ok(u64::from(matcher.values.any(exchange, |wanted| wanted == value)))
}

pub fn find_path(vm: &mut Vm, index: u64) -> HelperResult {
    let trie = row(&vm.tables().tries, index)?;
    Ok(u64::from(trie.find(vm.exchange().matched_path())))
}

pub fn find_pattern(vm: &mut Vm, index: u64) -> HelperResult {
    fold_path(vm);
    let trie = row(&vm.tables().pattern_tries, index)?;
    Ok(u64::from(trie.find(&vm.folded.text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_are_those_of_go() {
        for (pattern, text, expected) in [
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/*/c", "/b/c", true),
            ("/*/c", "/b/x/c", false),
            ("/a*c*e", "/abcde", true),
            ("/a?c", "/abc", true),
            ("/a?c", "/a/c", false),
            ("/[a-c]x", "/bx", true),
            ("/[^a-c]x", "/bx", false),
            ("/\\*", "/*", true),
            ("/\\*", "/b", false),
            ("*", "", true),
            ("/*", "/", true),
            ("/[", "/[", false),
            ("/*a*b", "/aaaaaaaab", true),
        ] {
            assert_eq!(matches_glob(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn an_escape_in_the_pattern_wants_that_escape() {
        for (pattern, path, expected) in [
            ("/foo%2fbar", "/foo%2Fbar", true),
            ("/foo%2fbar", "/foo/bar", false),
            ("/%*/x", "/a%2Fb/x", true),
            ("/%40x", "/@x", false),
            ("/bands/%*", "/bands/AC%2FDC", true),
            ("/bands/*%2f*", "/bands/ac%2Fdc", true),
            ("/bands/*%2f*", "/bands/ac/dc", false),
        ] {
            assert_eq!(matches_escaped(pattern.as_bytes(), path.as_bytes()), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_star_is_one_label() {
        assert!(matches_host(b"*.example.com", b"a.example.com"));
        assert!(!matches_host(b"*.example.com", b"a.b.example.com"));
        assert!(!matches_host(b"*.example.com", b"example.com"));
        assert!(matches_host(b"Example.com", b"example.com"));
    }
}
