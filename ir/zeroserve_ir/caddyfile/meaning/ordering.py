"""From directives in the order of the text to routes in the order of Caddy's table.

In: the routes that directives made, each with its directive's name. Out: the routes of a block, sorted,
grouped where directives exclude each other, and with neighbours of equal matchers merged. Called for
each block (Caddy: httpcaddyfile/directives.go sortRoutes, httptype.go buildSubroute).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from zeroserve_ir.tree import MatchPath, Route


@dataclass(frozen=True, slots=True)
class Placed:
    """A route with the directive that made it."""

    directive: str
    route: Route
    together: bool = False
    """One of several routes of a directive, which sorting leaves as they are."""


DIRECTIVE_ORDER = (
    "tracing", "zeroserve_plugin", "map", "vars", "fs", "root", "log_append", "skip_log", "log_skip",
    "log_name", "header", "copy_response_headers", "request_body", "timeouts", "redir", "method",
    "rewrite", "uri", "try_files", "rate_limit", "concurrency", "fault", "basicauth", "basic_auth",
    "forward_auth", "request_header", "zeroserve_call", "encode", "bandwidth", "cache", "push", "intercept",
    "templates", "invoke", "handle", "handle_path", "route", "abort", "error", "copy_response", "respond",
    "metrics", "reverse_proxy", "php_fastcgi", "file_server", "acme_server",
)  # fmt: skip
"""Caddy's defaultDirectiveOrder, with ours: traffic policies and `zeroserve_*`; `order` changes a copy."""

EXCLUSIVE = ("handle", "rewrite", "root")
"""Directives of which the first that applies runs alone; groups are numbered in this order."""

_LAST_COUNTS = ("vars", "bandwidth", "cache")


def sort_routes(placed: list[Placed], order: list[str]) -> list[Placed]:
    """Sort by directive, then most specific path first (where the last one counts: last, so that it wins)."""
    if len(placed) < 2:
        return placed
    positions = {name: index for index, name in enumerate(order)}

    def less(one: Placed, other: Placed) -> bool:
        if one.directive != other.directive:
            return positions.get(one.directive, 0) < positions.get(other.directive, 0)
        if one.together or other.together:
            return False
        earlier = _more_specific(one.route, other.route)
        return not earlier if one.directive in _LAST_COUNTS else earlier

    return stable_sort(placed, less)


def _more_specific(one: Route, other: Route) -> bool:
    path, other_path = _single_path(one), _single_path(other)
    if path and other_path:
        trimmed, other_trimmed = path.removesuffix("*"), other_path.removesuffix("*")
        if trimmed == other_trimmed:
            return len(path) < len(other_path)
        if len(trimmed.encode()) == len(other_trimmed.encode()):
            return trimmed.encode() < other_trimmed.encode()
        return len(trimmed.encode()) > len(other_trimmed.encode())
    return bool(one.matchers) and not other.matchers


def _single_path(route: Route) -> str:
    if len(route.matchers) != 1:
        return ""
    paths = [matcher for matcher in route.matchers[0] if isinstance(matcher, MatchPath)]
    return paths[0].patterns[0] if paths and len(paths[0].patterns) == 1 else ""


_Item = TypeVar("_Item")
_BLOCK = 20


def stable_sort(items: Iterable[_Item], less: Callable[[_Item, _Item], bool]) -> list[_Item]:
    """Sort as Go's sort.SliceStable does: Caddy's comparisons are no strict order, so the method shows."""
    data = list(items)

    def insertion(start: int, end: int) -> None:
        for index in range(start + 1, end):
            at = index
            while at > start and less(data[at], data[at - 1]):
                data[at - 1], data[at] = data[at], data[at - 1]
                at -= 1

    for start in range(0, len(data), _BLOCK):
        insertion(start, min(start + _BLOCK, len(data)))
    width = _BLOCK
    while width < len(data):
        for start in range(0, len(data) - width, 2 * width):
            _merge(data, less, start, start + width, min(start + 2 * width, len(data)))
        width *= 2
    return data


def _merge(
    data: list[_Item], less: Callable[[_Item, _Item], bool], start: int, middle: int, end: int
) -> None:
    """Merge two sorted runs in place by symmetric comparisons (Go: sort.symMerge; Kim and Kutzner 2004)."""
    if middle - start == 1:
        first = data[start]
        at = _first_where(middle, end, lambda index: not less(data[index], first))
        data[start:at] = [*data[middle:at], first]
        return
    if end - middle == 1:
        last = data[middle]
        at = _first_where(start, middle, lambda index: less(last, data[index]))
        data[at:end] = [last, *data[at:middle]]
        return
    half = (start + end) // 2
    whole = half + middle
    low, high = (whole - end, half) if middle > half else (start, middle)
    left = _first_where(low, high, lambda index: less(data[whole - 1 - index], data[index]))
    right = whole - left
    data[left:right] = [*data[middle:right], *data[left:middle]]
    if start < left < half:
        _merge(data, less, start, left, half)
    if half < right < end:
        _merge(data, less, half, right, end)


def _first_where(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """Return the first index of [low, high) from which on `holds` is true, or `high` (binary search)."""
    while low < high:
        index = (low + high) // 2
        low, high = (low, index) if holds(index) else (index + 1, high)
    return low


def group_routes(placed: list[Placed], next_group: Callable[[], str]) -> tuple[Route, ...]:
    """Give exclusive directives their group and merge neighbours.

    A single `rewrite` has a group too: what follows must not be merged with it, since the request that
    it leaves may match otherwise.
    """
    directives = [one.directive for one in placed]
    groups: dict[str, str] = {}
    for directive in EXCLUSIVE:
        # That of `rewrite` is counted in every block, there or not.
        if directive == "rewrite" or directives.count(directive) > 1:
            groups[directive] = next_group()
    return merge_routes(_in_group(one.route, groups.get(one.directive)) for one in placed)


def _in_group(route: Route, group: str | None) -> Route:
    if group is None:
        return route
    return Route(route.handlers, route.matchers, group, route.terminal, route.span)


def merge_routes(routes: Iterable[Route]) -> tuple[Route, ...]:
    """Join neighbours of equal matchers, group and finality into one route."""
    merged: list[Route] = []
    for route in routes:
        if merged:
            last = merged[-1]
            if (last.matchers, last.terminal, last.group) == (route.matchers, route.terminal, route.group):
                merged[-1] = replace(last, handlers=last.handlers + route.handlers)
                continue
        merged.append(route)
    return tuple(merged)
