"""`auth-url` and its like: what is asked of whom, and closed routes for all that cannot be honoured."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zeroserve_ir import tree
from zeroserve_operator.pipeline import DEV_SETTINGS
from zeroserve_operator.settings import BuildSettings, read_shared_service

URL = "http://gate.default.svc.cluster.local:9091/verify"


def first(loaded):
    return loaded.sites[0].routes[0].handlers[0]


def is_closed(loaded):
    found = [route.handlers[0] for site in loaded.sites for route in site.routes if route.matchers]
    return bool(found) and all(isinstance(one, tree.StaticResponse) and one.status == "503" for one in found)


@pytest.mark.parametrize(
    ("url", "dial", "uri"),
    [
        (URL, "gate.default.svc:9091", "/verify?"),
        ("http://gate.default.svc", "gate.default.svc:80", "/?"),
        ("https://gate.default.svc.cluster.local.", "gate.default.svc:443", "/?"),
        (
            "http://gate.default.svc/a$request_uri?h=$host&u=$escaped_request_uri",
            "gate.default.svc:80",
            "/a{http.request.orig_uri}?h={http.request.host}&u={http.request.orig_uri}",
        ),
    ],
)
def test_a_service_of_the_namespace_is_asked(build, ingress, url, dial, uri):
    loaded = build(ingress(annotations={"auth-url": url}))
    asked, served = loaded.sites[0].routes[0].handlers
    assert asked.upstreams[0].dial == dial and served.upstreams[0].dial == "shop.default.svc:80"
    assert dict(asked.request_headers.set)["Host"] == url.split("/")[2].removesuffix(":9091")
    assert asked.rewrite == tree.Rewrite(method="GET", uri=uri)
    assert (asked.transport.tls is not None) is url.startswith("https")


@pytest.mark.parametrize(
    ("annotations", "code"),
    [
        ({"auth-url": "https://auth.example/verify"}, "ZS0402"),
        ({"auth-url": "http://10.96.0.1/"}, "ZS0402"),
        ({"auth-url": "http://169.254.169.254/latest"}, "ZS0402"),
        ({"auth-url": "http://$http_x_upstream/"}, "ZS0402"),
        ({"auth-url": "http://gate/"}, "ZS0402"),
        ({"auth-url": "http://gate.default.svc.evil.example/"}, "ZS0402"),
        ({"auth-url": "http://a.gate.default.svc/"}, "ZS0402"),
        ({"auth-url": "http://gate.elsewhere.svc.cluster.local/"}, "ZS0308"),
        ({"auth-url": "gate.default.svc/verify"}, "ZS0403"),
        ({"auth-url": "ftp://gate.default.svc/"}, "ZS0403"),
        ({"auth-url": "http://user:pw@gate.default.svc/"}, "ZS0403"),
        ({"auth-url": "http://gate.default.svc:0/"}, "ZS0403"),
        ({"auth-url": "http://gate.default.svc:99999/"}, "ZS0403"),
        ({"auth-url": "http://gate.default.svc/#x"}, "ZS0403"),
        ({"auth-url": "http://gate.default.svc/{http.request.uri}"}, "ZS0403"),
        ({"auth-url": "http://gate.default.svc/?a={env.HOME}"}, "ZS0403"),
        ({"auth-url": "http://gate.default.svc/\\n"}, "ZS0403"),
        ({"auth-url": "http://gate.default.svc/$upstream_addr"}, "ZS0403"),
        ({"auth-url": "http://gate.default.svc/?" + "$host" * 17}, "ZS0403"),
        ({"auth-url": "http://gate.default.svc/" + "a" * 5000}, "ZS0403"),
        ({"auth-url": "https://$host$request_uri"}, "ZS0402"),
        ({"auth-url": "https://$host/a$request_uri"}, "ZS0403"),
        ({"auth-url": "https://$host/verify"}, "ZS0404"),
        ({"auth-url": URL, "auth-method": "POST"}, "ZS0403"),
        ({"auth-url": URL, "auth-method": "GET /"}, "ZS0403"),
        ({"auth-url": URL, "auth-response-headers": "X-User, X User"}, "ZS0403"),
        ({"auth-url": URL, "auth-response-headers": "Content-Length"}, "ZS0403"),
        ({"auth-url": URL, "auth-response-headers": "Host"}, "ZS0403"),
        ({"auth-url": URL, "auth-response-headers": "{x}"}, "ZS0403"),
        ({"auth-url": URL, "auth-response-headers": ",".join(f"X-{n}" for n in range(65))}, "ZS0403"),
        ({"auth-url": URL, "auth-signin": "javascript:alert(1)"}, "ZS0403"),
        ({"auth-url": URL, "auth-signin": "https://in.example/{x}"}, "ZS0403"),
        ({"auth-url": URL, "auth-signin": "https://in.example/$nobody"}, "ZS0403"),
        (
            {"auth-url": URL, "auth-signin": "https://in.example", "auth-signin-redirect-param": "a&b"},
            "ZS0403",
        ),
        ({"auth-url": URL, "auth-request-redirect": "$nobody"}, "ZS0403"),
        ({"auth-url": URL, "auth-snippet": "deny all;"}, "ZS0402"),
        ({"auth-url": URL, "auth-proxy-set-headers": "default/fields"}, "ZS0402"),
        ({"auth-url": URL, "ssl-passthrough": "true"}, "ZS0402"),
        ({"auth-url": URL, "auth-type": "basic", "auth-secret": "users", "satisfy": "any"}, "ZS0402"),
        ({"auth-method": "GET"}, "ZS0404"),
        ({"auth-always-set-cookie": "true"}, "ZS0404"),
    ],
)
def test_what_cannot_be_honoured_closes(build, ingress, annotations, code):
    loaded = build(ingress(annotations=annotations))
    assert is_closed(loaded)
    assert code in {item.code.name for item in loaded.diagnostics if item.severity.value == "error"}


OWN = {"auth-url": "https://$host/oauth2/auth"}


def write_own(ingress, path, kind="Prefix", **more):
    return f"{ingress(annotations=OWN)}---\n{ingress('oauth2', paths=((path, kind),), **more)}"


def routes_by_path(loaded):
    """Return handlers by path, or by pattern."""
    found = [(route.matchers[0][0], route.handlers) for route in loaded.sites[0].routes if route.matchers]
    return {getattr(rule, "path", "") or rule.pattern: handlers for rule, handlers in found}


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/oauth2", "Prefix"), ("/oauth2/auth", "Exact"), ("/oau", "ImplementationSpecific")],
)
def test_a_path_of_the_host_stands_for_its_service(build, ingress, path, kind):
    loaded = build(write_own(ingress, path, kind))
    asked, served = routes_by_path(loaded)["/"]
    assert asked.upstreams[0].service == tree.ServiceReference("default", "oauth2", "80")
    assert served.upstreams[0].service.name == "shop"
    assert dict(asked.request_headers.set)["Host"] == "{http.request.host}"


def test_the_service_behind_it_is_asked_over_its_protocol(build, ingress):
    loaded = build(write_own(ingress, "/oauth2", annotations={"backend-protocol": "HTTPS"}))
    assert routes_by_path(loaded)["/"][0].transport.tls.insecure_skip_verify


@pytest.mark.parametrize(
    ("path", "annotations"),
    [
        ("/oauth", {}),
        ("/oauth2", {"auth-url": URL}),
        ("/oauth2", {"whitelist-source-range": "10.0.0.0/8"}),
        ("/oauth2", {"permanent-redirect": "https://x.example"}),
        ("/oauth2", {"backend-protocol": "GRPC"}),
        ("/oauth2", {"enable-modsecurity": "true"}),
    ],
)
def test_a_path_that_cannot_be_asked_closes(build, ingress, path, annotations):
    loaded = build(write_own(ingress, path, annotations=annotations))
    assert routes_by_path(loaded)["/"][0].status == "503"


OWN_LITERAL = {"auth-url": "https://Shop.example/oauth2/auth"}
ELSEWHERE = {"auth-url": "http://gate.elsewhere.svc.cluster.local:9091/verify"}


def test_the_host_itself_may_be_written_out(build, ingress):
    oauth2 = ingress("oauth2", paths=(("/oauth2", "Prefix"),))
    asked, _ = routes_by_path(build(f"{ingress(annotations=OWN_LITERAL)}---\n{oauth2}"))["/"]
    assert asked.upstreams[0].service.name == "oauth2"
    loaded = build(f"{ingress(annotations=OWN_LITERAL, host='other.example')}---\n{oauth2}")
    assert is_closed(build(ingress(annotations=OWN_LITERAL, host="other.example")))
    assert "ZS0402" in {item.code.name for item in loaded.diagnostics}


def test_on_another_host_of_the_ingress_the_host_that_is_written_out_closes(build, ingress):
    oauth2 = ingress("oauth2", paths=(("/oauth2", "Prefix"),))
    both = ingress(annotations=OWN_LITERAL) + "\n".join(
        [
            "    - host: two.example",
            "      http:",
            "        paths:",
            "          - {path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}\n",
        ]
    )
    second = ingress("second", host="two.example", paths=(("/oauth2", "Prefix"),))
    loaded = build(f"{both}---\n{oauth2}---\n{second}")
    found = {site.addresses[0].host: site for site in loaded.sites}
    assert isinstance(found["shop.example"].routes[1].handlers[0], tree.ReverseProxy)
    assert found["two.example"].routes[1].handlers[0].status == "503"


@pytest.mark.parametrize("address", ["https://$host:9091", "http://$host:443", "https://shop.example:9091"])
def test_another_port_of_the_host_closes(build, ingress, address):
    shop = ingress(annotations={"auth-url": f"{address}/oauth2/auth"})
    loaded = build(f"{shop}---\n{ingress('oauth2', paths=(('/oauth2', 'Prefix'),))}")
    assert routes_by_path(loaded)["/"][0].status == "503"


@pytest.mark.parametrize(
    ("shared", "asked"),
    [
        ("elsewhere/gate", True),
        ("elsewhere/gate:9091", True),
        ("elsewhere/gate:80", False),
        ("elsewhere/other", False),
        ("other/gate", False),
    ],
)
def test_a_shared_service_may_be_asked_from_every_namespace(build, ingress, shared, asked):
    settings = replace(DEV_SETTINGS, shared_auth_services=(read_shared_service(shared),))
    loaded = build(ingress(annotations=ELSEWHERE), settings)
    if asked:
        assert first(loaded).upstreams[0].service == tree.ServiceReference("elsewhere", "gate", "9091")
    else:
        assert is_closed(loaded)


def test_who_names_a_service_that_is_not_shared_is_told_how_it_may_be(build, ingress):
    finding = next(
        item for item in build(ingress(annotations=ELSEWHERE)).diagnostics if item.code.name == "ZS0308"
    )
    assert "--shared-auth-service elsewhere/gate:9091" in finding.help


@pytest.mark.parametrize(
    "text", ["", "gate", "/gate", "a/b/c", "a/b:", "a/b:0", "a/b:http", "A/b", "a/*", "a/b:999999", "a/b "]
)
def test_what_names_no_service_is_not_shared(text):
    with pytest.raises(ValueError, match="NAMESPACE/NAME"):
        read_shared_service(text)


def test_a_path_of_another_namespace_is_asked_only_where_its_service_is_shared(build, ingress):
    other = ingress("oauth2", paths=(("/oauth2", "Prefix"),))
    other = other.replace("metadata:\n", "metadata:\n  namespace: elsewhere\n")
    loaded = build(f"{ingress(annotations=OWN)}---\n{other}")
    assert routes_by_path(loaded)["/"][0].status == "503"
    settings = replace(DEV_SETTINGS, shared_auth_services=(read_shared_service("elsewhere/oauth2"),))
    loaded = build(f"{ingress(annotations=OWN)}---\n{other}", settings)
    assert routes_by_path(loaded)["/"][0].upstreams[0].service.namespace == "elsewhere"


def test_where_paths_are_expressions_only_a_plain_one_is_asked(build, ingress):
    shop = ingress(annotations=OWN | {"use-regex": "true"})
    for path, closed in (("/oauth2", False), ("/oauth.*", True)):
        oauth2 = ingress("oauth2", paths=((path, "ImplementationSpecific"),))
        loaded = build(f"{shop}---\n{oauth2}")
        assert isinstance(routes_by_path(loaded)["(?i)^/"][0], tree.StaticResponse) is closed


def test_a_canary_of_the_path_is_guarded_alike(build, ingress):
    canary = ingress("next", annotations={"canary": "true", "canary-weight": "50"})
    asked, choice = (
        build(f"{ingress(annotations={'auth-url': URL})}---\n{canary}").sites[0].routes[0].handlers
    )
    assert asked.upstreams[0].service.name == "gate"
    assert [one.handlers[0].upstreams[0].service.name for one in choice.routes] == ["next", "shop"]


def test_the_switch_serves_an_address_that_is_closed_open_and_says_so(build, ingress):
    opened = BuildSettings(claim_all=True, local=True, honour_restrictions=False)
    loaded = build(ingress(annotations={"auth-url": "https://auth.example/"}), opened)
    assert isinstance(first(loaded), tree.ReverseProxy)
    assert [item.severity.value for item in loaded.diagnostics if item.code.name == "ZS0402"] == ["warning"]


NAMES = ["auth-signin", "auth-response-headers", "auth-request-redirect", "auth-signin-redirect-param"]
POISON = st.lists(
    st.sampled_from(["https://x/", "{env.HOME}", "$host", "$", "\\", '"', "}", "{", " ", ",", "X-A", "é"]),
    max_size=6,
).map("".join)


def texts_of(proxy):
    yield from (text for _, text in proxy.request_headers.set)
    yield from proxy.rewrite.uri.split()
    for handler in proxy.response_handlers:
        for route in handler.routes:
            for inner in route.handlers:
                if isinstance(inner, tree.StaticResponse):
                    yield from (text for _, text in inner.headers)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(NAMES), POISON, max_size=3), POISON)
def test_no_value_becomes_a_placeholder(build, ingress, values, query):
    annotations = {"auth-url": f"{URL}?{query}"} | values
    asked = first(build(ingress(annotations=annotations)))
    if isinstance(asked, tree.ReverseProxy) and asked.rewrite is not None:
        assert not any("env.HOME" in text for text in texts_of(asked))
