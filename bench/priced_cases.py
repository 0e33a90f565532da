"""What `pricing` measures: calls of helpers with small arguments and with their dearest.

In: nothing. Out: a loop's turn for each case, as assembly, and the bytes that it finds. Called by `pricing`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from zeroserve_ir.program import abi
from zeroserve_ir.program.abi_plugins import Codec, Digest, KeyKind, RequestPart

LARGE = 60_000


@dataclass(frozen=True, slots=True)
class PricedCase:
    """Calls of one helper: what is prepared once, the arguments, the bytes that the context begins with."""

    name: str
    call: str
    """Assembly of a turn of the loop; r6 is the context."""
    memory: bytes = b""
    setup: str = ""
    calls: int = 400
    """Of the longer loop; a quarter of them in the shorter one."""


def list_cases() -> list[PricedCase]:
    """Plain instructions, then helpers with small and with their dearest arguments."""
    return [*_instructions(), *_json(), *_computing(), *_messages(), *_state()]


def _call(helper: str, *arguments: str | int) -> str:
    """Assembly: `@N` is byte N of the context, `#` the heap, a number itself."""
    lines = []
    for register, argument in enumerate(arguments, start=1):
        text = str(argument)
        if text.startswith("@"):
            lines += [f"mov %r{register}, %r6", f"add %r{register}, {text[1:]}"]
        else:
            lines.append(f"mov %r{register}, {abi.HEAP if text == '#' else text}")
    return "\n".join([*lines, f"call {helper}"])


def _instructions() -> list[PricedCase]:
    return [
        PricedCase("instructions: add, multiply", "mul %r0, 3\nadd %r0, %r7\n" * 8, calls=20_000),
        PricedCase(
            "instructions: loads of any address",
            "mov %r2, %r7\nand %r2, 4095\nlsh %r2, 3\nadd %r2, %r6\nldxdw %r3, [%r2]\nadd %r0, %r3",
            calls=20_000,
        ),
        PricedCase(
            "instructions: divisions", "mov %r0, -1\ndiv %r0, %r7\nadd %r8, %r0", b"", "mov %r8, 0", 20_000
        ),
    ]


def _json() -> list[PricedCase]:
    wide = json.dumps({f"member-{number}": number for number in range(2000)}).encode()
    deep = (b'{"a":' * 120) + b"1" + b"}" * 120
    escapes = b"/a~1b~0" * 8000
    text = json.dumps("x" * (LARGE - 2)).encode()
    parse = "\n".join(["mov %r1, %r6", "mov %r2, {}", "call parse_json"])
    return [
        PricedCase("parse_json 2 bytes", _call("parse_json", "@0", 2), b"{}", calls=30),
        PricedCase("parse_json an object of 2,000", _call("parse_json", "@0", len(wide)), wide, calls=2),
        PricedCase(
            "parse_json numbers", _call("parse_json", "@0", 60_001), b"[" + b"0," * 29_999 + b"0]", calls=2
        ),
        PricedCase("parse_json a string", _call("parse_json", "@0", len(text)), text, calls=2),
        PricedCase(
            "read_json small", _call("read_json", 1, "@9", 2, "#", 64), b'{"a":"b"}/a', parse.format(9)
        ),
        PricedCase(
            "read_json an object, printed",
            _call("read_json", 1, "@0", 0, "#", 0),
            wide,
            parse.format(len(wide)),
            4,
        ),
        PricedCase(
            "read_json a long string, no room",
            _call("read_json", 1, "@0", 0, "#", 0),
            text,
            parse.format(len(text)),
        ),
        PricedCase(
            "find_json_kind small", _call("find_json_kind", 1, "@9", 2), b'{"a":"b"}/a', parse.format(9)
        ),
        PricedCase(
            "find_json_kind deep",
            _call("find_json_kind", 1, "@721", 240),
            deep + b"/a" * 120,
            parse.format(721),
        ),
        PricedCase(
            "find_json_kind long pointer",
            _call("find_json_kind", 1, "@2", len(escapes)),
            b"{}" + escapes,
            parse.format(2),
        ),
        PricedCase(
            "count_json deep", _call("count_json", 1, "@721", 240), deep + b"/a" * 120, parse.format(721)
        ),
        PricedCase(
            "write_json_string small",
            _call("write_json_string", 1, "@2", 2, "@4", 1),
            b"{}/ab",
            parse.format(2),
        ),
        PricedCase(
            "write_json_string deep",
            _call("write_json_string", 1, "@2", 64, "@66", 1),
            b"{}" + b"/a" * 32 + b"b",
            parse.format(2),
        ),
        PricedCase(
            "write_json list",
            _call("write_json", 1, "@2", 2, "@4", 2001),
            b"{}/a" + b"[" + b"0," * 999 + b"00]",
            parse.format(2),
        ),
        PricedCase(
            "print_json an object of 2,000", _call("print_json", 1, "#", 0), wide, parse.format(len(wide)), 4
        ),
        PricedCase(
            "read_json_key the last of 2,000",
            _call("read_json_key", 1, 1999, "#", 64),
            wide,
            parse.format(len(wide)),
        ),
    ]


def _computing() -> list[PricedCase]:
    cases = [
        PricedCase(
            f"{verb} {codec.name} {size}",
            _call(verb, int(codec), "@0", size, "#", 65_536),
            b"a" * LARGE,
            calls=calls,
        )
        for verb in ("encode", "decode")
        for codec in Codec
        for size, calls in ((4, 400), (20_000, 4))
    ]
    cases += [
        PricedCase(
            f"encode {codec.name} escapes",
            _call("encode", int(codec), "@0", 20_000, "#", 65_536),
            b"\xff" * LARGE,
            calls=4,
        )
        for codec in (Codec.PERCENT, Codec.FORM)
    ]
    cases.append(
        PricedCase(
            "decode PERCENT escapes",
            _call("decode", int(Codec.PERCENT), "@0", LARGE, "#", 65_536),
            b"%41" * 20_000,
            calls=4,
        )
    )
    cases += [
        PricedCase(
            f"digest {one.name} {size}",
            _call("digest", int(one), "@0", size, "#", 64),
            b"a" * LARGE,
            calls=calls,
        )
        for one in Digest
        for size, calls in ((4, 400), (LARGE, 4))
    ]
    hmac_key = _call("import_key", int(KeyKind.HMAC_SHA256), "@0", 32)
    ed25519 = bytes.fromhex(
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    )  # RFC 8032, 7.1
    ed_key = _call("import_key", int(KeyKind.ED25519), "@0", 32)
    rsa = make_rsa_key(8192)
    rsa_key = _call("import_key", int(KeyKind.RSA_PKCS1_SHA256), "@0", len(rsa))
    curve = make_curve_key()
    curve_key = _call("import_key", int(KeyKind.ECDSA_P256_SHA256), "@0", len(curve))
    return [
        *cases,
        PricedCase("import_key HMAC", hmac_key, b"k" * 32, calls=60),
        PricedCase("import_key Ed25519", ed_key, ed25519, calls=60),
        PricedCase("import_key RSA-8192", rsa_key, rsa, calls=60),
        PricedCase("import_key P-256", curve_key, curve, calls=60),
        PricedCase("sign 4", _call("sign", 0, "@0", 4, "#", 64), b"k" * 32, hmac_key),
        PricedCase("sign 60,000", _call("sign", 0, "@0", LARGE, "#", 64), b"k" * LARGE, hmac_key, 4),
        PricedCase(
            "verify_signature Ed25519",
            _call("verify_signature", 0, "@0", 4, "@32", 64),
            ed25519 + b"\1" * 64,
            ed_key,
            4,
        ),
        PricedCase(
            "verify_signature P-256", _call("verify_signature", 0, "@0", 4, "@0", 64), curve, curve_key, 4
        ),
        PricedCase(
            "verify_signature RSA-8192", _call("verify_signature", 0, "@0", 4, "@0", 1024), rsa, rsa_key, 8
        ),
        PricedCase("hmac_sha256 4", _call("hmac_sha256", "@0", 4, "@4", 4, "#"), b"a" * 64),
        PricedCase(
            "hmac_sha256 60,000", _call("hmac_sha256", "@0", 4, "@0", LARGE, "#"), b"a" * LARGE, calls=4
        ),
        PricedCase("compare_secrets 32", _call("compare_secrets", "@0", 32, "@0", 32), b"a" * 64),
        PricedCase(
            "compare_secrets 60,000",
            _call("compare_secrets", "@0", LARGE, "@0", LARGE),
            b"a" * LARGE,
            calls=4,
        ),
        PricedCase("fill_random 16", _call("fill_random", "#", 16)),
        PricedCase("fill_random 60,000", _call("fill_random", "#", LARGE), calls=4),
        PricedCase("read_time", _call("read_time", 0)),
        PricedCase("format_time 2", _call("format_time", 0, "@0", 2, "#", 64), b"%Y"),
        PricedCase(
            "format_time 60,000",
            _call("format_time", 0, "@0", LARGE, "#", 65_536),
            b"%Y" * (LARGE // 2),
            calls=4,
        ),
        PricedCase(
            "format_time days",
            _call("format_time", 0, "@0", LARGE, "#", 65_536),
            b"%j" * (LARGE // 2),
            calls=4,
        ),
    ]


def make_rsa_key(bits: int) -> bytes:
    """A SubjectPublicKeyInfo; who checks signatures asks only whether the modulus is odd and so long."""
    key = RSAPublicNumbers(65_537, (1 << bits) - 159).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def make_curve_key() -> bytes:
    """An uncompressed point of P-256."""
    key = derive_private_key(7, SECP256R1()).public_key()
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _messages() -> list[PricedCase]:
    return [
        PricedCase(
            "read_request_header the last of 63",
            _call("read_request_header", "@0", 10, "#", 64),
            b"x-field-59",
        ),
        PricedCase(
            "read_request_header none", _call("read_request_header", "@0", 10, "#", 64), b"x-none-at-"
        ),
        PricedCase(
            "read_request_header 4,096, no room", _call("read_request_header", "@0", 6, "#", 0), b"x-long"
        ),
        PricedCase("write_request_header", _call("write_request_header", "@0", 10, "@0", 10), b"x-field-59"),
        PricedCase(
            "write_response_header", _call("write_response_header", "@0", 10, "@0", 10), b"x-field-59"
        ),
        PricedCase(
            "add_request_header", _call("add_request_header", "@0", 10, "@0", 1), b"x-field-70", calls=4
        ),
        PricedCase("remove_request_header none", _call("remove_request_header", "@0", 10), b"x-none-at-"),
        PricedCase("read_request PATH", _call("read_request", int(RequestPart.PATH), "#", 64)),
        PricedCase("read_request URI", _call("read_request", int(RequestPart.URI), "#", 4096)),
        PricedCase("read_request CLIENT_IP", _call("read_request", int(RequestPart.CLIENT_IP), "#", 64)),
        PricedCase("read_request REQUEST_ID", _call("read_request", int(RequestPart.REQUEST_ID), "#", 64)),
        PricedCase(
            "write_request PATH", _call("write_request", int(RequestPart.PATH), "@0", 8), b"/a/../%41"
        ),
        PricedCase(
            "write_request long PATH",
            _call("write_request", int(RequestPart.PATH), "@0", 6000),
            b"/%41/.." * 1000,
            calls=4,
        ),
        PricedCase("write_request QUERY", _call("write_request", int(RequestPart.QUERY), "@0", 3), b"a=b"),
        PricedCase("read_request_field the last", _call("read_request_field", 62, "#", 64)),
        PricedCase("read_query the last of 401", _call("read_query", "@0", 4, "#", 64), b"last"),
        PricedCase("read_cookie the last", _call("read_cookie", "@0", 1, "#", 64), b"d"),
        PricedCase("read_response_status", _call("read_response_status", 0)),
        PricedCase("read_response_header none", _call("read_response_header", "@0", 6, "#", 64), b"x-none"),
        PricedCase("set_response_status", _call("set_response_status", 200)),
        PricedCase(
            "set_response_body 60,000", _call("set_response_body", "@0", LARGE), b"b" * LARGE, calls=4
        ),
        PricedCase("log_message, most unwritten", _call("log_message", "@0", 64), b"l" * 64, calls=2000),
    ]


def _state() -> list[PricedCase]:
    write = _call("write_value", "@0", 4, "@0", 16, 100)
    note = _call("write_metadata", "@0", 4, "@0", 16)
    return [
        PricedCase("write_metadata", note, b"name" * 4),
        PricedCase("read_metadata", _call("read_metadata", "@0", 4, "#", 64), b"name" * 4, note),
        PricedCase("write_value", write, b"name" * 4),
        PricedCase("read_value", _call("read_value", "@0", 4, "#", 64), b"name" * 4, write),
        PricedCase("remove_value", _call("remove_value", "@0", 4), b"name" * 4, write),
        PricedCase("add_value", _call("add_value", "@0", 4, 1, 100), b"name" * 4),
        PricedCase("limit_events", _call("limit_events", "@0", 4, 10, 1000), b"name" * 4),
        PricedCase("read_secret", _call("read_secret", "@0", 6, "#", 0), b"secret"),
        PricedCase("count_metric", _call("count_metric", 0, 1)),
        PricedCase("find_upstream none", _call("find_upstream", "@0", 6), b"nobody"),
    ]
