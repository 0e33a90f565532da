"""What a plugin tries against the engine, its neighbours, clients and upstreams ends as any mistake does.

Each attack is a function of attacks.c. It answers with a number that says how far it came, or is answered
500; after each, a neighbour finds its memory and its values as they should be, and the connection is in step.
"""

import http.client
import json
import re
import signal
import socket
import socketserver
import time
from pathlib import Path

import pytest
from threads import served
from zeroserve_cli.plugins.building import compile_c, find_compiler
from zeroserve_ir.program import abi

from .nodes import serve

HERE = Path(__file__).parent
END = b"end {http.auth.user.id}"
"""Nobody is known to be somebody: Caddy leaves such a placeholder as it is."""
FAILED = (500, "error 500")
ENDINGS = {
    "encodes_over_itself": (200, "6d6f6f6e"),
    "encodes_beside_itself": (200, "6d6f6f6e"),
    "signs_over_its_key": (200, "0"),
    "reads_a_field_over_its_name": (200, "a value"),
    "reads_json_over_its_pointer": (200, "x"),
    "overwrites_its_frame": (200, "64"),
    "length_2_32": FAILED,
    "length_above_2_32": FAILED,
    "length_2_63": FAILED,
    "length_of_all": FAILED,
    "pointer_above_2_32": FAILED,
    "pointer_around": FAILED,
    "room_past_the_heap": FAILED,
    "room_in_constants": FAILED,
    "body_offset_2_63": (200, "4"),
    "time_without_end": (200, "-1"),
    "value_for_ever": (200, "1"),
    "sum_too_large": (200, "-1"),
    "events_without_end": FAILED,
    "window_without_end": (200, "0"),
    "counter_2_63": (200, "-1"),
    "kind_of_key_2_40": (200, "-1"),
    "document_2_63": (200, "-1"),
    "key_of_before": FAILED,
    "document_of_before": (200, str(abi.JsonKind.ABSENT.value)),
    "memory_of_before": (200, "0"),
    "answer_of_nobody": (200, "-1"),
    "adopts_nothing": FAILED,
    "waits_for_nothing": FAILED,
    "waits_twice": FAILED,
    "asks_for_ever": (200, "16"),
    "asks_oddly": (200, "0"),
    "notes_without_end": (200, "64"),
    "large_notes": (200, "3"),
    "notes_who_it_is": (200, END.decode()),
    "deep_json": (200, "-1"),
    "deepest_json": (200, "446"),
    "huge_number": (200, "-1"),
    "large_documents": (200, "246"),
    "documents_of_small_objects": (200, "2"),
    "documents_of_new_levels": (200, "593"),
    "documents_without_end": (200, "32"),
    "keys_without_end": (200, "64"),
    "values_without_end": (200, "1"),
    "fields_without_end": (200, "1"),
    "logs_lines": (200, "0"),
    "calls_by_a_name_of_lines": (200, "-1"),
    "calls_by_odd_names": (200, "0"),
    "values_of_lines": (200, "0"),
    "names_of_the_engine": (200, "0"),
    "methods_of_lines": (200, "0"),
    "paths_of_lines": (200, "0"),
    "queries_of_lines": (200, "0"),
    "switches_protocols": FAILED,
    "informs": (200, "-1"),
    "no_content_with_a_body": (204, ""),
    "not_modified_with_a_body": (304, ""),
    "status_1000": FAILED,
    "error_200": FAILED,
    "goes_on_as_connect": (200, "ok"),
    "goes_on_as_head": (200, ""),
}
OPTIONS = """
    plugins {
        attacker attacks.o {
            allow request_write response_write request_body outbound_http key_value call_plugins
            upstream api 127.0.0.1:%d
        }
        friend friends.o {
            allow response_write key_value
        }
        caller friends.o {
            allow call_plugins
        }
    }
"""
SITE = """
    handle_errors {
        respond "error {err.status_code}"
    }
    zeroserve_call /alone friend is_alone
    zeroserve_call /verdict caller returns_a_friend_s_verdict
    handle /hooked {
        zeroserve_plugin friend
        respond "as ever"
    }
    handle /goes_on_* {
        reverse_proxy 127.0.0.1:%d
    }
    respond "end {http.auth.user.id}"
"""


