"""What `zeroserve adapt`, `validate` and `fmt` do, without their command line.

In: paths. Out: a result with the text for stdout and the findings; nothing is printed here and nothing
is raised for bad input. Called by `zeroserve_cli`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from zeroserve_ir.caddyfile.formatter import format_text
from zeroserve_ir.caddyfile.judging import find_unsupported
from zeroserve_ir.caddyfile.loading import load_adapted, load_configuration
from zeroserve_ir.caddyfile.opening import STANDARD_INPUT, read_source
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.sources import Span
from zeroserve_ir.tree import Configuration


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command has to say: `output` for stdout, `diagnostics` for stderr."""

    output: str = ""
    diagnostics: tuple[Diagnostic, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    """The texts that the findings point into, by file, for `Diagnostic.render`."""
    changed: bool = False
    """`fmt`: whether the text was not formatted."""

    @property
    def failed(self) -> bool:
        """Whether a finding is an error."""
        return any(one.severity is Severity.ERROR for one in self.diagnostics)


def adapt(path: Path, environment: Mapping[str, str] | None = None) -> CommandResult:
    """Return Caddy's JSON for the file at `path`; no output where it has an error."""
    adapted, diagnostics, texts = load_adapted(path, environment)
    result = CommandResult("", diagnostics, texts)
    if result.failed:
        return result
    text = json.dumps(adapted, indent="\t", ensure_ascii=False)
    return CommandResult(text + "\n", diagnostics, texts)


def validate(
    path: Path,
    environment: Mapping[str, str] | None = None,
    find_faults: Callable[[Configuration], Iterable[Diagnostic]] | None = None,
) -> CommandResult:
    """Report all findings of the file at `path`; `find_faults` is asked about one that has no errors else."""
    read = load_configuration(path, environment)
    result = CommandResult("", (*read.diagnostics, *find_unsupported(read.configuration)), read.texts)
    if find_faults is not None and not result.failed:
        findings = (*result.diagnostics, *find_faults(read.configuration))
        result = replace(result, diagnostics=findings)
    return result if result.failed else replace(result, output="Valid configuration\n")


def fmt(path: Path, *, overwrite: bool = False, diff: bool = False) -> CommandResult:
    """Return the formatted text of `path`, or the lines that change; `overwrite` writes it in place."""
    try:
        text = read_source(path).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the text is not UTF-8"
        return _unreadable(path, f"cannot read {path}: {reason}")
    formatted = format_text(text)
    changed = formatted != text
    if path == STANDARD_INPUT:
        return CommandResult(_mark_changes(text, formatted) if diff else formatted)
    if overwrite and changed:
        try:
            path.write_bytes(formatted.encode())
        except OSError as error:
            return _unreadable(path, f"cannot write {path}: {error.strerror}")
    output = "" if overwrite else formatted
    return CommandResult(_mark_changes(text, formatted) if diff else output, changed=changed)


def _unreadable(path: Path, message: str) -> CommandResult:
    span = Span(str(path), 0, 0, 0)
    return CommandResult("", (Diagnostic(Code.ZS0111, message, span, help="check path and permissions"),))


def _mark_changes(before: str, after: str) -> str:
    """Prefix lines with `- `, `+ ` or two spaces (Caddy: `caddy fmt --diff`)."""
    changes = difflib.ndiff(before.splitlines(), after.splitlines())
    return "".join(f"{one}\n" for one in changes if not one.startswith("?"))
