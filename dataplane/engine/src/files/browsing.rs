//! Listings of directories: JSON, text and a page, as the client accepts; sorted and cut as it asks (Caddy: browse.go).

use super::opening::Status;
use super::redirecting::push_html;
use crate::calendar::{civil_from_days, month_name};
use crate::exchange::{paths, queries};
use crate::snapshot::Browse;
use std::cmp::Ordering;
use std::fmt::Write;

/// What a request asks of a listing.
#[derive(Clone, Debug, Default)]
pub struct Browsing {
    /// Decoded, for people.
    pub path: Vec<u8>,
    pub query: Vec<u8>,
    /// All Accept fields, lower case.
    pub accept: Vec<u8>,
    pub modified_since_s: Option<i64>,
    /// Cookies of former requests.
    pub sort: Option<Vec<u8>>,
    pub order: Option<Vec<u8>>,
    pub is_tls: bool,
}

/// An answer with a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    pub modified_s: i64,
    /// None: 304.
    pub body: Option<Vec<u8>>,
    pub content_type: &'static str,
    /// Set-Cookie values.
    pub cookies: Vec<String>,
}

impl Listing {
    pub fn not_modified(modified_s: i64) -> Listing {
        Listing { modified_s, body: None, content_type: "", cookies: Vec::new() }
    }
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// With a slash where it is a directory.
    pub name: String,
    pub url: Vec<u8>,
    pub size: u64,
    pub modified_ns: i128,
    pub mode: u32,
    pub is_directory: bool,
    pub is_link: bool,
    pub target: Option<Vec<u8>>,
}

/// Sorts, cuts and writes a listing.
pub fn render(asked: &Browsing, browse: &Browse, mut entries: Vec<Entry>, modified_s: i64) -> Listing {
    let parameters = queries::parse(&asked.query);
    let parameter = |name: &[u8]| {
        let found = parameters.iter().find(|(key, _)| key[..] == *name).map(|(_, value)| value.to_vec());
        found.filter(|value| !value.is_empty())
    };
    let mut cookies = Vec::new();
    let mut choose =
        |name: &str, configured: &[u8], cookie: &Option<Vec<u8>>, known: &[&str], default: &str| {
            let chosen =
                parameter(name.as_bytes()).or_else(|| Some(configured.to_vec()).filter(|c| !c.is_empty()));
            match chosen {
                None => cookie.clone().unwrap_or_else(|| default.into()),
                Some(value) => {
                    if let Some(known) = known.iter().find(|known| known.as_bytes() == value) {
                        let secure = if asked.is_tls { "; Secure" } else { "" };
                        cookies.push(format!("{name}={known}; HttpOnly{secure}; SameSite=Lax"));
                    }
                    value
                }
            }
        };
    let sort = choose("sort", &browse.sort, &asked.sort, &SORTS, "namedirfirst");
    let order = choose("order", &browse.order, &asked.order, &["asc", "desc"], "asc");
    sort_entries(&mut entries, &sort, order == b"desc");
    let number = |name: &[u8]| {
        parameter(name).and_then(|text| std::str::from_utf8(&text).ok()?.parse::<usize>().ok()).unwrap_or(0)
    };
    let offset = number(b"offset");
    if offset > 0 && offset <= entries.len() {
        entries.drain(..offset);
    }
    let limit = number(b"limit");
    if limit > 0 && limit <= entries.len() {
        entries.truncate(limit);
    }
    let accepts = |kind: &[u8]| memchr::memmem::find(&asked.accept, kind).is_some();
    let (body, content_type) = if accepts(b"application/json") {
        (write_json(&entries), "application/json; charset=utf-8")
    } else if accepts(b"text/plain") {
        (write_text(&entries), "text/plain; charset=utf-8")
    } else {
        (write_page(asked, &entries), "text/html; charset=utf-8")
    };
    Listing { modified_s, body: Some(body), content_type, cookies }
}

