"""Loggers of a Caddyfile for a node: where lines go, how they are written, and which requests are logged.

In: the configuration, its servers, the listeners' names. Out: `Logger` and `ServerLogs` messages of the
Settings. Called by `drafting_sites`. Rule: what is drafted is what `adapt` prints (`adapting_logs`), so what
is logged is what was compared with Caddy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.adapting_logs import list_loggers, server_logs
from zeroserve_ir.caddyfile.listening import Server, pair_sites
from zeroserve_ir.program.fitting import I64_MAX, fit
from zeroserve_ir.tree_carried import Json
from zeroserve_ir.tree_logging import DEFAULT_LOGGER

_LEVELS = {"debug": -1, "info": 0, "warn": 1, "warning": 1, "error": 2, "panic": 4, "fatal": 5}
_OUTPUTS = {"stdout": pb.LOG_STDOUT, "stderr": pb.LOG_STDERR, "discard": pb.LOG_DISCARD}
_FORMATS = {
    "json": pb.LOG_JSON,
    "console": pb.LOG_CONSOLE,
    "filter": pb.LOG_FILTER,
    "append": pb.LOG_APPEND,
    "journald": pb.LOG_JOURNALD,
}
_FILTERS = {
    "delete": pb.LOG_DELETE,
    "hash": pb.LOG_HASH,
    "replace": pb.LOG_REPLACE,
    "rename": pb.LOG_RENAME,
    "ip_mask": pb.LOG_IP_MASK,
    "query": pb.LOG_QUERY,
    "cookie": pb.LOG_COOKIE,
    "set_cookie": pb.LOG_SET_COOKIE,
    "regexp": pb.LOG_REGEXP,
    "multi_regexp": pb.LOG_REGEXP,
}
_TEXTS = ("message_key", "level_key", "time_key", "name_key", "line_ending")
_NAMES = ("time_format", "duration_format", "level_format")


def add_loggers(
    settings: pb.Settings, configuration: tree.Configuration, listener_names: Mapping[str, str]
) -> None:
    """Add all loggers, which tell of errors whoever logs requests, and what each server logs.

    `listener_names` are the listeners' by network address.
    """
    servers = pair_sites(configuration.sites)
    for server in servers:
        logs = _logs_of(server, configuration)
        names = [listener_names[one] for one in server.listen if one in listener_names]
        if logs is not None and names:
            settings.server_logs.append(_build_server(logs, names))
    own: Json | None = configuration.options.others.value().get("logging")
    loggers: Json = {DEFAULT_LOGGER: {}} | (list_loggers(configuration, servers) if own is None else own)
    settings.loggers.extend(_build_logger(name, loggers[name]) for name in loggers)


def _logs_of(server: Server, configuration: tree.Configuration) -> Json | None:
    """Return `logs` of Caddy's server, with what the option `servers` adds."""
    sites = configuration.sites
    logs = server_logs(server, sites)
    if logs is None and any(sites[served.index].access_log for served in server.sites):
        logs = {}
    for one in configuration.options.others.value().get("servers", ()):
        if not one["listener"] or one["listener"] in server.listen:
            more: Json | None = one.get("logs") or one["server"].get("logs")
            return logs if more is None else (logs or {}) | more
    return logs


def _build_server(logs: Json, listeners: Iterable[str]) -> pb.ServerLogs:
    hosts: Json = logs.get("logger_names", {})
    return pb.ServerLogs(
        listeners=listeners,
        default_name=logs.get("default_logger_name", ""),
        hosts=[
            pb.HostLoggers(host=host, names=[names] if isinstance(names, str) else names)
            for host, names in sorted(hosts.items())
        ],
        skipped_hosts=logs.get("skip_hosts", ()),
        skips_unmapped=logs.get("skip_unmapped_hosts", False),
        with_credentials=logs.get("should_log_credentials", False),
    )


def _build_logger(name: str, settings: Json) -> pb.Logger:
    logger = pb.Logger(
        name=name,
        include=settings.get("include", ()),
        exclude=settings.get("exclude", ()),
        level_min=_LEVELS.get(str(settings.get("level", "")).lower(), 0),
        encoder=build_encoder(settings.get("encoder", {})),
    )
    if (sampling := settings.get("sampling")) is not None:
        logger.sampling.CopyFrom(
            pb.LogSampling(
                interval_ns=fit(sampling.get("interval", 0), I64_MAX),
                first=fit(sampling.get("first", 0)),
                thereafter=fit(sampling.get("thereafter", 0)),
            )
        )
    writer: Json = settings.get("writer", {})
    output = writer.get("output", "stderr")
    logger.output = _OUTPUTS.get(output, pb.LOG_AGENT)
    if logger.output == pb.LOG_AGENT:
        logger.sink = sink_name(writer)
        logger.writer = json.dumps(writer, sort_keys=True)
    return logger


def sink_name(writer: Json) -> str:
    """Return what tells sinks apart: loggers with the same file or address share one (Caddy: WriterKey)."""
    if writer["output"] == "file":
        return f"file:{writer.get('filename', '')}"
    return str(writer.get("address", ""))


def build_encoder(encoder: Json) -> pb.LogEncoder:
    """Return Caddy's encoder as a message; journald leaves out the time of console lines."""
    built = pb.LogEncoder(format=_FORMATS.get(encoder.get("format", "json"), pb.LOG_JSON))
    for name in (*_TEXTS, *_NAMES):
        if name in encoder:
            setattr(built, name, encoder[name])
    built.time_local = encoder.get("time_local", False)
    if "wrap" in encoder:
        built.wrapped.CopyFrom(build_encoder(encoder["wrap"]))
    fields: Json = encoder.get("fields", {})
    if built.format == pb.LOG_FILTER:
        built.filters.extend(_build_filter(name, filters) for name, filters in fields.items())
    if built.format == pb.LOG_APPEND:
        built.constants.extend(_build_constant(key, value) for key, value in fields.items())
    if built.format == pb.LOG_JOURNALD:
        _leave_out_time(built)
    return built


def _leave_out_time(encoder: pb.LogEncoder) -> None:
    if encoder.format == pb.LOG_CONSOLE:
        encoder.time_key = ""
    elif encoder.HasField("wrapped"):
        _leave_out_time(encoder.wrapped)


def _build_filter(field: str, filters: Json) -> pb.LogFilter:
    built = pb.LogFilter(
        field=field,
        kind=_FILTERS[filters["filter"]],
        value=filters.get("value", "") if filters["filter"] == "replace" else filters.get("name", ""),
        ipv4_bits=fit(filters.get("ipv4_cidr", 0)),
        ipv6_bits=fit(filters.get("ipv6_cidr", 0)),
    )
    for action in filters.get("actions") or ():
        name = action.get("parameter", action.get("name", ""))
        built.actions.add(kind=_FILTERS[action["type"]], name=name, value=action.get("value", ""))
    if built.kind == pb.LOG_REGEXP:
        for one in filters.get("operations", (filters,)):
            built.replacements.add(pattern=one.get("regexp", ""), value=one.get("value", ""))
    return built


def _build_constant(key: str, value: object) -> pb.LogConstant:
    match value:
        case bool():
            return pb.LogConstant(key=key, boolean=value)
        case int():
            return pb.LogConstant(key=key, integer=value)
        case float():
            return pb.LogConstant(key=key, double=value)
        case _:
            return pb.LogConstant(key=key, text=str(value))
