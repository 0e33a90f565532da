"""Limits, redirects, balancing, retries and fields: each annotation as ingress-nginx reads it."""

import pytest
from zeroserve_ir import tree
from zeroserve_ir.tree_traffic import LimitBandwidth, LimitConcurrency
from zeroserve_operator.annotations.variables import UnknownVariableError, escape, expand

CLIENT = "{http.vars.client_ip}"


def first(loaded):
    return loaded.sites[0].routes[0].handlers[0]


def proxy(loaded):
    handler = loaded.sites[0].routes[0].handlers[-1]
    while isinstance(handler, tree.Subroute):
        handler = handler.routes[-1].handlers[-1]
    return handler


def codes(loaded):
    return {item.code.name for item in loaded.diagnostics if item.code.name.startswith("ZS04")}


def test_rates_are_those_of_a_client_with_a_burst_of_five_times(build, ingress):
    loaded = build(ingress(annotations={"limit-rps": "10", "limit-rpm": "60"}))
    limit = first(loaded).routes[0].handlers[0]
    assert limit == tree.LimitRate(
        (
            tree.RateZone("default/shop/rps", CLIENT, 10, 1000, 51),
            tree.RateZone("default/shop/rpm", CLIENT, 60, 60_000, 301),
        )
    )
    assert not codes(loaded)


def test_the_burst_has_a_factor(build, ingress):
    loaded = build(ingress(annotations={"limit-rps": "10", "limit-burst-multiplier": "2"}))
    assert first(loaded).routes[0].handlers[0].zones[0].burst == 21


def test_connections_and_bandwidth_are_limited(build, ingress):
    names = {"limit-connections": "4", "limit-rate": "100", "limit-rate-after": "8"}
    steps = first(build(ingress(annotations=names))).routes
    assert steps[0].handlers[0] == LimitConcurrency(4, CLIENT)
    assert steps[1].handlers[0] == LimitBandwidth(100 << 10, 8 << 10)


@pytest.mark.parametrize("name", ["limit-allowlist", "limit-whitelist"])
def test_who_is_exempt_is_not_counted(build, ingress, name):
    loaded = build(ingress(annotations={"limit-rps": "1", name: "10.0.0.0/8, everyone"}))
    outside = tree.MatchNot(((tree.MatchClientIp(("10.0.0.0/8",)),),))
    assert first(loaded).routes[0].matchers == ((outside,),)
    assert codes(loaded) == {"ZS0403"}


@pytest.mark.parametrize("text", ["-1", "many", "1.5", "", "99999999999999999999"])
def test_a_wrong_rate_limits_nothing_and_is_told(build, ingress, text):
    loaded = build(ingress(annotations={"limit-rps": text}))
    assert isinstance(first(loaded), tree.ReverseProxy)
    assert codes(loaded) == {"ZS0403"}


@pytest.mark.parametrize(
    ("annotations", "status", "location"),
    [
        ({"permanent-redirect": "https://new.example"}, "301", "https://new.example"),
        (
            {"permanent-redirect": "https://n.example", "permanent-redirect-code": "308"},
            "308",
            "https://n.example",
        ),
        (
            {"permanent-redirect": "https://n.example", "permanent-redirect-code": "200"},
            "301",
            "https://n.example",
        ),
        (
            {"temporal-redirect": "https://soon.example$request_uri"},
            "302",
            "https://soon.example{http.request.orig_uri}",
        ),
        (
            {"temporal-redirect": "http://a.example", "permanent-redirect": "http://b.example"},
            "302",
            "http://a.example",
        ),
        (
            {"temporal-redirect": "http://a.example", "temporal-redirect-code": "307"},
            "307",
            "http://a.example",
        ),
    ],
)
def test_a_redirect_answers_in_place_of_the_service(build, ingress, annotations, status, location):
    loaded = build(ingress(annotations=annotations))
    assert first(loaded) == tree.StaticResponse(status=status, headers=(("Location", location),))
    assert "ZS0302" not in {item.code.name for item in loaded.diagnostics}


@pytest.mark.parametrize(
    "text", ["/relative", "ftp://x", "https://x/{http.request.host}", "https://x/$unknown", "https://x\n/"]
)
def test_a_wrong_redirect_leaves_requests_to_the_service(build, ingress, text):
    loaded = build(ingress(annotations={"permanent-redirect": text}).replace("\n/", "\\n/"))
    assert isinstance(first(loaded), tree.ReverseProxy)
    assert codes(loaded) == {"ZS0403"}


