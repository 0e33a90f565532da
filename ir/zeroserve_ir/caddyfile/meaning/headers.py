"""`header`, `request_header`, and the header lines of `reverse_proxy`.

Fields are held in canonical form and sorted, as the maps of Caddy's JSON are (headers/caddyfile.go).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.answering import read_response_match
from zeroserve_ir.caddyfile.meaning.fields import canonical_field
from zeroserve_ir.caddyfile.meaning.matchers import check_regexp
from zeroserve_ir.caddyfile.meaning.reading import Reading, refusal, refuse_block, wrong_count
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import NO_HEADER_OPERATIONS, HeaderOperations, HeaderReplacement, Headers


@dataclass(slots=True)
class OperationsBuilder:
    """Header operations being read."""

    add: dict[str, list[str]] = field(default_factory=dict)
    set: dict[str, str] = field(default_factory=dict)
    default: dict[str, str] = field(default_factory=dict)
    delete: list[str] = field(default_factory=list)
    replace: list[HeaderReplacement] = field(default_factory=list)
    deferred: bool = False

    def read(self, tokens: tuple[Token, ...], *, response: bool) -> None:
        """Read `[+|-|?|>]<field> [<value|regexp> [<replacement>]]`."""
        name = tokens[0].text
        value = tokens[1].text if len(tokens) > 1 else ""
        if name.startswith("+"):
            self.add.setdefault(canonical_field(name[1:]), []).append(value)
        elif name.startswith("-"):
            self.delete.append(name[1:])
            self.deferred = True
        elif name.startswith("?"):
            if not response:
                cure = "use a matcher: header !FIELD"
                raise refusal(Code.ZS0103, "? is for the fields of answers", tokens[0], cure)
            self.default[canonical_field(name[1:])] = value
        elif len(tokens) > 2:
            self.deferred = self.deferred or name.startswith(">")
            bare = name.lstrip("+-?>")
            self.replace.append(HeaderReplacement(bare, check_regexp(tokens[1]), tokens[2].text))
        else:
            self.deferred = self.deferred or name.startswith(">")
            self.set[canonical_field(name.removeprefix(">"))] = value

    def build(self) -> HeaderOperations:
        """Return the operations, fields sorted."""
        if not (self.add or self.set or self.default or self.delete or self.replace):
            return NO_HEADER_OPERATIONS
        return HeaderOperations(
            add=tuple((name, value) for name in sorted(self.add) for value in self.add[name]),
            set=tuple(sorted(self.set.items())),
            default=tuple(sorted(self.default.items())),
            delete=tuple(self.delete),
            replace=tuple(sorted(self.replace, key=lambda one: one.field)),
        )


def read_header(segment: Segment, reading: Reading) -> list[Headers]:
    """`header [<field> …] { … }`: up to two handlers, those with `?` apart from the others."""
    plain, conditional = OperationsBuilder(), OperationsBuilder()
    reading.leave_out(segment.arguments[3:], "header")
    if segment.arguments:
        (conditional if segment.arguments[0].text.startswith("?") else plain).read(
            segment.arguments[:3], response=True
        )
    deferred, require = False, None
    for inner in segment.block or ():
        name = inner.name.text
        words = (inner.name, *inner.arguments)
        if name == "defer":
            deferred, words = True, inner.arguments
        if name == "match":
            require = read_response_match(inner)
            continue
        if words and segment.arguments:
            raise refusal(
                Code.ZS0001, "fields both on the line and in the block", inner.name, "move all into the block"
            )
        refuse_block(inner)
        for at in range(0, len(words), 3):
            field_name, *values = words[at : at + 3]
            if field_name is not inner.name:
                message = f"{field_name.text} is a field of its own, as in Caddy"
                reading.warn(Code.ZS0102, message, field_name, "write it in a line of its own, or remove it")
            bare = field_name.with_text(field_name.text.removesuffix(":"))
            (conditional if bare.text.startswith("?") else plain).read((bare, *values), response=True)
    plain.deferred = plain.deferred or deferred
    return [
        Headers(response=builder.build(), deferred=builder.deferred, require=wanted)
        for builder, wanted in ((plain, require), (conditional, None))
        if builder.build() or builder.deferred
    ]


def read_request_header(segment: Segment, _: Reading) -> Headers:
    """`request_header [+|-]<field> [<value|regexp> [<replacement>]]`."""
    if not 1 <= len(segment.arguments) <= 3:
        raise wrong_count(segment, "request_header FIELD [VALUE [REPLACEMENT]]")
    refuse_block(segment)
    builder = OperationsBuilder()
    first = segment.arguments[0]
    builder.read((first.with_text(first.text.removesuffix(":")), *segment.arguments[1:]), response=False)
    return Headers(request=builder.build())
