"""The plugins' part of the ABI: helpers 68 to 117, what a function returns, the numbers that helpers take.

A plugin's function is the subprogram that its program's dispatcher calls for entry N (r2) >= 1. It finds
its input as document 0 (`read_json`), the request by the helpers here, and returns a `Verdict`. Its heap
begins with its data (`Plugin.data`, then zeros) at every call: nothing of an earlier request is left.

Helpers that copy out give the whole length, which may exceed the room; -1 (all ones) is "there is none"
and -2 "not known yet": the function then returns SUSPEND, and is called again from its beginning once it
is known; what it had asked before is answered at once the second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from zeroserve_ir.program.abi_types import Argument, Capability, Helper, Use


class Verdict(IntEnum):
    """What a plugin's function returns: r0 bits 0 to 7. Bits 8 to 31 are `detail`, bits 32 to 63 `index`."""

    CONTINUE = 0
    """The route goes on, with what the function changed."""
    RESPOND = 1
    """The helpers made the answer; detail: its status, 0 is that of `set_response_status`, or 200."""
    PROXY = 2
    """index: number of an upstream, from `find_upstream`."""
    ABORT = 4
    """Close the connection without an answer."""
    ERROR = 5
    """detail: status; to the error routes, or the engine's page."""
    SUSPEND = 6
    """A helper gave -2: call the function again when its result is there."""
    ADOPT = 9
    """The answer is that of the last `fetch`, with its status, fields and body."""


class RequestPart(IntEnum):
    """Part of the request that `read_request` and `write_request` (the first four) are about."""

    METHOD = 0
    PATH = 1
    """As it is forwarded: percent-encoded."""
    QUERY = 2
    """Without the question mark."""
    URI = 3
    """Path, and query after a question mark where there is one."""
    HOST = 4
    SCHEME = 5
    PROTOCOL = 6
    """HTTP/1.1, HTTP/2.0"""
    CLIENT_IP = 7
    REMOTE_IP = 8
    ORIGINAL_URI = 9
    REQUEST_ID = 10
    ORIGINAL_METHOD = 11


class JsonKind(IntEnum):
    """Kind of a JSON value, as `find_json_kind` gives it."""

    ABSENT = 0
    NULL = 1
    BOOLEAN = 2
    NUMBER = 3
    STRING = 4
    ARRAY = 5
    OBJECT = 6


class Codec(IntEnum):
    """A way to write bytes as text, for `encode` and `decode`."""

    BASE64 = 0
    BASE64_URL = 1
    """Without padding; decoding takes padding too."""
    HEX = 2
    """Lower case; decoding takes both."""
    PERCENT = 3
    """RFC 3986: all but unreserved characters (ALPHA DIGIT - . _ ~) become %XX."""
    PERCENT_PATH = 4
    """As PERCENT, but a slash stays a slash."""
    FORM = 5
    """As PERCENT, but a space is a plus sign (application/x-www-form-urlencoded)."""


class Digest(IntEnum):
    """A hash function of `digest`."""

    SHA256 = 0
    SHA384 = 1
    SHA512 = 2
    SHA1 = 3
    """For formats that prescribe it; not collision-resistant."""


class KeyKind(IntEnum):
    """What the bytes given to `import_key` are."""

    HMAC_SHA256 = 0
    """A secret of any length."""
    ED25519 = 1
    """32 bytes, or a SubjectPublicKeyInfo as DER or PEM."""
    ECDSA_P256_SHA256 = 2
    """Uncompressed point, or SubjectPublicKeyInfo as DER or PEM. Signatures are r || s (JOSE: ES256)."""
    RSA_PKCS1_SHA256 = 3
    """SubjectPublicKeyInfo as DER or PEM, 2048 to 8192 bits (JOSE: RS256)."""
    JWK = 4
    """JSON Web Key (RFC 7517): kty oct, OKP (Ed25519), EC (P-256) or RSA decides which it is."""


