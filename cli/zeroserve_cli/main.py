"""The `zeroserve` command: reads arguments, runs one command, prints diagnostics as a user reads them.

Exit codes: 0 done, 1 the configuration or the world is at fault (said on standard error), 2 wrong usage.
Each command lives in a module of its own, imported when it is called, so that `--help` stays instant.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from zeroserve_ir.diagnostics import DiagnosticError

from zeroserve_cli.helping import EXAMPLE, HelpFormatter, add_action

EXIT_FAILED = 1
EXIT_MISUSED = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand: its module has `add_arguments(parser)` and `run(arguments) -> int`."""

    name: str
    module: str
    summary: str
    example: str


COMMANDS = (
    Command("run", "running", "serve a Caddyfile until stopped", "zeroserve run --config Caddyfile --watch"),
    Command(
        "dev",
        "developing",
        "serve a directory of Kubernetes manifests, rendered again on every change",
        "zeroserve dev examples/quickstart/manifests --http-port 8080 --https-port 8443",
    ),
    Command(
        "reload",
        "reloading",
        "give a running server another Caddyfile, without a dropped request",
        "zeroserve reload --config Caddyfile",
    ),
    Command(
        "upgrade",
        "upgrading",
        "replace a running server's engine by the one installed now, without a dropped request",
        "zeroserve upgrade",
    ),
    Command(
        "cache",
        "purging",
        "forget answers that a running server keeps",
        "zeroserve cache purge 'https://example.com/news/*'",
    ),
    Command("adapt", "adapting", "print a Caddyfile as Caddy's JSON", "zeroserve adapt --config Caddyfile"),
    Command(
        "validate",
        "validating",
        "check a Caddyfile and print every finding",
        "zeroserve validate --config Caddyfile",
    ),
    Command(
        "fmt", "formatting", "format a Caddyfile as `caddy fmt` does", "zeroserve fmt --overwrite Caddyfile"
    ),
    Command(
        "compile",
        "compiling",
        "print what a site becomes: route tree, eBPF, LLVM IR or machine code",
        "zeroserve compile --config Caddyfile --emit bpf",
    ),
    Command(
        "explain",
        "explaining",
        "tell which site, route and matchers decide about a request, and why the others do not",
        "zeroserve explain Caddyfile GET https://example.com/api/v1",
    ),
    Command(
        "bpf",
        "executing",
        "assemble, disassemble, verify or run one eBPF program",
        "zeroserve bpf run --on native program.asm",
    ),
    Command(
        "plugin",
        "plugins.commands",
        "write, build, test and measure plugins",
        "zeroserve plugin new hello",
    ),
    Command(
        "operator",
        "operating",
        "watch a cluster and publish snapshots to its nodes",
        "zeroserve operator --namespace zeroserve-system --class zeroserve",
    ),
    Command(
        "agent",
        "serving",
        "receive snapshots on a node and drive its engine",
        "zeroserve agent --operator zeroserve-operator:9443 --engine-socket /run/zeroserve/engine.sock",
    ),
    Command("version", "versions", "print the versions of the parts", "zeroserve version"),
)


def build_parser(chosen: Command | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands, with the arguments of the chosen one."""
    parser = argparse.ArgumentParser(
        prog="zeroserve",
        description="Ingress controller and web server: Caddyfiles and Kubernetes objects, compiled to eBPF.",
        epilog=f"{EXAMPLE}zeroserve run --config Caddyfile",
        formatter_class=HelpFormatter,
    )
    if chosen is None:
        parser.add_argument("--version", action="version", version=_read_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        subparser = add_action(commands, command.name, command.summary, command.example)
        if command is chosen:
            module = import_module(f"zeroserve_cli.{command.module}")
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser


def _read_version() -> str:
    # Loaded here: no command needs it, and it is a twelfth of a server's start.
    from importlib import metadata  # noqa: PLC0415

    return metadata.version("zeroserve-ingress")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    _fill_closed_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given:
        build_parser().print_help(sys.stderr)
        return EXIT_MISUSED
    chosen = next((command for command in COMMANDS if given and command.name == given[0]), None)
    parsed = build_parser(chosen).parse_args(given)
    return _guard(parsed.run, parsed)


def _guard(run: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """Run a command; what the user can mend is printed, never raised."""
    try:
        code = run(arguments)
        sys.stdout.flush()
        return code
    except DiagnosticError as error:
        print("\n".join(diagnostic.render() for diagnostic in error.diagnostics), file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return EXIT_FAILED
    except OSError as error:
        print(f"zeroserve: {_describe(error)}", file=sys.stderr)
        if error.errno == errno.ENOSPC:
            _discard_output()
        return EXIT_FAILED


def _describe(error: OSError) -> str:
    """Return what went wrong and with which file, as other commands say it."""
    if error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror


def _fill_closed_streams() -> None:
    """Point closed standard streams (`>&-`) to nowhere, before a socket of ours gets their number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115  # lives as long as we do


def _discard_output() -> None:
    """Drop what is still to be written: the interpreter would try again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
