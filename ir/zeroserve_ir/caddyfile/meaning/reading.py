"""What all readers of directives share: the scope they read in, refusals, and values of arguments.

A reader either returns a value or raises `RefusedError` for its own directive; `Reading.collect` turns that
into a diagnostic, and the next directive is read. Nothing of this leaves the package.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.tree import MatcherSet, ServiceReference


class Profile(Enum):
    """Who wrote the text: the machine's owner, or a tenant of a cluster."""

    LOCAL = "local"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Tenancy:
    """What a tenant's text may name."""

    namespace: str
    hosts: tuple[str, ...]
    allow_reference: Callable[[ServiceReference], bool]
    """Whether a Service of another namespace may be used (ReferenceGrant)."""


class RefusedError(Exception):
    """A directive cannot be used as written."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


def refusal(code: Code, message: str, token: Token, cure: str = "", label: str = "") -> RefusedError:
    """Return the exception that refuses what stands at `token`."""
    return RefusedError(Diagnostic(code, message, token.span, label=label, help=cure))


@dataclass(slots=True)
class Collecting:
    """`with` this, a refusal is recorded. A class: of generators every token would make one."""

    diagnostics: list[Diagnostic]

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, _: object) -> bool:
        if not isinstance(raised, RefusedError):
            return False
        self.diagnostics.append(raised.diagnostic)
        return True


@dataclass(slots=True)
class Reading:
    """One pass over a configuration: findings, the order of directives, the counter of groups."""

    profile: Profile
    order: list[str]
    tenancy: Tenancy | None = None
    diagnostics: list[Diagnostic] = field(default_factory=list)
    groups: int = 0
    files: tuple[str, ...] = ()
    """Files that the text of the site at hand comes from; `file_server` hides them."""
    defined: set[str] = field(default_factory=set)
    """Placeholders that `map` defines."""
    loggers: int = 0
    invoked: dict[str, Token] = field(default_factory=dict)
    """Names of routes that `invoke` runs, with where each stands first."""

    def next_group(self) -> str:
        """Return the next group's name, numbered as Caddy's adapter does."""
        self.groups += 1
        return f"group{self.groups - 1}"

    def next_logger(self) -> str:
        """Return the next name of a site's logger that has none."""
        self.loggers += 1
        return f"log{self.loggers - 1}"

    def collect(self) -> Collecting:
        """Record a refusal and go on after the block."""
        return Collecting(self.diagnostics)

    def leave_out(self, tokens: Sequence[Token], owner: str, cure: str = "remove it") -> None:
        """Record that Caddy reads over arguments at the end of a line, and so is done here."""
        if tokens:
            message = f"{owner}: {' '.join(texts(tokens))} is left out, as in Caddy"
            self.warn(Code.ZS0102, message, tokens[0], cure)

    def warn(self, code: Code, message: str, token: Token, cure: str = "") -> None:
        """Record a finding that withholds nothing."""
        self.diagnostics.append(Diagnostic(code, message, token.span, help=cure, severity=Severity.WARNING))


@dataclass(slots=True)
class Scope:
    """Where a directive stands: the named matchers that it sees."""

    reading: Reading
    matchers: dict[str, MatcherSet] = field(default_factory=dict)

    def nested(self) -> Scope:
        """Return a scope that sees the same matchers and may add its own."""
        return Scope(self.reading, dict(self.matchers))


_CURLY_QUOTES = ("“", "”", "„", "«")
"""Quotes of word processors, which quote nothing here."""


def wrong_count(segment: Segment, usage: str) -> RefusedError:
    """Return the refusal of a wrong number of arguments; `usage` shows the right one."""
    count = len(segment.arguments)
    message = f"{segment.name.text} has {count} argument{'' if count == 1 else 's'}"
    if curly := next((one for one in segment.arguments if one.text[:1] in _CURLY_QUOTES), None):
        return refusal(Code.ZS0102, message, curly, f'write {usage}, with straight quotes (")')
    return refusal(Code.ZS0102, message, segment.name, f"write {usage}")


def texts(tokens: Sequence[Token]) -> tuple[str, ...]:
    """Return the texts of the tokens."""
    return tuple(token.text for token in tokens)


def only_argument(segment: Segment, usage: str) -> Token:
    """Return the one argument of a segment without block."""
    if len(segment.arguments) != 1:
        raise wrong_count(segment, usage)
    refuse_block(segment)
    return segment.arguments[0]


def some_arguments(segment: Segment, usage: str) -> tuple[Token, ...]:
    """Return the arguments, of which there is at least one."""
    if not segment.arguments:
        raise wrong_count(segment, usage)
    refuse_block(segment)
    return segment.arguments


def no_arguments(segment: Segment) -> None:
    """Refuse arguments and a block."""
    if segment.arguments:
        raise wrong_count(segment, segment.name.text)
    refuse_block(segment)


