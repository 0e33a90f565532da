//! The store and what is kept: variants, purging, bounds, fetches of one key; and freshness by the clock.

use super::directives::Directives;
use super::freshness::{Asked, Defaults, Lifetime, Received, Unkept, Use, judge};
use super::kept::{Kept, keep_fields};
use super::store::{Found, Key, Store, begin_fetch};
use crate::exchange::HeaderSpan;
use crate::limits::CACHE_TENANTS_MAX;
use proptest::prelude::*;
use std::sync::Arc;

const NOW_MS: u64 = 1_700_000_000_000;

fn spans<'a>(fields: &[(&'a str, &'a str)]) -> Vec<HeaderSpan<'a>> {
    fields.iter().map(|(name, value)| HeaderSpan { name: name.as_bytes(), value: value.as_bytes() }).collect()
}

fn received<'a>(fields: &'a [HeaderSpan<'a>]) -> Received<'a> {
    Received { status: 200, fields, unix_ms: NOW_MS, monotonic_ms: 1000, delay_ms: 0 }
}

fn lifetime(control: &str) -> Result<Lifetime, Unkept> {
    let fields = [("cache-control", control)];
    let fields = spans(&fields);
    judge(&received(&fields), Asked::default(), &Defaults::default())
}

fn kept(fields: &[(&str, &str)], body: &[u8]) -> Kept {
    let fields = spans(fields);
    Kept {
        status: 200,
        reason: Box::default(),
        fields: keep_fields(&fields),
        body: body.into(),
        lifetime: lifetime("max-age=60").unwrap(),
    }
}

fn insert(store: &Store, key: &Key, fields: &[(&str, &str)], language: &str, body: &[u8]) {
    store.insert(key, &spans(fields), kept(fields, body), |_| language.into());
}

fn find(store: &Store, key: &Key, language: &str) -> Option<Vec<u8>> {
    match store.find(key, 0, |_| language.into()) {
        Found::Kept(_, kept) => Some(kept.body.to_vec()),
        _ => None,
    }
}

fn key(text: &str) -> Key {
    text.as_bytes().into()
}

const VARIES: [(&str, &str); 1] = [("vary", "Accept-Language")];

#[test]
fn answers_that_vary_have_places_of_their_own() {
    let store = Store::new(8 << 20);
    insert(&store, &key("a"), &VARIES, "de", b"hallo");
    insert(&store, &key("a"), &VARIES, "en", b"hello");
    assert_eq!(find(&store, &key("a"), "de").as_deref(), Some(&b"hallo"[..]));
    assert_eq!(find(&store, &key("a"), "en").as_deref(), Some(&b"hello"[..]));
    assert_eq!(find(&store, &key("a"), "fr"), None);
    assert_eq!(find(&store, &key("b"), "de"), None);
}

#[test]
fn a_purged_key_takes_its_variants_along_for_good() {
    let store = Store::new(8 << 20);
    insert(&store, &key("a"), &VARIES, "de", b"hallo");
    assert!(store.remove(&key("a")));
    assert!(!store.remove(&key("a")));
    insert(&store, &key("a"), &VARIES, "en", b"hello");
    assert_eq!(find(&store, &key("a"), "de"), None);
}

#[test]
fn what_was_not_kept_is_passed_until_its_time() {
    let store = Store::new(8 << 20);
    store.pass(&key("a"), 100);
    assert!(matches!(store.find(&key("a"), 99, |_| Vec::new()), Found::Passing(_)));
    assert!(matches!(store.find(&key("a"), 100, |_| Vec::new()), Found::Nothing { .. }));
    assert!(!store.remove(&key("a")));
}

#[test]
fn the_store_never_weighs_more_than_its_bound() {
    let bytes_max = 1 << 20;
    let store = Store::new(bytes_max);
    for number in 0..4000 {
        insert(&store, &key(&format!("key {number}")), &[], "", &[0; 1000]);
        assert!(store.weight() <= bytes_max);
    }
    assert!(store.weight() > bytes_max / 2);
    assert!(store.purge(None, b"") > 100);
    assert_eq!(store.weight(), 0);
}

fn key_of_tenant(tenant: &str, number: usize) -> Key {
    let text = format!("{number}");
    let part = |text: &str| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    [part(tenant), part(&text)].concat().into()
}

/// Keeps `count` answers of some 1 KiB; the weight of one.
fn fill(store: &Store, tenant: &str, count: usize) -> u64 {
    (0..count).for_each(|number| insert(store, &key_of_tenant(tenant, number), &[], "", &[0; 1000]));
    let alone = Store::new(8 << 20);
    insert(&alone, &key_of_tenant(tenant, 0), &[], "", &[0; 1000]);
    alone.weight()
}

fn count_kept(store: &Store, tenant: &str, count: usize) -> usize {
    (0..count).filter(|&number| find(store, &key_of_tenant(tenant, number), "").is_some()).count()
}

const QUIET: [&str; 4] = ["a", "b", "c", "d"];

#[test]
fn a_tenant_that_floods_the_cache_evicts_nothing_of_others_within_their_equal_parts() {
    let store = Store::new(4 << 20);
    let _ = QUIET.map(|tenant| fill(&store, tenant, 500));
    for _ in 0..3 {
        let weight = fill(&store, "flood", 10_000);
        assert!(store.weight() <= 4 << 20);
        let own = count_kept(&store, "flood", 10_000) as u64 * weight;
        assert!(own > 1 << 20, "what nobody else uses is had: {own}");
        assert_eq!(QUIET.map(|tenant| count_kept(&store, tenant, 500)), [500; 4]);
    }
}

#[test]
fn whoever_had_all_gives_a_newcomer_its_equal_part() {
    let store = Store::new(4 << 20);
    let weight = fill(&store, "first", 10_000);
    assert!(count_kept(&store, "first", 10_000) as u64 * weight > 3 << 20);
    fill(&store, "second", 10_000);
    assert!(store.weight() <= 4 << 20);
    for tenant in ["first", "second"] {
        let kept = count_kept(&store, tenant, 10_000) as u64 * weight;
        assert!(((18 << 20) / 10..=2 << 20).contains(&kept), "{tenant}: {kept}");
    }
    assert!(store.purge(None, b"") > 0);
    assert_eq!(store.weight(), 0);
    fill(&store, "first", 10_000);
    assert!(count_kept(&store, "first", 10_000) as u64 * weight > 3 << 20);
}

#[test]
fn tenants_are_bounded_and_those_beyond_share_one_part() {
    let store = Store::new(4 << 20);
    for number in 0..2 * CACHE_TENANTS_MAX {
        fill(&store, &format!("tenant {number}"), 1);
    }
    assert_eq!(store.tenants(), CACHE_TENANTS_MAX + 1);
    let last = format!("tenant {}", 2 * CACHE_TENANTS_MAX - 1);
    assert_eq!([count_kept(&store, "tenant 0", 1), count_kept(&store, &last, 1)], [1, 1]);
    fill(&store, &last, 2_000);
    assert!(store.weight() <= 4 << 20);
    assert_eq!(count_kept(&store, "tenant 0", 1), 1);
    assert!(store.purge(None, b"") > 0);
    assert_eq!(store.weight(), 0);
}

#[test]
fn an_answer_larger_than_a_shard_is_not_kept() {
    let store = Store::new(1 << 20);
    insert(&store, &key("a"), &[], "", &vec![0; 1 << 20]);
    assert_eq!(find(&store, &key("a"), ""), None);
}

#[test]
fn a_key_is_fetched_by_one_until_its_fetch_ends() {
    let fetched = key("fetched once");
    let fetch = begin_fetch(&fetched);
    assert!(fetch.is_some());
    assert!(begin_fetch(&fetched).is_none());
    drop(fetch);
    assert!(begin_fetch(&fetched).is_some());
}

#[test]
fn people_purge_by_what_they_see() {
    let store = Store::new(8 << 20);
    let built = |texts: &[&str]| -> Key {
        let texts = ["tenant", "host", "cluster", "\0\0\0\0"].iter().chain(texts);
        let parts = texts.map(|text| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat());
        parts.collect::<Vec<_>>().concat().into()
    };
    let url = |uri: &str| built(&["http", "a.example", uri]);
    for uri in ["/a", "/a/b", "/c"] {
        insert(&store, &url(uri), &VARIES, "de", b"x");
    }
    insert(&store, &built(&["tenant 1"]), &[], "", b"x");
    assert_eq!(store.purge(None, b"http://a.example/none"), 0);
    assert_eq!(store.purge(None, b"http://a.example/a"), 1);
    assert_eq!(find(&store, &url("/a"), "de"), None);
    assert!(find(&store, &url("/a/b"), "de").is_some());
    assert_eq!(store.purge(None, b"tenant 1"), 1);
    assert_eq!(store.purge(None, b"http://a.example/*"), 2);
    assert_eq!(store.weight(), 0);
}

#[test]
fn a_tenants_purge_forgets_nothing_of_others() {
    let store = Store::new(8 << 20);
    let of = |tenant: &str| -> Key {
        let texts = [tenant, "host", "cluster", "\0\0\0\0", "http", "a.example", "/"];
        let parts = texts.map(|text| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat());
        parts.concat().into()
    };
    let (shop, blog) = (of("shop"), of("blog"));
    insert(&store, &shop, &VARIES, "de", b"x");
    insert(&store, &blog, &VARIES, "de", b"x");
    let before = store.purges(&shop);
    assert_eq!(store.purge(Some(b"shop"), b"http://a.example/"), 1);
    assert_eq!(store.purge(Some(b"shop"), b""), 0);
    assert!(find(&store, &shop, "de").is_none() && find(&store, &blog, "de").is_some());
    assert!(store.purges(&shop) > before);
}

#[test]
fn fields_of_one_connection_are_not_kept() {
    let fields = [
        ("Connection", "X-Hop, close"),
        ("X-Hop", "1"),
        ("Transfer-Encoding", "chunked"),
        ("Age", "10"),
        ("X-Kept", "1"),
    ];
    let kept = keep_fields(&spans(&fields));
    let names: Vec<_> = kept.iter().map(|field| field.name.to_vec()).collect();
    assert_eq!(names, [b"X-Kept".to_vec()]);
}

#[test]
fn a_304_changes_the_fields_that_it_names() {
    let old = kept(&[("ETag", "\"a\""), ("X-Old", "1"), ("X-Both", "1"), ("X-Both", "2")], b"body");
    let told = [("X-Both", "3"), ("X-New", "1"), ("Content-Length", "0")];
    let fresh = old.freshened(&spans(&told), old.lifetime);
    let shown: Vec<_> =
        fresh.fields.iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect();
    let wanted = [("ETag", "\"a\""), ("X-Old", "1"), ("X-Both", "3"), ("X-New", "1")];
    let wanted: Vec<_> =
        wanted.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
    assert_eq!(shown, wanted);
    assert!(Arc::ptr_eq(&fresh.body, &old.body));
    assert!(old.is_meant_by(&spans(&[("ETag", "W/\"a\"")])));
    assert!(!old.is_meant_by(&spans(&[("ETag", "\"b\"")])));
}

#[test]
fn time_makes_a_kept_answer_stale() {
    let lifetime = lifetime("max-age=60, stale-while-revalidate=30, stale-if-error=90").unwrap();
    let asked = Directives::default();
    let uses = [1000, 60_999, 61_000, 90_999, 91_000].map(|now_ms| lifetime.judge(&asked, now_ms));
    assert_eq!(uses, [Use::Fresh, Use::Fresh, Use::WhileRevalidate, Use::WhileRevalidate, Use::Validate]);
    assert!(lifetime.serves_errors(150_999));
    assert!(!lifetime.serves_errors(151_000));
}

#[test]
fn the_way_of_an_answer_makes_it_older() {
    let fields = [("cache-control", "max-age=60"), ("age", "10")];
    let fields = spans(&fields);
    let answer = Received { delay_ms: 5000, ..received(&fields) };
    let lifetime = judge(&answer, Asked::default(), &Defaults::default()).unwrap();
    assert_eq!(lifetime.age_ms_at(1000), 15_000);
    assert_eq!(lifetime.age_ms_at(3000), 17_000);
}

#[test]
fn why_an_answer_is_not_kept() {
    for (control, wanted) in [
        ("no-store, max-age=60", Unkept::Forbidden),
        ("private, max-age=60", Unkept::Forbidden),
        ("public", Unkept::NoFreshness),
        ("max-age=0", Unkept::Useless),
        ("no-cache", Unkept::Useless),
    ] {
        assert_eq!(lifetime(control), Err(wanted), "{control}");
    }
}

proptest! {
    #[test]
    fn any_head_is_judged_and_never_served_fresh_beyond_what_it_says(
        seconds in 0u64..1000,
        age in 0u64..1000,
        later_ms in 0u64..2_000_000,
        control in "[ -~]{0,40}",
    ) {
        let first = format!("max-age={seconds}");
        let age = age.to_string();
        let fields = [("Cache-Control", first.as_str()), ("Cache-Control", &control), ("Age", &age)];
        let fields = spans(&fields);
        if let Ok(lifetime) = judge(&received(&fields), Asked::default(), &Defaults::default())
            && lifetime.judge(&Directives::default(), 1000 + later_ms) == Use::Fresh
            && !control.contains("s-maxage")
        {
            prop_assert!(age.parse::<u64>().unwrap() * 1000 + later_ms < seconds * 1000);
        }
    }
}
