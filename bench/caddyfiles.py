"""Writes scenes as Caddyfiles that stock Caddy accepts. Used for zeroserve here, in the adaptor, and for
Caddy.

Rule: one site block per host, as a controller renders them; nothing in the text relies on our own
extensions.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.scenes import LOOPBACK, Scene


def render_caddyfile(scene: Scene, *, admin: str = "off", extra_handles: Sequence[str] = ()) -> str:
    """The Caddyfile of a scene; any host that it does not name is answered 404.

    `admin`: value of Caddy's `admin` global option. `extra_handles`: lines for every site, before its routes.
    """
    site = "\n".join([*_site_head(scene), *extra_handles, *_handles(scene), "}"])
    blocks = [_global_options(scene, admin)]
    blocks += [f"{_scheme(scene)}://{host}:{scene.port} {{\n{site}" for host in scene.hosts]
    blocks.append(
        "\n".join([f"{_scheme(scene)}://:{scene.port} {{", *_site_head(scene), "\trespond 404", "}"])
    )
    return "\n".join(blocks) + "\n"


def _scheme(scene: Scene) -> str:
    return "https" if scene.tls else "http"


def _global_options(scene: Scene, admin: str) -> str:
    port_option = "https_port" if scene.tls else "http_port"
    return f"{{\n\tadmin {admin}\n\tauto_https off\n\t{port_option} {scene.port}\n}}"


def _site_head(scene: Scene) -> list[str]:
    lines = [f"\tbind {LOOPBACK}"]
    if scene.access_log:
        lines.append("\tlog")
    if scene.tls:
        lines.append(f"\ttls {scene.certificate.certificate} {scene.certificate.key}")
    return lines


def _handles(scene: Scene) -> list[str]:
    if scene.files is not None:
        return [f"\troot * {scene.files}", "\theader X-Backend 1", "\tfile_server"]
    scheme = "h2c://" if scene.grpc else ""
    lines = []
    for route in scene.routes:
        matcher = "" if route.prefix == "/" else f"{route.prefix}* "
        lines += [f"\thandle {matcher}{{", f"\t\treverse_proxy {scheme}{scene.upstream(route)}", "\t}"]
    return lines
