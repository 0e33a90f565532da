"""JSON documents of a plugin's call in plain Python: a second opinion to the engine's `plugins/documents.rs`.

Values are Python's; MISSING is what a pointer does not find. UnsureError: what the two may write differently.
"""

import json
import re

MISSING = object()
DEPTH_MAX = 32
DOCUMENTS_MAX = 32
BYTES_MAX = 4 << 20
ROOM = {ord("{"): 640, ord("["): 128, ord(","): 160}
"""What a byte of a JSON text may take once it is a value; all others take one."""
NESTING_MAX = 127
_INDEX = re.compile(r"(?:0|[1-9][0-9]*)\Z")
_PLACE = re.compile(r"\+?[0-9]+\Z")


class UnsureError(Exception):
    """The reference does not say what this is: the case proves nothing."""


def parse(text):
    """Return the value of a JSON text (RFC 8259), or MISSING."""
    try:
        decoded = text.decode()
        value = json.loads(decoded, parse_constant=_refuse, parse_float=_read_float, parse_int=_read_int)
    except (ValueError, RecursionError):
        return MISSING
    if _has_surrogates(value):
        return MISSING
    return MISSING if _measure(decoded) > NESTING_MAX else value


def _refuse(name):
    raise ValueError(name)


def _read_float(text):
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(text)
    raise UnsureError("fractions are printed in more than one way")


def _read_int(text):
    if text == "-0" or not -(1 << 63) <= int(text) < 1 << 64:
        raise UnsureError("a number that is none of 64 bits")
    return int(text)


def _measure(text):
    """Levels of brackets outside of strings."""
    level = deepest = 0
    inside = escaped = False
    for letter in text:
        if inside:
            inside = escaped or letter != '"'
            escaped = not escaped and letter == "\\"
        elif letter == '"':
            inside = True
        else:
            level += {"[": 1, "{": 1, "]": -1, "}": -1}.get(letter, 0)
            deepest = max(deepest, level)
    return deepest


def _has_surrogates(value):
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def show(value):
    """Return a value as a plugin reads it: strings bare."""
    return value.encode() if isinstance(value, str) else print_value(value)


def print_value(value):
    """Return a value as JSON text, members in the order of their names."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def measure_room(text):
    """Return the memory that the value of a JSON text takes, or more."""
    return sum(ROOM.get(byte, 1) for byte in text)


class Documents:
    """Document 0 is the input."""

    def __init__(self, given):
        self.given = given
        self.own = []
        self.used = 0

    def get(self, number):
        """Return a document, or MISSING."""
        if number == 0:
            return self.given
        return self.own[number - 1] if number <= len(self.own) else MISSING

    def find(self, number, pointer):
        """Return the value at a pointer (RFC 6901), or MISSING."""
        value = self.get(number)
        try:
            pointer = pointer.decode()
        except UnicodeDecodeError:
            return MISSING
        if value is MISSING or not pointer:
            return value
        if not pointer.startswith("/"):
            return MISSING
        for word in pointer.split("/")[1:]:
            name = word.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict) and name in value:
                value = value[name]
            elif isinstance(value, list) and _INDEX.match(name) and int(name) < len(value):
                value = value[int(name)]
            else:
                return MISSING
        return value

    def parse(self, text):
        """Return the number of a new document, or -1."""
        if len(self.own) >= DOCUMENTS_MAX or not self.take_room(measure_room(text)):
            return -1
        value = parse(text)
        if value is MISSING:
            return -1
        self.own.append(value)
        return len(self.own)

    def take_room(self, size):
        """Count what values take; whether there is so much."""
        self.used += size
        return self.used <= BYTES_MAX

    def set_text(self, number, pointer, text):
        """Set the value of a JSON text; 0, or -1."""
        value = parse(text) if self.take_room(measure_room(text)) else MISSING
        return -1 if value is MISSING else self.put(number, pointer, value)

    def set_string(self, number, pointer, text, size):
        """Set a string; 0, or -1."""
        return self.put(number, pointer, text) if self.take_room(size) else -1

    def put(self, number, pointer, value):
        """Set a value, with the objects on the way; 0, or -1."""
        has_room = self.take_room(len(pointer) + pointer.count(b"/") * ROOM[ord("{")])
        try:
            pointer = pointer.decode()
        except UnicodeDecodeError:
            return -1
        if pointer and not pointer.startswith("/"):
            return -1
        words = [word.replace("~1", "/").replace("~0", "~") for word in pointer.split("/")[1:]]
        if len(words) > DEPTH_MAX or not has_room or not 1 <= number <= len(self.own):
            return -1
        holder, key = self.own, number - 1
        for word in words:
            if holder[key] is None:
                holder[key] = {}
            place = holder[key]
            if isinstance(place, dict):
                place.setdefault(word, None)
                holder, key = place, word
            elif isinstance(place, list):
                if word != "-" and not _PLACE.match(word):
                    return -1
                index = len(place) if word == "-" else int(word)
                if index == len(place):
                    place.append(None)
                if index >= len(place):
                    return -1
                holder, key = place, index
            else:
                return -1
        holder[key] = value
        return 0