def refuse_block(segment: Segment) -> None:
    """Refuse a block where the directive has none."""
    if segment.block is not None:
        at = segment.block[0].name if segment.block else segment.name
        raise refusal(Code.ZS0001, f"{segment.name.text} takes no block", at, "remove the block")


def without_empty_block(segment: Segment) -> Segment:
    """Return a line whose block has no lines as one without block: where Caddy reads such a block over."""
    return segment._replace(block=None) if segment.block == () else segment


def no_more_arguments(segment: Segment) -> None:
    """Refuse arguments; a block may follow."""
    if segment.arguments:
        no_arguments(segment)


def take_arguments(segment: Segment, count: int, reading: Reading) -> Segment:
    """Return a line with its first arguments, where Caddy reads over further ones; those are warned of."""
    reading.leave_out(segment.arguments[count:], segment.name.text)
    return segment._replace(arguments=segment.arguments[:count])


def take_value(segment: Segment, reading: Reading) -> Segment:
    """Return a line with its first argument, where Caddy reads over further ones and over an empty block."""
    return without_empty_block(take_arguments(segment, 1, reading))


def take_block(segment: Segment, reading: Reading, cure: str = "remove it") -> tuple[Segment, ...]:
    """Return the lines of a block; where a word stands before it, Caddy reads over the word and the block."""
    reading.leave_out(segment.arguments, segment.name.text, cure)
    return () if segment.arguments else segment.block or ()


_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h|d)")
_NANOSECONDS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9,
    "h": 3600 * 10**9, "d": 86400 * 10**9,
}  # fmt: skip


def duration_ms(token: Token) -> int:
    """Return a duration in milliseconds, as `round_to_ms` has it."""
    return round_to_ms(duration_ns(token))


def number_or_duration_ms(token: Token) -> int:
    """Return milliseconds where Caddy takes a number of nanoseconds too (strconv.Atoi)."""
    is_number = re.fullmatch(r"[+-]?[0-9]{1,18}", token.text)
    return round_to_ms(int(token.text)) if is_number else duration_ms(token)


def round_to_ms(nanoseconds: int) -> int:
    """Return milliseconds: of less than one, one, as 0 says something else; negative ones stay below 0."""
    return round(nanoseconds / 10**6) or (nanoseconds > 0) - (nanoseconds < 0)


def duration_ns(token: Token) -> int:
    """Return a duration such as `1m30s` or `2d` in nanoseconds (Go's time.ParseDuration, with days)."""
    try:
        return parse_duration_ns(token.text)
    except ValueError as error:
        raise refusal(Code.ZS0103, str(error), token, "write for example 30s, 1m30s or 500ms") from None


def parse_duration_ns(text: str) -> int:
    """Return what `duration_ns` does of a text. ValueError for one that is no duration."""
    sign = -1 if text.startswith("-") else 1
    unsigned = text.removeprefix("-").removeprefix("+")
    parts = list(_DURATION.finditer(unsigned))
    if unsigned == "0":
        return 0
    if not parts or "".join(part[0] for part in parts) != unsigned:
        raise ValueError(f"{text!r} is not a duration")
    return sign * int(sum(Decimal(part[1]) * _NANOSECONDS[part[2]] for part in parts))


_SIZE = re.compile(r"(\d[\d,]*\.?\d*)\s*([a-zA-Z]*)")
_SIZE_UNITS = {"": 1, "b": 1} | {
    name + suffix: base**power
    for power, name in enumerate("kmgtpe", 1)
    for suffix, base in (("", 1000), ("b", 1000), ("i", 1024), ("ib", 1024))
}


def size_bytes(token: Token) -> int:
    """Return a size such as `10MB` (powers of 1000) or `10MiB` (of 1024) in bytes (humanize.ParseBytes)."""
    found = _SIZE.fullmatch(token.text)
    unit = _SIZE_UNITS.get(found[2].lower()) if found else None
    if not found or unit is None:
        raise refusal(Code.ZS0103, f"{token.text!r} is not a size", token, "write for example 10MB or 512KiB")
    return int(float(found[1].replace(",", "")) * unit)


def integer(token: Token) -> int:
    """Return a whole number."""
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", token.text):
        raise refusal(Code.ZS0103, f"{token.text!r} is not a whole number", token, "write digits only")
    return int(token.text)


def port(token: Token) -> int:
    """Return a port from 1 to 65535."""
    number = integer(token)
    if not 0 < number < 65536:
        raise refusal(Code.ZS0103, f"port {number} is out of range", token, "write a port from 1 to 65535")
    return number


def is_status(text: str) -> bool:
    """Whether one argument of `respond` or `error` means a status (Caddy: three digits, positive)."""
    return len(text) == 3 and re.fullmatch(r"[+]?\d+", text) is not None and int(text) > 0


PRIVATE_RANGES = ("192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8", "127.0.0.1/8", "fd00::/8", "::1")
"""What `private_ranges` stands for (Caddy: internal/ranges.go)."""
