"""Loggers in Caddy's JSON: all of them by name, and which hosts of a server log where.

In: the configuration and its servers. Out: `logging.logs`, and a server's `logs` (httpcaddyfile/httptype.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zeroserve_ir.caddyfile.listening import ServedSite, Server
from zeroserve_ir.tree import Configuration, Site, SiteAddress
from zeroserve_ir.tree_carried import Json
from zeroserve_ir.tree_logging import DEFAULT_LOGGER, Logger


def list_loggers(configuration: Configuration, servers: Sequence[Server]) -> Json:
    """Return every logger that has settings; lines that go elsewhere are left out of the default one."""
    options = configuration.options
    loggers = list(options.loggers)
    debug = {"level": "DEBUG"} if options.debug else {}
    for server in servers:
        for served in server.sites:
            loggers += configuration.sites[served.index].loggers
    found: Json = {}
    if options.debug and all(logger.name != DEFAULT_LOGGER for logger in options.loggers):
        found[DEFAULT_LOGGER] = dict(debug)
    for logger in sorted(loggers, key=lambda one: one.name != DEFAULT_LOGGER):
        settings = logger.settings.value()
        if not logger.name or not settings:
            continue
        if logger.name == DEFAULT_LOGGER and logger.name in found and not options.debug:
            continue
        found[logger.name] = debug | settings
        if logger.name != DEFAULT_LOGGER and settings.get("include"):
            default = found.setdefault(DEFAULT_LOGGER, {})
            default["exclude"] = sorted({*default.get("exclude", ()), *settings["include"]})
    return found


def server_logs(server: Server, sites: Sequence[Site]) -> Json | None:
    """Return how a server's hosts are logged; None where no site of it has a log."""
    if not any(sites[served.index].loggers for served in server.sites):
        return None
    logs: Json = {}
    skipped: list[str] = []
    for served in server.sites:
        loggers = sites[served.index].loggers
        for logger in loggers:
            _associate(logger, served, logs)
        if not loggers:
            if not served.hosts:
                logs["skip_unmapped_hosts"] = True
            skipped += _log_hosts(served.addresses)
    if skipped:
        logs["skip_hosts"] = sorted(skipped)
    return logs


def _associate(logger: Logger, served: ServedSite, logs: Json) -> None:
    if logger.no_hostname:
        return
    if logger.hostnames:
        names: Iterable[str] = logger.hostnames
    elif not served.hosts:
        if logger.name:
            logs["default_logger_name"] = logger.name
        return
    else:
        names = sorted({address.host for address in served.addresses} - {""})
    for name in names:
        logs.setdefault("logger_names", {}).setdefault(name, []).append(logger.name)


def _log_hosts(addresses: Iterable[SiteAddress]) -> list[str]:
    return sorted({_log_host(address) for address in addresses if address.host})


def _log_host(address: SiteAddress) -> str:
    return address.host if address.port in (80, 443) else f"{address.host}:{address.port}"