_S, _R, _W, _L = Argument.SCALAR, Argument.READ, Argument.WRITE, Argument.LENGTH
_PLUGIN = Use.PLUGIN
_COPIED = 16
"""Bytes for a fuel, which is about a nanosecond: of what is copied."""
_HASHED = 4
"""Of what is hashed or encoded."""
_PARSED = 1
"""Of what is made into values, or normalised."""

CALL_PLUGIN = Helper(
    68,
    "call_plugin",
    (Argument.ROW,),
    256,
    "calls the function of Tables.plugin_calls[row]: 0 continue, 6 not known yet (suspend), else an action",
)


def _helper(  # noqa: PLR0917  # a table's row reads best in a line
    number: int,
    name: str,
    arguments: tuple[Argument, ...],
    fuel: int,
    meaning: str,
    capability: Capability | None = None,
    bytes_per_fuel: int = _COPIED,
) -> Helper:
    by_length = bytes_per_fuel if Argument.LENGTH in arguments else 0
    return Helper(number, name, arguments, fuel, meaning, _PLUGIN, capability, by_length)


_REQUEST_WRITE, _RESPONSE_WRITE = Capability.REQUEST_WRITE, Capability.RESPONSE_WRITE
_KEY_VALUE = Capability.KEY_VALUE
_HTTP = Capability.OUTBOUND_HTTP

