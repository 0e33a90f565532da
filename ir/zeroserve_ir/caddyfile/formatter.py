"""`caddy fmt` for text: white space, braces and indentation, everything else as written.

In: text of a Caddyfile, well-formed or not. Out: the text that `caddy fmt` prints (formatter.go), in
which a second pass changes nothing that Caddy's own second pass would not. Called by `zeroserve fmt`.
The formatter reads characters, not tokens, because comments and line breaks are what it lays out.
"""

from __future__ import annotations

import re
from enum import Enum

_NESTING_MAX = 10  # Caddy caps indentation here, against absurd input (formatter.go).


def format_text(text: str) -> str:
    """Return `text` laid out as `caddy fmt` does, ending in one line break."""
    formatter = _Formatter()
    for char in text.strip():
        formatter.read(char)
    if formatter.open_brace and not formatter.open_brace_written:
        formatter.write_open_brace()
    return "".join(formatter.out).strip() + "\n"


class _Heredoc(Enum):
    CLOSED = 0
    OPENING = 1
    OPENED = 2


class _Formatter:
    """One character at a time; the names follow what Caddy's formatter keeps track of."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.last = ""
        self.space = True
        self.line_start = True
        self.open_brace = False
        self.open_brace_written = False
        self.open_brace_space = False
        self.open_brace_own_line = False
        self.line_breaks = 0
        self.comment = False
        self.quotes = ""
        self.escaped = False
        self.heredoc = _Heredoc.CLOSED
        self.heredoc_escaped = False
        self.marker = ""
        self.marker_seen = ""
        self.nesting = 0
        self.word = ""
        self.first_word = ""
        self.after_top_level_import = False

    def read(self, char: str) -> None:
        if self.read_heredoc(char):
            return
        if self.last == "<" and self.space:
            self.space = False
        if self.comment:
            self.read_comment(char)
        elif self.escaped or char == "\\":
            self.read_escape(char)
        elif not self.read_quoted(char):
            if char.isspace():
                self.read_space(char)
            else:
                self.read_structure(char)

    # Output

    def write(self, text: str) -> None:
        self.out.append(text)
        self.last = text[-1]

    def indent(self) -> None:
        if self.nesting:
            self.write("\t" * self.nesting)

    def next_line(self) -> None:
        self.write("\n")
        self.line_start = True

    # Stretches that are copied

    def read_heredoc(self, char: str) -> bool:
        """Copy heredocs; say whether the character was consumed."""
        if (
            self.heredoc is _Heredoc.CLOSED
            and not self.quotes
            and not self.heredoc_escaped
            and self.space
            and self.last == char == "<"
        ):
            self.write(char)
            self.heredoc = _Heredoc.OPENING
            self.space = False
            return True
        if self.heredoc is _Heredoc.OPENING:
            if char == "\n":
                if re.fullmatch(r"[A-Za-z0-9_-]+", self.marker):
                    self.heredoc = _Heredoc.OPENED
                    self.write(char)
                else:
                    self.marker = ""
                    self.heredoc = _Heredoc.CLOSED
                    self.next_line()
                return True
            if not char.isspace():
                self.marker += char
                self.write(char)
                return True
            self.marker = ""
            self.heredoc = _Heredoc.CLOSED
        if self.heredoc is _Heredoc.OPENED:
            self.marker_seen = (self.marker_seen + char)[-len(self.marker) - 1 :]
            if not (char.isspace() and self.marker_seen[:-1] == self.marker):
                self.write(char)
                if char == "\n":
                    self.marker_seen = ""
                return True
            self.marker = self.marker_seen = ""
            self.heredoc = _Heredoc.CLOSED
        return False

    def read_comment(self, char: str) -> None:
        if char == "\n":
            self.comment = False
            self.space = True
            self.next_line()
        else:
            self.write(char)

    def read_escape(self, char: str) -> None:
        if not self.escaped:
            if self.space:
                self.write(" ")
                self.space = False
            self.write(char)
            self.escaped = True
            return
        if char == "<":
            self.heredoc_escaped = True
        self.write(char)
        self.escaped = False

    def read_quoted(self, char: str) -> bool:
        """Follow quotes and copy what they enclose; say whether the character was consumed."""
        if char == "`":
            self.quotes = {'"`': '"', "`": "", '"': '"`'}.get(self.quotes, "`")
        if self.quotes == '"':
            if char == '"':
                self.quotes = ""
            self.write(char)
            return True
        if char == '"':
            if self.quotes == "" and self.space:
                self.quotes = '"'
            elif self.quotes == '"`':
                self.quotes = ""
        if "`" in self.quotes:
            if char == "`" and self.space and not self.line_start:
                self.write(" ")
            self.write(char)
            self.space = False
            return True
        return False

    # Layout

    def read_space(self, char: str) -> None:
        self.finish_word()
        self.space = True
        self.heredoc_escaped = False
        if char == "\n":
            if self.first_word:
                self.after_top_level_import = self.nesting == 0 and self.first_word == "import"
            elif not self.open_brace or not self.open_brace_own_line or self.open_brace_written:
                self.after_top_level_import = False
            self.first_word = ""
            self.line_breaks += 1

    def finish_word(self) -> None:
        if self.word:
            self.first_word = self.first_word or self.word
            self.word = ""

    def read_structure(self, char: str) -> None:
        space_before = self.space
        self.space = False
        if char == "#":
            self.comment = True
        if self.open_brace and not self.open_brace_written and (space_before or char == "{"):
            self.write_open_brace()
        if char == "{":
            self.finish_word()
            self.open_brace = True
            self.open_brace_space = space_before and not self.line_start
            self.open_brace_own_line = self.line_breaks > 0
            if self.open_brace_space and self.line_breaks == 0:
                self.write(" ")
            self.open_brace_written = False
            return
        if char == "}" and (space_before or not self.open_brace):
            self.finish_word()
            if self.last != "\n":
                self.next_line()
            self.nesting = max(0, self.nesting - 1)
            self.indent()
            self.write("}")
            self.line_breaks = 0
            return
        self.write_word_character(char, space_before)

    def write_open_brace(self) -> None:
        if self.nesting == 0 and self.last == "}":
            self.next_line()
            self.next_line()
        self.open_brace = False
        if self.open_brace_own_line and self.after_top_level_import:
            if self.last != "\n":
                self.next_line()
            self.indent()
        elif self.line_start:
            self.indent()
        elif not self.open_brace_space or not self.last.isspace():
            self.write(" ")
        self.write("{")
        self.open_brace_written = True
        self.open_brace_own_line = False
        self.next_line()
        self.line_breaks = 0
        self.nesting = min(_NESTING_MAX, self.nesting + 1)

    def write_word_character(self, char: str, space_before: bool) -> None:
        for _ in range(min(2, self.line_breaks)):
            self.next_line()
        self.line_breaks = 0
        if self.line_start:
            self.indent()
        if self.nesting == 0 and self.last == "}" and self.line_start:
            self.next_line()
            self.next_line()
        if not self.line_start and space_before:
            self.write(" ")
        if self.open_brace and not self.open_brace_written:
            self.write("{")
            self.open_brace_written = True
        if space_before and char == "<":
            self.space = True
        self.word += char
        self.write(char)
        self.line_start = False
