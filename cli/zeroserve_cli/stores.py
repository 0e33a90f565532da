"""`--limit-store`: where shared rate limits are kept, for the commands that serve."""

from __future__ import annotations

import argparse
import os

from zeroserve_cli.helping import Undisclosed

VARIABLE = "ZEROSERVE_LIMIT_STORE"


def add_store_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument; the environment says it without a password in the list of processes."""
    parser.add_argument(
        "--limit-store",
        type=_read_address,
        default=Undisclosed(os.environ.get(VARIABLE, "")),
        metavar="URL",
        help=f"redis://HOST:PORT that keeps shared rate limits; better in {VARIABLE} with a password",
    )


def _read_address(text: str) -> str:
    if not text:
        return text
    # Loaded for those who name a store: with it comes all that reads Caddyfiles.
    from zeroserve_ir.caddyfile.meaning.rates import judge_store  # noqa: PLC0415

    if reason := judge_store(text):
        raise argparse.ArgumentTypeError(f"the store's address {reason}")
    return text