# fmt: off
_JSON = (
    _helper(70, "read_json", (_S, _R, _L, _W, _L), 64,
            "copies the value at a JSON pointer of a document (0: the input); strings bare: length, or -1"),
    _helper(71, "parse_json", (_R, _L), 128, "number of the document that a JSON text gives, or -1",
            bytes_per_fuel=_PARSED),
    _helper(72, "find_json_kind", (_S, _R, _L), 32, "JsonKind of the value at a pointer of a document"),
    _helper(73, "count_json", (_S, _R, _L), 32, "members of the array or object at a pointer, or -1"),
    _helper(74, "write_json_string", (_S, _R, _L, _R, _L), 64,
            "sets a string at a pointer of a document, with the objects on the way: 0, or -1"),
    _helper(75, "write_json", (_S, _R, _L, _R, _L), 128,
            "sets a JSON text's value at a pointer, as above: 0, or -1", bytes_per_fuel=_PARSED),
    _helper(76, "print_json", (_S, _W, _L), 128, "copies a document as JSON text: its length, or -1"),
    _helper(77, "read_json_key", (_S, _S, _W, _L), 32,
            "copies the name of the n-th member (from 0) of a document that is an object: its length, or -1"),
)
_REQUEST = (
    _helper(78, "read_request", (_S, _W, _L), 32, "copies a RequestPart: its length, or -1"),
    _helper(79, "write_request", (_S, _R, _L), 64,
            "sets METHOD, PATH, QUERY or URI: 0, or -1 when it is not allowed", _REQUEST_WRITE,
            bytes_per_fuel=_PARSED),
    _helper(80, "read_request_field", (_S, _W, _L), 32,
            "copies the n-th field (from 0) as `name: value`, name in lower case: its length, or -1"),
    _helper(81, "add_request_header", (_R, _L, _R, _L), 32,
            "adds a field to the request: 0, or -1 when not allowed or without room", _REQUEST_WRITE),
    _helper(82, "remove_request_header", (_R, _L), 32,
            "removes a field of the request: 0, or -1 when it is not allowed", _REQUEST_WRITE),
    _helper(83, "read_query", (_R, _L, _W, _L), 64,
            "copies the first value of a query key: its length, or -1"),
    _helper(84, "read_cookie", (_R, _L, _W, _L), 64, "copies the value of a cookie: its length, or -1"),
    _helper(85, "read_request_body", (_S, _W, _L), 64,
            "copies the body from an offset on: bytes in all (at most the plugin's limit is read), or -2",
            Capability.REQUEST_BODY),
    _helper(117, "count_request_body", (_S,), 8,
            "length of the whole body, above what `read_request_body` gives of a cut one: -1 if nobody told"
            " it, or -2; takes 0",
            Capability.REQUEST_BODY),
)
_ANSWER = (
    _helper(86, "read_response_status", (_S,), 4,
            "status of the answer at hand, 0 where there is none; takes 0"),
    _helper(87, "read_response_header", (_R, _L, _W, _L), 32,
            "copies the first value of a field of the answer: its length, or -1"),
    _helper(88, "add_response_header", (_R, _L, _R, _L), 32,
            "adds a field to the answer: 0, or -1 when not allowed or without room", _RESPONSE_WRITE),
    _helper(89, "remove_response_header", (_R, _L), 32,
            "removes a field of the answer: 0, or -1 when it is not allowed", _RESPONSE_WRITE),
    _helper(90, "set_response_status", (_S,), 8,
            "status of RESPOND: 0, or -1 outside of 200 to 599", _RESPONSE_WRITE),
    _helper(91, "set_response_body", (_R, _L), 32, "body of RESPOND: 0", _RESPONSE_WRITE),
)
_COMPUTING = (
    _helper(92, "read_metadata", (_R, _L, _W, _L), 32,
            "copies what a plugin noted about this request under a name: its length, or -1"),
    _helper(93, "write_metadata", (_R, _L, _R, _L), 32,
            "notes a value, {http.vars.plugin.NAME} to the route: 0, or -1 where there is no room"),
    _helper(94, "encode", (_S, _R, _L, _W, _L), 32, "writes bytes by a Codec: the text's length, or -1",
            bytes_per_fuel=_HASHED),
    _helper(95, "decode", (_S, _R, _L, _W, _L), 32, "reads text of a Codec: the bytes' length, or -1",
            bytes_per_fuel=_HASHED),
    _helper(96, "digest", (_S, _R, _L, _W, _L), 256, "hash of bytes by a Digest: its length, or -1",
            bytes_per_fuel=_HASHED),
    _helper(97, "import_key", (_S, _R, _L), 1024, "number of the key of a KeyKind, or -1",
            bytes_per_fuel=_PARSED),
    _helper(98, "sign", (_S, _R, _L, _W, _L), 512,
            "HMAC of bytes with a key of HMAC_SHA256: its length, or -1", bytes_per_fuel=_HASHED),
    _helper(99, "verify_signature", (_S, _R, _L, _R, _L), 16384,
            "1 when a signature (second) of a message (first) is right for the key, else 0; besides 49,152"
            " fuel for a curve, half the square of the key's bytes for RSA",
            bytes_per_fuel=_HASHED),
    _helper(100, "hmac_sha256", (_R, _L, _R, _L, Argument.DIGEST), 512,
            "HMAC-SHA256 with a key (first) of bytes (second): 32", bytes_per_fuel=_HASHED),
    _helper(101, "compare_secrets", (_R, _L, _R, _L), 32,
            "1 when two texts are equal, in constant time, else 0"),
    _helper(102, "fill_random", (_W, _L), 128, "random bytes, fit for keys: the length",
            bytes_per_fuel=_HASHED),
    _helper(103, "read_time", (_S,), 8, "seconds since 1970 of the request's beginning, no finer; takes 0"),
    _helper(104, "format_time", (_S, _R, _L, _W, _L), 64,
            "writes seconds since 1970, UTC, by %Y %m %d %H %M %S %a %b %j %%: its length, or -1",
            bytes_per_fuel=_PARSED),
)
_STATE = (
    _helper(105, "read_value", (_R, _L, _W, _L), 64,
            "copies a value that the plugin kept: its length, or -1", _KEY_VALUE),
    _helper(106, "write_value", (_R, _L, _R, _L, _S), 128,
            "keeps a value for so many seconds: 0, or -1 where there is no room", _KEY_VALUE),
    _helper(107, "remove_value", (_R, _L), 64, "forgets a value: 1 when there was one, else 0", _KEY_VALUE),
    _helper(108, "add_value", (_R, _L, _S, _S), 128,
            "adds to a number (first scalar; begins at 0, kept for seconds by the second): the sum, or -1",
            _KEY_VALUE),
    _helper(109, "limit_events", (_R, _L, _S, _S), 64,
            "counts an event of a key: 1 past so many (first) in so many milliseconds (second), else 0",
            _KEY_VALUE),
)
_CALLS = (
    _helper(110, "call_function", (_R, _L, _R, _L), 4096,
            "calls `PLUGIN FUNCTION` with a JSON text as its config: its verdict, -1 when it failed, -2",
            Capability.CALL_PLUGINS, bytes_per_fuel=_PARSED),
    _helper(111, "fetch", (_S,), 1024,
            "sends the request that a document describes: the answer's status, -1 when there was none, -2",
            _HTTP),
    _helper(112, "read_fetched_header", (_R, _L, _W, _L), 32,
            "copies the first value of a field of the last fetch's answer: its length, or -1", _HTTP),
    _helper(113, "read_fetched_body", (_S, _W, _L), 32,
            "copies the body of the last fetch's answer from an offset on: bytes in all, or -1", _HTTP),
    _helper(114, "find_upstream", (_R, _L), 32,
            "number of an upstream that PROXY may name, or -1", Capability.PROXY),
    _helper(115, "count_metric", (_S, _S), 16,
            "adds (second) to one of the plugin's counters (first: 0 to 3): 0, or -1 where there is none"),
    _helper(116, "read_secret", (_R, _L, _W, _L), 32,
            "copies a secret that the plugin is granted: its length, or -1",
            Capability.SECRETS),
)
# fmt: on

