"""Some 450 odd uses of directives, matchers, options and addresses: read or refused as stock Caddy does.

`odd_uses.txt` has one use a line, `¶` where a line ends; its sections say where the use stands. What `caddy
adapt` takes and stock Caddy refuses when it starts is refused at once here; what else differs is named.
"""

from pathlib import Path

import pytest
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.diagnostics import Severity

PLACES = {
    "whole": "{}\n",
    "site": ":8080 {{\n{}\n}}\n",
    "matcher": ":8080 {{\n@m {}\nrespond @m x\n}}\n",
    "option": "{{\n{}\n}}\n:8080 {{\nrespond x\n}}\nb.example\n",
}
REFUSED_HERE = {
    "uri path_regexp ( x",
    "encode gzip gzip",
    "encode {¶ gzip 99¶ }",
    "reverse_proxy a {¶ lb_policy random_choose 1¶ }",
    "map {host} x {¶ a b¶ }",
    "map {a} {b} {¶ ~( c¶ }",
    "map {a} {b} {¶ a b¶ a c¶ }",
    "header_regexp a (",
    "protocol x",
    "protocol http/1",
    "file {¶ try_policy x¶ }",
    "http_port 0",
    "http_port 70000",
    "http_port -1",
}
"""Values that no site can have, or that stock Caddy refuses when it starts."""
ADAPTED_HERE = {"acme_dns x", "ech a {¶ dns x¶ }", "dns x"}
"""DNS providers are plugins, which stock Caddy does not have: adapted, and judged when it runs."""
OTHERWISE = {"reverse_proxy fd/3", "header ?a b", "header {¶ ?a¶ }"}
"""Other JSON: a port is added to `fd/3`, which is no upstream; the field of `?` is in its usual spelling."""


def list_uses():
    place = ""
    for line in (Path(__file__).parent / "odd_uses.txt").read_text().splitlines():
        if line.startswith("[") and line.endswith("]"):
            place = line[1:-1]
        else:
            yield place, line


@pytest.mark.parametrize("place", PLACES)
def test_odd_uses(place, caddy_adapts):
    wrong = []
    for where, use in list_uses():
        if where == place:
            text = PLACES[place].format(use.replace("¶", "\n"))
            wrong += [f"{use}: {finding}" for finding in judge(use, caddy_adapts(text), adapt_here(text))]
    assert wrong == []


def adapt_here(text):
    """Return what ours adapts a text to; None where it refuses."""
    configuration, findings = read_configuration(text, environment={})
    refused = any(one.severity is Severity.ERROR for one in findings)
    return None if refused else adapt_configuration(configuration)


def judge(use, theirs, ours):
    """Return what is not as it should be."""
    if use in REFUSED_HERE:
        return [] if ours is None and theirs is not None else ["no longer refused by us alone"]
    if use in ADAPTED_HERE:
        return [] if theirs is None and ours is not None else ["no longer refused by Caddy alone"]
    if use in OTHERWISE:
        return [] if theirs != ours else ["no longer a difference"]
    if theirs == ours:
        return []
    return [
        "refused by us alone" if ours is None else "refused by Caddy alone" if theirs is None else "other"
    ]
