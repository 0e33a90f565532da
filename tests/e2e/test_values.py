"""An installation with other values than the defaults: a Deployment behind a NodePort, without extras."""

from collections.abc import Iterator

import manifests
import pytest
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
}
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


@pytest.fixture(scope="module")
def installed(cluster: Client, release: Release) -> Iterator[Release]:
    import_images(cluster)
    cluster.apply(manifests.dump(SERVICE_MONITORS))
    cluster.eventually(lambda: cluster.kubectl("get", "servicemonitors"), 20)
    found = Release(cluster.within("zeroserve-varied"), "varied", "varied", "", "deployment")
    found.install(*(word for key, value in VALUES.items() for word in ("--set", f"{key}={value}")))
    yield found
    found.client.helm("uninstall", found.name, "--wait", "--timeout=120s")
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
    namespace.eventually(lambda: fetch(namespace, found).status == 200, 15)
    return found


def test_both_pods_of_the_deployment_serve(namespace: Client, installed: Release, site: Target) -> None:
    pods = installed.client.pods("team=edge")
    assert len(pods) == 2
    for pod in pods:
        direct = Target(pod["status"]["podIP"], site.host, site.authority, 8443)
        assert fetch(namespace, direct).status == 200


def test_the_given_address_is_published(namespace: Client, site: Target) -> None:
    def published() -> bool:
        entries = namespace.get("ingress", "varied")["status"]["loadBalancer"]["ingress"]
        return bool(entries == [{"ip": "203.0.113.7"}])

    assert namespace.eventually(published, 30)


def test_nodes_log_no_request(installed: Release, site: Target) -> None:
    logs = installed.client.kubectl("logs", "-l", "team=edge", "-c", "engine", "--tail=-1")
    assert site.host not in logs


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
