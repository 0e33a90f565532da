"""`zeroserve cache purge`: make a server, or all nodes of a cluster, forget answers that they keep."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zeroserve_ir.purges import ALL

from zeroserve_cli.asking import add_admin_argument, ask_server
from zeroserve_cli.main import EXIT_FAILED

if TYPE_CHECKING:
    from zeroserve_operator.cluster_client import Requests

POLL_S = 0.5
CURES = {
    403: "you need the right to create zeroservecachepurges.zeroserve.dev in this namespace",
    404: "no such namespace, or the cluster lacks our definitions: install or upgrade the chart",
}
"""By status of the API server's answer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is to be forgotten, and where."""
    parser.add_argument("action", choices=("purge",), help="forget kept answers")
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument(
        "target",
        nargs="?",
        metavar="TARGET",
        help="scheme://host/uri, or the text of a `key`; with * at its end all that begin so",
    )
    wanted.add_argument("--all", action="store_true", help="forget everything")
    parser.add_argument(
        "-n", "--namespace", help="on all nodes of the current kubeconfig's cluster, what routes of it keep"
    )
    parser.add_argument(
        "--wait", type=float, default=60.0, metavar="SECONDS", help="for all nodes, with --namespace"
    )
    add_admin_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Purge; returns 0 once nothing of it is served any more."""
    if arguments.namespace is not None:
        # Loaded here: the client of a cluster takes longer to load than a purge of a server takes.
        from zeroserve_operator.cluster_client import ClusterClient, ClusterError  # noqa: PLC0415

        target = ALL if arguments.all else arguments.target
        try:
            return purge_cluster(ClusterClient(), arguments.namespace, target, arguments.wait)
        except ClusterError as error:
            cure = CURES.get(error.status)
            print(f"zeroserve: {error}{f' ({cure})' if cure else ''}", file=sys.stderr)
            return EXIT_FAILED
    target = "" if arguments.all else arguments.target
    return ask_server(
        arguments.admin,
        {"command": "purge", "target": target},
        lambda answer: f"{answer.get('answers', 0)} answers forgotten",
    )


def purge_cluster(client: Requests, namespace: str, target: str, wait_s: float) -> int:
    """Create a ZeroserveCachePurge, and wait until all nodes have done it. Raises ClusterError."""
    collection = f"/apis/zeroserve.dev/v1alpha1/namespaces/{namespace}/zeroservecachepurges"
    body = {
        "apiVersion": "zeroserve.dev/v1alpha1",
        "kind": "ZeroserveCachePurge",
        "metadata": {"generateName": "purge-"},
        "spec": {"targets": [target]},
    }
    name = client.request("POST", collection, body)["metadata"]["name"]
    status: Mapping[str, Any] = {}
    give_up_s = time.monotonic() + wait_s
    while time.monotonic() < give_up_s:
        status = client.request("GET", f"{collection}/{name}").get("status") or {}
        if _is_done(status):
            print(f"{name}: {_describe(status)}")
            return 0
        time.sleep(POLL_S)
    told = f"zeroserve: {name}: {_describe(status)} after {wait_s:g} s; `kubectl get zscp -n {namespace}`"
    print(f"{told} tells more", file=sys.stderr)
    return EXIT_FAILED


def _is_done(status: Mapping[str, Any]) -> bool:
    conditions = status.get("conditions") or ()
    return any(item.get("type") == "Programmed" and item.get("status") == "True" for item in conditions)


def _describe(status: Mapping[str, Any]) -> str:
    nodes = status.get("nodes") or {}
    return f"done by {nodes.get('acked', 0)} of {nodes.get('total', 0)} nodes"
