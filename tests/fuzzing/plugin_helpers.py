"""The plugins' helpers in plain Python, for the reference interpreter: a second opinion to the engine's.

In: what a plugin is granted, and a request. What a call changes is in `request` and `answer`, as the engine
shows it. The rule: a helper that cannot be foretold (random bytes, signatures of public keys) says so by
UnsureError; everything else must be equal, byte for byte.
"""

import re
import string
from dataclasses import dataclass, field, replace

from zeroserve_dataplane.interpreter import Trap, TrapError
from zeroserve_ir.program import abi
from zeroserve_ir.program.abi import Argument, Capability, RequestPart

from fuzzing.plugin_computing import Computing, unescape
from fuzzing.plugin_documents import MISSING, Documents, UnsureError, print_value, show

NONE, LATER = -1, -2
MASK_32, MASK_64 = (1 << 32) - 1, (1 << 64) - 1
TEXT_BYTES_MAX = 64 << 10
METADATA_MAX, METADATA_BYTES_MAX = 64, 64 << 10
VALUES_MAX, VALUES_BYTES_MAX, VALUE_BYTES = 4096, 1 << 20, 64
TTL_S_MAX = 366 * 86_400
COPIED, PARSED = 16, 1
NAME_FUEL, LETTER_FUEL = 64, 16
METHOD_BYTES_MAX, FIELDS_MAX, HEAD_BYTES_MAX = 32, 256, 128 << 10
COUNTERS, DELTA_MAX, COUNTED_MAX = 4, 1 << 48, 256
PREFIX = b"plugin."
_TOKEN = frozenset((string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode())
_HOPS = frozenset(
    b"te host proxy expect trailer upgrade forwarded connection keep-alive content-length proxy-connection "
    b"transfer-encoding proxy-authenticate proxy-authorization".split()
)
_TWINS = frozenset(
    b"x-real-ip x-request-id x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto".split()
)
_BLANK = b" \t\n\x0c\r\0"
_PLAIN_PATH = re.compile(rb"(/[A-Za-z0-9_]+)+\Z")


def is_token(name):
    """RFC 9110 5.6.2."""
    return bool(name) and _TOKEN.issuperset(name)


def is_writable(name):
    """Whether programs may write a field."""
    lower = name.lower()
    return is_token(name) and lower not in _HOPS and lower.replace(b"_", b"-") not in _TWINS


def is_value(value):
    """Whether a field may have this value."""
    return not set(value) & set(b"\r\n\0")


@dataclass
class Request:
    """A request as the engine holds it, without Host; and what became of the answer."""

    method: bytes = b"GET"
    path: bytes = b"/"
    query: bytes | None = None
    host: bytes = b"example.com"
    client: bytes = b"127.0.0.1"
    fields: list = field(default_factory=list)
    answer: list = field(default_factory=list)
    status: int = 0
    body: bytes = b""
    variables: list = field(default_factory=list)


@dataclass(frozen=True)
class Granted:
    """What a plugin is granted."""

    name: str
    capabilities: Capability
    secrets: dict = field(default_factory=dict)
    upstreams: tuple = ()
    now_s: int = 0


def _charge_nothing(_fuel, _found):
    """Whoever runs a call puts the interpreter's there."""


def _get(fields, name):
    return next((value for key, value in fields if key.lower() == name.lower()), None)


def _remove(fields, name):
    fields[:] = [(key, value) for key, value in fields if key.lower() != name.lower()]


def _set(fields, name, value):
    at = next((at for at, (key, _) in enumerate(fields) if key.lower() == name.lower()), None)
    if at is None:
        fields.append((name, value.strip(_BLANK)))
        return
    kept = fields[at][0]
    rest = [(key, old) for key, old in fields[at + 1 :] if key.lower() != name.lower()]
    fields[at:] = [(kept, value.strip(_BLANK)), *rest]


class PluginHelpers(Computing):
    """By name; READ arguments arrive as bytes, WRITE arguments are written from what a method returns."""

    def __init__(self, granted, request):
        self.granted = granted
        self.request = replace(
            request, **{name: [*getattr(request, name)] for name in ("fields", "answer", "variables")}
        )
        route = {"plugin": granted.name, "function": ""}
        super().__init__()
        self.documents = Documents({"version": 1, "config": None, "route": route})
        self.values = {}
        self.swept_s = 0
        self.events = {}
        self.counted = 0
        self.path_bytes = 0
        self.later = False
        self.charge = _charge_nothing

    def call(self, number, arguments, memory):
        """Call a helper: see `interpreter.Helpers`."""
        helper = abi.BY_NUMBER[number]
        if helper.use is abi.Use.ROUTE:
            raise TrapError(Trap.HELPER, "not for plugins")
        if helper.capability is not None and helper.capability not in self.granted.capabilities:
            raise TrapError(Trap.HELPER, "not granted")
        given, room = [], None
        for at, kind in enumerate(helper.arguments):
            if kind is Argument.READ:
                limited = number <= abi.BY_NAME["log_message"].number
                if limited and arguments[at + 1] > TEXT_BYTES_MAX:
                    raise TrapError(Trap.HELPER, "text too long")
                given.append(memory.read_argument(arguments[at], arguments[at + 1]))
            elif kind in (Argument.WRITE, Argument.DIGEST):
                size = arguments[at + 1] if kind is Argument.WRITE else abi.DIGEST_BYTES
                room = (arguments[at] & MASK_32, size)
                memory.read(*room)
            elif kind is not Argument.LENGTH:
                given.append(arguments[at])
        self.memory = memory
        result = getattr(self, helper.name)(*given)
        if room is not None:
            return self._give(result, room, memory)
        return result & MASK_64

    def _give(self, result, room, memory):
        if result is None or isinstance(result, int):
            return (NONE if result is None else result) & MASK_64
        content, length = result if isinstance(result, tuple) else (result, len(result))
        memory.write(room[0], content[: room[1]])
        self._pay(max(len(content) - room[1], 0), COPIED)
        return length

    def _pay(self, size, bytes_per_fuel):
        """Charge work that was not known before it was done."""
        self.charge(-(-size // bytes_per_fuel), "for what was done")

    # Documents.

    def _follow(self, pointer):
        self._pay(pointer.count(b"/") * NAME_FUEL, 1)

    def read_json(self, document, pointer):
        self._follow(pointer)
        value = self.documents.find(document, pointer)
        if value is MISSING:
            return None
        self._pay(0 if isinstance(value, str) else len(show(value)), PARSED)
        return show(value)

    def parse_json(self, text):
        return self.documents.parse(text)

    def find_json_kind(self, document, pointer):
        self._follow(pointer)
        value = self.documents.find(document, pointer)
        kinds = {type(None): 1, bool: 2, int: 3, str: 4, list: 5, dict: 6}
        return 0 if value is MISSING else kinds[type(value)]

    def count_json(self, document, pointer):
        self._follow(pointer)
        value = self.documents.find(document, pointer)
        return len(value) if isinstance(value, list | dict) else NONE

    def write_json_string(self, document, pointer, text):
        self._follow(pointer)
        try:
            return self.documents.set_string(document, pointer, text.decode(), len(text))
        except UnicodeDecodeError:
            return NONE

    def write_json(self, document, pointer, text):
        self._follow(pointer)
        return self.documents.set_text(document, pointer, text)

    def print_json(self, document):
        value = self.documents.get(document)
        if value is MISSING:
            return None
        self._pay(len(print_value(value)), PARSED)
        return print_value(value)

    def read_json_key(self, document, number):
        value = self.documents.get(document)
        names = sorted(value) if isinstance(value, dict) else []
        self._pay(4 * min(number, len(names)), PARSED)
        return names[number].encode() if number < len(names) else None

    def format_time(self, seconds, pattern):
        self._pay(pattern.count(b"%") * LETTER_FUEL, 1)
        return super().format_time(seconds, pattern)

    # The request and the answer.

    def read_request(self, part):
        request = self.request
        uri = request.path if request.query is None else request.path + b"?" + request.query
        parts = {
            RequestPart.METHOD: request.method,
            RequestPart.PATH: request.path,
            RequestPart.QUERY: request.query or b"",
            RequestPart.URI: uri,
            RequestPart.HOST: request.host,
            RequestPart.SCHEME: b"http",
            RequestPart.PROTOCOL: b"HTTP/1.1",
            RequestPart.CLIENT_IP: request.client,
            RequestPart.REMOTE_IP: request.client,
        }
        if part in (RequestPart.ORIGINAL_URI, RequestPart.REQUEST_ID, RequestPart.ORIGINAL_METHOD):
            raise UnsureError("as it came, or random")
        return parts.get(part)

    def write_request(self, part, value):
        done = False
        if part == RequestPart.METHOD:
            done = is_token(value) and len(value) <= METHOD_BYTES_MAX
            self.request.method = value if done else self.request.method
        elif part == RequestPart.QUERY:
            done = self._write_query(value)
        elif part in (RequestPart.PATH, RequestPart.URI):
            path, mark, query = value.partition(b"?")
            is_path = path.startswith(b"/") and _is_visible(path) and not (part == RequestPart.PATH and mark)
            if not is_path or not _is_visible(query):
                done = False
            elif not _PLAIN_PATH.match(path):
                raise UnsureError("a path that is normalised")
            else:
                self.request.path = path
                done = part == RequestPart.PATH or self._write_query(query)
        self._publish_path()
        return 0 if done else NONE

    def _write_query(self, query):
        if not _is_visible(query) or len(query) > abi.PATH_BYTES_MAX:
            return False
        self.request.query = query or None
        return True

    def _publish_path(self):
        path = self.request.path[: abi.PATH_BYTES_MAX]
        zeros = min(
            max(abi.OVERREAD_BYTES, self.path_bytes - len(path)),
            abi.PATH_BYTES_MAX + abi.OVERREAD_BYTES - len(path),
        )
        content = path + b"/" + bytes(zeros - 1)
        self.memory.write(abi.CONTEXT + abi.Field.PATH_BYTES.offset, content)
        self.memory.write(abi.CONTEXT + abi.Field.PATH_LENGTH.offset, len(path).to_bytes(4, "little"))
        self.path_bytes = len(path) + 1

    def read_request_header(self, name):
        return _get(self.request.fields, name)

    def read_request_field(self, number):
        fields = self.request.fields
        return fields[number][0].lower() + b": " + fields[number][1] if number < len(fields) else None

    def write_request_header(self, name, value):
        return self._change(_set, self.request.fields, name, value)

    def add_request_header(self, name, value):
        return self._change(_add, self.request.fields, name, value)

    def remove_request_header(self, name):
        return self._drop(self.request.fields, name)

    def write_response_header(self, name, value):
        return self._change(_set, self.request.answer, name, value)

    def add_response_header(self, name, value):
        return self._change(_add, self.request.answer, name, value)

    def remove_response_header(self, name):
        return self._drop(self.request.answer, name)

    def _change(self, change, fields, name, value):
        size = sum(len(key) + len(kept) for key, kept in fields) + len(name) + len(value)
        has_room = len(fields) < FIELDS_MAX and size <= HEAD_BYTES_MAX
        if not has_room or not is_writable(name) or not is_value(value):
            return NONE
        change(fields, name, value)
        return 0

    def _drop(self, fields, name):
        if not is_writable(name) or b"*" in name:
            return NONE
        _remove(fields, name)
        return 0

    def read_query(self, key):
        self._pay(len(self.request.query or b""), PARSED)
        for pair in (self.request.query or b"").split(b"&"):
            name, _, value = pair.partition(b"=")
            decoded = unescape(name.replace(b"+", b" ")), unescape(value.replace(b"+", b" "))
            if pair and b";" not in pair and None not in decoded and decoded[0] == key:
                return decoded[1]
        return None

    def read_cookie(self, name):
        lines = [line for key, line in self.request.fields if key.lower() == b"cookie"]
        self._pay(sum(map(len, lines)), PARSED)
        for key, line in self.request.fields:
            for pair in line.split(b";") if key.lower() == b"cookie" else ():
                word, mark, value = pair.partition(b"=")
                if mark and word.strip(_BLANK[:-1]) == name:
                    return value.strip(_BLANK[:-1])
        return None

    def read_request_body(self, _offset):
        return LATER

    def count_request_body(self, _):
        return LATER

    def read_response_status(self, _):
        return 0

    def read_response_header(self, name):
        return _get(self.request.answer, name)

    def set_response_status(self, status):
        if not 200 <= status <= 599:
            return NONE
        self.request.status = status
        return 0

    def set_response_body(self, body):
        self.request.body = body
        return 0

    # What is kept.

    def read_metadata(self, name):
        found = (value for key, value in reversed(self.request.variables) if key == PREFIX + name)
        return next(found, None)

    def write_metadata(self, name, value):
        noted = self.request.variables
        size = sum(len(key) + len(kept) for key, kept in noted)
        if len(noted) >= METADATA_MAX or size + len(PREFIX + name) + len(value) > METADATA_BYTES_MAX:
            return NONE
        noted.append((PREFIX + name, value))
        return 0

    def _is_kept(self, key):
        return key in self.values and self.values[key][1] > self.granted.now_s

    def read_value(self, key):
        return self.values[key][0] if self._is_kept(key) else None

    def write_value(self, key, value, ttl_s):
        return 0 if self._keep(key, value, self.granted.now_s + min(ttl_s, TTL_S_MAX)) else NONE

    def _keep(self, key, value, until_s):
        others = {name: kept for name, kept in self.values.items() if name != key}
        for sweep in (False, True):
            if sweep and self.swept_s != self.granted.now_s:
                self.swept_s = self.granted.now_s
                others = {name: kept for name, kept in others.items() if kept[1] > self.granted.now_s}
                self.values = others | {name: kept for name, kept in self.values.items() if name == key}
            size = sum(len(name) + len(kept[0]) + VALUE_BYTES for name, kept in others.items())
            fits = len(others) < VALUES_MAX and size + len(key) + len(value) + VALUE_BYTES <= VALUES_BYTES_MAX
            if fits:
                self.values = others | {key: (value, until_s)}
                return True
        return False

    def remove_value(self, key):
        was = self._is_kept(key)
        self.values.pop(key, None)
        return int(was)

    def add_value(self, key, delta, ttl_s):
        delta -= (delta >> 63) << 64
        old, until_s = 0, self.granted.now_s + min(ttl_s, TTL_S_MAX)
        if self._is_kept(key):
            text, until_s = self.values[key]
            if not re.fullmatch(rb"[+-]?[0-9]+", text) or not -(1 << 63) <= int(text) < 1 << 63:
                return NONE
            old = int(text)
        total = old + delta
        if not -(1 << 63) <= total < 1 << 63 or not self._keep(key, str(total).encode(), until_s):
            return NONE
        return total

    def limit_events(self, key, events, window_ms):
        if not 0 < events < 1 << 32 or not window_ms:
            raise TrapError(Trap.HELPER, "events and window must be numbers above 0")
        raise UnsureError("rates are the engine's")

    def count_metric(self, counter, delta):
        if counter >= COUNTERS or delta > DELTA_MAX or self.counted >= COUNTED_MAX:
            return NONE
        self.counted += 1
        return 0

    def read_secret(self, name):
        return self.granted.secrets.get(name)

    def log_message(self, _text):
        return 0

    # Others: none of them is there.

    def call_function(self, _target, _config):
        return NONE

    def fetch(self, document):
        value = self.documents.get(document)
        if isinstance(value, dict) and "upstream" in value:
            raise UnsureError("a request that may be sent")
        return NONE

    def read_fetched_header(self, _name):
        return None

    def read_fetched_body(self, _offset):
        return None

    def find_upstream(self, name):
        return self.granted.upstreams.index(name) if name in self.granted.upstreams else NONE


def _add(fields, name, value):
    fields.append((name, value.strip(_BLANK)))


def _is_visible(text):
    return all(0x21 <= byte <= 0x7E and byte != ord("#") for byte in text)
