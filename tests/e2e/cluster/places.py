"""Where things are: the repository, the cache, and the folders, names and addresses of one cluster."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]

NODE_NAME = "node1"
NODE_IP = "10.244.0.1"
POD_CIDR = "10.244.0.0/16"
POD_RANGE_START = "10.244.1.1"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
DNS_IP = "10.96.0.10"
# Routed like the Services: the addresses of Services of type LoadBalancer (RFC 5737, TEST-NET-2).
LOAD_BALANCER_CIDR = "198.51.100.0/24"
BRIDGE = "cni0"


class ClusterError(Exception):
    """The machine cannot do what the cluster needs; the message says what and what cures it."""


def cache_folder() -> Path:
    """Return the folder of what is built once per machine."""
    return Path(os.environ.get("ZEROSERVE_CACHE") or Path.home() / ".cache" / "zeroserve")


@dataclass(frozen=True, slots=True)
class Places:
    """One cluster's folders, names and ports; `run` must be short, as Unix sockets lie below it."""

    run: Path
    port: int = 16443

    @property
    def name(self) -> str:
        """Name of the network namespace and of the Pods' cgroup."""
        return self.run.name

    @property
    def netns(self) -> Path:
        """The network namespace as a file."""
        return Path("/run/netns") / self.name

    @property
    def kubeconfig(self) -> Path:
        """Credentials of the cluster's administrator."""
        return self.run / "kubeconfig"

    @property
    def node_kubeconfig(self) -> Path:
        """Credentials of the kubelet."""
        return self.run / "node.kubeconfig"

    @property
    def pki(self) -> Path:
        """Certificates and keys, made new for each cluster."""
        return self.run / "pki"

    @property
    def node(self) -> Path:
        """What the kubelet and the network plugins write."""
        return self.run / "node"

    @property
    def seccomp(self) -> Path:
        """Folder of Localhost seccomp profiles: a profile's name in a Pod is relative to it."""
        return self.node / "kubelet" / "seccomp"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd listens."""
        return self.run / "containerd" / "sock"

    @property
    def api_url(self) -> str:
        """The API server, as seen in the cluster's network namespace."""
        return f"https://127.0.0.1:{self.port}"

    @staticmethod
    def from_environment() -> Places:
        """Return the cluster of `$ZEROSERVE_E2E_RUN`; several clusters at once need such a folder each."""
        return Places(Path(os.environ.get("ZEROSERVE_E2E_RUN", "/tmp/zeroserve-e2e")))
