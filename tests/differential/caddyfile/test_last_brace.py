"""A file whose last brace is missing: Caddy takes the one before it for the site's, too."""

import pytest
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Severity

TAKEN = {
    "a site": "a.example {\n\thandle {\n\t\trespond x\n\t}\n",
    "a matcher": "a.example {\n\trespond x\n\t@m {\n\t\tpath /\n\t}\n# the end\n",
    "global options": "{\n\tservers {\n\t}\n",
}
REFUSED = {
    "no brace at all": "a.example {\n\trespond x\n",
    "two are missing": "a.example {\n\thandle {\n\t\troute {\n\t\t}\n",
    "a snippet": "(a) {\n\thandle {\n\t}\n",
    "a named route": "&(a) {\n\thandle {\n\t}\n",
}


@pytest.mark.parametrize("case", TAKEN)
def test_taken_with_a_warning(case, stock_caddy):
    configuration, (found,) = read_configuration(TAKEN[case], environment={})
    assert (found.code, found.severity) == (Code.ZS0002, Severity.WARNING)
    assert adapt_configuration(configuration) == stock_caddy.adapt(TAKEN[case])


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, stock_caddy):
    _, findings = read_configuration(REFUSED[case], environment={})
    assert Severity.ERROR in {found.severity for found in findings}
    assert stock_caddy.refuses(REFUSED[case])
