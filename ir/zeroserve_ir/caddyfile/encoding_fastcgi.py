"""`transport fastcgi` as Caddy's JSON, and as lines of a Caddyfile. For `encoding` and the printer."""

from __future__ import annotations

from typing import Any

from zeroserve_ir.caddyfile.printer_words import block, line, word
from zeroserve_ir.tree import HttpTransport
from zeroserve_ir.tree_fastcgi import FastCgi

Json = dict[str, Any]


def encode_fastcgi(fastcgi: FastCgi, transport: HttpTransport) -> Json:
    """Encode the transport, empty values left out as Go does."""
    encoded: Json = {
        "root": fastcgi.root,
        "split_path": list(fastcgi.split),
        "resolve_root_symlink": fastcgi.resolve_root_symlink,
        "env": dict(fastcgi.environment),
        "dial_timeout": transport.dial_timeout_ms * 1_000_000,
        "read_timeout": transport.read_timeout_ms * 1_000_000,
        "write_timeout": transport.write_timeout_ms * 1_000_000,
        "capture_stderr": fastcgi.capture_stderr,
    }
    return {"protocol": "fastcgi", **{key: value for key, value in encoded.items() if value}}


def fastcgi_lines(fastcgi: FastCgi, transport: HttpTransport) -> list[str]:
    """Return the block of `transport fastcgi`."""
    lines = [line("root", word(fastcgi.root, quoted=True))] if fastcgi.root else []
    lines += [line("split", *map(word, fastcgi.split))] if fastcgi.split else []
    lines += [line("env", word(name), word(value, quoted=True)) for name, value in fastcgi.environment]
    lines += ["resolve_root_symlink"] if fastcgi.resolve_root_symlink else []
    for name, value in (
        ("dial_timeout", transport.dial_timeout_ms),
        ("read_timeout", transport.read_timeout_ms),
        ("write_timeout", transport.write_timeout_ms),
    ):
        lines += [f"{name} {value}ms"] if value else []
    lines += ["capture_stderr"] if fastcgi.capture_stderr else []
    return block("transport fastcgi", lines)
