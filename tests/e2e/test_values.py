"""An installation with other values than the defaults: a Deployment behind a NodePort, without extras."""

import socket
from collections.abc import Iterator
from functools import partial
from typing import Any

import manifests
import pytest
import stores
import yaml
from cluster.certificates import Authority
from cluster.clients import Client, CommandError
from releases import CHART, Release, import_images
from traffic import Target, fetch, load

VALUES = {
    "dataplane.kind": "Deployment",
    "dataplane.replicas": "2",
    "dataplane.preStopSeconds": "4",
    "dataplane.drainSeconds": "5",
    "dataplane.podLabels.team": "edge",
    "dataplane.engine.extraArgs[0]": "--workers=1",
    "operator.replicas": "2",
    "operator.extraArgs[0]": "--no-access-log",
    "operator.publishAddress": "203.0.113.7",
    "service.type": "NodePort",
    "networkPolicy.enabled": "false",
    "serviceMonitor.enabled": "true",
    "serviceMonitor.labels.release": "prometheus",
    "tcp.9000": "e2e-values/varied:http",
    "udp.53": "kube-system/kube-dns:dns",
    "dataplane.limitStore.secret": "limit-store",
    # The demo backend takes what is posted to it, as a collector does.
    "tracing.endpoint": "http://varied.e2e-values.svc:80",
    "tracing.protocol": "http/protobuf",
    "tracing.samplerArgument": "1.0",
    "tracing.sampler": "traceidratio",
}
PASSWORD = "only-for-tests"
ALLOWED = 20
LIMITED = f"""
    rate_limit /limited {{
        zone together {{
            key everybody
            events {ALLOWED}
            window 1h
            shared
        }}
        store_down closed
    }}
    respond "passed"
"""
# What the Prometheus operator would define, without its schema.
SERVICE_MONITORS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
    "spec": {
        "group": "monitoring.coreos.com",
        "names": {"kind": "ServiceMonitor", "plural": "servicemonitors", "singular": "servicemonitor"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
            }
        ],
    },
}


def is_served(client: Client, target: Target) -> bool:
    return fetch(client, target).status == 200


def is_refused(client: Client, target: Target) -> bool:
    return fetch(client, target, "/limited").status == 429


def has_store(release: Release, pod: dict[str, Any]) -> bool:
    return release.metric_of(pod, "zeroserve_agent_token_store_up") == 1


@pytest.fixture(scope="module")
def installed(cluster: Client, release: Release) -> Iterator[Release]:
    import_images(cluster)
    cluster.apply(manifests.dump(SERVICE_MONITORS))
    cluster.eventually(lambda: cluster.kubectl("get", "servicemonitors"), 120)
    found = Release(cluster.within("zeroserve-varied"), "varied", "varied", "", "deployment")
    found.client.make_namespace()
    address = f"redis://default:{PASSWORD}@limits.{found.client.namespace}.svc:{stores.PORT}/0"
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "limit-store"},
        "stringData": {"address": address},
    }
    found.client.apply(manifests.dump(secret))
    stores.run_store(found.client, "limits", PASSWORD)
    found.install(*(word for key, value in VALUES.items() for word in ("--set", f"{key}={value}")))
    yield found
    found.client.helm("uninstall", found.name, "--wait", "--timeout=120s")
    found.client.kubectl("delete", "namespace", found.client.namespace, "--wait=false")
    cluster.kubectl("delete", "crd", "servicemonitors.monitoring.coreos.com")


@pytest.fixture(scope="module")
def site(namespace: Client, installed: Release, authority: Authority) -> Target:
    namespace.apply(manifests.backend("varied"))
    namespace.rolled_out("deployment/varied")
    pair = authority.issue("varied", alternatives=("varied.example",))
    namespace.apply(manifests.tls_secret("varied-tls", pair))
    text = manifests.ingress("varied", "varied.example", "varied", "varied-tls", installed.ingress_class)
    namespace.apply(text)
    address = installed.client.get("service", "varied-dataplane")["spec"]["clusterIP"]
    found = Target(address, "varied.example", authority.pair.certificate)
    namespace.eventually(lambda: fetch(namespace, found).status == 200, 120)
    return found


def test_both_pods_of_the_deployment_serve(namespace: Client, installed: Release, site: Target) -> None:
    pods = installed.client.pods("team=edge")
    assert len(pods) == 2
    for pod in pods:
        direct = Target(pod["status"]["podIP"], site.host, site.authority, 8443)
        # One Pod hears of the site a moment after the other.
        namespace.eventually(partial(is_served, namespace, direct), 120)


