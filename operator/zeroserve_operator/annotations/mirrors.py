"""Mirrors: a Service that gets copies of requests (`mirror-*`).

In: the annotations of an Ingress. Out: the Service, or none. Only one of the own namespace gets copies.
Source: ingress-nginx, annotations/mirror/main.go.
"""

from __future__ import annotations

import re
from typing import Final

from zeroserve_ir.codes import Code
from zeroserve_ir.tree import ServiceReference

from zeroserve_operator.annotations.service_names import is_port, read_service_name
from zeroserve_operator.annotations.values import Annotations
from zeroserve_operator.resources.objects import Meta

_TARGET: Final = re.compile(r"http://([A-Za-z0-9.-]+)(?::(\d{1,5}))?/?(?:\$request_uri)?")


def read_mirror(annotations: Annotations, meta: Meta) -> ServiceReference | None:
    """Read `mirror-target`; what is not honoured gets no copies."""
    text = annotations.text("mirror-target")
    if not text:
        return None
    if annotations.text("mirror-request-body") not in ("", "on"):
        annotations.warn("mirror-request-body", "is not honoured: copies have the body", Code.ZS0401)
    if annotations.text("mirror-host") not in ("", "$host", "$http_host"):
        annotations.warn("mirror-host", "is not honoured: copies have the client's Host", Code.ZS0401)
    found = _TARGET.fullmatch(text)
    service = read_service_name(found[1], found[2] or "80") if found else None
    cure = "write http://NAME.NAMESPACE.svc.cluster.local:PORT$request_uri"
    if service is None or not is_port(service.port):
        annotations.warn("mirror-target", "is no address of a Service; it has no effect", Code.ZS0403, cure)
        return None
    if service.namespace != meta.key.namespace:
        message = f"names a Service of namespace {service.namespace}; it has no effect"
        annotations.warn("mirror-target", message, Code.ZS0308, cure)
        return None
    return service
