"""Bodies of HTTP/2 whose length nobody tells, read before an upstream, or the route, is asked."""

import http.server

import pytest
from framing import DATA, END_HEADERS, END_STREAM, HEADERS, Client, block, frame
from ports import free_ports
from signing import write_self_signed
from starting import serving
from threads import served

BODY = b"0123456789" * 300
SITE = """{{
	auto_https off
	admin off
}}
http://127.0.0.1:{ready} {{
}}
https://localhost:{port} {{
	bind 127.0.0.1
	tls tls.crt tls.key
	reverse_proxy /buffered 127.0.0.1:{backend} {{
		request_buffers 64KiB
	}}
	reverse_proxy /mirrored 127.0.0.1:{backend} {{
		mirror 127.0.0.1:{backend}
	}}
	respond /shown "{{http.request.body}}"
	reverse_proxy 127.0.0.1:{backend}
}}
"""


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        if length := self.headers.get("Content-Length"):
            body = self.rfile.read(int(length))
        else:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unmeasured")
    write_self_signed(folder, "localhost", "127.0.0.1")
    chosen, ready = free_ports(2)
    with served(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)) as backend:
        text = SITE.format(port=chosen, ready=ready, backend=backend.server_port)
        (folder / "Caddyfile").write_text(text)
        with serving(folder, ready, chosen):
            yield chosen


@pytest.mark.parametrize("path", ["/buffered", "/mirrored", "/shown", "/streamed"])
@pytest.mark.parametrize("ends_apart", [False, True])
def test_the_body_s_end_is_seen(port, path, ends_apart):
    client = Client(port)
    head = block(method="POST", scheme="https", path=path, authority=f"localhost:{port}")
    client.send(frame(HEADERS, END_HEADERS, 1, head))
    if ends_apart:
        client.send(frame(DATA, 0, 1, BODY), frame(DATA, END_STREAM, 1))
    else:
        client.send(frame(DATA, END_STREAM, 1, BODY))
    _, answer = client.read_until(HEADERS, 1)
    assert b"408" not in answer
    received = b""
    while True:
        flags, payload = client.read_until(DATA, 1)
        received += payload
        if flags & END_STREAM:
            break
    assert received == BODY
