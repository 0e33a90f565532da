//! Query strings as Go's net/url reads and writes them.

use super::paths;

/// Key and value pairs, decoded, in order. Pairs with `;` or a malformed escape are left out (Go: url.ParseQuery).
pub fn parse(query: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    query.split(|&byte| byte == b'&').filter_map(parse_pair).collect()
}

/// First value of a key, as `parse` reads them.
pub fn find(query: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let pairs = query.split(|&byte| byte == b'&').filter(|pair| is_named(pair, key));
    pairs.filter_map(parse_pair).map(|(_, value)| value).next()
}

/// Whether a pair's key is this one, without a copy: programs ask for many keys of long queries.
fn is_named(pair: &[u8], key: &[u8]) -> bool {
    let mut rest = &pair[..memchr::memchr(b'=', pair).unwrap_or(pair.len())];
    for &wanted in key {
        let (byte, length) = match rest.first() {
            Some(b'+') => (b' ', 1),
            Some(b'%') => match paths::decode_escape(rest) {
                Some(byte) => (byte, 3),
                None => return false,
            },
            Some(&byte) => (byte, 1),
            None => return false,
        };
        if byte != wanted {
            return false;
        }
        rest = &rest[length..];
    }
    rest.is_empty()
}

/// True when Go's url.ParseQuery reports no error.
pub fn is_well_formed(query: &[u8]) -> bool {
    query.split(|&byte| byte == b'&').all(|pair| pair.is_empty() || parse_pair(pair).is_some())
}

fn parse_pair(pair: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    if pair.is_empty() || pair.contains(&b';') {
        return None;
    }
    let (key, value) = super::expanding::split_once(pair, b'=').unwrap_or((pair, b""));
    Some((unescape(key)?, unescape(value)?))
}

/// Go's url.QueryUnescape.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    let mut out = Vec::with_capacity(spaced.len());
    paths::decode(&spaced, &mut out).then_some(out)
}

/// Go's url.Values.Encode: sorted by key, values of a key in order.
pub fn encode(mut pairs: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<u8> {
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    let mut out = Vec::new();
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        paths::encode_query(key, &mut out);
        out.push(b'=');
        paths::encode_query(value, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_as_go_does() {
        let pairs = parse(b"b=2&a=1+x&c&a=%2F&bad=%zz&x;y=1");
        let shown: Vec<_> =
            pairs.iter().map(|(k, v)| format!("{}={}", k.escape_ascii(), v.escape_ascii())).collect();
        assert_eq!(shown, ["b=2", "a=1 x", "c=", "a=/"]);
        assert_eq!(encode(pairs), b"a=1+x&a=%2F&b=2&c=");
        assert!(!is_well_formed(b"a=%zz") && is_well_formed(b"a=1&&b"));
    }

    proptest::proptest! {
        #[test]
        fn one_key_is_found_as_all_are_read(query in "[ab+&=;%23]{0,24}", key in "[ab+ #2&=;]{0,3}") {
            let (query, key) = (query.as_bytes(), key.as_bytes());
            let first = parse(query).into_iter().find(|(name, _)| name == key).map(|(_, value)| value);
            proptest::prop_assert_eq!(find(query, key), first);
        }
    }
}
