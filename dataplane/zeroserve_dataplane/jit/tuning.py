"""How LLVM is asked to optimise programs, to machine code (`emitting`) and to eBPF (`retargeting`)."""

from __future__ import annotations

import llvmlite.binding as llvm


def tune() -> llvm.PipelineTuningOptions:
    """Return the options of a pipeline at level 2.

    Vectors need registers that programs may not touch, unrolled loops are larger than what they gain.
    """
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.slp_vectorization = False
    options.loop_vectorization = False
    options.loop_interleaving = False
    options.loop_unrolling = False
    return options
