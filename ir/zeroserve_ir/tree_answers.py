"""Parts of the route tree about answers: what looks at them, and what copies or replaces them.

In the shape of Caddy's JSON (reverseproxy, intercept, responsematchers.go). `tree` re-exports all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zeroserve_ir.tree import Route


@dataclass(frozen=True, slots=True)
class ResponseMatch:
    """Caddy's ResponseMatcher: a status of the list (one digit: its class), and every field."""

    statuses: tuple[int, ...] = ()
    fields: tuple[tuple[str, tuple[str, ...] | None], ...] = ()
    """By field, values with `*` at either end; None asks that the field is absent."""


@dataclass(frozen=True, slots=True)
class ResponseHandler:
    """`handle_response` and `replace_status`: the first that fits an answer handles it."""

    match: ResponseMatch | None = None
    status: str = ""
    """The answer goes on with this status, which may be a placeholder, and `routes` do not run."""
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class Intercept:
    """`intercept`: response handlers around whatever answers after it."""

    handlers: tuple[ResponseHandler, ...]


@dataclass(frozen=True, slots=True)
class CopyResponse:
    """`copy_response`: the upstream's answer, with another status where one is given."""

    status: str = ""


@dataclass(frozen=True, slots=True)
class CopyResponseHeaders:
    """`copy_response_headers`: fields of the upstream's answer: those included (none: all), not excluded."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MatchErrorStatus:
    """`handle_errors 404 5xx`: the error's status is one of these, as written (Caddy: an expression)."""

    statuses: tuple[str, ...]
