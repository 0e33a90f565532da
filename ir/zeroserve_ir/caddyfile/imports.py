"""`import`: which tokens stand for it, with arguments and blocks filled in.

In: the tokens of the import line and its block. Out: the tokens to splice in, or an `ImportRefusedError`
that the parser records. Files are read relative to the file of the importing token; a pattern may hold
one wildcard (Caddy: parse.go doImport). A source that is already in the token's chain is a cycle.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence

from zeroserve_ir.caddyfile.lexer import Token, tokenize
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic

_ARGUMENT = re.compile(r"\{args\[(\d+)\]\}|\{args\.(\d+)\}")
_VARIADIC = re.compile(r"\{args\[(-?\d*):(-?\d*)\]\}")


class ImportRefusedError(Exception):
    """Why an import cannot be expanded."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


def import_file_tokens(
    pattern: str, token: Token, environment: Mapping[str, str], texts: dict[str, str]
) -> tuple[list[Token], list[Diagnostic]]:
    """Read the files that `pattern` names; `texts` gets what was read, by absolute path."""
    tokens: list[Token] = []
    diagnostics: list[Diagnostic] = []
    for path in _matching_files(pattern, token):
        text = _read(path, token)
        texts[path] = text
        if path in token.sources:
            message = f"import cycle: {path} imports itself"
            raise ImportRefusedError(
                Diagnostic(Code.ZS0003, message, token.span, help="remove one of the imports")
            )
        read, found = tokenize(text, path, environment)
        tokens += [one._replace(sources=(path,)) for one in read]
        diagnostics += found
    return tokens, diagnostics


def _matching_files(pattern: str, token: Token) -> list[str]:
    base = os.path.dirname(os.path.abspath(token.span.file))
    path = os.path.normpath(os.path.join(base, pattern))
    if path.count("*") > 1 or path.count("?") > 1 or ("[" in path and "]" in path):
        message = f"pattern {pattern} has more than one wildcard"
        cure = "use one * or one ?, or several imports"
        raise ImportRefusedError(Diagnostic(Code.ZS0003, message, token.span, help=cure))
    if not any(char in path for char in "*?"):
        if not os.path.exists(path):
            cure = f"create {path}, or define a snippet ({pattern}) above"
            message = f"file to import not found: {pattern}"
            raise ImportRefusedError(Diagnostic(Code.ZS0003, message, token.span, help=cure))
        return [path]
    matches = sorted(glob.glob(path, include_hidden=True))
    if os.path.basename(path).startswith("*"):
        matches = [match for match in matches if not os.path.basename(match).startswith(".")]
    return matches


def _read(path: str, token: Token) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            return file.read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        message = f"cannot import {path}: {reason}"
        raise ImportRefusedError(
            Diagnostic(Code.ZS0003, message, token.span, help="name a readable file")
        ) from None


def fill_import(
    imported: Sequence[Token],
    line: Token,
    arguments: Sequence[Token],
    block: Sequence[Token],
    *,
    top_level: bool,
) -> list[Token]:
    """Return `imported` with `{args[…]}`, `{block}` and `{blocks.name}` filled in.

    The definition of a snippet within an imported file keeps its placeholders for its own imports.
    """
    chain = (*line.span.imports, f"{line.span.file}:{line.span.line}")
    mapping = _map_block(block)
    texts = [argument.text for argument in arguments]
    filled: list[Token] = []
    snippets = _SnippetTracker(active=top_level)
    for original in imported:
        span = original.span._replace(imports=(*chain, *original.span.imports))
        token = original._replace(span=span, sources=(*line.sources, *original.sources))
        if snippets.holds(token, filled[-1] if filled else None):
            filled.append(token)
        elif token.text == "{block}":
            filled += block
        elif token.text.startswith("{blocks.") and token.text.endswith("}"):
            filled += mapping.get(token.text[len("{blocks.") : -1], ())
        elif (bounds := _variadic_bounds(token.text, len(texts))) is not None:
            filled += [token.with_text(text) for text in texts[bounds[0] : bounds[1]]]
        else:
            filled.append(token.with_text(_fill_arguments(token.text, texts)))
    return filled


class _SnippetTracker:
    """Says whether a token belongs to a snippet's definition in an imported file."""

    def __init__(self, active: bool) -> None:
        self.active = active
        self.depth = self.index = 0
        self.candidate = self.inside = False

    def holds(self, token: Token, previous: Token | None) -> bool:
        if not self.active:
            return False
        if not self.inside:
            starts = previous is None or token.starts_line_after(previous)
            self.index = 0 if starts else self.index + 1
            if self.index == 0 and re.fullmatch(r"\(.+\)", token.text, re.DOTALL):
                self.candidate = True
        if token.opens:
            self.depth += 1
            if self.index == 1 and self.candidate and self.depth == 1:
                self.inside, self.candidate = True, False
        elif token.closes:
            self.depth -= 1
            if self.depth == 0 and self.inside:
                self.inside = False
        return self.inside


def _map_block(block: Sequence[Token]) -> dict[str, list[Token]]:
    """Split the block of an import into its parts by name, for `{blocks.name}`."""
    mapping: dict[str, list[Token]] = {}
    depth = 0
    current: list[Token] = []
    for index, token in enumerate(block):
        if depth == 0 and not token.opens and (index == 0 or token.starts_line_after(block[index - 1])):
            current = mapping.setdefault(token.text, [])
            current.clear()
            continue
        depth += token.opens - token.closes
        if (depth == 1 and token.opens) or (depth == 0 and token.closes):
            continue
        current.append(token)
    return mapping


def _variadic_bounds(text: str, count: int) -> tuple[int, int] | None:
    found = _VARIADIC.fullmatch(text)
    if not found:
        return None
    start = int(found[1]) if found[1] not in ("", "-") else 0
    end = int(found[2]) if found[2] not in ("", "-") else count
    return (start, end) if 0 <= start <= end <= count else None


def _fill_arguments(text: str, arguments: Sequence[str]) -> str:
    def fill(found: re.Match[str]) -> str:
        index = int(found[1] or found[2])
        return arguments[index] if index < len(arguments) else found[0]

    return _ARGUMENT.sub(fill, text) if "{args" in text else text
