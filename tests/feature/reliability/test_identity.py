"""Who a request says it is: what a client may not claim is replaced, what is ours to remove is removed."""

import pytest

FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
}


def ask(site, *fields, method="GET", target="/a", host="a.example"):
    lines = "".join(f"{field}\r\n" for field in fields)
    payload = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n"
    received = site.send(payload.encode("latin-1"))
    return received, site.recorder.requests


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("x-forwarded-for", ["127.0.0.1"]),
        ("x-forwarded-proto", ["http"]),
        ("x-forwarded-host", ["a.example"]),
    ],
)
@pytest.mark.parametrize("spelling", [str, str.lower, str.upper])
def test_a_claimed_identity_is_replaced(site, name, right, spelling):
    claims = [f"{spelling(claim)}: {value}" for claim, value in FORGED.items()]
    _, (request,) = ask(site, *claims, *claims)
    assert request.values(name) == right


@pytest.mark.parametrize("name", ["X_Forwarded_For", "X_Forwarded-Proto", "X-Forwarded_Host", "X_Real_IP"])
def test_an_underscore_twin_of_an_identity_field_is_dropped(site, name):
    """CGI and WSGI backends read `X_Forwarded_For` and `X-Forwarded-For` as one variable."""
    _, (request,) = ask(site, f"{name}: 6.6.6.6")
    assert request.values(name) == []


@pytest.mark.parametrize(
    "field",
    [
        "Keep-Alive: 5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: x",
        "TE: gzip",
        "Upgrade: h2c",
        "Proxy: x",
    ],
)
def test_a_hop_by_hop_field_stays_on_its_hop(site, field):
    """RFC 9110, 7.6.1; `Proxy` would be a backend's HTTP_PROXY (CVE-2016-5385)."""
    _, (request,) = ask(site, field)
    assert request.values(field.partition(":")[0]) == []


@pytest.mark.parametrize("nominated", ["Authorization", "X-Forwarded-For", "Host", "Content-Length"])
def test_connection_cannot_remove_what_a_backend_trusts(site, nominated):
    payload = (
        "POST /a HTTP/1.1\r\nHost: a.example\r\nAuthorization: Basic eA==\r\nContent-Length: 2\r\n"
        f"Connection: close, {nominated}\r\n\r\nhi"
    )
    site.send(payload.encode())
    (request,) = site.recorder.requests
    assert len(request.values(nominated)) == 1


def test_a_nominated_field_of_the_client_s_own_is_removed(site):
    site.send(b"GET /a HTTP/1.1\r\nHost: a.example\r\nX-Mine: 1\r\nConnection: close, x-mine\r\n\r\n")
    (request,) = site.recorder.requests
    assert request.values("x-mine") == []


@pytest.mark.parametrize(
    "host", ["a.example", "A.Example", "a.example.", "a.example:80", "[::1]:8080", "127.0.0.1"]
)
def test_a_well_formed_host_arrives_once(site, host):
    _, (request,) = ask(site, host=host)
    assert len(request.values("host")) == 1


def test_absolute_form_that_agrees_with_host_arrives_as_origin_form(site):
    """RFC 9112, 3.2.2."""
    _, (request,) = ask(site, target="http://a.example/a?b")
    assert (request.target, request.values("host")) == ("/a?b", ["a.example"])


def test_what_is_asked_of_the_server_reaches_no_backend(site):
    """RFC 9110, 9.3.7: `OPTIONS *`."""
    received, requests = ask(site, method="OPTIONS", target="*")
    assert received.startswith(b"HTTP/1.1 200 ")
    assert requests == []
