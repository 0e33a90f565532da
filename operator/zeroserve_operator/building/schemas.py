"""JSON Schemas of plugins' configurations, as strangers write them.

In: a schema and a configuration, as JSON text. Out: what is wrong, in words. The rule: judging ends soon and
reads nothing from elsewhere: keywords are counted, since references and `unevaluated*` double the work by
level; patterns are few, small and matched in linear time (RE2); references lead into the schema only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import jsonschema
import re2
from referencing import Registry
from referencing.exceptions import Unresolvable

SCHEMA_BYTES_MAX: Final = 32 << 10
FAULTS_SHOWN_MAX: Final = 3
FAULT_LENGTH_MAX: Final = 500
STEPS_MAX: Final = 20_000
"""For one configuration: below a second, and ten times what a hundred properties need."""
PATTERNS_MAX: Final = 64
PATTERN_BYTES_MAX: Final = 256 << 10
"""Of a compiled pattern: some 5 ms to make; `^[a-z]{1,1000}$` is less."""
REFUSED: Final = frozenset({"patternProperties", "$dynamicRef", "$dynamicAnchor"})
"""Keywords whose judging is not bounded here."""


@lru_cache(1024)
def find_schema_fault(schema: str) -> str:
    """Return why a text is no schema that we judge by; "" for a sound one, and for none."""
    if not schema:
        return ""
    if len(schema) > SCHEMA_BYTES_MAX:
        return f"the schema is larger than {SCHEMA_BYTES_MAX} bytes"
    try:
        value, patterns = json.loads(schema), set[str]()
        jsonschema.Draft202012Validator.check_schema(value)
        for keyword, operand in _walk(value):
            if keyword in REFUSED:
                return f"keyword {keyword} is not supported"
            if keyword == "pattern" and isinstance(operand, str):
                patterns.add(operand)
                if len(patterns) > PATTERNS_MAX:
                    return f"more than {PATTERNS_MAX} patterns"
                _compile(operand)
    except jsonschema.SchemaError as error:
        return f"not a JSON Schema: {error.json_path}: {error.message}"[:FAULT_LENGTH_MAX]
    except re2.error as error:
        return f"invalid pattern: {error.args[0].decode(errors='replace')}"
    except RecursionError:
        return "the schema is nested too deep"
    return ""


@lru_cache(4096)
def judge_config(schema: str, config: str) -> str:
    """Return what a schema says against a configuration; "" where it has nothing to say."""
    if not schema or find_schema_fault(schema):
        return ""
    validator = _make_validator()(json.loads(schema), registry=Registry())
    try:
        faults = sorted(
            f"{error.json_path}: {error.message}" for error in validator.iter_errors(json.loads(config))
        )
    except Unresolvable as error:
        return f"the schema refers to {error.ref!r}, which is not in it"
    except RecursionError:
        return "the schema refers to itself without end"
    except _TooLongError:
        return f"the schema takes more than {STEPS_MAX} steps for this configuration: make it simpler"
    return "; ".join(faults[:FAULTS_SHOWN_MAX])[:FAULT_LENGTH_MAX]


@lru_cache(256)
def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem, options.log_errors = PATTERN_BYTES_MAX, False
    return re2.compile(pattern, options)


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for keyword, operand in value.items():
            yield str(keyword), operand
            yield from _walk(operand)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)


class _TooLongError(Exception):
    pass


_Judge = Callable[[Any, Any, Any, Any], Iterator[jsonschema.ValidationError]]


def _judge_pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    if isinstance(instance, str) and not _compile(pattern).search(instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _judge_unique(_: Any, wanted: Any, instance: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    """Configurations hold no numbers, so that equal items have equal texts; jsonschema compares all pairs."""
    if wanted and isinstance(instance, list):
        texts = {json.dumps(item, sort_keys=True) for item in instance}
        if len(texts) < len(instance):
            yield jsonschema.ValidationError("has items that are not unique")


_JUDGES: Final[dict[str, _Judge]] = {
    **jsonschema.Draft202012Validator.VALIDATORS,
    "pattern": _judge_pattern,
    "uniqueItems": _judge_unique,
}


def _make_validator() -> Any:
    """Return a class of validators that raise _TooLongError once all of them together judged too much."""
    left = STEPS_MAX

    def count(judge: _Judge) -> _Judge:
        def counted(*given: Any) -> Iterator[jsonschema.ValidationError]:
            nonlocal left
            left -= 1
            if left < 0:
                raise _TooLongError
            return judge(*given)

        return counted

    judges = {name: count(judge) for name, judge in _JUDGES.items()}
    return jsonschema.validators.extend(jsonschema.Draft202012Validator, judges)  # type: ignore[no-untyped-call]
