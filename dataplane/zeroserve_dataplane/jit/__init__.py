"""Native code for route programs: `compiling.Compiler` is what the agent calls.

Way of a program: `compiling` (cache, retry) -> `workers` (processes) -> `serving` (in the process: verifier)
-> `translating` and `writing` (LLVM IR) -> `emitting` (llvmlite) -> `extracting` (proof that nothing
is left to link). Nothing is imported here: workers start without what only the agent needs.
"""
