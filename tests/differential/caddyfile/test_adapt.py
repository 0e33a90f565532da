"""What we adapt and print is judged by stock Caddy: own fixtures now, not recorded answers."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.printer import print_configuration

GOLDEN = Path(__file__).parents[2] / "golden" / "caddyfile"
CASES = sorted(GOLDEN.glob("*.caddyfile"))
# Another order than Caddy's own is printed as a route block, which is one block more.
PRINTED_OTHERWISE = {"order_option"}


def without_group_numbers(value):
    if isinstance(value, dict):
        return {
            key: re.sub(r"\d+", "", one) if key == "group" else without_group_numbers(one)
            for key, one in value.items()
        }
    return [without_group_numbers(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_adapt_equals_stock_caddy(case, stock_caddy):
    text = case.read_text()
    configuration, _ = read_configuration(text, environment={})
    assert adapt_configuration(configuration) == stock_caddy.adapt(text)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.stem not in PRINTED_OTHERWISE], ids=lambda case: case.stem
)
def test_stock_caddy_reads_the_printed_form_as_the_same(case, stock_caddy):
    configuration, _ = read_configuration(case.read_text(), environment={})
    printed = stock_caddy.adapt(print_configuration(configuration))
    assert without_group_numbers(printed) == without_group_numbers(adapt_configuration(configuration))


MATCHERS = st.sampled_from(["", "*", "/a", "/a*", "/a/*", "/b/*", "/longer/*", "@get", "@not", "@host"])
LINES = st.one_of(
    st.builds("respond {0} text".format, MATCHERS),
    st.builds("rewrite {0} /to".format, MATCHERS.filter(bool)),
    st.builds("vars {0} name value".format, MATCHERS),
    st.builds("root {0} /srv".format, MATCHERS),
    st.builds("header {0} X-A b".format, MATCHERS),
    st.builds("redir {0} https://elsewhere.example".format, MATCHERS),
    st.builds("uri {0} strip_prefix /a".format, MATCHERS),
    st.builds("error {0} 404".format, MATCHERS),
    st.builds("reverse_proxy {0} localhost:1".format, MATCHERS),
    st.builds("method {0} PUT".format, MATCHERS),
    st.builds("try_files {0} {{path}} /index.php?{{query}}".format, MATCHERS.filter(bool)),
)


def blocks(inner):
    body = st.lists(inner, max_size=4).map("\n".join)
    heads = st.sampled_from(
        ["handle", "handle /x/*", "handle @get", "handle_path /p/*", "route", "route /r*"]
    )
    return st.builds("{0} {{\n{1}\n}}".format, heads, body)


BODIES = st.lists(st.recursive(LINES, blocks, max_leaves=6), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=BODIES, second=BODIES)
def test_generated_sites_adapt_as_in_stock_caddy(first, second, stock_caddy):
    matchers = "@get method GET\n@not not path /n\n@host host a.example\n"
    text = "".join(
        f"{address} {{\n{matchers}" + "\n".join(body) + "\n}\n"
        for address, body in (("http://a.example, https://a.example", first), ("*.example:8443", second))
    )
    configuration, diagnostics = read_configuration(text, environment={})
    assert diagnostics == ()
    assert adapt_configuration(configuration) == stock_caddy.adapt(text)


LONG = st.lists(
    st.sampled_from(["/a", "/bb*", "*.ccc", "*.dddd", "/eeeee/*", "@two", "@get", "@not", ""]), min_size=21
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paths=LONG)
def test_many_directives_of_a_kind_are_sorted_as_in_stock_caddy(paths, stock_caddy):
    """Beyond 20 Go's stable sort merges, and the comparison of paths is no order: the merge shows."""
    lines = "\n".join(f"\theader {path} X-At {at}" for at, path in enumerate(paths))
    text = f":80 {{\n\t@get method GET\n\t@not not path /n\n\t@two path /x /y\n{lines}\n}}\n"
    configuration, diagnostics = read_configuration(text, environment={})
    assert diagnostics == ()
    assert adapt_configuration(configuration) == stock_caddy.adapt(text)


@pytest.mark.parametrize(
    "upstream",
    ["a:80/", "a:80/b/", "a/b", "a:80-81/c", ":80/x", "tcp/a:80", "tcp/{x}", "{x}/y", "[::1]/x", "unix//a/b"],
)
def test_a_slash_in_an_upstream_ends_the_name_of_a_network(upstream, stock_caddy):
    text = f":80 {{\n\treverse_proxy {upstream}\n}}\n"
    configuration, diagnostics = read_configuration(text, environment={})
    assert diagnostics == ()
    assert adapt_configuration(configuration) == stock_caddy.adapt(text)


@pytest.mark.parametrize(
    "block",
    [
        "reverse_proxy a:1 {\n@e status 502\nhandle_response @e {\nrewrite * /502.html\nrespond x\n}\n}",
        "reverse_proxy a:1 {\nhandle_response {\n}\nhandle_response {\nhandle {\nrespond x\n}\n}\n}",
        "reverse_proxy a:1 {\nreplace_status 404\n}",
        "intercept {\nhandle_response {\nroot * /a\nroot /x /b\nrespond x\n}\n}",
        "forward_auth a:1 {\nuri /\ncopy_headers b\nhandle_response {\nrespond x\n}\n}",
        "php_fastcgi a:1 {\nhandle_response {\nrespond x\n}\n}",
        "route {\nheader a b\nrewrite x\n}",
        "handle_errors {\nrespond x\n}",
        "invoke a",
    ],
)
def test_groups_are_numbered_as_in_stock_caddy(block, stock_caddy):
    named = "&(a) {\nrewrite a\nhandle /a {\nrespond a\n}\nhandle {\nrespond b\n}\n}\n"
    place = block if block.startswith("handle_errors") else f"handle {{\n{block}\n}}"
    text = f"{named}:80 {{\nhandle /a {{\nrespond a\n}}\n{place}\nhandle /b {{\nrespond b\n}}\n}}\n"
    configuration, diagnostics = read_configuration(text, environment={})
    assert diagnostics == ()
    assert adapt_configuration(configuration) == stock_caddy.adapt(text)


@pytest.mark.parametrize("body", ["respond x", "tls internal", "tls {\n\t\ton_demand\n\t}"])
@pytest.mark.parametrize(
    "address", ["https://", "https://, a.example", "https://:8443", ":443", "https:///x"]
)
@pytest.mark.parametrize("options", ["", "{\n\tauto_https off\n}\n", "{\n\tdefault_sni a.example\n}\n"])
def test_policies_of_sites_without_a_name_are_as_in_stock_caddy(options, address, body, stock_caddy):
    text = f"{options}{address} {{\n\t{body}\n}}\n"
    configuration, _ = read_configuration(text, environment={})
    assert adapt_configuration(configuration) == stock_caddy.adapt(text)


def test_an_empty_file_is_refused_and_one_of_comments_is_not(stock_caddy):
    _, (finding,) = read_configuration("", environment={})
    assert finding.help
    assert stock_caddy.refuses("")
    configuration, findings = read_configuration("# nothing\n", environment={})
    assert findings == ()
    assert adapt_configuration(configuration) == stock_caddy.adapt("# nothing\n")
