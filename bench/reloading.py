"""Proxies whose configuration is changed while they run: ours, and stock Caddy on the very same Caddyfile.

Read by `changing`. Rule: two versions never share the shape of their route program, so that every change
makes one that was not there before.
"""

from __future__ import annotations

import abc

from bench.caddyfiles import render_caddyfile
from bench.proxies.base import Proxy, Tools
from bench.proxies.caddy import Caddy
from bench.proxies.zeroserve import Zeroserve
from bench.scenes import LOOPBACK, Scene

# A version's digits in this base are its numbers of header directives and of extra handles.
SHAPE_BASE = 10
MARKER_PATH = "/marker"


class ReloadingProxy(Proxy):
    """A proxy that serves `Caddyfile` in the scene's directory and loads it anew when told to."""

    def __init__(self, tools: Tools, echo_port: int) -> None:
        super().__init__(tools)
        self.echo_port = echo_port

    def files(self, scene: Scene) -> dict[str, str]:
        return {"Caddyfile": self.render(scene, 0)}

    @abc.abstractmethod
    def render(self, scene: Scene, version: int) -> str:
        """The Caddyfile of a version."""

    @abc.abstractmethod
    def reload_command(self, scene: Scene) -> list[str]:
        """The command that makes the Caddyfile on disk live; it returns 0 when that is done."""


class ReloadingZeroserve(ReloadingProxy, Zeroserve):
    """Ours: `zeroserve reload` over the admin socket."""

    def render(self, scene: Scene, version: int) -> str:
        return render_caddyfile(scene, extra_handles=render_version(version, self.echo_port))

    def reload_command(self, scene: Scene) -> list[str]:
        command = [str(self.tools.zeroserve), "reload", "--config", f"{scene.directory}/Caddyfile"]
        return [*command, "--admin", self.admin_socket(scene)]


class ReloadingCaddy(ReloadingProxy, Caddy):
    """Stock Caddy: `caddy reload` over its admin API on a Unix socket."""

    def render(self, scene: Scene, version: int) -> str:
        admin = f"unix/{scene.directory}/admin.sock"
        return render_caddyfile(scene, admin=admin, extra_handles=render_version(version, self.echo_port))

    def command(self, scene: Scene) -> list[str]:
        return self._call("run", scene)

    def reload_command(self, scene: Scene) -> list[str]:
        return [*self._call("reload", scene), "--address", f"unix/{scene.directory}/admin.sock"]

    def _call(self, command: str, scene: Scene) -> list[str]:
        config = ["--config", f"{scene.directory}/Caddyfile", "--adapter", "caddyfile"]
        return [str(self.tools.caddy), command, *config]


RELOADING: dict[str, type[ReloadingZeroserve] | type[ReloadingCaddy]] = {
    Zeroserve.name: ReloadingZeroserve,
    Caddy.name: ReloadingCaddy,
}


def render_version(version: int, echo_port: int) -> list[str]:
    """A site's lines of one version: its marker, the echo route, and handles that no two versions share."""
    headers, handles = divmod(version, SHAPE_BASE)
    lines = [f"\thandle {MARKER_PATH} {{", f'\t\trespond "{version}" 200', "\t}"]
    lines += ["\thandle /echo* {", f"\t\treverse_proxy {LOOPBACK}:{echo_port}", "\t}"]
    lines.append("\thandle /shape/* {")
    lines += [f'\t\theader X-Shape-{number} "{version}"' for number in range(headers)]
    lines += [f'\t\trespond "shape {version}" 200', "\t}"]
    for number in range(handles):
        lines += [f"\thandle /shape-{number}/* {{", f'\t\trespond "{number} of {version}" 200', "\t}"]
    return lines
