"""What commands print: results on standard output, findings on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from zeroserve_ir.caddyfile.commands import CommandResult
from zeroserve_ir.diagnostics import Diagnostic, Severity


def print_diagnostics(diagnostics: Iterable[Diagnostic], texts: Mapping[str, str] | None = None) -> None:
    """Print each finding as a user reads it, and a count at the end."""
    found = list(diagnostics)
    for diagnostic in found:
        print(diagnostic.render(texts) + "\n", file=sys.stderr)
    errors = sum(diagnostic.severity is Severity.ERROR for diagnostic in found)
    if found:
        print(f"{_count(errors, 'error')}, {_count(len(found) - errors, 'warning')}", file=sys.stderr)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def print_result(result: CommandResult) -> int:
    """Print a command's output and findings; returns the exit code."""
    print_diagnostics(result.diagnostics, result.texts)
    sys.stdout.write(result.output)
    return int(result.failed)
