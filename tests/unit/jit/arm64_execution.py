"""Executes native arm64 programs under qemu-user, without a toolchain: each run is an ELF file made here.

The file's segments are the window's mapped parts, the constants, `Vm` and the program, at fixed addresses
with nothing between them; a few instructions call `run` and write the memory to standard output. The
addresses are low because qemu takes a second to map high ones.
"""

import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from zeroserve_dataplane.verifier.accesses import MAPPED
from zeroserve_ir.program import abi

QEMU = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
_PAGE = 4096
_STUB, _VM, _CONSTANTS, _TEXT, _WINDOW = 0x100000, 0x200000, 0x300000, 0x800000, 0x1000000
_RESULT = _VM + 2048
_SYS_WRITE, _SYS_EXIT = 64, 93
_SVC, _RET = 0xD4000001, 0xD65F03C0
_MASK = (1 << 64) - 1


class PlainHelpers:
    """What helpers compute here, for the reference interpreter: r1 * 31 + number."""

    def call(self, number, arguments, memory):
        return arguments[0] * 31 + number & _MASK


def run(text, entry, *, constants=b"", memory=b"", argument=0, fuel=abi.FUEL_DEFAULT):
    """The outcome of a run: trap (None, "fuel", "memory"), result, fuel, and a function that reads memory."""
    vm = bytearray(_PAGE)
    struct.pack_into("<q", vm, 0, fuel)
    stub = _write_stub(_TEXT + entry, argument)
    for helper in abi.HELPERS:
        address = _STUB + len(stub)
        struct.pack_into("<Q", vm, abi.VM_HELPERS_OFFSET + 8 * helper.number, address)
        stub += _write_helper(helper)
    parts = [(_STUB, stub, 5), (_VM, bytes(vm), 6), (_CONSTANTS, constants or b"\0", 4), (_TEXT, text, 5)]
    for start, end in MAPPED:
        content = memory if start == abi.CONTEXT else b""
        parts.append((_WINDOW + start, content.ljust(end - start, b"\0"), 6))
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(_link(parts))
    path = Path(file.name)
    path.chmod(0o700)
    try:
        done = subprocess.run([QEMU, str(path)], capture_output=True, check=False, timeout=60)
    finally:
        path.unlink()
    if done.returncode == -11 or b"SIGSEGV" in done.stderr or b"signal 11" in done.stderr:
        return {"trap": "memory"}
    assert done.returncode == 0, (done.returncode, done.stderr)
    left, result = struct.unpack_from("<q", done.stdout)[0], struct.unpack_from("<Q", done.stdout, 2048)[0]
    content = done.stdout[_PAGE:]

    def read(address, size):
        offset = 0
        for start, end in MAPPED:
            if start <= address < end:
                return content[offset + address - start :][:size]
            offset += end - start
        raise AssertionError(address)

    return {"trap": "fuel" if left < 0 else None, "result": result, "fuel": left, "read": read}


def _link(parts):
    """An ELF executable with a segment for each (address, content, flags)."""
    header_bytes, entry_bytes = 64, 56
    offset = -(-(header_bytes + entry_bytes * len(parts)) // _PAGE) * _PAGE
    table, body = b"", b""
    for address, content, flags in parts:
        sizes = (len(content), len(content))
        table += struct.pack("<IIQQQQQQ", 1, flags, offset + len(body), address, address, *sizes, _PAGE)
        body += content.ljust(-(-len(content) // _PAGE) * _PAGE, b"\0")
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH",
        2,
        183,
        1,
        _STUB,
        header_bytes,
        0,
        0,
        header_bytes,
        entry_bytes,
        len(parts),
        64,
        0,
        0,
    )
    return (header + table).ljust(offset, b"\0") + body


def _write_stub(entry, argument):
    code = _set(0, _WINDOW) + _set(1, _VM) + _set(2, _CONSTANTS) + _set(3, argument)
    code += _set(9, entry) + _words(0xD63F0000 | 9 << 5)  # blr x9
    code += _set(1, _RESULT) + _words(0xF9000020)  # str x0, [x1]
    for address, size in ((_VM, _PAGE), *((_WINDOW + start, end - start) for start, end in MAPPED)):
        code += _set(0, 1) + _set(1, address) + _set(2, size) + _set(8, _SYS_WRITE) + _words(_SVC)
    return code + _set(0, 0) + _set(8, _SYS_EXIT) + _words(_SVC)


def _write_helper(helper):
    charge = (0xF9400009, 0xD1000000 | helper.fuel << 10 | 9 << 5 | 9)  # ldr x9, [x0]; sub
    return (
        _words(*charge, *_charge_lengths(helper), 0xF9000009)  # str x9, [x0]
        + _set(10, 31)
        + _set(11, helper.number)
        + _words(0x9B000000 | 10 << 16 | 11 << 10 | 1 << 5, _RET)  # madd x0, x1, x10, x11; ret
    )


def _charge_lengths(helper):
    """Take what lengths cost from x9: their sum in x12, divided with what is left rounded up."""
    if not helper.is_charged_by_length:
        return ()
    shift = helper.bytes_per_fuel.bit_length() - 1
    assert helper.bytes_per_fuel == 1 << shift
    registers = [1 + at for at, kind in enumerate(helper.arguments) if kind is abi.Argument.LENGTH]
    return (
        0xD280000C,  # movz x12, 0
        *(0x8B00018C | register << 16 for register in registers),  # add x12, x12, register
        0x9100018C | (helper.bytes_per_fuel - 1) << 10,  # add x12, x12, bytes_per_fuel - 1
        0xD340FD8C | shift << 16,  # lsr x12, x12, shift
        0xCB0C0129,  # sub x9, x9, x12
    )


def _set(register, value):
    """movz and three movk."""
    return _words(
        *(
            (0xF2800000 if half else 0xD2800000) | half << 21 | (value >> 16 * half & 0xFFFF) << 5 | register
            for half in range(4)
        )
    )


def _words(*words):
    return struct.pack(f"<{len(words)}I", *words)
