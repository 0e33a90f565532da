"""Printing: what was parsed prints as text that parses to the same tree, and any tree prints."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zeroserve_ir.caddyfile.lexer import tokenize
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.printer import print_configuration, print_site
from zeroserve_ir.caddyfile.printer_words import UnprintableError, word
from zeroserve_ir.tree import (
    HeaderOperations,
    Headers,
    MatchHost,
    MatchMethod,
    MatchNot,
    MatchPath,
    MatchPathExact,
    MatchPathPrefix,
    MatchPathRegexp,
    ReverseProxy,
    Rewrite,
    Route,
    Scheme,
    Site,
    SiteAddress,
    SiteTls,
    StaticResponse,
    Subroute,
    Upstream,
)


def read(text):
    configuration, diagnostics = read_configuration(text, environment={})
    assert diagnostics == (), text
    return configuration


def renamed(routes):
    """Return the routes with groups numbered by first appearance: numbers depend on the blocks around."""
    names = {}
    return tuple(
        replace(
            route,
            group=route.group and names.setdefault(route.group, f"g{len(names)}"),
            handlers=tuple(
                replace(one, routes=renamed(one.routes)) if isinstance(one, Subroute) else one
                for one in route.handlers
            ),
        )
        for route in routes
    )


def comparable(configuration):
    sites = (
        replace(one, routes=renamed(one.routes), errors=renamed(one.errors)) for one in configuration.sites
    )
    return replace(configuration, sites=tuple(sites))


def unwrapped(configuration):
    """Take away `route` blocks that have no matcher.

    Caddy's comparison of directives is no order, so sorting a sorted block may move it; the printer
    holds such a block by a `route`, which is one block more with the same meaning.
    """

    def unwrap(routes):
        flat = []
        for route in routes:
            match route:
                case Route((Subroute(inner, ()),), (), "", False):
                    flat += unwrap(inner)
                    continue
            handlers = tuple(
                replace(one, routes=unwrap(one.routes)) if isinstance(one, Subroute) else one
                for one in route.handlers
            )
            flat.append(replace(route, handlers=handlers))
        return tuple(flat)

    sites = (
        replace(one, routes=unwrap(one.routes), errors=unwrap(one.errors)) for one in configuration.sites
    )
    return replace(configuration, sites=tuple(sites))


TEXTS = st.text(alphabet=st.sampled_from(list('ab \n"`\\{}#<$/@*é')), max_size=12).filter(
    lambda text: not re.search(r"\{\$(?!\})", text)
)
MATCHERS = st.sampled_from(
    ["*", "/a", "/a*", "/a/*", "/b/*", "/longer/*", "@get", "@not", "@regexp", "@header"]
)
BODY_LINES = st.one_of(
    st.builds(lambda m, t: f"respond {m} {word(t, quoted=True)} 200", MATCHERS, TEXTS),
    st.builds(lambda m, t: f"header {m} X-A {word(t, quoted=True)}", MATCHERS, TEXTS),
    st.builds("header {0} -X-B".format, MATCHERS),
    st.builds("header {0} ?X-C d".format, MATCHERS),
    st.builds("rewrite {0} /to?{{query}}".format, MATCHERS),
    st.builds("vars {0} name 1".format, MATCHERS),
    st.builds("root {0} /srv".format, MATCHERS),
    st.builds("redir {0} https://other.example{{uri}} 308".format, MATCHERS),
    st.builds("redir {0} /x html".format, MATCHERS),
    st.builds("uri {0} strip_prefix /a".format, MATCHERS),
    st.builds("uri {0} replace a b 3".format, MATCHERS),
    st.builds("error {0} message 404".format, MATCHERS),
    st.builds("abort {0}".format, MATCHERS),
    st.builds("request_header {0} X-Up (a) b$1".format, MATCHERS),
    st.builds("reverse_proxy {0} https://a:1 {{\nlb_policy first\nheader_up +A b\n}}".format, MATCHERS),
    st.builds("basic_auth {0} {{\nuser $2a$14$Zkx19XLiW6VYouLHR5Nmf\n}}".format, MATCHERS),
    st.builds("request_body {0} {{\nmax_size 10MB\n}}".format, MATCHERS),
)


def blocks(inner):
    heads = [
        "handle",
        "handle /x/*",
        "handle @get",
        "handle_path /p/*",
        "handle_path /q",
        "route",
        "route /r*",
    ]
    body = st.lists(inner, max_size=4).map("\n".join)
    return st.builds("{0} {{\n{1}\n}}".format, st.sampled_from(heads), body)


BODIES = st.lists(st.recursive(BODY_LINES, blocks, max_leaves=8), max_size=12).map("\n".join)
DEFINITIONS = """@get method GET
@not not {
	path /a
	method POST
}
@regexp path_regexp name ^/(a|b{2})$
@header {
	header X-A b*
	header !X-B
	query a=b a=*
	remote_ip private_ranges
}
"""


@settings(max_examples=40, deadline=None)
@given(body=BODIES, errors=BODIES)
def test_what_was_parsed_prints_and_parses_to_the_same_tree(body, errors):
    first = read(
        f"a.example, http://b.example:81 {{\n{DEFINITIONS}{body}\nhandle_errors {{\n{errors}\n}}\n}}\n"
    )
    second = read(print_configuration(first))
    assert unwrapped(comparable(second)) == unwrapped(comparable(first))


@given(TEXTS)
def test_any_text_is_one_word(text):
    try:
        printed = word(text)
    except UnprintableError:
        return
    tokens, diagnostics = tokenize(f"respond {printed} end", "f", {})
    assert diagnostics == []
    assert [token.text for token in tokens] == ["respond", text, "end"]


def site(*routes, **options):
    return Site((SiteAddress(Scheme.HTTPS, "a.example", 443),), routes, **options)


def respond(text):
    return StaticResponse(body=text)


def test_exact_and_prefix_paths_print_as_anchored_case_sensitive_patterns():
    text = print_site(
        site(
            Route((respond("a"),), ((MatchPathExact("/a.b"),),)),
            Route((respond("b"),), ((MatchPathPrefix("/a/b"),),)),
            Route((respond("c"),), ((MatchPathPrefix("/"),),)),
        )
    )
    assert 'path_regexp "^/a\\.b$"' in text
    assert 'path_regexp "^/a/b(/|$)"' in text
    assert 'path_regexp "^/"' in text


def test_final_routes_exclude_what_follows():
    text = print_site(
        site(
            Route((respond("a"),), ((MatchPath(("/a",)),),), terminal=True),
            Route((respond("b"),), terminal=True),
        )
    )
    assert text == ('a.example {\n\thandle /a {\n\t\trespond "a"\n\t}\n\thandle {\n\t\trespond "b"\n\t}\n}\n')


def test_several_matcher_sets_are_negated_twice():
    sets = ((MatchPath(("/a",)),), (MatchMethod(("PUT",)), MatchHost(("x",))))
    (route,) = read(print_site(site(Route((respond("a"),), sets)))).sites[0].routes
    assert route.matchers == (
        (MatchNot(((MatchNot(((MatchPath(("/a",)),), (MatchHost(("x",)), MatchMethod(("PUT",))))),),)),),
    )


def test_a_rewrite_beside_others_stays_with_them():
    handlers = (Rewrite(strip_path_prefix="/a", uri="/b"), ReverseProxy((Upstream("up:1"),)))
    (route,) = read(print_site(site(Route(handlers, ((MatchPath(("/a*",)),),))))).sites[0].routes
    (block,) = route.handlers
    assert [type(one) for inner in block.routes for one in inner.handlers] == [Rewrite, Rewrite, ReverseProxy]


def test_an_order_that_sorting_would_change_is_held_by_a_route_block():
    routes = (
        Route((respond("a"),), ((MatchPath(("/a",)),),)),
        Route((Headers(response=HeaderOperations(set=(("A", "b"),))),)),
    )
    (route,) = read(print_site(site(*routes))).sites[0].routes
    (block,) = route.handlers
    assert [type(inner.handlers[0]) for inner in block.routes] == [StaticResponse, Headers]


def test_secrets_are_named_in_a_comment():
    text = print_site(site(tls=SiteTls(secrets=("shop/web-tls",))))
    assert "# certificate: Secret shop/web-tls" in text


def test_two_path_patterns_in_one_set():
    matchers = (MatchPathRegexp("^/a", "one"), MatchPathPrefix("/a/b"))
    text = print_site(site(Route((respond("a"),), (matchers,))))
    (route,) = read(text).sites[0].routes
    assert len(route.matchers[0]) == 2


@pytest.mark.parametrize("text", ["{$HOME}", "a{$X:y}b"])
def test_what_would_be_read_as_an_environment_variable_is_refused(text):
    with pytest.raises(UnprintableError):
        print_site(site(Route((respond(text),))))
