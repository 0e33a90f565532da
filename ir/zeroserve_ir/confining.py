"""Takes from this process what a compiler does not need: files, network, children, memory without end.

Called by a worker after it is warm and before it reads the first program. LLVM is large and reads what
strangers wrote; what it could be made to do is bounded here, by the kernel.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from typing import Final

MEMORY_BYTES_MAX: Final = 4 << 30
"""Address space, not use: LLVM and its libraries alone map over a gigabyte of it."""
CPU_S_MAX: Final = 600
"""A worker is replaced long before; this ends one whose parent died while it spun."""

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_DENY: Final = 0x00050000 | errno.EPERM
_KILL: Final = 0x80000000
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_FIRST_ARGUMENT: Final = 16  # of struct seccomp_data; its low half, both machines being little-endian

# name: (x86_64, aarch64). Memory, its own pipes, signals, clocks; anything else answers EPERM.
_CALLS: Final = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "futex": (202, 98),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getrusage": (98, 165),
    "clock_gettime": (228, 113),
    "gettimeofday": (96, 169),
    "getrandom": (318, 278),
    "ppoll": (271, 73),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
# To itself alone: this is how abort() ends a process.
_SIGNAL_THREAD: Final = (234, 131)
# machine: (column of _CALLS, AUDIT_ARCH of linux/audit.h)
_MACHINES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


def confine(memory_bytes_max: int = MEMORY_BYTES_MAX) -> bool:
    """Give up what is not needed; returns whether the kernel took the system call filter too."""
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes_max),
        (resource.RLIMIT_CPU, CPU_S_MAX),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limit, (value, value))
    machine = _MACHINES.get(platform.machine())
    return machine is not None and _filter_calls(*machine)


def _filter_calls(column: int, architecture: int) -> bool:
    numbers = sorted(numbers[column] for numbers in _CALLS.values())
    program = [
        _statement(_LOAD, 4),
        _statement(_EQUAL, architecture, 1, 0),
        _statement(_RETURN, _KILL),
        _statement(_LOAD, 0),
        *(
            _statement(_EQUAL, number, len(numbers) - position + 3, 0)
            for position, number in enumerate(numbers)
        ),
        _statement(_EQUAL, _SIGNAL_THREAD[column], 0, 2),
        _statement(_LOAD, _FIRST_ARGUMENT),
        _statement(_EQUAL, os.getpid(), 1, 0),
        _statement(_RETURN, _DENY),
        _statement(_RETURN, _ALLOW),
    ]
    content = ctypes.create_string_buffer(b"".join(program))
    header = struct.pack("@HP", len(program), ctypes.addressof(content))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    # qemu-user, which runs the tests for the other architecture, has no filters and answers EINVAL.
    return int(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0)) == 0


def _statement(code: int, operand: int, when: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("<HBBI", code, when, otherwise, operand)


def close_inherited_files() -> None:
    """Close every descriptor beyond the three standard ones."""
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
