"""The tenant profile: what the text in a Kubernetes object may say."""

import pytest
from zeroserve_ir.caddyfile.meaning.bodies import read_site_body
from zeroserve_ir.codes import Code
from zeroserve_ir.sources import Origin
from zeroserve_ir.tree import ReverseProxy, ServiceReference, Subroute

ORIGIN = Origin("ZeroserveRoute", "shop", "web", "spec.caddyfile")


def read(text, allow_reference=lambda _: False):
    return read_site_body(
        text,
        hosts=["shop.example", "*.wild.example"],
        namespace="shop",
        origin=ORIGIN,
        allow_reference=allow_reference,
    )


def codes(text, **options):
    return [one.code for one in read(text, **options)[2]]


def test_upstreams_are_services_of_the_namespace():
    routes, errors, diagnostics = read("reverse_proxy api:80 web.shop.svc:http")
    assert (errors, diagnostics) == ((), ())
    (proxy,) = routes[0].handlers
    assert isinstance(proxy, ReverseProxy)
    assert [one.service for one in proxy.upstreams] == [
        ServiceReference("shop", "api", "80"),
        ServiceReference("shop", "web", "http"),
    ]
    assert [one.dial for one in proxy.upstreams] == ["api.shop.svc:80", "web.shop.svc:http"]


@pytest.mark.parametrize(
    "upstream",
    [
        "10.0.0.1:80",
        "[::1]:80",
        "localhost.example.com:80",
        "unix//run/x",
        "169.254.169.254",
        "{host}:80",
        "a.b:80",
    ],
)
def test_literal_addresses_are_refused(upstream):
    assert codes(f"reverse_proxy {upstream}")[0] in (Code.ZS0201, Code.ZS0102)
    assert Code.ZS0201 in codes(f"reverse_proxy {upstream}")


def test_services_of_other_namespaces_need_a_grant():
    assert Code.ZS0308 in codes("reverse_proxy api.other.svc:80")
    asked = []

    def allow(reference):
        asked.append(reference)
        return True

    assert codes("reverse_proxy api.other.svc:80", allow_reference=allow) == []
    assert asked == [ServiceReference("other", "api", "80")]


@pytest.mark.parametrize(
    "text",
    [
        "import /etc/passwd",
        "respond {$HOME}",
        "respond {env.HOME}",
        "respond {file./etc/passwd}",
        "respond {system.hostname}",
        'respond "{file./etc/pass wd}"',
        "respond {File./etc/passwd}",
        "respond {a{file./etc/passwd}",
        "respond {unknown.thing}",
        "map {env.HOME} {x} {\n\t~(.*) ${1}\n}\nrespond {x}",
        "map {host} {env.HOME} {\n\tdefault x\n}\nrespond {env.HOME}",
        "map {file./etc/passwd} {x} {\n\tdefault x\n}",
        "file_server",
        "root /etc",
        "templates",
        "php_fastcgi a:1",
        "bind 0.0.0.0",
        "log",
        "tls internal",
        "metrics",
        "@m host other.example",
        "@m file /x",
        "@m host a.b.wild.example",
        "reverse_proxy a:1 {\n\ttrusted_proxies 0.0.0.0/0\n}",
        "reverse_proxy a:1 {\n\ttransport http {\n\t\ttls_trusted_ca_certs /etc/x\n\t}\n}",
        "reverse_proxy a:1 {\n\tdynamic a x 80\n}",
    ],
)
def test_what_reaches_beyond_the_object_is_refused(text):
    assert Code.ZS0201 in codes(text)


def test_global_options_are_refused():
    assert codes("{\n\tdebug\n}\nrespond x") != []


def test_own_hosts_may_be_matched():
    assert codes("@m host shop.example x.wild.example *.wild.example\nrespond @m x") == []


def test_findings_point_into_the_field():
    (found,) = read("respond ok\nfile_server\n")[2]
    assert found.span.origin == ORIGIN
    assert (found.span.line, found.span.column, found.span.end) == (2, 1, 12)
    assert found.render_short() == (
        "ZS0201: shop/web (ZeroserveRoute) spec.caddyfile: "
        "directive file_server is not allowed here; remove it"
    )


def test_json_in_a_body_is_no_placeholder():
    assert codes('respond `{"a": {"b": 1}}`') == []


def test_blocks_and_error_blocks_are_read():
    routes, errors, diagnostics = read("handle_path /x/* {\nrespond a\n}\nhandle_errors {\nrespond b\n}")
    assert diagnostics == ()
    assert isinstance(routes[0].handlers[0], Subroute)
    assert isinstance(errors[0].handlers[0], Subroute)


def test_size_is_bounded():
    assert codes("#" * 300_000) == [Code.ZS0202]
