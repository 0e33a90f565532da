"""Executes native programs in a process of its own: the cage of program/abi.py, by ctypes.

Run as a script: a run per line as JSON in, its outcome per line as JSON out. Each run is a fork, so
that a fault in the cage ends that run alone. `mix` is what every helper computes here and in the reference.
"""

import ctypes
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys

from zeroserve_dataplane.interpreter import Memory
from zeroserve_dataplane.verifier.accesses import MAPPED
from zeroserve_ir.program import abi
from zeroserve_ir.program.abi import Argument

_GUARD_BYTES = 1 << 16
_MASK = (1 << 64) - 1
_MFD_NOEXEC_SEAL, _MFD_ALLOW_SEALING, _F_ADD_SEALS, _ALL_SEALS = 0x8, 0x2, 1033, 0xF
_PROT_READ, _PROT_WRITE, _PROT_EXEC = 1, 2, 4
_MAP_SHARED, _MAP_ANONYMOUS, _MAP_NORESERVE = 1, 0x20, 0x4000


def mix(number, arguments, memory):
    """What a helper gives in these tests: a number made of its number, scalars and what it reads."""
    digest = hashlib.sha256(str(number).encode())
    types = abi.BY_NUMBER[number].arguments
    for position, (kind, value) in enumerate(zip(types, arguments, strict=True)):
        length = min(arguments[position + 1], 64) if kind in {Argument.READ, Argument.WRITE} else 0
        if kind is Argument.READ:
            digest.update(memory.read_argument(value, length))
        elif kind is Argument.WRITE:
            memory.write(value, digest.digest()[:length].ljust(length, b"w"))
        elif kind is not Argument.LENGTH:
            digest.update(value.to_bytes(8, "little"))
    return int.from_bytes(digest.digest()[:8], "little")


class MixingHelpers:
    """The same, for the reference interpreter."""

    def call(self, number, arguments, memory):
        return mix(number, arguments, memory)


def digest_memory(read):
    """A digest of the mapped window; `read` takes address and size."""
    digest = hashlib.sha256()
    for start, end in MAPPED:
        digest.update(read(start, end - start))
    return digest.hexdigest()


class Runner:
    """A child process that executes runs, kept for the next ones."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def run(self, text, entry, *, constants=b"", memory=b"", argument=0, fuel=abi.FUEL_DEFAULT):
        """The outcome of a run: dict with trap (None, "fuel", "memory"), result, fuel and memory digest."""
        job = {
            "text": text.hex(),
            "entry": entry,
            "constants": constants.hex(),
            "memory": memory.hex(),
            "argument": argument,
            "fuel": fuel,
        }
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


class _Window(Memory):
    """The cage, as the helpers see it."""

    def __init__(self, libc, constants):
        super().__init__(constants, bytearray())
        whole = abi.WINDOW_BYTES + 2 * _GUARD_BYTES
        flags = _MAP_SHARED | _MAP_ANONYMOUS | _MAP_NORESERVE
        self.reservation = _map(libc, whole, 0, flags, -1)
        self.base = self.reservation + _GUARD_BYTES
        for start, end in MAPPED:
            assert libc.mprotect(self.base + start, end - start, _PROT_READ | _PROT_WRITE) == 0

    def read(self, address, size):
        self._check(address, size)
        return ctypes.string_at(self.base + address, size)

    def write(self, address, content):
        self._check(address, len(content))
        ctypes.memmove(self.base + address, content, len(content))


def _map(libc, size, protection, flags, descriptor):
    address = libc.mmap(None, size, protection, flags, descriptor, 0)
    assert address not in {None, ctypes.c_void_p(-1).value}, os.strerror(ctypes.get_errno())
    return address


def _seal(text):
    """A memfd as the engine gets it: sealed, mapped read and execute; not writable ever after."""
    descriptor = os.memfd_create("program", _MFD_ALLOW_SEALING)
    os.write(descriptor, text)
    fcntl.fcntl(descriptor, _F_ADD_SEALS, _ALL_SEALS)
    return descriptor


def _execute(libc, job):
    constants = bytes.fromhex(job["constants"])
    window = _Window(libc, constants)
    window.write(abi.CONTEXT, bytes.fromhex(job["memory"]))
    text = bytes.fromhex(job["text"])
    descriptor = _seal(text)
    code = _map(libc, len(text), _PROT_READ | _PROT_EXEC, _MAP_SHARED, descriptor)
    shared = _map(libc, 4096, _PROT_READ | _PROT_WRITE, _MAP_SHARED | _MAP_ANONYMOUS, -1)
    vm = (ctypes.c_int64 * (2 + abi.HELPERS_MAX)).from_address(shared)
    result = ctypes.c_int64.from_address(shared + 2048)
    vm[0] = job["fuel"]
    child = os.fork()
    if child == 0:
        callbacks = _install_helpers(vm, window)
        run = ctypes.CFUNCTYPE(
            ctypes.c_int64, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_uint64
        )(code + job["entry"])
        result.value = run(window.base, shared, constants, job["argument"])
        os._exit(0 if callbacks else 1)
    _, status = os.waitpid(child, 0)
    faulted = os.WIFSIGNALED(status) and os.WTERMSIG(status) in {signal.SIGSEGV, signal.SIGBUS}
    assert faulted or status == 0, status
    outcome = {
        "trap": "memory" if faulted else "fuel" if vm[0] < 0 else None,
        "result": result.value & _MASK,
        "fuel": vm[0],
        "memory": digest_memory(window.read),
    }
    libc.munmap(window.reservation, abi.WINDOW_BYTES + 2 * _GUARD_BYTES)
    libc.munmap(code, len(text))
    libc.munmap(shared, 4096)
    os.close(descriptor)
    return outcome


def _install_helpers(vm, window):
    callbacks = []
    for helper in abi.HELPERS:

        def call(_vm, *arguments, helper=helper):
            taken = arguments[: len(helper.arguments)]
            vm[0] -= helper.measure_fuel(taken)
            if vm[0] < 0:
                return 0
            return mix(helper.number, taken, window)

        callback = ctypes.CFUNCTYPE(ctypes.c_uint64, *[ctypes.c_uint64] * 6)(call)
        callbacks.append(callback)
        vm[abi.VM_HELPERS_OFFSET // 8 + helper.number] = ctypes.cast(callback, ctypes.c_void_p).value
    return callbacks


def main():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for line in sys.stdin:
        print(json.dumps(_execute(libc, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
