"""One real node: containerd, runc, kubelet and kube-proxy, with Pods on a bridge inside the cluster's network
namespace.

`up` starts itself again inside that network namespace and a mount namespace of its own (`python -m
cluster.node`), so that what containerd and kubelet mount stays out of the machine's sight and goes when
they go.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from . import controlplane, processes
from .places import (
    BRIDGE,
    DNS_IP,
    NODE_IP,
    NODE_NAME,
    POD_CIDR,
    POD_RANGE_START,
    REPOSITORY,
    ClusterError,
    Places,
)

START_SECONDS = 180.0
PAUSE_IMAGE = "zeroserve.test/pause:1"
CGROUPS = Path("/sys/fs/cgroup")
PLUGINS = Path("/usr/lib/cni")
UNUSED_SNAPSHOTTERS = ("btrfs", "zfs", "aufs", "devmapper")
# Programs and the Debian packages that they come from.
NEEDED = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "unshare": "util-linux",
}
# Paths that are not ours to choose, hidden below a tmpfs in the node's mount namespace.
OWN_FOLDERS = ("/run/containerd", "/var/lib/cni", "/var/log/containers")
# kubelet sets these for the whole machine unless it finds them so; it is let to find them so.
SYSCTLS_OF_KUBELET = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def prepare() -> None:
    """Install what a node needs of Debian's packages, or say plainly what is missing."""
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    if not (PLUGINS / "bridge").exists():
        missing.append("containernetworking-plugins")
    if not missing:
        return
    install = [str(REPOSITORY / "tools" / "install-debian-packages"), *missing]
    done = subprocess.run(install, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"a node needs {' '.join(missing)}: {done.stderr.strip()}")


def up(places: Places, tools: Mapping[str, Path], pause_archive: Path) -> None:
    """Start the node and wait until it is Ready; `pause_archive` is the OCI archive of PAUSE_IMAGE."""
    named = json.dumps({name: str(path) for name, path in tools.items()})
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", __name__]
    command += [str(places.run), str(places.port), named, str(pause_archive)]
    environment = controlplane.client_environment(places, tools)
    search = [str(Path(__file__).resolve().parents[1]), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, search))
    done = subprocess.run(
        processes.inside(places, command), env=environment, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise ClusterError(f"the node does not start: {done.stderr.strip()[-4000:]}")


def down(places: Places) -> None:
    """Stop kubelet and kube-proxy, then the containers, then containerd, and remove the cgroups."""
    for name in ("kubelet", "kube-proxy"):  # first, or kubelet starts the Pods again
        processes.stop(places, name)
    if processes.started(places, "containerd"):
        for task in _ctr(places, "task", "ls", "-q").stdout.split():
            _ctr(places, "task", "rm", "-f", task)
    processes.stop(places, "containerd")
    found = [Path(root) for root, _, _ in os.walk(CGROUPS, topdown=False)]
    for folder in found:
        if places.name in folder.parts:
            with contextlib.suppress(
                OSError
            ):  # what is left is in use by what does not end: seen by the next `up`
                folder.rmdir()


def import_image(places: Places, archive: Path) -> None:
    """Give the node an image: an OCI archive that tells its own name."""
    done = _ctr(places, "images", "import", str(archive))
    if done.returncode:
        raise ClusterError(f"containerd refuses {archive}: {done.stderr.strip()}")


def processes_of_pod(uid: str) -> dict[int, str]:
    """Return the processes of a Pod as the machine sees them, pid to command line."""
    wanted = (f"pod{uid}", f"pod{uid.replace('-', '_')}")
    found: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if any(name in (folder / "cgroup").read_text() for name in wanted):
                    arguments = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(folder.name)] = arguments.decode(errors="replace").strip()
    return found


