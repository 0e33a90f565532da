"""The product in the test cluster: its images on the node, a Helm release of it, and what its Pods tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cluster import node, running
from cluster.clients import Client, CommandError
from cluster.places import REPOSITORY, Places, cache_folder
from traffic import Target, fetch

from images import recipes
from images.__main__ import archive_path, build
from images.debian import ImageError

CHART = REPOSITORY / "charts" / "zeroserve-ingress"
REGISTRY = "zeroserve.test"
# Two builds of the same sources, apart by a label and so by digest: what `helm upgrade` goes from and to.
TAGS = ("e2e-1", "e2e-2")
LOG_LINES = 40
COMPONENTS = ("operator", "agent", "engine")


@cache
def archive(component: str, tag: str) -> Path:
    """Build an image once for the session and return its archive."""
    return archive_in(cache_folder(), component, tag)


def archive_in(folder: Path, component: str, tag: str) -> Path:
    """Build an image with this cache; the archive is put below it."""
    order = recipes.Order(running.machine(), folder, REGISTRY, tag, {"dev.zeroserve.e2e": tag})
    target = archive_path(folder / "e2e", component, order)
    try:
        build(component, order, target)
    except ImageError as error:
        raise AssertionError(f"the image of {component} cannot be built: {error}") from error
    return target


def tell(client: Client) -> list[tuple[str, str]]:
    """Return the states of all Pods and the product's last lines, by title, for the report of a failure."""
    found = [("Pods", client.kubectl("get", "pods", "--all-namespaces", "-o", "wide"))]
    for pod in client.items("pods", "--all-namespaces", "-l", "app.kubernetes.io/name=zeroserve-ingress"):
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        wanted = ("logs", name, "--all-containers", "--prefix", f"--tail={LOG_LINES}")
        with suppress(CommandError):  # of a container that has not started
            found.append((f"{namespace}/{name}", client.within(namespace).kubectl(*wanted)))
    return found


def import_images(
    client: Client, components: Sequence[str] = COMPONENTS, tags: Sequence[str] = TAGS[:1]
) -> None:
    """Give the node these images of the product."""
    for component in components:
        for tag in tags:
            _import_image(client.places, component, tag)


@cache
def _import_image(places: Places, component: str, tag: str) -> None:
    """Import once for the session: some 280 MB each."""
    node.import_image(places, archive(component, tag))


@dataclass(frozen=True, slots=True)
class Release:
    """A Helm release; `client` works in its namespace.

    `address` is that of its load balancer, "" where it has none; `kind` is the data plane's workload.
    """

    client: Client
    name: str
    ingress_class: str
    address: str
    kind: str = "daemonset"

    def install(self, *settings: str, tag: str = TAGS[0]) -> None:
        """Install, wait until the data plane is ready, and give its Service the address."""
        self.client.make_namespace()
        self.client.helm("install", self.name, str(CHART), *self._settings(tag), *settings)
        if self.address:
            patch = f'{{"status":{{"loadBalancer":{{"ingress":[{{"ip":"{self.address}"}}]}}}}}}'
            service = ("patch", "service", f"{self.name}-dataplane", "--subresource=status", "--type=merge")
            self.client.kubectl(*service, "-p", patch)
        self.rolled_out()

    def upgrade(self, *settings: str, tag: str) -> None:
        """Upgrade to images of another tag, and wait."""
        self.client.helm("upgrade", self.name, str(CHART), "--reset-values", *self._settings(tag), *settings)
        self.rolled_out()

    def rolled_out(self) -> None:
        """Wait until operator and data plane are as the release says, and nothing else is left to serve."""
        self.client.rolled_out(f"deployment/{self.name}-operator", 240)
        self.client.rolled_out(f"{self.kind}/{self.name}-dataplane", 240)
        if self.kind == "daemonset":
            # Its rollout counts as complete while the former Pod of a node is still to be deleted.
            self.client.eventually(lambda: len(self.pods("dataplane")) == 1, 120)

    def pods(self, component: str) -> list[dict[str, Any]]:
        """Return the Pods of "operator" or "dataplane" that are not on their way out."""
        return self.client.pods(
            f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component={component}"
        )

    def dataplane_pod(self) -> dict[str, Any]:
        """Return the data plane's Pod on the only node."""
        (found,) = self.pods("dataplane")
        return found

    def target(self, host: str, authority: bytes) -> Target:
        """Return where clients find a host of this release, over TLS."""
        return Target(self.address, host, authority)

    def metric(self, name: str, **labels: str) -> float:
        """Return a metric of the data plane's only Pod."""
        return self.metric_of(self.dataplane_pod(), name, **labels)

    def metric_of(self, pod: dict[str, Any], name: str, **labels: str) -> float:
        """Return the sum of a metric of a Pod of the data plane over all samples with these labels."""
        address = pod["status"]["podIP"]
        answer = fetch(self.client, Target(address, address, port=9181), "/metrics")
        assert answer.status == 200, answer
        total = 0.0
        for line in answer.body.decode().splitlines():
            sample = re.match(rf"{name}(?:{{(.*)}})? (\S+)$", line)
            if sample:
                found = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', sample[1] or ""))
                if labels.items() <= found.items():
                    total += float(sample[2])
        return total

    def images_of(self) -> set[str]:
        """Return the images that the release's Pods run."""
        pods = self.client.pods(f"app.kubernetes.io/instance={self.name}")
        return {container["image"] for pod in pods for container in pod["spec"]["containers"]}

    def _settings(self, tag: str) -> list[str]:
        values = {
            "fullnameOverride": self.name,
            "images.registry": REGISTRY,
            "images.pullPolicy": "Never",
            "ingressClass.name": self.ingress_class,
            # The one definition of the cluster belongs to the first release.
            "crds.install": str(self.name == "zeroserve").lower(),
        } | {f"images.{component}.tag": tag for component in COMPONENTS}
        return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
