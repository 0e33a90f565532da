"""The tooling itself: a real cluster in a network of its own, and images that were made without a base."""

import filecmp
import json
import signal
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import manifests
import pytest
import releases
import seccomp
from cluster import node
from cluster.clients import Client, CommandError
from cluster.places import cache_folder
from traffic import Target, echoing, fetch, load

BALANCED = "198.51.100.250"


@pytest.fixture(scope="module")
def balanced(namespace: Client) -> Target:
    """Two Pods of the demo backend behind a load balancer's address."""
    namespace.apply(manifests.backend("echo", replicas=2))
    namespace.apply(manifests.dump(manifests.service("echo", "LoadBalancer")))
    patch = json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": BALANCED}]}}})
    namespace.kubectl("patch", "service", "echo", "--subresource=status", "--type=merge", "-p", patch)
    namespace.rolled_out("deployment/echo")
    target = Target(BALANCED, "echo.example")
    namespace.eventually(lambda: fetch(namespace, target).status == 200, 120)
    return target


def run_once(client: Client, pod: dict[str, Any]) -> str:
    name = pod["metadata"]["name"]
    client.apply(manifests.dump(pod))
    phases = ("Succeeded", "Failed")
    phase = client.eventually(
        lambda: (p := client.get("pod", name)["status"].get("phase")) in phases and p, 60
    )
    logs = client.kubectl("logs", name)
    assert phase == "Succeeded", logs
    return logs


def reached(namespace: Client, target: Target) -> set[str]:
    """Return the names of the Pods that answered 30 requests; one that fails raises."""
    return {fetch(namespace, target).json()["pod"] for _ in range(30)}


def restarts(namespace: Client) -> dict[str, int]:
    """Return how often the kubelet has started each ready Pod again, by name."""
    statuses = {pod["metadata"]["name"]: pod["status"] for pod in namespace.pods("app=echo")}
    return {
        name: status["containerStatuses"][0]["restartCount"]
        for name, status in statuses.items()
        if status["containerStatuses"][0]["ready"]
    }


@contextmanager
def killing(namespace: Client, target: Target) -> Iterator[None]:
    """Kill all Pods' processes before the block, and leave it when each runs again and is reached."""
    before = restarts(namespace)
    kills = [namespace.kill(pod, "/app -listen", signal.SIGKILL) for pod in namespace.pods("app=echo")]
    assert kills == [1, 1]
    yield
    # The API server hears of a death late: until then the rollout is as complete as it was before.
    namespace.eventually(lambda: restarts(namespace) == {name: n + 1 for name, n in before.items()}, 90)
    namespace.eventually(lambda: reached(namespace, target) == set(before), 120)


def test_a_load_balancers_address_reaches_every_ready_pod(namespace: Client, balanced: Target) -> None:
    pods = {pod["metadata"]["name"] for pod in namespace.pods("app=echo")}
    # kube-proxy learns of the second a moment after the first.
    namespace.eventually(lambda: reached(namespace, balanced) == pods, 120)


def test_load_reports_a_backend_that_dies(namespace: Client, balanced: Target) -> None:
    """The tests that expect no failure rest on this one: the load does see what a client would."""
    loading = load(namespace, balanced, requests_per_second=100, connections=10)
    with loading as report, killing(namespace, balanced):
        namespace.eventually(lambda: bool(report.failures), 120)
    assert report.failures


def test_websockets_echo_until_their_backend_dies(namespace: Client, balanced: Target) -> None:
    with echoing(namespace, balanced, sockets=6) as report:
        report.wait_for(12)
        assert report.failures == []
        with killing(namespace, balanced):
            namespace.eventually(lambda: len(report.failures) == 6, 120)


# Every module of ours that an image is for: what one imports and the lock lacks is found here.
IMPORT_ALL = """import importlib, os, pkgutil, socket, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        importlib.import_module(module.name)
print(os.getuid(), socket.gethostbyname("kubernetes.default.svc"))
"""


@pytest.mark.parametrize("component", ["operator", "agent"])
def test_python_images_hold_what_our_modules_import(namespace: Client, component: str) -> None:
    releases.import_images(namespace, [component], releases.TAGS[:1])
    own = {"operator": "zeroserve_operator", "agent": "zeroserve_dataplane"}[component]
    container = {
        "image": f"{releases.REGISTRY}/zeroserve-{component}:{releases.TAGS[0]}",
        "command": ["/usr/bin/python3.11", "-c", IMPORT_ALL, own, "zeroserve_ir"],
    }
    said = run_once(namespace, manifests.pod(f"python-{component}", container))
    assert said.split() == ["65532", "10.96.0.1"]


def test_an_image_is_the_same_bytes_when_built_without_a_cache(tmp_path: Path) -> None:
    # The cold build first: what differs is then the cache, not a source that changed in between.
    cold, warm = (releases.archive_in(folder, "agent", "again") for folder in (tmp_path, cache_folder()))
    assert filecmp.cmp(cold, warm, shallow=False)


def test_pods_that_are_not_restricted_are_refused(namespace: Client) -> None:
    pod = manifests.pod("root", {"image": "zeroserve.test/echo:1"})
    pod["spec"]["securityContext"] = {}
    with pytest.raises(CommandError, match="violates PodSecurity"):
        namespace.apply(manifests.dump(pod))


def test_a_pods_processes_are_found_from_the_machine(namespace: Client, balanced: Target) -> None:
    for pod in namespace.pods("app=echo"):
        commands = node.processes_of_pod(pod["metadata"]["uid"]).values()
        assert any(command.startswith("/app -listen") for command in commands), commands


# io_uring_setup(2) for one entry, with a zeroed io_uring_params.
RING = """import ctypes, errno
library = ctypes.CDLL(None, use_errno=True)
made = library.syscall(425, 1, ctypes.create_string_buffer(120))
print("made" if made >= 0 else errno.errorcode[ctypes.get_errno()])
"""


@pytest.mark.parametrize(
    ("profile", "result"), [(seccomp.WITH_RINGS, "made"), (seccomp.WITHOUT_RINGS, "EPERM")]
)
def test_a_profile_of_the_node_decides_on_io_uring(namespace: Client, profile: str, result: str) -> None:
    releases.import_images(namespace, ["agent"], releases.TAGS[:1])
    seccomp.put_profiles(namespace.places)
    container = {
        "image": f"{releases.REGISTRY}/zeroserve-agent:{releases.TAGS[0]}",
        "command": ["/usr/bin/python3.11", "-c", RING],
    }
    pod = manifests.pod(f"ring-{result.lower()}", container)
    chosen = {"type": "Localhost", "localhostProfile": profile}
    pod["spec"]["containers"][0]["securityContext"] |= {"seccompProfile": chosen}
    assert run_once(namespace, pod).strip() == result


def test_the_engines_image_holds_the_engine_and_its_libraries_alone(tmp_path: Path) -> None:
    with tarfile.open(releases.archive("engine", releases.TAGS[0])) as archive:
        archive.extractall(tmp_path, filter="data")
    files: set[str] = set()
    for path in (tmp_path / "blobs" / "sha256").iterdir():
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as layer:
                files |= {Path(entry.name).name for entry in layer if entry.isfile() and entry.mode & 0o100}
    # Whether libm is among them depends on what the linker kept of the crates.
    assert files - {"libm.so.6"} == {"zeroserve-engine", "ld-linux-x86-64.so.2", "libc.so.6", "libgcc_s.so.1"}
