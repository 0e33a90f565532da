"""What the engine's helpers do for an empty request without tables, for the reference interpreter."""

import string

from zeroserve_dataplane.interpreter import Interpreter, Trap, TrapError
from zeroserve_ir.program import abi
from zeroserve_ir.program.arithmetic import MASK_32

_TOKEN = frozenset((string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode())
_FORBIDDEN = frozenset(b"\r\n\0")
_CONNECTION_FIELDS = frozenset({b"te"})
"""Of those that are not end to end, the names that random letters come to."""

HELPERS = [abi.BY_NAME["limit_request_body"]] * 12 + [abi.BY_NAME["match_path"]]
"""For random programs: seldom one that traps, as all with a row do here."""


def spell(content):
    """The bytes as letters, so that any part is the name of a header field."""
    return bytes(ord("a") + byte % 26 for byte in content)


class EngineHelpers:
    """The helpers that need no request; a table row is never there."""

    MISSING = (1 << 64) - 1

    def __init__(self):
        self.fields = {}
        self.charge = None

    def run(self, program, memory, fuel, argument, *, kind=Interpreter):
        """Run a program on the reference interpreter, or one of its kind, with these helpers."""
        interpreter = kind(program, memory, self, fuel)
        self.charge = interpreter.charge
        return interpreter.run(argument)

    def call(self, number, arguments, memory):
        name = abi.BY_NUMBER[number].name
        if name == "read_request_header":
            return self._read_field(arguments, memory)
        if name in {"write_request_header", "write_response_header"}:
            return self._write_field(name, arguments, memory)
        if name == "log_message":
            memory.read_argument(*arguments)
        elif name != "limit_request_body":
            raise TrapError(Trap.HELPER, name)
        return 0

    def _read_field(self, arguments, memory):
        name = memory.read_argument(*arguments[:2]).lower()
        # What is written to wraps to 32 bits, as stores do.
        room, room_bytes = arguments[2] & MASK_32, arguments[3]
        memory.read(room, room_bytes)
        if name not in self.fields:
            return self.MISSING
        value = self.fields[name]
        memory.write(room, value[:room_bytes])
        if len(value) > room_bytes:
            self.charge(-(-(len(value) - room_bytes) // 16), "for what found no room")
        return len(value)

    def _write_field(self, helper, arguments, memory):
        name, value = memory.read_argument(*arguments[:2]), memory.read_argument(*arguments[2:])
        name = name.lower()
        if not name or not _TOKEN.issuperset(name) or name in _CONNECTION_FIELDS or _FORBIDDEN & set(value):
            return self.MISSING
        if helper == "write_request_header":
            self.fields[name] = value
        return 0
