"""A scene of two hosts, and what it needs."""

import sys
from pathlib import Path

import pytest

from bench.installing import make_certificate
from bench.scenes import ROUTES, Certificate, Scene, host_names


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(params=[True, False], ids=["tls", "plain"])
def scene(request, tmp_path, certificate) -> Scene:
    """Two hosts, four routes, four backends, over TLS and without."""
    return Scene(tmp_path, request.param, 18999, 18998, host_names(2), ROUTES, (1, 2, 3, 4), certificate)


@pytest.fixture(scope="session")
def caddy() -> Path:
    """Stock Caddy, which the development requirements install."""
    return Path(sys.executable).with_name("caddy")
