"""Localhost seccomp profiles of the test node: the one that the chart ships, and that one less io_uring."""

import json

from cluster.places import REPOSITORY, Places

SHIPPED = REPOSITORY / "charts" / "zeroserve-ingress" / "files" / "seccomp" / "zeroserve-io-uring.json"
WITH_RINGS = SHIPPED.name
WITHOUT_RINGS = "zeroserve-without-io-uring.json"
RING_CALLS = {"io_uring_setup", "io_uring_enter", "io_uring_register"}


def put_profiles(places: Places) -> None:
    """Put both profiles where the kubelet looks for them."""
    profile = json.loads(SHIPPED.read_text())
    places.seccomp.mkdir(parents=True, exist_ok=True)
    (places.seccomp / WITH_RINGS).write_text(json.dumps(profile))
    for rule in profile["syscalls"]:
        rule["names"] = [name for name in rule["names"] if name not in RING_CALLS]
    (places.seccomp / WITHOUT_RINGS).write_text(json.dumps(profile))