PLUGIN_HELPERS: tuple[Helper, ...] = (*_JSON, *_REQUEST, *_ANSWER, *_COMPUTING, *_STATE, *_CALLS)

ARGUMENT_NAMES: Final[Mapping[str, str]] = {
    "read_request_header": "name room",
    "write_request_header": "name value",
    "write_response_header": "name value",
    "log_message": "text",
    "read_json": "document pointer room",
    "parse_json": "text",
    "find_json_kind": "document pointer",
    "count_json": "document pointer",
    "write_json_string": "document pointer value",
    "write_json": "document pointer text",
    "print_json": "document room",
    "read_json_key": "document index room",
    "read_request": "part room",
    "write_request": "part value",
    "read_request_field": "index room",
    "add_request_header": "name value",
    "remove_request_header": "name",
    "read_query": "key room",
    "read_cookie": "name room",
    "read_request_body": "offset room",
    "count_request_body": "zero",
    "read_response_status": "zero",
    "read_response_header": "name room",
    "add_response_header": "name value",
    "remove_response_header": "name",
    "set_response_status": "status",
    "set_response_body": "body",
    "read_metadata": "name room",
    "write_metadata": "name value",
    "encode": "codec content room",
    "decode": "codec text room",
    "digest": "kind content room",
    "import_key": "kind content",
    "sign": "key content room",
    "verify_signature": "key message signature",
    "hmac_sha256": "key content room",
    "compare_secrets": "left right",
    "fill_random": "room",
    "read_time": "zero",
    "format_time": "unix_s format room",
    "read_value": "key room",
    "write_value": "key value ttl_s",
    "remove_value": "key",
    "add_value": "key amount ttl_s",
    "limit_events": "key events_max window_ms",
    "call_function": "target config",
    "fetch": "document",
    "read_fetched_header": "name room",
    "read_fetched_body": "offset room",
    "find_upstream": "name",
    "count_metric": "counter amount",
    "read_secret": "name room",
}
"""Of helpers that plugins may call, what authors see: one for bytes and their length together."""
