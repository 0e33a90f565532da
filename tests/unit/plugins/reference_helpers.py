"""The plugins' helpers in plain Python, for the reference interpreter: a second opinion to the engine's.

Only what the examples call; a request is a `Request`, and what a function changes is changed in it.
"""

import base64
import hashlib
import hmac
import json
import time
import urllib.parse
from dataclasses import dataclass, field

from zeroserve_dataplane.interpreter import Interpreter, Memory
from zeroserve_dataplane.verifier import Verified, verify
from zeroserve_ir.program import abi

NONE = (1 << 64) - 1


@dataclass
class Request:
    """A request on its way, its configuration, and what became of it."""

    target: str = "/"
    method: str = "GET"
    fields: list = field(default_factory=list)
    config: dict = field(default_factory=dict)
    host: str = "example.com"
    body: bytes = b""
    body_goes_on: bool = False
    secrets: dict = field(default_factory=dict)
    now: int = 1440938160
    client: str = "192.0.2.1"
    answer: list = field(default_factory=list)
    events: dict = field(default_factory=dict)
    lot: int = 0

    def get(self, name):
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)

    def replace(self, name, value):
        self.fields = [(key, old) for key, old in self.fields if key.lower() != name.lower()]
        if value is not None:
            self.fields.append((name, value))
        return 0


def run(module, name, request):
    """Run a function; returns (kind of verdict, detail)."""
    verified = verify(module.code, 0)
    assert isinstance(verified, Verified), verified
    memory = Memory()
    memory.write(abi.HEAP, module.data)
    helpers = Helpers(request)
    outcome = Interpreter(verified, memory, helpers, fuel=abi.FUEL_DEFAULT).run(module.find(name).entry)
    assert outcome.trap is None, outcome.found
    request.fuel_used = abi.FUEL_DEFAULT - outcome.fuel
    return abi.Verdict(outcome.result & 0xFF), outcome.result >> 8 & 0xFFFFFF


class Helpers:
    """By name; READ arguments arrive as bytes, WRITE ones as (address, room)."""

    def __init__(self, request):
        self.request = request
        self.documents = [{"version": 1, "config": request.config, "route": {}}]
        self.keys = []

    def call(self, number, arguments, memory):
        helper = abi.BY_NUMBER[number]
        assert helper.use is not abi.Use.ROUTE
        given = []
        for at, kind in enumerate(helper.arguments):
            if kind is abi.Argument.READ:
                given.append(memory.read_argument(arguments[at], arguments[at + 1]))
            elif kind is abi.Argument.WRITE:
                given.append((arguments[at], arguments[at + 1]))
            elif kind in (abi.Argument.SCALAR, abi.Argument.DIGEST):
                given.append(arguments[at])
        result = getattr(self, helper.name)(*given)
        if isinstance(result, tuple):
            (address, room), content = result
            if content is None:
                return NONE
            memory.write(address, content[:room])
            return len(content)
        return result & NONE

    def find(self, document, pointer):
        value = self.documents[document]
        for word in pointer.decode().split("/")[1:]:
            name = word.replace("~1", "/").replace("~0", "~")
            try:
                value = value[int(name)] if isinstance(value, list) else value[name]
            except (KeyError, IndexError, ValueError, TypeError):
                return KeyError
        return value

    def read_json(self, document, pointer, out):
        value = self.find(document, pointer)
        if value is KeyError:
            return out, None
        return out, value.encode() if isinstance(value, str) else json.dumps(value).encode()

    def parse_json(self, text):
        try:
            self.documents.append(json.loads(text))
        except ValueError:
            return -1
        return len(self.documents) - 1

    def find_json_kind(self, document, pointer):
        value = self.find(document, pointer)
        kinds = {type(None): 1, bool: 2, int: 3, float: 3, str: 4, list: 5, dict: 6}
        return 0 if value is KeyError else kinds[type(value)]

    def count_json(self, document, pointer):
        value = self.find(document, pointer)
        return len(value) if isinstance(value, list | dict) else -1

    def read_json_key(self, document, number, out):
        names = list(self.documents[document])
        return out, names[number].encode() if number < len(names) else None

    def read_request(self, part, out):
        path, _, query = self.request.target.partition("?")
        values = {
            abi.RequestPart.METHOD: self.request.method,
            abi.RequestPart.PATH: path,
            abi.RequestPart.QUERY: query,
            abi.RequestPart.HOST: self.request.host,
            abi.RequestPart.CLIENT_IP: self.request.client,
        }
        return out, values[part].encode()

    def read_request_header(self, name, out):
        value = self.request.get(name.decode())
        return out, None if value is None else value.encode()

    def read_request_field(self, number, out):
        fields = [(name, value) for name, value in self.request.fields if name.lower() != "host"]
        return out, f"{fields[number][0].lower()}: {fields[number][1]}".encode() if number < len(
            fields
        ) else None

    def write_request_header(self, name, value):
        return self.request.replace(name.decode(), value.decode())

    def remove_request_header(self, name):
        return self.request.replace(name.decode(), None)

    def read_request_body(self, offset, out):
        return out, self.request.body[offset:]

    def count_request_body(self, _):
        return NONE if self.request.body_goes_on else len(self.request.body)

    def read_cookie(self, name, out):
        pairs = (each.strip().partition("=") for each in (self.request.get("cookie") or "").split(";"))
        return out, next((value.encode() for key, _, value in pairs if key == name.decode()), None)

    def write_response_header(self, name, value):
        self.request.answer.append((name.decode(), value.decode()))
        return 0

    add_response_header = write_response_header

    def encode(self, codec, content, out):
        safe = {abi.Codec.PERCENT: "", abi.Codec.PERCENT_PATH: "/"}
        if codec in safe:
            return out, urllib.parse.quote(content, safe=safe[codec]).encode()
        if codec == abi.Codec.HEX:
            return out, content.hex().encode()
        return out, base64.urlsafe_b64encode(content).rstrip(b"=")

    def decode(self, codec, text, out):
        if codec == abi.Codec.BASE64_URL:
            try:
                return out, base64.b64decode(text + b"=" * (-len(text) % 4), b"-_", validate=True)
            except ValueError:
                return out, None
        plus = text.replace(b"+", b" ") if codec == abi.Codec.FORM else text
        return out, urllib.parse.unquote_to_bytes(plus)

    def digest(self, kind, content, out):
        assert kind == abi.Digest.SHA256
        return out, hashlib.sha256(content).digest()

    def hmac_sha256(self, key, content, address):
        return (address, 32), hmac.digest(key, content, "sha256")

    def compare_secrets(self, left, right):
        return int(hmac.compare_digest(left, right))

    def fill_random(self, out):
        return out, self.request.lot.to_bytes(out[1], "little")

    def read_time(self, _):
        return self.request.now

    def format_time(self, seconds, pattern, out):
        return out, time.strftime(pattern.decode(), time.gmtime(seconds)).encode()

    def limit_events(self, key, most, _milliseconds):
        self.request.events[key] = self.request.events.get(key, 0) + 1
        return int(self.request.events[key] > most)

    def read_secret(self, name, out):
        return out, self.request.secrets.get(name.decode())

    def log_message(self, _text):
        return 0

    count_metric = remove_response_header = lambda self, *_: 0
