"""Every line with a word too many, one too few, or an empty block after it.

`every_directive.caddyfile` and `every_option.caddyfile` hold each name of the profile table once at least.
Stock Caddy and ours read each of their cases and every change of one line of it: they accept or refuse the
same, and print equal JSON. One Caddy adapts all of them, by its admin endpoint. What differs is named here
and in docs/compatibility.md.
"""

import json
from pathlib import Path

from caddyfile_cases import WRITERS, adapt_here, each_case
from zeroserve_ir.caddyfile.meaning.profiles import ROWS, Kind

HERE = Path(__file__).parent
COMPATIBILITY = Path(__file__).resolve().parents[3] / "docs" / "compatibility.md"
OURS = {
    "bandwidth", "cache", "concurrency", "fault", "rate_limit", "zeroserve_call", "zeroserve_plugin",
    "plugins", "rate_limit_store", "layer4", "peak_ewma", "health_protocol", "hedge", "max_requests",
    "mirror", "outlier_ejection", "queue", "retry_budget", "slow_start",
}  # fmt: skip
"""Names that stock Caddy does not have."""
PLUGINS = {"acme_dns", "dns", "filesystem", "extensions", "core"}
"""Names whose value is a plugin of Caddy, which stock Caddy refuses."""
ELSEWHERE = {"invoke"}
"""Needs a named route: see tests/golden/caddyfile."""
REFUSED_LATER = {
    "trusted_proxies static 10.0.0.0/8 stray",
    "trusted_proxies 10.0.0.0/8 private_ranges stray",
    "@m client_ip 10.0.0.0/8 stray",
    "@m remote_ip 10.0.0.0/8 private_ranges stray",
    "map {path} {a} stray {",
    "map {path} {a} {b} stray {",
    "default w stray",
    "default w v stray",
}
"""`caddy adapt` prints JSON that `caddy run` refuses."""
REFUSED_HERE = {"bind", "bind {", "uri query", "network_proxy url", "versions 1.1 2 stray"}
"""Lines that have no effect in Caddy, or take the site away."""


def list_changes(lines):
    """Yield (the changed line, all lines) for each change of one line."""
    for at, line in enumerate(lines):
        if line.strip() == "}":
            continue
        head, brace = (line[:-2], " {") if line.endswith(" {") else (line, "")
        indent = line[: len(line) - len(line.lstrip())]
        changed = [[f"{head} stray{brace}"]]
        if " " in head:
            changed.append([head.rpartition(" ")[0] + brace])
        if not brace:
            changed.append([f"{head} {{", f"{indent}}}"])
        for new in changed:
            yield new[0].strip(), (*lines[:at], *new, *lines[at + 1 :])


def judge(caddy, changed, text):
    """Return what is wrong with our reading of a text, or nothing."""
    theirs, ours = caddy(text), adapt_here(text)
    brace_is_a_field = theirs is not None and '"{"' in json.dumps(theirs)
    if brace_is_a_field or changed in REFUSED_LATER or changed in REFUSED_HERE:
        return "" if theirs is not None and ours is None else f"{changed}: no longer a difference"
    if ours == theirs:
        return ""
    if ours is None or theirs is None:
        return f"{changed}: refused by {'us' if ours is None else 'Caddy'} alone\n{text}"
    return f"{changed}: other JSON\n{text}"


@each_case
def test_every_change_of_a_line_is_read_as_by_caddy(lines, write, caddy_adapts):
    text = write(lines)
    assert adapt_here(text) == caddy_adapts(text)
    assert caddy_adapts(text) is not None, "no case: Caddy refuses it as it stands"
    wrong = [judge(caddy_adapts, changed, write(new)) for changed, new in list_changes(lines)]
    assert not any(wrong), "\n".join(filter(None, wrong))


def test_every_name_of_the_table_has_a_case():
    words = {
        word
        for name in WRITERS
        for line in (HERE / f"{name}.caddyfile").read_text().splitlines()
        for word in line.split()
    }
    names = {name.split()[-1] for kind, name in ROWS if kind is not Kind.PLACEHOLDER}
    assert names - words == OURS | PLUGINS | ELSEWHERE


def test_what_is_refused_here_is_documented():
    text = COMPATIBILITY.read_text()
    assert all(f"`{name}`" in text for name in ("bind", "uri query", "network_proxy url", "versions"))
    assert "field named `{`" in text
