"""`bind unix/…`: sites at sockets of the file system, as stock Caddy serves them."""

import contextlib
import os
import socket
import ssl
import stat
import time

import pytest
from asking import read_answer
from ports import free_port
from starting import side_by_side

TEXT = """{
	admin off
	auto_https off
	servers unix/{$FOLDER}/believing.sock|0222 {
		trusted_proxies_unix
	}
	servers unix/{$FOLDER}/behind.sock {
		listener_wrappers {
			proxy_protocol
		}
	}
}
http://:{$PORT} {
	reverse_proxy unix/{$FOLDER}/plain.sock
}
http://near.example:{$PORT} {
	reverse_proxy unix/near.sock {
		header_up X-Shown "{upstream_hostport} {rp.upstream.host} {rp.upstream.port} {rp.upstream.address}"
	}
}
http://abstract.example:{$PORT} {
	reverse_proxy unix/@{$ABSTRACT} {
		header_up X-Shown "{upstream_hostport} {rp.upstream.host} {rp.upstream.port} {rp.upstream.address}"
	}
}
http://checked.example:{$PORT} {
	reverse_proxy unix/{$FOLDER}/plain.sock unix/{$FOLDER}/any.sock {
		lb_policy first
		health_uri /up
		health_interval 200ms
		health_body "^any localhost$"
	}
}
http://checked-by-name.example:{$PORT} {
	reverse_proxy unix/{$FOLDER}/plain.sock unix/@{$ABSTRACT}-any {
		lb_policy first
		health_uri /up
		health_interval 200ms
		health_body "^any localhost$"
	}
}
http://counted.example:{$PORT} {
	reverse_proxy unix/{$FOLDER}/none.sock unix/{$FOLDER}/any.sock {
		lb_policy first
		fail_duration 1h
	}
}
http:// {
	bind unix/{$FOLDER}/any.sock unix/@{$ABSTRACT}-any
	respond "any {host}"
}
http://near.example, http://abstract.example {
	bind unix/near.sock|0202 unix/@{$ABSTRACT}
	respond "{host} {header.X-Shown}"
}
http://a.example {
	bind unix/{$FOLDER}/plain.sock
	respond "plain {host} {scheme} {uri}"
}
http://b.example {
	bind unix/{$FOLDER}/believing.sock|0222
	@client client_ip 192.0.2.0/24
	respond @client "client"
	respond "nobody"
}
http://c.example {
	bind unix/{$FOLDER}/behind.sock
	respond "behind {remote_host} {client_ip}"
}
https://d.example {
	bind unix/{$FOLDER}/secured.sock
	tls {$CERTIFICATE} {$KEY}
	respond "secured {scheme} {http.request.tls.server_name}"
}
"""
SOCKETS = ("plain", "near", "any", "believing", "behind", "secured")
PATIENCE_S = 60
HEAD = "HTTP/1.1\r\nConnection: close\r\nHost: "
V1 = "PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\n"
EXCHANGES = [
    ("plain", "", "a.example", "", None),
    ("plain", "", "elsewhere.example", "", None),
    ("near", "", "near.example", "", None),
    ("believing", "", "b.example", "", None),
    ("believing", "", "b.example", "X-Forwarded-For: 192.0.2.1\r\n", None),
    ("plain", "", "a.example", "X-Forwarded-For: 192.0.2.1\r\n", None),
    ("behind", V1, "c.example", "", None),
    ("secured", "", "d.example", "", "d.example"),
]


def name_of(folder):
    """Return an abstract name that is as long for both servers, and nobody else's."""
    return f"zeroserve-{os.getpid()}-{folder.name[:4]}"


@pytest.fixture(scope="module")
def folders(tmp_path_factory, variables):
    """Return where stock Caddy's sockets are, and ours; each with its plain port."""

    def make_values(folder):
        values = {**variables, "FOLDER": folder, "PORT": free_port(), "ABSTRACT": name_of(folder)}
        return values | {name: folder / f"{name}.sock" for name in SOCKETS}

    with side_by_side(tmp_path_factory, TEXT, make_values, ["PORT", *SOCKETS], workers=2) as found:
        yield [(values["FOLDER"], values["PORT"]) for values in found]


def ask(connection, before, payload, sni):
    with contextlib.closing(connection):
        connection.sendall(before.encode())
        if sni is not None:
            connection = ssl._create_unverified_context().wrap_socket(connection, server_hostname=sni)
        connection.sendall(payload)
        answer = read_answer(b"".join(iter(lambda: connection.recv(65536), b"")), payload)
        connection.close()
    return answer.lines()


def ask_at_port(port, host):
    payload = f"GET /a?b {HEAD}{host}\r\n\r\n".encode()
    return ask(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S), "", payload, None)


def open_unix(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE_S)
    connection.connect(str(path))
    return connection


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: " ".join(map(repr, exchange)))
def test_a_site_answers_at_its_socket(folders, exchange):
    name, before, host, fields, sni = exchange
    payload = f"GET /a?b {HEAD}{host}\r\n{fields}\r\n".encode()
    caddy, ours = (ask(open_unix(folder / f"{name}.sock"), before, payload, sni) for folder, _ in folders)
    assert ours == caddy


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("a.example", "plain a.example http /a?b"),
        ("near.example", "near.example near.sock near.sock 0 unix/near.sock"),
        ("abstract.example", "abstract.example @NAME @NAME 0 unix/@NAME"),
    ],
)
def test_a_proxy_reaches_it(folders, host, shown):
    caddy, ours = (
        [line.replace(name_of(folder), "NAME") for line in ask_at_port(port, host)]
        for folder, port in folders
    )
    assert ours == caddy
    assert shown in ours


@pytest.mark.parametrize("host", ["checked.example", "checked-by-name.example"])
def test_one_whose_probes_fail_is_left_out(folders, host):
    """A probe's Host is `localhost`. Ours alone: stock Caddy stayed at 503 for a minute in 3 of 27 starts."""
    _, port = folders[1]
    deadline = time.monotonic() + PATIENCE_S
    while f"any {host}" not in (lines := ask_at_port(port, host)):
        assert time.monotonic() < deadline, lines
        time.sleep(0.1)


def test_one_that_cannot_be_reached_is_left_out_after_that(folders):
    for _, port in folders:
        answers = [ask_at_port(port, "counted.example") for _ in range(2)]
        assert ["any counted.example" in lines for lines in answers] == [False, True], answers


def test_its_file_has_the_permissions_that_bind_says(folders):
    for name in ("plain", "believing", "near"):
        caddy, ours = (stat.S_IMODE(os.stat(folder / f"{name}.sock").st_mode) for folder, _ in folders)
        assert ours == caddy
