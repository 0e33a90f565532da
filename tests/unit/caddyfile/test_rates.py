"""`rate_limit` is read, printed and encoded; what has no rate is refused."""

import pytest
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.printer import print_configuration
from zeroserve_ir.codes import Code

TEXT = """http://a.example {
	rate_limit /api/* {
		zone clients {
			key {client_ip}
			events 100
			window 1m
		}
		zone keys {
			key {header.x-key}
			rate 10/s
			burst 20
		}
	}
	respond ok
}
"""


def test_zones_are_encoded_as_the_module_of_caddy_names_them():
    configuration, diagnostics = read_configuration(TEXT, environment={})
    assert diagnostics == ()
    shown = str(adapt_configuration(configuration))
    clients = "{'key': '{http.vars.client_ip}', 'max_events': 100, 'window': 60000000000}"
    keys = "{'key': '{http.request.header.x-key}', 'max_events': 10, 'window': 1000000000, 'burst': 20}"
    assert f"'rate_limits': {{'clients': {clients}, 'keys': {keys}}}" in shown


def test_what_is_printed_reads_the_same():
    configuration, _ = read_configuration(TEXT, environment={})
    assert read_configuration(print_configuration(configuration), environment={})[0] == configuration


@pytest.mark.parametrize(
    ("zone", "code"),
    [
        ("key a", Code.ZS0102),
        ("events 0\nwindow 1s", Code.ZS0103),
        ("rate fast", Code.ZS0103),
        ("match path", Code.ZS0109),
    ],
)
def test_a_zone_without_a_rate_is_refused(zone, code):
    _, diagnostics = read_configuration(
        f"http://a {{\nrate_limit {{\nzone z {{\n{zone}\n}}\n}}\n}}", environment={}
    )
    assert [one.code for one in diagnostics] == [code]
