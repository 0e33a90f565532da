"""Durations, written in each way that Go, JSON or a hand has for one: read or refused as by stock Caddy.

The lines are those of `every_directive.caddyfile` and `every_option.caddyfile` that end with a duration,
with each of `WRITTEN` in its place. Less than a millisecond may be one here; Caddy keeps nanoseconds.
"""

import json
import re

import pytest
from caddyfile_cases import CASES, adapt_here

WRITTEN = (
    "0", "00", "5", "+5", "-5", "-1", "2000000", "1.5", "1e9", "-1s", "+1s", "1.5s", ".5s", "1.s", ".s", "s",
    "1d", "1.5d", "-1d", "1d2h", "1w", "1S", "5us", "5µs", "1ns", "-1ms", "-5us", "1h1m1s1ms", "1h 1m",
    "1m-1s", "x", "off",
)  # fmt: skip
DURATION = re.compile(r" (\d+[smh]|-1)$")
SHORT = re.compile(r'(?<=": )(-?)(1|5|5000)(?=[,}])')
"""In JSON: nanoseconds that make no millisecond."""
AT_ONCE = {"flush_interval -1s", "flush_interval -1d"}
"""All that is negative is -1 here."""
LINES = [
    pytest.param(lines, at, write, id=f"{lines[0].split()[0]}-{DURATION.sub('', line).strip()}")
    for lines, write in (case.values for case in CASES)
    for at, line in enumerate(lines)
    if DURATION.search(line)
]


def judge(line, theirs, ours):
    """Return what is wrong, or nothing."""
    if line in AT_ONCE:
        return "" if ours is not None and ours != theirs else f"{line}: no longer a difference"
    if ours is None or theirs is None:
        return "" if ours is theirs else f"{line}: refused by {'us' if ours is None else 'Caddy'} alone"
    read = [SHORT.sub(r"\g<1>1000000", json.dumps(one, sort_keys=True)) for one in (theirs, ours)]
    return "" if read[0] == read[1] else f"{line}: other JSON"


@pytest.mark.parametrize(("lines", "at", "write"), LINES)
def test_every_way_to_write_a_duration_is_read_as_by_caddy(lines, at, write, caddy_adapts):
    wrong = []
    for value in WRITTEN:
        changed = DURATION.sub(f" {value}", lines[at])
        text = write((*lines[:at], changed, *lines[at + 1 :]))
        wrong.append(judge(changed.strip(), caddy_adapts(text), adapt_here(text)))
    assert not any(wrong), "\n".join(filter(None, wrong))
