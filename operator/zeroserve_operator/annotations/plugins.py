"""`zeroserve.dev/plugins` of an Ingress: ZeroservePlugins whose hooks run on all its routes.

In: the annotation's value. Out: attachments, or the denial of the routes: a plugin may be what restricts
access, so that nothing is served without one that cannot be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.tree import AttachPlugin

from zeroserve_operator.annotations.names import PLUGINS
from zeroserve_operator.resources.objects import Meta

PLUGINS_MAX: Final = 16
_NAME: Final = re.compile(r"(?:[a-z0-9-]{1,63}/)?[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


def read_plugins(meta: Meta) -> tuple[tuple[AttachPlugin, ...], Diagnostic | None]:
    """Read names with commas, or a JSON array of names and of {"name", "config"}; or say what is wrong."""
    text = next((value for key, value in meta.annotations if key == PLUGINS), "").strip()
    if not text:
        return (), None
    try:
        found = tuple(_read(text))
        if len(found) > PLUGINS_MAX:
            raise ValueError(f"names more than {PLUGINS_MAX} plugins")
    except (ValueError, RecursionError) as error:
        origin = meta.key.origin.at(f"metadata.annotations[{PLUGINS}]")
        message = f"{PLUGINS} {error}: its routes answer 503"
        cure = 'write `hello, bot-filter` or `[{"name": "hello", "config": {"greeting": "hi"}}]`'
        return (), Diagnostic(Code.ZS0403, message, origin=origin, help=cure)
    return found, None


def _read(text: str) -> Iterator[AttachPlugin]:
    items: list[Any] = [name.strip() for name in text.split(",")]
    if text.startswith("["):
        try:
            items = json.loads(text)
        except ValueError as error:
            raise ValueError(f"is no JSON: {error}") from error
    for item in items:
        entry = {"name": item} if isinstance(item, str) else item
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise ValueError("holds something that is no plugin's name")
        if not _NAME.fullmatch(entry["name"]):
            raise ValueError(f"holds {entry['name']!r}, which is no plugin's name")
        if unknown := sorted(set(entry) - {"name", "config"}):
            raise ValueError(f"has the unknown field {unknown[0]}")
        config = entry.get("config", {})
        if not isinstance(config, dict):
            raise ValueError(f"has a config of {entry['name']} that is no object")
        yield AttachPlugin(
            entry["name"], json.dumps(config, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        )
