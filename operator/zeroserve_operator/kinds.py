"""Where the kinds that we read live in the API.

In: a kind. Out: group, version, plural, paths, and which of its objects we watch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.resources.secrets import TLS_TYPE


@dataclass(frozen=True, slots=True)
class ApiKind:
    """One kind of the API."""

    kind: Kind
    group: str
    version: str
    plural: str
    field_selector: str = ""
    namespaced: bool = True

    def collection(self, namespace: str = "") -> str:
        """Return the path of all objects, or of those of a namespace."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        within = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{within}/{self.plural}"

    def path(self, key: ObjectKey) -> str:
        """Return the path of one object."""
        return f"{self.collection(key.namespace)}/{key.name}"


API_KINDS: Mapping[Kind, ApiKind] = {
    item.kind: item
    for item in (
        ApiKind(Kind.INGRESS_CLASS, "networking.k8s.io", "v1", "ingressclasses", namespaced=False),
        ApiKind(Kind.SERVICE, "", "v1", "services"),
        ApiKind(Kind.ENDPOINT_SLICE, "discovery.k8s.io", "v1", "endpointslices"),
        # Helm keeps its releases in Secrets of up to 1 MiB each: only TLS Secrets are watched.
        ApiKind(Kind.SECRET, "", "v1", "secrets", field_selector=f"type={TLS_TYPE}"),
        ApiKind(Kind.INGRESS, "networking.k8s.io", "v1", "ingresses"),
        ApiKind(Kind.ZEROSERVE_ROUTE, "zeroserve.dev", "v1alpha1", "zeroserveroutes"),
        ApiKind(Kind.ZEROSERVE_PLUGIN, "zeroserve.dev", "v1alpha1", "zeroserveplugins"),
        ApiKind(Kind.CACHE_PURGE, "zeroserve.dev", "v1alpha1", "zeroservecachepurges"),
    )
}
NAMED_KINDS: Mapping[Kind, ApiKind] = {
    Kind.SECRET: API_KINDS[Kind.SECRET],
    Kind.CONFIG_MAP: ApiKind(Kind.CONFIG_MAP, "", "v1", "configmaps"),
}
"""Kinds of which single objects are read, where others name them."""
