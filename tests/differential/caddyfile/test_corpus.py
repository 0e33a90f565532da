"""Caddy's own adapter fixtures, where they are at hand beside the repository.

What we adapt without a finding must equal Caddy's JSON; what Caddy refuses we refuse, but for ACME's
DNS options, which we only warn about until certificates are obtained automatically.
"""

import json
from pathlib import Path

import pytest
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.diagnostics import Severity

CORPUS = Path(__file__).parents[4] / "shared" / "corpora" / "caddy" / "adapt"
CASES = sorted(CORPUS.glob("*.caddyfiletest"))
REFUSED_BY_CADDY_ALONE = {
    "acme_dns_naked_without_dns",
    "tls_dns_multiple_options_without_provider",
    "tls_dns_propagation_timeout_without_provider",
    "tls_dns_propagation_without_provider",
}


@pytest.mark.corpora
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_fixture(case, monkeypatch):
    monkeypatch.chdir(CORPUS)
    text, _, expected = case.read_text().partition("----------")
    configuration, diagnostics = read_configuration(text, environment={})
    refused = any(one.severity is Severity.ERROR for one in diagnostics)
    if not expected.strip().startswith("{"):
        assert refused or case.stem in REFUSED_BY_CADDY_ALONE
    elif not diagnostics:
        assert adapt_configuration(configuration) == json.loads(expected)
    else:
        assert all(one.span.line and one.help for one in diagnostics)
