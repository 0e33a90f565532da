"""`listen` of Caddy's JSON: each address with its own port, ranges, and sockets of the file system."""

import contextlib
import json
import socket

import pytest
from asking import read_answer
from ports import free_ports
from starting import BIN, apart, ours, started

CADDY = (BIN / "caddy", "run", "--config", "caddy.json")
REQUEST = b"GET /a HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
PLACES = ["first", "second", "crossed", "socket", "next", "small"]
"""`crossed` is the first address with the second one's port, where nobody listens."""


def make_configuration(values):
    answer = {"handler": "static_response", "body": "{http.request.host} {http.request.uri}"}
    listen = [
        f"127.0.0.1:{values['first']}",
        f"127.0.0.2:{values['second']}",
        "unix/near.sock",
    ]
    servers = {
        "a": {"listen": listen, "routes": [{"handle": [answer]}]},
        "b": {
            "listen": [f"127.0.0.1:{values['small']}", f"127.0.0.3:{values['next']}"],
            "max_header_bytes": 1,
            "routes": [{"handle": [answer]}],
        },
    }
    off = {"automatic_https": {"disable": True}}
    http = {"servers": {name: server | off for name, server in servers.items()}}
    return {"admin": {"disabled": True}, "apps": {"http": http}}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return the folder and the ports of stock Caddy, and ours."""
    with contextlib.ExitStack() as stack:
        found = []
        for name, command in (("caddy", CADDY), ("zeroserve", ours("caddy.json"))):
            folder = tmp_path_factory.mktemp(name)
            values = dict(zip(["first", "second", "small", "next"], free_ports(4), strict=True))
            (folder / "caddy.json").write_text(json.dumps(make_configuration(values)))
            places = [
                values["first"],
                values["small"],
                ("127.0.0.2", values["second"]),
                ("127.0.0.3", values["next"]),
                folder / "near.sock",
            ]
            stack.enter_context(started(command, folder, *places, environment=apart(folder)))
            found.append((folder, values))
        yield found


def connect(folder, values, place):
    match place:
        case "socket":
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(60)
            connection.connect(str(folder / "near.sock"))
            return connection
        case "crossed":
            return socket.create_connection(("127.0.0.1", values["second"]), timeout=60)
        case "second":
            return socket.create_connection(("127.0.0.2", values["second"]), timeout=60)
        case "next":
            return socket.create_connection(("127.0.0.3", values["next"]), timeout=60)
        case _:
            return socket.create_connection(("127.0.0.1", values[place]), timeout=60)


def ask(folder, values, place, request):
    try:
        connection = connect(folder, values, place)
    except ConnectionRefusedError:
        return "refused"
    with connection:
        connection.sendall(request)
        return read_answer(b"".join(iter(lambda: connection.recv(65536), b"")), request).lines()


@pytest.mark.parametrize("place", PLACES)
def test_a_server_answers_where_it_listens(folders, place):
    caddy, own = (ask(folder, values, place, REQUEST) for folder, values in folders)
    assert own == caddy


@pytest.mark.parametrize("place", ["small", "next"])
def test_bounds_of_a_server_hold_at_each_of_its_addresses(folders, place):
    long = REQUEST.replace(b"Connection", b"X-Long: " + b"a" * 8000 + b"\r\nConnection")
    caddy, own = (ask(folder, values, place, long)[0] for folder, values in folders)
    assert own == caddy == "431"
