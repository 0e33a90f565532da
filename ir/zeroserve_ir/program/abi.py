"""The contract between route programs and whatever runs them.

One table for all: the verifier takes argument types from it, the reference interpreter and the engine
implement it, `make gen` writes the engine's `program/abi.rs`, the C header and docs/abi.md from it.
A change of meaning raises `ABI_VERSION`; a new helper with a new number does not: an image says the highest
number that it calls, and an engine that is older refuses it.

Native entry: `i64 run(window: *mut u8, vm: *mut Vm, constants: *const u8, entry: u64)`, C calling convention.
`vm` is null for a program that neither calls anything nor goes backwards.
`Vm` begins with `fuel: i64` at byte 0 and the helpers' addresses from byte 16 on, by number. Helpers are
`extern "C" fn(vm, r1, r2, r3, r4, r5) -> u64`; arguments that the table does not name are 0. A helper
subtracts its fuel first, and does nothing when the rest is negative; one that must trap sets fuel to
TRAP_FUEL. Fuel below zero after a call means a trap. Before its jump, a back edge (target at or before the
jump) subtracts the slots from target to jump, both included; a local call subtracts the slots of the called
subprogram (from its first slot to the next called slot or the end), since eight levels of calls without a
loop could still run for days. Both leave when the rest is negative.

In eBPF terms: at entry r1 is CONTEXT, r2 the entry number (0: request; others: see tables), r10 the stack's
top. Guest addresses are 32-bit offsets in the window; only CONTEXT, STACK and HEAP are mapped. `lddw rN,
constants+off` (source register 6, first immediate 0 as the map's index, second immediate off: RFC 9669, 5.4)
gives CONSTANTS + off: readable by loads whose pointer the verifier tracked, and by helpers. Loads and stores
through any other value wrap to 32 bits, then add their 16-bit offset, and hit the window or its guards; what
touches an unmapped byte traps. Atomic operations wrap (value + offset) to 32 bits and round it down to their
size. An interpreter that has no verifier's tracking may take values of CONSTANTS and above for constants.
"""

from __future__ import annotations

from enum import Enum, IntEnum

from zeroserve_ir.program.abi_plugins import CALL_PLUGIN, PLUGIN_HELPERS
from zeroserve_ir.program.abi_plugins import Codec as Codec
from zeroserve_ir.program.abi_plugins import Digest as Digest
from zeroserve_ir.program.abi_plugins import JsonKind as JsonKind
from zeroserve_ir.program.abi_plugins import KeyKind as KeyKind
from zeroserve_ir.program.abi_plugins import RequestPart as RequestPart
from zeroserve_ir.program.abi_plugins import Verdict as Verdict
from zeroserve_ir.program.abi_types import DIGEST_BYTES as DIGEST_BYTES
from zeroserve_ir.program.abi_types import LENGTH_FUEL_MAX as LENGTH_FUEL_MAX
from zeroserve_ir.program.abi_types import Argument as Argument
from zeroserve_ir.program.abi_types import Capability as Capability
from zeroserve_ir.program.abi_types import Helper as Helper
from zeroserve_ir.program.abi_types import Use as Use

ABI_VERSION = 2
ABI_OLDEST = 1
"""Programs of this one run as well: before 2, nobody folded a path but `fold_path`."""

CONTEXT = 0x1_0000
CONTEXT_BYTES = 0x1_0000
STACK = 0x2_0000
FRAME_BYTES = 512
CALL_DEPTH_MAX = 8
STACK_TOP = STACK + FRAME_BYTES * CALL_DEPTH_MAX
HEAP = 0x3_0000
HEAP_BYTES = 0x1_0000
CONSTANTS = 0x1_0000_0000
WINDOW_BYTES = 0x1_0000_0000

