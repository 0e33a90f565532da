"""Error pages: a Service that answers in place of errors (`default-backend`, `custom-http-errors`).

In: the annotations of an Ingress. Out: `ErrorPages`, or none. Sources: ingress-nginx,
annotations/customhttperrors/main.go, annotations/defaultbackend/main.go; docs/user-guide/custom-errors.md.
"""

from __future__ import annotations

import re
from typing import Final

from zeroserve_ir.codes import Code
from zeroserve_ir.model import ErrorPages
from zeroserve_ir.tree import ServiceReference
from zeroserve_ir.tree_upstreams import FIRST_PORT

from zeroserve_operator.annotations.names import PREFIX
from zeroserve_operator.annotations.values import Annotations
from zeroserve_operator.resources.objects import LABEL_PATTERN, Meta

_STATUS: Final = re.compile(r"[45][0-9]{2}")


def read_error_pages(annotations: Annotations, meta: Meta) -> ErrorPages | None:
    """Read both annotations; without a Service, errors are answered as ever."""
    statuses = _read_statuses(annotations)
    intercepts = not annotations.flag("disable-proxy-intercept-errors", False)
    service = annotations.matching("default-backend", LABEL_PATTERN, "")
    if not service:
        if statuses and not annotations.has("default-backend"):
            message = "needs default-backend: errors are answered as without it"
            cure = f"add {PREFIX}default-backend with the name of a Service of namespace {meta.key.namespace}"
            annotations.warn("custom-http-errors", message, Code.ZS0404, cure)
        return None
    return ErrorPages(
        ServiceReference(meta.key.namespace, service, FIRST_PORT),
        statuses=statuses,
        intercepts=intercepts,
        owner=meta.key.name,
    )


def _read_statuses(annotations: Annotations) -> tuple[int, ...]:
    found = [item.strip() for item in annotations.text("custom-http-errors").split(",")]
    wrong = next((item for item in found if item and not _STATUS.fullmatch(item)), None)
    if wrong is not None:
        message = f"holds `{wrong}`, no status from 400 to 599; it has no effect"
        annotations.warn(
            "custom-http-errors", message, help_text="write statuses with commas, such as 404,503"
        )
        return ()
    return tuple(sorted({int(item) for item in found if item}))
