"""Values of annotations: each is read as ingress-nginx reads it."""

import pytest
from zeroserve_ir import tree
from zeroserve_ir.diagnostics import Severity


def proxies(loaded):
    for site in loaded.sites:
        for route in site.routes:
            for handler in route.handlers:
                if isinstance(handler, tree.ReverseProxy):
                    yield handler


def warned(loaded, code="ZS0403"):
    return [
        item for item in loaded.diagnostics if item.code.name == code and item.severity is Severity.WARNING
    ]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("8m", 8 << 20),
        ("8M", 8 << 20),
        ("512k", 512 << 10),
        ("1G", 1 << 30),
        ("100", 100),
        ("7b", 7),
    ],
)
def test_body_size_has_nginx_units(build, ingress, text, size):
    loaded = build(ingress(annotations={"proxy-body-size": text}))
    assert loaded.sites[0].routes[0].handlers[0] == tree.RequestBody(size)


@pytest.mark.parametrize("text", ["50Mi", "8 m", "", "-1", "1.5m", "unlimited"])
def test_another_body_size_is_told_and_the_default_holds(build, ingress, text):
    loaded = build(ingress(annotations={"proxy-body-size": text}))
    assert isinstance(loaded.sites[0].routes[0].handlers[0], tree.ReverseProxy)
    assert warned(loaded)


def test_timeouts_are_seconds(build, ingress):
    names = {"proxy-connect-timeout": "3", "proxy-read-timeout": "120", "proxy-send-timeout": "90"}
    (proxy,) = proxies(build(ingress(annotations=names)))
    transport = proxy.transport
    assert (transport.dial_timeout_ms, transport.read_timeout_ms, transport.write_timeout_ms) == (
        3000,
        120_000,
        90_000,
    )
    assert transport.response_header_timeout_ms == 120_000


@pytest.mark.parametrize("text", ["60s", "0", "-5", "", "1.5", "²"])
def test_a_timeout_with_a_unit_is_told_and_the_default_holds(build, ingress, text):
    loaded = build(ingress(annotations={"proxy-read-timeout": text}))
    assert next(proxies(loaded)).transport.read_timeout_ms == 0
    assert warned(loaded)


def test_https_backends_are_spoken_to_over_tls_without_verification(build, ingress):
    (proxy,) = proxies(build(ingress(annotations={"backend-protocol": "https"})))
    assert proxy.transport.tls == tree.UpstreamTls(insecure_skip_verify=True)


@pytest.mark.parametrize(("protocol", "secure", "version"), [("GRPC", False, "h2c"), ("grpcs", True, "2")])
def test_grpc_is_http2_alone(build, ingress, protocol, secure, version):
    (proxy,) = proxies(build(ingress(annotations={"backend-protocol": protocol})))
    assert proxy.transport.versions == (version,)
    assert (proxy.transport.tls is not None) is secure


def test_a_protocol_that_we_do_not_speak_closes(build, ingress):
    loaded = build(ingress(annotations={"backend-protocol": "FCGI"}))
    assert loaded.sites[0].routes[0].handlers[0].status == "503"


def test_an_unknown_protocol_is_http_as_in_ingress_nginx(build, ingress):
    loaded = build(ingress(annotations={"backend-protocol": "SPDY"}))
    assert next(proxies(loaded)).transport.tls is None and warned(loaded)


def test_tls_redirects_plain_http(build, ingress):
    plain, secure = build(ingress(tls="missing")).sites
    (route,) = plain.routes
    location = "https://{http.request.host}{http.request.uri}"
    assert route.handlers == (tree.StaticResponse("308", headers=(("Location", location),)),)
    assert [address.scheme for address in secure.addresses] == [tree.Scheme.HTTPS]


def test_ssl_redirect_false_serves_both(build, ingress):
    (site,) = build(ingress(tls="missing", annotations={"ssl-redirect": "false"})).sites
    assert [address.scheme.value for address in site.addresses] == ["http", "https"]


def test_without_tls_nothing_redirects_unless_forced(build, ingress):
    assert len(build(ingress()).sites) == 1
    assert len(build(ingress(annotations={"force-ssl-redirect": "true"})).sites) == 2


def test_acme_challenges_are_never_redirected(build, ingress):
    solver = ingress("solver", paths=(("/.well-known/acme-challenge/token", "Exact"),))
    plain, _ = build(f"{ingress(tls='missing')}---\n{solver}").sites
    assert isinstance(plain.routes[0].handlers[0], tree.ReverseProxy)
    assert plain.routes[1].handlers[0].status == "308"


def test_a_rewrite_replaces_the_whole_path_with_captures(build, ingress):
    text = ingress(
        paths=(("/api(/|$)(.*)", "ImplementationSpecific"),), annotations={"rewrite-target": "/v2/$2"}
    )
    (route, rest) = build(text).sites[0].routes
    assert route.matchers == ((tree.MatchPathRegexp("(?i)^/api(/|$)(.*)"),),)
    find, target = r"(?i)^(?s:.*?)(?:/api(/|$)(.*))(?s:.*)$", r"/v2/$\{2\}"
    assert route.handlers[0].path_regexp == ((find, target),)
    assert rest.handlers == (tree.RaiseError("404"),)