def test_the_given_address_is_published(namespace: Client, site: Target) -> None:
    def published() -> bool:
        entries = namespace.get("ingress", "varied")["status"]["loadBalancer"]["ingress"]
        return bool(entries == [{"ip": "203.0.113.7"}])

    assert namespace.eventually(published, 120)


def test_nodes_log_no_request(installed: Release, site: Target) -> None:
    logs = installed.client.kubectl("logs", "-l", "team=edge", "-c", "engine", "--tail=-1")
    assert site.host not in logs


def test_a_tcp_port_leads_to_its_service_unread(namespace: Client, site: Target) -> None:
    port = Target(site.address, "nobody.example", port=9000)
    namespace.eventually(partial(is_served, namespace, port), 120)
    seen = fetch(namespace, port).json()
    assert seen["host"] == "nobody.example"
    assert "X-Forwarded-For" not in seen["headers"]


def test_a_udp_port_leads_to_its_service(namespace: Client, installed: Release, site: Target) -> None:
    name = f"varied-dataplane.{installed.client.namespace}.svc.cluster.local"
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    # RFC 1035, section 4.1: one question for an A record, of the class IN.
    question = bytes.fromhex("0707 0100 0001 0000 0000 0000") + labels + bytes.fromhex("00 0001 0001")

    def resolve() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(2)
            asking.sendto(question, (site.address, 53))
            return socket.inet_ntoa(asking.recv(512)[-4:])

    assert namespace.eventually(lambda: namespace.in_network(resolve), 120) == site.address


def test_pods_together_let_through_what_a_shared_limit_allows(
    namespace: Client, installed: Release, site: Target
) -> None:
    route = manifests.zeroserve_route("limited", "limited.example", LIMITED, "", installed.ingress_class)
    namespace.apply(route)
    pods = installed.pods("dataplane")
    targets = [Target(pod["status"]["podIP"], "limited.example", port=8080) for pod in pods]
    for pod, target in zip(pods, targets, strict=True):
        namespace.eventually(partial(is_served, namespace, target), 120)
        namespace.eventually(partial(has_store, installed, pod), 120)
    passed: list[str] = []

    def ask(target: Target) -> int:
        status = fetch(namespace, target, "/limited").status
        if status == 200:
            passed.append(target.address)
        return status

    def spend() -> bool:
        for target in targets:
            ask(target)
        return set(passed) == {target.address for target in targets} and len(passed) >= ALLOWED * 0.9

    # What lies unspent on one of them is small (docs/traffic.md), beyond the rate there is nothing.
    namespace.eventually(spend, 120)
    for _ in range(ALLOWED):
        spend()
    assert len(passed) <= ALLOWED
    for target in targets:
        namespace.eventually(partial(is_refused, namespace, target), 120)


def sends_spans(release: Release, pod: dict[str, Any]) -> bool:
    return release.metric_of(pod, "zeroserve_agent_spans_exported_total") > 0


def test_every_node_sends_spans_to_the_collector(namespace: Client, installed: Release, site: Target) -> None:
    for pod in installed.pods("dataplane"):
        direct = Target(pod["status"]["podIP"], site.host, site.authority, 8443)
        assert fetch(namespace, direct).json()["headers"]["Traceparent"]
        namespace.eventually(partial(sends_spans, installed, pod), 120)


def test_monitors_select_the_metrics_services(installed: Release) -> None:
    monitors = installed.client.items("servicemonitors")
    assert len(monitors) == 2
    for monitor in monitors:
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        labels = monitor["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        (service,) = installed.client.items("services", "-l", selector)
        assert "metrics" in {port["name"] for port in service["spec"]["ports"]}


def test_a_restart_of_the_deployment_fails_no_request(
    namespace: Client, installed: Release, site: Target
) -> None:
    with load(namespace, site) as report:
        installed.client.kubectl("rollout", "restart", "deployment/varied-dataplane")
        installed.rolled_out()
        report.wait_for(200)
    assert report.failures == []


def test_a_value_of_the_wrong_kind_is_refused_before_anything_changes(installed: Release) -> None:
    def revision() -> int:
        return int(yaml.safe_load(installed.client.helm("status", installed.name, "-o", "yaml"))["version"])

    before = revision()
    with pytest.raises(CommandError, match="/dataplane/kind"):
        installed.client.helm(
            "upgrade", installed.name, str(CHART), "--reuse-values", "--set", "dataplane.kind=StatefulSet"
        )
    assert revision() == before
