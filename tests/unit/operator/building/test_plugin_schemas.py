"""Schemas of plugins' configurations: what is refused, and that judging ends."""

import json

import pytest
from zeroserve_operator.building.schemas import find_schema_fault, judge_config


@pytest.mark.parametrize(
    ("schema", "config", "fault"),
    [
        ({"$ref": "https://example.com/schema"}, {}, "not in it"),
        ({"$ref": "#"}, {}, "without end"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}, {}, ""),
        ({"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": "a" * 50 + "b"}, "does not match"),
    ],
)
def test_judging_ends_and_stays_at_home(schema, config, fault):
    found = judge_config(json.dumps(schema), json.dumps(config))
    assert fault in found
    assert bool(fault) == bool(found)


def _double(levels):
    """Return a schema whose reading doubles by level, by references."""
    definitions = {
        f"a{level}": {"allOf": [{"$ref": f"#/$defs/a{level - 1}"}] * 2} for level in range(1, levels)
    }
    return {"$defs": {"a0": {"type": "object"}, **definitions}, "$ref": f"#/$defs/a{levels - 1}"}


def _nest(levels):
    """Return one whose evaluated properties are sought anew by level."""
    schema = {"properties": {"a": {}}}
    for _ in range(levels):
        schema = {"allOf": [schema], "unevaluatedProperties": False}
    return schema


@pytest.mark.parametrize("schema", [_double(60), _nest(60)], ids=["references", "unevaluated properties"])
def test_a_schema_that_would_keep_the_operator_busy_for_ever_is_told(schema):
    assert find_schema_fault(json.dumps(schema)) == ""
    assert "more than 20000 steps" in judge_config(json.dumps(schema), '{"a": "x"}')


def test_items_are_compared_once():
    schema = json.dumps({"properties": {"a": {"uniqueItems": True}}})
    items = [{"b": str(number)} for number in range(20_000)]
    assert judge_config(schema, json.dumps({"a": items})) == ""
    assert "not unique" in judge_config(schema, json.dumps({"a": [*items, {"b": "7"}]}))


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"pattern": "(a{1000}){1000}"}, "invalid pattern"),
        ({"pattern": "^[^a]{1000}[^b]{1000}$"}, "too large"),
        ({"allOf": [{"pattern": str(number)} for number in range(64)]}, ""),
        ({"allOf": [{"pattern": str(number)} for number in range(65)]}, "more than 64 patterns"),
    ],
    ids=["repeated", "large", "as many as may be", "one more"],
)
def test_patterns_are_few_and_small(schema, fault):
    found = find_schema_fault(json.dumps(schema))
    assert fault in found
    assert bool(fault) == bool(found)


def test_keywords_without_a_bound_are_refused():
    assert "patternProperties" in find_schema_fault('{"patternProperties": {"(a+)+$": {}}}')
    assert "nested too deep" in find_schema_fault('{"not":' * 3000 + "{}" + "}" * 3000)
