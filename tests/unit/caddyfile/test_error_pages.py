"""docs/errors: each page's example has the finding that the page is about, and its cure has none."""

import re
from pathlib import Path

import pytest
from zeroserve_ir.caddyfile.meaning.bodies import read_site_body
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.codes import Code
from zeroserve_ir.sources import Origin

PAGES = Path(__file__).parents[3] / "docs" / "errors"
CODES = [code for code in Code if code.name[:4] in ("ZS00", "ZS01", "ZS02")]


def codes(text, tenant):
    if tenant:
        origin = Origin("ZeroserveRoute", "n", "r", "spec.caddyfile")
        return {one.code for one in read_site_body(text, hosts=[], namespace="n", origin=origin)[2]}
    return {one.code for one in read_configuration(text, environment={})[1]}


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_the_page_says_what_is_true(code):
    page = (PAGES / f"{code.name}.md").read_text()
    assert page.startswith(f"# {code.name}: {code.value}\n")
    examples = re.findall(r"```caddyfile\n(.*?)```", page, re.DOTALL)
    if not examples:
        return
    bad, good = examples
    assert code in codes(bad, code is Code.ZS0201)
    assert codes(good, code is Code.ZS0201) == set()
