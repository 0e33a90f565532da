"""`zeroserve_call`, `zeroserve_plugin` and the global option `plugins`, all ours: plugins in a route.

In: the segment without its matcher. Out: the handler, whose block is a JSON object: repeated keys an array,
nested blocks objects; or the option's plugins as a JSON object by name. Rule: what a plugin is granted stands
in the option; the directive grants nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    duration_ms,
    integer,
    only_argument,
    refusal,
    some_arguments,
    wrong_count,
)
from zeroserve_ir.caddyfile.meaning.upstreams import read_upstream
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.plugins.granting import CAPABILITIES
from zeroserve_ir.tree import AttachPlugin, CallPlugin

_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_./-]{0,251}[A-Za-z0-9_])?")
_FUNCTION: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_CALL: Final = "zeroserve_call PLUGIN FUNCTION { KEY VALUE … }"
_NUMBERS: Final = {
    "budget": "fuel",
    "values": "values_max",
    "value_bytes": "value_bytes_max",
    "body": "body_bytes_max",
}
_NUMBER_MAX: Final = (1 << 31) - 1


def read_zeroserve_call(segment: Segment, _: Reading) -> CallPlugin:
    """`zeroserve_call PLUGIN FUNCTION { KEY VALUE … }`."""
    if len(segment.arguments) != 2:
        raise wrong_count(segment, _CALL)
    plugin, function = segment.arguments
    if not _NAME.fullmatch(plugin.text):
        raise refusal(Code.ZS0103, f"{plugin.text!r} is no plugin's name", plugin, "see docs/plugins.md")
    if not _FUNCTION.fullmatch(function.text):
        raise refusal(
            Code.ZS0103, f"{function.text!r} is no function's name", function, "see docs/plugins.md"
        )
    config = json.dumps(_read_object(segment.block or ()), ensure_ascii=False, separators=(",", ":"))
    return CallPlugin(plugin.text, function.text, config)


def read_zeroserve_plugin(segment: Segment, _: Reading) -> AttachPlugin:
    """`zeroserve_plugin PLUGIN { KEY VALUE … }`."""
    if len(segment.arguments) != 1:
        raise wrong_count(segment, "zeroserve_plugin PLUGIN { KEY VALUE … }")
    plugin = segment.arguments[0]
    if not _NAME.fullmatch(plugin.text):
        raise refusal(Code.ZS0103, f"{plugin.text!r} is no plugin's name", plugin, "see docs/plugins.md")
    config = json.dumps(_read_object(segment.block or ()), ensure_ascii=False, separators=(",", ":"))
    return AttachPlugin(plugin.text, config)


def _read_object(segments: Sequence[Segment]) -> dict[str, Any]:
    members: dict[str, list[Any]] = {}
    for segment in segments:
        members.setdefault(segment.name.text, []).append(_read_value(segment))
    return {name: values[0] if len(values) == 1 else values for name, values in members.items()}


def _read_value(segment: Segment) -> Any:
    """Read `KEY` as true, `KEY VALUE` as a string, `KEY VALUE VALUE …` as an array, a block as an object."""
    if segment.block is not None:
        if segment.arguments:
            raise refusal(
                Code.ZS0109,
                f"{segment.name.text} has a value and a block",
                segment.arguments[0],
                "write the value inside of the block, under a name of its own",
            )
        return _read_object(segment.block)
    if not segment.arguments:
        return True
    texts = [token.text for token in segment.arguments]
    return texts[0] if len(texts) == 1 else texts


def read_plugins(segment: Segment, _: Reading) -> dict[str, Any]:
    """Read `plugins { NAME FILE { allow CAPABILITY…; upstream NAME HOST:PORT; secret NAME VALUE; … } }`."""
    if segment.arguments or not segment.block:
        raise wrong_count(segment, "plugins { NAME FILE { … } }")
    found: dict[str, Any] = {}
    for inner in segment.block:
        name = inner.name
        if not _NAME.fullmatch(name.text):
            raise refusal(Code.ZS0103, f"{name.text!r} is no plugin's name", name, "see docs/plugins.md")
        if name.text in found:
            raise refusal(Code.ZS0105, f"plugin {name.text} stands twice", name, "rename one of them")
        if len(inner.arguments) != 1:
            raise wrong_count(inner, "NAME FILE { … }")
        found[name.text] = {"file": inner.arguments[0].text, **_read_grant(inner.block or ())}
    return found


def _read_grant(segments: Sequence[Segment]) -> dict[str, Any]:
    grant: dict[str, Any] = {}
    seen = set[tuple[str, ...]]()
    for line in segments:
        _check_once(line, seen)
        match line.name.text:
            case "allow":
                names = [_read_capability(token) for token in some_arguments(line, "allow CAPABILITY …")]
                grant["capabilities"] = sorted({*grant.get("capabilities", ()), *names})
            case "fail":
                grant["fail_open"] = _read_choice(only_argument(line, "fail open|closed"))
            case "fetch_timeout":
                timeout = only_argument(line, "fetch_timeout DURATION")
                grant["fetch_timeout_ms"] = _positive(
                    duration_ms(timeout), timeout, "1ms or more, up to 24 days"
                )
            case "upstream" | "secret":
                kind = line.name.text + "s"
                if len(line.arguments) != 2:
                    raise wrong_count(line, "upstream NAME HOST:PORT, or secret NAME VALUE")
                name, value = line.arguments
                text = value.text if kind == "secrets" else _read_address(value)
                grant[kind] = {**grant.get(kind, {}), name.text: text}
            case name if name in _NUMBERS:
                number = only_argument(line, f"{name} NUMBER")
                grant[_NUMBERS[name]] = _positive(integer(number), number)
            case other:
                cure = f"write allow, fail, fetch_timeout, upstream, secret, {', '.join(_NUMBERS)}"
                raise refusal(Code.ZS0109, f"unknown subdirective {other} of a plugin", line.name, cure)
    return grant


def _check_once(line: Segment, seen: set[tuple[str, ...]]) -> None:
    """Refuse a second line of what there is one of: nobody would know which counts."""
    word = line.name.text
    if word == "allow":
        return
    named = word in ("upstream", "secret") and line.arguments
    key = (word, line.arguments[0].text) if named else (word,)
    if key in seen:
        raise refusal(Code.ZS0105, f"{' '.join(key)} stands twice", line.name, "remove one of them")
    seen.add(key)


def _read_address(token: Token) -> str:
    scheme, upstreams = read_upstream(token, None)
    if scheme not in ("", "http"):
        raise refusal(Code.ZS0103, f"{scheme} is not spoken to a plugin's upstream", token, "write HOST:PORT")
    if len(upstreams) != 1:
        raise refusal(Code.ZS0103, f"{token.text!r} is more than one upstream", token, "give each a name")
    return upstreams[0].dial


def _read_capability(token: Token) -> str:
    if token.text not in CAPABILITIES:
        cure = f"write one of {', '.join(CAPABILITIES)}"
        raise refusal(Code.ZS0103, f"unknown capability {token.text!r}", token, cure)
    return token.text


def _read_choice(token: Token) -> bool:
    if token.text not in ("open", "closed"):
        raise refusal(Code.ZS0103, f"{token.text!r} is neither open nor closed", token, "write fail closed")
    return token.text == "open"


def _positive(number: int, token: Token, cure: str = f"1 to {_NUMBER_MAX}") -> int:
    if not 0 < number <= _NUMBER_MAX:
        raise refusal(Code.ZS0103, f"{token.text!r} is out of range", token, f"write {cure}")
    return number
