"""`zeroserve plugin new|build|test|bench|push`: from nothing to a plugin that is built, verified and tried.

What is wrong with the author's files is printed as their compiler or our loader says it; exit code 1 then.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from zeroserve_dataplane.verifier import Refused, Verified, verify
from zeroserve_dataplane.verifier.refusals import diagnose
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, DiagnosticError
from zeroserve_ir.plugins.faults import PluginError
from zeroserve_ir.plugins.granting import name_capabilities
from zeroserve_ir.plugins.modules import PluginModule
from zeroserve_ir.plugins.reading import read_confined
from zeroserve_ir.program import abi
from zeroserve_ir.program.encoding import scan
from zeroserve_ir.program.isa import CallHelper
from zeroserve_ir.sources import NOWHERE, Span

from zeroserve_cli.helping import add_action
from zeroserve_cli.main import EXIT_FAILED
from zeroserve_cli.plugins.building import BuildError, compile_c, find_compiler
from zeroserve_cli.plugins.building_rust import compile_rust
from zeroserve_cli.plugins.building_zig import compile_zig
from zeroserve_cli.plugins.exports import check_exports, shorten
from zeroserve_cli.plugins.projects import LANGUAGES, MANIFEST, Project, ProjectError, read_project
from zeroserve_cli.plugins.pushing import add_push_arguments, push
from zeroserve_cli.plugins.scaffolding import write_project

STANDARD_OUTPUT: Final = Path("-")
SUFFIXES: Final = {".c", ".h", ".rs", ".zig"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = add_action(actions, "new", "write a plugin that builds and answers", "zeroserve plugin new hello")
    new.add_argument(
        "directory", type=Path, metavar="NAME", help="directory to make; its name is the plugin's"
    )
    new.add_argument("--language", choices=LANGUAGES, default="c")
    build = add_action(
        actions, "build", "compile, verify and describe a plugin", "zeroserve plugin build hello"
    )
    build.add_argument(
        "-o",
        "--output",
        type=Path,
        help="object file to write, - for standard output; default: NAME.o beside plugin.toml",
    )
    test = add_action(
        actions,
        "test",
        "send the requests of *.test files through the engine's code",
        "zeroserve plugin test hello",
    )
    bench = add_action(
        actions,
        "bench",
        "measure time and fuel of a call, with the first request of each function",
        "zeroserve plugin bench hello",
    )
    add_push_arguments(
        add_action(
            actions,
            "push",
            "push a built plugin to a registry, and print its digest",
            "zeroserve plugin push hello/hello.o registry.example/team/hello:1",
        )
    )
    bench.add_argument("--requests", type=_count, default=2000, help="requests to measure")
    for action in (build, test, bench):
        action.add_argument(
            "directory", type=Path, nargs="?", default=Path("."), help="directory with plugin.toml"
        )


def _count(text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError("must be 1 or more")


def run(arguments: argparse.Namespace) -> int:
    """Do the action."""
    try:
        return _act(arguments)
    except (BuildError, ProjectError) as error:
        print(f"zeroserve: {error}", file=sys.stderr)
        return EXIT_FAILED


def _act(arguments: argparse.Namespace) -> int:
    if arguments.action == "push":
        return push(arguments)
    if arguments.action == "new":
        for path in write_project(arguments.directory, arguments.language):
            print(path)
        return 0
    project = read_project(arguments.directory)
    content, module = build(project)
    if arguments.action == "build":
        output = arguments.output or project.output
        described = describe(project, module, len(content), output)
        if output == STANDARD_OUTPUT:
            sys.stdout.buffer.write(content)
            print(described, file=sys.stderr)
        else:
            output.write_bytes(content)
            print(described)
        return 0
    # What runs a plugin is loaded for those who run one.
    from zeroserve_cli.plugins.testing import bench, test  # noqa: PLC0415

    return test(project, module) if arguments.action == "test" else bench(project, module, arguments.requests)


def build(project: Project) -> tuple[bytes, PluginModule]:
    """Compile, load and verify; raises BuildError or DiagnosticError with all findings."""
    content = compile_sources(project)
    try:
        if findings := list(check_exports(content, project.language, str(project.output))):
            raise DiagnosticError(findings)
        module = read_confined(content)
    except PluginError as error:
        raise DiagnosticError([error.diagnose(str(project.output))]) from error
    check(project, module)
    return content, module


def compile_sources(project: Project) -> bytes:
    """Compile by the language's compiler; raises BuildError with what it said."""
    if project.language == "rust":
        return compile_rust(project.sources[0])
    if project.language == "zig":
        return compile_zig(project.sources)
    return compile_c(project.sources, find_compiler())


def check(project: Project, module: PluginModule) -> Verified:
    """Verify a module as nodes do, and that it asks for what it needs; raises DiagnosticError."""
    verified = verify(module.code, 0)
    if isinstance(verified, Refused):
        lines = [(each.slot, Span(shorten(each.file), each.line, 1, 1)) for each in module.lines]
        findings: tuple[Diagnostic, ...] = diagnose(verified.refusals, lines)
        raise DiagnosticError(findings)
    if findings := tuple(_find_missing(project, module)):
        raise DiagnosticError(findings)
    return verified


def _find_missing(project: Project, module: PluginModule) -> Iterator[Diagnostic]:
    """Yield the first call of a helper for each capability that plugin.toml leaves out."""
    asked = project.capabilities
    for instruction in scan(module.code):
        helper = abi.BY_NUMBER.get(instruction.number) if isinstance(instruction, CallHelper) else None
        if helper is None or helper.capability is None or helper.capability in asked:
            continue
        asked |= helper.capability
        (name,) = name_capabilities(helper.capability)
        yield Diagnostic(
            code=Code.ZS0310,
            message=f"{helper.name} needs {name}, which the plugin does not ask for",
            span=_find_call(project, helper.name),
            help=f'add "{name}" to `capabilities` in {project.directory / MANIFEST}',
        )


def _find_call(project: Project, helper: str) -> Span:
    """Return the first line that calls a helper: debug information has the SDK's where it is inlined."""
    written = re.compile(rf"\b(zs_)?{helper}\s*\(")
    for path in sorted(project.directory.rglob("*")):
        if path.suffix not in SUFFIXES or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if written.search(line):
                return Span(str(path), number, 1, 1)
    return NOWHERE


def describe(project: Project, module: PluginModule, size: int, output: Path) -> str:
    """Return what was built, for people."""
    lines = [
        f"{output}: {size} bytes",
        f"  program   {len(module.code) // 8} instructions, sound",
        f"  memory    {len(module.data)} bytes of data, {module.bss_bytes} of zeros",
        f"  needs     {', '.join(name_capabilities(project.capabilities)) or 'no capability'}",
    ]
    lines += [f"  {each.hook.value:<9} {each.name}" for each in module.functions]
    return "\n".join(lines)