def test_requests_for_the_root_are_sent_to_the_application(build, ingress):
    steps = first(build(ingress(annotations={"app-root": "/app"}))).routes
    assert steps[0].matchers == ((tree.MatchPathExact("/"),),)
    assert steps[0].handlers[0].headers == (
        ("Location", "{http.request.scheme}://{http.request.hostport}/app"),
    )


SELECTIONS = [
    ({}, tree.SelectionPolicy(tree.Selection.ROUND_ROBIN)),
    ({"load-balance": "ewma"}, tree.SelectionPolicy(tree.Selection.PEAK_EWMA)),
    ({"load-balance": "round_robin"}, tree.SelectionPolicy(tree.Selection.ROUND_ROBIN)),
    ({"upstream-hash-by": "$remote_addr"}, tree.SelectionPolicy(tree.Selection.CLIENT_IP_HASH)),
    ({"upstream-hash-by": "$request_uri consistent"}, tree.SelectionPolicy(tree.Selection.URI_HASH)),
    ({"upstream-hash-by": "$http_x_user"}, tree.SelectionPolicy(tree.Selection.HEADER, key="x-user")),
    ({"upstream-hash-by": "$arg_user"}, tree.SelectionPolicy(tree.Selection.QUERY, key="user")),
    (
        {"upstream-hash-by": "$arg_user", "load-balance": "ewma"},
        tree.SelectionPolicy(tree.Selection.QUERY, key="user"),
    ),
]
STICKY = tree.SelectionPolicy(
    tree.Selection.COOKIE, key="INGRESSCOOKIE", fallback=tree.SelectionPolicy(tree.Selection.ROUND_ROBIN)
)


@pytest.mark.parametrize(("annotations", "selection"), [*SELECTIONS, ({"affinity": "cookie"}, STICKY)])
def test_an_endpoint_is_chosen_as_asked(build, ingress, annotations, selection):
    loaded = build(ingress(annotations=annotations))
    assert proxy(loaded).selection == selection
    assert not codes(loaded)


def test_a_sticky_cookie_has_a_name_and_an_age(build, ingress):
    names = {"affinity": "cookie", "session-cookie-name": "route", "session-cookie-max-age": "60"}
    selection = proxy(build(ingress(annotations=names))).selection
    assert (selection.key, selection.max_age_ms) == ("route", 60_000)


@pytest.mark.parametrize(
    "annotations", [{"affinity": "ip"}, {"load-balance": "magic"}, {"upstream-hash-by": "$request_uri$host"}]
)
def test_another_balancing_is_told_and_round_robin_holds(build, ingress, annotations):
    loaded = build(ingress(annotations=annotations))
    assert proxy(loaded).selection.selection is tree.Selection.ROUND_ROBIN
    assert codes(loaded) == {"ZS0403"}


def test_what_failed_is_asked_of_another_endpoint(build, ingress):
    names = {
        "proxy-next-upstream": "error timeout http_502",
        "proxy-next-upstream-tries": "4",
        "proxy-next-upstream-timeout": "10",
    }
    found = proxy(build(ingress(annotations=names)))
    assert (found.retries, found.try_duration_ms) == (3, 10_000)
    of_errors, of_answers = found.retry_match
    assert "POST" not in of_errors[0].methods and of_answers[0] == of_errors[0]
    assert of_answers[1] == tree.MatchExpression("{http.reverse_proxy.status_code} in [502]")


@pytest.mark.parametrize("annotations", [{"proxy-next-upstream": "off"}, {"proxy-next-upstream-tries": "1"}])
def test_nothing_is_asked_again_where_that_is_off(build, ingress, annotations):
    assert proxy(build(ingress(annotations=annotations))).retries == 0


def test_non_idempotent_requests_are_repeated_where_asked(build, ingress):
    found = proxy(build(ingress(annotations={"proxy-next-upstream": "error non_idempotent"})))
    assert "POST" in found.retry_match[0][0].methods and found.retries == 2


def test_the_upstream_hears_another_host(build, ingress):
    found = proxy(build(ingress(annotations={"upstream-vhost": "in.$namespace.example"})))
    assert found.request_headers.set == (("Host", "in.default.example"),)


def test_the_prefix_is_told_where_the_path_is_rewritten(build, ingress):
    names = {"x-forwarded-prefix": "/shop"}
    assert not proxy(build(ingress(annotations=names))).request_headers
    rewritten = proxy(build(ingress(annotations=names | {"rewrite-target": "/x"})))
    assert rewritten.request_headers.set == (("X-Forwarded-Prefix", "/shop"),)


