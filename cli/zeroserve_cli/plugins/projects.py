"""A plugin's directory on its author's machine: `plugin.toml`, sources, tests.

In: a directory. Out: `Project`, or ProjectError with what to mend. Read by build, test and bench.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from zeroserve_ir.plugins.granting import CAPABILITIES, NO_CAPABILITY
from zeroserve_ir.program import abi

from zeroserve_cli.plugins.places import Place

MANIFEST: Final = "plugin.toml"
LANGUAGES: Final = ("c", "rust", "zig")
SOURCES: Final = {"c": ["plugin.c"], "rust": ["Cargo.toml"], "zig": ["plugin.zig"]}
KEYS: Final = {"name", "language", "sources", "capabilities"}


class ProjectError(Exception):
    """A directory that is no plugin's; the message is for its author."""


@dataclass(frozen=True, slots=True)
class Project:
    """What plugin.toml says."""

    directory: Path
    name: str
    language: str
    sources: tuple[Path, ...]
    capabilities: abi.Capability

    @property
    def output(self) -> Path:
        """Where `build` writes the object."""
        return self.directory / f"{self.name}.o"


def read_project(directory: Path) -> Project:
    """Read plugin.toml; raises ProjectError."""
    path = directory / MANIFEST
    try:
        text = path.read_text()
        fields = tomllib.loads(text)
    except FileNotFoundError as error:
        raise ProjectError(
            f"{directory} has no {MANIFEST}; `zeroserve plugin new NAME` makes a plugin"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path}: {error}") from error
    place = Place(path, text)
    if unknown := sorted(fields.keys() - KEYS):
        raise ProjectError(place.refuse(unknown[0], KEYS))
    name, language = fields.get("name"), fields.get("language", "c")
    if not isinstance(name, str) or not name or "/" in name:
        raise ProjectError(f"{place.show('name')}: `name` must be the plugin's name")
    if language not in LANGUAGES:
        where = place.show("language")
        raise ProjectError(f"{where}: `language` must be one of {', '.join(LANGUAGES)}, not {language!r}")
    sources = _read_texts(place, fields, "sources", SOURCES[language])
    capabilities = read_capabilities(place, _read_texts(place, fields, "capabilities", []))
    return Project(directory, name, language, tuple(directory / source for source in sources), capabilities)


def read_capabilities(place: Place, names: list[str]) -> abi.Capability:
    """Return the capabilities of these names; raises ProjectError."""
    granted = NO_CAPABILITY
    for name in names:
        if name not in CAPABILITIES:
            known = ", ".join(CAPABILITIES)
            where = place.show("capabilities")
            raise ProjectError(f"{where}: unknown capability {name!r}; known are {known}")
        granted |= CAPABILITIES[name]
    return granted


def _read_texts(place: Place, fields: dict[str, Any], key: str, otherwise: list[str]) -> list[str]:
    found = fields.get(key, otherwise)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ProjectError(f"{place.show(key)}: `{key}` must be a list of texts")
    return found
