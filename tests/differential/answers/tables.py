"""The cases: a Caddyfile and the requests sent to it, side by side in `cases/`.

`NAME.caddyfile` holds sites; `{$PORT}` and `{$TLS_PORT}` are its own ports, `{$ONE}` and `{$TWO}` the
backends', `{$DEAD}` a port where nobody listens, `{$CLOSING_A}` to `{$CLOSING_G}` backends that close without
an answer, `{$TRAILING}` one whose answers have trailers, `{$CERTIFICATE}` and `{$KEY}` files, `{$SITE}` the
directory of `trees`. `NAME.requests` holds a request a line, in the words of a shell:
`METHOD TARGET [Field=Value] [body=TEXT] [tls=SNI] [proto=1.0]`. `Host` is a.example unless given.
`ours=STATUS because=REASON` at the end states a deliberate difference: we answer STATUS, Caddy something
else, and docs/compatibility.md explains REASON.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

CASES = Path(__file__).with_name("cases")
DEFAULT_HOST = "a.example"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as bytes, where it goes, and the deliberate difference, if any."""

    case: str
    line: str
    payload: bytes
    sni: str | None = None
    ours: int = 0
    reason: str = ""

    def __str__(self):
        return f"{self.case}: {self.line}"


def case_names():
    """Return the names of all cases."""
    return sorted(path.stem for path in CASES.glob("*.caddyfile"))


def read_requests(name):
    """Return the requests of a case."""
    lines = (CASES / f"{name}.requests").read_text().splitlines()
    return [read_request(name, line) for line in lines if line.strip() and not line.startswith("#")]


def read_request(case, line):
    """Return the request that a line says."""
    method, target, *words = shlex.split(line)
    pairs = [word.partition("=")[::2] for word in words]
    options = {name: value for name, value in pairs if name in ("body", "tls", "proto", "ours", "because")}
    fields = [(name, value) for name, value in pairs if name not in options]
    if "host" not in {name.lower() for name, _ in fields}:
        fields.insert(0, ("Host", DEFAULT_HOST))
    body = options.get("body", "").encode()
    if "body" in options:
        fields.append(("Content-Length", str(len(body))))
    fields.append(("Connection", "close"))
    head = [
        f"{method} {target} HTTP/{options.get('proto', '1.1')}",
        *(f"{name}: {value}" for name, value in fields),
    ]
    # "\xNN" in a table stands for that byte.
    text = "\r\n".join(head).encode("latin-1").decode("unicode_escape").encode("latin-1")
    payload = text + b"\r\n\r\n" + body
    return Request(
        case, line, payload, options.get("tls"), int(options.get("ours", 0)), options.get("because", "")
    )
