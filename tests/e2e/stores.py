"""A Redis in the cluster, behind a password: its image, made of Debian's package, and its objects.

Comes in: a client of the cluster. Goes out: a Service by which Pods reach it.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import manifests
from cluster import node, running
from cluster.clients import Client
from cluster.places import cache_folder

from images import archives
from images.archives import Config, LayerWriter
from images.debian import Archive

IMAGE = "zeroserve.test/redis:1"
PORT = 6379
# It holds the program too; what it does is up to the name that it is called by.
PACKAGES = ("redis-tools",)
PROGRAM = "redis-check-rdb"


def run_store(client: Client, name: str, password: str) -> None:
    """Run a Redis in the client's namespace that keeps nothing, and wait until it answers."""
    node.import_image(client.places, _archive())
    options = ["--save", "", "--dir", "/tmp", "--port", str(PORT), "--requirepass", password]
    container = {
        "name": "redis",
        "image": IMAGE,
        "args": options,
        "ports": [{"name": "redis", "containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": "redis"}, "periodSeconds": 1},
        "securityContext": manifests.RESTRICTED_CONTAINER,
    }
    service = manifests.service(name)
    service["spec"]["ports"] = [{"name": "redis", "port": PORT, "targetPort": "redis"}]
    client.apply(manifests.dump(manifests.deployment(name, container), service))
    client.rolled_out(f"deployment/{name}")


def _archive() -> Path:
    """Return the image's archive, made once for these versions of the packages."""
    machine = running.machine()
    packages = Archive(machine, cache_folder())
    digest = hashlib.sha256(packages.describe(PACKAGES).encode()).hexdigest()
    target = cache_folder() / "e2e" / f"redis-{digest[:16]}.oci.tar"
    if not target.exists():
        with tempfile.TemporaryDirectory(prefix="zeroserve-image-") as name:
            root = Path(name, "root")
            root.mkdir()
            packages.unpack(PACKAGES, root)
            layer = LayerWriter(Path(name, "layer.tar"))
            layer.folder("tmp", 0o1777)
            layer.tree(root)
            layer.link("usr/bin/redis-server", PROGRAM)
            archives.write(target, IMAGE, [layer.finish()], Config(("/usr/bin/redis-server",)), machine)
    return target
