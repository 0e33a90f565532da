"""Words that stock Caddy reads over, or for fields of their own: adapted as there, with a warning."""

import pytest
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Severity

WARNED = [
    "header X-A a b stray more",
    "header +X-A b stray more",
    "header ?X-A b stray more",
    "header {\n\tX-A a b X-B c\n}",
    "header {\n\tdefer X-A: b\n}",
    "intercept stray",
    "log_append a b stray",
    "push /x /y stray",
    "request_body stray",
    "templates stray",
    "templates {\n\tstray a b\n\tmime text/plain\n}",
    "timeouts stray",
]
SILENT = [
    "push /x {\n\t/y /z\n\tGET /a /b\n\tHEAD /c\n}",
    "timeouts {\n\tread_timeout 5s 1000\n\twrite_timeout 1m\n\tmax_write_chunk 64KiB\n}",
    "@tls tls\nrespond @tls x",
    "@tls {\n\ttls early_data\n\tpath /x\n}\nrespond @tls x",
    "reverse_proxy a:1 {\n\ttransport http {\n\t\ttls_trust_pool system\n\t}\n}",
]


def read(lines):
    text = f":8080 {{\n{lines}\n}}\n"
    configuration, findings = read_configuration(text, environment={})
    return text, adapt_configuration(configuration), findings


@pytest.mark.parametrize("lines", WARNED)
def test_stray_words_are_left_out_with_a_warning(lines, stock_caddy):
    text, adapted, findings = read(lines)
    assert adapted == stock_caddy.adapt(text)
    assert {(one.code, one.severity) for one in findings} == {(Code.ZS0102, Severity.WARNING)}
    assert all(one.span.line and one.help for one in findings)


@pytest.mark.parametrize("lines", SILENT)
def test_these_are_adapted_without_a_word(lines, stock_caddy):
    text, adapted, findings = read(lines)
    assert findings == ()
    assert adapted == stock_caddy.adapt(text)


@pytest.mark.parametrize(
    "lines",
    [
        "log_append a",
        "@tls tls late\nrespond @tls x",
        "timeouts {\n\tread_timeout\n}",
        "timeouts {\n\tread 5s\n}",
    ],
)
def test_what_makes_no_sense_is_refused_by_both(lines, stock_caddy):
    text, _, findings = read(lines)
    assert Severity.ERROR in {one.severity for one in findings}
    assert stock_caddy.refuses(text)
