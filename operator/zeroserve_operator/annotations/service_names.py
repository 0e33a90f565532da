"""Services that values of annotations name by their cluster names.

In: a host name and a port, or the annotations of an object. Out: the Service, or the names of Services of the
object's own namespace. Called by those who read `auth-url` and `mirror-target`, and by the store.
"""

from __future__ import annotations

import re
from typing import Final

from zeroserve_ir.tree import ServiceReference

from zeroserve_operator.annotations.names import PREFIX
from zeroserve_operator.resources.objects import LABEL_PATTERN, Meta

NAMING: Final = (f"{PREFIX}auth-url", f"{PREFIX}mirror-target")
_BARE: Final = f"{PREFIX}default-backend"
_HOST: Final = re.compile(r"https?://([^:/?$]+)")
_SERVICE: Final = re.compile(r"([^.]+)\.([^.]+)\.svc(?:\.cluster\.local\.?)?")


def read_service_name(host: str, port: str) -> ServiceReference | None:
    """Return the Service of `NAME.NAMESPACE.svc` or `NAME.NAMESPACE.svc.cluster.local`; `port` is digits."""
    found = _SERVICE.fullmatch(host.lower())
    if found and all(LABEL_PATTERN.fullmatch(label) for label in found.groups()):
        return ServiceReference(found[2], found[1], str(int(port)))
    return None


def is_port(port: str) -> bool:
    """Tell whether digits are the number of a port."""
    return 0 < int(port) < 65536


def find_services_named(meta: Meta) -> set[str]:
    """Return the Services of the own namespace that annotations name."""
    texts = (text.strip() for key, text in meta.annotations if key in NAMING)
    hosts = (found[1] for text in texts if (found := _HOST.match(text)))
    named = (read_service_name(host, "0") for host in hosts)
    bare = {text.strip() for key, text in meta.annotations if key == _BARE}
    return bare | {item.name for item in named if item and item.namespace == meta.key.namespace}
