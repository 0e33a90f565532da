"""Some 450 odd uses of directives, matchers, options and addresses: read or refused as stock Caddy does.

`odd_uses.txt` has one use a line, `¶` where a line ends; its sections say where the use stands. What `caddy
adapt` takes and stock Caddy refuses when it starts is refused at once here; what else differs is named. Those
that both start with in a site are then served by both, each in a site of its own, and answer alike.
"""

import contextlib
import http.client
import json
import time
from pathlib import Path

import pytest
from asking import Answer, exchange, read_answer
from caddyfile_cases import adapt_here
from ports import free_port, free_ports
from starting import STOCK_CADDY, apart, ours, started
from zeroserve_ir.caddyfile.judging import find_unsupported
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.diagnostics import Severity
from zeroserve_ir.drafting_sites import draft_sites

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


HEAD = "{\n\tadmin off\n\tauto_https off\n}\n"
SERVED = {
    "site": "http://:{} {{\n{}\n}}\n",
    "matcher": "http://:{} {{\n@m {}\nrespond @m x\n}}\n",
}
NOT_STARTED_HERE = {
    "reverse_proxy udp/a:1",
    "reverse_proxy fd/3",
    "bind udp/:80",
    "bind fd/3",
    "protocol x",
    "protocol http/1",
    "url_pattern /a",
    "metrics /x",
    "{¶ auto_https off¶}¶https://localhost, :443 {¶ respond x¶}",
    "{¶ auto_https off¶ https_port 8443¶}¶https:// {¶ respond y¶}¶:8443 {¶ respond z¶}",
    "http_port 0",
    "http_port 70000",
    "http_port -1",
}
"""Refused here (docs/compatibility.md), but `metrics`, which the command adds. Two have
an address that is HTTP by itself and HTTPS by another one of its port; ports that are none show in addresses,
which the fixture replaces."""
STARTED_HERE = {"basic_auth * {¶ a b¶ }", "key_type x"}
"""A digest that is none lets nobody in; keys are of the type that is ours, with a warning."""
ANSWERED_OTHERWISE = {"copy_response_headers", "intercept", "intercept {¶ handle_response¶ }"}
"""Outside of `handle_response` Caddy answers 500; before nothing that answers it drops the connection."""
PATIENCE_S = 60
REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: A.example:80\r\nA: b\r\nConnection: close\r\n\r\n",
    b"GET /a/b.php?a=b&c=d&x=1 HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n",
    b"POST /b/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
]


@pytest.fixture(scope="module")
def caddy_starts(tmp_path_factory):
    """Whether stock Caddy starts with a text; None where it does not adapt it."""
    folder, port = tmp_path_factory.mktemp("caddy"), free_port()
    (folder / "Caddyfile").write_text(f"{{\n\tadmin localhost:{port}\n}}\n")

    def post(path, text, kind):
        # What Caddy loads replaces its admin server, which may end a connection before the answer: ask again.
        deadline = time.monotonic() + PATIENCE_S
        while True:
            connection = http.client.HTTPConnection("localhost", port, timeout=PATIENCE_S)
            with contextlib.closing(connection):
                try:
                    connection.request("POST", path, text.encode(), {"Content-Type": kind})
                    answer = connection.getresponse()
                    return answer.status, answer.read()
                except (http.client.HTTPException, OSError):
                    if time.monotonic() > deadline:
                        raise

    def starts(text):
        status, told = post("/adapt", text, "text/caddyfile")
        adapted = json.loads(told).get("result") if status == 200 else None
        if adapted is None:
            return None
        servers = adapted.get("apps", {}).get("http", {}).get("servers", {}).values()
        # Two servers of one address are refused, whatever their ports: each has its own.
        for number, server in enumerate(servers, start=1):
            server["listen"] = [f"127.0.0.{number}:0"]
            # No authority is asked for certificates.
            server["automatic_https"] = {"disable": True}
        adapted["admin"] = {"listen": f"localhost:{port}"}
        return post("/load", json.dumps(adapted), "application/json")[0] == 200

    with started(STOCK_CADDY, folder, port, environment=apart(folder)):
        yield starts


def starts_here(text):
    configuration, findings = read_configuration(text, environment={})
    if not any(one.severity is Severity.ERROR for one in findings):
        findings = (*find_unsupported(configuration), *draft_sites(configuration, environment={}).diagnostics)
    return not any(one.severity is Severity.ERROR for one in findings)


@pytest.fixture(scope="module")
def standings(caddy_starts):
    """By use: whether stock Caddy starts with it, and whether ours does; of those that it adapts."""
    found = {}
    for place, use in list_uses():
        written = use.replace("¶", "\n")
        text = HEAD + SERVED[place].format(1, written) if place in SERVED else PLACES[place].format(written)
        if (theirs := caddy_starts(text)) is not None:
            found[place, use] = theirs, starts_here(text)
    return found


def test_what_caddy_starts_with_starts_here(standings):
    theirs = {use for (_, use), (caddy, here) in standings.items() if caddy and not here}
    own = {use for (_, use), (caddy, here) in standings.items() if here and not caddy}
    assert (theirs, own) == (NOT_STARTED_HERE, STARTED_HERE)


def test_what_both_serve_answers_alike(standings, tmp_path):
    # TLS and other addresses are no sites that plain requests reach.
    served = [key for key, both in standings.items() if all(both) and key[0] in SERVED]
    uses = [key for key in served if not key[1].startswith(("bind", "tls"))]
    ports = dict(zip(uses, free_ports(len(uses)), strict=True))
    sites = [SERVED[place].format(ports[place, use], use.replace("¶", "\n")) for place, use in uses]
    (tmp_path / "Caddyfile").write_text(HEAD + "".join(sites))
    (tmp_path / "index.html").write_text("index")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.php").write_text("php")
    answers = []
    for command in (STOCK_CADDY, ours()):
        with started(command, tmp_path, *ports.values(), environment=apart(tmp_path)):
            answers.append({use: [ask(port, request) for request in REQUESTS] for use, port in ports.items()})
    theirs, own = answers
    assert {use for _, use in uses if theirs[_, use] != own[_, use]} == ANSWERED_OTHERWISE


def ask(port, request):
    data = exchange(port, request, None)
    return [
        line.replace(str(port), "PORT")
        for line in (read_answer(data, request) if data else Answer(0)).lines()
    ]
