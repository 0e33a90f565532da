"""The vectors of tests/golden/program: a program, what it runs on, what comes of it."""

from pathlib import Path

from zeroserve_dataplane.verifier import Verified, verify
from zeroserve_ir.program import abi
from zeroserve_ir.program.assembly import assemble

PATHS = sorted((Path(__file__).parents[2] / "golden" / "program").glob("*.bpf"))


class Vector:
    """One file: sections that begin with "-- name"."""

    def __init__(self, path):
        sections, name = {}, None
        for line in path.read_text().splitlines():
            if line.startswith("-- "):
                name = line[3:]
            else:
                sections[name] = sections.get(name, "") + line + "\n"
        self.name = path.stem
        self.code = assemble(sections["asm"]).code
        self.memory = bytes.fromhex(sections.get("memory", ""))
        self.constants = bytes.fromhex(sections.get("constants", ""))
        self.fuel = int(sections.get("fuel", abi.FUEL_DEFAULT))
        self.trap = sections["trap"].strip() if "trap" in sections else None
        self.result = None if self.trap else int(sections["result"], 0)

    def verify(self):
        """The program, which each vector's must be: verified."""
        program = verify(self.code, len(self.constants))
        assert isinstance(program, Verified), program
        return program