class Upstream(socketserver.StreamRequestHandler):
    """Answers `ok` to each head, as an origin that knows no CONNECT, and keeps the heads."""

    def handle(self):
        while line := self.rfile.readline():
            head = line
            while line not in (b"\r\n", b""):
                line = self.rfile.readline()
                head += line
            self.server.heads.append(head)
            found = re.search(rb"(?i)content-length: (\d+)", head)
            self.rfile.read(int(found[1]) if found else 0)
            body = b"" if head.startswith(b"HEAD ") else b"ok"
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + body)


class _Server(socketserver.ThreadingTCPServer):
    heads: list


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    directory = tmp_path_factory.mktemp("attacks")
    edges = f"#define HEAP_END {abi.HEAP + abi.HEAP_BYTES:#x}ULL\n#define CONSTANTS {abi.CONSTANTS:#x}ULL\n"
    for name in ("attacks", "friends"):
        source = directory / f"{name}.c"
        source.write_text(edges + (HERE / f"{name}.c").read_text())
        (directory / f"{name}.o").write_bytes(compile_c([source], find_compiler()))
    calls = "".join(f"zeroserve_call /{name} attacker {name}\n" for name in ENDINGS)
    with served(_Server(("127.0.0.1", 0), Upstream)) as upstream:
        upstream.heads = []
        port = upstream.server_address[1]
        with serve(directory, OPTIONS % port, calls + SITE % port, {}) as node:
            node.upstream = upstream
            yield node


@pytest.mark.parametrize("name", ENDINGS)
def test_an_attack_ends_and_its_neighbours_are_as_before(node, name):
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
    connection.request("POST", f"/{name}", "body", {"X-A": "a value"})
    answer = connection.getresponse()
    assert (answer.status, answer.read().decode()) == ENDINGS[name]
    assert answer.headers["X-Evil"] is None
    connection.request("GET", "/alone")
    assert connection.getresponse().read() == END, "a neighbour, on the same connection"
    connection.close()


def test_no_attack_reached_an_upstream_as_another_request(node):
    for name in ENDINGS:
        node.ask(f"/{name}", "POST", "body")
    first_lines = {head.split(b"\r\n")[0].decode() for head in node.upstream.heads}
    assert first_lines == {
        "GET / HTTP/1.1",
        "CONNECT /goes_on_as_connect HTTP/1.1",
        "HEAD /goes_on_as_head HTTP/1.1",
    }
    assert not any(b"evil" in head.lower() for head in node.upstream.heads)


def test_what_is_logged_is_a_line_each_that_moves_no_cursor(node):
    for name in ("logs_lines", "calls_by_a_name_of_lines"):
        node.ask(f"/{name}")
    lines = [line for line in node.log.read_text().split("\n") if line.startswith("{")]
    assert "\x1b" not in "".join(lines)
    assert "forged" not in {json.loads(line).get("part") for line in lines}


def test_the_answer_of_who_may_answer_is_not_lent_to_who_may_not(node):
    assert node.ask("/verdict")[::2] == FAILED


def test_a_response_hook_that_refuses_every_answer_is_asked_no_second_time(node):
    assert node.ask("/hooked")[0] == 451


WAITING = """.function waits
    mov %r1, 0
    mov %r2, 0x30200
    mov %r3, 8
    call read_request_body
    jeq %r0, -2, later
    mov %r0, 0
    exit
later:
    mov %r0, 6
    exit
"""
REPLACED = ".function waits\n    lddw %r0, 0x1a205\n    exit\n"
"""ERROR with status 418."""


def test_a_call_that_waits_while_its_plugin_is_replaced_ends_by_what_replaced_it(tmp_path):
    options = "plugins {\n plugin plugin.s {\n allow request_body\n }\n }\n"
    site = 'handle_errors {\n respond "error {err.status_code}"\n }\n'
    site += 'zeroserve_call /waits plugin waits\nrespond "end"\n'
    with (
        serve(tmp_path, options, site, {"plugin.s": WAITING}) as node,
        socket.create_connection(("127.0.0.1", node.port), timeout=60) as connection,
    ):
        connection.sendall(b"POST /waits HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n")
        assert node.ask("/waits", "POST", "body")[::2] == (200, "end")
        (tmp_path / "plugin.s").write_text(REPLACED)
        node.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 60
        while node.ask("/waits", "POST", "body")[0] != 418:
            assert time.monotonic() < deadline
        connection.sendall(b"body")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert (answer.status, answer.read()) == (418, b"error 418")
