"""`{env.*}` in names of sites, `bind` and address ranges is filled in at the start, as in stock Caddy."""

import http.client

import pytest
from ports import free_port
from starting import side_by_side

TEXT = """{
	admin off
	auto_https off
}
http://{env.SITE_HOST}:{$port} {
	bind {env.SITE_ADDRESS}
	respond "site of the variable"
}
http://:{$port} {
	bind {env.SITE_ADDRESS}
	@near {
		not remote_ip {env.FAR_RANGE}
		client_ip {env.NEAR_RANGE}
	}
	respond @near "near"
	respond "far"
}
"""
VARIABLES = {
    "SITE_HOST": "Named.example",
    "SITE_ADDRESS": "127.0.0.1",
    "FAR_RANGE": "192.0.2.0/24",
    "NEAR_RANGE": "127.0.0.0/8",
}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    def choose(_folder):
        return {"port": free_port()}

    with side_by_side(tmp_path_factory, TEXT, choose, ["port"], variables=VARIABLES) as found:
        yield found


@pytest.mark.parametrize(
    ("host", "body"), {"named.example": "site of the variable", "other.example": "near"}.items()
)
def test_values_of_variables_count_as_if_they_were_written(both, host, body):
    answers = []
    for one in both:
        connection = http.client.HTTPConnection("127.0.0.1", one["port"], timeout=60)
        connection.request("GET", "/", headers={"Host": host})
        answers.append(connection.getresponse().read().decode())
        connection.close()
    assert answers == [body] * 2