const SORTS: [&str; 4] = ["name", "namedirfirst", "size", "time"];

/// Unknown sorts leave the directory's order.
fn sort_entries(entries: &mut [Entry], sort: &[u8], descending: bool) {
    let name = |one: &Entry, other: &Entry| one.name.to_lowercase().cmp(&other.name.to_lowercase());
    let compare: &dyn Fn(&Entry, &Entry) -> Ordering = match sort {
        b"name" => &name,
        b"namedirfirst" => {
            &|one, other| other.is_directory.cmp(&one.is_directory).then_with(|| name(one, other))
        }
        b"size" => &|one, other| match (one.is_directory, other.is_directory) {
            (true, true) => name(one, other),
            (false, false) => one.size.cmp(&other.size),
            _ => other.is_directory.cmp(&one.is_directory),
        },
        b"time" => &|one, other| one.modified_ns.cmp(&other.modified_ns),
        _ => return,
    };
    entries.sort_by(|one, other| if descending { compare(other, one) } else { compare(one, other) });
}

/// As Go's encoding/json writes Caddy's fileInfo, with a line break at the end.
fn write_json(entries: &[Entry]) -> Vec<u8> {
    let mut out = String::from("[");
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str("{\"name\":");
        push_json(&entry.name, &mut out);
        // Writing to a String cannot fail.
        let _ = write!(out, ",\"size\":{},\"url\":", entry.size);
        push_json(&String::from_utf8_lossy(&link(entry)), &mut out);
        let _ = write!(
            out,
            ",\"mod_time\":\"{}\",\"mode\":{},\"is_dir\":{},\"is_symlink\":{}",
            Moment::new(entry.modified_ns).rfc3339(),
            entry.mode,
            entry.is_directory,
            entry.is_link
        );
        if let Some(target) = entry.target.as_ref().filter(|target| !target.is_empty()) {
            out.push_str(",\"symlink_path\":");
            push_json(&String::from_utf8_lossy(target), &mut out);
        }
        out.push('}');
    }
    out.push_str("]\n");
    out.into_bytes()
}

fn push_json(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// A relative reference to an entry (Go: url.URL.String).
fn link(entry: &Entry) -> Vec<u8> {
    let mut out = b"./".to_vec();
    for &byte in &entry.url {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(byte),
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@' => {
                out.push(byte);
            }
            _ => paths::push_escape(byte, &mut out),
        }
    }
    out
}

/// Three columns, aligned by tabs of eight as Go's tabwriter does.
fn write_text(entries: &[Entry]) -> Vec<u8> {
    let mut rows = vec![
        ["Name".to_owned(), "Size".to_owned(), "Modified".to_owned()],
        ["----".to_owned(), "----".to_owned(), "--------".to_owned()],
    ];
    for entry in entries {
        let time = Moment::new(entry.modified_ns).for_people();
        rows.push([entry.name.clone(), size_for_people(entry.size), time]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0) + 1;
    let widths = [width(0), width(1)].map(|width| width.div_ceil(8) * 8);
    let mut out = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(widths) {
            out.push_str(cell);
            out.extend(std::iter::repeat_n('\t', (width - cell.chars().count()).div_ceil(8)));
        }
        out.push_str(&row[2]);
        out.push('\n');
    }
    out.into_bytes()
}

