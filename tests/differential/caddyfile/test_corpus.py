"""Caddy's own adapter fixtures, where they are at hand beside the repository.

What Caddy adapts we adapt to an equal JSON; what Caddy refuses we refuse, at a line. All of their JSON is
decoded and encoded without loss.
"""

import json
import shutil
from pathlib import Path

import pytest
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.decoding import decode_configuration, encode_configuration
from zeroserve_ir.caddyfile.invoking import expand_named_routes
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.printer import print_configuration
from zeroserve_ir.diagnostics import Severity

pytestmark = pytest.mark.corpora

CORPUS = Path(__file__).parents[4] / "shared" / "corpora" / "caddy" / "adapt"
CASES = sorted(CORPUS.glob("*.caddyfiletest"))
PLUGINS = ("tls_client_auth_cert_file-legacy-with-verifier",)
"""Fixtures with a module of Caddy's own tests (the verifier `dummy`), which stock Caddy refuses too."""


def split(case):
    text, _, expected = case.read_text().partition("----------")
    return text, expected.strip()


ADAPTED = [case for case in CASES if split(case)[1].startswith("{")]
REFUSED = [case for case in CASES if case not in ADAPTED]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Caddy's tests run below a directory that holds its test certificates."""
    for file in (CORPUS / "support").iterdir():
        shutil.copy(file, tmp_path)
    inner = tmp_path / "integration"
    inner.mkdir()
    shutil.copytree(CORPUS / "testdata", inner / "testdata")
    monkeypatch.chdir(inner)
    return inner


def errors_of(findings):
    return [one for one in findings if one.severity is Severity.ERROR]


@pytest.mark.parametrize("case", ADAPTED, ids=lambda case: case.stem)
def test_what_caddy_adapts(case, folder):
    text, expected = split(case)
    configuration, findings = read_configuration(text, environment={})
    errors = errors_of(findings)
    if case.stem in PLUGINS:
        assert errors
        assert all(one.span.line and one.help for one in errors)
    else:
        assert errors == []
        assert adapt_configuration(configuration) == json.loads(expected)


@pytest.mark.parametrize("case", ADAPTED, ids=lambda case: case.stem)
def test_its_json_is_decoded_without_loss(case):
    expected = split(case)[1]
    adapted, findings = decode_configuration(expected, case.name)
    assert findings == []
    assert encode_configuration(adapted) == json.loads(expected)


@pytest.mark.parametrize(
    "case", [case for case in ADAPTED if case.stem not in PLUGINS], ids=lambda case: case.stem
)
def test_what_is_printed_of_it_reads_back(case, folder):
    configuration, _ = read_configuration(split(case)[0], environment={})
    printed = print_configuration(expand_named_routes(configuration))
    assert errors_of(read_configuration(printed, environment={})[1]) == []


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.stem)
def test_what_caddy_refuses(case, folder):
    text, _ = split(case)
    _, findings = read_configuration(text, environment={})
    first = errors_of(findings)[0]
    line = text.split("\n")[first.span.line - 1]
    assert line[first.span.column - 1 : first.span.end - 1].strip()
