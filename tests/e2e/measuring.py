"""Measures changes on a real cluster: `python -m bench cluster` runs this as a process of its own.

Comes in: options on the command line. Goes out: times on stdout, progress on stderr. Rule: the chart is
installed as users install it, with images of this tree; a cluster that is up is used only with --keep.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import changing
import manifests
import releases
from cluster import processes, running
from cluster.clients import Client
from cluster.places import ClusterError, Places

from bench.figures import quantile

NAMESPACE = "bench-cluster"
SERVED_SECONDS = 60


def main() -> int:
    """Measure and print; 0 when each change was served."""
    parser = argparse.ArgumentParser("bench cluster")
    parser.add_argument("--ingresses", type=int, required=True)
    parser.add_argument("--changes", type=int, required=True)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    places = Places.from_environment()
    is_up = processes.started(places, "kube-apiserver")
    try:
        if is_up and not options.keep:
            raise ClusterError(f"a cluster is up in {places.run}: end it, or use it with --keep")
        client = running.attach(places) if is_up else running.up(places)
        return measure(client, options)
    except ClusterError as error:
        say(f"bench: {error}")
        return 1
    finally:
        if not options.keep and not is_up:
            running.down(places)


def measure(client: Client, options: argparse.Namespace) -> int:
    """Install, fill, change, print."""
    releases.import_images(client)
    inside = client.within(NAMESPACE)
    inside.make_namespace()
    inside.apply(manifests.backend("many"))
    inside.rolled_out("deployment/many")
    release = releases.Release(client.within("zeroserve-bench"), "zeroserve", "bench", "198.51.100.40")
    inside.apply(manifests.dump(changing.ingress_object(options.ingresses, "many", release.ingress_class)))
    say("installing the chart")
    begun = time.monotonic()
    release.install()
    first = changing.host(options.ingresses)
    inside.eventually(lambda: changing.ask(inside, release, first)[0] == 200, SERVED_SECONDS)
    figures: dict[str, object] = {"install_to_answer_s": round(time.monotonic() - begun, 1)}
    say(f"making {options.ingresses} Ingresses")
    changing.make_ingresses(inside, release, "many", options.ingresses)
    say(f"making {options.changes} changes")
    found = changing.change_all(inside, release, options.ingresses, options.changes, say)
    release.client.helm("uninstall", release.name, "--wait")
    inside.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    figures |= {"ingresses": options.ingresses, "changes": options.changes, "served": len(found.times_ms)}
    if found.times_ms:
        figures |= {f"p{part}_ms": round(quantile(found.times_ms, part / 100), 1) for part in (50, 90, 99)}
        figures["max_ms"] = round(max(found.times_ms), 1)
    print("\n".join(f"{name + ':':21} {value}" for name, value in figures.items()))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if found.lost else 0


def say(line: str) -> None:
    """Tell how far it is."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
