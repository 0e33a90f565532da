"""What docs/reliability.md promises has the engine's bounds as they are, and suites that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/reliability.md").read_text()
LIMITS = dict(
    re.findall(
        r"^pub const (\w+): \w+ = ([\d_]+(?: << \d+)?);",
        (ROOT / "dataplane/engine/src/limits.rs").read_text(),
        re.MULTILINE,
    )
)
PLACES = (ROOT, ROOT / "tests/feature", ROOT / "dataplane/engine/src")


def value_of(written: str) -> int:
    """Evaluate a number of Rust, shifted or not."""
    number, _, bits = written.replace("_", "").partition(" << ")
    return int(number) << int(bits or 0)


def show(name: str, value: int) -> str:
    """Write a limit as people do."""
    if name.endswith("_MS"):
        return f"{value / 1000:g} s"
    if "BYTES" in name and value % 1024 == 0:
        return f"{value >> 10} KiB"
    return f"{value:,}"


def test_the_bounds_are_those_of_the_engine() -> None:
    rows = TEXT.partition("| promise | bounds | suites |")[2].partition("\n\n")[0]
    told = re.findall(r"`([A-Z][A-Z0-9_]+)` (\d+(?:,\d+)*(?: KiB| s)?)", rows)
    assert told
    assert dict(told) == {name: show(name, value_of(LIMITS[name])) for name, _ in told}


def test_the_suites_are_there() -> None:
    named = set(re.findall(r"`([\w/]+/\w+\.(?:py|rs))`", TEXT))
    assert named
    assert {one for one in named if not any((place / one).is_file() for place in PLACES)} == set()
