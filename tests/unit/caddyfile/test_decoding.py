"""Caddy's JSON as input: decoded without loss, run as its Caddyfile would be, refused by its path."""

import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zeroserve_ir.caddyfile import commands
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.decoding import decode_configuration, encode_configuration
from zeroserve_ir.caddyfile.judging import find_unsupported
from zeroserve_ir.caddyfile.loading import load_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.settling import settle_configuration
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Severity
from zeroserve_ir.program.lowering import lower_site
from zeroserve_ir.tree import Scheme
from zeroserve_ir.tree_carried import CarriedHandler, CarriedMatcher

GOLDEN = sorted((Path(__file__).parents[2] / "golden" / "caddyfile").glob("*.json"))


def settle(value):
    adapted, findings = decode_configuration(json.dumps(value), "x.json")
    assert findings == []
    return settle_configuration(adapted)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case.stem)
def test_what_caddy_wrote_is_decoded_without_loss(case):
    value = json.loads(case.read_text())
    adapted, findings = decode_configuration(json.dumps(value), "x.json")
    assert findings == []
    assert encode_configuration(adapted) == value


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case.stem)
def test_what_caddy_wrote_has_sites_that_can_be_lowered(case):
    configuration, _ = settle(json.loads(case.read_text()))
    assert configuration.sites
    assert all(one.severity is Severity.WARNING for one in find_unsupported(configuration))
    for site in configuration.sites:
        assert lower_site(site).code


CADDYFILES = sorted(
    [
        *(Path(__file__).parents[2] / "golden" / "caddyfile").glob("*.caddyfile"),
        *(Path(__file__).parents[2] / "differential" / "answers" / "cases").glob("*.caddyfile"),
    ]
)


def read(path):
    """Read a Caddyfile of the tests; those of the differential cases have ports and files to be filled in."""
    text = path.read_text()
    for name, value in {"HASH": "$2a$04$x", "SITE": ".", "CERTIFICATE": "c", "KEY": "k"}.items():
        text = text.replace(f"{{${name}}}", value)
    text = text.replace("{$TLS_PORT}", "1235")
    configuration, findings = read_configuration(re.sub(r"{\$\w+}", "1234", text), environment={})
    assert [one for one in findings if one.severity is Severity.ERROR] == []
    return configuration


def carried(value):
    """Return the modules of Caddy that a configuration carries without knowing them."""
    if isinstance(value, CarriedHandler | CarriedMatcher):
        return [value.module]
    if is_dataclass(value):
        return [name for one in fields(value) for name in carried(getattr(value, one.name))]
    return [name for one in value for name in carried(one)] if isinstance(value, tuple) else []


@pytest.mark.parametrize("case", CADDYFILES, ids=lambda case: case.stem)
def test_what_adapt_prints_is_read_again_whole(case):
    configuration = read(case)
    value = adapt_configuration(configuration)
    adapted, findings = decode_configuration(json.dumps(value), "x.json")
    assert findings == []
    assert encode_configuration(adapted) == value
    assert set(carried(adapted)) <= set(carried(configuration))


def test_a_server_without_routes_listens_for_any_host():
    configuration, findings = settle({"apps": {"http": {"servers": {"s": {"listen": [":8080"]}}}}})
    assert findings == []
    (site,) = configuration.sites
    assert (site.addresses[0].host, site.addresses[0].port, site.routes) == ("", 8080, ())


TEXT = """
a.example, b.example {
	handle /x/* {
		respond x
	}
	respond all
}
http://plain.example:8080 {
	reverse_proxy 127.0.0.1:9000
}
"""


def test_a_caddyfile_and_its_json_have_the_same_sites():
    given_sites, _ = read_configuration(TEXT, environment={})
    configuration, findings = settle(adapt_configuration(given_sites))
    assert findings == []
    assert [(site.addresses, site.bind) for site in configuration.sites] == [
        (site.addresses, site.bind) for site in given_sites.sites
    ]
    for one, other in zip(configuration.sites, given_sites.sites, strict=True):
        assert lower_site(one).code == lower_site(other).code


