//! Which encodings a client takes, in its order and then ours (Caddy: encode.AcceptedEncodings).

/// An encoding with sidecar files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Brotli,
    Zstandard,
    Gzip,
}

impl Encoding {
    pub fn parse(name: &[u8]) -> Option<Encoding> {
        [Encoding::Brotli, Encoding::Zstandard, Encoding::Gzip]
            .into_iter()
            .find(|encoding| encoding.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// As Content-Encoding has it.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Brotli => "br",
            Encoding::Zstandard => "zstd",
            Encoding::Gzip => "gzip",
        }
    }

    /// What the sidecar's name ends in.
    pub fn suffix(self) -> &'static str {
        match self {
            Encoding::Brotli => ".br",
            Encoding::Zstandard => ".zst",
            Encoding::Gzip => ".gz",
        }
    }
}

/// Encodings of `offered` that the field takes: by its weights, equal ones in the order of `offered`.
pub fn accept(field: &[u8], offered: &[Encoding]) -> Vec<Encoding> {
    let mut wanted: Vec<(f32, usize, Encoding)> = Vec::new();
    for item in field.split(|&byte| byte == b',') {
        let (name, parameters) = match memchr::memchr(b';', item) {
            Some(at) => (&item[..at], &item[at + 1..]),
            None => (item, &[][..]),
        };
        let Some(encoding) = Encoding::parse(name.trim_ascii()) else { continue };
        let Some(order) = offered.iter().position(|one| *one == encoding) else { continue };
        let weight = read_weight(parameters);
        if weight >= SMALLEST {
            wanted.push((weight, order, encoding));
        }
    }
    wanted.sort_by(|(weight, order, _), (other_weight, other_order, _)| {
        match (weight - other_weight).abs() < SMALLEST {
            true => order.cmp(other_order),
            false => other_weight.total_cmp(weight),
        }
    });
    wanted.into_iter().map(|(.., encoding)| encoding).collect()
}

/// Weights below this are none.
const SMALLEST: f32 = 0.000_01;

fn read_weight(parameters: &[u8]) -> f32 {
    let first = parameters.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let value = match first {
        [b'q' | b'Q', b'=', value @ ..] => std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    value.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Encoding::{Brotli, Gzip, Zstandard};

    #[test]
    fn the_clients_weights_then_our_order() {
        let all = [Brotli, Zstandard, Gzip];
        for (field, expected) in [
            ("gzip, br, zstd", &[Brotli, Zstandard, Gzip][..]),
            ("gzip;q=1.0, br;q=0.5", &[Gzip, Brotli]),
            ("GZIP", &[Gzip]),
            ("gzip;q=0, br;q=0.000001", &[]),
            ("gzip;q=2, br;q=x", &[Brotli, Gzip]),
            ("deflate, *", &[]),
            ("", &[]),
            (" gzip ; q=0.5 ,zstd;q=0.5", &[Zstandard, Gzip]),
        ] {
            assert_eq!(accept(field.as_bytes(), &all), expected, "{field}");
        }
        assert_eq!(accept(b"br, gzip", &[Gzip]), [Gzip]);
    }

    proptest::proptest! {
        #[test]
        fn any_field_is_read(field in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)) {
            proptest::prop_assert!(accept(&field, &[Gzip]).iter().all(|encoding| *encoding == Gzip));
        }
    }
}
