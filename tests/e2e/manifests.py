"""Kubernetes objects that the tests apply, as YAML text."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import yaml
from cluster.certificates import Pair
from cluster.running import ECHO_IMAGE

RESTRICTED_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
RESTRICTED_POD = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}


def dump(*objects: dict[str, Any]) -> str:
    """Return objects as one YAML stream."""
    return yaml.safe_dump_all(objects)


def pod(name: str, container: dict[str, Any]) -> dict[str, Any]:
    """Return a Pod that runs once, under Pod Security "restricted"."""
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "securityContext": RESTRICTED_POD,
        "containers": [{"name": "main", "securityContext": RESTRICTED_CONTAINER} | container],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def backend(name: str, replicas: int = 1, drain_seconds: int = 3) -> str:
    """Return a Deployment of the demo backend, and its Service on port 80."""
    container = {
        "name": "echo",
        "image": ECHO_IMAGE,
        "args": ["-listen=:8080", f"-drain={drain_seconds}s"],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
        "securityContext": RESTRICTED_CONTAINER,
    }
    return dump(deployment(name, container, replicas), service(name))


def deployment(name: str, container: dict[str, Any], replicas: int = 1) -> dict[str, Any]:
    """Return a Deployment of one container, whose Pods have the label `app`."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"securityContext": RESTRICTED_POD, "containers": [container]},
            },
        },
    }


def service(name: str, kind: str = "ClusterIP") -> dict[str, Any]:
    """Return a Service on port 80 for the demo backend of that name."""
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    spec = {"type": kind, "selector": {"app": name}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def tls_secret(name: str, pair: Pair) -> str:
    """Return a Secret with a certificate."""
    data = {"tls.crt": pair.certificate, "tls.key": pair.key}
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return dump(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": name},
            "data": encoded,
        }
    )


def accounts(name: str, user: str, password: str) -> dict[str, Any]:
    """Return a Secret with an account for basic auth."""
    digest = base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()
    data = {"auth": base64.b64encode(f"{user}:{{SHA}}{digest}\n".encode()).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": name}, "data": data}


def ingress(name: str, host: str, backend_name: str, secret: str, ingress_class: str) -> str:
    """Return an Ingress that sends all of a host to one backend, over TLS."""
    to = {"service": {"name": backend_name, "port": {"number": 80}}}
    rule = {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": to}]}}
    tls = [{"hosts": [host], "secretName": secret}]
    return dump(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": name},
            "spec": {"ingressClassName": ingress_class, "rules": [rule], "tls": tls},
        }
    )


def zeroserve_route(name: str, host: str, caddyfile: str, secret: str, ingress_class: str) -> str:
    """Return a ZeroserveRoute, over TLS where a Secret is named."""
    spec: dict[str, Any] = {"hosts": [host], "ingressClassName": ingress_class, "caddyfile": caddyfile}
    if secret:
        spec["tls"] = {"secretName": secret}
    return dump(
        {
            "apiVersion": "zeroserve.dev/v1alpha1",
            "kind": "ZeroserveRoute",
            "metadata": {"name": name},
            "spec": spec,
        }
    )
