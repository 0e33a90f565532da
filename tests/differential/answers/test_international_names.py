"""Host names beyond ASCII answer by the names that clients send, as stock Caddy's do (RFC 3492)."""

import http.client

import pytest
from ports import free_port
from starting import side_by_side

TEXT = """{
	admin off
	auto_https off
}
http://münchen.example:{$plain} {
	respond "umlaut"
}
http://*.straße.example:{$plain} {
	respond "sharp s"
}
http://例え.テスト:{$plain} {
	respond "all labels"
}
http://:{$plain} {
	@named host grün.example xn--rt-eka.example
	respond @named "matched"
	respond "any"
}
"""
CASES = {
    "xn--mnchen-3ya.example": "umlaut",
    "XN--Mnchen-3YA.example": "umlaut",
    "a.xn--strae-oqa.example": "sharp s",
    "a.strasse.example": "any",
    "xn--r8jz45g.xn--zckzah": "all labels",
    "xn--grn-ioa.example": "matched",
    "xn--rt-eka.example": "matched",
    "munchen.example": "any",
}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    def choose(_folder):
        return {"plain": free_port()}

    with side_by_side(tmp_path_factory, TEXT, choose, ["plain"]) as found:
        yield found


def ask(connection, host):
    connection.request("GET", "/", headers={"Host": host})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


@pytest.mark.parametrize("host", CASES)
def test_a_name_is_answered_as_caddy_answers_it(both, host):
    answers = [ask(http.client.HTTPConnection("127.0.0.1", one["plain"], timeout=60), host) for one in both]
    assert answers == [(200, CASES[host])] * 2
