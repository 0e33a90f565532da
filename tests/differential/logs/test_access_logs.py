"""Access logs of stock Caddy and of ours, line by line: the same Caddyfile, the same requests."""

import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import bcrypt
import pytest
from ports import free_ports
from signing import write_self_signed
from starting import STOCK_CADDY, apart, ours, started

BIN = Path(sys.executable).parent
WAIT_S = 60
VARYING = {"ts", "duration", "remote_port", "cipher_suite"}
CADDYS_OWN = {"Server", "Via", "Alt-Svc", "Date"}
"""Fields of answers that ours do not have, or that tell the time."""
JSON_LOGS = [
    *("default", "errors", "plain", "named", "several", "wild", "open", "tls", "net"),
    *("keys", "times", "appended", "journald", "sampled", "filters"),
]

PLAIN = [
    "GET /static?q=1 HTTP/1.1\r\nHost: plain.test\r\nCookie: a=b\r\nx-two: 1\r\nX-Two: 2\r\n\r\n",
    "HEAD /static HTTP/1.1\r\nHost: plain.test\r\nAuthorization: Basic x\r\n\r\n",
    "GET /static HTTP/1.0\r\nHost: plain.test:99\r\nConnection: X-Two\r\n\r\n",
    "POST /static HTTP/1.1\r\nHost: plain.test\r\nContent-Length: 4\r\n\r\nbody",
    "GET /changed HTTP/1.1\r\nHost: plain.test\r\n\r\n",
    "GET /empty HTTP/1.1\r\nHost: plain.test\r\n\r\n",
    "GET /json HTTP/1.1\r\nHost: plain.test\r\n\r\n",
    "GET /redir HTTP/1.1\r\nHost: plain.test\r\n\r\n",
    "GET /unavailable HTTP/1.1\r\nHost: plain.test\r\n\r\n",
    "GET /nothing/%41?%zz HTTP/1.1\r\nHost: plain.test\r\n\r\n",
    "GET /files/a.txt HTTP/1.1\r\nHost: plain.test\r\n\r\n",
    "HEAD /files/a.txt HTTP/1.1\r\nHost: plain.test\r\n\r\n",
    "GET /files/a.txt HTTP/1.1\r\nHost: plain.test\r\nRange: bytes=1-2\r\n\r\n",
    "GET /files/large.txt HTTP/1.1\r\nHost: plain.test\r\nAccept-Encoding: gzip\r\n\r\n",
    "GET /files/none HTTP/1.1\r\nHost: plain.test\r\n\r\n",
    "GET /up HTTP/1.1\r\nHost: plain.test\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    "POST /up HTTP/1.1\r\nHost: plain.test\r\nContent-Length: 4\r\n\r\nbody",
    "POST /up HTTP/1.1\r\nHost: plain.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    "GET /dead HTTP/1.1\r\nHost: plain.test\r\n\r\n",
    "GET /secret HTTP/1.1\r\nHost: plain.test\r\n\r\n",
    "GET /secret HTTP/1.1\r\nHost: plain.test\r\nAuthorization: Basic Ym9iOm9wZW4gc2VzYW1l\r\n\r\n",
    "GET /fields HTTP/1.1\r\nHost: plain.test\r\nX-Two: 2\r\n\r\n",
    "GET /skipped HTTP/1.1\r\nHost: plain.test\r\n\r\n",
    "GET /both HTTP/1.1\r\nHost: plain.test\r\n\r\n",
    "GET /named HTTP/1.1\r\nHost: plain.test\r\n\r\n",
    "GET /abort HTTP/1.1\r\nHost: plain.test\r\n\r\n",
    'GET /static HTTP/1.1\r\nHost: PLAIN.test\r\nweird-NAME: \xff"\\\t<&>\xc3\xa9\r\n'
    "Pragma: no-cache\r\n\r\n",
    "GET http://plain.test/static HTTP/1.1\r\nHost: plain.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: named.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: several.test\r\n\r\n",
    "GET /e HTTP/1.1\r\nHost: several.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n",
    "GET /e HTTP/1.1\r\nHost: other.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: deep.several.test\r\n\r\n",
    "GET /e HTTP/1.1\r\nHost: deep.several.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: bare.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: silent.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\n",
    *["GET / HTTP/1.1\r\nHost: formats.test\r\n\r\n"] * 7,
    "GET /e HTTP/1.1\r\nHost: formats.test\r\n\r\n",
    "GET /p?token=1&drop=2&id=3&z=4 HTTP/1.1\r\nHost: filters.test\r\nUser-Agent: me\r\n"
    "X-Two: 1\r\nX-Two: 2\r\nX-Forwarded-For: 1.2.3.4, 2001:db8::1\r\nX-Card: 1234-5678\r\nX-Many: aaab\r\n"
    "Cookie: session=1; secret=2; tracked=3; other=4\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: net.test\r\n\r\n",
]
OPEN = ["GET / HTTP/1.1\r\nHost: open.test\r\nCookie: a=b\r\nAuthorization: Basic x\r\n\r\n"]
TLS = ["GET / HTTP/1.1\r\nHost: tls.test\r\nUser-Agent: me\r\n\r\n"]


