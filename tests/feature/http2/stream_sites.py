"""A site in front of a backend that speaks HTTP/2 frame by frame."""

import contextlib
import http.client
import ssl
from concurrent.futures import ThreadPoolExecutor

from ports import free_ports
from signing import write_self_signed
from starting import serving
from stream_backends import StreamBackend

TIMEOUT_S = 60
SITE = """:{port} {{
	@seen path /ok/seen
	reverse_proxy @seen h2c://127.0.0.1:{backend} {{
		handle_response {{
			respond "seen {{rp.status_code}}"
		}}
	}}
	@refused path /echo/refused
	reverse_proxy @refused h2c://127.0.0.1:{backend} {{
		@switch status 101
		handle_response @switch {{
			respond "refused" 403
		}}
	}}
	@copied path /echo/copied
	reverse_proxy @copied h2c://127.0.0.1:{backend} {{
		handle_response {{
			copy_response
		}}
	}}
	reverse_proxy {upstream}
}}
https://localhost:{tls} {{
	tls tls.crt tls.key
	reverse_proxy {upstream}
}}
"""
TO_TLS = """https://127.0.0.1:{port} {{
		transport http {{
			tls_insecure_skip_verify
			versions 2
		}}
	}}"""


class Served:
    def __init__(self, port, tls, backend, session):
        self.port, self.tls, self.backend, self.session = port, tls, backend, session

    def get(self, path, method="GET", body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()

    @contextlib.contextmanager
    def held(self, count):
        """So many requests are under way, each of a client of its own; then all are answered."""
        with ThreadPoolExecutor(count) as pool:
            answers = [pool.submit(self.get, "/held") for _ in range(count)]
            try:
                self.backend.wait(lambda backend: backend.total() == count)
                yield
            finally:
                self.backend.release.set()
            assert [answer.result() for answer in answers] == [(200, b"ok")] * count


@contextlib.contextmanager
def served(folder, streams=1000, over_tls=False, *, protocols=("h2",), websockets=False, options=()):
    write_self_signed(folder, "localhost", "127.0.0.1")
    context = None
    if over_tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        context.set_alpn_protocols(list(protocols))
    backend = StreamBackend(streams, context, websockets)
    port, tls = free_ports(2)
    upstream = TO_TLS.format(port=backend.port) if over_tls else f"h2c://127.0.0.1:{backend.port}"
    text = "{\n\tauto_https off\n\tadmin off\n}\n" + SITE.format(
        port=port, tls=tls, upstream=upstream, backend=backend.port
    )
    (folder / "Caddyfile").write_text(text)
    try:
        with serving(folder, port, options=options) as process:
            yield Served(port, tls, backend, process.pid)
    finally:
        backend.close()
