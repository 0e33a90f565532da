"""Route programs: sites lowered to eBPF with constants and tables.

In: a `tree.Site`. Out: `Program` (code of a shape), constants and `Tables` of one virtual host. Also
here: the instruction set, assembler and disassembler, and the ABI that node and engine implement.
"""
