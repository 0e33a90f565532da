"""What the processes of a server weigh."""

import os
from pathlib import Path


def memory_kib(session: int) -> int:
    """Resident memory of the engines, and their supervisors, of a session of processes."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = os.getsid(int(folder.name)) == session
            if ours and b"zeroserve-engine" in (folder / "cmdline").read_bytes():
                pages = int((folder / "statm").read_text().split()[1])
                total += pages * os.sysconf("SC_PAGE_SIZE") >> 10
        except OSError:
            continue
    assert total > 0, "no engine runs"
    return total
