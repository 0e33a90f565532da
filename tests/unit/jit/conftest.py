"""Native execution for the tests of this folder, and the vectors that they share with the interpreter."""

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location(
    "native_execution", Path(__file__).with_name("native_execution.py")
)
native_execution = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(native_execution)


@pytest.fixture(scope="session")
def native():
    """A process that executes native code of this machine."""
    runner = native_execution.Runner()
    yield runner
    runner.close()


@pytest.fixture(scope="session")
def execution():
    """The module with the helpers that both sides share."""
    return native_execution
