"""Which traces are sampled, in OpenTelemetry's words.

In: a sampler's name and its argument, as OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG have them. Out: what
nodes are told. Who calls: `drafting_sites`, `zeroserve operator` and `zeroserve dev`.
Source: OpenTelemetry Specification, "General SDK Configuration".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from zeroserve_ir._pb import resources_pb2 as pb

SAMPLER_VARIABLE = "OTEL_TRACES_SAMPLER"
ARGUMENT_VARIABLE = "OTEL_TRACES_SAMPLER_ARG"
ALL_IN_MILLION = 1_000_000
_SHARE = re.compile(r"\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class Sampler(Enum):
    """The samplers of the specification that decide without a server to ask."""

    ALWAYS_ON = "always_on"
    ALWAYS_OFF = "always_off"
    RATIO = "traceidratio"
    PARENT_ON = "parentbased_always_on"
    PARENT_OFF = "parentbased_always_off"
    PARENT_RATIO = "parentbased_traceidratio"


@dataclass(frozen=True, slots=True)
class TraceSampling:
    """What a sampler does."""

    share_in_million: int
    ignores_parent: bool

    def to_message(self) -> pb.TraceSampling:
        """Return it for the engine."""
        return pb.TraceSampling(share_in_million=self.share_in_million, ignores_parent=self.ignores_parent)


def read_sampling(sampler: str, argument: str = "") -> TraceSampling | None:
    """Return what a sampler does; None where none is named: as `parentbased_always_on`. ValueError."""
    if not (name := sampler.strip().lower()):
        return None
    known = {one.value: one for one in Sampler}
    if name not in known:
        raise ValueError(f"no sampler `{sampler}`: write one of {', '.join(known)}")
    share = ALL_IN_MILLION
    match known[name]:
        case Sampler.ALWAYS_OFF | Sampler.PARENT_OFF:
            share = 0
        case Sampler.RATIO | Sampler.PARENT_RATIO if argument.strip():
            share = _read_share(argument.strip())
    return TraceSampling(share, ignores_parent=not name.startswith("parentbased_"))


def _read_share(text: str) -> int:
    if not _SHARE.fullmatch(text) or not 0 <= (share := float(text)) <= 1:
        raise ValueError(f"`{text}` is no share of all traces: write a number from 0 to 1, such as 0.05")
    return round(share * ALL_IN_MILLION)
