"""Ingress v1: paths, hosts, default backends, conflicts, classes."""

import pytest
from zeroserve_ir import tree
from zeroserve_operator.pipeline import DEV_SETTINGS
from zeroserve_operator.settings import BuildSettings


def site_of(loaded, host):
    return next(site for site in loaded.sites if site.addresses[-1].host == host)


def table(site):
    """Return (matcher, Service) of each route."""
    rows = []
    for route in site.routes:
        matcher = route.matchers[0][0] if route.matchers else None
        kind = type(matcher).__name__.removeprefix("MatchPath")
        last = route.handlers[-1]
        service = last.upstreams[0].service.name if isinstance(last, tree.ReverseProxy) else last.status
        rows.append((kind, getattr(matcher, "path", getattr(matcher, "pattern", "")), service))
    return rows


def codes(loaded):
    return [item.code.name for item in loaded.diagnostics if item.code.name != "ZS0302"]


def test_longest_path_first_and_exact_before_prefix(build, ingress):
    paths = (("/", "Prefix"), ("/foo", "Prefix"), ("/foo/bar", "Prefix"), ("/foo", "Exact"), ("/fo", "Exact"))
    assert [row[:2] for row in table(site_of(build(ingress(paths=paths)), "shop.example"))] == [
        ("Prefix", "/foo/bar"),
        ("Exact", "/foo"),
        ("Prefix", "/foo"),
        ("Exact", "/fo"),
        ("Prefix", "/"),
    ]


def test_a_prefix_ends_without_its_slash_and_an_exact_path_keeps_it(build, ingress):
    paths = (("/foo/", "Prefix"), ("/foo/", "Exact"))
    rows = table(site_of(build(ingress(paths=paths)), "shop.example"))
    assert rows[:2] == [("Exact", "/foo/", "shop"), ("Prefix", "/foo", "shop")]


def test_implementation_specific_is_a_prefix_of_text_as_in_nginx(build, ingress):
    paths = (("/foo", "ImplementationSpecific"), ("/", "ImplementationSpecific"))
    rows = table(site_of(build(ingress(paths=paths)), "shop.example"))
    assert [row[:2] for row in rows] == [("Regexp", "^/foo"), ("Prefix", "/")]


def test_an_empty_path_is_allowed_for_implementation_specific_only(build, ingress):
    assert codes(build(ingress(paths=(("", "ImplementationSpecific"),)))) == []
    assert codes(build(ingress(paths=(("", "Prefix"),)))) == ["ZS0306"]


@pytest.mark.parametrize("path", ["foo", "/a//b", "/a/./b", "/a/../b", "/a%2Fb", "/a/..", "/a/."])
def test_paths_that_the_api_refuses_are_withheld_alone(build, ingress, path):
    loaded = build(ingress(paths=((path, "Prefix"), ("/ok", "Prefix"))))
    assert codes(loaded) == ["ZS0306"]
    assert [row[1] for row in table(site_of(loaded, "shop.example"))] == ["/ok", ""]


def test_paths_are_compared_in_the_form_that_requests_have(build, ingress):
    paths = (("/caf%c3%a9/%7Euser", "Exact"), ("/café", "Exact"), ("/a{b}[c]", "Exact"))
    rows = table(site_of(build(ingress(paths=paths)), "shop.example"))
    assert [row[1] for row in rows[:3]] == ["/caf%C3%A9/~user", "/a%7Bb%7D[c]", "/caf%C3%A9"]


def test_what_no_path_covers_is_404(build, ingress):
    site = site_of(build(ingress(paths=(("/foo", "Prefix"),))), "shop.example")
    assert site.routes[-1] == tree.Route((tree.RaiseError("404"),))


def test_hosts_are_lower_case_names(build, ingress):
    assert site_of(build(ingress(host="Shop.Example")), "shop.example")


@pytest.mark.parametrize(
    "host", ["1.2.3.4", "shop.example:80", "*", "a.*.b", "*.com", "-x.y", "{{ .Values.host }}", "_x.y"]
)
def test_a_host_that_is_no_name_is_withheld(build, ingress, host):
    loaded = build(ingress(host=host))
    assert codes(loaded) == ["ZS0305"] and not loaded.sites


def test_a_host_beyond_ascii_is_told_how_it_is_written(build, ingress):
    (found,) = build(ingress(host="Bücher.example")).diagnostics
    assert found.message == "host `Bücher.example` must be a DNS name in ASCII: write `xn--bcher-kva.example`"


def test_a_rule_without_host_is_for_hosts_that_no_other_rule_names(build, ingress):
    loaded = build(f"{ingress('any', host='')}---\n{ingress('shop')}")
    assert table(site_of(loaded, ""))[0][2] == "any"
    assert table(site_of(loaded, "shop.example"))[0][2] == "shop"


def test_the_older_object_has_a_path_and_the_younger_keeps_its_others(build, ingress):
    old = ingress("old", paths=(("/a", "Prefix"),), created="2026-01-01T00:00:00Z")
    young = ingress("young", paths=(("/a", "Prefix"), ("/b", "Prefix")), created="2026-02-01T00:00:00Z")
    loaded = build(f"{young}---\n{old}")
    assert [row[1:] for row in table(site_of(loaded, "shop.example"))] == [
        ("/a", "old"),
        ("/b", "young"),
        ("", "404"),
    ]
    (found,) = [item for item in loaded.diagnostics if item.code.name == "ZS0304"]
    assert found.origin.name == "young" and "default/old (Ingress)" in found.message


