import pytest
from ports import free_port
from storing import RunningStore
from zeroserve_dataplane.agent import leasing


@pytest.fixture
def patient(monkeypatch):
    """A store's client in this process waits for long: where the machine stands still no store is away."""
    for name in ("SOCKET_TIMEOUT_S", "LEASE_TIMEOUT_S", "CONNECT_TIMEOUT_S"):
        monkeypatch.setattr(leasing, name, 60.0)


@pytest.fixture
def store(tmp_path):
    running = RunningStore(tmp_path, free_port())
    yield running
    running.stop()
