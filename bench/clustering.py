"""Changes on a real cluster: from the API server's acknowledgement to the right answer.

Comes in: options. Goes out: times on stdout. Called by the command line. Rule: the cluster's tooling is that
of the end-to-end tests, so the measuring is a process beside them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
MEASURING = REPOSITORY / "tests" / "e2e"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `cluster`."""
    parser.add_argument("--ingresses", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--keep", action="store_true", help="use the cluster that is up, and leave it up")
    parser.add_argument("--json", type=Path)


def run(options: argparse.Namespace) -> int:
    """Measure and print; 0 when each change was served."""
    command = [sys.executable, "-m", "measuring"]
    command += [f"--ingresses={options.ingresses}", f"--changes={options.changes}"]
    command += ["--keep"] if options.keep else []
    command += [f"--json={options.json.resolve()}"] if options.json else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (MEASURING, REPOSITORY)))}
    return subprocess.run(command, env=environment, check=False).returncode
