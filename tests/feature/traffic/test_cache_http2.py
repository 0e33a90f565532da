"""The cache before an upstream that speaks HTTP/2: a node in between, which speaks HTTP/1.1 to the origin."""

import pytest
from origins import Told

H2C = "\tservers {\n\t\tprotocols h1 h2 h2c\n\t}\n"
FRESH = {"Cache-Control": "max-age=60"}
STALE = {"Cache-Control": "max-age=60", "Age": "100", "ETag": '"a"'}


@pytest.fixture(scope="module")
def node(serve, origin):
    behind = serve(f"http://:PORT {{\n\treverse_proxy 127.0.0.1:{origin.port}\n}}\n", options=H2C)
    return serve(
        f"""http://:PORT {{
	cache
	bandwidth /slow/* 100KB
	reverse_proxy h2c://127.0.0.1:{behind.port}
}}
"""
    )


def test_answers_are_kept(node, origin):
    content = bytes(range(256)) * 1000
    origin.will(Told(FRESH, content))
    assert [node.ask("/kept").body for _ in range(3)] == [content] * 3
    assert len(origin.asked) == 1


def test_stale_answers_are_validated(node, origin):
    origin.will(Told(STALE, b"one"), Told({**FRESH, "ETag": '"a"'}, status=304))
    node.ask("/validated")
    answer = node.ask("/validated")
    assert origin.asked[1][2]["if-none-match"] == '"a"'
    assert (answer.status, answer.body) == (200, b"one")
    assert answer.get("Cache-Status") == "zeroserve; fwd=stale; fwd-status=304"
    assert "hit" in node.ask("/validated").get("Cache-Status")


def test_a_client_that_has_the_answer_gets_304_and_it_is_kept(node, origin):
    origin.will(Told({**FRESH, "ETag": '"a"'}, b"one"))
    assert node.ask("/conditional", If_None_Match='"a"').status == 304
    assert node.ask("/conditional").body == b"one"
    assert len(origin.asked) == 1


def test_stale_answers_take_the_place_of_errors(node, origin):
    told = {"Cache-Control": "max-age=60, stale-if-error=600", "Age": "100"}
    origin.will(Told(told, b"one"), Told(status=503, body=b"down" * 10000))
    node.ask("/error")
    assert node.ask("/error").body == b"one"
    origin.will(Told(body=b"own"))
    assert [node.ask(f"/error/{number}").body for number in range(3)] == [b"own"] * 3


def test_an_answer_held_back_comes_whole(node, origin):
    content = bytes(range(256)) * 200
    origin.will(Told(body=content))
    assert node.ask("/slow/1").body == content
