"""Plugins in a cluster: from the text of docs/plugins.md to an answer, and what a broken one harms."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import manifests
import pytest
import registries
import yaml
from cluster.clients import Client, CommandError
from cluster.places import REPOSITORY
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from releases import Release
from traffic import Target, fetch
from zeroserve_operator.artifacts.references import read_reference

SERVED_SECONDS = 120
STATUS_SECONDS = 120
HOST = "hello.example"
ZEROSERVE = Path(sys.executable).parent / "zeroserve"
# The operator's loader takes both; nodes' verifier refuses the first, the second traps when it is called.
REFUSED = "#include <zeroserve.h>\nZS_FUNCTION u64 call(struct zs_context *c) { return *(u64 *)0x1000; }\n"
TRAPPING = (
    "#include <zeroserve.h>\n"
    "ZS_FUNCTION u64 call(struct zs_context *c) { return *(u64 *)(zs_read_time(0) | 0x80000000); }\n"
)

HOOKS = """#include <zeroserve.h>
ZS_REQUEST u64 gate(struct zs_context *context) {
    static u8 room[8];
    if (zs_read_request_header(ZS("X-Deny"), ZS_ROOM(room)) != ZS_NONE) return ZS_ERROR(403);
    zs_write_request_header(ZS("X-Gate"), ZS("passed"));
    return ZS_CONTINUE;
}
ZS_RESPONSE u64 stamp(struct zs_context *context) {
    zs_write_response_header(ZS("X-Stamp"), ZS("stamped"));
    return ZS_CONTINUE;
}
"""


def read_document() -> list[dict[str, Any]]:
    """Return the objects that docs/plugins.md applies first."""
    text = (REPOSITORY / "docs" / "plugins.md").read_text()
    section = text.split("## In a cluster", 1)[1]
    found = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return [item for item in yaml.safe_load_all(found[1]) if item]


def run(*command: str | Path, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def web(cluster: Client) -> Iterator[Client]:
    """Return a client in the namespace of the documentation."""
    client = cluster.within("web")
    client.make_namespace()
    yield client
    client.kubectl("delete", "namespace", "web", "--wait=false")


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the page's plugin; the folder that its author works in."""
    folder = tmp_path_factory.mktemp("author")
    run(ZEROSERVE, "plugin", "new", "hello", folder=folder)
    run(ZEROSERVE, "plugin", "build", "hello", folder=folder)
    return folder


@pytest.fixture(scope="module")
def hello(web: Client, release: Release, author: Path) -> Target:
    """Follow the page: keep the file in a ConfigMap, apply; where it is served."""
    web.kubectl("create", "configmap", "plugins", f"--from-file={author / 'hello' / 'hello.o'}")
    web.apply(manifests.dump(*read_document()))
    target = Target(release.address, HOST)
    web.eventually(lambda: fetch(web, target).status == 200, SERVED_SECONDS)
    return target


def apply_plugin(
    client: Client, name: str, source: dict[str, Any], release: Release, caddyfile: str = "", **spec: Any
) -> Target:
    """Apply a plugin, and a route on a host of its own: it calls the plugin where no Caddyfile is given."""
    plugin = {
        "apiVersion": "zeroserve.dev/v1alpha1",
        "kind": "ZeroservePlugin",
        "metadata": {"name": name},
        "spec": {"source": source, **spec},
    }
    host = f"{name}.example"
    caddyfile = caddyfile or f"zeroserve_call {name} call\nrespond passed\n"
    route = manifests.zeroserve_route(name, host, caddyfile, "", release.ingress_class)
    client.apply(f"{manifests.dump(plugin)}---\n{route}")
    return Target(release.address, host)


def compile_text(text: str, folder: Path) -> bytes:
    """Compile a plugin, also one that `zeroserve plugin build` would refuse."""
    from zeroserve_cli.plugins.building import compile_c, find_compiler

    (folder / "plugin.c").write_text(text)
    return compile_c([folder / "plugin.c"], find_compiler())


def build(text: str, folder: Path) -> dict[str, Any]:
    """Compile a plugin; it as a source."""
    return {"inline": base64.b64encode(compile_text(text, folder)).decode()}


