//! May an answer be kept, how long is it fresh, and may it be served now (RFC 9111 3, 4.2, RFC 5861)?
//!
//! Pure: fields and times in, verdicts out. Rule: we are a shared cache, and no heuristics: an answer that says nothing
//! about its freshness is kept only where the route gives it a time.

use super::directives::{Directives, read_seconds};
use crate::exchange::HeaderSpan;
use crate::files::conditional::parse_date;

/// What the route says of answers that say nothing themselves.
#[derive(Debug, Default)]
pub struct Defaults {
    /// (status, milliseconds)
    pub times: Box<[(u16, u64)]>,
    pub stale_ms: u64,
}

/// What of the request matters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// It had Authorization when it came.
    pub authorized: bool,
    pub no_store: bool,
}

/// An answer's head and when it came.
#[derive(Clone, Copy)]
pub struct Received<'a> {
    pub status: u16,
    pub fields: &'a [HeaderSpan<'a>],
    pub unix_ms: u64,
    pub monotonic_ms: u64,
    /// From the request to the answer's head.
    pub delay_ms: u64,
}

/// How long an answer serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// How old it was when it came.
    pub age_ms: u64,
    /// Of the monotonic clock.
    pub received_ms: u64,
    pub fresh_ms: u64,
    /// After `fresh_ms`: served while a new one is fetched.
    pub while_revalidate_ms: u64,
    /// After `fresh_ms`: served where none can be fetched.
    pub if_error_ms: u64,
    /// Never served stale, whatever the client takes (RFC 9111 4.2.4).
    pub never_stale: bool,
}

/// Why an answer is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unkept {
    Status,
    Forbidden,
    Authorized,
    Cookies,
    /// An event stream has no end.
    Endless,
    VariesByAll,
    NoFreshness,
    /// Stale already, and nothing to validate it by.
    Useless,
}

/// What may be done with a kept answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Fresh,
    /// Stale: serve it, and fetch a new one meanwhile.
    WhileRevalidate,
    /// Ask the upstream first.
    Validate,
}

/// Judges an answer to a GET.
pub fn judge(answer: &Received, asked: Asked, defaults: &Defaults) -> Result<Lifetime, Unkept> {
    let directives = Directives::read(values(answer.fields, b"cache-control"));
    // 206 and 304 are parts of answers; interim ones are none.
    if !(200..=599).contains(&answer.status) || matches!(answer.status, 206 | 304) {
        return Err(Unkept::Status);
    }
    // RFC 9111 5.2.2.3: whoever knows the status may overlook no-store.
    let forbidden = match directives.must_understand {
        true => !is_understood(answer.status),
        false => directives.no_store,
    };
    if forbidden || directives.private || asked.no_store {
        return Err(Unkept::Forbidden);
    }
    let shared = directives.public || directives.must_revalidate || directives.shared_max_age_s.is_some();
    if asked.authorized && !shared {
        return Err(Unkept::Authorized);
    }
    if crate::encoding::is_event_stream(first(answer.fields, b"content-type")) {
        return Err(Unkept::Endless);
    }
    if first(answer.fields, b"set-cookie").is_some() {
        return Err(Unkept::Cookies);
    }
    if values(answer.fields, b"vary").any(|line| line.split(|&byte| byte == b',').any(is_star)) {
        return Err(Unkept::VariesByAll);
    }
    let lifetime = lifetime_of(answer, &directives, defaults).ok_or(Unkept::NoFreshness)?;
    let serves = lifetime.fresh_ms + lifetime.while_revalidate_ms.max(lifetime.if_error_ms) > lifetime.age_ms;
    let validates =
        first(answer.fields, b"etag").is_some() || first(answer.fields, b"last-modified").is_some();
    if serves || validates { Ok(lifetime) } else { Err(Unkept::Useless) }
}

fn lifetime_of(answer: &Received, directives: &Directives, defaults: &Defaults) -> Option<Lifetime> {
    let seconds = |seconds: u64| seconds.saturating_mul(1000);
    let date_ms = date_ms(answer.fields, b"date");
    let told = directives.shared_max_age_s.or(directives.max_age_s).map(seconds).or_else(|| {
        let expires = first(answer.fields, b"expires")?;
        // A date that is none, `0` above all, has passed (RFC 9111 5.3).
        let until_s = parse_date(expires).filter(|_| is_date_to_the_letter(expires));
        let until_ms = until_s.and_then(|date| u64::try_from(date).ok()).map_or(0, seconds);
        Some(until_ms.saturating_sub(date_ms.unwrap_or(answer.unix_ms)))
    });
    let given = || defaults.times.iter().find(|(status, _)| *status == answer.status).map(|(_, ms)| *ms);
    let fresh_ms = match directives.no_cache {
        true => Some(0),
        false => told.or_else(given),
    }?;
    let never_stale = directives.must_revalidate || directives.proxy_revalidate || directives.no_cache;
    // s-maxage alone forbids it too (5.2.2.10); with a window beside it the answer says what it wants.
    let bound = never_stale || directives.shared_max_age_s.is_some();
    let stale_ms = if bound { 0 } else { defaults.stale_ms };
    let window = |told: Option<u64>| if never_stale { 0 } else { told.map_or(stale_ms, seconds) };
    Some(Lifetime {
        age_ms: initial_age_ms(answer, date_ms),
        received_ms: answer.monotonic_ms,
        fresh_ms,
        while_revalidate_ms: window(directives.stale_while_revalidate_s),
        if_error_ms: window(directives.stale_if_error_s),
        never_stale: bound,
    })
}

