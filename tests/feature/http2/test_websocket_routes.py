"""Routes see a WebSocket of HTTP/2 (RFC 8441) as one of HTTP/1.1, by its fields: it passes no policy by."""

import contextlib

import pytest
from framing import END_HEADERS, HEADERS, Client, block, frame
from ports import free_port
from recording import Recorder
from signing import write_self_signed
from starting import serving
from test_websocket_attacks import SWITCHES, status_of

SITE = """{{
	admin off
	auto_https off
}}
https://localhost:{port} {{
	tls tls.crt tls.key
	@sockets {{
		path /matched
		header Connection *Upgrade*
		header Upgrade websocket
	}}
	respond @sockets "no WebSockets here" 403
	handle /removed {{
		request_header -Upgrade
		reverse_proxy 127.0.0.1:{backend}
	}}
	handle /removed-by-the-call {{
		reverse_proxy 127.0.0.1:{backend} {{
			header_up -Connection
		}}
	}}
	handle /repeated {{
		reverse_proxy 127.0.0.1:{backend} {{
			header_up Upgrade {{header.Upgrade}}
			header_up Connection {{header.Connection}}
		}}
	}}
	handle /refused {{
		reverse_proxy 127.0.0.1:{backend} {{
			@switch status 101
			handle_response @switch {{
				error 410
			}}
		}}
	}}
	handle /seen {{
		reverse_proxy 127.0.0.1:{backend} {{
			handle_response {{
				header X-Seen 1
				copy_response
			}}
		}}
	}}
	reverse_proxy 127.0.0.1:{backend}
}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder, port, recorder = tmp_path_factory.mktemp("routes"), free_port(), Recorder()
    write_self_signed(folder, "localhost", "127.0.0.1")
    (folder / "Caddyfile").write_text(SITE.format(port=port, backend=recorder.port))
    with contextlib.closing(recorder), serving(folder, port):
        yield port, recorder


def ask(site, path):
    """Ask for a WebSocket; the status, and what `Upgrade` its backend saw."""
    port, recorder = site
    recorder.forget()
    recorder.answers[path] = SWITCHES
    client = Client(port)
    fields = {"method": "CONNECT", "protocol": "websocket", "scheme": "https", "authority": "localhost"}
    client.send(frame(HEADERS, END_HEADERS, 1, block(**fields, path=path)))
    status = status_of(client)
    client.socket.close()
    return status, [one.values("upgrade") for one in recorder.requests]


@pytest.mark.parametrize(
    ("path", "status", "seen"),
    [
        ("/plain", 200, [["websocket"]]),
        ("/matched", 403, []),
        ("/removed", 502, [[]]),
        ("/removed-by-the-call", 502, [["websocket"]]),
        ("/repeated", 200, [["websocket"]]),
        ("/refused", 410, [["websocket"]]),
        ("/seen", 200, [["websocket"]]),
    ],
)
def test_a_websocket_passes_no_policy_that_one_of_http_1_1_would_not_pass(site, path, status, seen):
    assert ask(site, path) == (status, seen)
