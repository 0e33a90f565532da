"""Copies the custom resource definitions from crds/, their one source, into the chart.

Comes in: crds/*.yaml. Goes out: charts/zeroserve-ingress/files/crds/, byte for byte. Caller: `make gen`; a
golden test fails when the two differ. Rule: nothing else writes that folder.
"""

from __future__ import annotations

import shutil
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "crds"
TARGET = REPOSITORY / "charts" / "zeroserve-ingress" / "files" / "crds"


def sync(source: Path, target: Path) -> None:
    """Make `target` hold the definitions of `source` and nothing else."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for definition in sorted(source.glob("*.yaml")):
        shutil.copyfile(definition, target / definition.name)


if __name__ == "__main__":
    sync(SOURCE, TARGET)
