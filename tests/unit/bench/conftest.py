"""A scene of two hosts, and what it needs."""

import sys
from pathlib import Path

import pytest

from bench.installing import make_certificate
from bench.scenes import ROUTES, Certificate, Scene, host_names


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(params=["tls", "plain", "grpc"])
def scene(request, tmp_path, certificate) -> Scene:
    """Two hosts, four routes, four backends, over TLS and without, and over HTTP/2 on both sides."""
    tls, grpc = request.param != "plain", request.param == "grpc"
    hosts, backends = host_names(2), (1, 2, 3, 4)
    return Scene(tmp_path, tls, 18999, 18998, hosts, ROUTES, backends, certificate, grpc=grpc)


@pytest.fixture(scope="session")
def caddy() -> Path:
    """Stock Caddy, which the development requirements install."""
    return Path(sys.executable).with_name("caddy")
