"""One YAML document as plain values, with the place of every field.

In: the text of a document. Out: `Document`: values as Kubernetes' own YAML reader would have them (dates stay
text), and `Places`, from field path to line. Called by `manifests`. Rule: bounded in size and depth whatever
aliases say; raises `yaml.YAMLError` for text that is no YAML and `ValueError` past a bound, nothing else.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.sources import Span

NODES_MAX = 200_000
"""Nodes of a document, aliases counted each time they are used: no bomb of aliases fits."""
DEPTH_MAX = 64
_LITERAL_TAGS = frozenset(
    {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:binary", "tag:yaml.org,2002:str"}
)


class Places:
    """Where the fields of an object stand in a file."""

    def __init__(self, file: str, reading: _Reading, prefix: str = "") -> None:
        self.file = file
        self._reading = reading
        self._prefix = prefix

    def below(self, prefix: str) -> Places:
        """Return the places of an object inside this document (`items[0].`)."""
        return Places(self.file, self._reading, self._prefix + prefix)

    def find(self, path: str) -> Span:
        """Return the span of a field, or of the nearest one around it that is there."""
        full, spans = self._prefix + path, self._reading.spans
        while full:
            if full in spans:
                return spans[full]
            full = full[: max(full.rfind("."), full.rfind("["), 0)]
        return spans[""]

    def find_text(self, path: str, inner: Span) -> Span:
        """Return the span of a part of a field's text: exact in a literal block (`|`), else the field's."""
        block = self._reading.blocks.get(self._prefix + path)
        if block is None or not inner.line:
            return self.find(path)
        first_line, indent = block
        return Span(self.file, first_line + inner.line - 1, indent + inner.column, indent + inner.end)

    def repeated(self) -> Iterator[Diagnostic]:
        """Yield a warning for each key that a mapping has twice."""
        for path, span in self._reading.repeats:
            if path.startswith(self._prefix):
                used = "both are" if _is_merged(path) else "the later one is"
                message = f"{path.removeprefix(self._prefix)} is set twice; {used} used"
                yield Diagnostic(Code.ZS0301, message, span, severity=Severity.WARNING)


@dataclass(frozen=True, slots=True)
class Document:
    """A document's value and the places of its fields."""

    value: Any
    places: Places


def read_document(text: str, file: str, first_line: int) -> Document | None:
    """Read one document whose first line is `first_line` lines into the file; None when it is empty."""
    loader = yaml.CSafeLoader(text)
    lines = text.splitlines()
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        reading = _Reading(loader, file, first_line, lines)
        value = reading.convert(node, "", 0)
    finally:
        loader.dispose()
    if value is None:
        return None
    reading.spans.setdefault("", _span(file, first_line, node))
    return Document(value, Places(file, reading))


class _Reading:
    """Converts nodes to values and notes their places."""

    def __init__(self, loader: yaml.CSafeLoader, file: str, first_line: int, lines: list[str]) -> None:
        self.loader = loader
        self.file = file
        self.first_line = first_line
        self.lines = lines
        self.spans: dict[str, Span] = {}
        self.blocks: dict[str, tuple[int, int]] = {}
        """Of literal blocks: the line of the file that their text begins at, and its indentation."""
        self.repeats: list[tuple[str, Span]] = []
        self.nodes = 0

    def convert(self, node: yaml.Node, path: str, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > NODES_MAX:
            raise ValueError(f"it has more than {NODES_MAX} values")
        if depth > DEPTH_MAX:
            raise ValueError(f"it is nested deeper than {DEPTH_MAX} levels")
        if isinstance(node, yaml.MappingNode):
            return self._convert_mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            values = []
            for index, item in enumerate(node.value):
                here = f"{path}[{index}]"
                self.spans[here] = _span(self.file, self.first_line, item)
                values.append(self.convert(item, here, depth + 1))
            return values
        if isinstance(node, yaml.ScalarNode) and node.style == "|":
            self._note_block(node, path)
        return self._convert_scalar(node)

    def _note_block(self, node: yaml.ScalarNode, path: str) -> None:
        begins = node.start_mark.line + 1
        first = next((line for line in self.lines[begins:] if line.strip()), "")
        self.blocks[path] = self.first_line + begins + 1, len(first) - len(first.lstrip(" "))

    def _convert_mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[Hashable, Any]:
        self._flatten(node)
        values: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = (
                self._convert_scalar(key_node)
                if isinstance(key_node, yaml.ScalarNode)
                else str(key_node.value)
            )
            # Annotation and label keys hold dots and slashes; brackets keep them apart from field names.
            here = f"{path}[{key}]" if _is_map_of_names(path) else f"{path}.{key}" if path else str(key)
            span = _span(self.file, self.first_line, value_node if _is_short(value_node) else key_node)
            if key in values:
                self.repeats.append((here, span))
            self.spans[here] = span
            value = self.convert(value_node, here, depth + 1)
            values[key] = _merge(values.get(key), value) if _is_merged(here) else value
        return values

    def _flatten(self, node: yaml.MappingNode) -> None:
        """Take in what `<<` names; a key that the mapping has itself goes before."""
        written = [key_node for key_node, _ in node.value]
        self.loader.flatten_mapping(node)
        if len(node.value) >= len(written):
            names = {str(key_node.value) for key_node in written}
            own = {id(key_node) for key_node in written}
            node.value = [
                pair for pair in node.value if id(pair[0]) in own or str(pair[0].value) not in names
            ]

    def _convert_scalar(self, node: yaml.Node) -> Any:
        if node.tag in _LITERAL_TAGS or not isinstance(node, yaml.ScalarNode):
            return node.value
        try:
            return self.loader.construct_object(node)
        except (ValueError, KeyError, IndexError, OverflowError):
            return node.value


def _is_merged(path: str) -> bool:
    """Tell whether a mapping written twice counts as one: a restriction must not get lost."""
    return path.endswith(("metadata", "metadata.annotations"))


def _merge(first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second if first is None else first
    if not isinstance(first, dict) or not isinstance(second, dict):
        return first if isinstance(second, dict) else second
    merged = {**first, **second}
    if isinstance(first.get("annotations"), dict):
        merged["annotations"] = _merge(first["annotations"], second.get("annotations"))
    return merged


def _is_map_of_names(path: str) -> bool:
    return path.endswith(("metadata.annotations", "metadata.labels"))


def _is_short(node: yaml.Node) -> bool:
    """Tell whether a value is on one line, so that it can be underlined itself."""
    return (
        isinstance(node, yaml.ScalarNode) and bool(node.value) and node.start_mark.line == node.end_mark.line
    )


def _span(file: str, first_line: int, node: yaml.Node) -> Span:
    start, end = node.start_mark, node.end_mark
    column = start.column + 1
    last = end.column + 1 if end.line == start.line else column + 1
    return Span(file, first_line + start.line + 1, column, max(last, column + 1))
