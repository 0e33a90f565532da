"""What a machine lacks is said before anything is built on it."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).parents[2] / "tools" / "check-machine"
SAYS = {"cargo": "cargo 1.95.0 (f2d3ce0bd 2026-03-21)", "go": "go version go1.26.8 linux/amd64", "cc": ""}


FORBIDDEN_TOOLCHAIN = "go: go.mod requires go >= 1.26.0 (running go 1.24.4; GOTOOLCHAIN=local)"


def check(folder, monkeypatch, **changes):
    """Run the check where only the tools of `SAYS` are found, with changes; None is not there."""
    for name, said in (SAYS | changes).items():
        if said is not None:
            (folder / name).write_text(f"#!/bin/sh\necho '{said}'\n")
            (folder / name).chmod(0o755)
    for name in ("bash", "sort", "head", "awk", "uname"):
        found = subprocess.run(["sh", "-c", f"command -v {name}"], capture_output=True, text=True, check=True)
        (folder / name).symlink_to(found.stdout.strip())
    monkeypatch.setenv("PATH", str(folder))
    run = subprocess.run(["bash", CHECK, sys.executable], capture_output=True, text=True, check=False)
    return run.returncode, run.stderr


@pytest.mark.parametrize("version", ["1.88.0", "1.95.0", "1.100.0"])
def test_a_machine_that_has_everything_is_told_nothing(tmp_path, monkeypatch, version):
    assert check(tmp_path, monkeypatch, cargo=f"cargo {version} (0 2026-01-01)") == (0, "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"go": None}, "missing: go ("),
        ({"cargo": None}, "missing: cargo ("),
        ({"cc": None}, "missing: cc ("),
        ({"go": "go version go1.19.8 linux/amd64"}, "missing: go is 1.19.8, and 1.21 or newer is needed"),
        ({"cargo": "cargo 1.85.1 (0 2025-01-01)"}, "missing: cargo is 1.85.1, and 1.88 or newer is needed"),
    ],
)
def test_what_is_missing_or_too_old_is_named(tmp_path, monkeypatch, changes, said):
    status, told = check(tmp_path, monkeypatch, **changes)
    assert status == 1 and told.startswith(said) and told.count("missing") == 1


def test_a_go_that_may_not_fetch_another_is_named_with_its_own_words(tmp_path, monkeypatch):
    words = f"[ \"$1\" = version ] || {{ echo '{FORBIDDEN_TOOLCHAIN}'; exit 1; }}"
    refusing = f"go version go1.24.4 linux/amd64'; {words} #'"
    status, told = check(tmp_path, monkeypatch, go=refusing)
    assert status == 1 and told.startswith("missing: a Go that works here") and FORBIDDEN_TOOLCHAIN in told
