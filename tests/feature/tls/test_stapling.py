"""OCSP stapling: a responder is asked, its answer judged, and clients get it in the handshake.

Needs the engine's binary (`make setup`, or ZEROSERVE_ENGINE); without it these tests fail.
"""

import asyncio
import contextlib
import datetime
import http.server
import os
import socket
import struct
import sys
import threading
import time
from pathlib import Path

import pytest
import threads
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from ports import free_port
from signing import Authority, key_pem, name_of, pem
from starting import apart, serving
from zeroserve_dataplane.agent import asking_responders, stapling
from zeroserve_dataplane.agent.asking_responders import (
    StapleError,
    ask_responder,
    find_question,
    judge_response,
)
from zeroserve_dataplane.agent.stapling import Stapler
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import make_resource

ZEROSERVE = Path(sys.executable).parent / "zeroserve"
PATIENCE_S = 60
HOUR = datetime.timedelta(hours=1)
DER = serialization.Encoding.DER


class Responder:
    """Answers by what the test sets; `signer` is the authority, or whom it certified."""

    def __init__(self, authority):
        self.authority = authority
        self.signer = authority.certificate, authority.key
        self.status = ocsp.OCSPCertStatus.GOOD
        self.begins, self.lasts = -HOUR, 4 * HOUR
        self.serial_shift = 0
        self.asked = 0

    def answer(self, request):
        self.asked += 1
        now = datetime.datetime.now(datetime.UTC)
        revoked = self.status is ocsp.OCSPCertStatus.REVOKED
        certificate, key = self.signer
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            request.issuer_name_hash,
            request.issuer_key_hash,
            request.serial_number + self.serial_shift,
            hashes.SHA1(),
            self.status,
            now + self.begins,
            now + self.begins + self.lasts,
            now - HOUR if revoked else None,
            None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, certificate)
        if certificate != self.authority.certificate:
            builder = builder.certificates([certificate])
        return builder.sign(key, hashes.SHA256()).public_bytes(DER)


@pytest.fixture
def authority():
    return Authority("an authority")


@pytest.fixture
def responder(authority):
    """A responder that listens, with its `url`."""
    found = Responder(authority)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            request = ocsp.load_der_ocsp_request(self.rfile.read(int(self.headers["Content-Length"])))
            body = found.answer(request)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with threads.served(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        found.url = f"http://127.0.0.1:{server.server_address[1]}/ocsp"
        yield found


def make_certificate(authority, url):
    key = ec.generate_private_key(ec.SECP256R1())
    location = x509.UniformResourceIdentifier(url)
    access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, location)
    more = [x509.AuthorityInformationAccess([access])]
    names = [x509.DNSName("stapled.test")]
    return authority.sign(name_of("stapled"), key, names, ExtendedKeyUsageOID.SERVER_AUTH, more=more), key


@pytest.fixture
def question(authority, responder):
    certificate, _ = make_certificate(authority, responder.url)
    chain = [certificate.public_bytes(DER), authority.certificate.public_bytes(DER)]
    found = find_question(pb.Certificate(chain=chain))
    assert found is not None and found.url == responder.url
    return found


def asked(question, *denied):
    return asyncio.run(ask_responder(question, denied))


def judged(question):
    now = datetime.datetime.now(datetime.UTC)
    return judge_response(asked(question), question, now)


def test_a_good_response_is_taken_and_renewed_when_half_its_time_is_over(question, responder):
    renewal, end = judged(question)
    assert end - renewal == responder.lasts / 2


def certify_responder(authority, usage, **settings):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return authority.sign(name_of("responder"), key, (), usage, **settings), key


def test_a_responder_that_the_issuer_certified_is_believed(question, responder, authority):
    responder.signer = certify_responder(authority, ExtendedKeyUsageOID.OCSP_SIGNING)
    judged(question)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": ocsp.OCSPCertStatus.REVOKED},
        {"status": ocsp.OCSPCertStatus.UNKNOWN},
        {"begins": -5 * HOUR},
        {"begins": HOUR},
        {"serial_shift": 1},
    ],
)
def test_another_response_is_not(question, responder, fault):
    vars(responder).update(fault)
    with pytest.raises(StapleError):
        judged(question)


def test_a_stranger_s_response_is_not(question, responder, authority):
    stranger = Authority("a stranger")
    for signer in (
        (stranger.certificate, stranger.key),
        certify_responder(stranger, ExtendedKeyUsageOID.OCSP_SIGNING),
        certify_responder(authority, ExtendedKeyUsageOID.SERVER_AUTH),
        certify_responder(authority, None),
    ):
        responder.signer = signer
        with pytest.raises(StapleError):
            judged(question)


def test_no_bytes_surprise_the_reader(question):
    der = bytearray(asked(question))
    now = datetime.datetime.now(datetime.UTC)
    for at in range(0, len(der), 3):
        changed = bytes(der[:at]) + bytes([der[at] ^ 0x15]) + bytes(der[at + 1 :])
        with contextlib.suppress(StapleError):
            # A byte of what nobody signs, such as an unused flag, may differ.
            judge_response(changed, question, now)
        with pytest.raises(StapleError):
            judge_response(bytes(der[:at]), question, now)


def test_what_may_not_be_dialled_is_not_asked(question, responder):
    with pytest.raises(StapleError, match="no address"):
        asked(question, "127.0.0.0/8")
    assert responder.asked == 0


def resource_of(authority, url, name="c"):
    certificate, _ = make_certificate(authority, url)
    chain = [certificate.public_bytes(DER), authority.certificate.public_bytes(DER)]
    return make_resource(pb.Certificate(name=name, chain=chain))


