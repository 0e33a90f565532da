"""What `zeroserve run` does once its arguments are read: a Caddyfile becomes a draft, and is served.

In: the arguments. Out: a served site until SIGINT or SIGTERM. Called by `running`, which loads this beside
the compiler's start.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from zeroserve_dataplane.jit.foreseeing import Foresight
from zeroserve_ir.caddyfile.judging import find_unsupported
from zeroserve_ir.caddyfile.loading import load_configuration
from zeroserve_ir.caddyfile.metering import proxy_metrics, shows_metrics
from zeroserve_ir.collecting import collection_paused
from zeroserve_ir.drafting_sites import draft_sites

from zeroserve_cli.embedding import Loaded, Source, serve
from zeroserve_cli.main import EXIT_FAILED
from zeroserve_cli.serving_options import make_settings
from zeroserve_cli.signing import ExplainKeyError, read_explain_key


def serve_caddyfile(arguments: argparse.Namespace, foresight: Foresight) -> int:
    """Serve; a configuration with an error is not served."""
    config: Path = arguments.config
    port: int = arguments.metrics_port
    try:
        key = read_explain_key(arguments.explain_key) if arguments.explain_key else b""
    except ExplainKeyError as error:
        print(f"zeroserve: {error}", file=sys.stderr)
        return EXIT_FAILED
    fingerprint = (lambda: _stamp(config)) if arguments.watch else None
    with tempfile.TemporaryDirectory(prefix="zeroserve-metrics-") as folder:
        socket = Path(folder) / "metrics.sock"
        page = f"127.0.0.1:{port}" if port > 0 else f"unix/{socket}"
        settings = replace(make_settings(arguments), metrics_socket=None if port > 0 else socket)
        source = Source(lambda path: load(path or config, page, key), fingerprint)
        return serve(settings, source, foresight)


def load(path: Path, metrics_page: str = "", explain_key: bytes = b"") -> Loaded:
    """Read a Caddyfile and draft its snapshot; `metrics` answers where an address is known to serve them."""
    with collection_paused():
        return _load(path, metrics_page, explain_key)


def _load(path: Path, metrics_page: str, explain_key: bytes) -> Loaded:
    read = load_configuration(path, os.environ)
    configuration = read.configuration
    shown = bool(metrics_page) and shows_metrics(configuration)
    if shown:
        configuration = proxy_metrics(configuration, metrics_page)
    known = (*read.diagnostics, *find_unsupported(configuration))
    loaded = Loaded(None, known, read.texts)
    if loaded.errors:
        return loaded
    drafted = draft_sites(configuration, environment=os.environ, explain_key=explain_key)
    findings = (*known, *drafted.diagnostics)
    served = f"{len(read.configuration.sites)} sites of {path}"
    store = configuration.options.others.value().get("rate_limit_store", "")
    loaded = Loaded(drafted.draft, findings, read.texts, served, store, shown)
    return loaded if not loaded.errors else Loaded(None, findings, read.texts)


def _stamp(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
