"""Each directive, subdirective, matcher, option and placeholder has its standing in both profiles."""

import pytest
from zeroserve_ir.caddyfile.meaning.bodies import read_site_body
from zeroserve_ir.caddyfile.meaning.ordering import DIRECTIVE_ORDER
from zeroserve_ir.caddyfile.meaning.profiles import ROWS, Kind, Standing, placeholder_row
from zeroserve_ir.caddyfile.meaning.shorthands import SHORTHANDS
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.codes import Code
from zeroserve_ir.sources import Origin

DIRECTIVES = sorted(name for kind, name in ROWS if kind is Kind.DIRECTIVE)
MATCHERS = sorted(name for kind, name in ROWS if kind is Kind.MATCHER)
PLACEHOLDERS = sorted(name for kind, name in ROWS if kind is Kind.PLACEHOLDER)
EXPECTED = {
    Standing.ALLOWED: None,
    Standing.CARRIED: None,
    Standing.INERT: Code.ZS0110,
    Standing.LATER: Code.ZS0110,
    Standing.REFUSED: Code.ZS0201,
}


def profile_codes(text):
    """Return the codes of the same text in the local and in the tenant profile."""
    local = read_configuration(f"a.example {{\n{text}\n}}", environment={})[1]
    tenant = read_site_body(
        text, hosts=["a.example"], namespace="n", origin=Origin("ZeroserveRoute", "n", "r", "spec.caddyfile")
    )[2]
    return {one.code for one in local}, {one.code for one in tenant}


def assert_standing(codes, standing):
    expected = EXPECTED[standing]
    if expected is None:
        assert not codes & {Code.ZS0110, Code.ZS0201}
    else:
        assert expected in codes


@pytest.mark.parametrize("name", DIRECTIVES)
def test_directives(name):
    row = ROWS[Kind.DIRECTIVE, name]
    local, tenant = profile_codes(name)
    assert_standing(local, row.local)
    assert_standing(tenant, row.tenant)


@pytest.mark.parametrize("name", MATCHERS)
def test_matchers(name):
    row = ROWS[Kind.MATCHER, name]
    local, tenant = profile_codes(f"@m {name}")
    assert_standing(local, row.local)
    assert_standing(tenant, row.tenant)


@pytest.mark.parametrize("name", PLACEHOLDERS)
def test_placeholders(name):
    row = ROWS[Kind.PLACEHOLDER, name]
    # Without the slash `{file.x}` is short for a part of the path.
    example = name.replace("*", "/some/name" if name == "file.*" else "some-name")
    local, tenant = profile_codes(f"respond {{{example}}}")
    assert_standing(local, row.local)
    assert_standing(tenant, row.tenant)


BLOCKS = {
    "reverse_proxy": "reverse_proxy a:1 {{\n{0}\n}}",
    "transport": "reverse_proxy a:1 {{\ntransport http {{\n{0}\n}}\n}}",
    "lb_policy": "reverse_proxy a:1 {{\nlb_policy {0}\n}}",
    "request_body": "request_body {{\n{0}\n}}",
    "header": "header {{\n{0}\n}}",
}
SUBDIRECTIVES = sorted(name for kind, name in ROWS if kind is Kind.SUBDIRECTIVE and name.split()[0] in BLOCKS)


@pytest.mark.parametrize("name", SUBDIRECTIVES)
def test_subdirectives(name):
    row = ROWS[Kind.SUBDIRECTIVE, name]
    owner, inner = name.split()
    local, tenant = profile_codes(BLOCKS[owner].format(inner))
    assert_standing(local, row.local)
    assert_standing(tenant, row.tenant)


def test_every_ordered_directive_of_caddy_has_a_row():
    assert set(DIRECTIVE_ORDER) <= set(DIRECTIVES)


@pytest.mark.parametrize("name", sorted(SHORTHANDS.values()))
def test_every_shorthand_stands_for_a_placeholder_with_a_row(name):
    assert placeholder_row(name) is not None


def test_options_and_site_directives_are_the_owners_alone():
    for (kind, name), row in ROWS.items():
        owned = kind is Kind.OPTION or name.split()[0] in ("bind", "log", "tls", "servers")
        if owned and kind is not Kind.MATCHER:
            assert row.tenant is Standing.REFUSED, name
