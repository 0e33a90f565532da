"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler in a network namespace of their own.

The order is fixed: namespace, certificates, etcd and the API server, then those that are its clients. Ready
means that Pods can be made, which needs the "default" ServiceAccount of the controller-manager.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from . import certificates, processes
from .places import (
    API_SERVICE_IP,
    BRIDGE,
    LOAD_BALANCER_CIDR,
    NODE_IP,
    NODE_NAME,
    SERVICE_CIDR,
    ClusterError,
    Places,
)

START_SECONDS = 180.0
API_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "127.0.0.1",
    NODE_IP,
    API_SERVICE_IP,
)
STOP_ORDER = ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")


def up(places: Places, tools: Mapping[str, Path]) -> None:
    """Start the control plane; raises ClusterError if it does not become ready."""
    if processes.started(places, "kube-apiserver"):
        raise ClusterError(f"a cluster is up in {places.run}; end it: python -m cluster down")
    places.pki.mkdir(parents=True, exist_ok=True)
    places.run.chmod(0o700)
    _make_network(places)
    _make_certificates(places)
    environment = client_environment(places, tools)
    _start_store(places, tools, environment)
    _start_controllers(places, tools, environment)


def down(places: Places) -> None:
    """Stop the control plane and remove its network namespace."""
    for name in STOP_ORDER:
        processes.stop(places, name)
    if places.netns.exists():
        _run("ip", "netns", "del", places.name)


def client_environment(places: Places, tools: Mapping[str, Path]) -> dict[str, str]:
    """Return an environment in which kubectl and helm are found and talk to this cluster."""
    folders = {str(path.parent) for path in tools.values()}
    path = os.pathsep.join([*sorted(folders), os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")])
    # Helm's own caches stay in the run folder; nothing here reads the user's.
    homes = {
        name: str(places.run / "helm") for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")
    }
    return os.environ | homes | {"KUBECONFIG": str(places.kubeconfig), "PATH": path}


def _make_network(places: Places) -> None:
    if not places.netns.exists():
        _run("ip", "netns", "add", places.name)
    _run("ip", "-n", places.name, "link", "set", "lo", "up")
    shown = subprocess.run(
        ["ip", "-n", places.name, "link", "show", BRIDGE], capture_output=True, check=False
    )
    if shown.returncode == 0:
        return
    # The bridge that the network plugin takes over later: it carries the node's address from the start.
    _run("ip", "-n", places.name, "link", "add", BRIDGE, "type", "bridge")
    _run("ip", "-n", places.name, "addr", "add", f"{NODE_IP}/16", "dev", BRIDGE)
    _run("ip", "-n", places.name, "link", "set", BRIDGE, "up")
    # kube-proxy's rules rewrite these addresses, but only of packets that have a route at all.
    for cidr in (SERVICE_CIDR, LOAD_BALANCER_CIDR):
        _run("ip", "-n", places.name, "route", "add", cidr, "dev", BRIDGE)


def _make_certificates(places: Places) -> None:
    authority = certificates.Authority("zeroserve-e2e")
    admin = authority.issue("admin", "system:masters")
    node = authority.issue(f"system:node:{NODE_NAME}", "system:nodes", (NODE_NAME, NODE_IP))
    authority.pair.write(places.pki, "ca")
    authority.issue("kube-apiserver", alternatives=API_NAMES).write(places.pki, "apiserver")
    admin.write(places.pki, "admin")
    node.write(places.pki, "node")
    certificates.write_private(places.pki / "sa.key", certificates.new_key())
    for path, user in ((places.kubeconfig, admin), (places.node_kubeconfig, node)):
        config = certificates.kubeconfig(places.api_url, authority.certificate, user)
        certificates.write_private(path, config.encode())


def _start_store(places: Places, tools: Mapping[str, Path], environment: Mapping[str, str]) -> None:
    client, peer = (f"http://127.0.0.1:{places.port + offset}" for offset in (1, 2))
    # Tests only: what a crash of the machine would lose is the test's own.
    etcd = f"""--data-dir={places.run}/etcd --unsafe-no-fsync --log-level=warn
        --listen-client-urls={client} --advertise-client-urls={client}
        --listen-peer-urls={peer} --initial-advertise-peer-urls={peer} --initial-cluster=default={peer}"""
    pki = places.pki
    # aggregator-routing: a webhook given as a Service is called at its endpoint's address.
    apiserver = f"""--etcd-servers={client} --secure-port={places.port} --bind-address=0.0.0.0
        --advertise-address={NODE_IP} --endpoint-reconciler-type=master-count
        --service-cluster-ip-range={SERVICE_CIDR} --enable-aggregator-routing=true
        --authorization-mode=Node,RBAC --allow-privileged=true --cert-dir={pki}
        --client-ca-file={pki}/ca.crt
        --tls-cert-file={pki}/apiserver.crt --tls-private-key-file={pki}/apiserver.key
        --kubelet-client-certificate={pki}/admin.crt --kubelet-client-key={pki}/admin.key
        --kubelet-preferred-address-types=InternalIP
        --service-account-issuer=https://kubernetes.default.svc.cluster.local
        --service-account-key-file={pki}/sa.key --service-account-signing-key-file={pki}/sa.key"""
    for name, options in (("etcd", etcd), ("kube-apiserver", apiserver)):
        command = [str(tools[name]), *options.split()]
        processes.start(places, name, processes.inside(places, command), environment)
    ready = ["kubectl", "get", "--raw", "/readyz"]
    processes.wait_until(
        places, "kube-apiserver", START_SECONDS, lambda: _succeeds(places, tools, environment, ready)
    )


def _start_controllers(places: Places, tools: Mapping[str, Path], environment: Mapping[str, str]) -> None:
    pki = places.pki
    # The grace periods: a stopped kubelet is a test's doing, so nothing is evicted for it.
    manager = f"""--kubeconfig={places.kubeconfig} --leader-elect=false
        --node-monitor-grace-period=24h --node-startup-grace-period=24h
        --bind-address=127.0.0.1 --secure-port={places.port + 3} --cert-dir={pki}
        --service-account-private-key-file={pki}/sa.key --root-ca-file={pki}/ca.crt
        --cluster-signing-cert-file={pki}/ca.crt --cluster-signing-key-file={pki}/ca.key"""
    scheduler = f"""--kubeconfig={places.kubeconfig} --leader-elect=false
        --bind-address=127.0.0.1 --secure-port={places.port + 4} --cert-dir={pki}"""
    for name, options in (("kube-controller-manager", manager), ("kube-scheduler", scheduler)):
        command = [str(tools[name]), *options.split()]
        processes.start(places, name, processes.inside(places, command), environment)
    account = ["kubectl", "-n", "default", "get", "serviceaccount", "default"]
    processes.wait_until(
        places,
        "kube-controller-manager",
        START_SECONDS,
        lambda: _succeeds(places, tools, environment, account),
    )


def _succeeds(
    places: Places, tools: Mapping[str, Path], environment: Mapping[str, str], command: list[str]
) -> bool:
    command = [str(tools[command[0]]), *command[1:]]
    done = subprocess.run(
        processes.inside(places, command), env=dict(environment), capture_output=True, check=False
    )
    return done.returncode == 0


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()}")
