"""Where a user's server listens for commands: said by the commands that serve and by those that ask.

Rule: loads nothing; `zeroserve reload` waits for every import.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from zeroserve_dataplane.agent.commanding import AdminError

ADMIN_OFF = Path("off")


def find_admin_socket() -> Path:
    """Return the default admin socket of this user."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    directory = (
        Path(base) / "zeroserve" if base else Path(tempfile.gettempdir()) / f"zeroserve-{os.geteuid()}"
    )
    return directory / "admin.sock"


def require_own_folder(socket: Path) -> None:
    """Raise AdminError where the default socket's folder is another user's, who made it first.

    A folder that was named is the choice of who named it: root may ask any user's server.
    """
    if socket != find_admin_socket():
        return
    try:
        found = socket.parent.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise AdminError(f"{socket.parent} is not this user's folder; remove it, or name a socket by --admin")
