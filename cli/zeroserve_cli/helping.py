"""How `--help` looks: examples stay on one line, to be copied; only defaults that say something are shown."""

from __future__ import annotations

import argparse

EXAMPLE = "example: "


class Undisclosed(str):
    """A default that may hold a secret: no `--help` shows it."""

    __slots__ = ()


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Argparse's formatter with defaults, but for empty ones, and with examples as they are typed."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return indent + text if text.startswith(EXAMPLE) else super()._fill_text(text, width, indent)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        silent = default in (None, "", [], b"") or isinstance(default, bool | Undisclosed)
        return action.help if silent else super()._get_help_string(action)


def add_action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, example: str
) -> argparse.ArgumentParser:
    """Return the parser of a command, or of an action of one, with its example."""
    description = summary[0].upper() + summary[1:] + "."
    return actions.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"{EXAMPLE}{example}",
        formatter_class=HelpFormatter,
    )
