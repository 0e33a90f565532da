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
        fields = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise ProjectError(
            f"{directory} has no {MANIFEST}; `zeroserve plugin new NAME` makes a plugin"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path}: {error}") from error
    if unknown := sorted(fields.keys() - KEYS):
        raise ProjectError(f"{path}: unknown key {unknown[0]!r}; known are {', '.join(sorted(KEYS))}")
    name, language = fields.get("name"), fields.get("language", "c")
    if not isinstance(name, str) or not name or "/" in name:
        raise ProjectError(f"{path}: `name` must be the plugin's name")
    if language not in LANGUAGES:
        raise ProjectError(f"{path}: `language` must be one of {', '.join(LANGUAGES)}, not {language!r}")
    sources = _read_texts(path, fields, "sources", SOURCES[language])
    capabilities = read_capabilities(path, _read_texts(path, fields, "capabilities", []))
    return Project(directory, name, language, tuple(directory / source for source in sources), capabilities)


def read_capabilities(path: Path, names: list[str]) -> abi.Capability:
    """Return the capabilities of these names; raises ProjectError."""
    granted = NO_CAPABILITY
    for name in names:
        if name not in CAPABILITIES:
            raise ProjectError(f"{path}: unknown capability {name!r}; known are {', '.join(CAPABILITIES)}")
        granted |= CAPABILITIES[name]
    return granted


def _read_texts(path: Path, fields: dict[str, Any], key: str, otherwise: list[str]) -> list[str]:
    found = fields.get(key, otherwise)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ProjectError(f"{path}: `{key}` must be a list of texts")
    return found
