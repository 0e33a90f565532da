"""No test skips but by E2E=0; tests of corpora that are not there are no tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
SKIPPING = "import pytest\n@pytest.mark.skip(reason='lazy')\ndef test_it():\n    pass\n"
SKIPPING_MODULE = "import pytest\npytest.importorskip('no_such_module')\n"
EMPTY = "import pytest\n@pytest.mark.parametrize('case', [])\ndef test_it(case):\n    pass\n"
CORPORA = EMPTY.replace("@pytest", "@pytest.mark.corpora\n@pytest")
PASSING = "def test_other():\n    pass\n"


def run(folder, source, **environment):
    inner = folder / "repository" / "tests"
    inner.mkdir(parents=True)
    shutil.copy(CONFTEST, inner / "conftest.py")
    (inner / "test_skipping.py").write_text(source)
    (inner / "pytest.ini").write_text("[pytest]\nmarkers = corpora\n")
    clean = {key: value for key, value in os.environ.items() if key != "E2E"} | environment
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(inner)]
    return subprocess.run(command, cwd=inner, env=clean, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("source", [SKIPPING, SKIPPING_MODULE, EMPTY])
def test_a_skip_is_a_failure(tmp_path, source):
    done = run(tmp_path, source + PASSING)
    assert done.returncode != 0 and "skipped, which only E2E=0 may do" in done.stdout


def test_a_skip_is_none_where_the_cluster_is_left_out(tmp_path):
    assert run(tmp_path, SKIPPING, E2E="0").returncode == 0


def test_tests_of_corpora_that_are_not_there_are_left_out(tmp_path):
    done = run(tmp_path, CORPORA + PASSING)
    assert done.returncode == 0 and "skipped" not in done.stdout and "1 deselected" in done.stdout
