"""`zeroserve run`: serve a Caddyfile until stopped."""

from __future__ import annotations

import argparse
import datetime
import os
from pathlib import Path

from zeroserve_ir.caddyfile.meaning.sites import read_configuration_with_texts
from zeroserve_ir.caddyfile.redirecting import add_redirects
from zeroserve_ir.site_certificates import LocalCertificates
from zeroserve_ir.site_drafting import draft_sites

from zeroserve_cli.embedding import Loaded, Source, add_serving_arguments, make_settings, serve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the Caddyfile and how it is served."""
    parser.add_argument("-c", "--config", type=Path, default=Path("Caddyfile"), help="Caddyfile to serve")
    parser.add_argument("-w", "--watch", action="store_true", help="serve the file's changes at once")
    add_serving_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve; a configuration with an error is not served."""
    config: Path = arguments.config
    fingerprint = (lambda: _stamp(config)) if arguments.watch else None
    certificates = LocalCertificates.open(find_data_directory(), _now())
    return serve(
        make_settings(arguments), Source(lambda path: load(path or config, certificates), fingerprint)
    )


def load(path: Path, certificates: LocalCertificates) -> Loaded:
    """Read a Caddyfile and draft its snapshot; `certificates` are for sites without files of their own."""
    read = read_configuration_with_texts(path, environment=os.environ)
    loaded = Loaded(None, read.diagnostics, read.texts)
    if loaded.errors:
        return loaded
    configuration = add_redirects(read.configuration)
    drafted = draft_sites(configuration, lambda name: Path(name).read_bytes(), certificates, _now())
    findings = (*read.diagnostics, *drafted.diagnostics)
    loaded = Loaded(drafted.draft, findings, read.texts, f"{len(configuration.sites)} sites of {path}")
    return loaded if not loaded.errors else Loaded(None, findings, read.texts)


def find_data_directory() -> Path:
    """Return where the local authority is kept for a user (XDG base directories)."""
    base = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return Path(base) / "zeroserve"


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _stamp(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
