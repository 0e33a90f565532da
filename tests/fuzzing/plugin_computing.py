"""Codecs, hashes, keys and times of the plugins' helpers in plain Python."""

import base64
import hashlib
import hmac
import re
import time
import urllib.parse

from zeroserve_dataplane.interpreter import Trap, TrapError
from zeroserve_ir.program import abi
from zeroserve_ir.program.abi import Codec, Digest

from fuzzing.plugin_documents import UnsureError, parse

NONE = -1
KEYS_MAX = 64
SECONDS_MAX = 253_402_300_799
_DIGESTS = {
    Digest.SHA256: hashlib.sha256,
    Digest.SHA384: hashlib.sha384,
    Digest.SHA512: hashlib.sha512,
    Digest.SHA1: hashlib.sha1,
}
_TIMES = {
    b"Y": "%04Y",
    b"m": "%m",
    b"d": "%d",
    b"H": "%H",
    b"M": "%M",
    b"S": "%S",
    b"a": "%a",
    b"b": "%b",
    b"j": "%j",
}


class Computing:
    """The helpers that need no request."""

    def __init__(self):
        self.keys = []

    def encode(self, codec, content):
        if codec == Codec.BASE64:
            return base64.b64encode(content)
        if codec == Codec.BASE64_URL:
            return base64.urlsafe_b64encode(content).rstrip(b"=")
        if codec == Codec.HEX:
            return content.hex().encode()
        kept = {Codec.PERCENT: "", Codec.PERCENT_PATH: "/", Codec.FORM: " "}.get(codec)
        if kept is None:
            return None
        return urllib.parse.quote(content, safe=kept + "-._~").replace(" ", "+").encode()

    def decode(self, codec, text):
        if codec in (Codec.BASE64, Codec.BASE64_URL):
            return _decode_base64(text, is_url=codec == Codec.BASE64_URL)
        if codec == Codec.HEX:
            found = re.fullmatch(rb"([0-9a-fA-F]{2})*", text)
            return bytes.fromhex(text.decode()) if found else None
        if codec in (Codec.PERCENT, Codec.PERCENT_PATH):
            return unescape(text)
        return unescape(text.replace(b"+", b" ")) if codec == Codec.FORM else None

    def digest(self, kind, content):
        return _DIGESTS[kind](content).digest() if kind in _DIGESTS else None

    def import_key(self, kind, content):
        if kind == abi.KeyKind.HMAC_SHA256:
            key = content
        elif kind > abi.KeyKind.JWK:
            return NONE
        elif kind != abi.KeyKind.JWK:
            raise UnsureError("a public key")
        else:
            key = _read_jwk(content)
        if key is None or len(self.keys) >= KEYS_MAX:
            return NONE
        self.keys.append(key)
        return len(self.keys) - 1

    def _find_key(self, number):
        if number >= len(self.keys):
            raise TrapError(Trap.HELPER, "no such key")
        return self.keys[number]

    def sign(self, number, content):
        return hmac.digest(self._find_key(number), content, "sha256")

    def verify_signature(self, number, message, signature):
        return int(hmac.compare_digest(hmac.digest(self._find_key(number), message, "sha256"), signature))

    def hmac_sha256(self, key, content):
        return hmac.digest(key, content, "sha256")

    def compare_secrets(self, left, right):
        return int(left == right)

    def fill_random(self):
        raise UnsureError("random bytes")

    def read_time(self, _):
        return self.granted.now_s

    def format_time(self, seconds, pattern):
        if seconds > SECONDS_MAX:
            return None
        made, at = b"", 0
        while at < len(pattern):
            letter = pattern[at : at + 1]
            at += 1
            if letter != b"%":
                made += letter
                continue
            letter, at = pattern[at : at + 1], at + 1
            if letter == b"%":
                made += letter
            elif letter in _TIMES:
                moment = time.gmtime(seconds)
                text = f"{moment.tm_year:04}" if letter == b"Y" else time.strftime(_TIMES[letter], moment)
                made += text.encode()
            else:
                return None
        return made


def unescape(text):
    """Return text without its percent escapes; None where one is malformed."""
    if re.search(rb"%(?![0-9a-fA-F]{2})", text):
        return None
    return urllib.parse.unquote_to_bytes(text)


def _decode_base64(text, *, is_url):
    """Strict: an alphabet, full padding (none for URLs, or full), no bits left over."""
    if is_url:
        if not text.endswith(b"="):
            text += b"=" * (-len(text) % 4)
        if b"+" in text or b"/" in text:
            return None
        text = text.replace(b"-", b"+").replace(b"_", b"/")
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return content if base64.b64encode(content) == text else None


def _read_jwk(content):
    value = parse(content)
    if not isinstance(value, dict) or not isinstance(value.get("kty"), str):
        return None
    if value["kty"] != "oct":
        raise UnsureError("a public key")
    key = value.get("k")
    return _decode_base64_url_bare(key) if isinstance(key, str) else None


def _decode_base64_url_bare(text):
    return None if "=" in text else _decode_base64(text.encode(), is_url=True)