/// Whether a date has every sign where RFC 9110 5.6.7 has it, but for case (RFC 9111 4.2): `parse_date` takes more.
fn is_date_to_the_letter(text: &[u8]) -> bool {
    let text = match memchr::memchr(b',', text) {
        // Of RFC 850, whose days have whole names.
        Some(at) if at > 3 => &text[at - 3..],
        _ => text,
    };
    DATE_FORMS.iter().any(|form| {
        let fits = |(sign, byte): (&u8, &u8)| match sign {
            b'a' => byte.is_ascii_alphabetic(),
            b'0' => byte.is_ascii_digit(),
            b'_' => byte.is_ascii_digit() || *byte == b' ',
            sign => sign == byte,
        };
        form.len() == text.len() && form.iter().zip(text).all(fits)
    })
}

/// `a` is a letter, `0` a digit, `_` a digit or a space; the last is that of asctime.
const DATE_FORMS: [&[u8]; 3] =
    [b"aaa, 00 aaa 0000 00:00:00 aaa", b"aaa, 00-aaa-00 00:00:00 aaa", b"aaa aaa _0 00:00:00 0000"];

/// RFC 9111 4.2.3.
fn initial_age_ms(answer: &Received, date_ms: Option<u64>) -> u64 {
    let apparent_ms = date_ms.map_or(0, |date_ms| (answer.unix_ms).saturating_sub(date_ms));
    // Dates have no milliseconds: an answer of this second is not old.
    let apparent_ms = if apparent_ms < 1000 { 0 } else { apparent_ms };
    let told_ms = first(answer.fields, b"age").map_or(0, |age| {
        let age = age.split(|&byte| byte == b',').next().unwrap_or_default();
        read_seconds(age.trim_ascii()).saturating_mul(1000)
    });
    apparent_ms.max(told_ms.saturating_add(answer.delay_ms))
}

impl Lifetime {
    pub fn age_ms_at(&self, monotonic_ms: u64) -> u64 {
        self.age_ms + monotonic_ms.saturating_sub(self.received_ms)
    }

    /// What is left of its freshness; negative when it is stale.
    pub fn fresh_ms_at(&self, monotonic_ms: u64) -> i64 {
        self.fresh_ms as i64 - self.age_ms_at(monotonic_ms) as i64
    }

    /// Whether it serves a request with these directives now (RFC 9111 4, 5.2.1).
    pub fn judge(&self, asked: &Directives, monotonic_ms: u64) -> Use {
        let age_ms = self.age_ms_at(monotonic_ms);
        let left_ms = self.fresh_ms_at(monotonic_ms);
        let over = |max_s: u64| age_ms > max_s * 1000;
        let wanted_ms = asked.min_fresh_s.unwrap_or(0) as i64 * 1000;
        if asked.no_cache || asked.max_age_s.is_some_and(over) || (left_ms > 0 && left_ms < wanted_ms) {
            return Use::Validate;
        }
        let stale_ms = (-left_ms).max(0) as u64;
        match () {
            () if left_ms > 0 => Use::Fresh,
            () if wanted_ms > 0 => Use::Validate,
            () if stale_ms < self.while_revalidate_ms => Use::WhileRevalidate,
            () if !self.never_stale && asked.max_stale_s.is_some_and(|max_s| stale_ms <= max_s * 1000) => {
                Use::Fresh
            }
            () => Use::Validate,
        }
    }

    /// Whether it may take the place of an error (RFC 5861 4).
    pub fn serves_errors(&self, monotonic_ms: u64) -> bool {
        self.fresh_ms_at(monotonic_ms) + self.if_error_ms as i64 > 0
    }
}

/// Statuses whose caching rules this module knows: those of RFC 9110.
fn is_understood(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 300 | 301 | 302 | 303 | 307 | 308 | 400..=410 | 414 | 421 | 500..=505)
}

fn is_star(name: &[u8]) -> bool {
    name.trim_ascii() == b"*"
}

pub fn first<'a>(fields: &[HeaderSpan<'a>], name: &[u8]) -> Option<&'a [u8]> {
    fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

pub fn values<'a, 'f>(
    fields: &'f [HeaderSpan<'a>],
    name: &'static [u8],
) -> impl Iterator<Item = &'a [u8]> + use<'a, 'f> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

fn date_ms(fields: &[HeaderSpan], name: &[u8]) -> Option<u64> {
    u64::try_from(parse_date(first(fields, name)?)?).ok()?.checked_mul(1000)
}
