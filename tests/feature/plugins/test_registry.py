"""A plugin goes to a real registry by `zeroserve plugin push`, and from there into a snapshot, signed."""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ports import free_port
from starting import started
from unit.operator.artifacts.signing import make_key, make_payload, sign
from zeroserve_cli.plugins.building import compile_c, find_compiler
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_operator.artifacts.following import ArtifactFollower
from zeroserve_operator.artifacts.keeping import ArtifactKeeper
from zeroserve_operator.artifacts.pushing import push_plugin
from zeroserve_operator.artifacts.references import read_allowed, read_reference
from zeroserve_operator.artifacts.registries import Credentials, Registry, RegistryPolicy
from zeroserve_operator.building.model import Builder
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.settings import BuildSettings
from zeroserve_operator.store import Change, Store

ROOT = Path(__file__).resolve().parents[3]
REGISTRY = ROOT / ".make/bin/registry"
ZEROSERVE = Path(sys.executable).parent / "zeroserve"
ACCOUNT = ("ci", "hunter2")
NOW = datetime(2026, 11, 21, tzinfo=UTC)
TEXT = "#include <zeroserve.h>\nZS_FUNCTION u64 pass(struct zs_context *context) { return ZS_CONTINUE; }\n"


@contextmanager
def running_registry(folder):
    """Run a registry that wants an account; its address."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    with started([REGISTRY, address, *ACCOUNT], folder, port):
        yield address


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def docker_config(registry, tmp_path_factory):
    """Write what `docker login` writes."""
    folder = tmp_path_factory.mktemp("docker")
    entry = {"username": ACCOUNT[0], "password": ACCOUNT[1]}
    (folder / "config.json").write_text(json.dumps({"auths": {registry: entry}}))
    return folder


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Compile a plugin."""
    folder = tmp_path_factory.mktemp("hello")
    (folder / "plugin.c").write_text(TEXT)
    (folder / "hello.o").write_bytes(compile_c([folder / "plugin.c"], find_compiler()))
    return folder / "hello.o"


@pytest.fixture(scope="module")
def pushed(registry, docker_config, file):
    """Push a plugin by command; its reference by digest."""
    done = push(file, f"http://{registry}/team/hello:1", docker_config)
    assert done.returncode == 0, done.stderr
    return read_reference(done.stdout.strip())


def push(file, reference, docker_config):
    environment = {**os.environ, "DOCKER_CONFIG": str(docker_config)}
    command = [ZEROSERVE, "plugin", "push", file, reference]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def attach_signature(registry, reference, key):
    """Store a signature as cosign does: an artefact under a tag made of the digest."""
    payload = make_payload(reference.digest)
    policy = RegistryPolicy((read_allowed(f"http://{registry}"),))
    remote = Registry(policy, reference, Credentials(*ACCOUNT))
    digests = []
    for blob in (b"{}", payload):
        place = remote.ask("POST", "blobs/uploads/", {}).headers["location"]
        digest = make_digest(blob)
        assert remote.ask("PUT", f"{place}?digest={digest}", {}, body=blob).status == 201
        digests.append(digest)
    kind = "application/vnd.oci.image.manifest.v1+json"
    layer = {
        "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
        "digest": digests[1],
        "size": len(payload),
        "annotations": {"dev.cosignproject.cosign/signature": sign(key, payload)},
    }
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digests[0], "size": 2}
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]}
    answer = remote.ask(
        "PUT",
        f"manifests/{reference.signature_tag}",
        {"Content-Type": kind},
        body=json.dumps(manifest).encode(),
    )
    assert answer.status == 201


def make_digest(content):
    from zeroserve_operator.artifacts.answers import digest_of

    return digest_of(content)


