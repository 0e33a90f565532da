"""Debug headers: who may ask a running server why it answers as it does.

In: a key file, a host. Out: the value of `X-Zeroserve-Explain`: expiry in seconds since 1970, a dot, and in
hexadecimal HMAC-SHA256 over host, line feed and expiry. Called by `zeroserve explain --sign` and by
those that serve with `--explain-key` (run, dev, operator); the engine checks it (exchange/explaining.rs).
"""

from __future__ import annotations

import argparse
import hmac
from pathlib import Path

FIELD = "X-Zeroserve-Explain"
KEY_BYTES_MIN = 16


class ExplainKeyError(Exception):
    """The key file cannot be read, or is too short to be a secret."""


def add_key_argument(parser: argparse.ArgumentParser) -> None:
    """Add the file of the key."""
    parser.add_argument(
        "--explain-key",
        type=Path,
        metavar="FILE",
        help="key of `zeroserve explain --sign`: who has it is told why an answer is what it is",
    )


def take_explain_key(arguments: argparse.Namespace) -> bytes:
    """Return the key that the arguments name, none without; exits where it is no key."""
    try:
        return read_explain_key(arguments.explain_key) if arguments.explain_key else b""
    except ExplainKeyError as error:
        raise SystemExit(f"zeroserve: {error}") from error


def read_explain_key(path: Path) -> bytes:
    """Return the key of a file, without white space around it."""
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise ExplainKeyError(f"{path}: {error.strerror}") from error
    if len(key) < KEY_BYTES_MIN:
        raise ExplainKeyError(f"{path}: a key has at least {KEY_BYTES_MIN} bytes")
    return key


def sign_request(host: str, key: bytes, expires_s: int) -> str:
    """Return the header's value for a host; `expires_s` is in seconds since 1970, a day ahead at most."""
    message = f"{host.lower()}\n{expires_s}".encode()
    return f"{expires_s}.{hmac.new(key, message, 'sha256').hexdigest()}"
