"""Every placeholder that Caddy's documentation lists for HTTP has Caddy's value, wherever it is written."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from documented_placeholders import NAMES, VARYING
from placeholder_scenes import PLACES, SITUATIONS


@dataclass(frozen=True, slots=True)
class Reason:
    """A row of docs/compatibility.md, and the one situation that it is about ("": all)."""

    row: str
    situation: str = ""

    def holds_for(self, situation):
        return self.situation in ("", situation)


COMPATIBILITY = Path(__file__).resolve().parents[3] / "docs" / "compatibility.md"
DELIBERATE = {
    ("log_append", "file.missing.txt"): Reason("file-placeholder"),
    ("log_append", "http.request.tls.client.san.uris"): Reason("logged-values", "tls"),
    **{
        ("log_append", f"http.reverse_proxy.{name}"): Reason("logged-values", "proxied")
        for name in ("duration", "duration_ms", "retries")
    },
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_values(servers, situation, place):
    (caddy_status, caddy), (status, ours) = (shown[situation, place] for shown in servers)
    assert status == caddy_status
    assert caddy, "nothing was shown: it proves nothing"
    different = []
    for number, name in enumerate(NAMES):
        theirs, own = (_comparable(name, values.get(str(number))) for values in (caddy, ours))
        if (reason := DELIBERATE.get((place, name))) and reason.holds_for(situation):
            assert theirs != own, f"{{{name}}}: no longer a difference"
        elif theirs != own:
            different.append(f"{{{name}}}: Caddy {theirs!r}, ours {own!r}")
    if different:
        pytest.fail("\n".join(different), pytrace=False)


def test_every_deliberate_difference_is_explained():
    text = COMPATIBILITY.read_text()
    assert all(f"| `{reason.row}` |" in text for reason in DELIBERATE.values())


def _comparable(name, value):
    """Return a value, without what is never the same twice."""
    pattern = VARYING.get(name)
    if pattern is None:
        return value
    if isinstance(value, int | float):
        return "a number"
    return re.sub(pattern, "…", value) if isinstance(value, str) else type(value)
