"""Gadgets: `Transfer-Encoding` spelt in every way that one parser takes and another does not.

Each request has a length and, for who reads the gadget as chunked, a second request in its body. Whatever is
forwarded has to be one request, the length's, without anything in it that looks like the gadget's field.
"""

import re

ALL = range(256)
# Bytes that parsers have been found to skip, and those beside them.
ODD = (*range(0x21), *range(0x7F, 0xA1), 0xFF)
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a.example\r\n\r\n"
BODY = b"0\r\n\r\n" + HIDDEN
SHAPES = {
    b"%bTransfer-Encoding: chunked": ALL,
    b"Transfer-Encoding%b: chunked": ALL,
    b"Transfer-Encoding:%bchunked": ALL,
    b"Transfer-Encoding: chunked%b": ALL,
    b"Transfer%bEncoding: chunked": ODD,
    b"X: X%bTransfer-Encoding: chunked": ODD,
    b"X: X\r%bTransfer-Encoding: chunked": ODD,
    b"X: X\n%bTransfer-Encoding: chunked": ODD,
    b"Transfer-Encoding: chunked\r%bX: X": ODD,
    b"Transfer-Encoding: chunked\n%bX: X": ODD,
    b"Transfer-Encoding: X%bchunked": ODD,
}
FORWARDED_CLEANED_MAX = 4
"""Spellings that strict and forgiving parsers agree upon, once they are forwarded."""


def gadgets():
    return [shape % bytes([byte]) for shape, some in SHAPES.items() for byte in some]


def is_ambiguous(request):
    """A backend could find another request in it, or another field."""
    names = [re.sub(r"[\x00-\x20\x7f-\xff]", "", name) for name, _ in request.fields]
    whole = request.line == "POST /a HTTP/1.1" and request.body == BODY
    return not whole or "transfer-encoding" in names


def is_plain(gadget):
    """Another field's name, or a value, which no parser takes for a coding: nothing about it is a trick."""
    name, _, value = gadget.partition(b":")
    is_token = re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) is not None
    other = name.lower() != b"transfer-encoding"
    return is_token and other and re.fullmatch(rb"[\t -~\x80-\xff]*", value) is not None


def test_no_spelling_of_a_coding_makes_two_requests_of_one(site):
    tricks = gadgets()
    assert len(tricks) > 1_326
    ambiguous, cleaned = [], []
    for gadget in tricks:
        head = b"POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n" % len(BODY)
        site.send(head + gadget + b"\r\n\r\n" + BODY)
        forwarded, strangers = list(site.recorder.requests), list(site.recorder.strangers)
        site.recorder.forget()
        if strangers or len(forwarded) > 1 or any(map(is_ambiguous, forwarded)):
            ambiguous.append(gadget)
        elif forwarded and not is_plain(gadget):
            cleaned.append(gadget)
    assert ambiguous == []
    assert len(cleaned) <= FORWARDED_CLEANED_MAX, cleaned
