"""Loggers of a configuration: `log` of a site and of the global options.

In: the readers of `log`. Out: the adapter to Caddy's JSON (`logging.logs`, servers' `logs`); whoever writes
the lines. `settings` has the shape of Caddy's CustomLog: `writer` (`output`, file and roll options),
`encoder` (`format`, fields and filters), `level`, `sampling`, `core`, `include`, `exclude`;
durations in nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from zeroserve_ir.tree_carried import NOTHING_CARRIED, Carried

DEFAULT_LOGGER = "default"


@dataclass(frozen=True, slots=True)
class Logger:
    """One logger; a site's logger takes the access log of the site's hosts.

    `name` is "" for a site's `log` that says nothing of its own: its lines go to the default logger.
    """

    name: str = ""
    settings: Carried = NOTHING_CARRIED
    hostnames: tuple[str, ...] = ()
    """Hosts that are logged here instead of the site's own."""
    no_hostname: bool = False
    """Whether lines come here by `log_name` only."""
