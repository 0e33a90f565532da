"""`layer4`: the syntax of caddy-l4, Caddy's JSON of its app, and what is drafted of it."""

import datetime

import pytest
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.printer import print_configuration
from zeroserve_ir.codes import Code
from zeroserve_ir.drafting_sites import draft_sites
from zeroserve_ir.site_certificates import LocalCertificates

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
TEXT = """{
	layer4 {
		:443 {
			@a tls sni A.example *.b.example
			route @a {
				proxy 10.0.0.1:443
			}
		}
		127.0.0.1:5432 {
			route {
				tls
				proxy {
					upstream 10.0.0.2:5432 10.0.0.3:5432
					proxy_protocol v2
				}
			}
		}
	}
}

site.example {
	respond x
}
"""


def read(text):
    configuration, findings = read_configuration(text, environment={})
    assert findings == ()
    return configuration


def test_the_json_is_that_of_the_app():
    assert adapt_configuration(read(TEXT))["apps"]["layer4"] == {
        "servers": {
            "srv0": {
                "listen": [":443"],
                "routes": [
                    {
                        "match": [{"tls": {"sni": ["a.example", "*.b.example"]}}],
                        "handle": [{"handler": "proxy", "upstreams": [{"dial": ["10.0.0.1:443"]}]}],
                    }
                ],
            },
            "srv1": {
                "listen": ["127.0.0.1:5432"],
                "routes": [
                    {
                        "handle": [
                            {"handler": "tls"},
                            {
                                "handler": "proxy",
                                "proxy_protocol": "v2",
                                "upstreams": [{"dial": ["10.0.0.2:5432"]}, {"dial": ["10.0.0.3:5432"]}],
                            },
                        ]
                    }
                ],
            },
        }
    }


def test_what_is_printed_is_read_again():
    configuration = read(TEXT)
    assert adapt_configuration(read(print_configuration(configuration))) == adapt_configuration(configuration)


def test_streams_share_the_listener_of_sites_or_open_their_own():
    drafted = draft_sites(read(TEXT), certificates=LocalCertificates.create(NOW), now=NOW)
    assert drafted.diagnostics == ()
    listeners, hosts = {}, {}
    for resource in drafted.draft.resources.values():
        if resource.type == pb.LISTENER:
            listeners[resource.name] = pb.Listener.FromString(resource.payload)
        if resource.type == pb.VIRTUAL_HOST and pb.VirtualHost.FromString(resource.payload).stream:
            hosts[resource.name] = pb.VirtualHost.FromString(resource.payload)
    assert listeners["https-443"].transport == pb.HTTP
    own = listeners["stream-5432-127.0.0.1"]
    assert (own.transport, own.tls, own.address, own.port) == (pb.TCP, True, "127.0.0.1", 5432)
    assert {name: (host.stream, list(host.hosts), list(host.listeners)) for name, host in hosts.items()} == {
        "stream://*.b.example@https-443": (
            pb.PASS_THROUGH,
            ["*.b.example", "a.example"],
            ["https-443"],
        ),
        "stream://*@stream-5432-127.0.0.1": (pb.TERMINATE, [""], ["stream-5432-127.0.0.1"]),
    }


def test_a_stream_of_any_name_does_not_take_a_site_s_port():
    text = "{\n layer4 {\n :443 {\n route {\n proxy a:1\n }\n }\n }\n}\na.example {\n}\n"
    drafted = draft_sites(read(text), certificates=LocalCertificates.create(NOW), now=NOW)
    assert [finding.code for finding in drafted.diagnostics] == [Code.ZS0107]


@pytest.mark.parametrize(
    "inside",
    [
        "x { route { proxy a:1 } }",
        "udp/:53 {\n route {\n proxy a:1\n }\n }",
        ":1 {\n }",
        ":1 {\n route {\n }\n }",
        ":1 {\n route {\n echo\n }\n }",
        ":1 {\n route @a {\n proxy a:1\n }\n }",
        ":1 {\n @a http\n route @a {\n proxy a:1\n }\n }",
        ":1 {\n route {\n proxy a:1 {\n proxy_protocol v3\n }\n }\n }",
        ":1 {\n route {\n proxy\n }\n }",
    ],
)
def test_what_is_not_supported_is_refused(inside):
    _, findings = read_configuration(f"{{\n layer4 {{\n {inside}\n }}\n}}\n", environment={})
    assert findings
