"""`rate_limit` is read, printed and encoded; what has no rate is refused."""

import pytest
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.meaning.profiles import ROWS, Kind, Standing
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


SHARED = """{
	rate_limit_store redis://:secret@10.0.0.5:6379/2
}
http://a.example {
	rate_limit {
		zone keys {
			events 5
			window 1m
			shared
		}
		zone own {
			rate 1/s
		}
		store_down closed
	}
	respond ok
}
"""


def test_shared_zones_and_their_store_are_encoded_and_printed():
    configuration, diagnostics = read_configuration(SHARED, environment={})
    assert diagnostics == ()
    adapted = adapt_configuration(configuration)
    assert adapted["apps"]["zeroserve"] == {"rate_limit_store": "redis://:secret@10.0.0.5:6379/2"}
    assert "'window': 60000000000, 'shared': True}" in str(adapted)
    assert str(adapted).count("'shared'") == 1
    assert "'store_down': 'closed'" in str(adapted)
    assert read_configuration(print_configuration(configuration), environment={})[0] == configuration


def test_distributed_shares_all_zones():
    text = TEXT.replace("/api/* {", "/api/* {\n\t\tdistributed {\n\t\t\tread_interval 5s\n\t\t}")
    configuration, diagnostics = read_configuration(text, environment={})
    assert [one.code for one in diagnostics] == [Code.ZS0110]
    assert str(adapt_configuration(configuration)).count("'shared': True") == 2


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.5:6379",
        "http://a",
        "redis://",
        "redis://a/b",
        "redis://a:b",
        "redis://a?db=1",
        "redis://a?ssl_ca_certs=/ca.crt",
        "rediss://a?ssl_cert_reqs=none",
        "rediss://a?ssl_ca_certs=",
        "rediss://a?ssl_ca_certs",
        "rediss://a?ssl_ca_certs=/one&ssl_ca_certs=/two",
        "rediss://a?ssl_certfile=/tls.crt",
    ],
)
def test_what_is_no_address_of_a_store_is_refused_without_being_shown(address):
    _, diagnostics = read_configuration(f"{{\nrate_limit_store {address}\n}}\n", environment={})
    assert [one.code for one in diagnostics] == [Code.ZS0103]
    assert address not in diagnostics[0].message


def test_a_store_behind_tls_may_name_files_and_the_server():
    parameters = "ssl_ca_certs=/ca.crt&ssl_certfile=/tls.crt&ssl_keyfile=/tls.key&ssl_server_name=a.example"
    address = f"rediss://user:p%40ss@[2001:db8::1]:6380/3?{parameters}"
    configuration, diagnostics = read_configuration(f"{{\nrate_limit_store {address}\n}}\n", environment={})
    assert not diagnostics
    assert adapt_configuration(configuration)["apps"]["zeroserve"] == {"rate_limit_store": address}


def test_tenants_name_no_store():
    assert ROWS[Kind.OPTION, "rate_limit_store"].tenant is Standing.REFUSED


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
        ("shared yes", Code.ZS0109),
    ],
)
def test_a_zone_without_a_rate_is_refused(zone, code):
    _, diagnostics = read_configuration(
        f"http://a {{\nrate_limit {{\nzone z {{\n{zone}\n}}\n}}\n}}", environment={}
    )
    assert [one.code for one in diagnostics] == [code]
