"""Arguments for spans that nodes export: of `zeroserve operator` and `zeroserve dev`."""

from __future__ import annotations

import argparse
import os

from zeroserve_ir.sampling import ARGUMENT_VARIABLE, SAMPLER_VARIABLE, Sampler, read_sampling
from zeroserve_operator.settings import TracedHosts, TracingSettings


def add_tracing_arguments(parser: argparse.ArgumentParser, default: TracedHosts = TracedHosts.NONE) -> None:
    """Add `--trace`, `--trace-sampler` and `--trace-sampler-arg`."""
    parser.add_argument(
        "--trace",
        choices=[one.value for one in TracedHosts],
        default=default.value,
        help="whose spans are exported: ZeroserveRoutes' with `tracing` (marked), or every host's (all); "
        f"by default {default.value}",
    )
    parser.add_argument(
        "--trace-sampler",
        default=os.environ.get(SAMPLER_VARIABLE, ""),
        metavar="NAME",
        help=f"{', '.join(one.value for one in Sampler)}; by default ${SAMPLER_VARIABLE}",
    )
    parser.add_argument(
        "--trace-sampler-arg",
        default=os.environ.get(ARGUMENT_VARIABLE, ""),
        metavar="SHARE",
        help=f"of the samplers by ratio: 0.05 is one trace of twenty; by default ${ARGUMENT_VARIABLE}",
    )


def read_tracing(arguments: argparse.Namespace) -> TracingSettings:
    """Return whose spans are exported; exits where the sampler is none."""
    try:
        sampling = read_sampling(arguments.trace_sampler, arguments.trace_sampler_arg)
    except ValueError as error:
        raise SystemExit(f"zeroserve: --trace-sampler, --trace-sampler-arg: {error}") from error
    return TracingSettings(TracedHosts(arguments.trace), sampling)
