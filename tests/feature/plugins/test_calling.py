"""`zeroserve_call` runs a plugin's function in the middle of a route, and harms nobody when it goes wrong."""

import pytest

from .nodes import serve

PLUGIN = """# the dispatcher
.ascii name "/config/name"
.ascii header "X-Greeting"
.ascii question "who"

.function greet
    mov %r1, 0
    mov %r2, $name
    mov %r3, $name.length
    mov %r4, 0x30200
    mov %r5, 256
    call read_json
    mov %r6, %r0
    mov %r1, $header
    mov %r2, $header.length
    mov %r3, 0x30200
    mov %r4, %r6
    call write_request_header
    mov %r0, 0
    exit

.function answer
    mov %r1, $question
    mov %r2, $question.length
    mov %r3, 0x30200
    mov %r4, 256
    call read_query
    mov %r1, 0x30200
    mov %r2, %r0
    call set_response_body
    lddw %r0, 0xc901
    exit

.function deny
    lddw %r0, 0x19305
    exit

.function trap
    ldxw %r2, [%r1+16]
    lsh %r2, 8
    ldxdw %r0, [%r2]
    exit

.function loop
again:
    ja again

.function nonsense
    mov %r0, 77
    exit

.function leave
    mov %r6, 0x31000
    ldxdw %r7, [%r6]
    stdw [%r6], 1
    mov %r0, 0
    jeq %r7, 0, clean
    lddw %r0, 0x19305
clean:
    exit
"""
OPTIONS = """
    plugins {
        greeter greeter.s {
            allow request_write response_write
            budget 100000
        }
        bare greeter.s
        open greeter.s {
            allow request_write
            fail open
        }
    }
"""
SITE = """
    handle_errors {
        respond "error {err.status_code}"
    }
    zeroserve_call /greet greeter greet {
        name "dear {http.request.header.x-who}"
    }
    zeroserve_call /answer greeter answer
    zeroserve_call /deny greeter deny
    zeroserve_call /trap greeter trap
    zeroserve_call /loop greeter loop
    zeroserve_call /nonsense greeter nonsense
    zeroserve_call /leave greeter leave
    zeroserve_call /bare/greet bare greet {
        name x
    }
    zeroserve_call /bare/answer bare answer
    zeroserve_call /open/trap open trap
    respond "hello {http.request.header.x-greeting}"
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("plugins"), OPTIONS, SITE, {"greeter.s": PLUGIN}) as node:
        yield node


def test_a_function_changes_the_request_by_its_config(node):
    assert node.ask("/greet", x_who="Ada")[::2] == (200, "hello dear Ada")
    assert node.ask("/other", x_who="Ada")[::2] == (200, "hello ")


def test_a_function_answers_by_itself(node):
    assert node.ask("/answer?who=w%20x")[::2] == (201, "w x")


def test_an_error_goes_to_the_error_routes(node):
    assert node.ask("/deny")[::2] == (403, "error 403")


@pytest.mark.parametrize("path", ["/trap", "/loop", "/nonsense", "/bare/greet", "/bare/answer"])
def test_what_goes_wrong_answers_500_and_leaves_neighbours_alone(node, path):
    assert node.ask(path)[::2] == (500, "error 500")
    assert node.ask("/greet", x_who="Bob")[::2] == (200, "hello dear Bob")


def test_failures_are_logged_with_their_reason(node):
    node.ask("/trap")
    node.wait_for_line("plugin greeter")


def test_a_plugin_that_fails_open_lets_the_route_go_on(node):
    assert node.ask("/open/trap")[::2] == (200, "hello ")


def test_nothing_of_an_earlier_call_is_left_in_memory(node):
    assert [node.ask("/leave")[0] for _ in range(3)] == [200, 200, 200]


def test_what_a_plugin_needs_and_is_not_granted_is_said_when_the_server_starts(node):
    said = node.log.read_text()
    assert "warning[ZS0310]: plugin bare calls helpers that need request_write response_write" in said
    assert "help: write `allow request_write response_write` in its block" in said
    assert "plugin greeter calls helpers" not in said
