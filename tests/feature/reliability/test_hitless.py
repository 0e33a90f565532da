"""The engine is replaced and killed while clients of every kind ask: `bench hitless` with small numbers."""

import asyncio

from ports import free_ports

from bench.hitless import KINDS, Ports, measure
from bench.installing import make_certificate

UPGRADES, KILLS = 5, 3


def test_upgrades_lose_nothing_and_kills_only_what_the_killed_engine_held(tmp_path):
    plain, tls, first, second, echo = free_ports(5)
    ports = Ports(plain, tls, (first, second), echo)
    certificate = make_certificate(tmp_path / "certificate")
    report = asyncio.run(measure(tmp_path / "node", ports, certificate, UPGRADES, KILLS, clients=1))
    assert set(report.answered) == set(KINDS)
    assert report.refused == 0
    assert report.lost_upgrading == 0
    assert report.unexcused == ()
    assert report.most_lost_in_a_kill <= report.requests_at_a_time
    # Ends are told: on an answer, or by GOAWAY.
    assert report.announced["Connection: close"] >= UPGRADES
    assert report.announced["GOAWAY"] >= UPGRADES
    assert report.is_clean()
