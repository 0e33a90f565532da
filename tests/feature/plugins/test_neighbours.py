"""Hostile plugins and neighbours on one worker: attacks end with 500, neighbours get their answers."""

import argparse
import asyncio

from ports import free_port

from bench import neighbours


def test_neighbours_of_hostile_plugins_get_their_answers(tmp_path):
    options = argparse.Namespace(port=free_port(), rate=40.0, attacks=16.0, seconds=1.5)
    reports = asyncio.run(neighbours.measure(options, tmp_path, lambda _: None))
    assert [one.window for one in reports] == ["alone", "beside attacks", "alone again"]
    assert [(one.requests, one.wrong) for one in reports] == [(60, 0)] * 3
    beside = reports[1]
    assert beside.attacks == beside.attacks_ended_500 == 24
