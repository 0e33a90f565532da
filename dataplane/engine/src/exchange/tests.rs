//! From a head to what is sent: authority, forwarding fields, header changes, rewrites, static answers.

use super::answering::Wrapper;
use super::rewriting::Rewrite;
use super::texts::{Part, Placeholder, Text};
use super::*;
use crate::protocol;
use crate::snapshot::{Cluster, ClusterState, Compiler, Settings, Tables};
use crate::snapshot::{Endpoint, EndpointKey};

pub fn peer(trusted: bool) -> Peer {
    Peer {
        listener: ListenerId(0),
        remote: ([192, 0, 2, 1], 1234).into(),
        local: ([127, 0, 0, 1], 8443).into(),
        tls: Some(TlsInfo::assumed()),
        trusted,
        external_port: 443,
    }
}

fn begin_with(target: &str, fields: &[(&str, &str)], trusted: bool) -> Result<Exchange, Refuse> {
    begin_as(target, fields, trusted, false)
}

fn begin_as(
    target: &str,
    fields: &[(&str, &str)],
    trusted: bool,
    as_caddy: bool,
) -> Result<Exchange, Refuse> {
    let headers: Vec<HeaderSpan> = fields
        .iter()
        .map(|(name, value)| HeaderSpan { name: name.as_bytes(), value: value.as_bytes() })
        .collect();
    let head = RequestHead { method: b"GET", target: target.as_bytes(), http_minor: 1, headers: &headers };
    let trusted_proxies = vec!["192.0.2.0/24".into()];
    let message = protocol::Settings { trusted_proxies, as_caddy, ..Default::default() };
    let mut exchange = Exchange::new();
    exchange.begin(
        &head,
        &peer(trusted),
        &Settings::compile(&message, |_| ListenerId(0)).unwrap(),
        Clock::default(),
    )?;
    Ok(exchange)
}

fn begin(target: &str, fields: &[(&str, &str)]) -> Exchange {
    let fields = [&[("Host", "example.com")], fields].concat();
    begin_with(target, &fields, false).unwrap()
}

/// Parses `{name}` as texts.py does, for short tests.
fn text(template: &str) -> protocol::Text {
    let mut parts = Vec::new();
    for piece in template.split_inclusive('}') {
        let (literal, name) = piece.split_once('{').map_or((piece, None), |(l, n)| (l, n.strip_suffix('}')));
        let wrap = |part| protocol::Part { part: Some(part) };
        if !literal.is_empty() {
            parts.push(wrap(protocol::part::Part::Literal(literal.into())));
        }
        parts.extend(name.map(|name| wrap(protocol::part::Part::Placeholder(name.into()))));
    }
    protocol::Text { parts }
}

fn compile(message: &protocol::Tables) -> Tables {
    Compiler::default()
        .compile(message, &|name| Some(Cluster::new(name, ClusterState::unconfigured())))
        .unwrap()
}

const FRAMING: Framing =
    Framing { body: Body::Unframed, connection: Connection::Default, expect_continue: false };

