"""Log lines of servers that run: they may come after the answers that they are about."""

import json
import time

PATIENCE_S = 60


def await_lines(path, is_meant, count=1):
    """Return the lines of a JSON log that are meant, once there are that many."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        # A line without its end is still being written.
        written = path.read_text().splitlines(keepends=True) if path.exists() else []
        whole = (json.loads(line) for line in written if line.endswith("}\n"))
        found = [line for line in whole if is_meant(line)]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, f"{len(found)} lines of {count} in {path}"
        time.sleep(0.05)