def stapled(stapler, resource):
    return pb.Certificate.FromString(stapler.render(resource).payload).ocsp != b""


@pytest.mark.parametrize(
    "url",
    [
        "http://responder.test:99999/",
        "http://responder.test:x/",
        "http://[::1/",
        f"http://{'a' * 70}.test/",
        "http://127.0.0.1:9/a b",
        "http://127.0.0.1:9/\r\nX: y",
        "http://127.0.0.1:0/",
        "ldap://responder.test/",
        "",
    ],
)
def test_a_certificate_that_names_no_responder_harms_only_itself(authority, responder, url):
    wrong, right = resource_of(authority, url, "wrong"), resource_of(authority, responder.url, "right")
    stapler = Stapler()
    assert asyncio.run(stapler.refresh([wrong, right], pb.Settings()))
    assert stapled(stapler, right) and not stapled(stapler, wrong)


def test_a_responder_that_drips_bytes_is_given_up(authority, monkeypatch):
    monkeypatch.setattr(asking_responders, "TIMEOUT_S", 0.5)
    left = threading.Event()

    def drip(connection):
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not left.wait(0.1):
                connection.sendall(b"a")

    listener = threads.Listener(drip)
    certificate, _ = make_certificate(authority, f"http://127.0.0.1:{listener.port}/")
    chain = [certificate.public_bytes(DER), authority.certificate.public_bytes(DER)]
    try:
        with pytest.raises(StapleError, match="in time"):
            asked(find_question(pb.Certificate(chain=chain)))
    finally:
        left.set()
        listener.close()


def test_a_response_that_is_over_is_shown_to_nobody(authority, responder, monkeypatch):
    resource, stapler = resource_of(authority, responder.url), Stapler()
    assert asyncio.run(stapler.refresh([resource], pb.Settings()))
    later = datetime.datetime.now(datetime.UTC) + 4 * HOUR
    monkeypatch.setattr(stapling, "_now", lambda: later)
    assert asyncio.run(stapler.refresh([resource], pb.Settings())), "the engine has to hear of it"
    assert not stapled(stapler, resource)
    assert not asyncio.run(stapler.refresh([resource], pb.Settings()))


@pytest.mark.parametrize("status", [ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN])
def test_a_certificate_that_is_not_good_any_more_is_not_said_to_be(authority, responder, monkeypatch, status):
    resource, stapler = resource_of(authority, responder.url), Stapler()
    assert asyncio.run(stapler.refresh([resource], pb.Settings()))
    responder.status = status
    later = datetime.datetime.now(datetime.UTC) + 2 * HOUR
    monkeypatch.setattr(stapling, "_now", lambda: later)
    assert asyncio.run(stapler.refresh([resource], pb.Settings()))
    assert not stapled(stapler, resource)


def test_without_stapling_no_response_is_shown(authority, responder):
    resource, stapler = resource_of(authority, responder.url), Stapler()
    assert asyncio.run(stapler.refresh([resource], pb.Settings()))
    assert asyncio.run(stapler.refresh([resource], pb.Settings(ocsp_off=True)))
    assert not stapled(stapler, resource)


def hello(name):
    """A ClientHello of TLS 1.2, whose answer is readable, that asks for the certificate's status."""

    def extension(number, content):
        return struct.pack("!HH", number, len(content)) + content

    encoded = name.encode()
    extensions = (
        extension(0, struct.pack("!HBH", len(encoded) + 3, 0, len(encoded)) + encoded)
        + extension(5, b"\x01\x00\x00\x00\x00")
        + extension(10, struct.pack("!HHH", 4, 0x001D, 0x0017))
        + extension(13, struct.pack("!HHHH", 6, 0x0403, 0x0804, 0x0401))
        + extension(23, b"")
    )
    body = b"\x03\x03" + os.urandom(32) + b"\x00" + struct.pack("!HHH", 4, 0xC02B, 0xC02F) + b"\x01\x00"
    body += struct.pack("!H", len(extensions)) + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message


def read_staple(port):
    """Return the response of the server's CertificateStatus; none is empty."""
    handshake = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(hello("stapled.test"))
        stream = connection.makefile("rb")
        while b"\x0e\x00\x00\x00" not in handshake[-4:]:
            kind, _, length = struct.unpack("!BHH", stream.read(5))
            assert kind == 22
            handshake += stream.read(length)
    while handshake:
        length = int.from_bytes(handshake[1:4], "big")
        if handshake[0] == 22:
            return handshake[8 : 4 + length]
        handshake = handshake[4 + length :]
    return b""


@pytest.fixture
def served(tmp_path, authority, responder):
    """The port of a site with a certificate that names the responder."""
    certificate, key = make_certificate(authority, responder.url)
    (tmp_path / "chain.pem").write_bytes(pem(certificate) + pem(authority.certificate))
    (tmp_path / "key.pem").write_bytes(key_pem(key))
    port = free_port()
    site = f"https://stapled.test:{port} {{\n\tbind 127.0.0.1\n\ttls chain.pem key.pem\n\trespond x\n}}\n"
    (tmp_path / "Caddyfile").write_text("{\n\tauto_https disable_redirects\n}\n" + site)
    with serving(tmp_path, port, environment=apart(tmp_path)) as process:
        yield port, process, tmp_path / "log"


def test_clients_get_the_response_with_the_certificate(served, responder):
    port, process, log = served
    deadline = time.monotonic() + PATIENCE_S
    staple = b""
    while not staple:
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(log.read_text())
        with contextlib.suppress(ConnectionRefusedError):
            staple = read_staple(port)
        time.sleep(0.1)
    response = ocsp.load_der_ocsp_response(staple)
    assert response.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert responder.asked == 1
