"""ZeroservePlugins: from object to resources, what is refused and why, and how calls find them."""

import base64
from datetime import UTC, datetime

import pytest
import yaml
from zeroserve_cli.plugins.building import compile_c, find_compiler
from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.program import abi
from zeroserve_ir.sources import Origin
from zeroserve_operator.artifacts.references import read_reference
from zeroserve_operator.building.model import Builder
from zeroserve_operator.building.plugins import (
    BuiltPlugin,
    build_plugin,
    check_calls,
    find_calls,
    resolve_calls,
)
from zeroserve_operator.pipeline import DEV_SETTINGS
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.resources.plugins import ArtifactSource, PluginFile, parse_zeroserve_plugin
from zeroserve_operator.store import Store

TEXT = """
#include <zeroserve.h>
ZS_FUNCTION u64 mark(struct zs_context *context) {
  return zs_write_request_header(ZS("x-mark"), ZS("1"));
}
ZS_REQUEST u64 gate(struct zs_context *context) { return ZS_CONTINUE; }
ZS_RESPONSE u64 stamp(struct zs_context *context) { return ZS_CONTINUE; }
ZS_FUNCTION u64 pass(struct zs_context *context) { return ZS_CONTINUE; }
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "plugin.c"
    path.write_text(TEXT)
    return compile_c([path], find_compiler())


def manifest(file, name="mark", namespace="shop", **spec):
    spec = {"source": {"inline": base64.b64encode(file).decode()}, "capabilities": ["request_write"]} | spec
    return {
        "apiVersion": "zeroserve.dev/v1alpha1",
        "kind": "ZeroservePlugin",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def dump(*objects):
    return yaml.safe_dump_all(objects)


def plugins_of(loaded):
    return {
        name: pb.Plugin.FromString(resource.payload)
        for (kind, name), resource in loaded.draft.resources.items()
        if kind == pb.PLUGIN
    }


def findings_of(loaded):
    return [(item.code.name, item.message) for item in loaded.diagnostics]


def test_a_plugin_becomes_resources(build, file):
    loaded = build(dump(manifest(file, budget={"fuel": 9000, "values": 7}, failPolicy="Open")))
    assert findings_of(loaded) == []
    plugin = plugins_of(loaded)["shop/mark"]
    assert (plugin.namespace, plugin.fuel, plugin.values_max, plugin.fail_open) == ("shop", 9000, 7, True)
    assert plugin.capabilities == abi.Capability.REQUEST_WRITE
    assert sorted(each.name for each in plugin.functions) == ["gate", "mark", "pass", "stamp"]
    assert (pb.PROGRAM, plugin.program) in loaded.draft.resources


def test_the_file_may_be_in_a_config_map(build, file):
    reference = {"source": {"configMapKeyRef": {"name": "files", "key": "mark.o"}}}
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "files", "namespace": "shop"},
        "binaryData": {"mark.o": base64.b64encode(file).decode()},
    }
    assert "shop/mark" in plugins_of(build(dump(manifest(file, **reference), config_map)))
    missing = build(dump(manifest(file, **reference)))
    assert plugins_of(missing) == {}
    assert findings_of(missing) == [("ZS0501", "ConfigMap files is not there")]


def test_secrets_are_those_of_its_namespace(build, file):
    grant = [{"name": "key", "secretKeyRef": {"name": "keys", "key": "k"}}]
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys", "namespace": "shop"},
        "stringData": {"k": "hunter2"},
    }
    loaded = build(dump(manifest(file, secrets=grant), secret))
    assert [(each.name, each.value) for each in plugins_of(loaded)["shop/mark"].secrets] == [
        ("key", b"hunter2")
    ]
    secret["metadata"]["namespace"] = "other"
    loaded = build(dump(manifest(file, secrets=grant), secret))
    assert (plugins_of(loaded), findings_of(loaded)) == ({}, [("ZS0501", "Secret keys is not there")])


ARTIFACT = f"registry.example/hello@sha256:{'1' * 64}"
REFUSED = {
    "no capability": ({"capabilities": []}, "ZS0310", "request_write"),
    "unknown capability": ({"capabilities": ["root"]}, "ZS0301", "must be one of"),
    "no such function": ({"functions": ["mark", "sign"]}, "ZS0309", "'sign'"),
    "no source": ({"source": {}}, "ZS0301", "one of inline, configMapKeyRef, oci"),
    "artefact by tag": (
        {"source": {"oci": {"reference": "registry.example/hello:1"}}},
        "ZS0301",
        "not only the tag '1'",
    ),
    "artefact without a host": ({"source": {"oci": {"reference": "hello"}}}, "ZS0301", "registry's host"),
    "artefact's key": (
        {"source": {"oci": {"reference": ARTIFACT, "publicKey": "x"}}},
        "ZS0301",
        "no public key in PEM",
    ),
    "artefact that nobody pulled": ({"source": {"oci": {"reference": ARTIFACT}}}, "ZS0312", "not here yet"),
    "upstream's port": (
        {"upstreams": [{"name": "a", "service": {"name": "b"}}]},
        "ZS0301",
        "spec.upstreams[0].service.port must be",
    ),
    "upstream's host": (
        {"upstreams": [{"name": "a", "service": {"name": "b", "port": 80}, "host": "a\r\nb"}]},
        "ZS0301",
        "spec.upstreams[0].host must be",
    ),
    "no base64": ({"source": {"inline": "%"}}, "ZS0301", "must be base64"),
    "no ELF file": ({"source": {"inline": "AAAA"}}, "ZS0603", "not a readable ELF file"),
    "too much fuel": ({"budget": {"fuel": 1 << 40}}, "ZS0301", "spec.budget.fuel"),
    "fail policy": ({"failPolicy": "Ignore"}, "ZS0301", "Closed or Open"),
    "schema": ({"configSchema": {"type": "text"}}, "ZS0311", "not a JSON Schema"),
    "schema's pattern": ({"configSchema": {"pattern": "(?=a)"}}, "ZS0311", "invalid pattern"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(build, file, name):
    spec, code, message = REFUSED[name]
    loaded = build(dump(manifest(file, **spec)))
    assert plugins_of(loaded) == {}
    found = findings_of(loaded)
    assert [each[0] for each in found] == [code]
    assert message in found[0][1]


def pulled(file, digit, wanted, fault=None):
    """Return what a registry gave for the plugin `mark`, when it was asked for a digest of this digit."""
    key = ObjectKey(Kind.ZEROSERVE_PLUGIN, "shop", "mark")
    source = ArtifactSource(read_reference(wanted))
    return PluginFile.make(key, source, file, f"sha256:{digit * 64}", fault)


def build_artifact(wanted, found):
    raw = manifest(b"", source={"oci": {"reference": wanted}})
    key = ObjectKey(Kind.ZEROSERVE_PLUGIN, "shop", "mark")
    return build_plugin(parse_zeroserve_plugin(key, raw).view, lambda _key: found)


def test_a_pulled_file_is_served(file):
    built = build_artifact(ARTIFACT, pulled(file, "1", ARTIFACT))
    assert (built.module is not None, built.diagnostics) == (True, ())


def test_a_former_version_is_served_with_a_warning_until_its_successor_is_here(file):
    newer = ARTIFACT.replace("1" * 64, "2" * 64)
    built = build_artifact(newer, pulled(file, "1", ARTIFACT))
    assert [(item.code.name, item.severity.name) for item in built.diagnostics] == [("ZS0312", "WARNING")]
    fault = Diagnostic(Code.ZS0313, "not signed")
    built = build_artifact(newer, pulled(file, "1", newer, fault))
    assert [(item.code.name, item.severity.name) for item in built.diagnostics] == [("ZS0313", "WARNING")]
    assert built.module is not None


def test_a_file_of_another_place_is_not_served(file):
    built = build_artifact(ARTIFACT.replace("hello", "other"), pulled(file, "1", ARTIFACT))
    assert built.module is None


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: auth, namespace: shop}
spec: {ports: [{name: web, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: auth-1, namespace: shop, labels: {kubernetes.io/service-name: auth}}
addressType: IPv4
ports: [{name: web, port: 8080}]
endpoints: [{addresses: [10.0.0.7], conditions: {ready: true}}]
"""


