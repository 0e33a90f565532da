"""Native code for route programs: `Compiler` is what the agent calls.

Way of a program: `compiling` (cache, retry) -> `workers` (processes) -> `serving` (in the process: verifier)
-> `translating` and `writing` (LLVM IR) -> `emitting` (llvmlite, proof that nothing is left to link).
"""

from __future__ import annotations

from zeroserve_dataplane.jit.compiling import Compiled, Compiler, Defective
from zeroserve_dataplane.jit.targets import Target, Tier, find_host_target

__all__ = ["Compiled", "Compiler", "Defective", "Target", "Tier", "find_host_target"]
