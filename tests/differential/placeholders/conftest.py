"""Stock Caddy and `zeroserve run`, both serving the sites of `placeholder_scenes`, and what each showed."""

import contextlib
import http.client
import http.server
import json
import re
import socket
import ssl
import sys
from pathlib import Path

import bcrypt
import pytest
from logged import await_lines
from ports import free_ports
from signing import write_certificates
from starting import STOCK_CADDY, apart, ours, started
from threads import served

sys.path.insert(0, str(Path(__file__).parent))

from documented_placeholders import NAMES
from placeholder_scenes import PLACES, SITUATIONS, host_of, write_caddyfile


class Backend(http.server.BaseHTTPRequestHandler):
    """Answers with the fields `X-Shown-…` that it was sent, in a body of no told length."""

    def do_GET(self):
        shown = {
            key.lower(): value for key, value in self.headers.items() if key.lower().startswith("x-shown")
        }
        payload = json.dumps(shown).encode()
        self.send_response_only(200)
        for name, value in (("X-Backend", "here"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    do_PUT = do_GET  # noqa: N815 (the standard library's name)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def backend():
    with served(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)) as server:
        yield server.server_port


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    write_certificates(folder)
    return folder


@pytest.fixture(scope="session")
def variables(certificates):
    with contextlib.ExitStack() as stack:
        one, two = (stack.enter_context(backend()) for _ in range(2))
        digest = bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode()
        # One folder for both servers: paths are shown, and must be equal.
        yield {"ONE": one, "TWO": two, "DEAD": free_ports(1)[0], "HASH": digest, "CERTIFICATES": certificates}


@pytest.fixture(scope="session")
def servers(tmp_path_factory, certificates, variables):
    """What both showed, one after the other: (stock Caddy, ours)."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "word.txt").write_text("a word\n")
    ports = free_ports(2)
    text = write_caddyfile(NAMES)
    names = {**variables, "PORT": ports[0], "TLS_PORT": ports[1], "SITE": folder, "FOLDER": folder}
    for name in ("server.pem", "server.key"):
        (folder / name).write_bytes((certificates / name).read_bytes())
    for name, value in names.items():
        text = text.replace(f"{{${name}}}", str(value))
    (folder / "Caddyfile").write_text(text)
    return [_collect(folder, ports, command, certificates) for command in (STOCK_CADDY, ours())]


def _collect(folder, ports, command, certificates):
    (folder / "access.log").unlink(missing_ok=True)
    environment = apart(folder, TZ="UTC", ZEROSERVE_TEST_WORD="a {method} b")
    shown = {}
    with started(command, folder, *ports, environment=environment):
        for situation, told in SITUATIONS.items():
            for place in PLACES:
                answer = _ask(ports[told.tls], host_of(situation, place), told, certificates)
                shown[situation, place] = (answer[0], _read(place, *answer[1:]))
        logged = _read_log(folder / "access.log", len(SITUATIONS))
    for situation in SITUATIONS:
        shown[situation, "log_append"] = (shown[situation, "log_append"][0], logged.get(situation, {}))
    return shown


def _ask(port, host, told, certificates):
    """Send one request; status, fields, body."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
        if told.tls:
            context = ssl._create_unverified_context()
            # The suite is the client's choice with TLS 1.3, the server's in Caddy (docs/compatibility.md).
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
            context.load_cert_chain(certificates / "good.pem")
            connection = stack.enter_context(context.wrap_socket(connection, server_hostname=host))
        head = [told.line, f"Host: {host}:{port}", *told.fields, "Connection: close", "", ""]
        connection.sendall("\r\n".join(head).encode("latin-1"))
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        return reply.status, reply.getheaders(), reply.read()


def _read(place, fields, body):
    """Return the values that an answer shows, by the number of their placeholder."""
    if place in ("header", "header_later", "header_down"):
        told = _join(fields)
    elif place in ("header_up", "request_header"):
        told = _join(json.loads(body).items()) if body.startswith(b"{") else ""
    elif place == "redir":
        told = dict(fields).get("Location", "")
    else:
        told = body.decode("latin-1")
    told = told.encode("latin-1").decode()
    return dict(re.findall(r"(\d+)=\[(.*?)\](?=[;&\n]\d+=\[|\Z)", told, re.DOTALL))


def _join(fields):
    """Return all that fields `X-Shown-…` say, in the order of their numbers."""
    found = {
        int(name.lower().removeprefix("x-shown-")): value
        for name, value in fields
        if name.lower().startswith("x-shown-")
    }
    return ";".join(value for _, value in sorted(found.items()))


def _read_log(path, count):
    """Return what `log_append` wrote, by situation."""
    lines = await_lines(path, lambda line: "-log-append.b.test" in line["request"]["host"], count)
    return {
        line["request"]["host"].partition("-")[0]: {
            key.removeprefix("shown_"): value for key, value in line.items() if key.startswith("shown_")
        }
        for line in lines
    }
