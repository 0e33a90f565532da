"""TLS policies by host, beside stock Caddy: who is let in, and what of the handshake the routes can tell.

Where Caddy breaks the handshake because of a client's certificate, we finish it and answer 400 with why.
"""

import contextlib
import http.client
import socket
import ssl

import pytest

NOTHING = "no handshake"


def connect(port, sni, certificate=None, **settings):
    context = ssl._create_unverified_context()
    if certificate:
        context.load_cert_chain(certificate)
    for name, value in settings.items():
        if name == "alpn":
            context.set_alpn_protocols(value)
        elif name == "curve":
            context.set_ecdh_curve(value)
        else:
            setattr(context, name, value)
    plain = socket.create_connection(("127.0.0.1", port), timeout=60)
    return context.wrap_socket(plain, server_hostname=sni)


def ask_over(connection, host):
    connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    return reply.status, reply.read().decode()


def ask(port, sni, host=None, certificate=None, **settings):
    """Return status and body, or that there was no handshake (TLS 1.3 tells clients with the first read)."""
    try:
        with contextlib.closing(connect(port, sni, certificate, **settings)) as connection:
            return ask_over(connection, host or sni)
    except (ssl.SSLError, ConnectionError, http.client.BadStatusLine):
        return NOTHING, ""


def with_port(host, port):
    return f"{host}:{port}"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    "case",
    [
        ("open.test", None, ""),
        ("open.test", "good", ""),
        ("request.test", None, ""),
        ("request.test", "good", ""),
        ("request.test", "stranger", ""),
        ("require.test", None, "none was sent"),
        ("require.test", "stranger", ""),
        ("given.test", None, ""),
        ("given.test", "good", ""),
        ("given.test", "stranger", "UnknownIssuer"),
        ("verify.test", None, "none was sent"),
        ("verify.test", "good", ""),
        ("verify.test", "rsa", ""),
        ("verify.test", "stranger", "UnknownIssuer"),
        ("verify.test", "expired", "expired"),
        ("leaf.test", "leaf", ""),
        ("leaf.test", "stranger", "none of those trusted"),
        ("a.wild.test", None, "none was sent"),
        ("a.wild.test", "good", ""),
        ("free.wild.test", None, ""),
    ],
)
def test_clients_are_let_in_as_caddy_lets_them_in(servers, certificates, case, version):
    host, client, objection = case
    certificate = certificates / f"{client}.pem" if client else None
    asked = {
        name: ask(
            server.port,
            host,
            with_port(host, server.port),
            certificate,
            minimum_version=version,
            maximum_version=version,
        )
        for name, server in servers.items()
    }
    theirs, ours = asked["caddy"], asked["zeroserve"]
    if objection:
        assert theirs[0] == NOTHING
        assert ours[0] == 400 and objection in ours[1]
    else:
        assert theirs[0] == 200
        assert ours == theirs


@pytest.mark.parametrize(
    ("sni", "host", "status"),
    [
        ("open.test", "verify.test", 421),
        ("open.test", "request.test", 421),
        ("open.test", "OPEN.test", 200),
        ("open.test", "other.test", 421),
        ("verify.test", "open.test", 421),
        ("free.wild.test", "a.wild.test", 421),
    ],
)
def test_the_host_is_the_server_name_s_where_clients_are_asked_for_certificates(
    servers, certificates, sni, host, status
):
    for name, server in servers.items():
        found = ask(server.port, sni, with_port(host, server.port), certificates / "good.pem")
        if (sni, host) == ("open.test", "other.test") and name == "zeroserve":
            # No site of this name, no policy: as Caddy answers unknown hosts.
            assert found == (200, "")
        else:
            assert found[0] == status, name


@pytest.mark.parametrize(
    ("sni", "settings"),
    [
        ("new.test", {"maximum_version": ssl.TLSVersion.TLSv1_2}),
        ("new.test", {}),
        ("old.test", {"minimum_version": ssl.TLSVersion.TLSv1_3}),
        ("old.test", {}),
        ("plain.test", {"alpn": ["h2", "http/1.1"]}),
        ("plain.test", {"curve": "prime256v1"}),
        ("plain.test", {"curve": "secp384r1"}),
        ("unknown.test", {"maximum_version": ssl.TLSVersion.TLSv1_2}),
    ],
)
def test_versions_suites_curves_and_protocols_are_the_host_s(servers, sni, settings):
    found = {
        name: ask(server.policies, sni, with_port(sni, server.policies), **settings)
        for name, server in servers.items()
    }
    assert found["zeroserve"] == found["caddy"]


def test_a_connection_of_another_policy_is_misdirected(servers):
    port = servers["zeroserve"].policies
    assert ask(port, "plain.test", "new.test")[0] == 421
    assert ask(port, "new.test", "old.test")[0] == 421


def resumed(port, sni, certificate, session=None):
    """Connect by TLS 1.2, whose ticket comes in the handshake; returns (resumed, status, session)."""
    context, ticket = session or (ssl._create_unverified_context(), None)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        context.load_cert_chain(certificate)
    plain = socket.create_connection(("127.0.0.1", port), timeout=60)
    with context.wrap_socket(plain, server_hostname=sni, session=ticket) as connection:
        status, _ = ask_over(connection, sni)
        return connection.session_reused, status, (context, connection.session)


def test_sessions_resume_on_any_worker_and_clients_stay_judged(servers, certificates):
    port = servers["zeroserve"].port
    for client, status in (("good", 200), ("stranger", 400)):
        reused, first, session = resumed(port, "verify.test", certificates / f"{client}.pem")
        assert (reused, first) == (False, status)
        again = [resumed(port, "verify.test", None, session)[:2] for _ in range(8)]
        assert again == [(True, status)] * 8


def test_a_session_of_one_host_is_not_resumed_for_another(servers, certificates):
    port = servers["zeroserve"].port
    _, _, session = resumed(port, "open.test", None)
    assert resumed(port, "open.test", None, session)[0]
    assert resumed(port, "verify.test", None, session)[:2] == (False, 400)
