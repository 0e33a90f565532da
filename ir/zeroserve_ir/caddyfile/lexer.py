"""Text of a Caddyfile -> tokens that know file, line, column, end, quotes and import chain.

In: text and its name. Out: tokens, and diagnostics instead of exceptions. Called by the parser for the
main file and each imported one. The rules are those of Caddy's lexer (caddyconfig/caddyfile/lexer.go):
words end at white space, `#` comments at the start of a word, `"` with `\\"`, backticks raw, `<<MARK`
heredocs, a backslash joins lines. Columns count characters of the original text, from 1.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from zeroserve_ir.caddyfile.environment import SubstitutedText, substitute_environment
from zeroserve_ir.caddyfile.limits import TEXT_LENGTH_MAX
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.sources import Origin, Span


class Quote(Enum):
    """How a token was enclosed."""

    NONE = ""
    DOUBLE = '"'
    BACKTICK = "`"
    HEREDOC = "<"


class Token(NamedTuple):
    """A word of a Caddyfile; `line` counts in the text after environment substitution."""

    text: str
    span: Span
    line: int
    quote: Quote = Quote.NONE
    sources: tuple[str, ...] = ()
    """Files and snippets that the token came through, outermost first; an import of one is a cycle."""

    @property
    def quoted(self) -> bool:
        """Whether quotes, backticks or a heredoc enclosed the token."""
        return self.quote is not Quote.NONE

    @property
    def opens(self) -> bool:
        """Whether this is a structural `{`."""
        return self.text == "{" and self.quote is Quote.NONE

    @property
    def closes(self) -> bool:
        """Whether this is a structural `}`."""
        return self.text == "}" and self.quote is Quote.NONE

    def with_text(self, text: str) -> Token:
        """Return the same token with other text."""
        return self if text == self.text else self._replace(text=text)

    def starts_line_after(self, previous: Token) -> bool:
        """Whether a line break, or a border of an import, lies between `previous` and this token."""
        if previous.span.file != self.span.file or previous.span.imports != self.span.imports:
            return True
        if previous.line == self.line:
            return False
        # A heredoc's marker lines are not part of its text (Caddy: Token.NumLineBreaks).
        breaks = previous.text.count("\n") + (2 if previous.quote is Quote.HEREDOC else 0)
        # A step back comes from `{block}` and `{blocks.name}` filled in side by side.
        return previous.line + breaks < self.line or self.line < previous.line


def tokenize(
    text: str,
    file: str,
    environment: Mapping[str, str],
    origin: Origin | None = None,
) -> tuple[list[Token], list[Diagnostic]]:
    """Split `text` into tokens; after the first malformed token of a file nothing more is read."""
    substituted = substitute_environment(text, environment)
    lexer = _Lexer(substituted, file, origin)
    if len(substituted.text) > TEXT_LENGTH_MAX:
        message = f"the text has {len(substituted.text)} characters, at most {TEXT_LENGTH_MAX} are read"
        return [], [Diagnostic(Code.ZS0202, message, lexer.span(0, 1))]
    return lexer.run()


# What most of a file is made of, taken at once; the rest goes character by character.
_BLANK = re.compile(r"[^\S\n]+")
_COMMENT = re.compile(r"[^\\\n]+")
_PLAIN_WORD = re.compile(r"[^\s\\<]+(?=[^\S\r]|\Z)")
_PLAIN_NEXT = re.compile(r"[^\S\n]*(?:\n|([^\s\\<\"`#][^\s\\<]*)(?=[^\S\r]))")


class _MalformedError(Exception):
    def __init__(self, code: Code, message: str, start: int, end: int, cure: str) -> None:
        super().__init__(message)
        self.code, self.message, self.start, self.end, self.help = code, message, start, end, cure


class _Lexer:
    def __init__(self, substituted: SubstitutedText, file: str, origin: Origin | None) -> None:
        self.substituted = substituted
        self.text = substituted.text
        self.file = file
        self.origin = origin
        self.line_starts = [0, *(found.end() for found in re.finditer("\n", substituted.original))]
        self.position = 1 if self.text.startswith("\ufeff") else 0
        self.line = 1
        self.skipped_lines = 0

    def run(self) -> tuple[list[Token], list[Diagnostic]]:
        tokens: list[Token] = []
        try:
            while True:
                if self.text is self.substituted.original and not self.skipped_lines:
                    self.take_plain(tokens)
                if (token := self.next_token()) is None:
                    break
                tokens.append(token)
        except _MalformedError as error:
            span = self.span(error.start, error.end)
            return tokens, [Diagnostic(error.code, error.message, span, help=error.help)]
        return tokens, []

    def take_plain(self, tokens: list[Token]) -> None:
        """Take plain words and line ends while there is nothing else: as `next_token` does, quicker."""
        match, text, file, origin = _PLAIN_NEXT.match, self.text, self.file, self.origin
        position, line = self.position, self.line
        row = bisect_right(self.line_starts, position)
        start_of_line = self.line_starts[row - 1]
        while found := match(text, position):
            position = found.end()
            word = found[1]
            if word is None:
                line, row, start_of_line = line + 1, row + 1, position
            else:
                end = position - start_of_line + 1
                tokens.append(Token(word, Span(file, row, end - len(word), end, (), origin), line))
        self.position, self.line = position, line

    def span(self, start: int, end: int) -> Span:
        first, last = start, max(start + 1, end)
        if self.text is not self.substituted.original:
            first = self.substituted.original_offset(start)
            last = max(first + 1, self.substituted.original_offset(max(start, end - 1)) + 1)
        starts = self.line_starts
        line = bisect_right(starts, first)
        start_of_line = starts[line - 1]
        line_end = starts[line] - 1 if line < len(starts) else len(self.substituted.original)
        column = first - start_of_line + 1
        end_column = min(last, line_end) - start_of_line + 1
        if end_column <= column:
            end_column = column + 1
        return Span(self.file, line, column, end_column, (), self.origin)

    def token(self, text: str, start: int, line: int, quote: Quote = Quote.NONE) -> Token:
        return Token(text, self.span(start, self.position), line, quote)

    def skip_blank(self) -> bool:
        """Move to the first character of the next token; say whether there is one.

        A backslash before white space escapes nothing but a line break, and is kept for the word after.
        """
        text, comment, self.escaped = self.text, False, False
        while self.position < len(text):
            if not self.escaped and (run := (_COMMENT if comment else _BLANK).match(text, self.position)):
                self.position = run.end()
                continue
            char = text[self.position]
            if char == "\\" and not self.escaped:
                self.escaped = True
            elif char == "\n":
                if self.escaped:
                    self.skipped_lines += 1
                    self.escaped = False
                else:
                    self.end_line()
                comment = False
            elif not char.isspace() and not comment:
                if char != "#":
                    return True
                comment = True
            self.position += 1
        return False

    def end_line(self) -> None:
        self.line += 1 + self.skipped_lines
        self.skipped_lines = 0

    def next_token(self) -> Token | None:
        if not self.skip_blank():
            return None
        char = self.text[self.position]
        if char in '"`':
            return self.read_quoted(char)
        return self.read_word()

    def read_quoted(self, quote: str) -> Token:
        text, start, line = self.text, self.position, self.line
        value: list[str] = []
        self.position += 1
        if self.escaped and quote == '"' and text[self.position : self.position + 1] == '"':
            # A backslash before the quotes escapes what comes after them (Caddy: lexer.go).
            value.append('"')
            self.position += 1
        while self.position < len(text):
            char = text[self.position]
            self.position += 1
            if quote == '"' and char == "\\" and self.position < len(text):
                following = text[self.position]
                self.position += 1
                if following == "\n":
                    self.end_line()
                value.append(following if following == '"' else "\\" + following)
                continue
            if char == quote:
                return self.token("".join(value), start, line, Quote(quote))
            if char == "\n":
                self.end_line()
            value.append(char)
        raise _MalformedError(
            Code.ZS0002, f"quote {quote} is not closed", start, start + 1, f"close it with {quote}"
        )

    def read_word(self) -> Token:
        text, start, line = self.text, self.position, self.line
        value: list[str] = []
        escaped, literal_heredoc = self.escaped, False
        if not escaped and (plain := _PLAIN_WORD.match(text, start)):
            self.position = plain.end()
            return self.token(plain[0], start, line)
        while self.position < len(text):
            char = text[self.position]
            if not literal_heredoc and len(value) > 1 and value[0] == value[1] == "<":
                return self.read_heredoc(start, line)
            if char == "\\" and not escaped:
                escaped = True
                self.position += 1
                continue
            if char == "\r":
                self.position += 1
                continue
            if char.isspace():
                if escaped and char == "\n":
                    self.skipped_lines += 1
                    self.position += 1
                break
            if escaped:
                literal_heredoc = literal_heredoc or char == "<"
                if char != "<":
                    value.append("\\")
                escaped = False
            value.append(char)
            self.position += 1
        return self.token("".join(value), start, line)

    def read_heredoc(self, start: int, line: int) -> Token:
        """Read from after `<<`: a marker to the end of the line, then text up to the marker."""
        text = self.text
        stop = start + 2
        while stop < len(text) and text[stop] not in " \n":
            stop += 1
        if stop == len(text) or text[stop] == " ":
            # A space makes it an ordinary word (Caddy: lexer.go).
            self.position = stop
            return self.token(text[start:stop].replace("\r", ""), start, line)
        marker = text[start + 2 : stop].replace("\r", "")
        _check_marker(marker, start, stop)
        close = text.find(marker, stop + 1)
        if close < 0:
            message = f"heredoc <<{marker} has no closing marker"
            raise _MalformedError(
                Code.ZS0002, message, start, stop, f"end it with a line that holds only {marker}"
            )
        body = text[stop + 1 : close]
        value = self.strip_padding(body, marker, stop + 1)
        self.position = close + len(marker)
        self.line += self.skipped_lines + 1 + body.count("\n")
        self.skipped_lines = 0
        return self.token(value, start, line, Quote.HEREDOC)

    def strip_padding(self, body: str, marker: str, offset: int) -> str:
        *lines, padding = body.split("\n")
        stripped = []
        for text in lines:
            if text not in ("", "\r"):
                if not text.startswith(padding):
                    message = (
                        f"leading white space in heredoc <<{marker} differs from that of its closing marker"
                    )
                    cure = f"indent the line by {padding!r}, as the closing marker is"
                    raise _MalformedError(Code.ZS0001, message, offset, offset + len(text), cure)
                stripped.append(text[len(padding) :].replace("\r", ""))
            else:
                stripped.append("")
            offset += len(text) + 1
        return "\n".join(stripped)


def _check_marker(marker: str, start: int, stop: int) -> None:
    if not marker:
        raise _MalformedError(
            Code.ZS0001, "heredoc has no marker after <<", start, stop, "write for example <<END"
        )
    if marker.startswith("<"):
        raise _MalformedError(
            Code.ZS0001, "heredoc has too many <", start, stop, "write two, for example <<END"
        )
    if not re.fullmatch(r"[A-Za-z0-9_-]+", marker):
        message = f"heredoc marker {marker!r} has other characters than letters, digits, - and _"
        raise _MalformedError(Code.ZS0001, message, start, stop, "write for example <<END")
