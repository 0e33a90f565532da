"""Manifests from files: the objects of a directory, each with the file and line of every field.

In: YAML or JSON files, several documents each, `List` kinds opened. Out: `Manifests`: raw objects by key, and
`locate`, which gives a diagnostic the place that its field was written at. Called by `pipeline` for
`zeroserve dev` and by the corpora and golden tests. Rule: any bytes load; a bad document is a diagnostic and
harms no other one.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.sources import Origin, Span

from zeroserve_operator.documents import Document, Places, read_document
from zeroserve_operator.resources.objects import GROUP_VERSION_OF_KIND, Kind, ObjectKey, identify

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
FILE_BYTES_MAX = 8 << 20
"""Larger files are no manifests written by hand; the limit keeps `dev` from reading dumps."""
FILES_MAX = 10_000
_SEPARATOR = re.compile(r"^---(?=[ \t\r\n]|\Z)[^\n]*\n?", re.MULTILINE)
_DIRECTIVES = re.compile(r"\s*(?:[%#][^\n]*(?:\n\s*|\Z))+")
"""What may stand before a `---`: `%YAML 1.2`, `%TAG …` and comments."""
_CURES = {
    "did not find expected alphabetic or numeric character": 'write it in quotes: "*.example.com"',
    "found character that cannot start any token": (
        "indent with spaces, not tabs; put a value that begins with `@`, `%` or a backtick in quotes"
    ),
    "mapping values are not allowed in this context": "put a value that holds `: ` in quotes",
}
"""By what the YAML reader says."""
_TEMPLATE = re.compile(r"\{\{.*?\}\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Manifests:
    """The objects of some files; of two with one key, the later one."""

    objects: Mapping[ObjectKey, Mapping[str, Any]]
    diagnostics: tuple[Diagnostic, ...]
    texts: Mapping[str, str]
    """File name to text, for the quoted line of a diagnostic."""
    places: Mapping[ObjectKey, Places] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    """Files of which a part could not be read."""

    def keep_former(self, former: Manifests) -> Manifests:
        """Return these with the objects that a broken file held before, as an API server would keep them."""
        kept = [
            key
            for key, places in former.places.items()
            if places.file in self.broken and key not in self.objects
        ]
        if not kept:
            return self
        return dataclasses.replace(
            self,
            diagnostics=(*self.diagnostics, *map(_kept, sorted({former.places[key].file for key in kept}))),
            objects={**self.objects, **{key: former.objects[key] for key in kept}},
            places={**self.places, **{key: former.places[key] for key in kept}},
        )

    def locate(self, diagnostic: Diagnostic) -> Diagnostic:
        """Return the diagnostic with the place of its field, where the object came from a file."""
        origin = diagnostic.origin or diagnostic.span.origin
        if origin is None or (diagnostic.span.file and diagnostic.span.origin is None):
            return diagnostic
        key = _key_of(origin)
        places = self.places.get(key) if key else None
        if places is None:
            return diagnostic
        span = places.find_text(origin.field, diagnostic.span)
        return dataclasses.replace(diagnostic, span=span, origin=origin)


def load_directory(directory: Path) -> Manifests:
    """Load all manifests below a directory, in the order of their names; hidden ones are skipped."""
    return load_files(find_files(directory))


def find_files(directory: Path) -> list[Path]:
    """Return the manifest files below a directory, or the file itself."""
    if not directory.is_dir():
        return [directory]
    found = (
        path
        for path in directory.rglob("*")
        if path.suffix in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(directory).parts)
    )
    return sorted(path for path in found if path.is_file())[:FILES_MAX]


def load_files(paths: Iterable[Path]) -> Manifests:
    """Load files; one that cannot be read is a diagnostic (ZS0111)."""
    texts: dict[str, str] = {}
    diagnostics: list[Diagnostic] = []
    for path in paths:
        try:
            with path.open("rb") as stream:
                data = stream.read(FILE_BYTES_MAX + 1)
            if len(data) > FILE_BYTES_MAX:
                diagnostics.append(_unreadable(path, f"is larger than {FILE_BYTES_MAX} bytes"))
                continue
            texts[str(path)] = data.decode("utf-8-sig")
        except OSError as error:
            diagnostics.append(_unreadable(path, error.strerror or str(error)))
        except UnicodeDecodeError as error:
            diagnostics.append(_unreadable(path, f"is not UTF-8 text at byte {error.start}"))
    return load_texts(texts, diagnostics)


def load_texts(texts: Mapping[str, str], diagnostics: Iterable[Diagnostic] = ()) -> Manifests:
    """Load the texts of files, by name."""
    loading = _Loading(list(diagnostics))
    broken = {one.span.file for one in loading.findings}
    for name, text in texts.items():
        for document in _split(name, text):
            if isinstance(document, Diagnostic):
                loading.findings.append(document)
                broken.add(name)
                continue
            for path, raw in _open_lists(document.value):
                loading.take(document.places.below(path), raw)
    return Manifests(loading.objects, tuple(loading.findings), dict(texts), loading.places, frozenset(broken))


def _split(name: str, text: str) -> Iterator[Document | Diagnostic]:
    """Read each document apart, so that a broken one does not hide those behind it."""
    starts = [0, *(match.end() for match in _SEPARATOR.finditer(text))]
    ends = [*(match.start() for match in _SEPARATOR.finditer(text)), len(text)]
    for start, end in zip(starts, ends, strict=True):
        chunk = text[start:end]
        if _DIRECTIVES.fullmatch(chunk):
            continue
        first_line = text.count("\n", 0, start)
        try:
            document = read_document(chunk, name, first_line)
        except yaml.YAMLError as error:
            yield _broken(name, chunk, first_line, error)
            continue
        except (ValueError, RecursionError) as error:
            yield Diagnostic(
                Code.ZS0301, f"document cannot be read: {error}", Span(name, first_line + 1, 1, 2)
            )
            continue
        if document is not None:
            yield document


def _broken(name: str, chunk: str, first_line: int, error: yaml.YAMLError) -> Diagnostic:
    mark = getattr(error, "problem_mark", None)
    line = first_line + (mark.line if mark else 0) + 1
    column = (mark.column if mark else 0) + 1
    problem = getattr(error, "problem", None) or str(error).split("\n", 1)[0]
    what, cure = "document is not YAML", _CURES.get(problem, "")
    if _TEMPLATE.search(chunk):
        what, cure = "document is a template, not YAML", "render it first, with `helm template`"
    return Diagnostic(Code.ZS0301, f"{what}: {problem}", Span(name, line, column, column + 1), help=cure)


def _open_lists(raw: Any, path: str = "", depth: int = 4) -> Iterator[tuple[str, Any]]:
    if isinstance(raw, Mapping) and str(raw.get("kind", "")).endswith("List") and depth:
        items = raw.get("items")
        if isinstance(items, list):
            for index, item in enumerate(items):
                yield from _open_lists(item, f"{path}items[{index}].", depth - 1)
            return
    yield path, raw


class _Loading:
    """What was loaded so far."""

    def __init__(self, findings: list[Diagnostic]) -> None:
        self.findings = findings
        self.objects: dict[ObjectKey, Mapping[str, Any]] = {}
        self.places: dict[ObjectKey, Places] = {}

    def take(self, where: Places, raw: Any) -> None:
        """Add one object, or the diagnostic why it is none that we serve; other kinds are passed over."""
        if not isinstance(raw, Mapping) or not isinstance(raw.get("kind"), str):
            message = "document is not a Kubernetes object: it has no kind"
            self._complain(message, where.find("kind"), None, Severity.WARNING)
            return
        written = raw["kind"]
        kind = next((kind for kind in GROUP_VERSION_OF_KIND if kind.value.lower() == written.lower()), None)
        version = raw.get("apiVersion")
        if kind is None or not _may_mean(version, GROUP_VERSION_OF_KIND[kind], kind):
            return
        if written != kind.value:
            message = f"kind must be {kind.value}, not {written}"
            self._complain(message, where.find("kind"), _nameless(kind, raw))
            return
        if version != GROUP_VERSION_OF_KIND[kind]:
            message = f"apiVersion must be {GROUP_VERSION_OF_KIND[kind]}, not {version}"
            self._complain(message, where.find("apiVersion"), _nameless(kind, raw))
            return
        key = identify(kind, raw)
        if isinstance(key, Diagnostic):
            field_path = key.origin.field if key.origin else ""
            self.findings.append(dataclasses.replace(key, span=where.find(field_path)))
            return
        if key in self.objects:
            message = "object appears twice; the later one is used"
            self._complain(message, where.find("metadata.name"), key.origin, Severity.WARNING)
        self.findings.extend(dataclasses.replace(item, origin=key.origin) for item in where.repeated())
        self.objects[key] = raw
        self.places[key] = where

    def _complain(
        self, message: str, span: Span, origin: Origin | None, severity: Severity = Severity.ERROR
    ) -> None:
        self.findings.append(Diagnostic(Code.ZS0301, message, span, origin, severity=severity))


def _may_mean(version: Any, wanted: str, kind: Kind) -> bool:
    """Tell whether an object may be meant for us; kinds of other groups have the same names.

    A group without a dot, or of Kubernetes' own, has no such kinds: there it is a slip. Those of others
    (serving.knative.dev, config.openshift.io) are passed over.
    """
    if not isinstance(version, str) or kind.value.startswith("Zeroserve"):
        return True
    group = version.rpartition("/")[0] or version
    return "." not in group or group.endswith(".k8s.io") or group == wanted.rpartition("/")[0]


def _nameless(kind: Kind, raw: Mapping[str, Any]) -> Origin:
    key = identify(kind, raw)
    return Origin(kind.value, "", "?") if isinstance(key, Diagnostic) else key.origin


def _key_of(origin: Origin) -> ObjectKey | None:
    kind = next((kind for kind in Kind if kind.value == origin.kind), None)
    return ObjectKey(kind, origin.namespace, origin.name) if kind else None


def _kept(file: str) -> Diagnostic:
    message = "what this file held before goes on being served"
    return Diagnostic(Code.ZS0301, message, Span(file, 1, 1, 2), severity=Severity.WARNING)


def _unreadable(path: Path, problem: str) -> Diagnostic:
    return Diagnostic(Code.ZS0111, f"file cannot be read: {problem}", Span(str(path), 1, 1, 2))
