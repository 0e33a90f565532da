"""Where a user's server listens for commands: said by the commands that serve and by those that ask.

Rule: loads nothing; `zeroserve reload` waits for every import.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

ADMIN_OFF = Path("off")


def find_admin_socket() -> Path:
    """Return the default admin socket of this user."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    directory = (
        Path(base) / "zeroserve" if base else Path(tempfile.gettempdir()) / f"zeroserve-{os.geteuid()}"
    )
    return directory / "admin.sock"