/// Powers of 1024, one decimal below ten (humanize.IBytes).
fn size_for_people(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let power = (bytes.ilog2() / 10) as usize;
    let value = (bytes as f64 / 1024f64.powi(power as i32) * 10.0 + 0.5).floor() / 10.0;
    let decimals = usize::from(value < 10.0);
    format!("{value:.decimals$} {}", UNITS[power])
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#222;background:#fff}table{width:100%;border-collapse:collapse}th,td{text-align:left;padding:.3rem .6rem;\
border-bottom:1px solid #ddd}td.n,th.n{text-align:right;white-space:nowrap}a{color:#0550ae;text-decoration:none}\
a:hover{text-decoration:underline}@media(prefers-color-scheme:dark){body{color:#ddd;background:#16181d}\
a{color:#7ab7ff}th,td{border-color:#333}}";

fn write_page(asked: &Browsing, entries: &[Entry]) -> Vec<u8> {
    let mut title = Vec::new();
    push_html(String::from_utf8_lossy(&asked.path).as_bytes(), &mut title);
    let mut out = b"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
<meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>"
        .to_vec();
    out.extend_from_slice(&title);
    out.extend_from_slice(b"</title>\n<style>");
    out.extend_from_slice(STYLE.as_bytes());
    out.extend_from_slice(b"</style>\n</head>\n<body>\n<h1>");
    out.extend_from_slice(&title);
    out.extend_from_slice(b"</h1>\n<table>\n<tr>");
    for (class, sort, label) in
        [("", "namedirfirst", "Name"), (" class=\"n\"", "size", "Size"), (" class=\"n\"", "time", "Modified")]
    {
        let heading = format!(
            "<th{class}>{label} <a href=\"?sort={sort}&amp;order=asc\" title=\"ascending\">&#9650;</a>\
<a href=\"?sort={sort}&amp;order=desc\" title=\"descending\">&#9660;</a></th>"
        );
        out.extend_from_slice(heading.as_bytes());
    }
    out.extend_from_slice(b"</tr>\n");
    if asked.path.len() > 1 {
        out.extend_from_slice(
            b"<tr><td><a href=\"..\">../</a></td><td class=\"n\"></td><td class=\"n\"></td></tr>\n",
        );
    }
    for entry in entries {
        push_row(entry, &mut out);
    }
    out.extend_from_slice(b"</table>\n</body>\n</html>\n");
    out
}

fn push_row(entry: &Entry, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<tr><td><a href=\"");
    push_html(&link(entry), out);
    out.extend_from_slice(b"\">");
    push_html(entry.name.as_bytes(), out);
    out.extend_from_slice(b"</a>");
    if let Some(target) = &entry.target {
        out.extend_from_slice(" \u{2192} ".as_bytes());
        push_html(String::from_utf8_lossy(target).as_bytes(), out);
    }
    let size = if entry.is_directory { "\u{2014}".to_owned() } else { size_for_people(entry.size) };
    let moment = Moment::new(entry.modified_ns);
    let rest = format!(
        "</td><td class=\"n\">{size}</td><td class=\"n\"><time datetime=\"{}\">{}</time></td></tr>\n",
        moment.rfc3339(),
        moment.for_people()
    );
    out.extend_from_slice(rest.as_bytes());
}

/// A time in UTC, by its parts.
struct Moment {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
    nanoseconds: i64,
}

impl Moment {
    fn new(since_1970_ns: i128) -> Moment {
        let seconds = since_1970_ns.div_euclid(1_000_000_000) as i64;
        let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
        Moment {
            year,
            month,
            day,
            second_of_day: seconds.rem_euclid(86_400),
            nanoseconds: since_1970_ns.rem_euclid(1_000_000_000) as i64,
        }
    }

    fn clock(&self) -> String {
        let second = self.second_of_day;
        format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
    }

    /// Without zeros at the fraction's end (Go: RFC3339Nano).
    fn rfc3339(&self) -> String {
        let fraction = format!(".{:09}", self.nanoseconds);
        let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
        format!("{:04}-{:02}-{:02}T{}{fraction}Z", self.year, self.month, self.day, self.clock())
    }

    fn for_people(&self) -> String {
        format!("{} {}, {} at {}", month_name(self.month), self.day, self.year, self.clock())
    }
}

/// Seconds since 1970 for Last-Modified, where the time is of use.
pub fn last_modified_s(status: &Status) -> Option<i64> {
    status.useful_time_s()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, size: u64, modified_s: i64) -> Entry {
        Entry {
            name: name.into(),
            url: name.into(),
            size,
            modified_ns: i128::from(modified_s) * 1_000_000_000,
            mode: 0o644,
            is_directory: name.ends_with('/'),
            is_link: false,
            target: None,
        }
    }

    fn names(query: &str, browse: &Browse) -> String {
        let entries =
            vec![entry("b.txt", 5, 30), entry("A.txt", 9, 10), entry("z/", 4096, 20), entry("c/", 1, 40)];
        let asked =
            Browsing { query: query.into(), accept: b"application/json".to_vec(), ..Browsing::default() };
        let body = render(&asked, browse, entries, 0).body.unwrap();
        let found: serde_json::Value = serde_json::from_slice(&body).unwrap();
        found
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn orders_and_cuts() {
        let plain = Browse::default();
        for (query, expected) in [
            ("", "c/ z/ A.txt b.txt"),
            ("sort=name", "A.txt b.txt c/ z/"),
            ("sort=name&order=desc", "z/ c/ b.txt A.txt"),
            ("sort=size", "c/ z/ b.txt A.txt"),
            ("sort=time", "A.txt z/ b.txt c/"),
            ("sort=none", "b.txt A.txt z/ c/"),
            ("sort=name&limit=2", "A.txt b.txt"),
            ("sort=name&offset=1&limit=2", "b.txt c/"),
            ("sort=name&offset=9&limit=-1", "A.txt b.txt c/ z/"),
        ] {
            assert_eq!(names(query, &plain), expected, "{query}");
        }
        let sized = Browse { sort: b"size"[..].into(), order: b"desc"[..].into(), ..Browse::default() };
        assert_eq!(names("", &sized), "A.txt b.txt z/ c/");
        assert_eq!(names("order=asc", &sized), "c/ z/ b.txt A.txt");
    }

    #[test]
    fn choices_are_kept_in_cookies_and_read_from_them() {
        let asked = Browsing { query: b"sort=size".to_vec(), is_tls: true, ..Browsing::default() };
        let listing = render(&asked, &Browse::default(), Vec::new(), 0);
        assert_eq!(listing.cookies, ["sort=size; HttpOnly; Secure; SameSite=Lax"]);
        let asked = Browsing { order: Some(b"desc".to_vec()), ..Browsing::default() };
        assert!(render(&asked, &Browse::default(), Vec::new(), 0).cookies.is_empty());
    }

    #[test]
    fn names_are_escaped_wherever_they_go() {
        let hostile = entry("<script>\"&.txt", 1, 0);
        let page =
            String::from_utf8(write_page(&Browsing::default(), std::slice::from_ref(&hostile))).unwrap();
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("./%3Cscript%3E%22&amp;.txt"), "{page}");
        let json = String::from_utf8(write_json(&[hostile])).unwrap();
        assert!(
            json.starts_with(
                r#"[{"name":"\u003cscript\u003e\"\u0026.txt","size":1,"url":"./%3Cscript%3E%22\u0026.txt""#
            ),
            "{json}"
        );
    }

    #[test]
    fn times_and_sizes() {
        let moment = Moment::new(1_700_000_000_123_450_000);
        assert_eq!(moment.rfc3339(), "2023-11-14T22:13:20.12345Z");
        assert_eq!(moment.for_people(), "November 14, 2023 at 22:13:20");
        assert_eq!(Moment::new(-1).rfc3339(), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(Moment::new(951_782_400_000_000_000).rfc3339(), "2000-02-29T00:00:00Z");
        for (bytes, shown) in [(9, "9 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (82_854_982, "79 MiB")] {
            assert_eq!(size_for_people(bytes), shown);
        }
    }

    #[test]
    fn text_is_aligned_by_tabs() {
        let text = String::from_utf8(write_text(&[entry("a.txt", 1, 0)])).unwrap();
        assert_eq!(
            text,
            "Name\tSize\tModified\n----\t----\t--------\na.txt\t1 B\tJanuary 1, 1970 at 00:00:00\n"
        );
    }
}
