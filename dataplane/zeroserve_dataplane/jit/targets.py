"""What native code is made for: machines, and how much time the compiler takes."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Machine:
    """How LLVM names a machine; `elf` is e_machine of its object files."""

    triple: str
    cpu: str
    features: str
    elf: int


class Target(Enum):
    """Processor families, by the name that Image.target carries."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"

    @property
    def machine(self) -> Machine:
        """The least machine of the family: an image runs on all of them."""
        return _MACHINES[self]


class Tier(Enum):
    """How much is spent on the code: FAST is published at once, OPTIMISED follows in the background."""

    FAST = "fast"
    OPTIMISED = "optimised"


def find_host_target() -> Target | None:
    """Return this machine's target, or None where programs are interpreted."""
    return _HOSTS.get(platform.machine().lower())


# Route programs must not touch the vector registers, which the engine does not save: no SSE, no x87.
_MACHINES = {
    Target.X86_64: Machine(
        "x86_64-unknown-linux-gnu",
        "x86-64",
        "-sse,-sse2,-mmx,-x87,-avx,+soft-float",
        62,
    ),
    Target.AARCH64: Machine("aarch64-unknown-linux-gnu", "generic", "", 183),
}
_HOSTS = {"x86_64": Target.X86_64, "amd64": Target.X86_64, "aarch64": Target.AARCH64, "arm64": Target.AARCH64}
