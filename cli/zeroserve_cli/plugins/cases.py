"""The `*.test` files of a plugin: requests, and what is to become of them.

In: TOML. Out: `Case`s, or ProjectError that names the file, the case, the key and what it must be.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from zeroserve_ir.plugins.modules import Hook, PluginModule

from zeroserve_cli.plugins.places import Place
from zeroserve_cli.plugins.projects import Project, ProjectError

FILES: Final = "*.test"
TIME_S_MAX: Final = 253_402_300_799
"""The end of the year 9999, beyond which `format_time` has no form."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a key must hold, in words and as a check."""

    words: str
    fits: Callable[[Any], bool]


def _is_number(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_field(value: Any) -> bool:
    single = str | int
    return isinstance(value, single) or (
        isinstance(value, list) and all(isinstance(each, single) for each in value)
    )


TEXT: Final = Kind("a text", lambda value: isinstance(value, str))
SWITCH: Final = Kind("true or false", lambda value: isinstance(value, bool))
TABLE: Final = Kind("a table", lambda value: isinstance(value, dict))
TABLES: Final = Kind(
    "an array of tables", lambda value: isinstance(value, list) and all(map(TABLE.fits, value))
)
TEXTS: Final = Kind("an array of texts", lambda value: isinstance(value, list) and all(map(TEXT.fits, value)))
NAMED_TEXTS: Final = Kind(
    "a table of texts", lambda value: TABLE.fits(value) and all(map(TEXT.fits, value.values()))
)
FIELDS: Final = Kind(
    "a table of texts, or arrays of them",
    lambda value: TABLE.fits(value) and all(map(_is_field, value.values())),
)
STATUS: Final = Kind("a status from 200 to 599", lambda value: _is_number(value, 200, 599))
EXPECTED_STATUS: Final = Kind("a status, or 0 for none", lambda value: _is_number(value, 0, 599))
TIME: Final = Kind("seconds since 1970", lambda value: _is_number(value, 0, TIME_S_MAX))

Keys = Mapping[str, Kind]
FILE_KEYS: Final[Keys] = {
    "function": TEXT,
    "config": TABLE,
    "secrets": NAMED_TEXTS,
    "upstreams": TEXTS,
    "time": TIME,
    "case": TABLES,
}
CASE_KEYS: Final[Keys] = {
    "name": TEXT,
    "config": TABLE,
    "request": TABLE,
    "expect": TABLE,
    "answers": TABLES,
    "answer": TABLE,
}
REQUEST_KEYS: Final[Keys] = {"method": TEXT, "target": TEXT, "headers": FIELDS, "body": TEXT, "peer": TEXT}
ANSWER_KEYS: Final[Keys] = {"status": STATUS, "headers": FIELDS, "body": TEXT}
SHOWN_KEYS: Final[Keys] = {"status": STATUS, "headers": FIELDS}
EXPECT_KEYS: Final[Keys] = {
    "forwarded": SWITCH,
    "upstream": TEXT,
    "status": EXPECTED_STATUS,
    "body": TEXT,
    "headers": TABLE,
    "request_headers": TABLE,
    "uri": TEXT,
    "method": TEXT,
    "trapped": SWITCH,
}
EXPECTED_FIELD: Final = Kind(
    "a text, or false where the field shall not be there", lambda value: TEXT.fits(value) or value is False
)


@dataclass(frozen=True, slots=True)
class Case:
    """One request, and what is to become of it."""

    file: Path
    name: str
    function: str
    hook: Hook
    config: Mapping[str, Any]
    secrets: Mapping[str, str]
    upstreams: Sequence[str]
    time_s: int
    request: Mapping[str, Any]
    expect: Mapping[str, Any]
    answers: Sequence[Mapping[str, Any]]
    """To the plugin's own requests, in order."""
    answer: Mapping[str, Any]
    """Of the upstream, to a response hook."""


def read_cases(project: Project, module: PluginModule) -> list[Case]:
    """Read the *.test files of a project; raises ProjectError with what to mend."""
    cases = [case for path in sorted(project.directory.glob(FILES)) for case in _read_file(path, module)]
    if not cases:
        raise ProjectError(
            f"{project.directory} has no case in a {FILES} file; `zeroserve plugin new` shows one"
        )
    return cases


def _read_file(path: Path, module: PluginModule) -> Iterator[Case]:
    try:
        text = path.read_text()
        fields = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path}: {error}") from error
    file = Place(path, text)
    _check(file, fields, FILE_KEYS)
    function = module.find(fields.get("function", ""))
    if function is None:
        known = ", ".join(each.name for each in module.functions)
        asked = (
            f"there is no function {fields['function']!r}"
            if "function" in fields
            else "`function` is missing"
        )
        raise ProjectError(f"{file.show('function')}: {asked}; there are {known}")
    for number, raw in enumerate(fields.get("case", []), 1):
        place = file.enter_case(number)
        _check_case(place, raw)
        if "answer" in raw and function.hook is not Hook.RESPONSE:
            raise ProjectError(
                f"{place.show('answer')}: {place.table}`answer` is for response hooks; "
                "what `fetch` gets is in `answers`"
            )
        config = raw.get("config", fields.get("config", {}))
        try:
            json.dumps(config, allow_nan=False)
        except (TypeError, ValueError) as error:
            where = (place if "config" in raw else file).show("config")
            raise ProjectError(
                f"{where}: {place.table}config: {error}; write texts, as Caddyfiles give"
            ) from error
        yield Case(
            file=path,
            name=raw.get("name", f"case {number}"),
            function=function.name,
            hook=function.hook,
            config=config,
            secrets=fields.get("secrets", {}),
            upstreams=fields.get("upstreams", []),
            time_s=fields.get("time", 0),
            request=raw.get("request", {}),
            expect=raw["expect"],
            answers=raw.get("answers", []),
            answer=raw.get("answer", {}),
        )


def _check_case(place: Place, raw: Mapping[str, Any]) -> None:
    _check(place, raw, CASE_KEYS)
    _check(place.enter("request"), raw.get("request", {}), REQUEST_KEYS)
    _check(place.enter("answer"), raw.get("answer", {}), SHOWN_KEYS)
    for number, answer in enumerate(raw.get("answers", []), 1):
        _check(place.enter("answers", f"answers[{number}]"), answer, ANSWER_KEYS)
    expect, inside = raw.get("expect", {}), place.enter("expect")
    _check(inside, expect, EXPECT_KEYS)
    if not any(value != {} for value in expect.values()):
        raise ProjectError(f"{inside.show()}: {place.table}`expect` must say something")
    for key in ("headers", "request_headers"):
        fields = inside.enter(key)
        for name, value in expect.get(key, {}).items():
            if not EXPECTED_FIELD.fits(value):
                raise ProjectError(
                    f"{fields.show(name)}: {fields.table}{name} must be {EXPECTED_FIELD.words}"
                )


def _check(place: Place, fields: Mapping[str, Any], known: Keys) -> None:
    for key, value in fields.items():
        if key not in known:
            raise ProjectError(place.refuse(key, known))
        if not known[key].fits(value):
            raise ProjectError(f"{place.show(key)}: {place.table}{key} must be {known[key].words}")
