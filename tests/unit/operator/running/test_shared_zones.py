"""Zones of `rate_limit` belong to host and namespace: what other tenants count is theirs."""

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_operator.pipeline import DEV_SETTINGS, Pipeline

ROUTE = """
apiVersion: zeroserve.dev/v1alpha1
kind: ZeroserveRoute
metadata: {namespace: %s, name: %s}
spec:
  hosts: [%s]
  ingressClassName: zeroserve
  caddyfile: |
    rate_limit {
      zone clients {
        rate 5/s
        shared
      }
    }
    respond ok
---
"""


def test_equal_zones_of_two_tenants_have_two_names(tmp_path):
    routes = [("red", "red.example"), ("blue", "blue.example"), ("blue", "other.example")]
    (tmp_path / "routes.yaml").write_text(
        "".join(ROUTE % (namespace, host, host) for namespace, host in routes)
    )
    loaded = Pipeline(DEV_SETTINGS).load_directory(tmp_path)
    assert not loaded.diagnostics
    tables = [
        pb.Tables.FromString(one.payload)
        for (kind, _), one in loaded.draft.resources.items()
        if kind == pb.TABLES
    ]
    zones = {(zone.name, zone.shared) for one in tables for zone in one.rate_limits}
    assert zones == {(f"{namespace}/{host} clients", True) for namespace, host in routes}
