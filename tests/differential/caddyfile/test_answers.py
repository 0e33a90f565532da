"""Stock Caddy, serving what we print, matches Ingress paths as the tree means them.

The table also records what Caddy's own `path` does, which is why Ingress paths are not printed as such:
it ignores case and takes an escaped slash for a slash.
"""

import socket

import pytest
from ports import free_port
from starting import BIN, started
from zeroserve_ir.caddyfile.printer import print_configuration
from zeroserve_ir.tree import (
    Configuration,
    MatchPath,
    MatchPathExact,
    MatchPathPrefix,
    Options,
    Route,
    Scheme,
    Site,
    SiteAddress,
    StaticResponse,
)

CADDY = BIN / "caddy"
MATCHERS = {
    "exact": MatchPathExact("/Foo"),
    "prefix": MatchPathPrefix("/bar"),
    "dotted": MatchPathExact("/a.b"),
    "pattern": MatchPath(("/pattern/*",)),
}


def ask(port, path):
    """Return status and body of a GET of the raw path."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    head, _, body = answer.partition("\r\n\r\n")
    return head.split()[1], body


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    port = free_port()
    routes = tuple(
        Route((StaticResponse("200", name),), ((matcher,),), terminal=True)
        for name, matcher in MATCHERS.items()
    )
    rest = Route((StaticResponse("404", "none"),))
    site = Site((SiteAddress(Scheme.HTTP, "", port),), (*routes, rest), bind=("127.0.0.1",))
    configuration = Configuration((site,), Options(admin="off", auto_https=False))
    folder = tmp_path_factory.mktemp("caddy")
    path = folder / "Caddyfile"
    path.write_text(print_configuration(configuration))
    environment = {"HOME": str(folder), "PATH": ""}
    command = [CADDY, "run", "--adapter", "caddyfile", "--config", path]
    with started(command, folder, port, environment=environment):
        yield port


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/Foo", "exact"),
        ("/Foo?q=/bar", "exact"),
        ("/foo", "none"),
        ("/Foo/", "none"),
        ("/F%6Fo", "exact"),
        ("/bar", "prefix"),
        ("/bar/", "prefix"),
        ("/bar/x", "prefix"),
        ("/barx", "none"),
        ("/Bar/x", "none"),
        ("/bar%2Fx", "prefix"),
        ("//bar/x", "prefix"),
        ("/bar//x", "prefix"),
        ("/x/../bar/x", "prefix"),
        ("/a.b", "dotted"),
        ("/axb", "none"),
        ("/pattern/x", "pattern"),
        ("/PATTERN/x", "pattern"),
        ("/pattern%2Fx", "pattern"),
        ("//pattern//x", "pattern"),
    ],
)
def test_paths(server, path, answer):
    assert ask(server, path) == ("404" if answer == "none" else "200", answer)
