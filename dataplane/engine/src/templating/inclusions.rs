//! What `httpInclude` asks of the site itself, and what came back (tplcontext.go: funcHTTPInclude).
//!
//! An evaluation never waits: where an answer is missing it ends, the worker makes the request, and it begins again with the
//! answers so far. Rule: evaluations of one page see the same answers in the same order, and the same randomness, so that
//! each comes as far as the one before; their number, their steps together and the bytes of each answer are bounded.

use super::Failure;
use crate::exchange::fields::Fields;
use crate::limits::{TEMPLATE_REQUESTS_MAX, TEMPLATE_STEPS_MAX};
use std::rc::Rc;

/// Tells a site that it includes itself; Caddy's name, as the routes of a site may look at it.
pub const LEVEL_FIELD: &[u8] = b"Caddy-Templates-Include";
/// Requests in each other, as Caddy has it.
const LEVELS_MAX: u32 = 3;
const SEED_BYTES: usize = 32;

/// One request of a page.
struct Inclusion {
    uri: Box<str>,
    /// The body, or why there is none.
    answer: Result<Box<[u8]>, Box<str>>,
}

/// Requests of one page, in their order.
pub struct Inclusions {
    asked: Vec<Inclusion>,
    /// Those that this evaluation came by.
    used: usize,
    /// Steps that all evaluations of the page may still take.
    pub steps_left: u64,
    /// From the kernel, with the first random value.
    seed: Option<[u8; SEED_BYTES]>,
    drawn: u64,
}

impl Default for Inclusions {
    fn default() -> Self {
        Self { asked: Vec::new(), used: 0, steps_left: TEMPLATE_STEPS_MAX, seed: None, drawn: 0 }
    }
}

impl Inclusions {
    /// An evaluation begins.
    pub fn begin(&mut self) {
        (self.used, self.drawn) = (0, 0);
    }

    /// The answer to `uri`, next in order.
    pub fn take(&mut self, uri: &str) -> Result<Rc<[u8]>, Failure> {
        let Some(inclusion) = self.asked.get(self.used) else {
            return match self.asked.len() < TEMPLATE_REQUESTS_MAX {
                true => Err(Failure::Wants(uri.to_owned())),
                false => Failure::new(format!("more than {TEMPLATE_REQUESTS_MAX} requests of one page")),
            };
        };
        if &*inclusion.uri != uri {
            return Failure::new("asks for another URI each time");
        }
        self.used += 1;
        match &inclusion.answer {
            Ok(body) => Ok(body.as_ref().into()),
            Err(what) => Failure::new(&**what),
        }
    }

    pub fn add(&mut self, uri: &str, answer: Result<Vec<u8>, String>) {
        let answer = answer.map(Vec::into_boxed_slice).map_err(String::into_boxed_str);
        self.asked.push(Inclusion { uri: uri.into(), answer });
    }

    /// Random bytes that nobody can tell beforehand, the same ones in every evaluation of a page.
    pub fn random<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], Failure> {
        let seed = match self.seed {
            Some(seed) => seed,
            None => {
                let mut seed = [0; SEED_BYTES];
                aws_lc_rs::rand::fill(&mut seed)
                    .map_err(|_| Failure::at(0, "the kernel gives no randomness"))?;
                *self.seed.insert(seed)
            }
        };
        self.drawn += 1;
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &seed);
        let block = aws_lc_rs::hmac::sign(&key, &self.drawn.to_be_bytes());
        let mut out = [0; COUNT];
        out.copy_from_slice(&block.as_ref()[..COUNT]);
        Ok(out)
    }
}

/// How deep the request that a page of this request makes is in others.
pub fn next_level(request: &Fields) -> Result<u32, Failure> {
    let Some(told) = request.get(LEVEL_FIELD) else { return Ok(1) };
    let level = std::str::from_utf8(told).ok().and_then(|text| text.parse::<u32>().ok());
    match level {
        Some(level) if level < LEVELS_MAX => Ok(level + 1),
        Some(_) => Failure::new("virtual request cycle"),
        None => Failure::new("Caddy-Templates-Include is no number"),
    }
}

/// The target of a request to the site itself: path and query of a URI, escaped where a request line could not hold them.
pub fn target_of(uri: &str) -> Option<Vec<u8>> {
    let uri = uri.split('#').next().unwrap_or_default();
    let behind_scheme = match uri.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => Some(rest),
        _ => uri.strip_prefix("//"),
    };
    let local = match behind_scheme {
        Some(rest) => rest.find(['/', '?']).map_or("", |at| &rest[at..]),
        None if uri.starts_with('/') => uri,
        None => return None,
    };
    if local.bytes().any(|byte| byte.is_ascii_control()) {
        return None;
    }
    let mut target = Vec::with_capacity(local.len() + 1);
    if !local.starts_with('/') {
        target.push(b'/');
    }
    for byte in local.bytes() {
        match byte {
            b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80.. => {
                target.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
            _ => target.push(byte),
        }
    }
    Some(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn targets_are_paths_of_the_site() {
        for (uri, target) in [
            ("/a?b=c#d", Some("/a?b=c")),
            ("http://other/a", Some("/a")),
            ("//other", Some("/")),
            ("//other?q", Some("/?q")),
            ("/a b\u{e9}", Some("/a%20b%C3%A9")),
            ("/x?u=http://y/z", Some("/x?u=http://y/z")),
            ("a", None),
            ("", None),
            ("/a\r\nX: y", None),
        ] {
            assert_eq!(target_of(uri).as_deref(), target.map(str::as_bytes), "{uri}");
        }
    }

    #[test]
    fn levels_end_with_the_third() {
        let level = |told: Option<&str>| {
            let mut fields = Fields::default();
            if let Some(told) = told {
                fields.push_checked(LEVEL_FIELD, told.as_bytes());
            }
            next_level(&fields).ok()
        };
        assert_eq!(
            [None, Some("2"), Some("3"), Some("-1"), Some("x")].map(level),
            [Some(1), Some(3), None, None, None]
        );
    }

    #[test]
    fn each_evaluation_sees_the_same() {
        let mut inclusions = Inclusions::default();
        assert_eq!(inclusions.take("/a"), Err(Failure::Wants("/a".to_owned())));
        let first = inclusions.random::<16>();
        inclusions.add("/a", Ok(b"one".to_vec()));
        inclusions.begin();
        assert_eq!(inclusions.take("/a").as_deref(), Ok(&b"one"[..]));
        assert_eq!(inclusions.take("/a"), Err(Failure::Wants("/a".to_owned())));
        assert_eq!(inclusions.random::<16>(), first);
        assert_ne!(inclusions.random::<16>(), first);
        for _ in 1..TEMPLATE_REQUESTS_MAX {
            inclusions.add("/a", Err("http 404".to_owned()));
        }
        assert!(inclusions.take("/a") == Failure::new("http 404"));
        inclusions.used = TEMPLATE_REQUESTS_MAX;
        assert!(matches!(inclusions.take("/a"), Err(Failure::Broken { .. })));
    }

    proptest! {
        #[test]
        fn a_target_is_one_word_of_a_request_line(uri in "\\PC*|[/?#:a-z \r\n%]*") {
            if let Some(target) = target_of(&uri) {
                prop_assert_eq!(target[0], b'/');
                prop_assert!(target.iter().all(u8::is_ascii_graphic));
            }
        }
    }
}
