"""Building what changed gives what building everything gives."""

import copy
from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_operator.building.model import Builder
from zeroserve_operator.building_process import NOTHING_BUILT as NOTHING
from zeroserve_operator.building_process import Built, Differ, merge
from zeroserve_operator.resources.objects import Kind, ObjectKey, identify
from zeroserve_operator.settings import BuildSettings
from zeroserve_operator.store import Effect, Store

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SETTINGS = BuildSettings(classes=("zeroserve",), local=True)
# Few names, so that objects meet: a change must often touch what another object built.
NAMES = st.sampled_from(["a", "b"])
HOSTS = st.sampled_from(["x.example", "x.example", "y.example", "", "bad_host"])
PATHS = st.sampled_from(["/", "/a", "/(.*)", "nope"])
PREFIX = "nginx.ingress.kubernetes.io/"
ANNOTATIONS = st.sampled_from(
    [
        {},
        {f"{PREFIX}auth-type": "basic", f"{PREFIX}auth-secret": "a"},
        {f"{PREFIX}auth-type": "basic", f"{PREFIX}auth-secret": "b", f"{PREFIX}enable-cors": "true"},
        {f"{PREFIX}rewrite-target": "/$1"},
        {f"{PREFIX}auth-url": "http://x"},
        {f"{PREFIX}auth-url": "https://$host/a/check"},
        {f"{PREFIX}auth-url": "http://b.default.svc/check"},
        {f"{PREFIX}mirror-target": "http://b.default.svc$request_uri"},
        {f"{PREFIX}ssl-redirect": "false"},
    ]
)


@st.composite
def ingresses(draw):
    service = {"name": draw(NAMES), "port": {"number": 80}}
    path = {
        "path": draw(PATHS),
        "pathType": draw(st.sampled_from(["Exact", "Prefix", "Prefix", "Wrong"])),
        "backend": {"service": service},
    }
    rules = [{"host": draw(HOSTS), "http": {"paths": [path]}}]
    tls = [{"hosts": [draw(HOSTS)], "secretName": draw(NAMES)}] if draw(st.booleans()) else []
    created = draw(st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]))
    name = draw(st.sampled_from(["a", "b", "c"]))
    claimed = draw(st.sampled_from(["zeroserve", "zeroserve", "zeroserve", "other"]))
    return {
        "kind": "Ingress",
        "metadata": {"name": name, "creationTimestamp": created, "annotations": draw(ANNOTATIONS)},
        "spec": {"ingressClassName": claimed, "rules": rules, "tls": tls},
    }


@st.composite
def services(draw):
    ports = [{"port": draw(st.sampled_from([80, 80, 81]))}]
    return {"kind": "Service", "metadata": {"name": draw(NAMES)}, "spec": {"ports": ports}}


@st.composite
def slices(draw):
    name = draw(NAMES)
    address = draw(st.sampled_from(["10.0.0.1", "10.0.0.2", "nonsense"]))
    return {
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"port": 8080}],
        "endpoints": [{"addresses": [address]}],
    }


@st.composite
def secrets(draw):
    data = draw(
        st.sampled_from([{}, {"auth": f"ann:{BCRYPT}"}, {"auth": f"bob:{BCRYPT}"}, {"auth": "plain"}])
    )
    return {"kind": "Secret", "metadata": {"name": draw(NAMES)}, "stringData": data}


@st.composite
def purges(draw):
    targets = draw(st.sampled_from([["*"], ["http://x.example/"], []]))
    return {
        "kind": "ZeroserveCachePurge",
        "metadata": {"name": draw(NAMES), "uid": draw(NAMES)},
        "spec": {"targets": targets},
    }


BCRYPT = "$2y$05$" + "a" * 53
ANYTHING = st.one_of(ingresses(), ingresses(), services(), slices(), secrets(), purges())
CHANGES = st.lists(st.tuples(ANYTHING, st.sampled_from([False, False, False, True])), min_size=4, max_size=16)


def take(store, raw, gone):
    key = identify(Kind(raw["kind"]), raw)
    assert isinstance(key, ObjectKey)
    return (store.remove(key) if gone else store.put(key, copy.deepcopy(raw)))[1]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CHANGES)
def test_incremental_equals_full(changes):
    store, builder = Store(SETTINGS), Builder(SETTINGS)
    differ, parent = Differ(), NOTHING
    known = {}
    for raw, gone in changes:
        take(store, raw, gone)
        known[raw["kind"], raw["metadata"]["name"]] = (raw, gone)
        built = builder.build(store, NOW)
        parent = merge(parent, differ.diff(built))
    fresh = Store(SETTINGS)
    for raw, gone in known.values():
        if not gone:
            take(fresh, raw, False)
    full = Builder(SETTINGS).build(fresh, NOW)
    incremental = builder.build(store, NOW)
    assert dict(incremental.draft.resources) == dict(full.draft.resources)
    assert incremental.draft.version == full.draft.version
    assert incremental.outcomes == full.outcomes
    assert parent == Built(full.draft, full.outcomes)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CHANGES)
def test_an_effect_never_promises_too_little(changes):
    """Nothing means an equal snapshot; endpoints only, that nothing but Endpoints differs."""
    store, builder = Store(SETTINGS), Builder(SETTINGS)
    before = builder.build(store, NOW)
    for raw, gone in changes:
        effect = take(store, raw, gone)
        after = builder.build(store, NOW)
        if effect is Effect.NOTHING:
            assert after.draft.version == before.draft.version and after.outcomes == before.outcomes
        elif effect is Effect.ENDPOINTS:
            rest = [
                {key: item for key, item in build.draft.resources.items() if key[0] != pb.ENDPOINTS}
                for build in (before, after)
            ]
            assert rest[0] == rest[1]
        before = after
