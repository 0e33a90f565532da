"""nginx's variables in values: to texts of the tree, which hold placeholders.

In: text as an annotation has it, and what is known of its route. Out: text with placeholders, everything else
escaped. Called by those who read values that nginx expands (ngx_http_core_module, "Embedded Variables").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_VARIABLE: Final = re.compile(r"\$(?:is_args\$args|([A-Za-z_][A-Za-z0-9_]*))")
_NAMES: Final = {
    "host": "http.request.host",
    "http_host": "http.request.hostport",
    "best_http_host": "http.request.hostport",
    "request_uri": "http.request.orig_uri",
    "escaped_request_uri": "http.request.uri_escaped",
    "uri": "http.request.uri.path",
    "document_uri": "http.request.uri.path",
    "args": "http.request.uri.query",
    "query_string": "http.request.uri.query",
    "scheme": "http.request.scheme",
    "pass_access_scheme": "http.request.scheme",
    "remote_addr": "http.vars.client_ip",
    "request_method": "http.request.method",
}
_FAMILIES: Final = {
    "http_": "http.request.header.",
    "cookie_": "http.request.cookie.",
    "arg_": "http.request.uri.query.",
}


class UnknownVariableError(Exception):
    """A variable that stands for nothing here."""


def escape(text: str) -> str:
    """Return text in which nothing is a placeholder; a backslash means something before a brace alone."""
    return text.replace("{", "\\{").replace("}", "\\}")


def expand(text: str, known: Mapping[str, str] | None = None) -> str:
    """Return a text of the tree; `known` stand for plain text. Raises `UnknownVariableError`."""
    found, end = "", 0
    for match in _VARIABLE.finditer(text):
        if text[: match.start()].endswith("\\"):
            raise UnknownVariableError(f"a backslash before {match[0]}")
        found += escape(text[end : match.start()])
        found += _stand_in(match[1], known or {})
        end = match.end()
    rest = text[end:]
    if "$" in rest or "$" in found:
        raise UnknownVariableError("$")
    return found + escape(rest)


def find_placeholder(variable: str) -> str:
    """Return the placeholder of a variable, without braces; raises `UnknownVariableError`.

    nginx folds names of variables (ngx_http_get_variable_index); cookies and parameters keep theirs here.
    """
    folded = variable.lower()
    if name := _NAMES.get(folded):
        return name
    for prefix, family in _FAMILIES.items():
        if folded.startswith(prefix) and folded != prefix:
            field = folded.removeprefix(prefix).replace("_", "-")
            return family + (field if prefix == "http_" else variable[len(prefix) :])
    raise UnknownVariableError(f"${variable}")


def _stand_in(variable: str | None, known: Mapping[str, str]) -> str:
    if variable is None:
        return "{http.request.uri.prefixed_query}"
    if variable.lower() in known:
        return escape(known[variable.lower()])
    return f"{{{find_placeholder(variable)}}}"
