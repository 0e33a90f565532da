"""`<case>.caddyfile` adapts to `<case>.json`, which stock Caddy wrote (`caddy adapt`)."""

import json
from pathlib import Path

import pytest
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration

CASES = sorted(Path(__file__).parent.glob("*.caddyfile"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_adapts_to_what_stock_caddy_wrote(case):
    configuration, diagnostics = read_configuration(case.read_text(), environment={})
    assert diagnostics == ()
    assert adapt_configuration(configuration) == json.loads(case.with_suffix(".json").read_text())


def test_there_is_a_case_for_each_json():
    assert {case.stem for case in CASES} == {path.stem for path in Path(__file__).parent.glob("*.json")}
    assert len(CASES) > 20
