"""Services that values of annotations name by their cluster names.

In: a host name, or the annotations of an object. Out: (namespace, name), or the names of Services of the
object's own namespace. Called by those who read `auth-url` and `mirror-target`, and by the store.
"""

from __future__ import annotations

import re
from typing import Final

from zeroserve_operator.annotations.names import PREFIX
from zeroserve_operator.resources.objects import LABEL_PATTERN, Meta

NAMING: Final = (f"{PREFIX}auth-url", f"{PREFIX}mirror-target")
_HOST: Final = re.compile(r"https?://([^:/?$]+)")
_SERVICE: Final = re.compile(r"([^.]+)\.([^.]+)\.svc(?:\.cluster\.local\.?)?")


def read_service_name(host: str) -> tuple[str, str] | None:
    """Return namespace and name of `NAME.NAMESPACE.svc` or `NAME.NAMESPACE.svc.cluster.local`."""
    found = _SERVICE.fullmatch(host.lower())
    if found and all(LABEL_PATTERN.fullmatch(label) for label in found.groups()):
        return found[2], found[1]
    return None


def find_services_named(meta: Meta) -> set[str]:
    """Return the Services of the own namespace that annotations name."""
    texts = (text.strip() for key, text in meta.annotations if key in NAMING)
    hosts = (found[1] for text in texts if (found := _HOST.match(text)))
    named = (read_service_name(host) for host in hosts)
    return {item[1] for item in named if item and item[0] == meta.key.namespace}
