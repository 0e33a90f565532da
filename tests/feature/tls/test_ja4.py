"""`{http.request.tls.ja4}`: what a route sees is what the bytes of the ClientHello say, read here once more.

Needs the engine's binary (`make setup`, or ZEROSERVE_ENGINE); without it these tests fail.
"""

import contextlib
import hashlib
import socket
import ssl
import struct
import sys
from pathlib import Path

import pytest
from ports import free_port
from starting import apart, serving

ZEROSERVE = Path(sys.executable).parent / "zeroserve"
PATIENCE_S = 60
CADDYFILE = """\
{{
	auto_https disable_redirects
	default_sni a.test
}}
https://a.test:{port}, https://:{port} {{
	bind 127.0.0.1
	tls internal
	@twelve vars_regexp version {{http.request.tls.ja4}} ^t12
	header @twelve X-Old yes
	respond {{http.request.tls.ja4}}
}}
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("ja4"), free_port()
    (folder / "Caddyfile").write_text(CADDYFILE.format(port=port))
    with serving(folder, port, environment=apart(folder)):
        yield port


def ask(port, context, name):
    """Return our ClientHello and the answer's field and body."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname=name)
    hello = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:

        def pump(step):
            nonlocal hello
            while True:
                try:
                    result = step()
                except ssl.SSLWantReadError:
                    result = None
                sent = outgoing.read()
                hello = hello or sent
                connection.sendall(sent)
                if result is not None:
                    return result
                incoming.write(connection.recv(65536))

        pump(lambda: session.do_handshake() or True)
        pump(
            lambda: session.write(
                f"GET / HTTP/1.1\r\nHost: {name or 'x'}\r\nConnection: close\r\n\r\n".encode()
            )
        )
        data = b""
        with contextlib.suppress(ssl.SSLZeroReturnError, ssl.SSLEOFError):
            while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < 36:
                data += pump(lambda: session.read(65536))
    head, _, body = data.partition(b"\r\n\r\n")
    return hello, b"x-old: yes" in head.lower(), body.decode()


def fingerprint(hello):
    """JA4 of a record with a ClientHello (FoxIO, technical_details/JA4.md)."""
    body = hello[9:]
    at = 34 + 1 + body[34]
    (length,) = struct.unpack_from("!H", body, at)
    suites = [f"{number:04x}" for (number,) in struct.iter_unpack("!H", body[at + 2 : at + 2 + length])]
    at += 2 + length
    at += 1 + body[at] + 2
    extensions = {}
    while at < len(body):
        number, length = struct.unpack_from("!HH", body, at)
        extensions[f"{number:04x}"] = body[at + 4 : at + 4 + length]
        at += 4 + length
    versions = extensions.get("002b", b"\x02" + body[:2])[1:]
    version = max(versions[index : index + 2] for index in range(0, len(versions), 2))
    shown = {b"\x03\x04": "13", b"\x03\x03": "12"}[version]
    protocol = extensions["0010"][3 : 3 + extensions["0010"][2]].decode() if "0010" in extensions else "00"
    algorithms = extensions["000d"][2:]
    signatures = ",".join(algorithms[index : index + 2].hex() for index in range(0, len(algorithms), 2))
    others = ",".join(sorted(set(extensions) - {"0000", "0010"}))
    named = "d" if "0000" in extensions else "i"
    start = f"t{shown}{named}{len(suites):02}{len(extensions):02}{protocol[0]}{protocol[-1]}"
    digests = (
        hashlib.sha256(text.encode()).hexdigest()[:12]
        for text in (",".join(sorted(suites)), f"{others}_{signatures}")
    )
    return "_".join([start, *digests])


@pytest.mark.parametrize("name", ["a.test", None])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("protocols", [[], ["http/1.1"]])
def test_routes_see_the_fingerprint_of_the_client_hello(port, name, version, protocols):
    context = ssl._create_unverified_context()
    context.minimum_version = context.maximum_version = version
    if protocols:
        context.set_alpn_protocols(protocols)
    hello, old, body = ask(port, context, name)
    assert body == fingerprint(hello)
    assert old == (version == ssl.TLSVersion.TLSv1_2)