def test_of_two_equally_old_the_name_decides(build, ingress):
    loaded = build(f"{ingress('b')}---\n{ingress('a')}")
    assert table(site_of(loaded, "shop.example"))[0][2] == "a"


DEFAULT = "defaultBackend: {service: {name: fallback, port: {name: http}}}"


def test_a_default_backend_gets_what_no_rule_covers(build, ingress):
    loaded = build(ingress(paths=(("/a", "Prefix"),), extra=DEFAULT))
    assert table(site_of(loaded, "shop.example"))[-1] == ("Prefix", "/", "fallback")
    assert table(site_of(loaded, "")) == [("Prefix", "/", "fallback")]


def test_a_backend_that_is_no_service_closes_its_path(build, ingress):
    text = ingress().replace(
        "{service: {name: shop, port: {number: 80}}}", "{resource: {kind: Bucket, name: x}}"
    )
    loaded = build(text)
    assert table(site_of(loaded, "shop.example"))[0][2] == "503" and "ZS0301" in codes(loaded)


CLASS = """
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: %s, annotations: {ingressclass.kubernetes.io/is-default-class: "%s"}}
spec: {controller: %s}
"""
OURS = "zeroserve.dev/ingress-controller"
NGINX = "k8s.io/ingress-nginx"


@pytest.mark.parametrize(
    ("names", "classes", "served"),
    [
        (("zeroserve", ""), [("zeroserve", "false", OURS)], True),
        (("nginx", ""), [("zeroserve", "false", OURS), ("nginx", "false", NGINX)], False),
        (("", ""), [("zeroserve", "true", OURS)], True),
        (("", ""), [("zeroserve", "false", OURS)], False),
        (("", ""), [("zeroserve", "false", OURS), ("nginx", "true", NGINX)], False),
        (("", "zeroserve"), [("zeroserve", "false", OURS)], True),
        (("zeroserve", "nginx"), [("zeroserve", "false", OURS)], False),
        (("unknown", ""), [("zeroserve", "true", OURS)], False),
    ],
)
def test_classes_decide_what_is_ours(build, ingress, names, classes, served):
    named, legacy = names
    text = ingress(
        annotations={"kubernetes.io/ingress.class": legacy} if legacy else None,
        extra=f"ingressClassName: {named}" if named else "",
    )
    loaded = build(text + "".join(CLASS % item for item in classes), BuildSettings(local=True))
    assert bool(loaded.sites) is served


def test_class_names_may_be_given_and_need_no_object(build, ingress):
    settings = BuildSettings(local=True, classes=("public",))
    assert build(ingress(annotations={"kubernetes.io/ingress.class": "public"}), settings).sites
    assert not build(
        ingress(extra="ingressClassName: zeroserve") + CLASS % ("zeroserve", "true", OURS), settings
    ).sites


def test_one_bad_object_harms_only_itself(build, ingress):
    bad = (
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: bad}\nspec: {rules: 7, tls: [x]}\n"
    )
    loaded = build(f"{bad}---\n{ingress()}")
    assert site_of(loaded, "shop.example") and set(codes(loaded)) == {"ZS0301"}


def test_trusted_proxies_that_took_tls_in_are_not_redirected(build, ingress):
    settings = BuildSettings(claim_all=True, local=True, trusted_proxies=("10.0.0.0/8",))
    redirect, served = build(ingress(tls="x"), settings).sites[0].routes
    assert redirect.handlers[0].status == "308"
    assert isinstance(redirect.matchers[0][-1], tree.MatchNot) and isinstance(
        served.handlers[0], tree.ReverseProxy
    )


ROUTE = """
---
apiVersion: zeroserve.dev/v1alpha1
kind: ZeroserveRoute
metadata: {name: site, namespace: default, creationTimestamp: "%s"}
spec:
  hosts: [%s]
  caddyfile: |
    %s
"""


def test_a_zeroserve_route_serves_its_body(build):
    loaded = build(ROUTE % ("2026-01-01T00:00:00Z", "blog.example", "reverse_proxy web:80"))
    (route,) = site_of(loaded, "blog.example").routes
    assert route.handlers[0].upstreams[0].service == tree.ServiceReference("default", "web", "80")


def test_a_body_with_an_error_closes_its_hosts_and_says_the_line(build):
    loaded = build(ROUTE % ("2026-01-01T00:00:00Z", "blog.example", "basic_auth\n    nonsense here"))
    assert table(site_of(loaded, "blog.example"))[0][2] == "503"
    assert any(item.severity.value == "error" for item in loaded.diagnostics)


@pytest.mark.parametrize(
    ("created", "winner"), [("2025-01-01T00:00:00Z", "route"), ("2026-06-01T00:00:00Z", "ingress")]
)
def test_a_route_and_an_ingress_share_no_host(build, ingress, created, winner):
    loaded = build(ingress() + ROUTE % (created, "shop.example", 'respond "hi"'))
    last = site_of(loaded, "shop.example").routes[0].handlers[-1]
    assert isinstance(last, tree.StaticResponse if winner == "route" else tree.ReverseProxy)
    assert "ZS0304" in codes(loaded)


def test_hosts_of_one_shape_share_their_program(build, ingress):
    text = "---\n".join(ingress(f"s{index}", host=f"h{index}.example") for index in range(20))
    draft = build(text, DEV_SETTINGS).draft
    assert len([key for key in draft.resources if key[0] == 6]) == 1
    assert len([key for key in draft.resources if key[0] == 9]) == 20
