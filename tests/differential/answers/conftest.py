"""Stock Caddy and `zeroserve run`, each serving all cases from one Caddyfile."""

import contextlib
import sys
from pathlib import Path

import bcrypt
import pytest
from ports import free_ports

sys.path.insert(0, str(Path(__file__).parent))

from backends import backend, closing_backend, trailing_backend
from serving import serving
from signing import write_self_signed
from trees import make_tree


@pytest.fixture(scope="session")
def variables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    write_self_signed(folder, "a.example", "*.a.example", "127.0.0.1")
    site = tmp_path_factory.mktemp("site")
    make_tree(site)
    with contextlib.ExitStack() as stack:
        one, two = (stack.enter_context(backend(name)) for name in ("one", "two"))
        yield {
            **{f"CLOSING_{letter}": stack.enter_context(closing_backend()) for letter in "ABCDEFG"},
            "ONE": one,
            "TWO": two,
            "TRAILING": stack.enter_context(trailing_backend()),
            "DEAD": free_ports(1)[0],
            "CERTIFICATE": folder / "tls.crt",
            "KEY": folder / "tls.key",
            "SITE": site,
            "HASH": bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode(),
        }


@pytest.fixture(scope="session")
def servers(tmp_path_factory, variables):
    """Both servers, serving all cases: (stock Caddy, ours)."""
    with serving(tmp_path_factory, variables) as started:
        yield started
