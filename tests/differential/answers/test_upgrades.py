"""Directives that change `Connection` and `Upgrade`: what goes up, and what clients get, as with Caddy."""

import contextlib

import pytest
from logged import await_lines
from ports import free_port
from starting import side_by_side
from switching import SAID, SwitchingBackend, ask_to_switch

TAKES_AWAY = (
    "header_up -Upgrade",
    "header_up -Connection",
    "header_up -Conn*",
    "header_up Connection close",
    "header_up Connection keep-alive",
    'header_up Connection ""',
    'header_up Upgrade ""',
    "header_up Connection Upgrade close",
    "request_header -Upgrade",
    "request_header -Connection",
    "request_header Connection close",
    "request_header Connection {header.X-None}",
)
KEEPS = (
    "header_up X-Other a",
    "header_up Connection Upgrade",
    "header_up Upgrade x",
    "header_up Upgrade websocket x",
    "header_up +Upgrade x",
    "header_up +Connection close",
    "header_up Upgrade {header.Upgrade}",
    "header_up Connection {header.Connection}",
    'request_header Connection "upgrade, x-b"',
    "request_header Upgrade x",
    "request_header +Upgrade x",
    "request_header +Connection close",
)
MADE_UP = (
    "header_up Upgrade websocket\n\t\theader_up Connection Upgrade",
    "header_up +Upgrade websocket\n\t\theader_up Connection {header.Connection}",
    "request_header Upgrade websocket",
)
OTHER = (
    'header_up Connection "close, x-b"',
    'header_up Connection "x-b, Upgrade"',
    "header_up Upgrade h2c",
    "header_up +Upgrade HTTP/2.0",
    "request_header Upgrade h2c",
)
WHOLE = "request_header Upgrade websocket\n\trequest_header Connection Upgrade"
SEEN = {
    "all answers": '{\n\t\thandle_response {\n\t\t\trespond "handled {rp.status_code}" 299\n\t\t}\n\t}',
    "its status": "{\n\t\t@switch status 1xx\n\t\thandle_response @switch {\n\t\t\terror 410\n\t\t}\n\t}",
}
PASSED = {
    "another status": "{\n\t\t@other status 2xx\n\t\thandle_response @other {\n\t\t\terror 410\n\t\t}\n\t}",
    "copied": "{\n\t\thandle_response {\n\t\t\theader X-Seen 1\n\t\t\tcopy_response\n\t\t}\n\t}",
}
PROXIES = [*SEEN.values(), *PASSED.values()]
CHANGES = (*TAKES_AWAY, *KEEPS, *MADE_UP, *OTHER, WHOLE)
ASKING = {
    "a WebSocket": ("Connection: keep-alive, Upgrade", "Upgrade: websocket", "X-B: 1"),
    "another protocol": ("Connection: upgrade", "Upgrade: Echo/1", "X-B: 1"),
    "two protocols": ("Connection: upgrade", "Upgrade: Echo/1", "Upgrade: websocket", "X-B: 1"),
}
REFUSED_LENGTH = "content-length: 0"


def write_site():
    """One area of the site for each change."""
    parts = ["{", "\tadmin off", "\tauto_https off", "}", "http://a.example:{$PORT} {", "\tbind 127.0.0.1"]
    parts.append("\tlog {\n\t\toutput file {$FOLDER}/access.log\n\t}")
    for number, change in enumerate(CHANGES):
        up, first = (change, "") if change.startswith("header_up") else ("", change)
        proxy = f"reverse_proxy 127.0.0.1:{{$BACKEND}} {{\n\t\t{up}\n\t}}"
        parts.append(f"\thandle /{number} {{\n\t{first}\n\t{proxy}\n\t}}")
    for number, proxy in enumerate(PROXIES):
        parts.append(f"\thandle /proxy{number} {{\n\treverse_proxy 127.0.0.1:{{$BACKEND}} {proxy}\n\t}}")
    replaced = "{\n\t\t@switch status 101\n\t\treplace_status @switch 250\n\t}"
    parts.append(f"\thandle /replaced {{\n\treverse_proxy 127.0.0.1:{{$BACKEND}} {replaced}\n\t}}")
    return "\n".join([*parts, "}", ""])


def area_of(change):
    return f"/{CHANGES.index(change)}"


@pytest.fixture(scope="module")
def backend():
    with contextlib.closing(SwitchingBackend()) as backend:
        yield backend


@pytest.fixture(scope="module")
def served(tmp_path_factory, backend):
    def make_values(folder):
        return {"PORT": free_port(), "BACKEND": backend.port, "FOLDER": folder}

    with side_by_side(tmp_path_factory, write_site(), make_values, ["PORT"]) as found:
        yield found


@pytest.fixture
def ports(served):
    return [values["PORT"] for values in served]


@pytest.mark.parametrize("asking", ASKING)
@pytest.mark.parametrize("change", KEEPS)
def test_an_upgrade_goes_up_as_it_was_changed(ports, backend, change, asking):
    caddys, own = (ask_to_switch(port, backend, area_of(change), *ASKING[asking]) for port in ports)
    assert own == caddys
    assert (own.status, own.echoed) == (101, True)


