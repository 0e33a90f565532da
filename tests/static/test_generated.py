"""Generated code equals what its sources give today."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "generator", ["tools/protocols/generate.py", "tools/abi/generate.py", "tools/profiles/generate.py"]
)
def test_generated_files_are_current(generator: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(ROOT / generator), str(tmp_path)], check=True, cwd=ROOT)
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert made
    stale = [
        str(path.relative_to(tmp_path))
        for path in made
        if path.read_bytes() != (ROOT / path.relative_to(tmp_path)).read_bytes()
    ]
    assert not stale, "run `make gen`"
