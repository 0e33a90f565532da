"""Claiming: which objects are ours to serve.

In: IngressClasses, the class that an object names, settings. Out: the claimed objects. Follows KEP-1453 and
ingress-nginx (store.go, GetIngressClass): the annotation `kubernetes.io/ingress.class` goes before
`spec.ingressClassName`; an object without either is ours when our class is the default one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from zeroserve_operator.resources.ingresses import CLASS_ANNOTATION, Ingress, IngressClass
from zeroserve_operator.resources.routes import ZeroserveRoute
from zeroserve_operator.settings import BuildSettings


@dataclass(frozen=True, slots=True)
class Claims:
    """The class names that are ours, and whether objects without a class are."""

    names: frozenset[str]
    without_class: bool
    everything: bool

    def claims_ingress(self, ingress: Ingress) -> bool:
        """Tell whether an Ingress is ours."""
        if self.everything:
            return True
        legacy = next((text for key, text in ingress.meta.annotations if key == CLASS_ANNOTATION), "")
        return self._claims(legacy or ingress.class_name)

    def claims_route(self, route: ZeroserveRoute) -> bool:
        """Tell whether a ZeroserveRoute is ours: its kind is, so one without a class always is."""
        return self.everything or route.class_name is None or route.class_name in self.names

    def _claims(self, name: str | None) -> bool:
        return name in self.names if name else self.without_class


def find_claims(classes: Iterable[IngressClass], settings: BuildSettings) -> Claims:
    """Return what is ours; with `settings.classes`, only classes of these names are."""
    ours = [item for item in classes if item.controller == settings.controller]
    if settings.classes:
        ours = [item for item in ours if item.meta.key.name in settings.classes]
    # The annotation may name a class for which there is no IngressClass object.
    names = frozenset(item.meta.key.name for item in ours) | frozenset(settings.classes)
    without_class = settings.claim_without_class or any(item.is_default for item in ours)
    return Claims(names, without_class, settings.claim_all)
