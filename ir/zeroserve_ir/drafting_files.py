"""`{file.*}` and `{env.*}`: contents and values in place of their placeholders, when the sites are drafted.

In: the tables of a site. Out: the same tables with literals, and a warning for each file that cannot be read.
Called by `drafting_sites`: the engine may not look at the file system, and has no environment. Stock Caddy
reads with each request; here a change shows after the next reload. Of a file the first MiB counts (Caddy:
replacer.go).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping

from google.protobuf.message import Message

from zeroserve_ir._pb import resources_pb2 as pb

FILE_PREFIX = "file."
FILE_BYTES_MAX = 1 << 20
ENVIRONMENT_PREFIX = "env."
_VARIABLE = re.compile(r"\{env\.([^{}\s]+)\}")


def expand_environment(text: str, environment: Mapping[str, str]) -> str:
    """Return a text that is no template with its variables filled in; an unset one is empty, as in Caddy."""
    if "{env." not in text:
        return text
    return _VARIABLE.sub(lambda found: environment.get(found[1], ""), text)


class FileTexts:
    """The files that placeholders name, each read once."""

    def __init__(
        self,
        read_file: Callable[[str], bytes],
        environment: Mapping[str, str],
        warn: Callable[[str], None],
    ) -> None:
        self._read_file = read_file
        self._environment = environment
        self._warn = warn
        self._texts: dict[str, str] = {}

    def place(self, tables: pb.Tables) -> None:
        """Put texts for placeholders of files into tables, whose name is that of their content."""
        if self._place(tables):
            tables.name = ""
            tables.name = hashlib.sha256(tables.SerializeToString(deterministic=True)).hexdigest()

    def _place(self, message: Message) -> bool:
        found = False
        if "placeholder" in message.DESCRIPTOR.fields_by_name:
            name: str = getattr(message, "placeholder")  # noqa: B009
            text = self._find(name)
            if text is not None:
                literal = "literal" if "literal" in message.DESCRIPTOR.fields_by_name else "text"
                setattr(message, literal, text)
                return True
        for inner in _inner_messages(message):
            found = self._place(inner) or found
        return found

    def _find(self, name: str) -> str | None:
        if name.startswith(FILE_PREFIX):
            return self._read(name.removeprefix(FILE_PREFIX))
        if name.startswith(ENVIRONMENT_PREFIX):
            return self._environment.get(name.removeprefix(ENVIRONMENT_PREFIX), "")
        return None

    def _read(self, path: str) -> str:
        if path not in self._texts:
            try:
                content = self._read_file(path)[:FILE_BYTES_MAX]
                self._texts[path] = content.decode().removesuffix("\n").removesuffix("\r")
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "not UTF-8"
                self._warn(f"{{file.{path}}} stays empty: cannot read {path}: {reason}")
                self._texts[path] = ""
        return self._texts[path]


def _inner_messages(message: Message) -> Iterator[Message]:
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if isinstance(value, Message):
            yield value
        else:
            yield from value
