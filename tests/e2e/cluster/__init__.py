"""A real Kubernetes for the end-to-end tests: API server, kubelet and containerd, without Docker.

What comes in: pinned sources (`tools/*/go.mod`), Debian's containerd and runc. What goes out: a running
cluster in a network namespace of its own, and clients for it. Callers: the fixtures in
`tests/e2e/conftest.py`, the golden tests of the chart (for helm only) and the command line `python -m
cluster`. Rule: nothing outside the run folder, the cache and that namespace is changed, and `down` leaves
no process, mount, cgroup, namespace or address behind.
"""
