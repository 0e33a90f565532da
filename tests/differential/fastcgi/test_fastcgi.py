"""Scripts of PHP's FPM answer behind us as behind stock Caddy, and are told the same."""

import difflib
import re

import pytest
from asking import ask
from tables import read_request

REQUESTS = [
    (index, line)
    for index in (0, 1, 2)
    for line in (
        "GET /variables.php",
        "GET /variables.php/info/more?a=1&b=%20x",
        "GET /variables.PHP",
        "GET /variables.php Host=other.example:8080",
        "GET /variables.php User-Agent=test X-One=1 X-One=2 Cookie=a=b Proxy=http://evil",
        "POST /variables.php body=hello",
        "POST /variables.php body=a=1 Content-Type=application/x-www-form-urlencoded",
        "PUT /variables.php?x body=put Content-Type=text/plain",
        "DELETE /variables.php",
        "OPTIONS /variables.php",
        "HEAD /variables.php",
        "GET /variables.php proto=1.0",
        "GET /missing.php",
        "GET /answers.php?kind=status",
        "GET /answers.php?kind=redirect",
        "GET /answers.php?kind=none",
        "GET /answers.php?kind=cookies",
        "GET /answers.php?kind=length",
        "HEAD /answers.php?kind=length",
        "GET /answers.php?kind=long",
        "GET /answers.php?kind=long Accept-Encoding=gzip",
        "HEAD /answers.php?kind=long",
        "GET /answers.php?kind=flush",
        "GET /answers.php?kind=stderr",
        "GET /answers.php?kind=fail",
        "GET /answers.php?kind=type",
        "POST /answers.php?kind=post body=a=value&b=2",
        "GET /plain.txt",
    )
] + [
    (5, "GET /variables.php"),
    (1, "GET /renamed/x?y=1"),
    (2, "GET /private/variables.php Authorization=nothing"),
]
REQUESTS += [
    (6, f"GET {target}")
    for target in (
        "/",
        "/?a=1",
        "/sub",
        "/sub?b=2",
        "/sub/",
        "/no/such/page?c=3",
        "/index.php/info",
        "/sub/index.php",
    )
]
OURS = ("HTTP_VIA", "HTTP_X_REQUEST_ID", "HTTP_X_REAL_IP", "HTTP_X_FORWARDED_PORT")
VARYING = "|".join((*OURS, "SERVER_SOFTWARE", "REMOTE_PORT", "REQUEST_TIME(_FLOAT)?", "SERVER_ADDR", "argc"))


def told(answer, port):
    """Leave out of an answer what one of the two servers adds by design, and the port it was asked at."""
    body = re.sub(rf"(?m)^({VARYING})=.*\n", "", answer.body)
    fields = tuple(field for field in answer.fields if field[0] != "content-length")
    return type(answer)(answer.status, fields, body.replace(str(port), "PORT"))


@pytest.mark.parametrize(("index", "line"), REQUESTS)
def test_answer(servers, index, line):
    request = read_request("fastcgi", line)
    caddy, ours = (told(ask(ports[index], request), ports[index]) for ports in servers)
    if ours != caddy:
        pytest.fail("\n".join(difflib.ndiff(caddy.lines(), ours.lines())), pytrace=False)


CHUNKED = (
    b"POST /variables.php HTTP/1.1\r\nHost: a.example\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
)


@pytest.mark.parametrize("size", [0, 5, 4000, 5000])
def test_a_body_of_unknown_length_is_counted_first(servers, size):
    body = b"%x\r\n%s\r\n" % (size, b"x" * size) if size else b""
    request = type(read_request("fastcgi", "GET /"))("fastcgi", "", CHUNKED + body + b"0\r\n\r\n")
    caddy, ours = (told(ask(ports[1], request), ports[1]) for ports in servers)
    assert (ours.status, ours.body) == (caddy.status, caddy.body)
