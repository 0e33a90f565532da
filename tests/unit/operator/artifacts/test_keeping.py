"""What was pulled is there after a restart, without its registry, as far as the keys of today agree."""

import asyncio
import base64

import pytest
from zeroserve_operator.artifacts.following import ArtifactFollower
from zeroserve_operator.artifacts.keeping import (
    KEPT_MAX,
    KEPT_OF_NAMESPACE_MAX,
    SECRET_BYTES_MAX,
    SECRET_TYPE,
    ArtifactKeeper,
)
from zeroserve_operator.artifacts.pulling import PullRequest, pull_plugin
from zeroserve_operator.artifacts.references import AllowedRegistry, Reference, read_reference
from zeroserve_operator.artifacts.registries import RegistryPolicy
from zeroserve_operator.artifacts.signatures import read_public_key
from zeroserve_operator.cluster_client import ClusterError
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.resources.plugins import ArtifactSource

from .registry import make_pages, serve_pages
from .signing import make_key

KEY, PEM = make_key()
OTHER, OTHER_PEM = make_key()
PUBLIC, OTHER_PUBLIC = (read_public_key(pem.encode()) for pem in (PEM, OTHER_PEM))
FILE = b"\x7fELF of some plugin"
NEWER = b"\x7fELF of its successor"
SECRETS = "/api/v1/namespaces/system/secrets"


class Cluster:
    """Secrets as an API server keeps them; what it is asked."""

    def __init__(self):
        self.secrets, self.asked = {}, []

    def request(self, method, path, body=None):
        self.asked.append((method, path))
        name = path.removeprefix(SECRETS).removeprefix("/") or body["metadata"]["name"]
        if method == "POST" and name in self.secrets:
            raise ClusterError(409, "there is one")
        if method != "POST" and name not in self.secrets:
            raise ClusterError(404, "there is none")
        if method == "DELETE":
            del self.secrets[name]
        else:
            self.secrets[name] = body
        return {}

    def list_items(self, path, *, field_selector=""):
        assert (path, field_selector) == (SECRETS, f"type={SECRET_TYPE}")
        yield from list(self.secrets.values())


@pytest.fixture
def cluster():
    return Cluster()


def start(cluster):
    """Return the keeper of an operator that starts."""
    keeper = ArtifactKeeper(cluster, "system", "operator-artifact")
    keeper.load()
    return keeper


def plugin(number=0, namespace="shop"):
    return ObjectKey(Kind.ZEROSERVE_PLUGIN, namespace, f"plugin{number}")


def pull(server, digest, key=PUBLIC):
    request = PullRequest(Reference(server.host, "team/hello", digest), key)
    policy = RegistryPolicy((AllowedRegistry(server.host, scheme="http"),))
    return request, policy, pull_plugin(request, policy)


@pytest.fixture
def kept(cluster):
    """Keep a signed file; what was asked for, and the policy."""
    pages, digest = make_pages(FILE, KEY)
    with serve_pages(pages) as server:
        request, policy, pulled = pull(server, digest)
    keeper = start(cluster)
    keeper.note(plugin(), request.reference, pulled.answers)
    keeper.write([plugin()])
    return request, policy


def test_a_new_operator_has_the_file(cluster, kept):
    request, policy = kept
    assert start(cluster).recall(plugin(), request, policy) == (FILE, request.reference.digest)


def test_it_is_kept_as_a_secret_of_a_type_of_its_own(cluster, kept):
    (secret,) = cluster.secrets.values()
    assert (secret["metadata"]["name"], secret["type"]) == ("operator-artifact-0", SECRET_TYPE)


def test_an_object_of_another_name_or_namespace_has_no_part_in_it(cluster, kept):
    request, policy = kept
    for other in (plugin(1), plugin(namespace="other")):
        assert start(cluster).recall(other, request, policy) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda request, policy: (PullRequest(request.reference, OTHER_PUBLIC), policy),
        lambda request, policy: (PullRequest(request.reference), policy),
        lambda request, policy: (request, RegistryPolicy(policy.registries, keys=(OTHER_PUBLIC,))),
        lambda request, policy: (request, RegistryPolicy()),
        lambda request, policy: (
            PullRequest(Reference(request.reference.host, "team/other", request.reference.digest), PUBLIC),
            policy,
        ),
    ],
    ids=["another key", "no key", "another key of the operator", "no registry", "another repository"],
)
def test_settings_of_today_decide(cluster, kept, change):
    assert start(cluster).recall(plugin(), *change(*kept)) is None


