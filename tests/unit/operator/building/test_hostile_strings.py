"""Strings of users stay strings: printed, parsed back, they are what they were (ingress-nginx's CVEs)."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zeroserve_ir import tree
from zeroserve_ir.caddyfile.printer import print_configuration
from zeroserve_ir.caddyfile.printer_words import UnprintableError
from zeroserve_ir.tree import Configuration
from zeroserve_operator.manifests import Manifests
from zeroserve_operator.pipeline import Pipeline
from zeroserve_operator.resources.objects import Kind, ObjectKey

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PIPELINE = Pipeline(now=lambda: NOW)
NAMES = st.sampled_from(
    [
        *(
            "rewrite-target",
            "auth-realm",
            "auth-secret",
            "auth-type",
            "use-regex",
            "cors-allow-origin",
            "enable-cors",
        ),
        *(
            "cors-allow-methods",
            "cors-allow-headers",
            "whitelist-source-range",
            "proxy-body-size",
            "auth-url",
        ),
        *("configuration-snippet", "auth-tls-match-cn", "backend-protocol", "proxy-read-timeout"),
    ]
)
# The shapes of CVE-2025-1097, -1098, -24514, 2026-24512, 2021-25742: an end of a string, a block, a line.
POISON = st.sampled_from(
    [
        'x";\n}\nlocation / { return 200 }\n{',
        "/a{\n}\nrespond pwned\n",
        "CN=x#(\n){}\nssl_engine ../../evil.so;",
        "{http.vars.secret}",
        "{env.HOME}",
        "{file./etc/passwd}",
        "`\nimport /etc/passwd\n`",
        "<<EOF\nrespond\nEOF",
        "$http_x;}}",
    ]
)
TEXTS = st.one_of(POISON, st.text(max_size=30), st.builds(lambda a, b: a + b, st.text(max_size=9), POISON))


def ingress(path, kind, annotations):
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rule = {"host": "x.example", "http": {"paths": [{"path": path, "pathType": kind, "backend": backend}]}}
    named = {f"nginx.ingress.kubernetes.io/{key}": value for key, value in annotations.items()}
    raw = {"metadata": {"name": "x", "annotations": named}, "spec": {"rules": [rule]}}
    return Manifests({ObjectKey(Kind.INGRESS, "default", "x"): raw}, (), {})


def walk(routes):
    for route in routes:
        for handler in route.handlers:
            yield handler
            if isinstance(handler, tree.Subroute):
                yield from walk(handler.routes)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(TEXTS, TEXTS.map(lambda text: f"/{text}")),
    st.sampled_from(["Exact", "Prefix", "ImplementationSpecific"]),
    st.dictionaries(NAMES, TEXTS, max_size=3),
)
def test_no_string_becomes_a_directive_or_a_placeholder(path, kind, annotations):
    loaded = PIPELINE.load(ingress(path, kind, annotations))
    for site in loaded.sites:
        for handler in walk(site.routes):
            assert isinstance(
                handler,
                tree.StaticResponse
                | tree.RaiseError
                | tree.ReverseProxy
                | tree.Rewrite
                | tree.Headers
                | tree.RequestBody
                | tree.BasicAuth
                | tree.Subroute,
            )
            if isinstance(handler, tree.ReverseProxy):
                assert [item.dial for item in handler.upstreams] == ["web.default.svc:80"]
            if isinstance(handler, tree.StaticResponse):
                text = handler.body.replace("\\{", "").replace("\\}", "")
                assert "{" not in text and "}" not in text
    try:
        text = print_configuration(Configuration(loaded.sites))
    except UnprintableError:
        # No Caddyfile can say it: refusing is safe, what is served comes from the tree.
        return
    assert "pwned" not in [line.strip() for line in text.splitlines()]


@pytest.mark.parametrize("annotation", ["auth-url", "auth-tls-match-cn", "configuration-snippet"])
def test_the_cves_of_ingress_nginx_end_in_a_closed_route(annotation):
    value = "http://x/#;}}}\nssl_engine ../../evil.so;\n"
    loaded = PIPELINE.load(ingress("/", "Prefix", {annotation: value}))
    (route,) = loaded.sites[0].routes
    assert route.handlers[0].status == "503" and "ssl_engine" not in route.handlers[0].body
