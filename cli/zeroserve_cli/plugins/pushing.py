"""`zeroserve plugin push`: a built plugin to a registry, for ZeroservePlugins to name by digest."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from zeroserve_ir.diagnostics import DiagnosticError
from zeroserve_ir.plugins.faults import PluginError
from zeroserve_ir.plugins.modules import OBJECT_BYTES_MAX
from zeroserve_ir.plugins.reading import read_confined
from zeroserve_operator.artifacts.references import read_reference

from zeroserve_cli.plugins.building import BuildError


def add_push_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `plugin push`."""
    parser.add_argument("file", type=Path, help="what `plugin build` wrote, such as hello/hello.o")
    parser.add_argument(
        "reference", help="HOST/REPOSITORY[:TAG]; http://HOST/… for a registry without TLS, as on localhost"
    )
    parser.add_argument("--registry-ca", type=Path, help="PEM file of the registry's own authority")


def push(arguments: argparse.Namespace) -> int:
    """Push and print the reference by digest; raises BuildError or DiagnosticError."""
    # What speaks to registries is loaded for those who push.
    from zeroserve_operator.artifacts.faults import ArtifactError  # noqa: PLC0415
    from zeroserve_operator.artifacts.pulling import read_credentials  # noqa: PLC0415
    from zeroserve_operator.artifacts.pushing import push_plugin  # noqa: PLC0415

    scheme, separator, rest = arguments.reference.rpartition("://")
    try:
        content = arguments.file.read_bytes()
        reference = read_reference(rest)
        authorities = arguments.registry_ca.read_text() if arguments.registry_ca else ""
    except OSError as error:
        raise BuildError(f"{error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise BuildError(f"{rest}: must be HOST/REPOSITORY[:TAG], with the registry's host") from error
    if (separator and scheme not in ("http", "https")) or reference.digest:
        raise BuildError(f"{arguments.reference}: must be HOST/REPOSITORY[:TAG], without a digest")
    if not 0 < len(content) <= OBJECT_BYTES_MAX:
        raise BuildError(f"{arguments.file}: must have 1 to {OBJECT_BYTES_MAX} bytes, not {len(content)}")
    try:
        read_confined(content)
    except PluginError as error:
        raise DiagnosticError([error.diagnose(str(arguments.file))]) from error
    try:
        config = _read_docker_config()
        credentials = read_credentials(config, reference.host) if config else None
        print(push_plugin(content, reference, scheme or "https", credentials, authorities))
    except ArtifactError as error:
        raise BuildError(f"{error.message} (accounts are those of `docker login`)") from error
    return 0


def _read_docker_config() -> bytes:
    """Return the accounts that `docker login` wrote, b"" where there are none."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        content = (folder / "config.json").read_bytes()
        return content if "auths" in json.loads(content) else b""
    except (OSError, ValueError):
        return b""