def reached_by(loaded, name="shop/mark"):
    """Return by name: the Host of requests, and the addresses that a plugin's upstreams lead to."""
    found = {key: resource.payload for key, resource in loaded.draft.resources.items()}
    reached = {}
    for upstream in plugins_of(loaded)[name].upstreams:
        cluster = pb.Cluster.FromString(found[pb.CLUSTER, upstream.cluster])
        endpoints = pb.Endpoints.FromString(found[pb.ENDPOINTS, cluster.endpoints])
        reached[upstream.name] = (upstream.host, [f"{one.address}:{one.port}" for one in endpoints.endpoints])
    return reached


def test_upstreams_are_services_of_its_namespace(build, file):
    upstreams = [
        {"name": "idp", "service": {"name": "auth", "port": 80}},
        {"name": "other", "service": {"name": "auth", "port": "web"}, "host": "id.example"},
    ]
    loaded = build(dump(manifest(file, upstreams=upstreams)) + "---" + SERVICE)
    assert findings_of(loaded) == []
    assert reached_by(loaded) == {
        "idp": ("auth.shop.svc", ["10.0.0.7:8080"]),
        "other": ("id.example", ["10.0.0.7:8080"]),
    }


def test_a_service_that_is_not_there_is_told_and_harms_only_itself(build, file):
    upstreams = [
        {"name": "idp", "service": {"name": "auth", "port": 80}},
        {"name": "gone", "service": {"name": "gone", "port": 80}},
    ]
    loaded = build(dump(manifest(file, upstreams=upstreams)) + "---" + SERVICE)
    (found,) = loaded.diagnostics
    assert (found.code.name, found.origin.field) == ("ZS0302", "spec.upstreams[1].service")
    assert [addresses for _, addresses in reached_by(loaded).values()] == [["10.0.0.7:8080"], []]


