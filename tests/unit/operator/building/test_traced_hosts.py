"""`--trace`: the sites that hosts become where every host's requests are spans."""

import dataclasses

import pytest
from zeroserve_ir import tree
from zeroserve_operator.pipeline import DEV_SETTINGS, Pipeline
from zeroserve_operator.settings import TracedHosts, TracingSettings

INGRESS = """apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
  namespace: default
  annotations: {ANNOTATIONS}
spec:
  tls: [{hosts: [shop.test]}]
  rules:
  - host: shop.test
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}
"""


def traced_sites(tmp_path, hosts, annotations="{}"):
    """Return for each site whether it is passed through and how many of its first routes are a span."""
    (tmp_path / "ingress.yaml").write_text(INGRESS.replace("{ANNOTATIONS}", annotations))
    settings = dataclasses.replace(DEV_SETTINGS, tracing=TracingSettings(hosts))
    found = []
    for site in Pipeline(settings).load_directory(tmp_path).sites:
        spans = [route for route in site.routes if any(isinstance(one, tree.Trace) for one in route.handlers)]
        assert spans == list(site.routes[: len(spans)])
        found.append((site.passthrough, len(spans)))
    return found


@pytest.mark.parametrize(
    ("hosts", "spans"), [(TracedHosts.ALL, 1), (TracedHosts.MARKED, 0), (TracedHosts.NONE, 0)]
)
def test_every_site_begins_with_a_span_where_all_hosts_have_one(tmp_path, hosts, spans):
    assert traced_sites(tmp_path, hosts) == [(False, spans), (False, spans)]


def test_what_is_passed_through_unread_has_no_span(tmp_path):
    annotations = '{nginx.ingress.kubernetes.io/ssl-passthrough: "true"}'
    assert traced_sites(tmp_path, TracedHosts.ALL, annotations) == [(False, 1), (True, 0)]
