"""zeroserve as it is shipped: `zeroserve run` on a stock Caddyfile, no option that a user would not have."""

from __future__ import annotations

from bench.caddyfiles import render_caddyfile
from bench.proxies.base import Proxy
from bench.scenes import Scene


class Zeroserve(Proxy):
    """This repository's own, from `.venv/bin/zeroserve`."""

    name = "zeroserve"
    serves_files = True

    def files(self, scene: Scene) -> dict[str, str]:
        return {"Caddyfile": render_caddyfile(scene)}

    def command(self, scene: Scene) -> list[str]:
        command = [str(self.tools.zeroserve), "run", "--config", f"{scene.directory}/Caddyfile"]
        return [*command, "--admin", self.admin_socket(scene)]

    def admin_socket(self, scene: Scene) -> str:
        """The Unix socket over which `zeroserve reload` reaches it."""
        return f"{scene.directory}/admin.sock"

    def version_command(self) -> list[str]:
        return [str(self.tools.zeroserve), "version"]

    def parse_version(self, text: str) -> str:
        # "zeroserve-ingress 0.1.0 (program ABI 1)", then a line for each part.
        return text.split(maxsplit=2)[1]
