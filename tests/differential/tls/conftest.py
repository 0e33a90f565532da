"""One Caddyfile of TLS policies, served by stock Caddy and by us."""

import contextlib
from pathlib import Path

import pytest
from ports import free_ports
from signing import write_certificates
from starting import BIN, apart, started

CADDYFILE = Path(__file__).with_name("Caddyfile")
COMMANDS = {
    "caddy": [BIN / "caddy", "run", "--adapter", "caddyfile", "--config", "Caddyfile"],
    "zeroserve": [BIN / "zeroserve", "run", "--config", "Caddyfile", "--admin", "off", "--workers", "2"],
}


class Server:
    def __init__(self, folder, certificates):
        self.folder = folder
        self.port, self.policies = free_ports(2)
        text = CADDYFILE.read_text()
        for variable, value in {"PORT": self.port, "POLICIES": self.policies, "FOLDER": certificates}.items():
            text = text.replace(f"{{${variable}}}", str(value))
        (folder / "Caddyfile").write_text(text)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    write_certificates(folder)
    return folder


@pytest.fixture(scope="session")
def servers(tmp_path_factory, certificates):
    """Both servers, serving, by name."""
    found = {}
    with contextlib.ExitStack() as stack:
        for name, command in COMMANDS.items():
            server = found[name] = Server(tmp_path_factory.mktemp(name), certificates)
            ports = server.port, server.policies
            stack.enter_context(started(command, server.folder, *ports, environment=apart(server.folder)))
        yield found
