"""The store: what a change asks for."""

import copy

import pytest
from zeroserve_ir.tree import ServiceReference
from zeroserve_operator.resources.objects import Kind, identify
from zeroserve_operator.settings import BuildSettings, SharedService, StreamSettings
from zeroserve_operator.store import Effect, Store

INGRESS = {
    "kind": "Ingress",
    "metadata": {
        "name": "shop",
        "namespace": "web",
        "resourceVersion": "1",
        "annotations": {"nginx.ingress.kubernetes.io/auth-secret": "users"},
    },
    "spec": {
        "ingressClassName": "zeroserve",
        "tls": [{"hosts": ["x.example"], "secretName": "cert"}],
        "rules": [
            {
                "host": "x.example",
                "http": {
                    "paths": [
                        {
                            "path": "/",
                            "pathType": "Prefix",
                            "backend": {"service": {"name": "shop", "port": {"number": 80}}},
                        }
                    ]
                },
            }
        ],
    },
}


def named(kind, name, **fields):
    return {"kind": kind, "metadata": {"name": name, "namespace": "web"}, **fields}


@pytest.fixture
def store():
    found = Store(BuildSettings(classes=("zeroserve",)))
    put(found, INGRESS)
    return found


def put(store, raw):
    return store.put(identify(Kind(raw["kind"]), raw), raw)[1]


def slice_of(service):
    raw = named(
        "EndpointSlice", f"{service}-1", endpoints=[{"addresses": ["10.0.0.1"]}], ports=[{"port": 80}]
    )
    raw["metadata"]["labels"] = {"kubernetes.io/service-name": service}
    return raw


def test_a_claimed_ingress_asks_for_a_rebuild(store):
    changed = copy.deepcopy(INGRESS)
    changed["spec"]["rules"][0]["host"] = "y.example"
    assert put(store, changed) is Effect.REBUILD


def test_fields_that_nobody_reads_ask_for_nothing(store):
    changed = copy.deepcopy(INGRESS)
    changed["metadata"]["resourceVersion"] = "2"
    changed["metadata"]["managedFields"] = [{}]
    changed["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    assert put(store, changed) is Effect.NOTHING
    view = store.views[identify(Kind.INGRESS, changed)]
    assert view.addresses == ("192.0.2.1",)


def test_an_ingress_of_another_class_asks_for_nothing(store):
    other = copy.deepcopy(INGRESS)
    other["metadata"]["name"] = "other"
    other["spec"]["ingressClassName"] = "nginx"
    assert put(store, other) is Effect.NOTHING
    moved = copy.deepcopy(INGRESS)
    moved["spec"]["ingressClassName"] = "nginx"
    assert put(store, moved) is Effect.REBUILD


@pytest.mark.parametrize(
    ("raw", "effect"),
    [
        (named("Service", "shop", spec={"ports": [{"port": 80}]}), Effect.ENDPOINTS),
        (named("Service", "unrelated", spec={"ports": [{"port": 80}]}), Effect.NOTHING),
        (slice_of("shop"), Effect.ENDPOINTS),
        (slice_of("unrelated"), Effect.NOTHING),
        (named("Secret", "cert", data={}), Effect.REBUILD),
        (named("Secret", "users", data={}), Effect.REBUILD),
        (named("Secret", "unrelated", data={}), Effect.NOTHING),
    ],
)
def test_what_nobody_names_asks_for_nothing(store, raw, effect):
    assert put(store, raw) is effect


@pytest.mark.parametrize(
    "settings",
    [
        BuildSettings(streams=(StreamSettings(9000, ServiceReference("web", "broker", "9092"), 9000),)),
        BuildSettings(shared_auth_services=(SharedService("web", "broker"),)),
    ],
)
def test_services_of_the_settings_are_named_by_them(settings):
    store = Store(settings)
    assert put(store, slice_of("broker")) is Effect.ENDPOINTS
    assert put(store, slice_of("unrelated")) is Effect.NOTHING


def test_a_deletion_asks_for_what_the_object_gave(store):
    put(store, slice_of("shop"))
    assert store.remove(identify(Kind.ENDPOINT_SLICE, slice_of("shop")))[1] is Effect.ENDPOINTS
    assert store.remove(identify(Kind.INGRESS, INGRESS))[1] is Effect.REBUILD
    assert store.remove(identify(Kind.INGRESS, INGRESS))[1] is Effect.NOTHING
    assert put(store, slice_of("shop")) is Effect.NOTHING


def test_all_changes_fill_an_equal_store(store):
    put(store, slice_of("shop"))
    other = Store(store.settings)
    for change in store.all():
        other.apply(change)
    assert other.views == store.views and other.diagnostics == store.diagnostics
    assert {key.name for key in other.secrets_named()} == {"cert", "users"}
    assert {key.name for key in other.accounts_named()} == {"users"}
