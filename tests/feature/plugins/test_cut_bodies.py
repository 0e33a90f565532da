"""A plugin that judges bodies tells one that it sees whole from one that goes on behind its limit."""

import pytest

from .nodes import serve

ROOM = 0x30800
LIMIT = 16
SUSPEND, ERROR = 6, 5
PENDING = -2
PLUGIN = f"""
.function filter
    mov %r1, 0
    call count_request_body
    jeq %r0, {PENDING}, suspend
    mov %r6, %r0
    mov %r1, 0
    mov %r2, {ROOM}
    mov %r3, {LIMIT}
    call read_request_body
    jeq %r0, {PENDING}, suspend
    jeq %r0, %r6, whole
    jeq %r6, -1, unknown
    lddw %r0, {ERROR | 413 << 8}
    exit
unknown:
    lddw %r0, {ERROR | 411 << 8}
    exit
whole:
    mov %r0, 0
    exit
suspend:
    mov %r0, {SUSPEND}
    exit
"""
OPTIONS = f"""
    plugins {{
        bouncer bouncer.s {{
            allow request_body
            body {LIMIT}
        }}
    }}
"""
SITE = """
    handle_errors {
        respond "{err.status_code}"
    }
    route {
        zeroserve_call bouncer filter
        respond "whole"
    }
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("bouncer"), OPTIONS, SITE, {"bouncer.s": PLUGIN}) as node:
        yield node


@pytest.mark.parametrize(
    ("length", "said"),
    [(0, "whole"), (1, "whole"), (LIMIT, "whole"), (LIMIT + 1, "413"), (40_000, "413"), (300_000, "413")],
)
def test_a_body_of_a_known_length_is_cut_where_it_is_longer_than_the_limit(node, length, said):
    assert node.ask("/", "POST", "x" * length)[2] == said


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([], "whole"),
        ([1], "whole"),
        ([LIMIT], "whole"),
        ([LIMIT - 1, 1], "whole"),
        ([LIMIT, 1], "411"),
        ([LIMIT + 1], "411"),
        ([40_000, 40_000], "411"),
    ],
)
def test_a_chunked_body_is_cut_where_it_goes_on_behind_the_limit(node, chunks, said):
    assert node.ask("/", "POST", iter([b"x" * size for size in chunks]))[2] == said
