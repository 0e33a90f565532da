"""What `reverse_proxy` has here beside Caddy's own: overload, ejection, slow start, probes."""

import json

import pytest
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.decoding import decode_configuration, encode_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.printer import print_configuration
from zeroserve_ir.codes import Code
from zeroserve_ir.program.clusters import build_cluster
from zeroserve_ir.tree import ActiveHealth, OutlierEjection, Resilience, ReverseProxy, Upstream

TEXT = """http://a.example {
	reverse_proxy 127.0.0.1:1 127.0.0.1:2 {
		health_protocol grpc
		slow_start 30s
		retry_budget 20%
		hedge 250ms 5%
		max_requests 100
		queue 50 2s
		outlier_ejection 5 10s 25%
		mirror 127.0.0.1:3 10%
		mirror https://127.0.0.1:4
	}
}
"""
RESILIENCE = Resilience(
    slow_start_ms=30_000,
    retry_budget_percent=20,
    hedge_after_ms=250,
    hedge_budget_percent=5,
    requests_max=100,
    queue_max=50,
    queue_timeout_ms=2_000,
    outliers=OutlierEjection(5, 10_000, 25),
)


def find_proxy(value):
    """Return the first handler of a proxy in Caddy's JSON."""
    if isinstance(value, dict):
        if value.get("handler") == "reverse_proxy":
            return value
        value = list(value.values())
    found = (find_proxy(one) for one in value) if isinstance(value, list) else ()
    return next((one for one in found if one), None)


def test_lines_are_encoded_below_a_key_of_their_own():
    configuration, diagnostics = read_configuration(TEXT, environment={})
    assert diagnostics == ()
    proxy = find_proxy(json.loads(json.dumps(adapt_configuration(configuration))))
    assert proxy["health_checks"]["active"] == {"protocol": "grpc"}
    assert proxy["zeroserve"] == {
        "slow_start": 30_000_000_000,
        "retry_budget_percent": 20,
        "hedge": {"after": 250_000_000, "budget_percent": 5},
        "max_requests": 100,
        "queue": {"max": 50, "timeout": 2_000_000_000},
        "outlier_ejection": {"failures": 5, "duration": 10_000_000_000, "share_percent": 25},
        "mirrors": [
            {"dial": "127.0.0.1:3", "percent": 10},
            {"dial": "127.0.0.1:4", "scheme": "https", "percent": 100},
        ],
    }


def test_what_is_printed_reads_the_same():
    configuration, _ = read_configuration(TEXT, environment={})
    assert read_configuration(print_configuration(configuration), environment={})[0] == configuration


def test_json_is_read_back_without_loss():
    configuration, _ = read_configuration(TEXT, environment={})
    value = json.loads(json.dumps(adapt_configuration(configuration)))
    decoded, findings = decode_configuration(json.dumps(value), "x.json")
    assert findings == []
    assert encode_configuration(decoded) == value


def test_the_cluster_says_all_of_it():
    proxy = ReverseProxy(
        (Upstream("127.0.0.1:1"),), resilience=RESILIENCE, active_health=ActiveHealth(protocol="tcp")
    )
    cluster = build_cluster(proxy)
    assert (cluster.slow_start_ms, cluster.retry_budget_percent) == (30_000, 20)
    assert (cluster.hedge_after_ms, cluster.hedge_budget_percent) == (250, 5)
    assert (cluster.requests_max, cluster.queue_max, cluster.queue_timeout_ms) == (100, 50, 2_000)
    outliers = pb.OutlierEjection(failures=5, ejection_ms=10_000, share_max_percent=25)
    assert cluster.outliers == outliers
    assert cluster.active_health.protocol == pb.ActiveHealth.TCP


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("retry_budget 0", Code.ZS0103),
        ("retry_budget 101%", Code.ZS0103),
        ("max_requests 0", Code.ZS0103),
        ("hedge", Code.ZS0102),
        ("hedge 0s", Code.ZS0103),
        ("hedge 1s 0%", Code.ZS0103),
        ("hedge 1s 5% 6%", Code.ZS0102),
        ("slow_start -5s", Code.ZS0103),
        ("queue", Code.ZS0102),
        ("queue 1 -1s", Code.ZS0103),
        ("outlier_ejection 1 -2s", Code.ZS0103),
        ("queue many", Code.ZS0103),
        ("outlier_ejection 1 2s 3% 4", Code.ZS0102),
        ("health_protocol udp", Code.ZS0103),
        ("mirror", Code.ZS0102),
        ("mirror {host}:80", Code.ZS0103),
        ("mirror 127.0.0.1:3 200%", Code.ZS0103),
    ],
)
def test_what_is_no_bound_is_refused(line, code):
    text = f"http://a {{\nreverse_proxy 127.0.0.1:1 {{\n{line}\n}}\n}}"
    _, diagnostics = read_configuration(text, environment={})
    assert [one.code for one in diagnostics] == [code]