def conditions(client: Client, kind: str, name: str) -> dict[str, tuple[str, str, str]]:
    """Return status, reason and message by type, of the generation at hand."""
    found = client.get(kind, name)
    told = found["status"]["conditions"]
    assert all(one["observedGeneration"] == found["metadata"]["generation"] for one in told), told
    return {one["type"]: (one["status"], one["reason"], one["message"]) for one in told}


def test_the_documented_plugin_answers(web: Client, hello: Target) -> None:
    answer = fetch(web, hello, "/?name=moon")
    assert (answer.status, answer.body) == (200, b"hello, moon\n")


def test_its_status_counts_the_nodes_that_serve_it(web: Client, hello: Target) -> None:
    def told() -> bool:
        found = conditions(web, "zeroserveplugin", "hello")
        assert web.get("zeroserveplugin", "hello")["status"]["nodes"] == {"acked": 1, "total": 1}
        return found["Accepted"][0] == found["Programmed"][0] == "True"

    assert web.eventually(told, STATUS_SECONDS)


def test_a_configuration_that_does_not_fit_is_told_and_closes_that_route(
    web: Client, hello: Target, release: Release
) -> None:
    schema = {"type": "object", "properties": {"greeting": {"type": "string", "maxLength": 5}}}
    patch = yaml.safe_dump({"spec": {"configSchema": schema}})
    web.kubectl("patch", "zeroserveplugin", "hello", "--type=merge", "-p", patch)
    loud = read_document()[1]
    loud["metadata"]["name"] = "loud"
    loud["spec"] |= {
        "hosts": ["loud.example"],
        "caddyfile": 'zeroserve_call hello greet {\n  greeting "hello there"\n}',
    }
    web.apply(manifests.dump(loud))

    def told() -> bool:
        status, reason, message = conditions(web, "zeroserveroute", "loud")["Accepted"]
        return (status, reason) == ("False", "ZS0311") and "$.greeting" in message

    assert web.eventually(told, STATUS_SECONDS)
    web.eventually(lambda: fetch(web, Target(release.address, "loud.example")).status == 500, SERVED_SECONDS)
    assert fetch(web, hello, "/?name=moon").body == b"hello, moon\n"


def test_a_plugin_that_traps_harms_its_own_routes_alone(
    web: Client, hello: Target, release: Release, tmp_path: Path
) -> None:
    source = build(TRAPPING, tmp_path)
    closed = apply_plugin(web, "closed", source, release)
    opened = apply_plugin(web, "opened", source, release, failPolicy="Open")
    web.eventually(lambda: fetch(web, closed).status == 500, SERVED_SECONDS)
    web.eventually(lambda: fetch(web, opened).body == b"passed", SERVED_SECONDS)
    assert fetch(web, hello, "/?name=moon").body == b"hello, moon\n"


def test_a_plugin_that_nodes_refuse_says_so_in_its_status(
    web: Client, hello: Target, release: Release, tmp_path: Path
) -> None:
    target = apply_plugin(web, "refused", build(REFUSED, tmp_path), release)

    def told() -> bool:
        status, _, message = conditions(web, "zeroserveplugin", "refused")["Programmed"]
        return status == "False" and "ZS0601" in message

    assert web.eventually(told, STATUS_SECONDS)
    web.eventually(lambda: fetch(web, target).status == 500, SERVED_SECONDS)
    assert fetch(web, hello, "/?name=moon").body == b"hello, moon\n"


def test_a_file_that_is_no_plugin_is_refused_by_the_operator(
    web: Client, hello: Target, release: Release
) -> None:
    target = apply_plugin(web, "nonsense", {"inline": base64.b64encode(b"nonsense").decode()}, release)

    def told() -> bool:
        return conditions(web, "zeroserveplugin", "nonsense")["Accepted"][:2] == ("False", "ZS0603")

    assert web.eventually(told, STATUS_SECONDS)
    web.eventually(lambda: fetch(web, target).status == 500, SERVED_SECONDS)


def test_an_artefact_of_a_registry_that_nobody_allowed_is_not_pulled(
    web: Client, hello: Target, release: Release
) -> None:
    reference = f"registry.example/hello@sha256:{'1' * 64}"
    apply_plugin(web, "artefact", {"oci": {"reference": reference}}, release)

    def told() -> bool:
        return conditions(web, "zeroserveplugin", "artefact")["Accepted"][:2] == ("False", "ZS0314")

    assert web.eventually(told, STATUS_SECONDS)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "exactly one source must be set"),
        ({"oci": {"reference": "registry.example/hello:1"}}, "must name a digest"),
    ],
    ids=["no source", "by tag"],
)
def test_a_definition_refuses_what_no_operator_would_take(
    web: Client, release: Release, source: dict[str, Any], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        apply_plugin(web, "bad", source, release)


def public_key(key: ec.EllipticCurvePrivateKey) -> str:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, kind).decode()


