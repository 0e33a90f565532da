"""The command line of the test cluster: `python -m cluster --help`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # for `images`

from cluster import building, controlplane, node, processes, running
from cluster.places import ClusterError, Places

EPILOGUE = """examples:
  python -m cluster up                          # a Kubernetes with one node; first builds it (10 min)
  python -m cluster in kubectl get pods -A      # any command, with the cluster's network and credentials
  python -m cluster image dist/images/zeroserve-engine-0.1.0-amd64.oci.tar
  python -m cluster path helm                   # where the pinned helm is
  python -m cluster down
settings: ZEROSERVE_CACHE (built tools), ZEROSERVE_E2E_RUN (the cluster's folder: /tmp/zeroserve-e2e)"""


def main() -> int:
    """Run one command; returns the exit code."""
    arguments = _parser().parse_args()
    try:
        return _run(arguments)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "cluster",
        description="A real Kubernetes for tests.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start a cluster with one node and DNS")
    commands.add_parser("down", help="stop it and remove all of it")
    image = commands.add_parser("image", help="give the node an OCI archive")
    image.add_argument("archive", type=Path)
    inside = commands.add_parser("in", help="run a command in the cluster's network")
    inside.add_argument("words", nargs=argparse.REMAINDER)
    names = [module.name for module in building.MODULES]
    build = commands.add_parser("build", help="build pinned tools into the cache")
    build.add_argument(
        "modules", nargs="*", metavar="MODULE", help=f"of {', '.join(names)}; all if none is named"
    )
    path = commands.add_parser("path", help="print where a tool is, built if missing")
    path.add_argument("tool")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    places = Places.from_environment()
    match arguments.command:
        case "up":
            running.up(places)
            print(f"export KUBECONFIG={places.kubeconfig}  # in the network namespace {places.name}")
        case "down":
            running.down(places)
        case "image":
            node.import_image(places, arguments.archive)
        case "build":
            known = {module.name: module for module in building.MODULES}
            unknown = set(arguments.modules) - known.keys()
            if unknown:
                raise ClusterError(
                    f"no such tool module: {', '.join(sorted(unknown))}; there are {', '.join(known)}"
                )
            building.build(*(known[name] for name in arguments.modules or known))
        case "path":
            print(_path_of(arguments.tool))
        case "in":
            running.attach(places)
            environment = controlplane.client_environment(places, building.build(*building.MODULES))
            command = processes.inside(places, arguments.words)
            os.execvpe(command[0], command, environment)
    return 0


def _path_of(tool: str) -> Path:
    for module in building.MODULES:
        if tool in module.programs:
            return building.build(module)[tool]
    raise ClusterError(f"no such tool: {tool}")


if __name__ == "__main__":
    sys.exit(main())
