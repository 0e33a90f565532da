"""`cache`, `fault` and `bandwidth` are read, printed and encoded; what says nothing sensible is refused."""

import pytest
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.printer import print_configuration
from zeroserve_ir.codes import Code

TEXT = """http://a.example {
	cache /api/* 1m {
		ttl 1h 404 410
		stale 10s
		key "{path} {header.x-tenant}"
		max_size 2MB
		purge private_ranges 192.0.2.1
	}
	cache
	fault /api/* {
		delay 1.5s 10%
		abort 503 0.25
	}
	concurrency 10
	concurrency /api/* 5 {header.x-key}
	bandwidth /files/* 1MB 10MB
	bandwidth {
		limit 100KB
	}
	respond ok
}
"""


def handlers(found):
    match found:
        case {"handler": str()}:
            yield found
            for value in found.values():
                yield from handlers(value)
        case dict():
            for value in found.values():
                yield from handlers(value)
        case list():
            for value in found:
                yield from handlers(value)


def encoded(name):
    configuration, diagnostics = read_configuration(TEXT, environment={})
    assert diagnostics == ()
    return [one for one in handlers(adapt_configuration(configuration)) if one["handler"] == name]


def test_a_cache_is_encoded_with_all_it_says():
    bare, full = encoded("cache")
    assert full["times"] == [{"ttl": 60_000_000_000}, {"ttl": 3_600_000_000_000, "statuses": [404, 410]}]
    assert (full["stale"], full["max_size"]) == (10_000_000_000, 2_000_000)
    assert full["key"] == "{http.request.uri.path} {http.request.header.x-tenant}"
    assert {"10.0.0.0/8", "192.0.2.1"} <= set(full["purge"])
    assert bare == {"handler": "cache"}


def test_faults_are_shares_of_a_million():
    assert encoded("fault") == [
        {
            "handler": "fault",
            "delay": {"duration": 1_500_000_000, "in_million": 100_000},
            "abort": {"status": 503, "in_million": 2500},
        }
    ]


def test_a_bandwidth_is_encoded_as_the_plugin_of_that_name_has_it():
    assert encoded("bandwidth") == [
        {"handler": "bandwidth", "limit": 100_000},
        {"handler": "bandwidth", "limit": 1_000_000, "free": 10_000_000},
    ]


def test_concurrency_is_counted_by_client_or_by_a_key():
    assert [(one["max"], one["key"]) for one in encoded("concurrency")] == [
        (5, "{http.request.header.x-key}"),
        (10, "{http.vars.client_ip}"),
    ]


def test_what_is_printed_reads_the_same():
    configuration, _ = read_configuration(TEXT, environment={})
    assert read_configuration(print_configuration(configuration), environment={})[0] == configuration


@pytest.mark.parametrize(
    ("directive", "code"),
    [
        ("cache 1m 2m", Code.ZS0102),
        ("cache soon", Code.ZS0103),
        ("cache -1m", Code.ZS0103),
        ("cache {\nttl 1m 206\n}", Code.ZS0103),
        ("cache {\nttl 1m 1000\n}", Code.ZS0103),
        ("cache {\nttl\n}", Code.ZS0102),
        ("cache {\npurge everybody\n}", Code.ZS0103),
        ("cache {\npurge\n}", Code.ZS0102),
        ("cache {\nengine redis\n}", Code.ZS0109),
        ("fault", Code.ZS0102),
        ("fault {\nabort 200\n}", Code.ZS0103),
        ("fault {\nabort 503 101%\n}", Code.ZS0103),
        ("fault {\nabort 503 0%\n}", Code.ZS0103),
        ("fault {\ndelay 11m\n}", Code.ZS0103),
        ("fault {\nreset\n}", Code.ZS0102),
        ("fault {\nreset now\n}", Code.ZS0109),
        ("concurrency", Code.ZS0102),
        ("concurrency 0", Code.ZS0103),
        ("concurrency many", Code.ZS0103),
        ("bandwidth", Code.ZS0102),
        ("bandwidth 100", Code.ZS0103),
        ("bandwidth fast", Code.ZS0103),
        ("bandwidth 1MB 1MB 1MB", Code.ZS0102),
        ("bandwidth {\nrate 1MB\n}", Code.ZS0109),
    ],
)
def test_what_makes_no_sense_is_refused(directive, code):
    _, diagnostics = read_configuration(f"http://a {{\n{directive}\n}}", environment={})
    assert [one.code for one in diagnostics] == [code]
