"""Types of the tree about what is known of a request: expressions, maps, log fields, traces, rates.

Re-exported by `tree`; they follow the shape of Caddy's JSON (`rate_limit`: ours alone).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from zeroserve_ir.tree_upstreams import Upstream


@dataclass(frozen=True, slots=True)
class MatchVarsRegexp:
    """`vars_regexp`: RE2 pattern on a variable, or on the placeholder that `subject` is."""

    subject: str
    pattern: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class MatchExpression:
    """`expression`: CEL; `name` is that of the regular expressions in it which have none."""

    expression: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Mapping:
    """A line of `map`: `input` is text, or an RE2 pattern; an output of None leaves its destination alone."""

    input: str
    outputs: tuple[str | None, ...]
    regexp: bool = False
    literals: tuple[int, ...] = ()
    """Positions of outputs that are numbers or booleans in Caddy's JSON; the same text at run time."""


@dataclass(frozen=True, slots=True)
class MapValues:
    """`map`: destinations become placeholders, evaluated where they are used (Caddy: map.go)."""

    source: str
    destinations: tuple[str, ...]
    """With their braces."""
    mappings: tuple[Mapping, ...]
    defaults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AppendLog:
    """`log_append`: a field of the access log line; `early` takes the value at once, not at the end."""

    key: str
    value: str
    early: bool = False


@dataclass(frozen=True, slots=True)
class NameLoggers:
    """`log_name`: the access loggers that this request goes to instead of the site's."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RateZone:
    """A zone of `rate_limit`: so many events in a window for each key, of which `burst` may come at once."""

    name: str
    key: str
    events: int
    window_ms: int
    burst: int = 0
    """0 is `events`."""
    shared: bool = False
    """All nodes together let so many through, by the store of `rate_limit_store`."""


class StoreDown(Enum):
    """What holds for shared zones while their store is away."""

    LOCAL = "local"
    """Each node counts its part of the rate."""
    OPEN = "open"
    CLOSED = "closed"
    """503."""


@dataclass(frozen=True, slots=True)
class LimitRate:
    """`rate_limit` (ours): 429 with Retry-After past the rate of any zone; JSON as caddy-ratelimit has it."""

    zones: tuple[RateZone, ...]
    store_down: StoreDown = StoreDown.LOCAL


@dataclass(frozen=True, slots=True)
class CallPlugin:
    """`zeroserve_call` (ours): calls a plugin's function, which may change the request or answer it."""

    plugin: str
    """Name of the Plugin resource; in a cluster `namespace/name` once its object was found."""
    function: str
    config: str = "{}"
    """JSON object, compact; placeholders in its strings are expanded per request."""
    upstreams: tuple[tuple[str, Upstream], ...] = ()
    """Where the function may send the request, by its names for them; filled in by what grants them."""


@dataclass(frozen=True, slots=True)
class AttachPlugin:
    """`zeroserve_plugin` (ours): a plugin's request hooks run here, its response hooks on what answers."""

    plugin: str
    config: str = "{}"
    """As that of `CallPlugin`, for each hook."""


@dataclass(frozen=True, slots=True)
class Trace:
    """`tracing`: the W3C trace context is taken on, passed up and shown as `{http.vars.trace_id}`."""

    span: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
