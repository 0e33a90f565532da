"""`mirror`: another upstream gets a copy; what becomes of the copy is nobody's matter."""

import pytest

TIMEOUT_S = 60


@pytest.fixture
def port(serve, backends):
    one, two = backends
    lines = [
        f"\treverse_proxy {one.address} {{",
        f"\t\tmirror {two.address}",
        "\t\theader_up X-Seen yes",
        "\t}",
    ]
    return serve("\n".join(lines))


def wait_for(backend):
    assert backend.arrived.acquire(timeout=TIMEOUT_S)
    return backend.seen[-1]


def test_a_copy_has_method_path_fields_and_body(port, backends, ask):
    one, two = backends
    assert ask(port, "/a?b=c", "POST", b"hello") == (200, "one")
    original, copy = wait_for(one), wait_for(two)
    assert copy == original
    assert (copy[0], copy[1], copy[3]) == ("POST", "/a?b=c", b"hello")
    assert copy[2]["X-Seen"] == "yes"


def test_a_mirror_that_does_not_answer_delays_nobody(port, backends, ask):
    one, two = backends
    one.release.set()
    assert ask(port, "/hold") == (200, "one")
    wait_for(two)
    assert not two.release.is_set()


def test_a_mirror_that_fails_harms_nobody(serve, backends, ask):
    one, two = backends
    two.server_close()
    port = serve(f"\treverse_proxy {one.address} {{\n\t\tmirror {two.address}\n\t}}")
    assert [ask(port, "/") for _ in range(20)] == [(200, "one")] * 20


def test_a_body_too_long_to_keep_goes_to_the_upstream_alone(port, backends, ask):
    one, two = backends
    assert ask(port, "/", "POST", b"x" * (100 << 10)) == (200, "one")
    assert ask(port, "/next") == (200, "one")
    wait_for(two)
    assert [path for _, path, *_ in two.seen] == ["/next"]
    assert len(one.seen[0][3]) == 100 << 10
