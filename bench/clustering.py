"""Changes on a real cluster: from the API server's acknowledgement to the right answer.

Comes in: nothing but this machine: a cluster of its own is started (root), or the one that is up is used. Goes
out: times on stdout. Called by the command line. Rule: the chart is installed as users install it; its images
are built from this tree.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.figures import quantile

REPOSITORY = Path(__file__).resolve().parents[1]
NAMESPACE = "bench-cluster"
SERVED_SECONDS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `cluster`."""
    parser.add_argument("--ingresses", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--keep", action="store_true", help="use the cluster that is up, and leave it up")
    parser.add_argument("--json", type=Path)


def run(options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Measure and print; 0 when each change was served."""
    for folder in (REPOSITORY, REPOSITORY / "tests" / "e2e"):
        sys.path.insert(0, str(folder))
    from cluster import processes, running
    from cluster.places import Places

    places = Places.from_environment()
    is_up = processes.started(places, "kube-apiserver")
    if is_up and not options.keep:
        raise ValueError(f"a cluster is up in {places.run}: end it, or use it with --keep")
    try:
        client = running.attach(places) if is_up else running.up(places)
        return _measure(client, options, say)
    finally:
        if not options.keep:
            running.down(places)


def _measure(client: object, options: argparse.Namespace, say: Callable[[str], None]) -> int:
    import changing
    import manifests
    import releases
    from cluster.clients import Client

    assert isinstance(client, Client)
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
    first_host = changing.host(options.ingresses)
    inside.eventually(lambda: changing.ask(inside, release, first_host)[0] == 200, SERVED_SECONDS)
    installed_s = time.monotonic() - begun
    say(f"making {options.ingresses} Ingresses")
    changing.make_ingresses(inside, release, "many", options.ingresses)
    say(f"making {options.changes} changes")
    found = changing.change_all(inside, release, options.ingresses, options.changes, say)
    release.client.helm("uninstall", release.name, "--wait")
    inside.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    times = found.times_ms
    figures = {
        "ingresses": options.ingresses,
        "changes": options.changes,
        "served": len(times),
        "install_to_answer_s": round(installed_s, 1),
        **{f"p{part}_ms": round(quantile(times, part / 100), 1) for part in (50, 90, 99) if times},
        "max_ms": round(max(times), 1) if times else None,
    }
    print("\n".join(f"{name + ':':21} {value}" for name, value in figures.items()))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if found.lost else 0
