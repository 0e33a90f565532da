"""Durations of upstreams: the tree has milliseconds, and what is shorter than one is no zero."""

import json

import pytest
from zeroserve_ir.caddyfile.decoding import decode_configuration
from zeroserve_ir.caddyfile.decoding_handlers import decode_handler
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.settling import settle_configuration
from zeroserve_ir.diagnostics import Severity
from zeroserve_ir.program.fitting import U32_MAX
from zeroserve_ir.program.lowering import lower_site
from zeroserve_ir.sources import NOWHERE


def read_proxy(lines):
    text = f":80 {{\nreverse_proxy a:1 {{\n{lines}\n}}\n}}\n"
    configuration, findings = read_configuration(text, environment={})
    assert findings == ()
    return configuration.sites[0]


@pytest.mark.parametrize(
    ("line", "field", "milliseconds"),
    [
        ("flush_interval 5", "flush_interval_ms", 1),
        ("flush_interval 5000000", "flush_interval_ms", 5),
        ("flush_interval 5s", "flush_interval_ms", 5000),
        ("flush_interval -5", "flush_interval_ms", -1),
        ("flush_interval -2s", "flush_interval_ms", -1),
        ("stream_timeout 2000000", "stream_timeout_ms", 2),
        ("stream_close_delay +1", "stream_close_delay_ms", 1),
        ("lb_try_duration 5us", "try_duration_ms", 1),
        ("lb_try_duration 0", "try_duration_ms", 0),
        ("lb_try_duration 1499us", "try_duration_ms", 1),
    ],
)
def test_a_duration_is_whole_milliseconds_and_one_at_least(line, field, milliseconds):
    proxy = read_proxy(line).routes[0].handlers[0]
    assert getattr(proxy, field) == milliseconds


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [(1, 1), (499_999, 1), (1_600_000, 2), (-1, -1), (-2_000_000, -2), ("5us", 1), ("1m30s", 90_000)],
)
def test_one_of_json_is_as_one_of_a_caddyfile(written, milliseconds):
    """Nanoseconds, or text."""
    proxy = {"handler": "reverse_proxy", "upstreams": [{"dial": "a:1"}], "flush_interval": written}
    proxy |= {"health_checks": {"active": {"uri": "/", "timeout": written}}}
    proxy |= {"dynamic_upstreams": {"source": "multi", "sources": [{"source": "a", "refresh": written}]}}
    handler = decode_handler(proxy, NOWHERE, lambda *_: ())
    found = (
        handler.flush_interval_ms,
        handler.active_health.timeout_ms,
        handler.dynamic.sources[0].refresh_ms,
    )
    assert found == (milliseconds,) * 3


@pytest.mark.parametrize(
    ("written", "milliseconds"), [(0, 0), (1, 1), (5_000_000_000, 5000), ("5s", 5000), ("5us", 1)]
)
def test_the_grace_period_of_json_is_such_a_duration(written, milliseconds):
    adapted, _ = decode_configuration(json.dumps({"apps": {"http": {"grace_period": written}}}), "x.json")
    configuration, findings = settle_configuration(adapted)
    assert [one for one in findings if one.severity is Severity.ERROR] == []
    assert configuration.options.grace_period_ms == milliseconds


@pytest.mark.parametrize("written", [-1, "-5s", "soon", [5]])
def test_what_is_no_grace_period_is_refused(written):
    adapted, _ = decode_configuration(json.dumps({"apps": {"http": {"grace_period": written}}}), "x.json")
    _, findings = settle_configuration(adapted)
    assert ["grace_period" in one.message for one in findings] == [True]


def test_a_name_that_somebody_else_chose_is_no_duration():
    transport = {"protocol": "fastcgi", "env": {"timeout": "5s", "interval": "soon"}}
    proxy = {"handler": "reverse_proxy", "upstreams": [{"dial": "a:1"}], "transport": transport}
    handler = decode_handler(proxy, NOWHERE, lambda *_: ())
    assert dict(handler.fastcgi.environment) == transport["env"]


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [("off", 1), ("2s", 2000), ("-1s", U32_MAX), ("-1ms", U32_MAX), ("-5us", U32_MAX), ("0", 0)],
)
def test_idle_connections_are_kept_for_ever_by_a_negative_time_and_not_at_all_by_off(written, milliseconds):
    site = read_proxy(f"transport http {{\nkeepalive {written}\n}}")
    assert lower_site(site).clusters[0].keepalive_timeout_ms == milliseconds
