"""`zeroserve operator`: watch a cluster and publish snapshots to its nodes."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import ssl
from collections.abc import Sequence
from pathlib import Path

from zeroserve_operator.artifacts.references import read_allowed
from zeroserve_operator.artifacts.registries import RegistryPolicy
from zeroserve_operator.artifacts.signatures import PublicKey, read_public_key
from zeroserve_operator.cluster_client import ClusterClient
from zeroserve_operator.hosting import HostingSettings, host_operator
from zeroserve_operator.settings import DEFAULT_BUILD, BuildSettings, OperatorSettings

from zeroserve_cli.sharing import add_shared_auth_argument, read_shared_auth_services
from zeroserve_cli.signing import add_key_argument, take_explain_key
from zeroserve_cli.streaming import add_stream_arguments, read_streams
from zeroserve_cli.tracing import add_tracing_arguments, read_tracing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the operator's settings."""
    parser.add_argument(
        "--namespace", default=os.environ.get("POD_NAMESPACE", "zeroserve-system"), help="our own"
    )
    parser.add_argument(
        "--pod-name", default=os.environ.get("POD_NAME", "zeroserve-operator"), help="this replica"
    )
    parser.add_argument("--class", dest="classes", action="append", default=[], help="IngressClass to serve")
    parser.add_argument(
        "--claim-without-class", action="store_true", help="serve Ingresses without a class too"
    )
    parser.add_argument("--watch-namespace", action="append", default=[], help="watch this namespace only")
    parser.add_argument("--publish-address", action="append", default=[], help="address for Ingress status")
    parser.add_argument(
        "--publish-service", default="", help="namespace/service whose addresses are published"
    )
    parser.add_argument("--default-certificate", default="", help="namespace/secret for unknown names")
    parser.add_argument(
        "--trusted-proxy", action="append", default=[], help="CIDR whose forwarding headers count"
    )
    parser.add_argument(
        "--serve-unhonoured-restrictions-open",
        action="store_true",
        help="serve routes whose access control is not honoured, instead of answering 503",
    )
    add_shared_auth_argument(parser)
    parser.add_argument("--no-access-log", action="store_true", help="nodes log no requests")
    parser.add_argument(
        "--plugin-registry",
        action="append",
        default=[],
        metavar="HOST[/REPOSITORY]",
        help="registry that plugins may be pulled from (none by default); with http:// for one without TLS",
    )
    parser.add_argument(
        "--plugin-keys", type=Path, help="folder of PEM files: one of these keys must have signed each plugin"
    )
    parser.add_argument(
        "--plugin-registry-ca", type=Path, help="PEM file of further authorities that registries are known by"
    )
    add_stream_arguments(parser)
    add_tracing_arguments(parser)
    add_key_argument(parser)
    parser.add_argument("--listen", default="[::]:9443", help="address of the discovery service")
    parser.add_argument(
        "--token-file",
        type=Path,
        default=HostingSettings().token_file,
        help="token that other replicas know us by",
    )
    parser.add_argument("--metrics-port", type=int, default=9180, help="port of probes and metrics")
    parser.add_argument("--log-level", default="INFO", help="least severe messages to log")


def run(arguments: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT."""
    logging.basicConfig(level=arguments.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    asyncio.run(_run(make_settings(arguments), HostingSettings(arguments.listen, arguments.token_file)))
    return 0


def make_settings(arguments: argparse.Namespace) -> OperatorSettings:
    """Return the operator's settings from the arguments."""
    build = BuildSettings(
        classes=tuple(arguments.classes),
        claim_without_class=arguments.claim_without_class,
        honour_restrictions=not arguments.serve_unhonoured_restrictions_open,
        shared_auth_services=read_shared_auth_services(arguments),
        default_certificate=arguments.default_certificate,
        trusted_proxies=tuple(arguments.trusted_proxy),
        streams=read_streams(arguments, DEFAULT_BUILD.listeners),
        access_log=not arguments.no_access_log,
        explain_key=take_explain_key(arguments),
        tracing=read_tracing(arguments),
    )
    others: dict[str, object] = {
        "registries": read_registries(
            arguments.plugin_registry, arguments.plugin_keys, arguments.plugin_registry_ca
        ),
        "watch_namespaces": tuple(arguments.watch_namespace),
        "publish_addresses": tuple(arguments.publish_address),
        "metrics_port": arguments.metrics_port,
    }
    if arguments.publish_service:
        others["publish_service"] = arguments.publish_service
    return OperatorSettings.in_cluster(arguments.namespace, arguments.pod_name, build, **others)


def read_registries(registries: Sequence[str], keys: Path | None, authorities: Path | None) -> RegistryPolicy:
    """Return what plugins may be pulled from and who must have signed them; exits where that is wrong."""
    try:
        found = [path for path in sorted(keys.iterdir()) if path.is_file()] if keys else []
        if authorities:
            ssl.create_default_context(cadata=authorities.read_text())
        return RegistryPolicy(
            tuple(read_allowed(text) for text in registries),
            tuple(_read_key(path) for path in found),
            authorities.read_text() if authorities else "",
        )
    except (OSError, ValueError) as error:
        raise SystemExit(f"zeroserve operator: {error}") from error


def _read_key(path: Path) -> PublicKey:
    try:
        return read_public_key(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error


async def _run(settings: OperatorSettings, hosting: HostingSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await host_operator(settings, hosting, ClusterClient(), stop)