def test_without_the_plugin_its_endpoints_are_gone(file):
    store, builder = Store(DEV_SETTINGS), Builder(DEV_SETTINGS)
    now, key = datetime(2026, 11, 21, tzinfo=UTC), ObjectKey(Kind.ZEROSERVE_PLUGIN, "shop", "mark")
    upstreams = [{"name": "idp", "service": {"name": "auth", "port": 80}}]
    store.put(key, manifest(file, upstreams=upstreams))
    kinds = {kind for kind, _ in builder.build(store, now).draft.resources}
    assert {pb.PLUGIN, pb.CLUSTER, pb.ENDPOINTS} <= kinds
    store.remove(key)
    kinds = {kind for kind, _ in builder.build(store, now).draft.resources}
    assert not {pb.PLUGIN, pb.CLUSTER, pb.ENDPOINTS} & kinds


def test_a_call_may_be_sent_on_where_the_plugin_may_proxy(file):
    upstreams = [{"name": "idp", "service": {"name": "auth", "port": 80}}]
    for capabilities, count in ((["request_write"], 0), (["request_write", "proxy"], 1)):
        plugin = make_plugin(file, upstreams=upstreams, capabilities=capabilities)
        (call,) = find_calls(resolve_calls(route(), "shop", finder(plugin)))
        assert len(call.upstreams) == count


def make_plugin(file, **spec):
    raw = manifest(file, **spec)
    key = ObjectKey(Kind.ZEROSERVE_PLUGIN, raw["metadata"]["namespace"], raw["metadata"]["name"])
    built = build_plugin(parse_zeroserve_plugin(key, raw).view, lambda _key: None)
    assert isinstance(built, BuiltPlugin)
    return built


def finder(*plugins):
    keys = {(each.view.meta.key.namespace, each.view.meta.key.name): each for each in plugins}
    return lambda namespace, name: keys.get((namespace, name))


def route(plugin="mark", function="mark", config="{}"):
    call = tree.CallPlugin(plugin, function, config)
    return (tree.Route((tree.Subroute((tree.Route((call, tree.RaiseError("404"))),)),)),)


def resolve(routes, namespace, *plugins):
    find = finder(*plugins)
    (call,) = find_calls(resolve_calls(routes, namespace, find))
    codes = [each.code.name for each in check_calls(routes, namespace, Origin("", "", ""), find)]
    return call.plugin, codes


def test_calls_find_the_plugin_of_their_namespace_at_any_depth(file):
    assert resolve(route(), "shop", make_plugin(file)) == ("shop/mark", [])


def test_what_is_no_call_stays_as_it_is(file):
    routes = (tree.Route((tree.RaiseError("404"),)),)
    assert resolve_calls(routes, "shop", finder(make_plugin(file))) is routes


