"""`log`, of a site and of the global options: outputs, formats, filters, sampling.

In: the directive's segment. Out: a `Logger` whose settings are Caddy's CustomLog. Syntax:
httpcaddyfile/builtins.go parseLogHelper, modules/logging.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.blocks import (
    Field,
    Module,
    only,
    plain_module,
    read_duration,
    read_fields,
    read_flag,
    read_integer,
    read_module,
    read_off,
    read_size,
    read_some_texts,
    read_text,
    read_texts,
)
from zeroserve_ir.caddyfile.meaning.matchers import check_regexp
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    integer,
    refusal,
    refuse_block,
    take_arguments,
    take_block,
    texts,
    wrong_count,
)
from zeroserve_ir.caddyfile.printer_surface import written_form
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree_carried import Carried, Json
from zeroserve_ir.tree_logging import DEFAULT_LOGGER, Logger

_SITE_ONLY = ("hostnames", "no_hostname")
_OPTION_ONLY = ("include", "exclude")
_ACCESS_LOGGER = "http.log.access."


def read_site_log(segment: Segment, reading: Reading) -> Logger:
    """`log [<name>] { … }` of a site; a logger with settings and no name is numbered."""
    name, settings, hostnames = _read(segment, reading, refused=_OPTION_ONLY)
    if not name and settings:
        name = reading.next_logger()
    if name and settings:
        settings["include"] = [_ACCESS_LOGGER + name]
    return Logger(
        name, _carry(settings, segment), tuple(hostnames.get("hostnames", ())), "no_hostname" in hostnames
    )


def read_option_log(segment: Segment, reading: Reading, loggers: tuple[Logger, ...]) -> Logger:
    """`log [<name>] { … }` of the global options; `loggers` are those before it."""
    name, settings, _ = _read(segment, reading, refused=_SITE_ONLY)
    name = name or DEFAULT_LOGGER
    if any(logger.name == name for logger in loggers):
        cure = "join the two, or name another logger"
        raise refusal(Code.ZS0105, f"logger {name} is defined twice", segment.name, cure)
    return Logger(name, _carry(settings, segment))


def _carry(settings: Json, segment: Segment) -> Carried:
    return Carried.of(settings, written_form((segment,)), segment.span)


def _read(segment: Segment, reading: Reading, refused: tuple[str, ...]) -> tuple[str, Json, Json]:
    if len(segment.arguments) > 1:
        raise wrong_count(segment, "log [NAME] { … }")
    for inner in segment.block or ():
        if inner.name.text in refused:
            where = "the global options" if refused is _OPTION_ONLY else "the log of a site"
            cure = f"move it to {where}"
            raise refusal(Code.ZS0109, f"{inner.name.text} is not for this log", inner.name, cure)
    settings = read_fields(segment.block or (), _LOG, "log", reading)
    hostnames = {name: settings.pop(name) for name in _SITE_ONLY if name in settings}
    return texts(segment.arguments)[0] if segment.arguments else "", settings, hostnames


# Outputs (caddy.logging.writers)


def _read_file(segment: Segment, reading: Reading) -> Json:
    if len(segment.arguments) != 1:
        raise wrong_count(segment, "output file PATH")
    found: Json = {"filename": segment.arguments[0].text}
    return read_fields(segment.block or (), _FILE, "file", reading, found)


def _read_net(segment: Segment, reading: Reading) -> Json:
    if len(segment.arguments) != 1:
        raise wrong_count(segment, "output net ADDRESS")
    found: Json = {"address": segment.arguments[0].text}
    fields = {
        "dial_timeout": Field("dial_timeout", read_duration),
        "soft_start": Field("soft_start", read_flag),
    }
    return read_fields(segment.block or (), fields, "net", reading, found)


def _file_mode(token: Token) -> str:
    """Return a file mode in octal (filewriter.go parseFileMode)."""
    try:
        return f"{int(token.text, 8):04o}"
    except ValueError:
        raise refusal(Code.ZS0103, f"{token.text!r} is not a mode", token, "write for example 0640") from None


def _read_mode(segment: Segment, _: Reading) -> str:
    return _file_mode(only(segment))


def _read_directory_mode(segment: Segment, _: Reading) -> str:
    token = only(segment)
    if token.text.strip().lower() not in ("inherit", "from_file"):
        _file_mode(token)
    return token.text.strip()


def _read_megabytes(segment: Segment, reading: Reading) -> int:
    return ceil(read_size(segment, reading) / 2**20)


def _read_days(segment: Segment, reading: Reading) -> int:
    if (duration := read_duration(segment, reading)) < 0:
        raise refusal(Code.ZS0103, f"{segment.name.text} is negative", only(segment), "write 0 for no end")
    return ceil(duration / (86400 * 10**9))


def _read_compression(segment: Segment, _: Reading) -> str:
    token = only(segment)
    if token.text.strip().lower() not in ("none", "gzip", "zstd"):
        cure = "write none, gzip or zstd"
        raise refusal(Code.ZS0103, f"unknown compression {token.text!r}", token, cure)
    return token.text.strip().lower()


def _split_list(segment: Segment) -> list[Token]:
    refuse_block(segment)
    if not segment.arguments:
        raise wrong_count(segment, f"{segment.name.text} VALUE …")
    parts = [token.with_text(part.strip()) for token in segment.arguments for part in token.text.split(",")]
    for part in parts:
        if not part.text:
            raise refusal(Code.ZS0103, f"empty value of {segment.name.text}", part, "remove the comma")
    return parts


def _read_minutes(segment: Segment, _: Reading) -> list[int]:
    return [integer(token) for token in _split_list(segment)]


def _read_times(segment: Segment, _: Reading) -> list[str]:
    return [token.text for token in _split_list(segment)]


_FILE = {
    "mode": Field("mode", _read_mode),
    "dir_mode": Field("dir_mode", _read_directory_mode),
    "roll_disabled": Field("roll", read_off, keep_zero=True),
    "roll_size": Field("roll_size_mb", _read_megabytes),
    "roll_uncompressed": Field("roll_gzip", read_off, keep_zero=True),
    "roll_compression": Field("roll_compression", _read_compression),
    "roll_local_time": Field("roll_local_time", read_flag),
    "roll_keep": Field("roll_keep", read_integer),
    "roll_keep_for": Field("roll_keep_days", _read_days),
    "roll_interval": Field("roll_interval", read_duration),
    "roll_minutes": Field("roll_minutes", _read_minutes),
    "roll_at": Field("roll_at", _read_times),
    "backup_time_format": Field("backup_time_format", read_text),
}
_WRITERS: dict[str, Module] = {
    "stdout": plain_module(),
    "stderr": plain_module(),
    "discard": plain_module(),
    "file": _read_file,
    "net": _read_net,
}


# Formats (caddy.logging.encoders) and filters (caddy.logging.encoders.filter)


_KEYS = ("message_key", "level_key", "time_key", "name_key", "caller_key", "stacktrace_key", "line_ending")
_ENCODER = {
    "time_local": Field("time_local", read_flag),
    **{key: Field(key, read_text, keep_zero=True) for key in _KEYS},
    **{key: Field(key, read_text) for key in ("time_format", "duration_format", "level_format")},
}


def _scalar(token: Token) -> Any:
    """Return the JSON value of an unquoted number or boolean (Dispenser.ScalarVal)."""
    if not token.quoted:
        if token.text in ("true", "false"):
            return token.text == "true"
        for kind in (int, float):
            try:
                return kind(token.text)
            except ValueError:
                continue
    return token.text


def _read_wrapper(segment: Segment, reading: Reading, read_one: Any) -> Json:
    """Read `wrap` and the fields, in `fields { … }` or beside it."""
    found: Json = {}
    for inner in take_block(segment, reading):
        if inner.name.text == "wrap":
            found["wrap"] = _read_format(inner, reading)
        elif inner.name.text == "fields" and inner.block is not None and not inner.arguments:
            for one in inner.block:
                read_one(found.setdefault("fields", {}), one, reading)
        else:
            read_one(found.setdefault("fields", {}), inner, reading)
    return found


def _append_field(fields: Json, segment: Segment, _: Reading) -> None:
    fields[segment.name.text] = _scalar(only(segment))


def _filter_field(fields: Json, segment: Segment, reading: Reading) -> None:
    """Add one filter; regular expressions of one field become a list of them."""
    name = segment.name.text
    found = read_module(_FILTERS, "filter", "filter")(segment, reading)
    before = fields.get(name)
    if before is None:
        fields[name] = found
        return
    if found["filter"] != "regexp" or before["filter"] not in ("regexp", "multi_regexp"):
        raise refusal(Code.ZS0103, f"field {name} has a filter already", segment.name, "remove one of them")
    if before["filter"] == "regexp":
        before = {"filter": "multi_regexp", "operations": [_operation(before)]}
    before["operations"].append(_operation(found))
    fields[name] = before


def _operation(found: Json) -> Json:
    return {key: value for key, value in found.items() if key != "filter"}


def _read_filter(segment: Segment, reading: Reading) -> Json:
    return _read_wrapper(segment, reading, _filter_field)


def _read_append(segment: Segment, reading: Reading) -> Json:
    return _read_wrapper(segment, reading, _append_field)


def _optional_text(key: str) -> Module:
    def read(segment: Segment, _: Reading) -> Json:
        text = segment.arguments[0].text if segment.arguments else ""
        return {key: text} if text else {}

    return read


def _read_mask(segment: Segment, reading: Reading) -> Json:
    if len(segment.arguments) > 2:
        raise wrong_count(segment, "ip_mask [IPV4_BITS [IPV6_BITS]]")
    keys = ("ipv4_cidr", "ipv6_cidr")
    found: Json = {key: integer(token) for key, token in zip(keys, segment.arguments, strict=False)}
    fields = {"ipv4": Field("ipv4_cidr", read_integer), "ipv6": Field("ipv6_cidr", read_integer)}
    return read_fields(segment.block or (), fields, "ip_mask", reading, found)


def _read_actions(key: str) -> Module:
    """`query`, `cookie` and `set_cookie`: replace, hash and delete by name."""

    def read(segment: Segment, reading: Reading) -> Json:
        actions = []
        for inner in take_block(segment, reading):
            action = inner.name.text
            count = {"replace": 2, "hash": 1, "delete": 1}.get(action)
            if count is None:
                cure = "write replace, hash or delete"
                raise refusal(
                    Code.ZS0109, f"unknown action {action} of {segment.name.text}", inner.name, cure
                )
            refuse_block(inner)
            if len(inner.arguments) != count:
                raise wrong_count(inner, f"{action} NAME{' VALUE' if count == 2 else ''}")
            entry = {"type": action, key: inner.arguments[0].text}
            if count == 2 and inner.arguments[1].text:
                entry["value"] = inner.arguments[1].text
            actions.append(entry)
        return {"actions": actions or None}

    return read


def _read_regexp(segment: Segment, _: Reading) -> Json:
    found: Json = {}
    if segment.arguments and segment.arguments[0].text:
        found["regexp"] = check_regexp(segment.arguments[0])
    if len(segment.arguments) > 1 and segment.arguments[1].text:
        found["value"] = segment.arguments[1].text
    return found


def _read_regexps(segment: Segment, reading: Reading) -> Json:
    operations = []
    for inner in take_block(segment, reading):
        refuse_block(inner)
        if inner.name.text != "regexp" or len(inner.arguments) != 2:
            cure = "write regexp PATTERN VALUE"
            raise refusal(Code.ZS0109, f"unexpected {inner.name.text} in multi_regexp", inner.name, cure)
        operations.append(_read_regexp(inner, reading))
    if not operations:
        raise wrong_count(segment, "multi_regexp { regexp PATTERN VALUE }")
    return {"operations": operations}


_FILTERS: dict[str, Module] = {
    "delete": lambda _, __: {},
    "hash": lambda _, __: {},
    "replace": _optional_text("value"),
    "rename": _optional_text("name"),
    "ip_mask": _read_mask,
    "query": _read_actions("parameter"),
    "cookie": _read_actions("name"),
    "set_cookie": _read_actions("name"),
    "regexp": _read_regexp,
    "multi_regexp": _read_regexps,
}


def _read_journald(segment: Segment, reading: Reading) -> Json:
    if segment.arguments:
        raise wrong_count(segment, "format journald { wrap FORMAT }")
    return read_fields(segment.block or (), {"wrap": Field("wrap", _read_format)}, "journald", reading)


_ENCODERS: dict[str, Module] = {
    "console": plain_module(_ENCODER),
    "json": plain_module(_ENCODER),
    "filter": _read_filter,
    "append": _read_append,
    "journald": _read_journald,
}
_read_format = read_module(_ENCODERS, "format", "format of log")

_SAMPLING = {
    "interval": Field("interval", read_duration, once=True),
    "first": Field("first", read_integer, once=True),
    "thereafter": Field("thereafter", read_integer, once=True),
}


def _read_sampling(segment: Segment, reading: Reading) -> Json:
    return read_fields(take_arguments(segment, 0, reading).block or (), _SAMPLING, "sampling", reading)


_LOG = {
    "output": Field("writer", read_module(_WRITERS, "output", "output of log"), once=True),
    "format": Field("encoder", _read_format, once=True),
    "level": Field("level", read_text, once=True),
    "sampling": Field("sampling", _read_sampling, once=True),
    "include": Field("include", read_texts, append=True),
    "exclude": Field("exclude", read_texts, append=True),
    "hostnames": Field("hostnames", read_some_texts, append=True),
    "no_hostname": Field("no_hostname", read_flag, once=True),
}
