"""One Caddyfile of TLS policies, served by stock Caddy and by us."""

from pathlib import Path

import pytest
from ports import free_ports
from signing import write_certificates
from starting import side_by_side

CADDYFILE = Path(__file__).with_name("Caddyfile")


class Server:
    def __init__(self, values):
        self.port, self.policies = values["PORT"], values["POLICIES"]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    write_certificates(folder)
    return folder


@pytest.fixture(scope="session")
def servers(tmp_path_factory, certificates):
    """Both servers, serving, by name."""

    def make_values(_):
        port, policies = free_ports(2)
        return {"PORT": port, "POLICIES": policies, "FOLDER": certificates}

    text, waited = CADDYFILE.read_text(), ["PORT", "POLICIES"]
    with side_by_side(tmp_path_factory, text, make_values, waited, workers=2) as found:
        yield dict(zip(("caddy", "zeroserve"), map(Server, found), strict=True))
