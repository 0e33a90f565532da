"""`templates`: what it reads, what it refuses, what it becomes."""

import pytest
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.program.lowering import lower_site
from zeroserve_ir.tree_templates import Templates


def read(text):
    configuration, findings = read_configuration(f":80 {{\n{text}\n}}\n", environment={})
    handlers = [one for site in configuration.sites for route in site.routes for one in route.handlers]
    return configuration, next((one for one in handlers if isinstance(one, Templates)), None), findings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("templates", Templates()),
        ("templates {\nmime text/css text/x\n}", Templates(("text/css", "text/x"))),
        ("templates {\nbetween <% %>\nroot /srv\n}", Templates((), ("<%", "%>"), "/srv")),
        ("templates {\nextensions {\n}\n}", Templates()),
    ],
)
def test_reads(text, expected):
    _, found, findings = read(text)
    assert (found, findings) == (expected, ())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("templates word", "ZS0102"),
        ("templates {\nunknown\n}", "ZS0102"),
        ("templates {\nmime\n}", "ZS0102"),
        ("templates {\nbetween <%\n}", "ZS0102"),
        ("templates {\nroot a b\n}", "ZS0102"),
        ("templates {\nextensions {\ncomponents\n}\n}", "ZS0110"),
    ],
)
def test_refuses(text, code):
    _, _, findings = read(text)
    assert [finding.code.name for finding in findings] == [code]


def test_rows_hold_the_defaults_of_caddy():
    configuration, _, _ = read("templates")
    (row,) = lower_site(configuration.sites[0]).tables.templates
    assert list(row.mime_types) == ["text/html", "text/plain", "text/markdown"]
    assert (row.open, row.close) == ("{{", "}}")
    assert row.root.parts[0].placeholder == "http.vars.root"