LOAD_OF_WINDOW = 1
"""The immediate, else 0, of loads that the verifier knows not to be of the constants, in byte code for the
engine's interpreter: it must not take a number for a pointer to them, as native code does not."""
INSTRUCTIONS_MAX = 4096
CONSTANTS_BYTES_MAX = 1 << 20
TABLE_ROWS_MAX = 1 << 16
FUEL_DEFAULT = 1 << 20
TRAP_FUEL = -(1 << 62)
HELPERS_MAX = 160
VM_FUEL_OFFSET = 0
VM_HELPERS_OFFSET = 16
PATH_BYTES_MAX = 16 << 10
"""Longer request paths are refused by the engine (414) before any program runs."""
OVERREAD_BYTES = 64
"""Bytes kept after the path ("/" and zeros), so that programs may compare eight bytes at a time."""
FOLDED_BYTES_MAX = 256
FOLDED_END_BYTES = 16


class Field(Enum):
    """Context fields: (offset from CONTEXT, bytes). Read-only by convention; all little-endian."""

    ABI = (0, 4)
    ENTRY = (4, 4)
    METHOD = (8, 4)
    """`Method`, OTHER for extension methods."""
    SCHEME = (12, 4)
    """0 http, 1 https, of the listener."""
    PATH = (16, 4)
    """Guest address of the path: always that of PATH_BYTES, so that programs may use the constant."""
    PATH_LENGTH = (20, 4)
    STATUS = (24, 4)
    """Error routes and response entries: the status; else 0."""
    RESUME_RESULT = (28, 4)
    """After a suspend: what the operation gave."""
    PATH_BYTES = (256, PATH_BYTES_MAX + OVERREAD_BYTES)
    """The normalised path as it is now (rewrites change it), one "/" after its end, then zeros.

    The "/" makes an element-wise prefix one comparison: "/a" fits where the bytes begin with "/a/"."""
    FOLDED_LENGTH = (32, 4)
    """Length of the folded path; 0, as the next two are zeros, where nobody has folded this path.

    It is folded at the entries of a program that says so (`reads_folded_path`), and by `fold_path`."""
    FOLDED_BYTES = (256 + PATH_BYTES_MAX + OVERREAD_BYTES, FOLDED_BYTES_MAX)
    """The beginning of the path as Caddy's `path` compares it (decoded, cleaned, lower case), then zeros."""
    FOLDED_END = (256 + PATH_BYTES_MAX + OVERREAD_BYTES + FOLDED_BYTES_MAX, FOLDED_END_BYTES)
    """The last bytes of that path, behind zeros where it is shorter."""

    @property
    def offset(self) -> int:
        """Bytes from CONTEXT."""
        return self.value[0]


class Method(IntEnum):
    """Context METHOD."""

    OTHER = 0
    GET = 1
    HEAD = 2
    POST = 3
    PUT = 4
    DELETE = 5
    CONNECT = 6
    OPTIONS = 7
    TRACE = 8
    PATCH = 9


class Action(IntEnum):
    """What the program asks for: r0 bits 0 to 7. Bits 8 to 31 are `detail`, bits 32 to 63 `index`."""

    NOT_FOUND = 0
    """No route applied: the engine's own 404."""
    RESPOND = 1
    """index: row of Tables.responses."""
    PROXY = 2
    """index: row of Tables.proxies."""
    FILE = 3
    """index: row of Tables.file_servers; detail: entry to run on at where it passes the request on, or 0."""
    ABORT = 4
    """Close the connection without an answer."""
    ERROR = 5
    """detail: status, 0 for that of `set_status`; to the error routes, or the engine's page."""
    SUSPEND = 6
    """detail: entry to resume at; index: operation and row, see `Operation`."""
    EMPTY = 7
    """200 with an empty body: Caddy's answer when no handler wrote one."""
    PASS = 8
    """Response entries: the answer goes on as it is, with the status of `set_status` if that was called."""
    ANSWER = 9
    """The answer that a plugin made; only `call_plugin` gives it."""


