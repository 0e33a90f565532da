"""Where the engine's binary is. The agent and the CLI call `find_binary`; nothing else is in this package."""

import os
import sys
import sysconfig
from pathlib import Path

__all__ = ["find_binary"]

NAME = "zeroserve-engine"


def find_binary() -> Path:
    """Return where `zeroserve-engine` is: ZEROSERVE_ENGINE, else beside this Python, else the user's scripts.

    Raises FileNotFoundError naming every place that was tried.
    """
    if chosen := os.environ.get("ZEROSERVE_ENGINE"):
        places = [Path(chosen)]
    else:
        user = sysconfig.get_path("scripts", scheme=sysconfig.get_preferred_scheme("user"))
        directories = [sysconfig.get_path("scripts"), str(Path(sys.executable).parent), user]
        places = [Path(directory) / NAME for directory in dict.fromkeys(directories)]
    for place in places:
        if place.is_file() and os.access(place, os.X_OK):
            return place
    raise FileNotFoundError(f"no {NAME} at {', '.join(map(str, places))}; install the wheel zeroserve-engine")
