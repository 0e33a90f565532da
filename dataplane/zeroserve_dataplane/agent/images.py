"""Images of programs: compiled once, kept while a virtual host needs them, made better in the background.

In: Program resources. Out: an image for each program that is sound, a reason for each that is not. Who calls:
`applying`. Rule: what the verifier refuses has no image; what cannot be compiled by our fault is interpreted
and counted, never refused (design.md, section 4).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.drafting import make_resource
from zeroserve_ir.program.abi import ABI_OLDEST, ABI_VERSION
from zeroserve_ir.program.encoding import decode
from zeroserve_ir.program.isa import CallHelper

from zeroserve_dataplane.jit.compiling import Compiled, Compiler, Defective
from zeroserve_dataplane.jit.targets import Target, Tier
from zeroserve_dataplane.marking import mark_loads
from zeroserve_dataplane.verifier import Refused, Verified, verify
from zeroserve_dataplane.verifier.refusals import diagnose

logger = logging.getLogger(__name__)

INTERPRETED = "ebpf"
"""Image.target of a program that the engine interprets."""


@dataclass(frozen=True, slots=True)
class ProgramImage:
    """What the engine gets for a program; `tier` None is interpreted."""

    resource: pb.Resource
    code: bytes
    tier: Tier | None


@dataclass(slots=True)
class ImageCounts:
    """For metrics."""

    defects: int = 0
    refused: int = 0
    optimised: int = 0


class ImageStore:
    """Images by program version; a version is a digest, so an entry never goes stale."""

    def __init__(self, compiler: Compiler, target: Target | None) -> None:
        """`target` None: everything is interpreted."""
        self.counts = ImageCounts()
        self._compiler = compiler
        self._target = target
        self._images: dict[str, ProgramImage] = {}
        self._refused: dict[str, Diagnostic] = {}

    def find_missing(self, programs: Iterable[pb.Resource]) -> list[pb.Resource]:
        """Return those that have neither an image nor a refusal yet."""
        return [
            program
            for program in programs
            if program.version not in self._images and program.version not in self._refused
        ]

    async def make(self, programs: Iterable[pb.Resource]) -> None:
        """Make images; afterwards each program has one, or a refusal."""
        await asyncio.gather(*(self._make(program) for program in programs))

    def find(self, program: pb.Resource) -> ProgramImage | None:
        """Return the image of a program that `make` has seen, None where it is refused."""
        return self._images.get(program.version)

    def find_refusal(self, program: pb.Resource) -> Diagnostic | None:
        """Return why a program has no image."""
        return self._refused.get(program.version)

    async def optimise(self, program: pb.Resource) -> bool:
        """Replace a fast image by an optimised one; False when there is nothing to gain."""
        image = self._images.get(program.version)
        if image is None or image.tier is not Tier.FAST or self._target is None:
            return False
        message = pb.Program.FromString(program.payload)
        made = await self._compiler.compile(
            message.code, message.constants_bytes, self._target, Tier.OPTIMISED
        )
        if not isinstance(made, Compiled):
            self._count_defect(message.name, "the optimiser failed")
            self._images[program.version] = ProgramImage(image.resource, image.code, Tier.OPTIMISED)
            return False
        self._images[program.version] = _make_native(message, made)
        self.counts.optimised += 1
        return True

    def interpret(self, program: pb.Resource) -> None:
        """Fall back to interpreting a program whose native image the engine did not take."""
        message = pb.Program.FromString(program.payload)
        self._count_defect(message.name, "the engine refused its image")
        self._images[program.version] = _make_interpreted(message)

    def retain(self, programs: Iterable[pb.Resource]) -> None:
        """Forget all but these."""
        kept = {program.version for program in programs}
        self._images = {version: image for version, image in self._images.items() if version in kept}
        self._refused = {version: why for version, why in self._refused.items() if version in kept}

    @property
    def native_compilations(self) -> int:
        """Jobs that a compile worker gave code for; an image from the cache is none."""
        return self._compiler.native_compilations

    @property
    def tiers(self) -> Mapping[str, int]:
        """Number of images by tier."""
        counts = {"fast": 0, "optimised": 0, "interpreted": 0}
        for image in self._images.values():
            counts[image.tier.value if image.tier else "interpreted"] += 1
        return counts

    async def _make(self, program: pb.Resource) -> None:
        try:
            message = pb.Program.FromString(program.payload)
        except DecodeError:
            self._refuse(program, Diagnostic(Code.ZS0702, f"program {program.name[:12]} is malformed"))
            return
        is_known = ABI_OLDEST <= message.abi <= ABI_VERSION
        if not is_known or hashlib.sha256(message.code).hexdigest() != program.name:
            wrong = "a name that is not its digest" if is_known else f"ABI {message.abi}"
            self._refuse(program, Diagnostic(Code.ZS0702, f"program {program.name[:12]} has {wrong}"))
            return
        target = self._target or Target.X86_64
        made = await self._compiler.compile(message.code, message.constants_bytes, target, Tier.FAST)
        if isinstance(made, Refused):
            lines = [(line.instruction, line.place) for line in message.lines]
            self._refuse(program, diagnose(made.refusals, lines)[0])
        elif isinstance(made, Defective):
            if made.verified:
                self._count_defect(message.name, made.reason)
                self._images[program.version] = await asyncio.to_thread(_make_interpreted, message)
            else:
                self._refuse(program, Diagnostic(Code.ZS0702, f"the verifier failed: {made.reason}"))
        elif self._target is None:
            self._images[program.version] = await asyncio.to_thread(_make_interpreted, message)
        else:
            self._images[program.version] = _make_native(message, made)

    def _refuse(self, program: pb.Resource, why: Diagnostic) -> None:
        self.counts.refused += 1
        self._refused[program.version] = why

    def _count_defect(self, name: str, reason: str) -> None:
        self.counts.defects += 1
        logger.error("defect: program %s has no native code and is interpreted: %s", name[:12], reason)


def _make_native(program: pb.Program, made: Compiled) -> ProgramImage:
    image = _describe(program, made.text, made.digest, made.target.value)
    image.entry, image.exposure = made.entry, pb.Exposure.Value(made.exposure.name)
    return ProgramImage(make_resource(image), made.text, made.tier)


def _make_interpreted(program: pb.Program) -> ProgramImage:
    verified = verify(program.code, program.constants_bytes)
    assert isinstance(verified, Verified), "a worker has verified it"
    code = mark_loads(verified)
    image = _describe(program, code, hashlib.sha256(code).digest(), INTERPRETED)
    return ProgramImage(make_resource(image), code, None)


def _describe(program: pb.Program, code: bytes, digest: bytes, target: str) -> pb.Image:
    helpers = (one.number for one in decode(program.code) if isinstance(one, CallHelper))
    return pb.Image(
        name=program.name,
        abi=program.abi,
        target=target,
        code_bytes=len(code),
        code_digest=digest,
        constants_bytes=program.constants_bytes,
        helper_max=max(helpers, default=0),
        reads_folded_path=program.reads_folded_path,
    )
