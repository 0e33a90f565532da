"""Caddyfiles of others with their sites moved to loopback, so that each can be served here.

In: a Caddyfile, and values for its environment. Out: its text as one file: every site at plain HTTP and a
port of ours, by the scheme and port that it had, without certificates. Called by `beginning` and `editing`.
Rule: hosts, routes and all that a request meets are as they were.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zeroserve_ir.caddyfile.lexer import Quote, Token
from zeroserve_ir.caddyfile.parser import parse
from zeroserve_ir.caddyfile.syntax import Segment, SyntaxTree

from bench.scenes import LOOPBACK

MANIFEST = "manifest.json"
OPTIONS_KEPT = frozenset({"order", "log", "grace_period", "shutdown_delay", "filesystem"})
"""What decides about answers; the others are about listeners, certificates and Caddy's storage."""
DIRECTIVES_MOVED = frozenset({"bind", "tls"})
_ADDRESS = re.compile(r"(?:(https?)://)?([^/:\[\]]*|\[[^\]]*\])(?::(\d+))?(/.*)?")
_VARIABLE = re.compile(r"\{\$(\w+)")


class MovingError(ValueError):
    """The Caddyfile cannot be read."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A Caddyfile at loopback; `hosts` are its sites, each with the port that it is at."""

    text: str
    hosts: tuple[tuple[str, int], ...]


def find_wild(directory: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the Caddyfiles of a corpus with a manifest, and their environments."""
    for entry in json.loads((directory / MANIFEST).read_text())["kept"]:
        yield directory / entry["id"] / entry["main"], entry["env"]


def move(path: Path, environment: dict[str, str], first_port: int) -> Moved:
    """Read a Caddyfile with its imports and place its sites at `first_port` and above; MovingError."""
    text = path.read_text()
    named = dict.fromkeys(_VARIABLE.findall(text), "")
    known = {name: environment.get(name, "8080" if "PORT" in name else "") for name in named}
    tree, findings = parse(text, str(path), {name: value for name, value in known.items() if value})
    if findings:
        raise MovingError(findings[0].render_short())
    return _Mover(first_port).move(tree)


class _Mover:
    def __init__(self, first_port: int) -> None:
        self.first_port = first_port
        self.ports: dict[tuple[str, str], int] = {}
        self.hosts: list[tuple[str, int]] = []

    def move(self, tree: SyntaxTree) -> Moved:
        options = [one for one in tree.options if one.name.text in OPTIONS_KEPT]
        lines = [
            "{",
            "\tadmin off",
            "\tauto_https off",
            f"\tdefault_bind {LOOPBACK}",
            "\tservers {",
            "\t\tprotocols h1 h2 h2c",
            "\t}",
            *_write(options, 1),
            "}",
        ]
        for route in tree.named_routes:
            lines += [f"&({route.name.text}) {{", *_write(route.segments, 1), "}"]
        for site in tree.sites:
            keys = dict.fromkeys(self._move_address(key.text.rstrip(",")) for key in site.keys)
            kept = [one for one in site.segments if one.name.text not in DIRECTIVES_MOVED]
            lines += [", ".join(keys) + " {", *_write(kept, 1), "}"]
        return Moved("\n".join(lines) + "\n", tuple(dict.fromkeys(self.hosts)))

    def _move_address(self, address: str) -> str:
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise MovingError(f"no address: {address}")
        scheme, host, port, path = (part or "" for part in found.groups())
        place = ("https" if scheme != "http" and port != "80" else "http", port)
        place = {("https", "443"): ("https", ""), ("http", "80"): ("http", "")}.get(place, place)
        moved = self.ports.setdefault(place, self.first_port + len(self.ports))
        self.hosts.append((host, moved))
        return f"http://{host}:{moved}{path}"


def _write(segments: Iterable[Segment], depth: int) -> Iterator[str]:
    indent = "\t" * depth
    for segment in segments:
        words = " ".join(map(_quote, (segment.name, *segment.arguments)))
        if segment.block is None:
            yield indent + words
        else:
            yield f"{indent}{words} {{"
            yield from _write(segment.block, depth + 1)
            yield indent + "}"


def _quote(token: Token) -> str:
    if token.quote is Quote.NONE and token.text and not re.search(r'[\s"`]|^#|^[{}]$', token.text):
        return token.text
    if "`" not in token.text:
        return f"`{token.text}`"
    return '"' + token.text.replace('"', '\\"') + '"'


def write_moved(corpus: Path, folder: Path, first_port: int) -> Sequence[Path]:
    """Write the Caddyfiles of a corpus below a folder, moved; their paths."""
    written = []
    for path, environment in find_wild(corpus):
        target = folder / path.parent.name / "Caddyfile"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(move(path, environment, first_port).text)
        written.append(target)
    return written