class Operation(IntEnum):
    """What a suspended program waits for: index bits 0 to 7; bits 8 to 31 are the table row."""

    CHECK_PASSWORD = 1
    """Row of Tables.credentials; RESUME_RESULT 1 when the password is right, else 0."""
    MATCH_FILE = 2
    """Row of Tables.file_matches; RESUME_RESULT 0, 1 or 3 as `match_file` gives it."""
    READ_BODY = 9
    """No row. The program goes on once the request's body is here; too large a one is answered with 413."""
    CALL_PLUGIN = 16
    """Row of Tables.plugin_calls; afterwards `call_plugin` is called for that row again."""
    PAUSE = 25
    """Row of Tables.faults: the program goes on after its delay."""
    TAKE_TOKEN = 26
    """Row of Tables.rate_limits; RESUME_RESULT 0, 1 or 3 as `limit_shared_rate` gives it."""


_ROW = (Argument.ROW,)
_WRITES = "; what it writes costs one fuel for 16 bytes besides"

HELPERS: tuple[Helper, ...] = (
    Helper(1, "match_path", _ROW, 16, "1 when a pattern of Tables.paths[row] fits the decoded path"),
    Helper(2, "match_regexp", _ROW, 64, "1 when Tables.regexps[row] fits; its captures are kept"),
    Helper(3, "match_host", _ROW, 16, "1 when the host is among Tables.hosts[row]"),
    Helper(4, "match_method", _ROW, 8, "1 when the method is among Tables.methods[row]"),
    Helper(5, "match_header", _ROW, 16, "1 when Tables.headers[row] fits"),
    Helper(6, "match_query", _ROW, 16, "1 when Tables.queries[row] fits"),
    Helper(7, "match_protocol", _ROW, 8, "1 when the request is of Tables.protocols[row]"),
    Helper(8, "match_remote_ip", _ROW, 16, "1 when the peer lies in Tables.addresses[row]"),
    Helper(9, "match_client_ip", _ROW, 16, "1 when the client lies in Tables.addresses[row]"),
    Helper(10, "match_variable", _ROW, 16, "1 when Tables.variables[row] fits"),
    Helper(11, "find_path", _ROW, 32, "value of the longest entry of Tables.tries[row], or 0"),
    Helper(127, "find_pattern", _ROW, 32, "lowest value of Tables.pattern_tries[row] that fits, or 0"),
    Helper(126, "fold_path", (), 16, "writes the folded path, as `match_path` compares it, to the context"),
    Helper(16, "rewrite", _ROW, 64, "applies Tables.rewrites[row] to method, path and query" + _WRITES),
    Helper(
        17, "change_request_headers", _ROW, 32, "applies Tables.header_changes[row] to the request" + _WRITES
    ),
    Helper(
        18, "change_response_headers", _ROW, 32, "applies Tables.header_changes[row] to the answer" + _WRITES
    ),
    Helper(19, "limit_request_body", (Argument.SCALAR,), 1, "413 past so many bytes; 0 lifts the limit"),
    Helper(
        20,
        "check_password",
        _ROW,
        64,
        "basic authentication by Tables.credentials[row]: 0 refused, 1 right, 2 not known yet (suspend)",
    ),
    Helper(21, "assign_variables", _ROW, 16, "sets the variables of Tables.assignments[row]" + _WRITES),
    Helper(
        22,
        "require_authentication",
        _ROW,
        8,
        "adds WWW-Authenticate of Tables.credentials[row] to the answer",
    ),
    Helper(37, "map_values", _ROW, 16, "placeholders of Tables.maps[row] are defined from here on"),
    Helper(38, "append_log", _ROW, 16, "adds Tables.log_fields[row] to the access log line"),
    Helper(39, "trace_request", _ROW, 32, "takes part in the request's W3C trace, by Tables.traces[row]"),
    Helper(
        24,
        "match_file",
        _ROW,
        128,
        "Tables.file_matches[row]: 0 no file, 1 found, 2 not known yet (suspend), 3 raises its status",
    ),
    Helper(40, "encode_answer", _ROW, 48, "the answer may be encoded by Tables.encodings[row]"),
    Helper(
        45,
        "match_expression",
        _ROW,
        256,
        "1 when Tables.expressions[row] holds, 0 when not, 2 when it has no value",
    ),
    Helper(47, "read_body", (), 8, "0 when the request's body is here, 2 when not yet (suspend)"),
    Helper(46, "limit_rate", _ROW, 64, "counts the request by Tables.rate_limits[row]: 1 past its rate"),
    Helper(
        144,
        "limit_shared_rate",
        _ROW,
        64,
        "as limit_rate, with all nodes: 0 allowed, 1 past the rate, 2 not known yet (suspend), 3 store down",
    ),
    Helper(140, "use_cache", _ROW, 64, "the next proxy call's answer may be kept, by Tables.caches[row]"),
    Helper(141, "draw_fault", _ROW, 8, "what Tables.faults[row] means for the request: 1 a delay, 2 an end"),
    Helper(
        143,
        "limit_concurrency",
        _ROW,
        64,
        "takes a place by Tables.concurrencies[row]: 1 if none is left",
    ),
    Helper(142, "limit_bandwidth", _ROW, 8, "the answer's body goes out as Tables.bandwidths[row] allows"),
    Helper(61, "evaluate_templates", _ROW, 16, "the answer may be a template, by Tables.templates[row]"),
    Helper(
        60, "note_step", _ROW, 4, "records that Tables.steps[row] was reached, where the request is explained"
    ),
    Helper(
        30,
        "match_response",
        _ROW,
        16,
        "1 when Tables.response_matches[row] fits the answer at hand, or the error's status",
    ),
    Helper(31, "set_status", _ROW, 16, "the status of the next PASS or ERROR, from Tables.texts[row]"),
    Helper(
        32,
        "copy_response_fields",
        _ROW,
        32,
        "adds the fields of Tables.field_selections[row] of the upstream's answer to the answer",
    ),
    Helper(33, "intercept", (Argument.SCALAR,), 8, "calls the program at this entry once there is an answer"),
    Helper(34, "set_request_body", _ROW, 32, "replaces the request's body by Tables.texts[row]"),
    Helper(
        64,
        "read_request_header",
        (Argument.READ, Argument.LENGTH, Argument.WRITE, Argument.LENGTH),
        32,
        "copies the first value of the named field; its length (which may exceed the room), or -1",
        Use.BOTH,
        bytes_per_fuel=16,
    ),
    Helper(
        65,
        "write_request_header",
        (Argument.READ, Argument.LENGTH, Argument.READ, Argument.LENGTH),
        32,
        "sets a field of the request; 0, or -1 when not allowed or without room",
        Use.BOTH,
        Capability.REQUEST_WRITE,
        bytes_per_fuel=16,
    ),
    Helper(
        66,
        "write_response_header",
        (Argument.READ, Argument.LENGTH, Argument.READ, Argument.LENGTH),
        32,
        "sets a field of the answer; 0, or -1 when not allowed or without room",
        Use.BOTH,
        Capability.RESPONSE_WRITE,
        bytes_per_fuel=16,
    ),
    Helper(
        67,
        "log_message",
        (Argument.READ, Argument.LENGTH),
        64,
        "writes a line to the engine's log; of a plugin's no more than 100 a second",
        Use.BOTH,
        bytes_per_fuel=16,
    ),
    CALL_PLUGIN,
    *PLUGIN_HELPERS,
)

BY_NUMBER = {helper.number: helper for helper in HELPERS}
BY_NAME = {helper.name: helper for helper in HELPERS}


def encode_action(action: Action, index: int = 0, detail: int = 0) -> int:
    """Return r0 for an action."""
    return action | detail << 8 | index << 32
