"""Options of `servers` in messages of listeners."""

import json

import pytest
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.connecting import bound_listener, make_listener, settle_server_fields
from zeroserve_ir.caddyfile.decoding import decode_configuration
from zeroserve_ir.caddyfile.judging import find_unsupported
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.redirecting import add_redirects
from zeroserve_ir.caddyfile.settling import settle_configuration
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Severity
from zeroserve_ir.drafting_sites import draft_sites
from zeroserve_ir.tree import Scheme

OPTIONS = """{
	servers :8080 {
		listener_wrappers {
			proxy_protocol {
				timeout 2s
				allow 10.0.0.0/8
				deny 10.0.0.1/32
				fallback_policy require
			}
			http_redirect
		}
		timeouts {
			read_header 5s
			read_body 10s
			read_body_idle 20s 500
			write 1m
			write_idle 30s 1000
			idle 2m
		}
		keepalive_interval 20s
		max_header_size 8KiB
	}
}
http://:8080, http://:8081 {
}
"""


def listeners_of(configuration):
    draft = draft_sites(configuration).draft
    items = [item for key, item in draft.resources.items() if key[0] == pb.LISTENER]
    return {one.port: one for one in (pb.Listener.FromString(item.payload) for item in items)}


def read(text):
    configuration, findings = read_configuration(text, environment={})
    assert findings == ()
    return configuration


def test_each_listener_has_what_its_server_says():
    listeners = listeners_of(read(OPTIONS))
    assert not listeners[8081].HasField("limits")
    assert not listeners[8081].HasField("proxy_headers")
    bounded = listeners[8080]
    assert bounded.http_redirect
    assert bounded.proxy_headers == pb.ProxyHeaders(
        allow=["10.0.0.0/8"], deny=["10.0.0.1/32"], fallback=pb.ProxyHeaders.REQUIRE, timeout_ms=2_000
    )
    assert bounded.limits == pb.ListenerLimits(
        request_head_timeout_ms=5_000,
        request_timeout_ms=10_000,
        answer_timeout_ms=60_000,
        idle_timeout_ms=120_000,
        body_idle_timeout_ms=20_000,
        body_rate_min=500,
        answer_idle_timeout_ms=30_000,
        answer_rate_min=1000,
        head_bytes_max=12_288,
        keepalive=pb.Keepalive(idle_s=15, interval_s=20, count=9),
    )


def test_in_front_of_tls_are_the_wrappers_before_its_own():
    wrappers = [{"wrapper": name} for name in ("proxy_protocol", "tls", "http_redirect")]
    listener = pb.Listener(tls=True)
    bound_listener(listener, {"listener_wrappers": wrappers})
    assert listener.HasField("proxy_headers")
    assert not listener.http_redirect


def test_durations_of_json_may_be_texts():
    fields, faults = settle_server_fields({"idle_timeout": "1m", "read_timeout": 5_000_000_000})
    assert (fields, faults) == ({"idle_timeout": 60_000_000_000, "read_timeout": 5_000_000_000}, [])


@pytest.mark.parametrize(
    "fields",
    [
        {"idle_timeout": "soon"},
        {"idle_timeout": [1]},
        {"max_header_bytes": "1MB"},
        {"listener_wrappers": "tls"},
        {"listener_wrappers": ["tls"]},
        {"listener_wrappers": [{"wrapper": "own"}]},
        {"listener_wrappers": [{"wrapper": "proxy_protocol", "allow": "10.0.0.0/8"}]},
        {"listener_wrappers": [{"wrapper": "proxy_protocol", "fallback_policy": "guess"}]},
        {"listener_wrappers": [{"wrapper": "proxy_protocol", "timeout": "x"}]},
    ],
    ids=str,
)
def test_json_that_caddy_would_not_take_is_refused(fields):
    server = {"listen": [":8080"], "routes": [], **fields}
    adapted, findings = decode_configuration(json.dumps({"apps": {"http": {"servers": {"a": server}}}}), "a")
    assert findings == []
    configuration, findings = settle_configuration(adapted)
    assert Severity.ERROR in {one.severity for one in (*findings, *find_unsupported(configuration))}


def test_without_h2_among_the_protocols_tls_offers_only_http_1():
    text = "{\n\tservers {\n\t\tprotocols h1\n\t}\n}\na.example {\n\ttls internal\n}\n"
    draft = draft_sites(read(text)).draft
    hosts = [pb.VirtualHost.FromString(one.payload) for key, one in draft.resources.items() if key[0] == 9]
    assert {tuple(host.tls.protocols) for host in hosts if host.name.startswith("https")} == {("http/1.1",)}


@pytest.mark.parametrize(
    ("bind", "message"),
    [
        ("unix//run/a.sock", pb.Listener(unix_path="/run/a.sock", unix_mode=0o200)),
        ("unix//run/a.sock|0222", pb.Listener(unix_path="/run/a.sock", unix_mode=0o222)),
        ("unix+h2c//run/a.sock", pb.Listener(unix_path="/run/a.sock", unix_mode=0o200, http2=True)),
    ],
)
def test_a_site_may_listen_at_a_socket_of_the_file_system(bind, message):
    listener = make_listener(bind, 80, Scheme.HTTP)
    message.name, message.external_port = "http-/run/a.sock", 80
    assert listener == message


def test_a_relative_path_begins_where_the_process_runs_and_an_abstract_name_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    binds = ("unix/run/a.sock", "unix/@name")
    paths = [make_listener(bind, 80, Scheme.HTTP).unix_path for bind in binds]
    assert paths == [f"{tmp_path}/run/a.sock", "@name"]


@pytest.mark.parametrize(
    "bind",
    [
        "unix//run/a.sock|0444",
        "unix//run/a.sock|rw",
        f"unix//{'too-long' * 14}",
        "fd/3",
        "udp/1.2.3.4",
    ],
)
def test_other_places_are_refused_with_the_line(bind):
    configuration = read(f"http://a.example {{\n\tbind {bind}\n}}\n")
    for findings in (draft_sites(configuration).diagnostics, find_unsupported(configuration)):
        errors = [one for one in findings if one.severity is Severity.ERROR]
        assert [(one.code, one.span.line > 0, bool(one.help)) for one in errors] == [
            (Code.ZS0110, True, True)
        ]


def test_a_place_from_the_environment_is_judged_when_it_is_known():
    assert find_unsupported(read("http://a.example {\n\tbind {env.PLACE}\n}\n")) == ()


def test_nobody_is_redirected_from_a_port_to_a_socket():
    configuration = read("a.example {\n\tbind unix//run/a.sock\n\ttls internal\n}\n")
    assert add_redirects(configuration) == configuration
