"""A configuration file of either language: a Caddyfile, or Caddy's JSON (`*.json`).

In: a path. Out: what `read_configuration_with_texts` returns, with what JSON `adapt` prints for it. Called by
the commands that take `--config`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.decoding import decode_configuration, encode_configuration
from zeroserve_ir.caddyfile.meaning.sites import ReadConfiguration, read_configuration_with_texts
from zeroserve_ir.caddyfile.settling import settle_configuration
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.sources import Span
from zeroserve_ir.tree import Configuration
from zeroserve_ir.tree_carried import Json
from zeroserve_ir.tree_servers import AdaptedConfiguration


def load_configuration(path: Path, environment: Mapping[str, str] | None = None) -> ReadConfiguration:
    """Read the file at `path` into what is run."""
    if path.suffix != ".json":
        return read_configuration_with_texts(path, environment=environment)
    adapted, findings, text = _decode(path)
    if findings:
        return ReadConfiguration(Configuration(()), findings, {str(path): text})
    configuration, more = settle_configuration(adapted, os.environ if environment is None else environment)
    return ReadConfiguration(configuration, tuple(more), {str(path): text})


def load_adapted(
    path: Path, environment: Mapping[str, str] | None = None
) -> tuple[Json, tuple[Diagnostic, ...], Mapping[str, str]]:
    """Return Caddy's JSON for the file at `path`, the findings, and the texts that they point into."""
    if path.suffix == ".json":
        adapted, findings, text = _decode(path)
        return encode_configuration(adapted), findings, {str(path): text}
    read = read_configuration_with_texts(path, environment=environment)
    return adapt_configuration(read.configuration), read.diagnostics, read.texts


def _decode(path: Path) -> tuple[AdaptedConfiguration, tuple[Diagnostic, ...], str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the text is not UTF-8"
        finding = Diagnostic(
            Code.ZS0111,
            f"cannot read {path}: {reason}",
            Span(str(path), 0, 0, 0),
            help="name a readable file",
        )
        return AdaptedConfiguration(()), (finding,), ""
    adapted, findings = decode_configuration(text, str(path))
    return adapted, tuple(findings), text
