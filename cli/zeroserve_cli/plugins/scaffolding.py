"""`zeroserve plugin new`: a directory with a plugin that builds, passes its test and answers.

In: a name and a language. Out: files; nothing that is there already is touched.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from zeroserve_cli.plugins.building import SDK
from zeroserve_cli.plugins.projects import MANIFEST, ProjectError

TEMPLATES: Final = SDK / "templates"
SDK_CRATE: Final = "zeroserve"
NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}\Z")


def write_project(directory: Path, language: str) -> list[Path]:
    """Write a new plugin named as its directory; returns the files. Raises ProjectError."""
    name = directory.resolve().name
    if not NAME.match(name):
        raise ProjectError(f"{name!r} is no name for a plugin: lower-case letters, digits and dashes")
    if language == "rust" and name == SDK_CRATE:
        raise ProjectError(f"{name!r} is the SDK's own crate: give the plugin another name")
    if directory.exists() and any(directory.iterdir()):
        raise ProjectError(f"{directory} is there already, and not empty")
    values = {"NAME": name, "CRATE": name.replace("-", "_"), "SDK": str(SDK)}
    written = []
    for template in sorted((TEMPLATES / "common").rglob("*")) + sorted((TEMPLATES / language).rglob("*")):
        if template.is_dir():
            continue
        root = TEMPLATES / ("common" if template.is_relative_to(TEMPLATES / "common") else language)
        path = directory / template.relative_to(root)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = template.read_text()
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        path.write_text(text)
        written.append(path)
    assert directory / MANIFEST in written
    return written