def test_a_signed_artefact_is_pulled_and_its_plugin_answers(
    web: Client, hello: Target, author: Path, release: Release
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    with registries.running_registry(web):
        text = web.eventually(lambda: registries.push(web, author / "hello/hello.o", "hello:1"), 120)
        signer = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "signer"},
            "stringData": {"cosign.pub": public_key(key)},
        }
        plugin, route = read_document()
        plugin["metadata"]["name"] = route["metadata"]["name"] = "pulled"
        plugin["spec"]["source"] = {"oci": {"reference": text, "publicKeySecretRef": {"name": "signer"}}}
        route["spec"] |= {
            "hosts": ["pulled.example"],
            "caddyfile": "zeroserve_call pulled greet {\n  greeting signed\n}",
        }
        web.apply(manifests.dump(signer, plugin, route))

        def is_refused() -> bool:
            return conditions(web, "zeroserveplugin", "pulled")["Accepted"][:2] == ("False", "ZS0313")

        assert web.eventually(is_refused, STATUS_SECONDS)
        registries.attach_signature(web, read_reference(text), key)
        target = Target(release.address, "pulled.example")

        def answers() -> bool:
            return fetch(web, target, "/?name=moon").body == b"signed, moon\n"

        assert web.eventually(answers, STATUS_SECONDS)


def apply_hooked(client: Client, release: Release, source: dict[str, Any], text: str) -> Target:
    """Apply a plugin with hooks, and a route that it is attached to, which answers with this text."""
    caddyfile = f'zeroserve_plugin hooked\nrespond "{text} {{header.X-Gate}}"'
    capabilities = ["request_write", "response_write"]
    return apply_plugin(client, "hooked", source, release, caddyfile, capabilities=capabilities)


@pytest.fixture(scope="module")
def hooked(web: Client, release: Release, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Attach hooks from a registry, which is gone once the operator has kept them; the plugin's source."""
    folder = tmp_path_factory.mktemp("hooks")
    (folder / "hooks.o").write_bytes(compile_text(HOOKS, folder))
    key = ec.generate_private_key(ec.SECP256R1())
    with registries.running_registry(web):
        text = web.eventually(lambda: registries.push(web, folder / "hooks.o", "hooks:1"), 120)
        registries.attach_signature(web, read_reference(text), key)
        source = {"oci": {"reference": text, "publicKey": public_key(key)}}
        target = apply_hooked(web, release, source, "first")
        web.eventually(lambda: fetch(web, target).body == b"first passed", STATUS_SECONDS)

        def is_kept() -> bool:
            secrets = release.client.items("secrets", "--field-selector=type=zeroserve.dev/artifact")
            return any(
                secret["metadata"]["annotations"]["zeroserve.dev/plugin"] == "web/hooked"
                for secret in secrets
            )

        web.eventually(is_kept, STATUS_SECONDS)
    return source


def test_hooks_of_an_artefact_see_requests_and_answers(
    web: Client, release: Release, hooked: dict[str, Any]
) -> None:
    target = Target(release.address, "hooked.example")
    passed, denied = fetch(web, target), fetch(web, target, X_Deny="yes")
    assert (passed.status, passed.body, passed.headers["x-stamp"]) == (200, b"first passed", "stamped")
    assert (denied.status, denied.headers["x-stamp"]) == (403, "stamped")


def test_an_artefact_outlives_its_registry_and_its_operator(
    web: Client, release: Release, hooked: dict[str, Any]
) -> None:
    release.client.kubectl("delete", "pods", "-l", "app.kubernetes.io/component=operator")
    # Only an operator that has the plugin's file can make this of the route.
    target = apply_hooked(web, release, hooked, "second")
    web.eventually(lambda: fetch(web, target).body == b"second passed", STATUS_SECONDS)
    assert fetch(web, target).headers["x-stamp"] == "stamped"
    release.rolled_out()
