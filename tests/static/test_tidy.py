"""The style that no linter knows: sizes, places and what must never be committed."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINES_MAX = 500
GENERATED = (
    "ir/zeroserve_ir/_pb/",
    "dataplane/engine/src/protocol/messages.rs",
    "dataplane/engine/src/program/abi.rs",
    "cli/zeroserve_cli/sdk/rust/src/abi.rs",
)
SOURCE_SUFFIXES = (".py", ".rs", ".go")
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("static", "crates", "io"),
        ("index", "crates", "io"),
        ("proxy", "golang", "org"),
        ("registry", "npmjs", "org"),
        ("deb", "debian", "org"),
    )
)


def tracked() -> list[str]:
    """Return the paths that git tracks or would track."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [path for path in listed if (ROOT / path).is_file()]


def text_of(path: str) -> str:
    """Return a file's text, or "" for a binary one."""
    try:
        return (ROOT / path).read_text()
    except UnicodeDecodeError:
        return ""


def test_source_files_stay_under_the_limit_of_lines() -> None:
    long = {
        path: count
        for path in tracked()
        if path.endswith(SOURCE_SUFFIXES) and not path.startswith(GENERATED)
        if (count := text_of(path).count("\n")) > LINES_MAX
    }
    assert not long


@pytest.mark.parametrize("root", ["operator", "dataplane", "ir", "cli"])
def test_source_roots_hold_packages_only(root: str) -> None:
    """A module in operator/ would shadow the standard library's and stop every Python started here."""
    assert not list((ROOT / root).glob("*.py"))
    assert not [path for path in tracked() if path.startswith(root) and Path(path).name.startswith("test_")]


def test_no_file_names_a_registry_host() -> None:
    naming = {path for path in tracked() for host in REGISTRY_HOSTS if host in text_of(path)}
    assert not naming


def test_no_large_file_is_tracked() -> None:
    assert not [path for path in tracked() if (ROOT / path).stat().st_size > 1 << 20]


def test_every_diagnostic_code_has_a_page() -> None:
    from zeroserve_ir.codes import Code

    missing = [code.name for code in Code if not (ROOT / "docs/errors" / f"{code.name}.md").is_file()]
    assert not missing
