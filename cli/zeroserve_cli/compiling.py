"""`zeroserve compile`: each station between a Caddyfile and machine code, printed."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from enum import Enum

from zeroserve_dataplane.jit.inspecting import print_llvm, print_machine_code, verify_source
from zeroserve_dataplane.jit.targets import Target, Tier, find_host_target
from zeroserve_ir.caddyfile.invoking import expand_named_routes
from zeroserve_ir.caddyfile.judging import find_unsupported
from zeroserve_ir.caddyfile.loading import load_configuration
from zeroserve_ir.caddyfile.printer import print_configuration
from zeroserve_ir.diagnostics import Severity
from zeroserve_ir.program.disassembling import disassemble, format_constants
from zeroserve_ir.program.lowering import LoweredSite, lower_site
from zeroserve_ir.tree import Site

from zeroserve_cli.caddyfiles import add_config_argument
from zeroserve_cli.main import EXIT_FAILED
from zeroserve_cli.reporting import print_diagnostics


class Stage(Enum):
    """What `--emit` prints."""

    IR = "ir"
    BPF = "bpf"
    LLVM = "llvm"
    ASM = "asm"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the Caddyfile, the stage, and for machine code the target."""
    targets = [target.value for target in Target]
    host = find_host_target()
    add_config_argument(parser)
    parser.add_argument(
        "--emit", choices=[stage.value for stage in Stage], default="bpf", help="what to print"
    )
    parser.add_argument("--site", default="", help="print only the sites with this host")
    parser.add_argument(
        "--target", choices=targets, default=host.value if host else targets[0], help="machine"
    )
    parser.add_argument("--fast", action="store_true", help="the first tier instead of the optimised one")


def run(arguments: argparse.Namespace) -> int:
    """Print the stage of each site, `ir` behind the global options; fails where there is an error."""
    read = load_configuration(arguments.config, os.environ)
    findings = (*read.diagnostics, *find_unsupported(read.configuration))
    print_diagnostics(findings, read.texts)
    if any(diagnostic.severity is Severity.ERROR for diagnostic in findings):
        return EXIT_FAILED
    configuration = expand_named_routes(read.configuration)
    chosen = tuple(site for site in configuration.sites if _is_chosen(site, arguments.site))
    stage = Stage(arguments.emit)
    if stage is Stage.IR:
        print(print_configuration(replace(configuration, sites=chosen)), end="")
        return 0
    for site in chosen:
        print(_emit(site, stage, arguments))
    return 0


def _is_chosen(site: Site, host: str) -> bool:
    return not host or any(address.host == host for address in site.addresses)


def _emit(site: Site, stage: Stage, arguments: argparse.Namespace) -> str:
    lowered = lower_site(site)
    title = ", ".join(f"{address.scheme.value}://{address.host}:{address.port}" for address in site.addresses)
    if stage is Stage.BPF:
        text = disassemble(lowered.code, _places(lowered)) + format_constants(lowered.constants)
        return f"# {title}: {_describe(lowered)}\n{text}"
    verified = verify_source(lowered.code, len(lowered.constants), lowered.program.lines)
    if stage is Stage.LLVM:
        return f"; {title}\n{print_llvm(verified)}"
    tier = Tier.FAST if arguments.fast else Tier.OPTIMISED
    return f"# {title}\n{print_machine_code(verified, Target(arguments.target), tier)}"


def _describe(lowered: LoweredSite) -> str:
    text = f"{len(lowered.code) // 8} slots, {len(lowered.constants)} bytes of constants"
    return f"{text}, begins with the folded path" if lowered.program.reads_folded_path else text


def _places(lowered: LoweredSite) -> dict[int, str]:
    return {
        slot: f"{span.file}:{span.line}:{span.column}" for slot, span in lowered.program.lines if span.line
    }
