"""Which parts of a configuration mention the request's body: a program reads it before it comes to them.

In: matchers and handlers of the tree. Out: yes or no. Called by lowering. Rule: routes in a handler are
lowered by themselves, so they are not looked into.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache

from zeroserve_ir.tree import Route

BODY_PLACEHOLDER = "{http.request.body"


def mentions_body(part: object) -> bool:
    """Whether a text of a matcher, a handler or a list of such has a placeholder of the body."""
    if isinstance(part, str):
        return BODY_PLACEHOLDER in part
    if isinstance(part, tuple):
        return any(map(mentions_body, part))
    kind: type = type(part)
    for name, default in _fields_of(kind):
        value = getattr(part, name)
        if value is not default and mentions_body(value):
            return True
    return False


@cache
def _fields_of(kind: type) -> tuple[tuple[str, object], ...]:
    """Return (name, default) of each field: a default mentions nothing, and most fields have theirs."""
    if not is_dataclass(kind) or issubclass(kind, Route):
        return ()
    return tuple((one.name, one.default) for one in fields(kind))