def test_routes_of_other_shapes_are_one_site_for_all_hosts():
    routes = [
        {"match": [{"host": ["a.example"], "path": ["/x"]}], "handle": [{"handler": "static_response"}]},
        {"handle": [{"handler": "static_response", "status_code": 404}]},
    ]
    configuration, _ = settle({"apps": {"http": {"servers": {"s": {"listen": [":443"], "routes": routes}}}}})
    (site,) = configuration.sites
    assert [(one.host, one.scheme) for one in site.addresses] == [
        ("", Scheme.HTTPS),
        ("a.example", Scheme.HTTPS),
    ]
    assert len(site.routes) == 2


def test_settings_that_are_not_known_keep_a_handler_from_being_run():
    handler = {"handler": "static_response", "body": "x", "frobnicate": True}
    server = {"listen": [":80"], "routes": [{"handle": [handler]}]}
    configuration, _ = settle({"apps": {"http": {"servers": {"s": server}}}})
    (found,) = find_unsupported(configuration)
    assert found.severity is Severity.ERROR
    assert "apps.http.servers.s.routes[0].handle[0]" in found.render_short()


WRONG = "(?!a)"
REPLACEMENT = {"search_regexp": WRONG, "replace": "b"}
WRONG_PATTERNS = [
    {"match": [{"path_regexp": {"pattern": WRONG}}]},
    {"match": [{"not": [{"header_regexp": {"A": {"pattern": WRONG}}}]}]},
    {"match": [{"vars_regexp": {"{path}": {"pattern": WRONG}}}]},
    {"handle": [{"handler": "headers", "response": {"replace": {"A": [REPLACEMENT]}}}]},
    {"handle": [{"handler": "rewrite", "path_regexp": [{"find": WRONG, "replace": "b"}]}]},
    {"handle": [{"handler": "rewrite", "query": {"replace": [{"key": "a", **REPLACEMENT}]}}]},
    {"handle": [{"handler": "map", "mappings": [{"input_regexp": WRONG, "outputs": ["b"]}]}]},
    {"handle": [{"handler": "reverse_proxy", "headers": {"request": {"replace": {"A": [REPLACEMENT]}}}}]},
    {"handle": [{"handler": "reverse_proxy", "rewrite": {"path_regexp": [{"find": WRONG, "replace": "b"}]}}]},
    {"handle": [{"handler": "subroute", "routes": [{"match": [{"path_regexp": {"pattern": WRONG}}]}]}]},
]


@pytest.mark.parametrize("route", WRONG_PATTERNS)
def test_a_wrong_pattern_is_refused_before_it_closes_its_site(route):
    configuration, _ = settle({"apps": {"http": {"servers": {"s": {"listen": [":80"], "routes": [route]}}}}})
    (found,) = find_unsupported(configuration)
    assert (found.code, found.severity) == (Code.ZS0106, Severity.ERROR)
    assert WRONG in found.message


def test_names_for_the_admin_api_are_left_out():
    route = {"@id": "one", "match": [{"@id": 2, "path": ["/a"]}], "handle": [{"handler": "static_response"}]}
    text = json.dumps({"apps": {"http": {"servers": {"s": {"@id": "s", "routes": [route]}}}}})
    adapted, findings = decode_configuration(text, "x.json")
    assert findings == []
    assert "@id" not in json.dumps(encode_configuration(adapted))


MISTAKES = [
    ("[]", "", Code.ZS0103),
    ('{"apps": []}', "apps", Code.ZS0103),
    ('{"apps": {"http": {"servers": {"s": 1}}}}', "apps.http.servers.s", Code.ZS0103),
    ('{"apps": {"http": {"servers": {"s": {"routes": {}}}}}}', "apps.http.servers.s.routes", Code.ZS0103),
    (
        '{"apps": {"http": {"servers": {"s": {"routes": [{"handle": [{}]}]}}}}}',
        "apps.http.servers.s.routes[0].handle[0]",
        Code.ZS0103,
    ),
    (
        '{"apps": {"http": {"servers": {"s": {"routes": [{"handel": []}]}}}}}',
        "apps.http.servers.s.routes[0].handel",
        Code.ZS0109,
    ),
]