def test_a_rewrite_to_the_path_itself_asks_for_nothing(build, ingress):
    (route,) = build(ingress(annotations={"rewrite-target": "/"})).sites[0].routes
    assert route.matchers == ((tree.MatchPathPrefix("/"),),)


def test_one_regex_ingress_makes_all_paths_of_the_host_expressions(build, ingress):
    other = ingress("other", paths=(("/Exact", "Exact"),))
    one = ingress(
        "one", paths=(("/long/[a-z]+", "ImplementationSpecific"),), annotations={"use-regex": "true"}
    )
    routes = build(f"{one}---\n{other}").sites[0].routes
    patterns = [route.matchers[0][0].pattern for route in routes if route.matchers]
    assert patterns == ["(?i)^/long/[a-z]+", "(?i)^/Exact"]


@pytest.mark.parametrize("path", ["/a{1001}", "/(?!a)", "/(?#x)", "/" + "[^/]{1000}" * 8, "/(?<a>b)(?<a>c)"])
def test_a_pattern_that_the_engine_would_refuse_is_withheld_alone(build, ingress, path):
    paths = (("/fine", "ImplementationSpecific"), (path, "ImplementationSpecific"))
    loaded = build(ingress(paths=paths, annotations={"use-regex": "true"}))
    (found,) = [item for item in loaded.diagnostics if item.code.name == "ZS0306"]
    assert f"path `{path}` is no regular expression" in found.message
    patterns = [route.matchers[0][0].pattern for route in loaded.sites[0].routes if route.matchers]
    assert patterns == ["(?i)^/fine"]


CORS = {"enable-cors": "true"}


def cors_steps(loaded):
    return loaded.sites[0].routes[0].handlers[0].routes


def test_cors_answers_preflights_with_204(build, ingress):
    preflight, marks, *_ = cors_steps(build(ingress(annotations=CORS)))
    assert preflight.matchers == ((tree.MatchMethod(("OPTIONS",)),),)
    assert preflight.handlers[0].status == "204"
    headers = dict(preflight.handlers[0].headers)
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Access-Control-Max-Age"] == "1728000"
    assert headers["Access-Control-Allow-Methods"] == "GET, PUT, POST, DELETE, PATCH, OPTIONS"
    assert marks.handlers[0].deferred


def test_cors_lists_match_one_level_of_subdomains(build, ingress):
    text = ingress(annotations={**CORS, "cors-allow-origin": "https://*.shop.example, http://a.example:8080"})
    preflight = cors_steps(build(text))[0]
    pattern = preflight.matchers[0][0].pattern
    assert pattern == r"(?i)^(?:https://[A-Za-z0-9-]+\.shop\.example|http://a\.example:8080)$"
    assert (
        dict(preflight.handlers[0].headers)["Access-Control-Allow-Origin"] == "{http.request.header.Origin}"
    )


def test_wrong_origins_allow_none_instead_of_all(build, ingress):
    loaded = build(ingress(annotations={**CORS, "cors-allow-origin": "shop.example"}))
    assert isinstance(loaded.sites[0].routes[0].handlers[0], tree.ReverseProxy)
    assert warned(loaded)


@pytest.mark.parametrize("name", ["cors-allow-methods", "cors-allow-headers", "cors-expose-headers"])
@pytest.mark.parametrize("value", ["{http.vars.x}", "a\r\nSet-Cookie: x", "$pid"])
def test_hostile_cors_values_never_reach_a_header(build, ingress, name, value):
    loaded = build(
        ingress(annotations={**CORS, name: "PLACE"}).replace("'PLACE'", repr(value).replace("'", '"'))
    )
    preflight = cors_steps(loaded)[0]
    assert not any(value in text for _, text in preflight.handlers[0].headers)


def test_cors_keys_alone_have_no_effect_and_say_so(build, ingress):
    loaded = build(ingress(annotations={"cors-allow-origin": "https://a.example"}))
    assert warned(loaded, "ZS0404")


def test_a_misspelt_name_is_answered_with_the_right_one(build, ingress):
    loaded = build(ingress(annotations={"rewrite-targett": "/"}))
    (found,) = warned(loaded, "ZS0401")
    assert "rewrite-target?" in found.help


def test_tls_passes_through_to_the_service_of_the_root(build, ingress):
    loaded = build(ingress(annotations={"ssl-passthrough": "true"}))
    plain, secure = loaded.sites
    assert [site.passthrough for site in loaded.sites] == [False, True]
    assert {site.addresses[0].scheme for site in loaded.sites} == {tree.Scheme.HTTP, tree.Scheme.HTTPS}
    (route,) = secure.routes
    (handler,) = route.handlers
    assert handler.upstreams == next(proxies(loaded)).upstreams
    assert handler.transport.tls is None and not route.matchers and plain.routes


def test_passing_through_what_restricts_access_closes(build, ingress):
    names = {"ssl-passthrough": "true", "whitelist-source-range": "10.0.0.0/8"}
    loaded = build(ingress(annotations=names))
    assert not any(site.passthrough for site in loaded.sites)
    assert loaded.sites[0].routes[0].handlers[0].status == "503"
    assert "ZS0402" in {item.code.name for item in loaded.diagnostics}
