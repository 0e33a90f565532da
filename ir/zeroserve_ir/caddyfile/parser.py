"""Tokens -> the surface tree: options, site blocks and named routes, with all imports expanded.

In: text of a Caddyfile (local profile) or of a site's body (tenant profile). Out: a `SyntaxTree`, or
segments, and every finding as a diagnostic: the parser goes on after an error, never raises for bad
input, and ends on every input (bounds in `limits`). Called by `meaning` and by the commands.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from zeroserve_ir.caddyfile.environment import environment_references
from zeroserve_ir.caddyfile.imports import ImportRefusedError, fill_import, import_file_tokens
from zeroserve_ir.caddyfile.lexer import Token, tokenize
from zeroserve_ir.caddyfile.limits import DEPTH_MAX, IMPORTS_MAX, TENANT_TEXT_LENGTH_MAX, TOKENS_MAX
from zeroserve_ir.caddyfile.syntax import NamedRoute, Segment, SiteBlock, SyntaxTree
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.sources import Origin, Span


def parse(text: str, file: str, environment: Mapping[str, str]) -> tuple[SyntaxTree, list[Diagnostic]]:
    """Parse a whole Caddyfile; `file` anchors relative imports and names the spans."""
    tokens, diagnostics = tokenize(text, file, environment)
    if diagnostics:
        return SyntaxTree((), (), (), {file: text}), diagnostics
    parser = _Parser(tokens, environment, {file: text}, root=os.path.abspath(file))
    return parser.parse_file(), parser.diagnostics


def parse_site_body(text: str, origin: Origin) -> tuple[tuple[Segment, ...], list[Diagnostic]]:
    """Parse directives without an address, as a Kubernetes object holds them: no imports, no environment."""
    if len(text) > TENANT_TEXT_LENGTH_MAX:
        message = f"the text has {len(text)} characters, at most {TENANT_TEXT_LENGTH_MAX} are allowed"
        return (), [Diagnostic(Code.ZS0202, message, Span(origin.field, 1, 1, 2, origin=origin))]
    diagnostics = []
    for offset in environment_references(text):
        line = text.count("\n", 0, offset) + 1
        column = offset - text.rfind("\n", 0, offset)
        span = Span(origin.field, line, column, column + 2, origin=origin)
        message = "environment variables are not allowed here"
        diagnostics.append(Diagnostic(Code.ZS0201, message, span, help="write the value itself"))
    if diagnostics:
        return (), diagnostics
    tokens, diagnostics = tokenize(text, origin.field, {}, origin)
    if diagnostics:
        return (), diagnostics
    parser = _Parser(tokens, None, {})
    segments = parser.parse_segments(0, closing=False)
    if parser.at < len(parser.tokens):
        parser.report(Code.ZS0001, "unexpected '}'", parser.tokens[parser.at], "remove it")
    return segments, parser.diagnostics


class _Parser:
    """One pass over the tokens; imports are spliced in at the cursor."""

    def __init__(
        self,
        tokens: list[Token],
        environment: Mapping[str, str] | None,
        texts: dict[str, str],
        root: str = "",
    ) -> None:
        self.tokens = tokens
        self.environment = environment
        self.texts = texts
        self.root = root
        self.at = 0
        self.imports = 0
        self.unclosed = False
        self.in_named_route = False
        self.snippets: dict[str, list[Token]] = {}
        self.diagnostics: list[Diagnostic] = []

    def report(self, code: Code, message: str, token: Token, help: str = "", label: str = "") -> None:
        self.diagnostics.append(Diagnostic(code, message, token.span, help=help, label=label))

    def more(self) -> bool:
        return self.at < len(self.tokens)

    def starts_line(self) -> bool:
        return self.at == 0 or self.tokens[self.at].starts_line_after(self.tokens[self.at - 1])

    # Blocks

    def parse_file(self) -> SyntaxTree:
        options: tuple[Segment, ...] = ()
        sites: list[SiteBlock] = []
        routes: list[NamedRoute] = []
        first = True
        while self.more():
            before = self.at
            start = self.tokens[self.at]
            keys, braces = self.parse_addresses()
            name = keys[0].text if len(keys) == 1 else ""
            if name.startswith("(") and name.endswith(")"):
                self.define_snippet(keys[0])
                continue
            self.in_named_route = name.startswith("&(")
            segments = self.parse_body()
            if name.startswith("&(") and name.endswith(")"):
                routes.append(NamedRoute(keys[0].with_text(name[2:-1]), segments))
            elif keys:
                sites.append(SiteBlock(keys, segments, braces))
            elif first:
                options = segments
            elif braces and segments:
                cure = "give the block an address, or move it to the top of the file"
                self.report(
                    Code.ZS0001, "a block without address is for global options and stands first", start, cure
                )
            first = first and not keys and not segments
            if self.at == before:  # Whatever was not understood is passed over, so that parsing ends.
                self.at += 1
        return SyntaxTree(options, tuple(sites), tuple(routes), self.texts)

    def parse_addresses(self) -> tuple[tuple[Token, ...], bool]:
        """Read addresses up to `{` or the end of the line; a comma at the end asks for another."""
        keys: list[Token] = []
        another = False
        while self.more():
            token = self.tokens[self.at]
            value = token.text
            if value == "import" and not token.quoted and self.starts_line():
                self.expand_import(top_level=True)
                if keys and not another:
                    break
                continue
            if token.opens:
                if another:
                    self.report(
                        Code.ZS0001, "expected another address after the comma", token, "remove the comma"
                    )
                return tuple(keys), True
            if value.startswith("@") and not token.quoted:
                cure = "move the matcher into a site block"
                self.report(Code.ZS0001, f"matcher {value} outside of a site block", token, cure)
            elif value.endswith("{") and not token.quoted and len(value) > 1 and not value.endswith("${"):
                self.report(
                    Code.ZS0001, f"no space before the brace in {value!r}", token, f"write {value[:-1]} {{"
                )
                keys.append(token.with_text(value[:-1]))
                self.tokens[self.at] = token.with_text("{")
                return tuple(keys), True
            else:
                another = value.endswith(",")
                value = value.removesuffix(",")
                if "," in value:
                    cure = "put a space after the comma"
                    self.report(Code.ZS0001, f"address {value!r} holds a comma", token, cure)
                elif value:
                    keys.append(token.with_text(value))
            self.at += 1
            if self.more() and not another and self.starts_line():
                break
        if another and keys:
            self.report(Code.ZS0002, "expected another address after the comma", keys[-1], "remove the comma")
        return tuple(keys), False

    def parse_body(self) -> tuple[Segment, ...]:
        """Parse what follows the addresses: a block, or without braces the rest of the file."""
        if self.more() and self.tokens[self.at].opens:
            brace = self.tokens[self.at]
            self.at += 1
            return self.parse_segments(1, closing=True, brace=brace)
        segments = self.parse_segments(0, closing=False)
        if self.more():
            self.report(
                Code.ZS0001, "unexpected '}' without an opening brace", self.tokens[self.at], "remove it"
            )
            self.at += 1
        return segments

    def define_snippet(self, key: Token) -> None:
        name = key.text[1:-1]
        if not (self.more() and self.tokens[self.at].opens):
            self.report(Code.ZS0001, f"snippet {key.text} has no block", key, f"write {key.text} {{ … }}")
            return
        tokens = self.take_block(key)
        if name in self.snippets:
            self.report(Code.ZS0001, f"snippet {key.text} is defined twice", key, "rename one of them")
            return
        self.snippets[name] = tokens

    def take_block(self, owner: Token) -> list[Token]:
        """Take the tokens between the brace at the cursor and its partner, without both."""
        self.at += 1
        start, depth = self.at, 1
        while self.more():
            token = self.tokens[self.at]
            depth += token.opens - token.closes
            self.at += 1
            if depth == 0:
                return self.tokens[start : self.at - 1]
        self.report(Code.ZS0002, "block is not closed", owner, "add the missing }")
        return self.tokens[start:]

    # Segments

    def parse_segments(self, depth: int, *, closing: bool, brace: Token | None = None) -> tuple[Segment, ...]:
        segments: list[Segment] = []
        while self.more():
            token = self.tokens[self.at]
            if token.closes:
                if closing:
                    self.at += 1
                return tuple(segments)
            if token.text == "import" and not token.quoted and self.starts_line():
                self.expand_import(top_level=False)
                continue
            if depth > DEPTH_MAX:
                self.report(
                    Code.ZS0202, f"blocks are nested deeper than {DEPTH_MAX}", token, "flatten the blocks"
                )
                self.at = len(self.tokens)
                self.unclosed = True
                return tuple(segments)
            segments.append(self.parse_segment(depth))
        if closing and brace is not None and not self.unclosed:
            # Only the innermost block is named: the others lack their brace for the same reason.
            self.unclosed = True
            self.report(Code.ZS0002, "block is not closed", brace, "add the missing }", "opened here")
            if depth == 1 and self.tokens[-1].closes and not self.in_named_route:
                # Caddy takes the last brace of the file for that of the site, too (parse.go closeCurlyBrace).
                self.diagnostics[-1] = replace(self.diagnostics[-1], severity=Severity.WARNING)
        return tuple(segments)

    def parse_segment(self, depth: int) -> Segment:
        name = self.tokens[self.at]
        arguments: list[Token] = []
        if name.opens:
            cure = "place the brace on the line of the directive"
            self.report(Code.ZS0001, "unexpected '{' on a new line", name, cure)
        else:
            self.at += 1
        while self.more():
            token = self.tokens[self.at]
            if name is not token and self.starts_line():
                break
            if token.opens:
                self.at += 1
                if self.more() and not self.starts_line():
                    cure = "start a new line after the brace"
                    self.report(
                        Code.ZS0001, "unexpected token after '{' on its line", self.tokens[self.at], cure
                    )
                block = self.parse_segments(depth + 1, closing=True, brace=token)
                self.end_segment_line()
                return Segment(name, tuple(arguments), block)
            if token.closes:
                cure = "place the brace on a line of its own"
                self.report(Code.ZS0001, "unexpected '}' at the end of a directive", token, cure)
                break
            if token.text == "{}" and not token.quoted:
                self.report(Code.ZS0001, "unexpected '{}' at the end of a line", token, "remove it")
            else:
                arguments.append(token)
            self.at += 1
        return Segment(name, tuple(arguments))

    def end_segment_line(self) -> None:
        while self.more() and not self.starts_line() and not self.tokens[self.at].closes:
            token = self.tokens[self.at]
            self.report(Code.ZS0001, f"unexpected {token.text!r} after '}}'", token, "start a new line")
            self.at += 1

    # Imports

    def expand_import(self, *, top_level: bool) -> None:
        """Replace the import at the cursor by what it stands for; a bad one by nothing."""
        start = self.at
        line = self.tokens[start]
        self.at += 1
        arguments: list[Token] = []
        while self.more() and not self.starts_line() and not self.tokens[self.at].opens:
            if self.tokens[self.at].closes:
                break
            arguments.append(self.tokens[self.at])
            self.at += 1
        block: list[Token] = []
        if self.more() and not self.starts_line() and self.tokens[self.at].opens:
            block = self.take_block(line)
        try:
            imported = self.resolve_import(line, arguments)
            filled = fill_import(imported, line, arguments[1:], block, top_level=top_level)
        except ImportRefusedError as refused:
            self.diagnostics.append(refused.diagnostic)
            filled = []
        if len(self.tokens) + len(filled) > TOKENS_MAX:
            self.report(Code.ZS0202, f"imports expand to over {TOKENS_MAX} words", line, "import less")
            del self.tokens[start:]
            filled = []
            self.unclosed = True
        self.tokens[start : self.at] = filled
        self.at = start

    def resolve_import(self, line: Token, arguments: list[Token]) -> list[Token]:
        if self.environment is None:
            message = "imports are not allowed here"
            raise ImportRefusedError(
                Diagnostic(Code.ZS0201, message, line.span, help="write the directives themselves")
            )
        if not arguments or not arguments[0].text:
            message = "import needs the name of a snippet or a file"
            raise ImportRefusedError(Diagnostic(Code.ZS0102, message, line.span, help="write import NAME"))
        self.imports += 1
        if self.imports > IMPORTS_MAX:
            self.at = len(self.tokens)
            self.unclosed = True
            message = f"more than {IMPORTS_MAX} imports"
            raise ImportRefusedError(Diagnostic(Code.ZS0202, message, line.span, help="import less"))
        target = arguments[0]
        snippet = self.snippets.get(target.text)
        if snippet is None:
            anchored = Token(
                target.text, target.span, target.line, target.quote, (self.root, *target.sources)
            )
            tokens, diagnostics = import_file_tokens(target.text, anchored, self.environment, self.texts)
            self.diagnostics += diagnostics
            return tokens
        source = f"({target.text})"
        if source in line.sources:
            message = f"import cycle: snippet {source} imports itself"
            raise ImportRefusedError(
                Diagnostic(Code.ZS0003, message, line.span, help="remove one of the imports")
            )
        return [
            Token(token.text, token.span, token.line, token.quote, (*token.sources, source))
            for token in snippet
        ]
