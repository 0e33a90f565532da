"""What compiler and worker say to each other: frames of JSON, a length before each.

Not pickles: a worker that hostile code has taken over must not run anything in the agent. The rule: whatever
does not parse is a ProtocolError, and the worker that sent it is replaced.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from dataclasses import dataclass
from typing import Any, Final

from zeroserve_ir.program import abi

from zeroserve_dataplane.jit.targets import Target, Tier
from zeroserve_dataplane.verifier import Exposure, Refusal, Refused, Rule

LENGTH: Final = struct.Struct("<I")
FRAME_BYTES_MAX: Final = 16 << 20
"""Code of abi.INSTRUCTIONS_MAX instructions and many lines of refusals stay far below."""


class ProtocolError(Exception):
    """A frame that makes no sense."""


@dataclass(frozen=True, slots=True)
class Job:
    """One program to compile."""

    code: bytes
    constants_bytes: int
    target: Target
    tier: Tier


@dataclass(frozen=True, slots=True)
class Ready:
    """First frame of a worker: whether the kernel confines it."""

    confined: bool


@dataclass(frozen=True, slots=True)
class Made:
    """Native code: `.text`, the byte offset of `run` in it, and what it can touch."""

    text: bytes
    entry: int
    exposure: Exposure


@dataclass(frozen=True, slots=True)
class Failed:
    """A verified program that could not be compiled: a defect of ours."""

    reason: str


Reply = Ready | Made | Refused | Failed


def encode_job(job: Job) -> bytes:
    """Return a job as a frame."""
    return _frame(
        {
            "code": _encode_bytes(job.code),
            "constants_bytes": job.constants_bytes,
            "target": job.target.value,
            "tier": job.tier.value,
        }
    )


def decode_job(content: bytes) -> Job:
    """Read a job, without its length."""
    fields = json.loads(content)
    code = base64.b64decode(fields["code"])
    return Job(code, fields["constants_bytes"], Target(fields["target"]), Tier(fields["tier"]))


def encode_reply(reply: Reply) -> bytes:
    """Return a reply as a frame."""
    match reply:
        case Ready(confined):
            return _frame({"ready": confined})
        case Made(text, entry, exposure):
            return _frame({"text": _encode_bytes(text), "entry": entry, "exposure": exposure.value})
        case Refused(refusals):
            return _frame({"refusals": [[each.rule.name, each.slot, each.found] for each in refusals]})
        case Failed(reason):
            return _frame({"failed": reason})


def decode_reply(content: bytes) -> Reply:
    """Read a reply, without its length; raises ProtocolError."""
    try:
        fields = json.loads(content)
        if "ready" in fields:
            return Ready(bool(fields["ready"]))
        if "text" in fields:
            text, entry = base64.b64decode(fields["text"], validate=True), int(fields["entry"])
            if not 0 <= entry < len(text):
                raise ProtocolError(f"entry {entry} of {len(text)} bytes")
            return Made(text, entry, Exposure(fields["exposure"]))
        if "failed" in fields:
            return Failed(str(fields["failed"]))
        return Refused(tuple(_decode_refusal(each) for each in fields["refusals"]))
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise ProtocolError(f"not a reply: {error!r}") from error


def decode_length(prefix: bytes) -> int:
    """Read the length before a frame; raises ProtocolError."""
    (length,) = LENGTH.unpack(prefix)
    if length > FRAME_BYTES_MAX:
        raise ProtocolError(f"frame of {length} bytes")
    return int(length)


def _decode_refusal(fields: Any) -> Refusal:
    rule, slot, found = fields
    slot = int(slot)
    if not 0 <= slot <= abi.INSTRUCTIONS_MAX:
        raise ProtocolError(f"refusal of slot {slot}")
    return Refusal(Rule[rule], slot, str(found))


def _frame(fields: dict[str, Any]) -> bytes:
    content = json.dumps(fields).encode()
    return LENGTH.pack(len(content)) + content


def _encode_bytes(content: bytes) -> str:
    return base64.b64encode(content).decode()
