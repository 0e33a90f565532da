"""The whole cluster: build, control plane, node, images, DNS; and its end."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from pathlib import Path

from images import archives

from . import building, controlplane, dns, node, processes
from .clients import Client
from .places import ClusterError, Places

ECHO_IMAGE = "zeroserve.test/echo:1"
OWNER = "owner"


def up(places: Places) -> Client:
    """Start a cluster with one node and DNS; raises ClusterError with what is missing."""
    if os.geteuid() != 0:
        raise ClusterError("the test cluster needs root: it makes network namespaces, mounts and cgroups")
    tools = building.build(*building.MODULES)
    node.prepare()
    start = time.monotonic()
    places.run.mkdir(parents=True, exist_ok=True)
    controlplane.up(places, tools)
    node.up(places, tools, _program_image(node.PAUSE_IMAGE, tools["pause"]))
    client = Client(places, tools, "kube-system")
    for name, program in ((dns.IMAGE, "coredns"), (ECHO_IMAGE, "echo")):
        node.import_image(places, _program_image(name, tools[program]))
    client.apply(dns.MANIFESTS)
    client.rolled_out("deployment/coredns")
    print(f"cluster {places.name}: up in {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
    return client


def own(places: Places) -> None:
    """Note that the cluster ends with this process: what a killed test run left is then known as such."""
    places.run.mkdir(parents=True, exist_ok=True)
    (places.run / OWNER).write_text(str(os.getpid()))


def end_abandoned(places: Places) -> None:
    """Take down a cluster whose owner is no more."""
    owner = places.run / OWNER
    if owner.exists() and not Path("/proc", owner.read_text()).exists():
        print(f"cluster {places.name}: ending what a killed run left", file=sys.stderr, flush=True)
        down(places)


def attach(places: Places) -> Client:
    """Return a client of a cluster that is up; raises ClusterError if none is."""
    if not processes.started(places, "kube-apiserver") or not processes.started(places, "kubelet"):
        raise ClusterError(f"no cluster is up in {places.run}; start one: python -m cluster up")
    return Client(places, building.build(*building.MODULES))


def down(places: Places) -> None:
    """Stop what `up` started, by the pids noted in the run folder alone, and remove that folder."""
    if not places.pki.exists():
        return  # not a folder of ours
    node.down(places)
    controlplane.down(places)
    shutil.rmtree(places.run, ignore_errors=True)


def machine() -> archives.Architecture:
    """Return this machine's architecture; raises ClusterError on one that we do not build for."""
    known = {"x86_64": archives.Architecture.AMD64, "aarch64": archives.Architecture.ARM64}
    found = known.get(platform.machine())
    if found is None:
        raise ClusterError(f"machines of kind {platform.machine()} are not known here")
    return found


def _program_image(name: str, program: Path) -> Path:
    """Return the archive of a program's image, made once beside it (the folder is named by its digest)."""
    archive = program.with_name(f"{program.name}.oci.tar")
    if not archive.exists():
        archives.write_program(archive, name, program, machine())
    return archive