def test_a_plugin_of_another_namespace_must_be_shared_and_named_in_full(file):
    assert resolve(route(), "bank", make_plugin(file)) == ("bank/mark/refused", ["ZS0309"])
    assert resolve(route(), "bank", make_plugin(file, shared=True)) == ("bank/mark/refused", ["ZS0309"])
    assert resolve(route("shop/mark"), "bank", make_plugin(file)) == ("bank/shop/mark/refused", ["ZS0309"])
    assert resolve(route("shop/mark"), "bank", make_plugin(file, shared=True)) == ("shop/mark", [])


def test_its_own_plugin_comes_before_a_shared_one(file):
    ours, theirs = make_plugin(file, namespace="bank"), make_plugin(file, shared=True)
    assert resolve(route(), "bank", ours, theirs) == ("bank/mark", [])


def test_functions_that_are_not_offered_are_not_called(file):
    limited = make_plugin(file, functions=["pass"])
    assert resolve(route(), "shop", limited) == ("shop/mark/refused", ["ZS0309"])
    assert resolve(route(function="pass"), "shop", limited) == ("shop/mark", [])
    assert resolve(route(function="sign"), "shop", make_plugin(file)) == ("shop/mark/refused", ["ZS0309"])


def test_hooks_are_not_called_by_routes(file):
    call, find = route(function="gate"), finder(make_plugin(file))
    (found,) = check_calls(call, "shop", Origin("", "", ""), find)
    assert found.message == "zeroserve_call mark gate: this is a request hook, which no route calls"
    assert found.help == "write zeroserve_plugin mark, which runs its hooks"
    assert [each.plugin for each in find_calls(resolve_calls(call, "shop", find))] == ["shop/mark/refused"]


def test_a_configuration_that_its_schema_refuses_is_not_called(file):
    schema = {
        "type": "object",
        "required": ["key"],
        "properties": {"key": {"type": "string", "pattern": "^k"}},
    }
    plugin = make_plugin(file, configSchema=schema)
    assert resolve(route(config='{"key":"k1"}'), "shop", plugin) == ("shop/mark", [])
    for config in ("{}", '{"key":"x"}', '{"key":["k"]}'):
        assert resolve(route(config=config), "shop", plugin) == ("shop/mark/refused", ["ZS0311"])


def test_a_plugin_that_cannot_be_served_is_told(file):
    broken = make_plugin(file, capabilities=[])
    assert resolve(route(), "shop", broken) == ("shop/mark/refused", ["ZS0309"])


ROUTE = """
apiVersion: zeroserve.dev/v1alpha1
kind: ZeroserveRoute
metadata: {name: web, namespace: shop}
spec:
  hosts: [shop.example]
  caddyfile: |
    zeroserve_call mark mark {
      key k1
    }
    respond hello
"""


def test_an_attached_plugin_is_called_by_its_hooks(file):
    attached = (tree.Route((tree.AttachPlugin("mark", '{"a":"b"}'),)),)
    plugin = make_plugin(file)
    calls = list(find_calls(resolve_calls(attached, "shop", finder(plugin))))
    assert [(each.plugin, each.function, each.config) for each in calls] == [
        ("shop/mark", "stamp", '{"a":"b"}'),
        ("shop/mark", "gate", '{"a":"b"}'),
    ]
    assert resolve(attached, "bank", plugin) == ("bank/mark/refused", ["ZS0309"])
    without = make_plugin(file, functions=["pass"])
    assert resolve(attached, "shop", without) == ("shop/mark/refused", ["ZS0309"])
    judged = make_plugin(file, configSchema={"required": ["key"]})
    assert resolve(attached, "shop", judged) == ("shop/mark/refused", ["ZS0311"])


INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  namespace: shop
  annotations:
    zeroserve.dev/plugins: %s
