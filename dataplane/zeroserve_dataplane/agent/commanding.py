"""A command to a server's admin socket, from another process.

In: the socket's path and a command. Out: the answer, one JSON object. Who calls: the command line, which is
started anew for each command. Rule: loads nothing but what speaks to a socket; a `reload` waits for every
import here (`administering` is the other end).
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class AdminError(Exception):
    """Nobody listens, the answer is no answer, or a handler refuses the command."""


def send_command(path: Path, command: Mapping[str, Any]) -> Mapping[str, Any]:
    """Send one command and wait for the answer. AdminError when nobody answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(os.fspath(path))
        except OSError as error:
            raise AdminError(f"{path}: no zeroserve answers there ({error.strerror or error})") from error
        try:
            connection.sendall(json.dumps(command).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer = json.loads(lines.readline())
        except (ValueError, OSError) as error:
            raise AdminError(f"{path}: no answer") from error
    if not isinstance(answer, dict):
        raise AdminError(f"{path}: no answer")
    return answer
