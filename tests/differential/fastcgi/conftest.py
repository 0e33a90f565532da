"""PHP's FPM from Debian, and stock Caddy and `zeroserve run` before it."""

import contextlib
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ports import free_port
from starting import side_by_side, started

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent / "answers"))

POOL = """[global]
error_log = {folder}/fpm.log
daemonize = no
[www]
user = nobody
group = nogroup
listen = {listen}
listen.mode = 0666
pm = static
pm.max_children = 2
catch_workers_output = no
php_admin_value[expose_php] = 0
"""


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The scripts, where workers of FPM may read them."""
    folder = tmp_path_factory.mktemp("php")
    for parent in (folder, *folder.parents):
        if parent == Path("/tmp"):
            break
        parent.chmod(0o755)
    shutil.copytree(HERE / "site", folder / "site")
    (folder / "link").symlink_to("site")
    return folder


@pytest.fixture(scope="session")
def fpm(site):
    """Two pools: (TCP port, path of a Unix socket)."""
    subprocess.run([ROOT / "tools" / "install-debian-packages", "php-fpm"], check=True)
    (program,) = sorted(Path("/usr/sbin").glob("php-fpm*"))[-1:]
    port, path = free_port(), site / "fpm.sock"
    with contextlib.ExitStack() as stack:
        for name, listen, place in (("tcp", f"127.0.0.1:{port}", port), ("unix", path, path)):
            folder = site / name
            folder.mkdir()
            (folder / "pool.conf").write_text(POOL.format(folder=folder, listen=listen))
            command = [program, "--nodaemonize", "--fpm-config", folder / "pool.conf"]
            stack.enter_context(started(command, folder, place))
        yield port, path


class Raw:
    """A backend of one connection at a time: each test says what it answers, byte by byte."""

    def __init__(self):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(60)
        self.port = self.listening.getsockname()[1]

    @contextlib.contextmanager
    def connection(self):
        """Accept, and read what is there of the request."""
        one, _ = self.listening.accept()
        with one:
            one.settimeout(60)
            one.recv(65536)
            yield one


@pytest.fixture(scope="session")
def raw():
    backend = Raw()
    with backend.listening:
        yield backend


@pytest.fixture(scope="session")
def servers(tmp_path_factory, site, fpm, raw):
    """Ports of (stock Caddy, ours), for each site of the Caddyfile in order."""
    text = (HERE / "Caddyfile").read_text()
    sites = [f"SITE{index}" for index in range(text.count("{$SITE"))]

    def make_values(_):
        values = {"TCP": fpm[0], "UNIX": fpm[1], "ROOT": site / "site"}
        values |= {"RAW": raw.port, "LINK": site / "link"}
        return values | {name: free_port() for name in sites}

    with side_by_side(tmp_path_factory, text, make_values, sites) as found:
        yield [[values[name] for name in sites] for values in found]
