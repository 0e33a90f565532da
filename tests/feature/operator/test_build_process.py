"""The build in its process: what agents would get after each change."""

import asyncio
import os
import signal
from datetime import UTC, datetime

import pytest
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_operator.building.model import Builder
from zeroserve_operator.building_process import BuildProcess, BuildProcessError
from zeroserve_operator.resources.objects import Kind, identify
from zeroserve_operator.settings import BuildSettings
from zeroserve_operator.store import Effect, Store

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SETTINGS = BuildSettings(classes=("zeroserve",), local=True)


def ingress(name="shop", path="/old"):
    backend = {"service": {"name": name, "port": {"number": 80}}}
    paths = [{"path": path, "pathType": "Prefix", "backend": backend}]
    rules = [{"host": f"{name}.example", "http": {"paths": paths}}]
    return {
        "kind": "Ingress",
        "metadata": {"name": name},
        "spec": {"ingressClassName": "zeroserve", "rules": rules},
    }


def service(name="shop"):
    return {"kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}


def slice_of(name="shop", *addresses):
    return {
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"port": 8080}],
        "endpoints": [{"addresses": list(addresses)}],
    }


class World:
    def __init__(self):
        self.store, self.process = Store(SETTINGS), BuildProcess(SETTINGS)

    def apply(self, *raws):
        changes, effects = [], []
        for raw in raws:
            change, effect = self.store.put(identify(Kind(raw["kind"]), raw), raw)
            changes.append(change)
            effects.append(effect)
        before = dict(self.process.built.draft.resources)
        after = asyncio.run(self.process.build(changes, NOW)).draft.resources
        keys = {key for key in {*before, *after} if before.get(key) != after.get(key)}
        return max(effects), {pb.ResourceType.Name(kind) for kind, _ in keys}


@pytest.fixture
def world():
    found = World()
    yield found
    found.process.stop()


def test_changes_touch_what_they_are_about(world):
    _, kinds = world.apply(
        ingress(), ingress("blog"), service(), service("blog"), slice_of("shop", "10.0.0.1")
    )
    assert {"SETTINGS", "LISTENER", "PROGRAM", "VIRTUAL_HOST", "ENDPOINTS", "CLUSTER"} <= kinds
    assert world.apply(slice_of("shop", "10.0.0.2")) == (Effect.ENDPOINTS, {"ENDPOINTS"})
    assert world.apply(slice_of("shop", "10.0.0.2")) == (Effect.NOTHING, set())
    effect, kinds = world.apply(ingress(path="/new"))
    assert effect is Effect.REBUILD and kinds == {"VIRTUAL_HOST"}
    fresh = Builder(SETTINGS).build(world.store, NOW)
    assert world.process.built.draft == fresh.draft and world.process.built.outcomes == fresh.outcomes


def test_a_killed_process_is_started_again_and_knows_all(world):
    world.apply(ingress(), service())
    served = world.process.built
    os.kill(world.process._process.pid, signal.SIGKILL)
    with pytest.raises(BuildProcessError):
        world.apply(ingress("blog"))
    assert world.process.built == served and world.process.is_fresh
    asyncio.run(world.process.build(world.store.all(), NOW))
    assert world.process.built.draft == Builder(SETTINGS).build(world.store, NOW).draft