def test_of_two_protocols_an_empty_first_one_is_none(ports, backend):
    asking = ("Connection: upgrade", "Upgrade:", "Upgrade: websocket", "X-Answer: ignore")
    area = area_of("header_up X-Other a")
    caddys, own = (ask_to_switch(port, backend, area, *asking).upstream for port in ports)
    assert own == caddys
    assert [line for line in own if line.startswith("upgrade:")] == []


@pytest.mark.parametrize("asking", ASKING)
@pytest.mark.parametrize("change", TAKES_AWAY)
def test_an_upgrade_that_was_taken_away_is_none_whatever_the_upstream_answers(ports, backend, change, asking):
    """To a 101 that nobody asked for, stock Caddy answers 200 without a body."""
    caddys, own = (ask_to_switch(port, backend, area_of(change), *ASKING[asking]) for port in ports)
    assert own.upstream == caddys.upstream
    assert (caddys.status, caddys.fields) == (200, (REFUSED_LENGTH,))
    assert (own.status, own.fields) == (502, (REFUSED_LENGTH,))


@pytest.mark.parametrize("change", TAKES_AWAY + KEEPS + MADE_UP)
def test_no_upgrade_is_made_where_the_client_asked_for_none(ports, backend, change):
    """A difference: stock Caddy sends what the configuration makes up, and switches the client."""
    caddys, own = (ask_to_switch(port, backend, area_of(change), "X-Answer: ignore") for port in ports)
    named = tuple(line for line in caddys.upstream if line == "upgrade: " or "upgrade:" not in line)
    assert own.upstream == named
    assert own.status == 200


def test_no_upgrade_is_made_by_request_header(ports, backend):
    own = ask_to_switch(ports[1], backend, area_of(WHOLE))
    assert [line for line in own.upstream if line.startswith(("connection:", "upgrade:"))] == []
    assert own.status == 502


def test_connection_names_no_other_field(ports, backend):
    """A difference: by what a placeholder brings into it, the upstream would drop fields of a policy."""
    close, upgrade = (
        ask_to_switch(ports[1], backend, area_of(change), *ASKING["a WebSocket"]) for change in OTHER[:2]
    )
    assert ("connection: close" in close.upstream, "x-b: 1" in close.upstream) == (True, True)
    assert ("connection: Upgrade" in upgrade.upstream, upgrade.status) == (True, 101)


@pytest.mark.parametrize("change", OTHER[2:])
def test_no_upgrade_to_another_http_goes_up(ports, backend, change):
    """A difference: behind it would be requests that no route has seen."""
    own = ask_to_switch(ports[1], backend, area_of(change), *ASKING["a WebSocket"])
    protocols = [line for line in own.upstream if line.startswith("upgrade:")]
    added = change.startswith("header_up +")
    assert (protocols, own.status) == ((["upgrade: websocket"], 101) if added else ([], 502))


def test_a_connection_that_is_said_to_close_is_not_used_again(ports, backend):
    change = area_of("header_up Connection close")
    for _ in range(2):
        assert ask_to_switch(ports[1], backend, change, "X-Answer: ignore").status == 200
    first, second = backend.askers[-2:]
    assert first != second


@pytest.mark.parametrize("proxy", [*SEEN, *PASSED])
def test_handle_response_sees_a_switch_before_the_client_does(ports, backend, proxy):
    area = f"/proxy{[*SEEN, *PASSED].index(proxy)}"
    caddys, own = (ask_to_switch(port, backend, area, *ASKING["a WebSocket"]) for port in ports)
    assert own == caddys
    assert (own.status == 101, own.echoed) == (proxy in PASSED, proxy in PASSED)


@pytest.mark.parametrize("area", [area_of("header_up X-Other a"), f"/proxy{len(PROXIES) - 1}"])
def test_what_a_client_sends_too_early_goes_up_behind_the_switch(ports, backend, area):
    caddys, own = (ask_to_switch(port, backend, area, *ASKING["a WebSocket"], early=True) for port in ports)
    assert own == caddys
    assert (own.status, own.echoed) == (101, True)


def test_a_switch_has_no_other_status(ports, backend):
    """A difference: stock Caddy leaves its client waiting."""
    own = ask_to_switch(ports[1], backend, "/replaced", *ASKING["a WebSocket"])
    assert (own.status, own.fields) == (502, (REFUSED_LENGTH,))


def test_a_tunnel_is_a_line_when_it_is_over(served, backend):
    told = []
    for values in served:
        target = area_of("header_up X-Other a") + "?logged"
        ask_to_switch(values["PORT"], backend, target, *ASKING["a WebSocket"])
        log = values["FOLDER"] / "access.log"
        (line,) = await_lines(log, lambda line, target=target: line["request"]["uri"] == target)
        line["resp_headers"].pop("Server", None)
        told.append({key: line[key] for key in ("msg", "status", "bytes_read", "size", "resp_headers")})
    assert told[1] == told[0]
    assert (told[1]["status"], told[1]["bytes_read"]) == (101, len(SAID))
