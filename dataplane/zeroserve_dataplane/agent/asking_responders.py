"""Asking an authority about a certificate: OCSP over HTTP (RFC 6960).

In: a Certificate as it came. Out: the response of the responder that it names, and until when it holds. Who
calls: `stapling`. Rules: only a response that is verified, fresh and good is returned; a responder's address
is dialled only where upstreams may be; whatever strangers wrote, the worst is a StapleError, in time.
"""

from __future__ import annotations

import asyncio
import datetime
import http.client
import ipaddress
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from zeroserve_ir._pb import resources_pb2 as pb

from zeroserve_dataplane.agent.naming_places import find_places
from zeroserve_dataplane.agent.reading_answers import Answer, read_answer

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

RESPONSE_BYTES_MAX = 64 << 10
TIMEOUT_S = 10.0
"""For all of one question: a responder that drips bytes holds nobody up for longer."""
TIME_UNKNOWN = datetime.timedelta(hours=12)
"""How long a response holds that names no end."""
_MALFORMED = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What reading a certificate or response of a stranger raises."""


class StapleError(Exception):
    """No response that may be stapled; says why."""


class RevokedError(StapleError):
    """The authority says that the certificate is not good (any more)."""


@dataclass(frozen=True, slots=True)
class Question:
    """Whom to ask about a certificate."""

    leaf: x509.Certificate
    issuer: x509.Certificate
    url: str


def find_question(message: pb.Certificate) -> Question | None:
    """Return whom to ask; None where the certificate names no responder or comes without its issuer."""
    if len(message.chain) < 2:
        return None
    try:
        leaf, issuer = (x509.load_der_x509_certificate(der) for der in message.chain[:2])
        access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except _MALFORMED:
        return None
    for description in access:
        location = description.access_location
        if description.access_method == AuthorityInformationAccessOID.OCSP and isinstance(
            location, x509.UniformResourceIdentifier
        ):
            return Question(leaf, issuer, location.value)
    return None


def judge_response(
    der: bytes, question: Question, now: datetime.datetime
) -> tuple[datetime.datetime, datetime.datetime]:
    """Return when to ask again, and when a response ends. StapleError where it must not be stapled."""
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise StapleError(f"the responder says {response.response_status.name.lower()}")
        request = ocsp.load_der_ocsp_request(encode_request(question))
        same = (
            response.serial_number == request.serial_number
            and response.issuer_key_hash == request.issuer_key_hash
            and response.issuer_name_hash == request.issuer_name_hash
        )
        if not same:
            raise StapleError("the response is about another certificate")
        begins = response.this_update_utc
        ends = response.next_update_utc or begins + TIME_UNKNOWN
        if not begins - datetime.timedelta(minutes=5) <= now < ends:
            raise StapleError("the response is not of this time")
        _verify(response, question, now)
        if response.certificate_status is not ocsp.OCSPCertStatus.GOOD:
            raise RevokedError(f"the certificate is {response.certificate_status.name.lower()}")
    except _MALFORMED as error:
        raise StapleError(f"the response is not valid: {error}") from error
    return begins + (ends - begins) / 2, ends


def _verify(response: ocsp.OCSPResponse, question: Question, now: datetime.datetime) -> None:
    """The issuer signs, or whom it certified to (RFC 6960 4.2.2.2)."""
    signer = question.issuer
    for certificate in response.certificates:
        if certificate != question.issuer:
            certificate.verify_directly_issued_by(question.issuer)
            usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            if ExtendedKeyUsageOID.OCSP_SIGNING not in usage:
                raise StapleError("the responder's certificate is not for OCSP")
            if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
                raise StapleError("the responder's certificate is not of this time")
            signer = certificate
            break
    key, algorithm = signer.public_key(), response.signature_hash_algorithm
    if isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
        key.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(), algorithm)
    elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
        key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(algorithm))
    else:
        raise StapleError("the responder's key is of an unknown kind")


def encode_request(question: Question) -> bytes:
    """Return the question as the responder takes it; SHA-1 names the issuer, as all responders expect."""
    builder = ocsp.OCSPRequestBuilder()
    builder = builder.add_certificate(question.leaf, question.issuer, hashes.SHA1())
    return builder.build().public_bytes(serialization.Encoding.DER)


async def ask_responder(question: Question, denied: Iterable[str]) -> bytes:
    """Return what the responder answers. StapleError."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            answer = await _exchange(question, [ipaddress.ip_network(one) for one in denied])
    except TimeoutError as error:
        raise StapleError(f"{question.url!r} does not answer in time") from error
    except (OSError, EOFError, ValueError, http.client.HTTPException) as error:
        raise StapleError(f"{question.url!r}: {error}") from error
    if answer.status != 200 or len(answer.body) > RESPONSE_BYTES_MAX:
        raise StapleError(f"{question.url!r} answers {answer.status} with {len(answer.body)} bytes")
    return answer.body


async def _exchange(question: Question, denied: list[Network]) -> Answer:
    url = urllib.parse.urlsplit(question.url)
    if url.scheme != "http" or not url.hostname:
        raise StapleError(f"{question.url!r} is no responder")
    port = url.port or 80
    body = encode_request(question)
    target = urllib.parse.urlunsplit(("", "", url.path or "/", url.query, ""))
    if not f"{url.netloc}{target}".isprintable() or " " in f"{url.netloc}{target}":
        raise StapleError(f"{question.url!r} is no responder")
    lines = (
        f"POST {target} HTTP/1.1",
        f"Host: {url.netloc.rpartition('@')[2]}",
        "Content-Type: application/ocsp-request",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    reader, writer = await asyncio.open_connection(await _find_address(url.hostname, port, denied), port)
    try:
        writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode() + body)
        return await read_answer(reader, "POST", RESPONSE_BYTES_MAX + 1)
    finally:
        writer.close()


async def _find_address(host: str, port: int, denied: list[Network]) -> str:
    """Return the first address that may be dialled: a certificate may name any, inside ones too."""
    for *_, place in await find_places(host, port):
        address = ipaddress.ip_address(str(place[0]).partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        if not any(mapped in network for network in denied if network.version == mapped.version):
            return str(place[0])
    raise StapleError(f"{host} is at no address that may be dialled")
