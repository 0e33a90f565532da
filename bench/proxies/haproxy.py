"""HAProxy: host and path in one prefix map (an indexed tree), connections to the backends always reused."""

from __future__ import annotations

from bench.proxies.base import OPENSSL_CONFIGURATION, Proxy
from bench.scenes import LOOPBACK, Scene

CONFIGURATION = """\
global
  nbthread 1
  maxconn 4000
  tune.ssl.cachesize 0
  ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
defaults
  mode http
  http-reuse always
  option forwardfor
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
frontend bench
  bind {address} backlog 4096{tls}
  http-request set-header X-Forwarded-Proto {scheme}
  http-request set-var(txn.path) path
  use_backend %[req.hdr(host),host_only,lower,concat(,txn.path),map_beg({directory}/routes.map)]
  default_backend nothing
backend nothing
  http-request return status 404
"""

BACKEND = """\
backend backend{number}
  server only {upstream}{protocol} pool-max-conn -1 pool-purge-delay 600s
"""


class Haproxy(Proxy):
    """Debian's HAProxy."""

    name = "haproxy"
    pinned = "2.6.12"

    def files(self, scene: Scene) -> dict[str, str]:
        tls = (
            f" ssl crt {scene.directory}/site.pem alpn {'h2' if scene.grpc else 'http/1.1'}"
            if scene.tls
            else ""
        )
        scheme = "https" if scene.tls else "http"
        address = f"{LOOPBACK}:{scene.port}"
        head = CONFIGURATION.format(address=address, tls=tls, scheme=scheme, directory=scene.directory)
        backends = "".join(
            BACKEND.format(
                number=number, upstream=f"{LOOPBACK}:{port}", protocol=" proto h2" if scene.grpc else ""
            )
            for number, port in enumerate(scene.backend_ports)
        )
        routes = "".join(
            f"{host}{route.prefix} backend{route.backend}\n" for host in scene.hosts for route in scene.routes
        )
        pem = scene.certificate.certificate.read_text() + scene.certificate.key.read_text()
        configuration = head + backends
        return {
            "haproxy.cfg": configuration,
            "routes.map": routes,
            "site.pem": pem,
            "openssl.cnf": OPENSSL_CONFIGURATION,
        }

    def command(self, scene: Scene) -> list[str]:
        return [str(self.tools.haproxy), "-db", "-f", f"{scene.directory}/haproxy.cfg"]

    def environment(self, scene: Scene) -> dict[str, str]:
        return {**self.tools.libraries, "OPENSSL_CONF": f"{scene.directory}/openssl.cnf"}

    def version_command(self) -> list[str]:
        return [str(self.tools.haproxy), "-v"]

    def parse_version(self, text: str) -> str:
        return text.split()[2].partition("-")[0]
