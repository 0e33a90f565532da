"""`encode`: what it reads, what it refuses, what it becomes."""

import pytest
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.printer import print_configuration
from zeroserve_ir.program.lowering import lower_site
from zeroserve_ir.tree import Encode
from zeroserve_ir.tree_encode import Encoder, ResponseMatcher


def read(text):
    configuration, findings = read_configuration(f":80 {{\n{text}\n}}\n", environment={})
    handlers = [one for site in configuration.sites for route in site.routes for one in route.handlers]
    return configuration, next((one for one in handlers if isinstance(one, Encode)), None), findings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("encode", Encode((Encoder("zstd"), Encoder("gzip")))),
        ("encode gzip zstd br", Encode((Encoder("gzip"), Encoder("zstd"), Encoder("br")))),
        ("encode gzip {\nzstd best\n}", Encode((Encoder("zstd", "best"), Encoder("gzip")))),
        (
            "encode {\nzstd {\nlevel better\ndisable_checksum\n}\nbr 3\ngzip 0\n}",
            Encode((Encoder("zstd", "better", checksum=False), Encoder("br", "3"), Encoder("gzip"))),
        ),
        (
            "encode gzip {\nminimum_length 7\nmatch status 2xx 404\n}",
            Encode((Encoder("gzip"),), 7, ResponseMatcher((2, 404))),
        ),
        (
            "encode gzip {\nmatch {\nheader A b*\nheader A c\nheader !D\n}\n}",
            Encode((Encoder("gzip"),), 0, ResponseMatcher(None, (("A", ("b*", "c")), ("D", None)))),
        ),
    ],
)
def test_every_form_is_read_and_printed(text, expected):
    configuration, handler, findings = read(text)
    assert (handler, findings) == (expected, ())
    printed = print_configuration(configuration)
    again, findings = read_configuration(printed, environment={})
    assert (again, findings) == (configuration, ())
    assert adapt_configuration(again) == adapt_configuration(configuration)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("encode deflate", "ZS0109"),
        ("encode gzip gzip", "ZS0103"),
        ("encode {\ngzip 10\n}", "ZS0103"),
        ("encode {\ngzip fast\n}", "ZS0103"),
        ("encode {\nbr 12\n}", "ZS0103"),
        ("encode {\nzstd 3\n}", "ZS0103"),
        ("encode {\nzstd best {\nlevel best\n}\n}", "ZS0103"),
        ("encode {\nminimum_length\n}", "ZS0102"),
        ("encode {\nmatch path /x\n}", "ZS0109"),
        ("encode {\nmatch status 4x\n}", "ZS0103"),
        ("encode {\nmatch status\n}", "ZS0102"),
    ],
)
def test_what_is_wrong_is_refused_where_it_stands(text, code):
    _, _, findings = read(text)
    assert [finding.code.name for finding in findings] == [code]
    assert findings[0].help


def test_defaults_are_caddys():
    configuration, _, _ = read("encode\nrespond hello")
    (row,) = lower_site(configuration.sites[0]).tables.encodings
    assert row.length_bytes_min == 512
    assert [(one.coding, one.level, one.checksum) for one in row.encoders] == [(1, 3, True), (0, 5, True)]
    (field,) = row.matcher.headers
    assert (field.field, len(field.values), field.values[-1]) == ("Content-Type", 35, "text/*")
