"""Generates docs/profiles.md, what a Caddyfile may say where, from the profile table (`make gen`).

In: `zeroserve_ir.caddyfile.meaning.profiles`. Out: the page, below the directory given as the only argument
(default: the repository), so that the drift test can compare a fresh run with what is committed.
"""

import sys
from pathlib import Path

from zeroserve_ir.caddyfile.meaning.profiles import ROWS, Kind, Standing

ROOT = Path(__file__).resolve().parents[2]
HEAD = """# Profiles

Generated from `ir/zeroserve_ir/caddyfile/meaning/profiles.py` by `make gen`.

`local` is the owner's own Caddyfile (`zeroserve run`); `tenant` is the text in a Kubernetes object, an
allow-list. What has no row is unknown, in Caddy too (ZS0101, ZS0104, ZS0109); an unknown placeholder is
refused for tenants.

| standing | what happens |
| --- | --- |
"""
MEANINGS = {
    Standing.ALLOWED: "it is acted upon",
    Standing.INERT: "read and adapted, without effect, with a warning (ZS0110)",
    Standing.LATER: "refused (ZS0110)",
    Standing.CARRIED: "read and adapted; `run` acts on it, warns of it or refuses it (compatibility.md)",
    Standing.REFUSED: "refused (ZS0201)",
}
TITLES = {
    Kind.DIRECTIVE: "Directives",
    Kind.SUBDIRECTIVE: "Subdirectives",
    Kind.MATCHER: "Matchers",
    Kind.OPTION: "Global options",
    Kind.PLACEHOLDER: "Placeholders",
}


def render() -> str:
    """Return the page."""
    lines = [f"| {standing.value} | {meaning} |" for standing, meaning in MEANINGS.items()]
    for kind, title in TITLES.items():
        lines += ["", f"## {title}", "", f"| {kind.value[0]} | local | tenant |", "| --- | --- | --- |"]
        lines += [
            f"| `{name}` | {row.local.value} | {row.tenant.value} |"
            for (of, name), row in sorted(ROWS.items(), key=lambda item: item[0][1])
            if of is kind
        ]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    (target / "docs").mkdir(parents=True, exist_ok=True)
    (target / "docs/profiles.md").write_text(render())
