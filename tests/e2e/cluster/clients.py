"""Clients of a running cluster: kubectl, helm, and threads that live in the cluster's network."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from . import controlplane, node, processes
from .places import Places

Result = TypeVar("Result")
CLONE_NEWNET = 0x40000000  # linux/sched.h
POLL_SECONDS = 0.1
ZEROSERVE = Path(sys.executable).parent / "zeroserve"
# What is asked of a cluster too early is refused, cut short, or answered with something else.
NOT_YET = (OSError, http.client.HTTPException, AssertionError, LookupError, ValueError)


class CommandError(Exception):
    """A command against the cluster failed; the message holds what it said."""


class Client:
    """What a test does with a cluster; one namespace is the default of each call."""

    def __init__(self, places: Places, tools: Mapping[str, Path], namespace: str = "default") -> None:
        self.places = places
        self.namespace = namespace
        self._tools = dict(tools)
        self._environment = controlplane.client_environment(places, tools)

    def within(self, namespace: str) -> Client:
        """Return the client whose default namespace is another."""
        return Client(self.places, self._tools, namespace)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return what it printed; raises CommandError."""
        return self._run(self._tools["kubectl"], ("-n", self.namespace, *arguments), stdin)

    def helm(self, *arguments: str) -> str:
        """Run helm and return what it printed; raises CommandError."""
        return self._run(self._tools["helm"], ("-n", self.namespace, *arguments), None)

    def zeroserve(self, *arguments: str) -> str:
        """Run our own command with this cluster and return what it printed; raises CommandError."""
        return self._run(ZEROSERVE, arguments, None)

    def apply(self, manifests: str) -> None:
        """Apply manifests (YAML)."""
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifests)

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return an object or a list of them."""
        found = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        if not isinstance(found, dict):
            raise CommandError(f"kubectl get {' '.join(arguments)}: {found!r} is no object")
        return found

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the objects of a list."""
        return list(self.get(*arguments)["items"])

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """Return the Pods of a label selector that are not on their way out."""
        found = self.items("pods", "-l", selector)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def make_namespace(self, restricted: bool = True) -> None:
        """Make the default namespace, under Pod Security "restricted", and wait until Pods can be."""
        level = "restricted" if restricted else "privileged"
        labels = f"{{pod-security.kubernetes.io/enforce: {level}}}"
        self.apply(
            f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {self.namespace}, labels: {labels}}}\n"
        )
        self.eventually(lambda: self.kubectl("get", "serviceaccount", "default"), 120)

    def rolled_out(self, workload: str, seconds: int = 180) -> None:
        """Wait until a workload's rollout is complete."""
        self.kubectl("rollout", "status", workload, f"--timeout={seconds}s")

    def kill(self, pod: dict[str, Any], program: str, signal: int) -> int:
        """Signal each process of a Pod whose command line names `program`; return how many there were."""
        found = [
            pid
            for pid, command in node.processes_of_pod(pod["metadata"]["uid"]).items()
            if program in command
        ]
        for pid in found:
            os.kill(pid, signal)
        return len(found)

    def eventually(self, check: Callable[[], Result], seconds: float) -> Result:
        """Call until it neither raises nor returns None or False, and return its result."""
        deadline = time.monotonic() + seconds
        while True:
            last: object = "it returned nothing"
            try:
                result = check()
                if result is not None and result is not False:
                    return result
            except (CommandError, *NOT_YET) as error:
                last = error
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:.0f} s: {last}")
            time.sleep(POLL_SECONDS)

    def in_network(self, work: Callable[[], Result]) -> Result:
        """Call `work` in a thread whose sockets belong to the cluster's network."""
        done: list[Result] = []
        failed: list[BaseException] = []

        def run() -> None:
            try:
                _join(self.places.netns)
                done.append(work())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return done[0]

    def _run(self, program: Path, arguments: Sequence[str], stdin: str | None) -> str:
        command = processes.inside(self.places, [str(program), *arguments])
        done = subprocess.run(
            command, env=self._environment, input=stdin, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CommandError(f"{program.name} {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


def _join(netns: Path) -> None:
    """Move the calling thread alone into a network namespace: setns(2), as os.setns is Python 3.12's."""
    library = ctypes.CDLL(None, use_errno=True)
    with netns.open() as namespace:
        if library.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(netns))
