//! What a request allows: Accept-Encoding against the server's order (Caddy: encode.go, AcceptedEncodings; RFC 9110 12.5.3).

use super::encoders::Coding;

/// Below this a quality value is 0.
const QUALITY_MIN: f32 = 0.000_01;

/// The coding to use, of those that `offered` lists in order of preference; None: the answer goes as it is.
///
/// `accepted`: the first Accept-Encoding value. Names are taken without case; the highest quality wins, then the server's
/// order. `*` and a preferred `identity` decide nothing, as in Caddy.
pub fn negotiate(accepted: &[u8], offered: impl Iterator<Item = Coding> + Clone) -> Option<Coding> {
    let mut best: Option<(f32, usize, Coding)> = None;
    for item in accepted.split(|&byte| byte == b',') {
        let mut parts = item.splitn(3, |&byte| byte == b';');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let quality = parts.next().map_or(1.0, quality_of);
        if quality < QUALITY_MIN {
            continue;
        }
        let place = offered.clone().enumerate().find(|(_, coding)| name.eq_ignore_ascii_case(coding.name()));
        let Some((position, coding)) = place else { continue };
        let better = best.is_none_or(|(other, before, _)| match (quality - other).abs() < QUALITY_MIN {
            true => position < before,
            false => quality > other,
        });
        if better {
            best = Some((quality, position, coding));
        }
    }
    best.map(|(.., coding)| coding)
}

/// `q=0.5`; what is no quality counts as 1.
fn quality_of(parameter: &[u8]) -> f32 {
    let parameter = parameter.trim_ascii();
    let Some((name, value)) = parameter.split_at_checked(2) else { return 1.0 };
    if !name.eq_ignore_ascii_case(b"q=") {
        return 1.0;
    }
    let quality = std::str::from_utf8(value).ok().and_then(|text| text.parse::<f32>().ok());
    quality.filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(1.0)
}

/// False where `Cache-Control: no-transform` forbids (request or answer; first field only, as Caddy reads it).
pub fn allows_encoding(cache_control: Option<&[u8]>) -> bool {
    cache_control.is_none_or(|value| memchr::memmem::find(value, b"no-transform").is_none())
}

/// `"abc-gzip"` of If-None-Match as the origin knows it, `"abc"`; None where the tag is not one of ours.
pub fn strip_entity_tag(tag: &[u8], coding: Coding) -> Option<Vec<u8>> {
    if tag.starts_with(b"W/") {
        return None;
    }
    let bare = tag.strip_suffix(b"\"")?.strip_suffix(coding.name())?.strip_suffix(b"-")?;
    Some([bare, b"\""].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chosen(accepted: &str) -> &'static str {
        let offered = [Coding::Zstd, Coding::Brotli, Coding::Gzip];
        let found = negotiate(accepted.as_bytes(), offered.into_iter());
        found.map_or("", |coding| std::str::from_utf8(coding.name()).unwrap())
    }

    #[test]
    fn quality_first_then_the_servers_order() {
        for (accepted, expected) in [
            ("gzip", "gzip"),
            ("gzip, deflate, br, zstd", "zstd"),
            ("gzip, br", "br"),
            ("GZIP", "gzip"),
            (" gzip ;q=0.5, br;q=0.4", "gzip"),
            ("gzip;q=1.0, zstd;q=0.999", "gzip"),
            ("gzip;q=0", ""),
            ("gzip;q=0.0, br;q=0", ""),
            ("zstd;q=0, gzip", "gzip"),
            ("gzip;q=2", "gzip"),
            ("gzip;q=-1", "gzip"),
            ("gzip;q=x", "gzip"),
            ("gzip;Q=0", ""),
            ("gzip;level=9;q=0", "gzip"),
            ("identity, gzip;q=0.1", "gzip"),
            ("*", ""),
            ("identity", ""),
            ("deflate", ""),
            ("", ""),
            (",,;,", ""),
            ("gzip;", "gzip"),
            ("x-gzip", ""),
        ] {
            assert_eq!(chosen(accepted), expected, "{accepted}");
        }
    }

    #[test]
    fn entity_tags_lose_our_suffix_only() {
        for (tag, expected) in [
            (r#""abc-gzip""#, Some(r#""abc""#)),
            (r#""abc-zstd""#, None),
            (r#"W/"abc-gzip""#, None),
            (r#""gzip""#, None),
            (r#""-gzip""#, Some(r#"""#)),
            ("abc-gzip", None),
            ("", None),
        ] {
            let stripped = strip_entity_tag(tag.as_bytes(), Coding::Gzip);
            let expected = expected.map(|text| if text == "\"" { b"\"\"".to_vec() } else { text.into() });
            assert_eq!(stripped, expected, "{tag}");
        }
    }

    #[test]
    fn no_transform_forbids() {
        assert!(allows_encoding(None) && allows_encoding(Some(b"max-age=3")));
        assert!(!allows_encoding(Some(b"public, no-transform")));
    }

    proptest! {
        #[test]
        fn any_bytes_choose_something_offered_or_nothing(bytes: Vec<u8>) {
            let found = negotiate(&bytes, [Coding::Gzip].into_iter());
            prop_assert!(found.is_none_or(|coding| coding == Coding::Gzip));
            let _ = strip_entity_tag(&bytes, Coding::Gzip);
        }
    }
}
