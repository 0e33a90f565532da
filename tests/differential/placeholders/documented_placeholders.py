"""The placeholders that Caddy 2.11's documentation lists for HTTP, by the page that lists them.

In a family (`http.request.header.*`) the star is what the requests of `placeholder_scenes` carry, and
something they do not. A value that no two servers share has a pattern in `VARYING` instead. Bodies and the
ids and traces of errors have cases of their own (tests/differential/answers: readbody, error_trace).
"""

SHORTHANDS = """
client_ip cookie.a cookie.none dir err.message err.status_code err.status_text file file.base file.ext
file_match.absolute file_match.relative file_match.remainder file_match.type header.X-One header.X-Two
header.none host hostport labels.0 labels.1 labels.7 method orig_dir orig_file orig_method orig_path
orig_query orig_?query orig_uri path path.0 path.1 path.9 port query query.a query.b query.none re.found.1
re.found.key re.none.1 remote remote_host remote_port resp.header.X-Backend resp.status_code
rp.header.X-Backend rp.status_code rp.status_text rp.upstream.hostport scheme tls_cipher tls_version
tls_client_certificate_der_base64 tls_client_certificate_pem tls_client_fingerprint tls_client_issuer
tls_client_serial tls_client_subject upstream_hostport uri uuid vars.mine vars.none %uri %path %query ?query
"""
"""Caddyfile, concepts: placeholders."""

APP = """
http.request.cookie.A http.request.duration http.request.duration_ms http.request.uuid
http.request.header.x-one http.request.header.Host http.request.host http.request.host.labels.0
http.request.host.labels.2 http.request.host.labels.x http.request.hostport http.request.method
http.request.orig_method http.request.orig_uri http.request.orig_uri.path http.request.orig_uri.path.0
http.request.orig_uri.path.9 http.request.orig_uri.path.x http.request.orig_uri.path.dir
http.request.orig_uri.path.file http.request.orig_uri.query http.request.orig_uri.prefixed_query
http.request.port http.request.proto http.request.proto_name http.request.local.host http.request.local.port
http.request.local http.request.remote.host http.request.remote.host/24 http.request.remote.host/8,64
http.request.remote.port http.request.remote http.request.scheme http.request.tls.version
http.request.tls.cipher_suite http.request.tls.resumed http.request.tls.proto http.request.tls.proto_mutual
http.request.tls.server_name http.request.tls.ech http.request.tls.client.fingerprint
http.request.tls.client.public_key http.request.tls.client.public_key_sha256
http.request.tls.client.certificate_pem http.request.tls.client.certificate_der_base64
http.request.tls.client.issuer http.request.tls.client.serial http.request.tls.client.subject
http.request.tls.client.san.dns_names http.request.tls.client.san.dns_names.1
http.request.tls.client.san.dns_names.9 http.request.tls.client.san.emails
http.request.tls.client.san.emails.0 http.request.tls.client.san.ips http.request.tls.client.san.ips.0
http.request.tls.client.san.uris http.request.tls.client.san.uris.0 http.request.uri
http.request.uri_escaped http.request.uri.path http.request.uri.path_escaped http.request.uri.path.0
http.request.uri.path.2 http.request.uri.path.9 http.request.uri.path.-1 http.request.uri.path.dir
http.request.uri.path.file http.request.uri.path.file.base http.request.uri.path.file.ext
http.request.uri.query http.request.uri.query_escaped http.request.uri.prefixed_query
http.request.uri.query.a http.request.uri.query.b http.request.uri.query.none http.response.header.X-Early
http.response.header.X-Backend http.response.header.none http.vars.mine http.vars.client_ip http.vars.root
http.shutting_down http.time_until_shutdown
"""
"""JSON, apps/http."""

GLOBAL = """
env.ZEROSERVE_TEST_WORD env.ZEROSERVE_TEST_UNSET file.word.txt file.missing.txt system.hostname system.slash
system.os system.wd system.arch time.now time.now.http time.now.common_log time.now.year time.now.unix
time.now.unix_ms
"""
"""Conventions: placeholders."""

PROXY = """
http.reverse_proxy.upstream.address http.reverse_proxy.upstream.hostport http.reverse_proxy.upstream.host
http.reverse_proxy.upstream.port http.reverse_proxy.upstream.requests
http.reverse_proxy.upstream.max_requests http.reverse_proxy.upstream.fails
http.reverse_proxy.upstream.latency http.reverse_proxy.upstream.latency_ms
http.reverse_proxy.upstream.duration http.reverse_proxy.upstream.duration_ms http.reverse_proxy.duration
http.reverse_proxy.duration_ms http.reverse_proxy.retries http.reverse_proxy.status_code
http.reverse_proxy.status_text http.reverse_proxy.header.X-Backend http.reverse_proxy.header.Set-Cookie
http.reverse_proxy.header.none
"""
"""JSON, handlers/reverse_proxy."""

HANDLERS = """
http.auth.user.id http.auth.user.name http.auth.http_basic.error http.auth.candidate.id
http.matchers.file.relative http.matchers.file.absolute http.matchers.file.type http.matchers.file.remainder
http.regexp.1 http.regexp.found.0 http.regexp.found.1 http.regexp.found.key http.regexp.none.1
http.intercept.status_code http.intercept.header.X-Backend http.intercept.header.none http.error.status_code
http.error.status_text http.error.message mapped mapped_default unmapped nothing.of.the.kind
"""
"""JSON: authentication, file, path_regexp, intercept, errors, map."""

NAMES = tuple(dict.fromkeys(f"{SHORTHANDS} {APP} {GLOBAL} {PROXY} {HANDLERS}".split()))

NUMBER = r"\d+(\.\d+)?(e-\d+)?"
DURATION = rf"(\d+m)?{NUMBER}(ns|µs|ms|s)"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
VARYING = {
    "http.request.duration": DURATION,
    "http.request.duration_ms": NUMBER,
    "http.request.uuid": UUID,
    "uuid": UUID,
    "http.request.remote": r"127\.0\.0\.1:\d+",
    "remote": r"127\.0\.0\.1:\d+",
    "http.request.remote.port": r"\d+",
    "remote_port": r"\d+",
    "time.now": r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000 UTC.*",
    "time.now.http": r"\w{3}, \d\d \w{3} 20\d\d \d\d:\d\d:\d\d GMT",
    "time.now.common_log": r"\d\d/\w{3}/20\d\d:\d\d:\d\d:\d\d \+0000",
    "time.now.unix": r"\d{10}",
    "time.now.unix_ms": r"\d{13}",
    "http.reverse_proxy.upstream.latency": DURATION,
    "http.reverse_proxy.upstream.latency_ms": NUMBER,
    "http.reverse_proxy.upstream.duration": DURATION,
    "http.reverse_proxy.upstream.duration_ms": NUMBER,
    "http.reverse_proxy.duration": DURATION,
    "http.reverse_proxy.duration_ms": NUMBER,
}
"""What values look like that are never the same twice."""
