"""JSON Schemas of plugins' configurations, as strangers write them.

In: a schema and a configuration, as JSON text. Out: what is wrong, in words. The rule: judging ends soon and
reads nothing from elsewhere: patterns are matched in linear time (RE2), references lead into the schema only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import jsonschema
import re2
from referencing import Registry
from referencing.exceptions import Unresolvable

SCHEMA_BYTES_MAX: Final = 32 << 10
FAULTS_SHOWN_MAX: Final = 3
FAULT_LENGTH_MAX: Final = 500
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
        value = json.loads(schema)
        jsonschema.Draft202012Validator.check_schema(value)
        for keyword, operand in _walk(value):
            if keyword in REFUSED:
                return f"keyword {keyword} is not supported"
            if keyword == "pattern" and isinstance(operand, str):
                re2.compile(operand)
    except jsonschema.SchemaError as error:
        return f"not a JSON Schema: {error.json_path}: {error.message}"[:FAULT_LENGTH_MAX]
    except re2.error as error:
        return f"invalid pattern: {error}"
    except RecursionError:
        return "the schema is nested too deep"
    return ""


@lru_cache(4096)
def judge_config(schema: str, config: str) -> str:
    """Return what a schema says against a configuration; "" where it has nothing to say."""
    if not schema or find_schema_fault(schema):
        return ""
    validator = _Validator(json.loads(schema), registry=Registry())
    try:
        faults = sorted(
            f"{error.json_path}: {error.message}" for error in validator.iter_errors(json.loads(config))
        )
    except Unresolvable as error:
        return f"the schema refers to {error.ref!r}, which is not in it"
    except RecursionError:
        return "the schema refers to itself without end"
    return "; ".join(faults[:FAULTS_SHOWN_MAX])[:FAULT_LENGTH_MAX]


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for keyword, operand in value.items():
            yield str(keyword), operand
            yield from _walk(operand)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)


def _judge_pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    if isinstance(instance, str) and not re2.search(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {"pattern": _judge_pattern}
)
