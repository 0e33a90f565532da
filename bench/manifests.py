"""Writes ordinary Kubernetes manifests by the thousand: Ingresses with their Services, EndpointSlices and
Secrets.

In: how many, the backends' ports, a certificate. Out: YAML files, and which hosts they name. Pure but for
the writing; called by `filling`. Rule: the shapes and their shares are those of 197 Ingresses found in
public application repositories: 70 % one Prefix rule on `/`, 36 % with TLS.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.scenes import LOOPBACK, Certificate

INGRESSES_PER_NAMESPACE = 200
OBJECTS_PER_FILE = 500
CLASS_NAME = "zeroserve"
CONTROLLER = "zeroserve.dev/ingress-controller"
SECRET_NAME = "bench-tls"
TLS_HOST_PATTERN = "t{}.bench.test"
PLAIN_HOST_PATTERN = "p{}.bench.test"
# The request that every shape below answers from its Service `first`.
PROBE_PATH = "/app/x"
TLS_SHARE_PERCENT = 36
HUNDRED = 100

Rules = tuple[tuple[str, str, str], ...]

# (share in percent, rules of pathType, path, Service)
SHAPES: tuple[tuple[int, Rules], ...] = (
    (70, (("Prefix", "/", "first"),)),
    (14, (("Prefix", "/app", "first"),)),
    (4, (("Exact", "/app/x", "first"),)),
    (4, (("Prefix", "/app", "first"), ("Prefix", "/api", "second"))),
    (3, (("Prefix", "/api", "second"), ("Prefix", "/", "first"))),
    (2, (("ImplementationSpecific", "/app", "first"),)),
    (2, (("Prefix", "/api", "second"), ("Prefix", "/static", "second"), ("Prefix", "/", "first"))),
    (1, (*(("Prefix", f"/{name}", "second") for name in "abcde"), ("Prefix", "/", "first"))),
)


@dataclass(frozen=True, slots=True)
class Site:
    """One Ingress to be: its number, host, whether it has TLS, and its rules."""

    number: int
    host: str
    tls: bool
    rules: Rules

    @property
    def namespace(self) -> str:
        """Its namespace; all Ingresses of a namespace share a Secret."""
        return f"bench-{self.number // INGRESSES_PER_NAMESPACE}"


def plan_sites(count: int) -> list[Site]:
    """`count` sites, shapes and TLS in their shares within each hundred; hosts of a kind numbered from 0."""
    by_percent = [rules for share, rules in SHAPES for _ in range(share)]
    tls_numbers, plain_numbers = itertools.count(), itertools.count()
    sites = []
    for number in range(count):
        # 37 and 61 have no factor in common with 100: shapes and TLS are spread and mixed, not in runs.
        rules = by_percent[number * 37 % HUNDRED]
        tls = number * 61 % HUNDRED < TLS_SHARE_PERCENT
        host = (
            TLS_HOST_PATTERN.format(next(tls_numbers))
            if tls
            else PLAIN_HOST_PATTERN.format(next(plain_numbers))
        )
        sites.append(Site(number, host, tls, rules))
    return sites


def write_manifests(
    directory: Path, sites: list[Site], backend_ports: tuple[int, ...], certificate: Certificate
) -> int:
    """Write all objects in files of `OBJECTS_PER_FILE`; the number of objects."""
    directory.mkdir(parents=True)
    objects = render_objects(sites, backend_ports, certificate)
    written = 0
    for batch_number in itertools.count():
        batch = list(itertools.islice(objects, OBJECTS_PER_FILE))
        if not batch:
            return written
        # JSON is YAML, and written a hundred times as fast.
        text = "\n---\n".join(json.dumps(one) for one in batch)
        (directory / f"objects-{batch_number:04}.yaml").write_text(text + "\n")
        written += len(batch)
    return written


def render_objects(
    sites: list[Site], backend_ports: tuple[int, ...], certificate: Certificate
) -> Iterator[dict[str, Any]]:
    """The IngressClass, a Secret per namespace, and each site's Ingress, Services and EndpointSlices."""
    yield {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": CLASS_NAME},
        "spec": {"controller": CONTROLLER},
    }
    ports = {"first": backend_ports[0], "second": backend_ports[1]}
    for namespace in dict.fromkeys(site.namespace for site in sites):
        yield _secret(namespace, certificate)
    for site in sites:
        yield _ingress(site)
        for role in dict.fromkeys(role for _, _, role in site.rules):
            yield _service(site, role)
            yield _endpoint_slice(site, role, ports[role])


def _secret(namespace: str, certificate: Certificate) -> dict[str, Any]:
    files = {"tls.crt": certificate.certificate, "tls.key": certificate.key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET_NAME, "namespace": namespace},
        "type": "kubernetes.io/tls",
        "data": {name: base64.b64encode(file.read_bytes()).decode() for name, file in files.items()},
    }


def _ingress(site: Site) -> dict[str, Any]:
    paths = [
        {
            "path": path,
            "pathType": path_type,
            "backend": {"service": {"name": _service_name(site, role), "port": {"number": 80}}},
        }
        for path_type, path, role in site.rules
    ]
    spec: dict[str, Any] = {
        "ingressClassName": CLASS_NAME,
        "rules": [{"host": site.host, "http": {"paths": paths}}],
    }
    if site.tls:
        spec["tls"] = [{"hosts": [site.host], "secretName": SECRET_NAME}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": f"site-{site.number}", "namespace": site.namespace},
        "spec": spec,
    }


def _service(site: Site, role: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _service_name(site, role), "namespace": site.namespace},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }


def _endpoint_slice(site: Site, role: str, port: int) -> dict[str, Any]:
    name = _service_name(site, role)
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-1",
            "namespace": site.namespace,
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [LOOPBACK], "conditions": {"ready": True, "serving": True}}],
    }


def _service_name(site: Site, role: str) -> str:
    return f"site-{site.number}-{role}"
