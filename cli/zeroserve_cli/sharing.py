"""The argument for Services that every namespace may ask: of `zeroserve operator` and `zeroserve dev`."""

from __future__ import annotations

import argparse

from zeroserve_operator.settings import SharedService, read_shared_service


def add_shared_auth_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--shared-auth-service`."""
    parser.add_argument(
        "--shared-auth-service",
        action="append",
        default=[],
        metavar="NAMESPACE/NAME[:PORT]",
        help="Service that auth-url of Ingresses of every namespace may name (none by default)",
    )


def read_shared_auth_services(arguments: argparse.Namespace) -> tuple[SharedService, ...]:
    """Return the Services that are shared; exits where one cannot be read."""
    try:
        return tuple(read_shared_service(text) for text in arguments.shared_auth_service)
    except ValueError as error:
        raise SystemExit(f"zeroserve: --shared-auth-service: {error}") from error
