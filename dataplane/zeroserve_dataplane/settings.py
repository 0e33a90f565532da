"""Settings of the node's processes.

In: the command line. Out: frozen values, with the defaults of the chart's Pod.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

METRICS_PORT = 9181


def find_version() -> str:
    """Return our version as installed, "0" in a source tree that is not."""
    # Loaded here: it takes longer than all else that is needed to find a directory.
    from importlib import metadata  # noqa: PLC0415

    try:
        return metadata.version("zeroserve-ingress")
    except metadata.PackageNotFoundError:
        return "0"


def find_cache_directory() -> Path:
    """Return where compiled programs are kept for a user (XDG base directories)."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "zeroserve"


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """All settings of `zeroserve agent`."""

    operator: str
    """gRPC target."""
    node: str
    zone: str = ""
    """Of this node: endpoints hinted to it are preferred (EndpointSlice hints); "" prefers none."""
    engine_socket: Path = Path("/run/zeroserve/engine.sock")
    state_directory: Path = Path("/var/lib/zeroserve")
    """Memory-backed: holds the last good snapshot, with TLS keys."""
    allow_state_on_disk: bool = False
    cache_directory: Path = Path("/var/cache/zeroserve")
    credentials_directory: Path | None = Path("/var/run/secrets/zeroserve-operator")
    """`ca.crt` and `token`; None is plain text, for an operator on this machine."""
    metrics_address: str = ""
    metrics_port: int = METRICS_PORT
    compile_workers: int = 1
    limit_store: str = ""
    """Address of the store of shared rate limits, a secret; "" is none."""

    @property
    def token_socket(self) -> Path:
        """Where engines ask for tokens: beside the supervisor's socket."""
        return self.engine_socket.with_name("token.sock")

    @property
    def log_socket(self) -> Path:
        """Where engines send spans: beside it too."""
        return self.engine_socket.with_name("log.sock")


@dataclass(frozen=True, slots=True)
class EmbeddedSettings:
    """Settings of an agent with the engine as its child, for `zeroserve run` and `zeroserve dev`."""

    workers: int = 0
    """Threads of the engine; 0 is one for each core."""
    io: str = "auto"
    """auto, io_uring or epoll."""
    cache_directory: Path | None = None
    """None is `find_cache_directory()`."""
    compile_workers: int = 1
    admin_socket: Path | None = None
    """Where `zeroserve reload` reaches this process; None is nowhere."""
    metrics_address: str = "127.0.0.1"
    metrics_port: int = -1
    """0 is any free port, below 0 none."""
    metrics_socket: Path | None = None
    """Where `serve_metrics` listens."""
    drain_timeout_ms: int = 10_000
    limit_store: str = ""
    """As that of `AgentSettings`; a configuration's own (`rate_limit_store`) goes before it."""
