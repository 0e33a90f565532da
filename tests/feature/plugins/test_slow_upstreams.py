"""One upstream of a namespace's plugins is slow: others of the namespace are asked all the same."""

import contextlib
import http.server
import socket
import threading
import time
import urllib.request

import pytest
from ports import free_port
from threads import served
from zeroserve_cli.plugins.building import compile_c, find_compiler

from .nodes import PATIENCE_S, serve

SOURCE = """
#include <zeroserve.h>
ZS_FUNCTION u64 ask_slow(struct zs_context *context) {
    u64 status = zs_fetch(zs_parse_json(ZS("{\\"upstream\\":\\"slow\\"}")));
    if (status == ZS_LATER) return ZS_SUSPEND;
    return status == ZS_NONE ? ZS_ERROR(502) : ZS_CONTINUE;
}
ZS_FUNCTION u64 ask_sound(struct zs_context *context) {
    u64 status = zs_fetch(zs_parse_json(ZS("{\\"upstream\\":\\"sound\\"}")));
    if (status == ZS_LATER) return ZS_SUSPEND;
    return status == 200 ? ZS_CONTINUE : ZS_ERROR(502);
}
"""
ASKED = 80
"""More than the upstream has turns (8) and places (64)."""
REFUSED = 8


class Sound(http.server.BaseHTTPRequestHandler):
    """Answers at once."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Slow:
    """Takes connections and says nothing before it is let go."""

    def __init__(self, listener):
        self.listener = listener
        self.held = []
        self.full = threading.Event()

    def run(self):
        while True:
            try:
                self.held.append(self.listener.accept()[0])
            except OSError:
                return
            if len(self.held) == ASKED - REFUSED - 64:
                self.full.set()

    def release(self):
        with contextlib.suppress(OSError):  # done before
            self.listener.shutdown(socket.SHUT_RDWR)
        for connection in self.held:
            connection.close()


def wait_for_metric(port, line):
    """Wait for a line of a node's metrics, which are collected now and then."""
    deadline = time.monotonic() + PATIENCE_S
    while line not in (shown := urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()):
        assert time.monotonic() < deadline, shown
        time.sleep(0.05)


@pytest.fixture
def slow():
    with socket.create_server(("127.0.0.1", 0), backlog=ASKED) as listener:
        one = Slow(listener)
        thread = threading.Thread(target=one.run)
        thread.start()
        yield one
        one.release()
        thread.join()


def test_a_slow_upstream_leaves_turns_to_the_others_of_its_namespace(tmp_path, slow):
    (tmp_path / "p.c").write_text(SOURCE)
    (tmp_path / "p.o").write_bytes(compile_c([tmp_path / "p.c"], find_compiler()))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sound)
    with served(server):
        options = f"""    plugins {{
        p p.o {{
            allow outbound_http
            upstream slow 127.0.0.1:{slow.listener.getsockname()[1]}
            upstream sound 127.0.0.1:{server.server_port}
            fetch_timeout 60s
        }}
    }}"""
        site = """
    handle /slow {
        zeroserve_call p ask_slow
        respond "slow"
    }
    handle {
        zeroserve_call p ask_sound
        respond "sound"
    }"""
        metrics = free_port()
        with serve(tmp_path, options, site, {}, ("--metrics-port", str(metrics))) as node:
            statuses = []
            askers = [
                threading.Thread(target=lambda: statuses.append(node.ask("/slow")[0])) for _ in range(ASKED)
            ]
            for asker in askers:
                asker.start()
            # Whom it has no place for is answered at once; all others wait by then.
            node.wait_for_line("a fetch got no answer: its upstream has too many under way")
            assert slow.full.wait(60)
            assert node.ask("/")[2] == "sound"
            slow.release()
            for asker in askers:
                asker.join()
            assert set(statuses) == {502}
            wait_for_metric(metrics, f'zeroserve_engine_plugin_fetch_failures_total{{plugin="p"}} {ASKED}.0')
