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
from zeroserve_ir.sources import NOWHERE
from zeroserve_ir.stream_sites import list_streams

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


DATAGRAMS = """{
	layer4 {
		udp/:53 udp/[::1]:54 {
			idle_timeout 5s
			@inside {
				remote_ip 10.0.0.0/8 fd00::/8
				not remote_ip 10.0.0.1
			}
			route @inside {
				proxy udp/10.0.0.4:53 udp/10.0.0.5:53 {
					lb_policy random_choose 2
				}
			}
		}
	}
}
"""


def test_datagrams_and_addresses_are_in_the_json_of_the_app():
    assert adapt_configuration(read(DATAGRAMS))["apps"]["layer4"]["servers"]["srv0"] == {
        "listen": ["udp/:53", "udp/[::1]:54"],
        "routes": [
            {
                "match": [
                    {
                        "remote_ip": {"ranges": ["10.0.0.0/8", "fd00::/8"]},
                        "not": [{"remote_ip": {"ranges": ["10.0.0.1"]}}],
                    }
                ],
                "handle": [
                    {
                        "handler": "proxy",
                        "load_balancing": {"selection": {"policy": "random_choose", "choose": 2}},
                        "upstreams": [{"dial": ["udp/10.0.0.4:53"]}, {"dial": ["udp/10.0.0.5:53"]}],
                    }
                ],
            }
        ],
        "zeroserve": {"idle_timeout": 5 * 10**9},
    }
    again = read(print_configuration(read(DATAGRAMS)))
    assert adapt_configuration(again) == adapt_configuration(read(DATAGRAMS))


def test_datagrams_have_listeners_of_their_own_whose_hosts_judge_clients():
    drafted = draft_sites(read(DATAGRAMS), certificates=LocalCertificates.create(NOW), now=NOW)
    assert drafted.diagnostics == ()
    listeners, hosts, endpoints = [], [], []
    for resource in drafted.draft.resources.values():
        match resource.type:
            case pb.LISTENER:
                listeners.append(pb.Listener.FromString(resource.payload))
            case pb.VIRTUAL_HOST:
                hosts.append(pb.VirtualHost.FromString(resource.payload))
            case pb.ENDPOINTS:
                endpoints += pb.Endpoints.FromString(resource.payload).endpoints
    assert sorted((one.name, one.address, one.port) for one in listeners) == [
        ("datagrams-53", "", 53),
        ("datagrams-54-::1", "::1", 54),
    ]
    assert {(one.transport, one.tls, one.idle_timeout_ms) for one in listeners} == {(pb.UDP, False, 5000)}
    assert {(host.stream, host.judges_streams, *host.hosts) for host in hosts} == {
        (pb.PASS_THROUGH, True, "")
    }
    assert {(one.address, one.port) for one in endpoints} == {("10.0.0.4", 53), ("10.0.0.5", 53)}


def test_routes_of_a_name_hold_in_their_order_until_one_takes_every_client():
    text = """{
	layer4 {
		:443 {
			@office {
				tls sni a.example b.example
				remote_ip 192.0.2.0/24
			}
			@wild tls sni *.example
			@other remote_ip 198.51.100.1
			route @office {
				proxy 10.0.0.1:443
			}
			route @wild {
				proxy 10.0.0.2:443
			}
			route @other {
				proxy 10.0.0.3:443
			}
		}
	}
}
"""
    streams = list_streams(adapt_configuration(read(text))["apps"]["layer4"], NOWHERE)
    dials = {
        stream.names: [route.handlers[0].upstreams[0].dial for route in stream.site.routes]
        for stream in streams
    }
    assert dials == {
        ("a.example", "b.example"): ["10.0.0.1:443", "10.0.0.2:443"],
        ("*.example",): ["10.0.0.2:443"],
        ("",): ["10.0.0.3:443"],
    }


MIXED = """:1 {
	@b remote_ip ::1
	route @b {
		tls
		proxy a:1
	}
	route {
		proxy a:1
	}
}
"""


@pytest.mark.parametrize(
    "inside",
    [
        "x { route { proxy a:1 } }",
        "udp/:53 {\n route {\n proxy a:1\n }\n }",
        ":53 {\n route {\n proxy udp/a:1\n }\n }",
        "udp/:53 :54 {\n route {\n proxy udp/a:1\n }\n }",
        "udp/:53 {\n route {\n tls\n proxy udp/a:1\n }\n }",
        "udp/:53 {\n @a tls\n route @a {\n proxy udp/a:1\n }\n }",
        "udp/:53 {\n idle_timeout 1ms\n route {\n proxy udp/a:1\n }\n }",
        ":53 {\n idle_timeout 5s\n route {\n proxy a:1\n }\n }",
        ":1 {\n @a remote_ip nowhere\n route @a {\n proxy a:1\n }\n }",
        ":1 {\n @a not tls\n route @a {\n proxy a:1\n }\n }",
        ":1 {\n route {\n proxy a:1 {\n lb_policy uri_hash\n }\n }\n }",
        MIXED,
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
