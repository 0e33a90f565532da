"""Which snippets of an Ingress are honoured, said again apart from the implementation, for real manifests."""

import re

SNIPPETS = ("configuration-snippet", "server-snippet")
_HEADERS = re.compile(
    r"(?:\s*(?:(?:add_header|proxy_set_header|more_set_headers) [^;'\"]*(?:\"[^\"]*\")?[^;'\"]*;|#.*\n))*\s*"
)
_UNKNOWN = ("$req_id",)


def sets_headers(name, text):
    """Say whether a snippet, whose annotation has a name, only sets header fields, to what is known here."""
    if name not in SNIPPETS or (name == "server-snippet" and "proxy_set_header " in text):
        return False
    return _HEADERS.fullmatch(text) is not None and not any(one in text for one in _UNKNOWN)