@pytest.mark.parametrize(("text", "path", "code"), MISTAKES)
def test_a_mistake_is_named_by_its_path(text, path, code):
    _, (found,) = decode_configuration(text, "x.json")
    assert found.code is code
    assert found.span.origin.field == path
    assert found.help


def test_text_that_is_no_json_is_named_by_line_and_column(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{\n\t"apps": }\n')
    (found,) = load_configuration(path).diagnostics
    assert (found.code, found.span.line, found.span.column) == (Code.ZS0001, 2, 10)


def test_adapt_and_validate_take_json(tmp_path):
    path = tmp_path / "x.json"
    value = {"apps": {"http": {"servers": {"s": {"listen": [":80"], "routes": []}}}}}
    path.write_text(json.dumps(value))
    assert json.loads(commands.adapt(path, {}).output)["apps"]["http"]["servers"]["s"]["listen"] == [":80"]
    assert commands.validate(path, {}).output == "Valid configuration\n"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(0, 600)
    | st.text(max_size=4)
    | st.sampled_from(["acme", ":80", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "apps",
                        "http",
                        "tls",
                        "servers",
                        "listen",
                        "routes",
                        "errors",
                        "match",
                        "handle",
                        "handler",
                    ),
                    *(
                        "host",
                        "path",
                        "not",
                        "group",
                        "terminal",
                        "logs",
                        "admin",
                        "automatic_https",
                        "skip",
                        "sni",
                    ),
                    *("tls_connection_policies", "trusted_proxies", "ranges", "certificates", "load_files"),
                    *(
                        "automation",
                        "policies",
                        "named_routes",
                        "static_response",
                        "subroute",
                        "headers",
                        "dial",
                    ),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


def without_empty(value):
    """Leave out what Go's omitempty leaves out, at any depth."""
    if isinstance(value, dict):
        pruned = {key: without_empty(one) for key, one in value.items()}
        return {key: one for key, one in pruned.items() if one not in ({}, [], "", None) and one is not False}
    return [without_empty(one) for one in value] if isinstance(value, list) else value


@settings(max_examples=300, deadline=None)
@given(value=JSON, server=JSON)
def test_any_json_is_settled_or_refused(value, server):
    for one in (value, {"apps": {"http": {"servers": {"s": server}}, "tls": value}, "admin": value}):
        adapted, findings = decode_configuration(json.dumps(one), "x.json")
        if not findings:
            assert without_empty(encode_configuration(adapted)) == without_empty(one)
            settle_configuration(adapted)


def list_places(listen):
    configuration, findings = settle({"apps": {"http": {"servers": {"s": {"listen": listen, "routes": []}}}}})
    places = {(site.bind, address.port) for site in configuration.sites for address in site.addresses}
    return places, [one.message for one in findings]


@pytest.mark.parametrize(
    ("listen", "places"),
    [
        (["127.0.0.1:81", "[::1]:82"], {(("127.0.0.1",), 81), (("::1",), 82)}),
        (["127.0.0.1:81", ":82-83"], {(("127.0.0.1",), 81), ((), 82), ((), 83)}),
        (["127.0.0.1:81", "127.0.0.2:81"], {(("127.0.0.1", "127.0.0.2"), 81)}),
        (["127.0.0.1:81", ":81"], {((), 81)}),
        (["unix//run/a.sock|0222", ":81"], {(("unix//run/a.sock|0222",), 80), ((), 81)}),
    ],
)
def test_an_address_of_a_server_goes_with_its_own_port(listen, places):
    assert list_places(listen) == (places, [])


def test_a_listener_that_is_none_names_what_is_one():
    places, (finding,) = list_places(["fd/3"])
    assert (places, finding) == (set(), "cannot listen on fd/3")