def build(registry, reference, pem, *, allowed=True, account=ACCOUNT, keeper=None):
    """Apply a ZeroservePlugin and pull what it names: the functions served, and what is wrong."""
    store = Store(BuildSettings())
    key = ObjectKey(Kind.ZEROSERVE_PLUGIN, "shop", "hello")
    oci = {"reference": str(reference), "publicKey": pem, "pullSecretRef": {"name": "account"}}
    raw = {"metadata": {"name": "hello", "namespace": "shop"}, "spec": {"source": {"oci": oci}}}
    store.put(key, raw)
    entry = {"username": account[0], "password": account[1]}
    secret = {".dockerconfigjson": json.dumps({"auths": {registry: entry}})}
    store.put(
        ObjectKey(Kind.SECRET, "shop", "account"), {"metadata": {"name": "account"}, "stringData": secret}
    )

    def take(plugin, file):
        store.apply(Change(ObjectKey(Kind.PLUGIN_FILE, plugin.namespace, plugin.name), file))

    policy = RegistryPolicy((read_allowed(f"http://{registry}/team"),) if allowed else ())
    follower = ArtifactFollower(policy, store.artifacts_named, store.secret, take, keeper=keeper)
    asyncio.run(follower.follow())
    built = Builder(store.settings).build(store, NOW)
    served = [
        function.name
        for (kind, _), resource in built.draft.resources.items()
        if kind == pb.PLUGIN
        for function in pb.Plugin.FromString(resource.payload).functions
    ]
    return served, [item.code.name for item in built.outcomes[key].diagnostics]


def test_a_pushed_and_signed_plugin_is_served(registry, pushed):
    key, pem = make_key()
    assert build(registry, pushed, pem) == ([], ["ZS0313"])
    attach_signature(registry, pushed, key)
    assert build(registry, pushed, pem) == (["pass"], [])
    assert build(registry, pushed, make_key()[1]) == ([], ["ZS0313"])
    assert build(registry, pushed, pem, allowed=False) == ([], ["ZS0314"])
    assert build(registry, pushed, pem, account=("ci", "wrong")) == ([], ["ZS0312"])


def test_an_operator_that_starts_while_the_registry_is_down_serves_what_was_pulled_before(file, tmp_path):
    secrets = Secrets()
    key, pem = make_key()
    with running_registry(tmp_path) as address:
        place = read_reference(f"{address}/team/hello:1")
        pushed = push_plugin(file.read_bytes(), place, "http", Credentials(*ACCOUNT))
        attach_signature(address, pushed, key)
        before = ArtifactKeeper(secrets, "system", "operator-artifact")
        assert build(address, pushed, pem, keeper=before) == (["pass"], [])
        before.write([ObjectKey(Kind.ZEROSERVE_PLUGIN, "shop", "hello")])
    after = ArtifactKeeper(secrets, "system", "operator-artifact")
    after.load()
    assert build(address, pushed, pem, keeper=after) == (["pass"], [])
    assert build(address, pushed, make_key()[1], keeper=after) == ([], ["ZS0312"])
    assert build(address, pushed, pem) == ([], ["ZS0312"])


class Secrets:
    """An API server that keeps what is posted."""

    def __init__(self):
        self.items = []

    def request(self, method, path, body=None):
        assert (method, path) == ("POST", "/api/v1/namespaces/system/secrets")
        self.items.append(body)
        return {}

    def list_items(self, path, *, field_selector=""):
        yield from self.items


def test_an_artefact_that_is_no_plugin_is_refused_by_the_loader(registry):
    reference = read_reference(f"{registry}/team/nonsense:1")
    pushed = push_plugin(b"\x7fELF nonsense", reference, "http", Credentials(*ACCOUNT))
    key, pem = make_key()
    attach_signature(registry, pushed, key)
    assert build(registry, pushed, pem) == ([], ["ZS0603"])


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("hello", "HOST/REPOSITORY"),
        ("http://{}/team/hello@sha256:" + "0" * 64, "without a digest"),
        ("http://127.0.0.1:1/team/hello:1", "cannot be reached"),
    ],
)
def test_a_push_that_cannot_be_says_why(registry, docker_config, file, reference, said):
    done = push(file, reference.format(registry), docker_config)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_what_no_node_would_load_is_not_pushed(registry, docker_config, tmp_path, file):
    for name, content in {"plugin.c": TEXT.encode(), "cut.o": file.read_bytes()[:2000]}.items():
        (tmp_path / name).write_bytes(content)
        done = push(tmp_path / name, f"http://{registry}/team/other:1", docker_config)
        assert (done.returncode, done.stdout) == (1, "")
        assert "ZS0603" in done.stderr


def test_a_push_without_the_account_is_refused(registry, tmp_path, file):
    done = push(file, f"http://{registry}/team/hello:1", tmp_path)
    assert (done.returncode, "refuses" in done.stderr) == (1, True)
