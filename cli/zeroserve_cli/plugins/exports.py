"""What a plugin's file exports, judged for its author: sections that are no hook's, signatures that are none.

In: the compiler's object file. Out: diagnostics with the author's line. The rule: nodes load what they can
run; what an author surely did not mean is said here, before there is a file.
"""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.plugins.line_info import Places, read_places
from zeroserve_ir.plugins.modules import Hook
from zeroserve_ir.plugins.objects import Section, SectionKind, Symbol, SymbolKind, read_object
from zeroserve_ir.plugins.type_info import Kind, Signature, read_signatures
from zeroserve_ir.sources import Span

HOOKS: Final = tuple(hook.value for hook in Hook)
PLAIN: Final = ".text"
"""Where compilers put functions of which nothing is said; its parts have names behind it."""
LIKENESS: Final = 0.6
WRITTEN: Final = {
    "c": {"function": "ZS_FUNCTION", "request": "ZS_REQUEST", "response": "ZS_RESPONSE"},
    "rust": {hook: f"zeroserve::{hook}! {{ … }}" for hook in HOOKS},
    "zig": {hook: f'linksection("{hook}")' for hook in HOOKS},
}
"""How a function is exported, by language and hook."""
SIGNATURES: Final = {
    "c": "u64 NAME(struct zs_context *context)",
    "rust": "fn NAME(context: &Context) -> Verdict",
    "zig": "export fn NAME(context: *const zs.Context) zs.Verdict",
}
RESULT_KINDS: Final = {Kind.INTEGER, Kind.STRUCTURE, Kind.ENUMERATION, Kind.ENUMERATION_64}
RESULT_BYTES: Final = 8


def check_exports(content: bytes, language: str, file: str) -> Iterator[Diagnostic]:
    """Yield what is wrong with what an object file exports; raises PluginError where it is none."""
    found = read_object(content)
    types, lines = found.find_section(".BTF"), found.find_section(".BTF.ext")
    places = read_places(types.content, lines.content) if types and lines else {}
    signatures = read_signatures(types.content) if types else {}
    exported = {(each.section, each.offset) for each in found.symbols if each.exported}
    for symbol in found.symbols:
        if symbol.section is None or symbol.kind is SymbolKind.SECTION or not symbol.name:
            continue
        # Zig has a second name for each, and does not export that one.
        if not symbol.exported and (symbol.section, symbol.offset) in exported:
            continue
        section = found.sections[symbol.section]
        span = _find_line(places, section, symbol) or Span(file, 1, 1, 1)
        fault = _judge_place(section, symbol, language)
        if fault is None and section.name in HOOKS and symbol.name in signatures:
            fault = _judge_signature(symbol.name, signatures[symbol.name], language)
        if fault is not None:
            yield Diagnostic(code=Code.ZS0603, message=fault[0], span=span, help=fault[1])


def _judge_place(section: Section, symbol: Symbol, language: str) -> tuple[str, str] | None:
    written = WRITTEN[language]
    ways = " or ".join(written.values())
    if symbol.kind is not SymbolKind.FUNCTION:
        if section.name in HOOKS and section.kind is not SectionKind.OTHER and symbol.exported:
            cure = f"only functions are exported: leave out {written[section.name]}"
            return f"{symbol.name!r} is exported and is no function", cure
        return None
    if section.name in HOOKS:
        if symbol.exported:
            return None
        cure = {"c": "leave out `static`", "zig": "write `export fn`"}.get(language, "make it public")
        return f"function {symbol.name!r} lies in the section of a hook and is not exported", cure
    if (section.name + ".").startswith(f"{PLAIN}."):
        return None
    close = difflib.get_close_matches(section.name.rsplit("/", 1)[-1], HOOKS, n=1, cutoff=LIKENESS)
    if not symbol.exported and not close:
        return None
    message = f"function {symbol.name!r} lies in section {section.name!r}, which is no hook: nothing calls it"
    return message, f"write {written[close[0]] if close else ways}"


def _judge_signature(name: str, signature: Signature, language: str) -> tuple[str, str] | None:
    cure = f"write {SIGNATURES[language].replace('NAME', name)}"
    if signature.result_kind not in RESULT_KINDS or signature.result_bytes != RESULT_BYTES:
        given = signature.result or "something else"
        return f"function {name!r} gives {given}, and a verdict is a number of 64 bits", cure
    if len(signature.parameters) > 1:
        return (
            f"function {name!r} takes {len(signature.parameters)} arguments, and gets one: the context",
            cure,
        )
    if signature.parameters and signature.parameters[0] is not Kind.POINTER:
        return f"function {name!r} takes no pointer, and gets one: to the context", cure
    return None


def _find_line(places: Places, section: Section, symbol: Symbol) -> Span | None:
    found = places.get(section.name, ())
    first, end = (bisect_left(found, (offset,)) for offset in (symbol.offset, symbol.offset + symbol.size))
    return next((Span(shorten(file), line, 1, 1) for _, file, line in found[first:end] if line), None)


def shorten(file: str) -> str:
    """Return a path as its author would write it here: compilers note whole ones."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