class Collector:
    """Takes what `output net` sends."""

    def __init__(self, path):
        self.path = path
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.running = threading.Thread(target=self.run, daemon=True)
        self.running.start()

    @property
    def port(self):
        return self.listener.getsockname()[1]

    def run(self):
        connection, _ = self.listener.accept()
        with connection, self.path.open("ab", buffering=0) as out:
            while part := connection.recv(1 << 16):
                out.write(part)


def send(port, request, context=None):
    """Send a request and read until the server closes or a second passes without a byte."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
        if context is not None:
            connection = stack.enter_context(context.wrap_socket(connection, server_hostname="tls.test"))
        head, _, rest = request.partition("\r\n\r\n")
        connection.sendall(f"{head}\r\nConnection: close\r\n\r\n{rest}".encode("latin-1"))
        with contextlib.suppress(ConnectionError):
            while connection.recv(1 << 16):
                pass


def run_server(folder, command):
    """Start a server, send all requests, end it; return what it logged, by file."""
    write_self_signed(folder, "tls.test")
    (folder / "site").mkdir()
    for name, content in (("a.txt", "hello\n"), ("large.txt", "some text\n" * 500)):
        (folder / "site" / name).write_text(content)
        os.utime(folder / "site" / name, (1_700_000_000, 1_700_000_000))
    collector = Collector(folder / "net.log")
    port, open_port, tls_port, upstream = free_ports(4)
    text = (Path(__file__).parent / "Caddyfile").read_text()
    values = {"DIR": folder, "PORT": port, "OPEN_PORT": open_port, "TLS_PORT": tls_port, "UPSTREAM": upstream}
    values |= {"NET_PORT": collector.port, "HASH": bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode()}
    for name, value in values.items():
        text = text.replace(f"{{${name}}}", str(value))
    (folder / "Caddyfile").write_text(text)
    with (folder / "caddy.json").open("wb") as adapted:
        subprocess.run([BIN / "zeroserve", "adapt"], cwd=folder, stdout=adapted, check=True)
    with started(command, folder, port, open_port, tls_port, environment=apart(folder, TZ="UTC")):
        context = ssl.create_default_context(cafile=str(folder / "tls.crt"))
        for requests, where, how in (
            (PLAIN, port, None),
            (OPEN, open_port, None),
            (TLS, tls_port, context),
        ):
            for request in requests:
                send(where, request, how)
    # What the server sent before it ended may still be on its way.
    collector.running.join(WAIT_S)
    return {path.stem: path.read_bytes() for path in folder.glob("*.log")}, values


def read_line(line, ports):
    """Return a line without what differs between two runs; objects but headers keep their order."""

    def take(pairs):
        kept = {key: value for key, value in pairs if key not in CADDYS_OWN}
        return {key: "…" if key in VARYING else value for key, value in kept.items()}

    prefix, brace, rest = line.partition(b"{")
    found = json.loads(brace + rest, object_pairs_hook=take)
    if "request" in found:
        found["request"]["headers"] = sorted(found["request"].get("headers", {}).items())
    if "Content-Encoding" in found["resp_headers"]:
        found["size"] = "…"
    found["resp_headers"] = sorted(found["resp_headers"].items())
    if "half" in found:
        # Go's maps have no order: neither have the fields of `format append`.
        found = dict(sorted(found.items()))
    shown = prefix.decode() + json.dumps(found)
    for name, port in ports.items():
        shown = re.sub(rf"(?<!\d){port}(?!\d)", name, shown)
    return shown


def is_access_line(log, line):
    """The loggers of everything take what Caddy tells of itself, too."""
    return line.strip() != b"" and (log not in ("default", "errors") or b'"http.log.access' in line)


def collect_logs(folder, command):
    """Return what a server wrote, and the ports in it."""
    files, values = run_server(folder, command)
    return files, {name: one for name, one in values.items() if name.endswith("PORT") or name == "UPSTREAM"}


@pytest.fixture(scope="module")
def logged_by_caddy(tmp_path_factory):
    return collect_logs(tmp_path_factory.mktemp("caddy"), STOCK_CADDY)


@pytest.fixture(scope="module", params=["Caddyfile", "caddy.json"])
def logged(request, logged_by_caddy, tmp_path_factory):
    """What both wrote: by log, the lines of Caddy and ours, from the Caddyfile or what it adapts to."""
    return logged_by_caddy, collect_logs(tmp_path_factory.mktemp("zeroserve"), ours(request.param))


@pytest.mark.parametrize("log", JSON_LOGS)
def test_the_same_lines_are_written(logged, log):
    caddy, ours = (
        [read_line(line, ports) for line in files.get(log, b"").split(b"\n") if is_access_line(log, line)]
        for files, ports in logged
    )
    assert caddy, "the case logs nothing: it proves nothing"
    assert ours == caddy


def test_console_lines_are_alike(logged):
    def split(line, ports):
        *parts, context = line.split(b"\t")
        return [*parts, read_line(context, ports)]

    caddy, ours = ([split(line, ports) for line in files["console"].splitlines()] for files, ports in logged)
    assert len(caddy) == 8
    assert ours == caddy


def test_nothing_is_written_for_what_is_discarded_or_skipped(logged):
    (caddy, _), (ours, _) = logged
    assert sorted(ours) == sorted(caddy)
    assert not any(b"/skipped" in text for text in ours.values())


def test_a_duration_is_measured(logged):
    _, (ours, _) = logged
    durations = [json.loads(line)["duration"] for line in ours["plain"].splitlines()]
    assert all(0 < duration < WAIT_S for duration in durations)