def _ctr(places: Places, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["ctr", "-a", str(places.containerd_socket), "-n", "k8s.io", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# What follows runs in the node's namespaces.


def _up_inside(places: Places, tools: Mapping[str, Path], pause_archive: Path) -> None:
    _prepare_mounts(places)
    _prepare_network(places)
    environment = dict(os.environ)
    processes.start(
        places, "containerd", ["containerd", "--config", str(_containerd_config(places))], environment
    )
    processes.wait_until(places, "containerd", START_SECONDS, lambda: _ctr(places, "version").returncode == 0)
    import_image(places, pause_archive)
    _make_cgroups(places)
    kubelet = f"""--config={_kubelet_config(places)} --kubeconfig={places.node_kubeconfig}
        --root-dir={places.node}/kubelet --cert-dir={places.node}
        --hostname-override={NODE_NAME} --node-ip={NODE_IP}"""
    # No conntrack settings: those are the machine's, not the namespace's.
    proxy = f"""--kubeconfig={places.kubeconfig} --proxy-mode=iptables --hostname-override={NODE_NAME}
        --cluster-cidr={POD_CIDR} --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0
        --conntrack-tcp-timeout-close-wait=0 --healthz-bind-address=127.0.0.1:{places.port + 6}
        --metrics-bind-address=127.0.0.1:{places.port + 7}"""
    for name, options in (("kubelet", kubelet), ("kube-proxy", proxy)):
        processes.start(places, name, [str(tools[name]), *options.split()], environment)
    ready = [str(tools["kubectl"]), "wait", "--for=condition=Ready", "--timeout=1s", f"node/{NODE_NAME}"]
    processes.wait_until(
        places,
        "kubelet",
        START_SECONDS,
        lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0,
    )


def _prepare_mounts(places: Places) -> None:
    for folder in ("cni/net.d", "kubelet/seccomp", "logs", "plugins", "proc"):
        (places.node / folder).mkdir(parents=True, exist_ok=True)
    places.containerd_socket.parent.mkdir(exist_ok=True)
    _mount("--make-rshared", "/")  # kubelet's mounts (Secrets, tokens) must reach the containers
    for folder in OWN_FOLDERS:
        Path(folder).mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "none", folder)
    for key, value in SYSCTLS_OF_KUBELET.items():
        if Path("/proc/sys", key).exists():
            shown = places.node / "proc" / key.replace("/", ".")
            shown.write_text(f"{value}\n")
            _mount("--bind", str(shown), f"/proc/sys/{key}")


def _prepare_network(places: Places) -> None:
    # Of this namespace only: route between Pods, and let kube-proxy's rules see what crosses the bridge.
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    with contextlib.suppress(FileNotFoundError):
        Path("/proc/sys/net/bridge/bridge-nf-call-iptables").write_text("1")
    addresses = {
        "type": "host-local",
        "dataDir": f"{places.node}/cni/data",
        "routes": [{"dst": "0.0.0.0/0"}],
        "ranges": [[{"subnet": POD_CIDR, "rangeStart": POD_RANGE_START, "gateway": NODE_IP}]],
    }
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "hairpinMode": True, "ipam": addresses}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    config = {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}
    (places.node / "cni/net.d/10-bridge.conflist").write_text(json.dumps(config))


def _containerd_config(places: Places) -> Path:
    config = places.node / "containerd.toml"
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE the sandboxes' score cannot be set: no Pod starts.
    config.write_text(f"""version = 2
root = "{places.run}/containerd/root"
state = "{places.run}/containerd/state"
disabled_plugins = {json.dumps([f"io.containerd.snapshotter.v1.{n}" for n in UNUSED_SNAPSHOTTERS])}
[grpc]
  address = "{places.containerd_socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "{places.node}/cni/net.d"
""")
    return config


def _make_cgroups(places: Places) -> None:
    """Make one cgroup for all Pods, in each hierarchy where the machine has version 1."""
    if (CGROUPS / "cgroup.controllers").exists():
        (CGROUPS / places.name).mkdir(exist_ok=True)
        return
    for hierarchy in CGROUPS.iterdir():
        if hierarchy.is_dir():
            with contextlib.suppress(OSError):
                (hierarchy / places.name).mkdir(exist_ok=True)


def _kubelet_config(places: Places) -> Path:
    pki, config = places.pki, places.node / "kubelet.yaml"
    # failCgroupV1: machines with the version 1 controllers are welcome here. oomScoreAdj: as in containerd's.
    config.write_text(f"""apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://{places.containerd_socket}
address: {NODE_IP}
port: {places.port + 5}
healthzPort: 0
tlsCertFile: {pki}/node.crt
tlsPrivateKeyFile: {pki}/node.key
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: {pki}/ca.crt}}
authorization: {{mode: Webhook}}
clusterDNS: [{DNS_IP}]
clusterDomain: cluster.local
cgroupDriver: cgroupfs
cgroupRoot: /{places.name}
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
podLogsDir: {places.node}/logs
volumePluginDir: {places.node}/plugins
resolvConf: ""
imageGCHighThresholdPercent: 100
evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}}
""")
    return config


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    run_folder, api_port, programs, pause = sys.argv[1:]
    _up_inside(
        Places(Path(run_folder), int(api_port)),
        {name: Path(path) for name, path in json.loads(programs).items()},
        Path(pause),
    )
