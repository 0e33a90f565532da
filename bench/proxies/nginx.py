"""nginx: a server block per host, as ingress controllers render it; pooled keep-alive upstreams."""

from __future__ import annotations

import getpass
import grp
import os

from bench.proxies.base import Proxy
from bench.scenes import LOOPBACK, Scene

# Sized so that nothing is re-allocated, spilled to disk or refused at this load.
MAIN = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log crit;
events {{
  worker_connections 8192;
  multi_accept on;
}}
http {{
  access_log off;
  server_tokens off;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  server_names_hash_max_size {names_hash};
  server_names_hash_bucket_size 128;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_max_temp_file_size 0;
  grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  grpc_set_header X-Forwarded-Proto $scheme;
"""

TLS = """\
  ssl_certificate {certificate};
  ssl_certificate_key {key};
  ssl_protocols TLSv1.3;
  ssl_session_cache off;
  ssl_session_tickets off;
  ssl_conf_command NumTickets 0;
"""


# Its own documentation's advice for static files: sendfile with full packets, and open files kept.
FILES = """\
  sendfile on;
  tcp_nopush on;
  open_file_cache max=10000 inactive=600s;
  open_file_cache_valid 60s;
  open_file_cache_min_uses 1;
  open_file_cache_errors on;
"""


class Nginx(Proxy):
    """Debian's nginx."""

    name = "nginx"
    pinned = "1.22.1"
    serves_files = True

    def files(self, scene: Scene) -> dict[str, str]:
        hash_size = max(1024, 2 * len(scene.hosts))
        parts = [MAIN.format(directory=scene.directory, names_hash=hash_size)]
        if scene.tls:
            parts.append(TLS.format(certificate=scene.certificate.certificate, key=scene.certificate.key))
        parts += [
            f"  upstream backend{number} {{\n    server {LOOPBACK}:{port};\n"
            "    keepalive 512;\n    keepalive_requests 1000000000;\n  }\n"
            for number, port in enumerate(scene.backend_ports)
        ]
        listen = (
            f"listen {LOOPBACK}:{scene.port}{' ssl' if scene.tls else ''}{' http2' if scene.grpc else ''}"
        )
        parts.append(f"  server {{ {listen} default_server backlog=4096; server_name _; return 404; }}\n")
        if scene.files is not None:
            parts.insert(0, f"user {getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name};\n")
            parts.append(FILES)
        locations = _locations(scene)
        parts += [f"  server {{ {listen}; server_name {host}; {locations} }}\n" for host in scene.hosts]
        return {"nginx.conf": "".join([*parts, "}\n"])}

    def command(self, scene: Scene) -> list[str]:
        directory = str(scene.directory)
        configuration = f"{directory}/nginx.conf"
        return [str(self.tools.nginx), "-p", directory, "-e", f"{directory}/error.log", "-c", configuration]

    def environment(self, scene: Scene) -> dict[str, str]:
        del scene
        return dict(self.tools.libraries)

    def version_command(self) -> list[str]:
        return [str(self.tools.nginx), "-v"]

    def parse_version(self, text: str) -> str:
        return text.strip().rpartition("/")[2].split()[0]


def _locations(scene: Scene) -> str:
    if scene.files is not None:
        return f"location / {{ root {scene.files}; add_header X-Backend 1; }}"
    passes = "grpc_pass grpc" if scene.grpc else "proxy_pass http"
    return " ".join(
        f"location {route.prefix} {{ {passes}://backend{route.backend}; }}" for route in scene.routes
    )
