"""Zones of `rate_limit` belong to host and namespace, kept answers to a namespace: tenants share neither."""

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
    cache 1m
    respond ok
---
"""


ROUTES = [("red", "red.example"), ("blue", "blue.example"), ("blue", "other.example")]


def build_tables(folder):
    (folder / "routes.yaml").write_text(
        "".join(ROUTE % (namespace, host, host) for namespace, host in ROUTES)
    )
    loaded = Pipeline(DEV_SETTINGS).load_directory(folder)
    assert not loaded.diagnostics
    resources = loaded.draft.resources.items()
    return [pb.Tables.FromString(one.payload) for (kind, _), one in resources if kind == pb.TABLES]


def test_equal_zones_of_two_tenants_have_two_names(tmp_path):
    zones = {(zone.name, zone.shared) for one in build_tables(tmp_path) for zone in one.rate_limits}
    assert zones == {(f"{namespace}/{host} clients", True) for namespace, host in ROUTES}


def test_zones_fill_the_buckets_of_their_namespace(tmp_path):
    tenants = sorted(row.tenant for one in build_tables(tmp_path) for row in one.rate_limits)
    assert tenants == ["blue", "blue", "red"]


def test_kept_answers_fill_the_part_of_their_namespace(tmp_path):
    tenants = sorted(row.tenant for one in build_tables(tmp_path) for row in one.caches)
    assert tenants == ["blue", "blue", "red"]
