"""Plugins over time: hooks that an annotation attaches, and artefacts that outlive their registry."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import manifests
import pytest
import registries
from cluster.clients import Client
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from releases import Release
from traffic import Target, fetch
from zeroserve_cli.plugins.building import compile_c, find_compiler
from zeroserve_operator.artifacts.keeping import REFERENCE_ANNOTATION, SECRET_TYPE
from zeroserve_operator.artifacts.references import read_reference

SERVED_SECONDS = 60
SOURCE = """
#include <zeroserve.h>
static u8 seen[64];

ZS_REQUEST u64 gate(struct zs_context *context) {
    if (zs_read_request_header(ZS("X-Deny"), ZS_ROOM(seen)) != ZS_NONE) return ZS_ERROR(403);
    zs_write_request_header(ZS("X-Gate"), ZS("passed"));
    return ZS_CONTINUE;
}
ZS_RESPONSE u64 stamp(struct zs_context *context) {
    zs_write_response_header(ZS("X-Stamp"), ZS("seen"));
    return ZS_CONTINUE;
}
ZS_FUNCTION u64 answer(struct zs_context *context) {
    zs_set_response_body(ZS("kept"));
    return ZS_RESPOND(200);
}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the plugin."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "plugin.c").write_text(SOURCE)
    (folder / "plugin.o").write_bytes(compile_c([folder / "plugin.c"], find_compiler()))
    return folder / "plugin.o"


def plugin(name: str, source: dict[str, Any]) -> dict[str, Any]:
    """Return a ZeroservePlugin that may change requests and answers."""
    return {
        "apiVersion": "zeroserve.dev/v1alpha1",
        "kind": "ZeroservePlugin",
        "metadata": {"name": name},
        "spec": {"source": source, "capabilities": ["request_write", "response_write"]},
    }


def calling_route(name: str, called: str, ingress_class: str) -> dict[str, Any]:
    """Return a ZeroserveRoute for NAME.example that calls a plugin."""
    spec = {
        "hosts": [f"{name}.example"],
        "ingressClassName": ingress_class,
        "caddyfile": f"zeroserve_call {called} answer\n",
    }
    return {
        "apiVersion": "zeroserve.dev/v1alpha1",
        "kind": "ZeroserveRoute",
        "metadata": {"name": name},
        "spec": spec,
    }


def hooked_ingress(ingress_class: str) -> dict[str, Any]:
    """Return an Ingress for hooked.example, to which the annotation attaches the plugin `hooks`."""
    to = {"service": {"name": "hooked", "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": to}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "hooked", "annotations": {"zeroserve.dev/plugins": "hooks"}},
        "spec": {
            "ingressClassName": ingress_class,
            "rules": [{"host": "hooked.example", "http": {"paths": [path]}}],
        },
    }


def test_an_annotation_attaches_request_and_response_hooks(
    namespace: Client, release: Release, file: Path
) -> None:
    namespace.apply(manifests.backend("hooked"))
    namespace.rolled_out("deployment/hooked")
    source = {"inline": base64.b64encode(file.read_bytes()).decode()}
    namespace.apply(manifests.dump(plugin("hooks", source), hooked_ingress(release.ingress_class)))
    target = Target(release.address, "hooked.example")

    def seen() -> bool:
        answer = fetch(namespace, target)
        passed = answer.json()["headers"]["X-Gate"] == ["passed"]
        return answer.status == 200 and passed and answer.headers["x-stamp"] == "seen"

    assert namespace.eventually(seen, SERVED_SECONDS)
    refused = fetch(namespace, target, X_Deny="1")
    assert (refused.status, refused.headers["x-stamp"]) == (403, "seen")


def test_an_operator_that_starts_without_the_registry_has_the_file(
    namespace: Client, release: Release, file: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with registries.running_registry(namespace):
        text = namespace.eventually(lambda: registries.push(namespace, file, "lasting:1"), SERVED_SECONDS)
        registries.attach_signature(namespace, read_reference(text), key)
        source = {"oci": {"reference": text, "publicKey": public.decode()}}
        route = calling_route("before", "lasting", release.ingress_class)
        namespace.apply(manifests.dump(plugin("lasting", source), route))
        before = Target(release.address, "before.example")
        namespace.eventually(lambda: fetch(namespace, before).body == b"kept", SERVED_SECONDS)

        def is_kept() -> bool:
            kept = release.client.items("secrets", f"--field-selector=type={SECRET_TYPE}")
            return any(one["metadata"]["annotations"][REFERENCE_ANNOTATION] == text for one in kept)

        assert namespace.eventually(is_kept, SERVED_SECONDS)
    release.client.kubectl("rollout", "restart", f"deployment/{release.name}-operator")
    release.rolled_out()
    # A host that nodes do not know yet: only the operator that has started can have made it.
    namespace.apply(manifests.dump(calling_route("after", "lasting", release.ingress_class)))
    after = Target(release.address, "after.example")
    assert namespace.eventually(lambda: fetch(namespace, after).body == b"kept", SERVED_SECONDS)
    assert fetch(namespace, before).body == b"kept"
