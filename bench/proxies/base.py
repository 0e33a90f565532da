"""What a proxy of the comparison must tell: its files, its command, its version. Called by `comparing`.

Rule: each is configured as an expert on it would for this task: one worker, keep-alive to the backends, TLS
1.3 without tickets (no client here resumes), no access log, X-Forwarded-For and -Proto set, large enough
queues.
"""

from __future__ import annotations

import abc
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from bench.scenes import Scene

# OpenSSL sends two TLS 1.3 tickets whatever the proxy's ticket switch says; this is the switch that it heeds.
OPENSSL_CONFIGURATION = """\
openssl_conf = default
[default]
ssl_conf = ssl
[ssl]
system_default = system
[system]
NumTickets = 0
"""


@dataclass(frozen=True, slots=True)
class Tools:
    """Executables, as `installing` found them; `libraries` is for those unpacked beside the system."""

    load: Path
    zeroserve: Path
    nginx: Path
    haproxy: Path
    caddy: Path
    envoy: Path
    libraries: Mapping[str, str] = field(default_factory=dict)


class Proxy(abc.ABC):
    """One proxy. `pinned`: the upstream version that the committed comparison is for; None for ours.

    `serves_files`: it can serve a scene with `files`.
    """

    name: ClassVar[str]
    pinned: ClassVar[str | None] = None
    serves_files: ClassVar[bool] = False

    def __init__(self, tools: Tools) -> None:
        self.tools = tools

    @abc.abstractmethod
    def files(self, scene: Scene) -> dict[str, str]:
        """Configuration files of a scene: name below the scene's directory, and text."""

    @abc.abstractmethod
    def command(self, scene: Scene) -> list[str]:
        """The command that serves the scene in the foreground until SIGTERM."""

    @abc.abstractmethod
    def version_command(self) -> list[str]:
        """The command that prints the version."""

    @abc.abstractmethod
    def parse_version(self, text: str) -> str:
        """The bare version number in what that command printed."""

    def environment(self, scene: Scene) -> dict[str, str]:
        """Environment variables of the command."""
        del scene
        return {}

    def version(self) -> str:
        """The version of the executable that is measured; OSError when it does not run."""
        environment = dict(self.tools.libraries)
        return self.parse_version(run_text(self.version_command(), environment))


def run_text(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """What a command prints on either stream; OSError when it cannot be run or fails."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)
    if done.returncode != 0:
        raise OSError(f"{command[0]} does not run: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout + done.stderr
