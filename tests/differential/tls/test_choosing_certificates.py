"""Which certificate a handshake is shown, by name or without one, as stock Caddy; plain HTTP to it."""

import contextlib
import socket
import ssl
import time

import pytest
from cryptography import x509
from ports import free_ports
from signing import write_self_signed
from starting import side_by_side

NAMES = ("HTTP", "LOCAL", "FILES", "ANY", "DEFAULTS", "OFF")
TEXT = """{
	admin off
	http_port {$HTTP}
	skip_install_trust
	local_certs
	%s
}
127.0.0.1:{$LOCAL}, a.local.test:{$LOCAL}, *.wild.test:{$LOCAL}, b.wild.test:{$LOCAL} {
	respond "{http.request.local} {http.request.local.host} {http.request.local.port}"
}
own.files.test:{$FILES}, other.test:{$FILES} {
	tls {$FILES_FOLDER}/tls.crt {$FILES_FOLDER}/tls.key
	respond "files"
}
https://:{$ANY} {
	tls {$ANY_FOLDER}/tls.crt {$ANY_FOLDER}/tls.key
	respond "any"
}
named.any.test:{$ANY} {
	respond "named"
}
"""
START_TIMEOUT_S = 60
ASKED = (
    None,
    "127.0.0.1",
    "a.local.test",
    "A.Local.Test",
    "a.wild.test",
    "b.wild.test",
    "a.b.wild.test",
    "own.files.test",
    "second.files.test",
    "x.files.test",
    "other.test",
    "named.any.test",
    "default.any.test",
    "unknown.test",
    "localhost",
)
OPTIONS = {
    "plain": "",
    "a default and a fallback": "default_sni a.local.test\n\tfallback_sni second.files.test",
    "a default that has none": "default_sni nowhere.test",
}


def open_plain(port, address="127.0.0.1"):
    return socket.create_connection((address, port), timeout=60)


def shown(port, name, address="127.0.0.1"):
    """Return the names in the certificate that a client is shown, or the alert."""
    context = ssl._create_unverified_context()
    try:
        with context.wrap_socket(open_plain(port, address), server_hostname=name) as connection:
            der = connection.getpeercert(binary_form=True)
    except ssl.SSLError as error:
        return error.reason
    extensions = x509.load_der_x509_certificate(der).extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(one.value) for one in names]


def await_certificates(values):
    """Caddy makes its certificates after it listens."""
    deadline = time.monotonic() + START_TIMEOUT_S
    for name in ("127.0.0.1", "a.local.test", "a.wild.test"):
        while isinstance(shown(values["LOCAL"], name), str):
            assert time.monotonic() < deadline, name
            time.sleep(0.05)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    files, any_ = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("any")
    write_self_signed(files, "own.files.test", "second.files.test")
    write_self_signed(any_, "default.any.test")
    return {"FILES_FOLDER": files, "ANY_FOLDER": any_}


@contextlib.contextmanager
def both(tmp_path_factory, folders, text):
    def make_values(_):
        return dict(zip(NAMES, free_ports(len(NAMES)), strict=True)) | folders

    waited = [name for name in NAMES if f"{{${name}}}" in text]
    with side_by_side(tmp_path_factory, text, make_values, waited) as found:
        yield found


@pytest.fixture(scope="module", params=OPTIONS.values(), ids=OPTIONS.keys())
def servers(request, tmp_path_factory, folders):
    with both(tmp_path_factory, folders, TEXT % request.param) as found:
        for values in found:
            await_certificates(values)
        yield found


@pytest.mark.parametrize("listener", ["LOCAL", "FILES", "ANY"])
@pytest.mark.parametrize("name", ASKED, ids=str)
def test_a_client_is_shown_what_caddy_shows(servers, listener, name):
    caddy, ours = (shown(values[listener], name) for values in servers)
    if listener == "ANY" and name in {None, "127.0.0.1"}:
        # Another certificate of the address keeps Caddy from showing the own one (docs/compatibility.md).
        assert ours == ["default.any.test"]
        return
    assert ours == caddy


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9"])
def test_the_address_of_a_connection_is_its_own_on_a_listener_for_all(servers, address):
    def ask(port):
        request = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
        context = ssl._create_unverified_context()
        with context.wrap_socket(open_plain(port, address), server_hostname="a.local.test") as connection:
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        return answer.rpartition(b"\r\n")[2].decode().replace(str(port), "PORT")

    caddy, ours = (ask(values["LOCAL"]) for values in servers)
    assert ours == caddy
    assert address in ours


@pytest.mark.parametrize(
    "pieces",
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",),
        (b"GE", b"T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (b"HEAD /",),
        (b"POST /x",),
        (b"PUT /x",),
        (b"OPTIONS * HTTP/1.1",),
    ],
    ids=lambda pieces: " ".join(piece[:9].decode() for piece in pieces),
)
def test_plain_http_to_https_is_told_so(servers, pieces):
    def ask(port):
        with open_plain(port) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                connection.sendall(piece)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    caddy, ours = (ask(values["LOCAL"]) for values in servers)
    assert ours == caddy
    assert b"HTTP request to an HTTPS server" in ours


@pytest.mark.parametrize("mode", ["off", "disable_certs"])
def test_without_automatic_https_a_site_without_files_has_no_certificate(tmp_path_factory, folders, mode):
    text = """{
	admin off
	http_port {$HTTP}
	auto_https %s
}
https://a.test:{$OFF} {
	respond "a"
}
http://a.test:{$HTTP} {
	respond "plain"
}
"""
    with both(tmp_path_factory, folders, text % mode) as found:
        caddy, ours = (shown(values["OFF"], "a.test") for values in found)
    assert ours == caddy == "TLSV1_ALERT_INTERNAL_ERROR"
