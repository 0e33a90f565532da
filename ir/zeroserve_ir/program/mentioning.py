"""Which parts of a configuration mention the request's body: a program reads it before it comes to them.

In: matchers and handlers of the tree. Out: yes or no. Called by lowering. Rule: routes in a handler are
lowered by themselves, so they are not looked into.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass

from zeroserve_ir.tree import Route

BODY_PLACEHOLDER = "{http.request.body"


def mentions_body(part: object) -> bool:
    """Whether a text of a matcher, a handler or a list of such has a placeholder of the body."""
    if isinstance(part, str):
        return BODY_PLACEHOLDER in part
    if isinstance(part, tuple):
        return any(mentions_body(one) for one in part)
    if is_dataclass(part) and not isinstance(part, Route):
        return any(mentions_body(getattr(part, one.name)) for one in fields(part))
    return False
