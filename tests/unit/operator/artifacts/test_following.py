"""Artefacts are pulled once for each change, again where that failed, and a former file stays meanwhile."""

import asyncio
import dataclasses
import threading

import pytest
from zeroserve_ir.codes import Code
from zeroserve_operator.artifacts.faults import ArtifactError
from zeroserve_operator.artifacts.following import RETRY_S, RETRY_S_MAX, ArtifactFollower
from zeroserve_operator.artifacts.pulling import Pulled
from zeroserve_operator.artifacts.references import read_reference
from zeroserve_operator.artifacts.registries import RegistryPolicy
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.resources.plugins import ArtifactSource
from zeroserve_operator.resources.secrets import parse_secret

from .signing import make_key

_, PEM = make_key()
PLUGIN = ObjectKey(Kind.ZEROSERVE_PLUGIN, "shop", "hello")


def source(digit, **others):
    reference = read_reference(f"registry.example/hello@sha256:{digit * 64}")
    return ArtifactSource(reference, **{"public_key": PEM} | others)


def secret(name, **data):
    key = ObjectKey(Kind.SECRET, "shop", name)
    return parse_secret(key, {"metadata": {"name": name, "namespace": "shop"}, "stringData": data}).view


class Rig:
    """A follower with everything around it: what is wanted, Secrets, the registry, the clock."""

    def __init__(self):
        self.wanted, self.secrets, self.files, self.asked = {}, {}, {}, []
        self.now_s, self.error = 0.0, None
        self.follower = ArtifactFollower(
            RegistryPolicy(),
            lambda: self.wanted,
            lambda key: self.secrets.get(key.name),
            self.take,
            pull=self.pull,
            clock=lambda: self.now_s,
        )

    def take(self, key, file):
        self.files[key] = file

    def pull(self, request, _policy):
        self.asked.append(request)
        if self.error:
            raise self.error
        return Pulled(request.reference.digest.encode())

    def follow(self, *sources):
        self.wanted = dict(zip([PLUGIN], sources, strict=False))
        asyncio.run(self.follower.follow())
        return self.files[PLUGIN]


@pytest.fixture
def rig():
    return Rig()


DOWN = ArtifactError(Code.ZS0312, "the registry cannot be reached")


def test_what_is_wanted_is_pulled_once(rig):
    for _ in range(3):
        file = rig.follow(source("1"))
    assert (file.content, file.fault) == (b"sha256:" + b"1" * 64, None)
    assert file.digest == f"sha256:{'1' * 64}"
    assert len(rig.asked) == 1


def test_what_is_wanted_no_more_is_forgotten(rig):
    rig.follow(source("1"))
    assert rig.follow() is None


def test_a_failed_pull_is_tried_again_ever_less_often(rig):
    rig.error = DOWN
    waits = []
    for _ in range(12):
        before = rig.now_s
        file = rig.follow(source("1"))
        count = len(rig.asked)
        while len(rig.asked) == count:
            rig.now_s += RETRY_S
            rig.follow(source("1"))
        waits.append(rig.now_s - before)
    assert file.fault.message == DOWN.message
    assert file.fault.origin.field == "spec.source.oci.reference"
    assert waits[:3] == [RETRY_S, 2 * RETRY_S, 4 * RETRY_S]
    assert RETRY_S_MAX <= waits[-1] < RETRY_S_MAX + 2 * RETRY_S
    rig.error, rig.now_s = None, rig.now_s + RETRY_S_MAX
    assert rig.follow(source("1")).fault is None


def test_the_former_file_stays_until_its_successor_is_here(rig):
    rig.follow(source("1"))
    rig.error = DOWN
    file = rig.follow(source("2"))
    assert (file.digest, file.fault.message) == (f"sha256:{'1' * 64}", DOWN.message)
    rig.error, rig.now_s = None, RETRY_S
    assert rig.follow(source("2")).digest == f"sha256:{'2' * 64}"


def test_a_former_file_of_another_place_or_key_does_not_stay(rig):
    _, other = make_key()
    for successor in (
        source("2", public_key=other),
        dataclasses.replace(source("2"), reference=read_reference(f"registry.example/x@sha256:{'2' * 64}")),
    ):
        rig.error = None
        rig.follow(source("1"))
        rig.error = DOWN
        assert rig.follow(successor).content == b""


def test_the_key_may_be_in_a_secret_and_its_change_asks_anew(rig):
    wanted = source("1", public_key="", key_secret=("keys", "cosign.pub"))
    file = rig.follow(wanted)
    assert (file.fault.code, file.fault.message) == (Code.ZS0501, "Secret keys is not there")
    rig.secrets["keys"] = secret("keys", other=PEM)
    assert rig.follow(wanted).fault.message == "key 'cosign.pub' of Secret keys is not there"
    rig.secrets["keys"] = secret("keys", **{"cosign.pub": "nonsense"})
    assert rig.follow(wanted).fault.code is Code.ZS0313
    assert rig.asked == []
    rig.secrets["keys"] = secret("keys", **{"cosign.pub": PEM})
    assert rig.follow(wanted).fault is None
    rig.error = DOWN
    rig.secrets["keys"] = secret("keys", **{"cosign.pub": make_key()[1]})
    assert rig.follow(wanted).content == b""


def test_the_account_is_that_of_the_registrys_host(rig):
    config = '{"auths": {"registry.example": {"username": "ci", "password": "pw"}}}'
    rig.secrets["account"] = secret("account", **{".dockerconfigjson": config})
    rig.follow(source("1", pull_secret="account"))
    assert rig.asked[0].credentials.user == "ci"


def test_a_defect_is_told_and_tried_again(rig):
    rig.error = RuntimeError("boom")
    assert rig.follow(source("1")).fault.code is Code.ZS0312
    rig.error, rig.now_s = None, RETRY_S
    assert rig.follow(source("1")).fault is None


def test_pulls_that_hang_hold_up_no_other_namespace():
    """A thousand of one namespace, at a registry that is silent, leave three of four places to others."""
    hanging, release, pulled = threading.Semaphore(0), threading.Event(), []

    def pull(request, _policy):
        if request.reference.host == "silent.example":
            hanging.release()
            assert release.wait(60)
        return Pulled(b"\x7fELF")

    def wanted_of(namespace, host, count):
        reference = dataclasses.replace(source("1").reference, host=host)
        wanted = dataclasses.replace(source("1"), reference=reference)
        names = (f"p{number}" for number in range(count))
        return {ObjectKey(Kind.ZEROSERVE_PLUGIN, namespace, name): wanted for name in names}

    async def follow():
        wanted = wanted_of("greedy", "silent.example", 1000)
        taken = asyncio.Event()

        def take(key, _file):
            pulled.append(key.namespace)
            taken.set()

        follower = ArtifactFollower(RegistryPolicy(), lambda: wanted, lambda _: None, take, pull=pull)
        running = asyncio.create_task(follower.run())
        try:
            follower.want()
            assert await asyncio.to_thread(hanging.acquire, timeout=60)
            wanted |= wanted_of("other", "sound.example", 1)
            follower.want()
            async with asyncio.timeout(60):
                await taken.wait()
            assert pulled == ["other"]
        finally:
            release.set()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(follow())