spec:
  rules:
    - host: shop.example
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: auth, port: {number: 80}}}}]}
"""


@pytest.mark.parametrize("value", ["mark", '\'[{"name": "mark", "config": {}}]\''])
def test_an_ingress_attaches_plugins_by_annotation(build, file, value):
    loaded = build(dump(manifest(file)) + "---" + SERVICE + "---" + INGRESS % value)
    assert findings_of(loaded) == []
    assert set(calls_of(loaded)) == {"shop/mark"}
    assert all(len(site.errors) == 2 for site in loaded.sites if site.routes)


def test_a_plugin_that_is_not_there_answers_500_on_the_ingress(build):
    loaded = build(SERVICE + "---" + INGRESS % "mark, other")
    assert [(item.code.name, item.origin.field) for item in loaded.diagnostics] == [
        ("ZS0309", "metadata.annotations[zeroserve.dev/plugins]")
    ] * 2
    assert set(calls_of(loaded)) == {"shop/mark/refused", "shop/other/refused"}


@pytest.mark.parametrize("value", ["Mark", "'[1]'", '\'[{"name": "a", "x": 1}]\'', "'[{'", "'a,,b'"])
def test_an_annotation_that_cannot_be_read_closes_the_routes(build, value):
    loaded = build(SERVICE + "---" + INGRESS % value)
    assert [item.code.name for item in loaded.diagnostics] == ["ZS0403"]
    assert not [key for key in loaded.draft.resources if key[0] == pb.CLUSTER]


def calls_of(loaded):
    return [
        call.plugin
        for (kind, _), resource in loaded.draft.resources.items()
        if kind == pb.TABLES
        for call in pb.Tables.FromString(resource.payload).plugin_calls
    ]


def test_a_route_calls_the_plugin_of_its_namespace(build, file):
    loaded = build(dump(manifest(file)) + "---" + ROUTE)
    assert findings_of(loaded) == []
    assert calls_of(loaded) == ["shop/mark"]


def test_a_configuration_that_does_not_fit_is_told_at_its_line(build, file):
    schema = {"properties": {"key": {"pattern": "^x"}}}
    (found,) = build(dump(manifest(file, configSchema=schema)) + "---" + ROUTE).diagnostics
    assert (found.code.name, str(found.origin)) == ("ZS0311", "shop/web (ZeroserveRoute) spec.caddyfile")
    assert "$.key" in found.message
    assert "ZeroservePlugin shop/mark" in found.help
    text = (dump(manifest(file, configSchema=schema)) + "---" + ROUTE).splitlines()[found.span.line - 1]
    assert "zeroserve_call mark mark" in text


def test_a_route_whose_plugin_is_missing_fails_closed_and_says_so(build, file):
    loaded = build(ROUTE)
    assert calls_of(loaded) == ["shop/mark/refused"]
    assert [code for code, _ in findings_of(loaded)] == ["ZS0309"]


def test_a_plugin_that_comes_later_is_taken_into_the_hosts_that_call_it(file):
    store, builder = Store(DEV_SETTINGS), Builder(DEV_SETTINGS)
    route = yaml.safe_load(ROUTE)
    store.put(ObjectKey(Kind.ZEROSERVE_ROUTE, "shop", "web"), route)
    now = datetime(2026, 11, 21, tzinfo=UTC)
    plugin = ObjectKey(Kind.ZEROSERVE_PLUGIN, "shop", "mark")
    seen = [calls_of(builder.build(store, now))]
    for change in (manifest(file), manifest(file, capabilities=[]), manifest(file)):
        store.put(plugin, change)
        seen.append(calls_of(builder.build(store, now)))
    store.remove(plugin)
    last = builder.build(store, now)
    assert [*seen, calls_of(last)] == [
        ["shop/mark/refused"],
        ["shop/mark"],
        ["shop/mark/refused"],
        ["shop/mark"],
        ["shop/mark/refused"],
    ]
    assert not [key for key in last.draft.resources if key[0] == pb.PLUGIN]


@pytest.mark.parametrize("name", ["mark", "shop/mark"])
def test_a_stranger_s_shared_plugin_does_not_come_in_the_place_of_one_that_is_not_there(file, name):
    store, builder = Store(DEV_SETTINGS), Builder(DEV_SETTINGS)
    route = yaml.safe_load(ROUTE.replace("zeroserve_call mark", f"zeroserve_call {name}"))
    store.put(ObjectKey(Kind.ZEROSERVE_ROUTE, "shop", "web"), route)
    stranger = ObjectKey(Kind.ZEROSERVE_PLUGIN, "stranger", "mark")
    store.put(stranger, manifest(file, namespace="stranger", shared=True))
    built = builder.build(store, datetime(2026, 11, 21, tzinfo=UTC))
    assert calls_of(built) == [f"shop/{name}/refused"]
