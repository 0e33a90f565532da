"""Sealed memory files that carry native code to the engine.

In: the bytes of a compiled program. Out: a descriptor whose content can never change again.
Rule: the engine maps the file read and execute only when all four seals are on it, so the content that
was digested is the content that runs (design.md, section 4, handover).
"""

from __future__ import annotations

import errno
import fcntl
import os

_MFD_NOEXEC_SEAL = 0x0008
"""Linux 6.3: not executable as a file, and says so by a seal; mapping it executable stays possible."""
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def seal_code(code: bytes, name: str) -> int:
    """Return a sealed memfd that holds `code`; the caller closes it. OSError when memory is short."""
    descriptor = _create_file(f"zeroserve:{name[:32]}")
    try:
        view = memoryview(code)
        while view:
            view = view[os.write(descriptor, view) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _create_file(name: str) -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(name, flags | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create(name, flags)
