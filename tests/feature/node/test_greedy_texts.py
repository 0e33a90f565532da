"""Rules that multiply a text end their own request, not the node: what they write is paid for and bounded."""

import http.client

import pytest
from ports import free_port
from starting import serving

DOUBLINGS = 40
"""Of a kibibyte: without a bound a pebibyte."""
BLOCK = "x" * 1024
GREEDY = {
    "variables": "vars v0 "
    + BLOCK
    + "".join(f"\n\t\tvars v{step + 1} {{vars.v{step}}}{{vars.v{step}}}" for step in range(DOUBLINGS)),
    "fields": "request_header X " + BLOCK + "\n\t\trequest_header X x xx" * DOUBLINGS,
    "queries": f"rewrite * /greedy/queries?a={BLOCK}" + "\n\t\turi replace x xx" * DOUBLINGS,
    "maps": "".join(
        f"\n\t\tmap {{path}} {{m{step + 1}}} {{\n\t\t\tdefault {f'{{m{step}}}' * 30}\n\t\t}}"
        for step in range(8)
    )
    + "\n\t\tvars all {m8}",
}
ROUTES = "".join(
    f"\thandle /greedy/{name} {{\n\t\troute {{\n\t\t{lines}\n\t\trespond done\n\t\t}}\n\t}}\n"
    for name, lines in GREEDY.items()
)


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("greedy"), free_port()
    options = "{\n\tadmin off\n\tauto_https off\n}\n"
    text = f"{options}http://:{port} {{\n{ROUTES}\thandle {{\n\t\trespond ok\n\t}}\n}}\n"
    (folder / "Caddyfile").write_text(text)
    with serving(folder, port):
        yield port


def ask(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("name", GREEDY)
def test_a_text_that_grows_without_end_is_an_error_of_its_request_alone(port, name):
    assert ask(port, f"/greedy/{name}")[0] == 500
    assert ask(port, "/") == (200, "ok")