fn upstream_head(exchange: &mut Exchange, call: protocol::ProxyCall) -> String {
    let tables = compile(&protocol::Tables { proxies: vec![call], ..Default::default() });
    let mut out = Vec::new();
    exchange.write_upstream_head(&tables.proxies[0], FRAMING, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn one_authority_or_none() {
    for (target, hosts, expected) in [
        ("/", &["Example.COM"][..], Ok("example.com")),
        ("/", &["example.com.:8080"], Ok("example.com")),
        ("/", &["[::1]:80"], Ok("[::1]")),
        ("http://a.test/x", &["a.test"], Ok("a.test")),
        ("http://a.test:80/x", &["a.test"], Ok("a.test")),
        ("http://a.test", &["a.test"], Ok("a.test")),
        ("http://a.test/x", &["b.test"], Err(400)),
        ("ftp://a.test/x", &["a.test"], Err(400)),
        ("/", &[], Err(400)),
        ("/", &["a.test", "a.test"], Err(400)),
        ("/", &["a.test:99999999"], Err(400)),
        ("/", &["a.test:x"], Err(400)),
        ("/", &["user@a.test"], Err(400)),
        ("/", &["a b"], Err(400)),
        ("/", &["a.test/x"], Err(400)),
        ("/", &["[::1"], Err(400)),
        ("x", &["a.test"], Err(400)),
        ("*", &["a.test"], Err(400)),
        ("/#x", &["a.test"], Err(400)),
        ("/?a#x", &["a.test"], Err(400)),
    ] {
        let fields: Vec<_> = hosts.iter().map(|host| ("Host", *host)).collect();
        let found = begin_with(target, &fields, false).map_err(|refuse| refuse.status);
        let host = found.map(|exchange| String::from_utf8(exchange.host().to_vec()).unwrap());
        assert_eq!(host.as_deref().map_err(|status| *status), expected, "{target} {hosts:?}");
    }
    assert_eq!(
        begin_with(&format!("/{}", "a".repeat(17_000)), &[("Host", "a")], false).err().unwrap().status,
        414
    );
}

#[test]
fn strangers_say_nothing_about_themselves() {
    let said = [
        ("X-Forwarded-For", "10.0.0.1"),
        ("X_Forwarded_For", "10.0.0.1"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-Port", "1"),
        ("X-Real-IP", "10.0.0.1"),
        ("X-Request-ID", "mine"),
        ("Forwarded", "for=10.0.0.1"),
        ("Proxy", "http://evil"),
        ("Connection", "close, X-Secret, Authorization"),
        ("X-Secret", "1"),
        ("Authorization", "kept"),
        ("TE", "trailers"),
        ("Keep-Alive", "1"),
        ("Accept", "*/*"),
    ];
    let mut exchange = begin("/a?b", &said);
    let head = upstream_head(&mut exchange, protocol::ProxyCall::default());
    let id = String::from_utf8(exchange.request_id().to_vec()).unwrap();
    let expected = format!(
        "GET /a?b HTTP/1.1\r\nHost: example.com\r\nAuthorization: kept\r\nAccept: */*\r\nX-Forwarded-For: 192.0.2.1\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: example.com\r\nX-Forwarded-Port: 443\r\nX-Real-IP: 192.0.2.1\r\n\
         X-Request-ID: {id}\r\n\r\n"
    );
    assert_eq!(head, expected);
}

#[test]
fn a_caddyfile_forwards_host_and_path_as_sent() {
    let fields = [("Host", "A.Example."), ("X-Real-IP", "10.0.0.1")];
    let mut exchange = begin_as("//a/%2e%2e/B%2fc?q", &fields, false, true).unwrap();
    assert_eq!(exchange.host(), b"a.example.");
    assert_eq!(exchange.matched_path(), b"/B%2Fc");
    let head = upstream_head(&mut exchange, protocol::ProxyCall::default());
    assert_eq!(
        head,
        "GET //a/%2e%2e/B%2fc?q HTTP/1.1\r\nHost: A.Example.\r\nX-Forwarded-For: 192.0.2.1\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: A.Example.\r\n\r\n"
    );
}

#[test]
fn a_path_that_is_not_well_encoded_is_normalised_for_all() {
    let exchange = begin_as("//a\"b", &[("Host", "a.example")], false, true).unwrap();
    assert_eq!(exchange.path(), b"/a%22b");
    assert_eq!(exchange.matched_path(), b"/a%22b");
}

#[test]
fn a_rewrite_takes_the_matched_path_along() {
    let mut exchange = begin_as("//a/./%62/c%2ehtml", &[("Host", "a.example")], false, true).unwrap();
    let message = protocol::Rewrite { strip_path_suffix: Some(text(".html")), ..Default::default() };
    let tables = compile(&protocol::Tables { rewrites: vec![message], ..Default::default() });
    exchange.rewrite(&tables.rewrites[0]);
    assert_eq!(exchange.path(), b"/a/%62/c");
    assert_eq!(exchange.matched_path(), b"/a/b/c");
}

#[test]
fn trusted_peers_are_believed_up_to_the_first_stranger() {
    let fields = [
        ("Host", "example.com"),
        ("X-Forwarded-For", "1.1.1.1, 203.0.113.9"),
        ("X-Forwarded-For", "192.0.2.77"),
        ("X-Forwarded-Proto", "http"),
        ("X-Request-ID", "theirs"),
    ];
    let mut exchange = begin_with("/", &fields, true).unwrap();
    assert_eq!(exchange.client().to_string(), "203.0.113.9");
    let head = upstream_head(&mut exchange, protocol::ProxyCall::default());
    assert!(head.contains("X-Forwarded-For: 1.1.1.1, 203.0.113.9, 192.0.2.77, 192.0.2.1\r\n"), "{head}");
    assert!(head.contains("X-Forwarded-Proto: http\r\n") && head.contains("X-Request-ID: theirs\r\n"));
    assert!(head.contains("X-Real-IP: 203.0.113.9\r\n"));
}

#[test]
fn a_call_changes_what_goes_up_for_that_call_only() {
    let change = |operation: protocol::HeaderOperation, name: &str, value: &str| protocol::HeaderChange {
        operation: operation.into(),
        name: Some(text(name)),
        value: Some(text(value)),
        ..Default::default()
    };
    let changes = vec![
        change(protocol::HeaderOperation::HeaderSet, "Host", "{http.reverse_proxy.upstream.hostport}"),
        change(protocol::HeaderOperation::HeaderDelete, "X-Forwarded-*", ""),
        change(protocol::HeaderOperation::HeaderAdd, "X-New", "{http.request.header.X-Old}!{nothing.known}"),
        change(protocol::HeaderOperation::HeaderSet, "Transfer-Encoding", "chunked"),
    ];
    let rewrite =
        protocol::Rewrite { has_uri: true, uri: Some(text("/v2{http.request.uri}")), ..Default::default() };
    let call = protocol::ProxyCall {
        request_headers: Some(protocol::HeaderChanges { changes, ..Default::default() }),
        rewrite: Some(rewrite),
        has_rewrite: true,
        ..Default::default()
    };
    let mut exchange = begin("/a?b=1", &[("X-Old", "old")]);
    let endpoint = Endpoint {
        key: EndpointKey(1),
        address: ([10, 0, 0, 1], 8080).into(),
        name: "".into(),
        plain: true,
        active: 0.into(),
        streams_max: 0.into(),
    };
    exchange.upstream = Some(endpoint.into());
    for _ in 0..2 {
        let head = upstream_head(&mut exchange, call.clone());
        assert!(
            head.starts_with("GET /v2/a?b=1 HTTP/1.1\r\nHost: 10.0.0.1:8080\r\nX-Old: old\r\n"),
            "{head}"
        );
        assert!(head.contains("X-New: old!{nothing.known}\r\n") && !head.contains("X-Forwarded"));
        assert!(!head.contains("Transfer-Encoding"));
    }
}

/// Expected values are those of Caddy 2.11 but where a comment says otherwise.
#[test]
fn rewrites_are_those_of_caddy() {
    let uri = |uri: &str| protocol::Rewrite { has_uri: true, uri: Some(text(uri)), ..Default::default() };
    let prefix =
        |prefix: &str| protocol::Rewrite { strip_path_prefix: Some(text(prefix)), ..Default::default() };
    let suffix =
        |suffix: &str| protocol::Rewrite { strip_path_suffix: Some(text(suffix)), ..Default::default() };
    let pattern = |pattern: &str, replace: &str| protocol::Rewrite {
        path_regexp: vec![protocol::Substitution {
            pattern: pattern.into(),
            replace: Some(text(replace)),
            ..Default::default()
        }],
        ..Default::default()
    };
    for (rewrite, target, expected) in [
        (uri("/new"), "/old?a=1", "/new?a=1"),
        (uri("/new?"), "/old?a=1", "/new"),
        (uri("/new?b=2"), "/old?a=1", "/new?b=2"),
        (uri("/new?{http.request.uri.query}&b={http.request.uri.path}"), "/o/x?a=1", "/new?a=1&b=%2Fo%2Fx"),
        (uri("/p{http.request.uri}"), "/a%20b?c=%26", "/p/a%20b?c=%26"),
        (uri("/p{http.request.uri.path}"), "/a%3Fb", "/p/a%3Fb"),
        (uri("?x=1"), "/old?a=1", "/old?x=1"),
        (uri("/p{http.request.uri.path}"), "/a%2Fb", "/p/a/b"),
        (prefix("/api"), "/api/v1?x", "/v1?x"),
        (prefix("/api"), "/API/v1", "/v1"),
        (prefix("api"), "/api", "/"),
        (prefix("/a/b"), "/a%2Fb/c", "/c"),
        (prefix("/a%2Fb"), "/a/b/c", "/a/b/c"),
        (prefix("/x"), "/api", "/api"),
        (prefix("/a"), "/a%2F", "/"),
        (prefix("/a"), "/a%2Fx%2Fy%20z", "/x/y%20z"),
        (prefix("/a"), "/ab%2Fy", "/b%2Fy"),
        (suffix(".html"), "/a.html", "/a"),
        (suffix(".html"), "/a.htm", "/a.htm"),
        (pattern("/([a-z]+)/(.*)", "/$2/$1"), "/ab/cd", "/cd/ab"),
        (pattern("^/x", "/../../y"), "/x/z", "/y/z"),
    ] {
        let tables = compile(&protocol::Tables { rewrites: vec![rewrite], ..Default::default() });
        let mut exchange = begin(target, &[]);
        exchange.rewrite(&tables.rewrites[0]);
        let mut found = Vec::new();
        exchange.write_uri(&mut found);
        assert_eq!(
            (String::from_utf8(found).unwrap().as_str(), exchange.refused),
            (expected, None),
            "{target}"
        );
    }
}

#[test]
fn a_rewrite_never_hides_a_dot_segment() {
    let mut rewrite = Rewrite::default();
    let parts = vec![
        Part::Literal(b"/files/"[..].into()),
        Part::Placeholder(Placeholder::RequestHeader(b"X-A"[..].into())),
    ];
    rewrite.set_uri(&Text::from_parts(parts));
    for (value, path, refused) in
        [("a/../../b", "/b", false), ("..%2f..%2fetc", "/", true), ("%00", "/", true)]
    {
        let mut exchange = begin("/", &[("X-A", value)]);
        exchange.rewrite(&rewrite);
        assert_eq!((exchange.path(), exchange.refused.is_some()), (path.as_bytes(), refused), "{value}");
    }
}

#[test]
fn static_answers_have_a_length_a_type_and_no_body_where_none_may_be() {
    let response = protocol::Response {
        status: Some(text("{http.vars.code}")),
        headers: vec![protocol::HeaderChange {
            operation: protocol::HeaderOperation::HeaderSet.into(),
            name: Some(text("Location")),
            value: Some(text("https://{http.request.host}{http.request.uri}\r\nX: y")),
            ..Default::default()
        }],
        body: Some(text("{\"a\": 1}")),
        close: true,
    };
    let tables = compile(&protocol::Tables { responses: vec![response], ..Default::default() });
    let mut exchange = begin("/x?y", &[]);
    exchange.variables.push(b"code".to_vec(), b"308".to_vec());
    let mut out = Vec::new();
    let (status, _) = exchange.write_response(StaticAnswer::Row(&tables.responses[0]), &mut out);
    let shown = String::from_utf8(out).unwrap();
    assert_eq!(status, 308);
    assert!(
        shown.starts_with("HTTP/1.1 308 Permanent Redirect\r\nLocation: https://example.com/x?y  X: y\r\n"),
        "{shown}"
    );
    assert!(shown.contains("Connection: close\r\n"), "{shown}");
    for (answer, head, body) in [
        (StaticAnswer::Status(404), "HTTP/1.1 404 Not Found\r\n", "404 Not Found\n"),
        (StaticAnswer::Bare(403), "HTTP/1.1 403 Forbidden\r\n", ""),
        (StaticAnswer::Text(503, "closed"), "HTTP/1.1 503 ", "503 Service Unavailable: closed\n"),
        (StaticAnswer::Empty, "HTTP/1.1 200 OK\r\n", ""),
    ] {
        let mut out = Vec::new();
        begin("/", &[]).write_response(answer, &mut out);
        let shown = String::from_utf8(out).unwrap();
        assert!(shown.starts_with(head) && shown.ends_with(&format!("\r\n\r\n{body}")), "{shown}");
        assert!(shown.contains(&format!("Content-Length: {}\r\n", body.len())), "{shown}");
    }
}

#[test]
fn an_answer_loses_hop_by_hop_fields_and_gains_what_programs_set() {
    let change = |operation: protocol::HeaderOperation, name: &str, value: &str| protocol::HeaderChange {
        operation: operation.into(),
        name: Some(text(name)),
        value: Some(text(value)),
        ..Default::default()
    };
    let changes = |operation, name: &str, value: &str, deferred| protocol::HeaderChanges {
        changes: vec![change(operation, name, value)],
        deferred,
        require: None,
    };
    let message = protocol::Tables {
        header_changes: vec![
            changes(protocol::HeaderOperation::HeaderSet, "X-Now", "1", false),
            changes(protocol::HeaderOperation::HeaderDelete, "Server", "", true),
        ],
        ..Default::default()
    };
    let tables = std::sync::Arc::new(compile(&message));
    let mut exchange = begin("/", &[]);
    exchange.change_answer(&tables.header_changes[0].changes);
    exchange.wrappers.push(Wrapper::Changes(tables, 1));
    let span = |name: &'static str, value: &'static str| HeaderSpan {
        name: name.as_bytes(),
        value: value.as_bytes(),
    };
    let headers = [
        span("Server", "x"),
        span("Connection", "keep-alive, X-Hop"),
        span("X-Hop", "1"),
        span("Content-Length", "5"),
        span("Date", "then"),
        span("X-End", "2"),
    ];
    let head = ResponseHead { status: 200, reason: b"Fine", http_minor: 1, headers: &headers };
    let mut out = Vec::new();
    assert!(exchange.changes_answers());
    exchange.keep_upstream_answer(&head);
    exchange.take_upstream_answer();
    assert_eq!(exchange.pass_wrappers(200), None);
    exchange.write_answer_head(200, head.reason, Framing { body: Body::Length(5), ..FRAMING }, &mut out);
    let expected = "HTTP/1.1 200 Fine\r\nX-Now: 1\r\nDate: then\r\nX-End: 2\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn the_upstream_says_what_server_it_is() {
    for (upstream, shown) in [(Some("theirs"), Some(&b"theirs"[..])), (None, None)] {
        let mut exchange = begin("/", &[]);
        exchange.answer.set(b"Server", b"ours");
        let headers: Vec<_> = upstream
            .map(|value| HeaderSpan { name: b"Server", value: value.as_bytes() })
            .into_iter()
            .collect();
        let head = ResponseHead { status: 200, reason: b"", http_minor: 1, headers: &headers };
        exchange.keep_upstream_answer(&head);
        exchange.take_upstream_answer();
        assert_eq!(exchange.scratch.get(b"server"), shown);
    }
}

#[test]
fn an_address_loses_its_brackets_with_its_port() {
    for (authority, host) in [("[::1]", "[::1]"), ("[::1]:80", "::1"), ("[::1]:", "::1"), ("a:80", "a")] {
        let exchange = begin_with("/", &[("Host", authority)], false).unwrap();
        let mut out = Vec::new();
        exchange.expand(&Text::compile(Some(&text("{http.request.host}"))), Unknown::Keep, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), host, "{authority}");
    }
}

#[test]
fn every_placeholder_of_a_request_has_its_value() {
    let mut exchange =
        begin("/a%20b/c.tar.gz?k=v&k=w%20x", &[("X-A", "1"), ("X-A", "2"), ("Cookie", "a=b; c=\"d\"")]);
    exchange.captures.push(b"re.1".to_vec(), b"captured".to_vec());
    exchange.variables.push(b"v".to_vec(), b"set".to_vec());
    for (name, expected) in [
        ("http.request.method", "GET"),
        ("http.request.scheme", "https"),
        ("http.request.proto", "HTTP/1.1"),
        ("http.request.host", "example.com"),
        ("http.request.host.labels.1", "example"),
        ("http.request.hostport", "example.com"),
        ("http.request.uri", "/a%20b/c.tar.gz?k=v&k=w%20x"),
        ("http.request.uri.path", "/a b/c.tar.gz"),
        ("http.request.uri.path.0", "a b"),
        ("http.request.uri.path.7", ""),
        ("http.request.uri.path.file", "c.tar.gz"),
        ("http.request.uri.path.dir", "/a b/"),
        ("http.request.uri.path.file.base", "c.tar"),
        ("http.request.uri.path.file.ext", ".gz"),
        ("http.request.uri.query", "k=v&k=w%20x"),
        ("http.request.uri.prefixed_query", "?k=v&k=w%20x"),
        ("http.request.uri.query.k", "v,w x"),
        ("http.request.remote.host", "192.0.2.1"),
        ("http.request.remote.port", "1234"),
        ("http.request.header.x-a", "1,2"),
        ("http.request.cookie.C", "d"),
        ("http.request.tls.version", "tls1.3"),
        ("http.vars.client_ip", "192.0.2.1"),
        ("http.vars.v", "set"),
        ("http.regexp.re.1", "captured"),
        ("http.unknown", "{http.unknown}"),
    ] {
        let mut out = Vec::new();
        exchange.expand(&Text::compile(Some(&text(&format!("{{{name}}}")))), Unknown::Keep, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{name}");
    }
}

#[test]
fn an_error_as_a_whole_is_its_id_status_and_message() {
    let mut exchange = begin("/", &[]);
    let whole = Text::compile(Some(&text("{http.error}")));
    let show = |exchange: &Exchange, unknown: Unknown| {
        let mut out = Vec::new();
        exchange.expand(&whole, unknown, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(show(&exchange, Unknown::Keep), "{http.error}");
    assert_eq!(show(&exchange, Unknown::Empty), "");
    exchange.set_status(404);
    let id = String::from_utf8(exchange.request_id[..9].to_vec()).unwrap();
    assert_eq!(show(&exchange, Unknown::Keep), format!("{{id={id}}}: HTTP 404:"));
    exchange.set_error_message("gone".to_owned());
    assert_eq!(show(&exchange, Unknown::Empty), format!("{{id={id}}}: HTTP 404: gone"));
}
