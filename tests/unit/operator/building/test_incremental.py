"""Building what changed gives what building everything gives."""

import copy

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_operator.building.model import Builder
from zeroserve_operator.building_process import Built, Differ, merge
from zeroserve_operator.building_process import NOTHING_BUILT as NOTHING
from zeroserve_operator.resources.objects import Kind, ObjectKey, identify
from zeroserve_operator.settings import BuildSettings
from zeroserve_operator.store import Effect, Store

from datetime import datetime, timezone

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)
SETTINGS = BuildSettings(classes=("zeroserve",), local=True)
NAMES = st.sampled_from(["a", "b", "c"])
HOSTS = st.sampled_from(["", "x.example", "y.example", "*.example.org", "bad_host"])
PATHS = st.sampled_from(["/", "/a", "/a/b", "/(.*)", "nope", "/a%2Fb"])
ANNOTATIONS = st.dictionaries(
    st.sampled_from(["use-regex", "rewrite-target", "auth-url", "auth-type", "auth-secret", "ssl-redirect"]),
    st.sampled_from(["true", "false", "/$1", "basic", "a", "c", ""]),
    max_size=3,
).map(lambda found: {f"nginx.ingress.kubernetes.io/{key}": value for key, value in found.items()})


@st.composite
def ingresses(draw):
    rules = []
    for _ in range(draw(st.integers(0, 2))):
        service = {"name": draw(NAMES), "port": {"number": draw(st.sampled_from([80, 81]))}}
        path = {
            "path": draw(PATHS),
            "pathType": draw(st.sampled_from(["Exact", "Prefix", "ImplementationSpecific", "Wrong"])),
            "backend": {"service": service},
        }
        rules.append({"host": draw(HOSTS), "http": {"paths": [path]}})
    tls = [{"hosts": [draw(HOSTS)], "secretName": draw(NAMES)}] if draw(st.booleans()) else []
    created = draw(st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]))
    return {
        "kind": "Ingress",
        "metadata": {"name": draw(NAMES), "creationTimestamp": created, "annotations": draw(ANNOTATIONS)},
        "spec": {"ingressClassName": draw(st.sampled_from(["zeroserve", "other"])), "rules": rules, "tls": tls},
    }


@st.composite
def services(draw):
    ports = [{"port": draw(st.sampled_from([80, 81]))}]
    return {"kind": "Service", "metadata": {"name": draw(NAMES)}, "spec": {"ports": ports}}


@st.composite
def slices(draw):
    name = draw(NAMES)
    address = draw(st.sampled_from(["10.0.0.1", "10.0.0.2", "nonsense"]))
    return {
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"port": 8080}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": draw(st.booleans())}}],
    }


@st.composite
def secrets(draw):
    hashed = "$2y$05$" + "a" * 53
    data = draw(st.sampled_from([{}, {"auth": f"ann:{hashed}"}, {"auth": "plain"}]))
    return {"kind": "Secret", "metadata": {"name": draw(NAMES)}, "stringData": data}


CHANGES = st.lists(st.tuples(st.one_of(ingresses(), services(), slices(), secrets()), st.booleans()), max_size=12)


def take(store, raw, gone):
    key = identify(Kind(raw["kind"]), raw)
    assert isinstance(key, ObjectKey)
    return (store.remove(key) if gone else store.put(key, copy.deepcopy(raw)))[1]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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
    if changes:
        assert parent == Built(full.draft, full.outcomes)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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