def test_a_changed_secret_is_not_believed(cluster, kept):
    (secret,) = cluster.secrets.values()
    sound = dict(secret["data"])
    for name, value in sound.items():
        for text in ("", "%", base64.b64encode(b"x").decode(), sound[sorted(sound)[0]] + "AA"):
            if text != value:
                secret["data"] = sound | {name: text}
                assert start(cluster).recall(plugin(), *kept) is None
    for notes in ({}, {"zeroserve.dev/plugin": "shop/plugin0"}, None):
        secret["metadata"]["annotations"] = notes
        assert start(cluster).recall(plugin(), *kept) is None


def test_a_plugin_that_is_gone_is_not_kept(cluster, kept):
    start(cluster).write([])
    assert cluster.secrets == {}


def test_what_is_right_is_not_written_again(cluster, kept):
    keeper = start(cluster)
    asked = len(cluster.asked)
    keeper.write([plugin()])
    keeper.write([plugin()])
    assert len(cluster.asked) == asked


def test_a_successor_takes_the_place(cluster, kept):
    pages, digest = make_pages(NEWER, KEY)
    with serve_pages(pages) as server:
        request, policy, pulled = pull(server, digest)
    keeper = start(cluster)
    keeper.note(plugin(), request.reference, pulled.answers)
    keeper.write([plugin()])
    assert list(cluster.secrets) == ["operator-artifact-0"]
    assert start(cluster).recall(plugin(), request, policy) == (NEWER, digest)


def reference(number):
    return read_reference(f"registry.example/hello@sha256:{number:064x}")


def test_no_more_is_kept_than_the_role_names_and_no_namespace_takes_all(cluster):
    keeper = start(cluster)
    plugins = [plugin(number, f"space{number % 6}") for number in range(60)]
    for number, key in enumerate(plugins):
        keeper.note(key, reference(number), {"blob": b"x"})
    keeper.write(plugins)
    assert sorted(cluster.secrets) == sorted(f"operator-artifact-{number}" for number in range(KEPT_MAX))
    owners = [each["metadata"]["annotations"]["zeroserve.dev/plugin"] for each in cluster.secrets.values()]
    spaces = [owner.split("/")[0] for owner in owners]
    assert max(spaces.count(space) for space in set(spaces)) == KEPT_OF_NAMESPACE_MAX


def test_what_is_too_large_for_a_secret_is_left_out(cluster):
    from random import Random

    keeper = start(cluster)
    keeper.note(plugin(), reference(1), {"blob": Random(1).randbytes(SECRET_BYTES_MAX + 1)})
    keeper.write([plugin()])
    assert cluster.secrets == {}


def test_a_former_leaders_secret_of_the_same_name_is_replaced(cluster, kept):
    late = ArtifactKeeper(cluster, "system", "operator-artifact")
    late.note(plugin(1), reference(1), {"blob": b"x"})
    late.write([plugin(1)])
    assert start(cluster).recall(plugin(), *kept) is None


class TestFollower:
    """A follower of an operator that starts with what is kept."""

    def follow(self, cluster, kept, source):
        files = {}
        follower = ArtifactFollower(
            kept[1], lambda: {plugin(): source}, lambda _: None, files.__setitem__, keeper=start(cluster)
        )
        asyncio.run(follower.follow())
        return files[plugin()]

    def test_a_registry_that_is_down_takes_no_plugin_away(self, cluster, kept):
        file = self.follow(cluster, kept, ArtifactSource(kept[0].reference, PEM))
        assert (file.content, file.digest, file.fault) == (FILE, kept[0].reference.digest, None)

    def test_the_former_file_serves_where_its_successor_cannot_be_had(self, cluster, kept):
        newer = Reference(kept[0].reference.host, "team/hello", f"sha256:{'1' * 64}")
        file = self.follow(cluster, kept, ArtifactSource(newer, PEM))
        assert (file.content, file.digest) == (FILE, kept[0].reference.digest)
        assert file.fault.code.name == "ZS0312"

    def test_a_file_that_another_key_signed_does_not_serve(self, cluster, kept):
        file = self.follow(cluster, kept, ArtifactSource(kept[0].reference, OTHER_PEM))
        assert (file.content, file.digest) == (b"", "")
