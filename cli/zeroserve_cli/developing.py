"""`zeroserve dev`: serve a directory of Kubernetes manifests, without a cluster.

Every Ingress and ZeroserveRoute is served whatever its class; EndpointSlices may name loopback addresses.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from zeroserve_operator.manifests import find_files
from zeroserve_operator.pipeline import DEV_SETTINGS, Pipeline, take_fingerprint
from zeroserve_operator.settings import ListenerSettings, TracedHosts

from zeroserve_cli.embedding import Loaded, Source, serve
from zeroserve_cli.serving_options import add_serving_arguments, make_settings
from zeroserve_cli.sharing import add_shared_auth_argument, read_shared_auth_services
from zeroserve_cli.signing import add_key_argument, take_explain_key
from zeroserve_cli.streaming import add_stream_arguments, read_streams
from zeroserve_cli.tracing import add_tracing_arguments, read_tracing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the directory and the ports."""
    parser.add_argument("directory", type=Path, help="directory of manifests, or one file")
    parser.add_argument("--bind", default="", help="address to listen on; empty for all")
    parser.add_argument("--http-port", type=int, default=8080, help="port of plain HTTP")
    parser.add_argument("--https-port", type=int, default=8443, help="port of HTTPS")
    parser.add_argument("--access-log", action="store_true", help="print a line for each request")
    add_stream_arguments(parser)
    add_shared_auth_argument(parser)
    add_tracing_arguments(parser, TracedHosts.MARKED)
    add_key_argument(parser)
    add_serving_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve what is sound; findings are printed, now and after each change."""
    directory: Path = arguments.directory
    if not directory.exists():
        raise FileNotFoundError(f"{directory}: no such file or directory")
    listeners = (
        _listener("http", arguments.http_port, arguments, tls=False),
        _listener("https", arguments.https_port, arguments, tls=True),
    )
    streams = read_streams(arguments, listeners, local=True)
    settings = replace(
        DEV_SETTINGS,
        listeners=listeners,
        streams=tuple(replace(one, address=arguments.bind) for one in streams),
        access_log=arguments.access_log,
        shared_auth_services=read_shared_auth_services(arguments),
        explain_key=take_explain_key(arguments),
        tracing=read_tracing(arguments),
    )
    pipeline = Pipeline(settings)

    def load(path: Path | None) -> Loaded:
        found = pipeline.load_directory(path or directory)
        served = f"{len(found.sites)} sites of {path or directory}"
        return Loaded(found.draft, found.diagnostics, {}, served)

    return serve(make_settings(arguments), Source(load, lambda: take_fingerprint(find_files(directory))))


def _listener(name: str, port: int, arguments: argparse.Namespace, *, tls: bool) -> ListenerSettings:
    return ListenerSettings(name, port, port, tls=tls, address=arguments.bind)
