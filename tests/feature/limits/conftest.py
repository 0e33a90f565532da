import pytest
from ports import free_port
from storing import RunningStore


@pytest.fixture
def store(tmp_path):
    running = RunningStore(tmp_path, free_port())
    yield running
    running.stop()