def test_requests_are_not_logged_where_that_is_off(build, ingress):
    steps = first(build(ingress(annotations={"enable-access-log": "false"}))).routes
    assert steps[0].handlers[0] == tree.SetVariables((("log_skip", "true"),), ("log_skip",))


def test_who_is_denied_gets_403(build, ingress):
    steps = first(build(ingress(annotations={"denylist-source-range": "10.0.0.0/8"}))).routes
    refused = tree.Route((tree.RaiseError("403"),), matchers=((tree.MatchClientIp(("10.0.0.0/8",)),),))
    assert steps[0] == refused


ACCOUNTS = """---
apiVersion: v1
kind: Secret
metadata: {name: users}
stringData:
  auth: "ann:{SHA}aaaaaaaaaaaaaaaaaaaaaaaaaaa="
"""


def test_a_password_suffices_from_elsewhere_where_any_does(build, ingress):
    names = {
        "auth-type": "basic",
        "auth-secret": "users",
        "whitelist-source-range": "10.0.0.0/8",
        "satisfy": "any",
    }
    steps = first(build(ingress(annotations=names) + ACCOUNTS)).routes
    outside = tree.MatchNot(((tree.MatchClientIp(("10.0.0.0/8",)),),))
    assert isinstance(steps[0].handlers[0], tree.BasicAuth) and steps[0].matchers == ((outside,),)
    assert [type(step.handlers[0]) for step in steps] == [tree.BasicAuth, tree.ReverseProxy]


@pytest.mark.parametrize("satisfy", ["all", "whatever", ""])
def test_else_both_are_needed(build, ingress, satisfy):
    names = {
        "auth-type": "basic",
        "auth-secret": "users",
        "whitelist-source-range": "10.0.0.0/8",
        "satisfy": satisfy,
    }
    steps = first(build(ingress(annotations=names) + ACCOUNTS)).routes
    assert [type(step.handlers[0]) for step in steps] == [tree.RaiseError, tree.BasicAuth, tree.ReverseProxy]


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("a{b}", "a\\{b\\}"),
        ("$is_args$args", "{http.request.uri.prefixed_query}"),
        ("x$host:1", "x{http.request.host}:1"),
    ],
)
def test_variables_of_nginx_become_placeholders_and_nothing_else_does(text, expanded):
    assert expand(text) == expanded


@pytest.mark.parametrize("text", ["$", "$1", "$nope", "a$ b", "${host}"])
def test_an_unknown_variable_is_an_error(text):
    with pytest.raises(UnknownVariableError):
        expand(text)


def test_escaped_text_has_no_placeholder():
    assert escape("\\d{host}") == "\\d\\{host\\}"


@pytest.mark.parametrize(
    ("target", "dial"),
    [
        ("http://copy.default.svc.cluster.local", "copy.default.svc:80"),
        ("http://copy.default.svc:8080/$request_uri", "copy.default.svc:8080"),
        ("http://copy.default.svc$request_uri", "copy.default.svc:80"),
    ],
)
def test_a_mirror_is_a_service_of_the_namespace(build, ingress, target, dial):
    loaded = build(ingress(annotations={"mirror-target": target, "mirror-request-body": "on"}))
    (mirror,) = proxy(loaded).resilience.mirrors
    assert (mirror.upstream.dial, mirror.percent) == (dial, 100)
    assert not codes(loaded)


@pytest.mark.parametrize(
    ("annotations", "code"),
    [
        ({"mirror-target": "https://copy.default.svc"}, "ZS0403"),
        ({"mirror-target": "http://copy.example/$request_uri"}, "ZS0403"),
        ({"mirror-target": "http://10.0.0.1"}, "ZS0403"),
        ({"mirror-target": "http://$host"}, "ZS0403"),
        ({"mirror-target": "http://copy.default.svc:0"}, "ZS0403"),
        ({"mirror-target": "http://copy.default.svc/{x}"}, "ZS0403"),
        ({"mirror-target": "http://copy.elsewhere.svc"}, "ZS0308"),
    ],
)
def test_any_other_mirror_gets_nothing_and_is_told(build, ingress, annotations, code):
    loaded = build(ingress(annotations=annotations))
    assert not proxy(loaded).resilience.mirrors
    assert code in {item.code.name for item in loaded.diagnostics}


@pytest.mark.parametrize("more", [{"mirror-request-body": "off"}, {"mirror-host": "copy.example"}])
def test_what_a_mirror_cannot_do_is_told(build, ingress, more):
    loaded = build(ingress(annotations={"mirror-target": "http://copy.default.svc"} | more))
    assert proxy(loaded).resilience.mirrors and codes(loaded) == {"ZS0401"}
