"""Drives the load generator (bench/load) and reads its results. Called by the measurements.

Comes in: a tool path and what to ask. Goes out: typed results. Rule: an answer of the tool that is not as
expected is a `LoadError`, never a default.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from bench.pinning import start_pinned, stopping
from bench.scenes import HOST_PATTERN, LOOPBACK
from bench.workloads import Workload


class LoadError(Exception):
    """The load generator failed or said something unexpected."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """One measured window. Latencies in microseconds, None when nothing was answered."""

    seconds: float
    sent: int
    answered: int
    failed: int
    failures: Mapping[str, int]
    opened: int
    closed: int
    p50_us: int | None
    p99_us: int | None
    max_us: int | None


@dataclass(frozen=True, slots=True)
class SweepResult:
    """How long it took until every host had given its right answer."""

    seconds: float
    hosts: int
    right: int
    retries: int
    last_fault: str | None


@dataclass(frozen=True, slots=True)
class EchoResult:
    """What became of the WebSockets. `longest_us`: the slowest echo."""

    opened: int
    refused: int
    echoed: int
    closed: int
    wrong: int
    longest_us: int


def parse_event(line: bytes) -> dict[str, Any]:
    """One line of the tool; LoadError when it is not a JSON object with an `event`."""
    try:
        event = json.loads(line)
    except ValueError as error:
        raise LoadError(f"not a line of the load generator: {line!r}") from error
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise LoadError(f"not an event of the load generator: {line!r}")
    return event


def parse_load_result(event: Mapping[str, Any]) -> LoadResult:
    """The result of `load`; LoadError when a field is missing."""
    return _fill(LoadResult, event)


def parse_sweep_result(event: Mapping[str, Any]) -> SweepResult:
    """The result of `sweep`; LoadError when a field is missing."""
    return _fill(SweepResult, event)


def parse_echo_result(event: Mapping[str, Any]) -> EchoResult:
    """The result of `websockets`; LoadError when a field is missing."""
    return _fill(EchoResult, event)


Result = TypeVar("Result", LoadResult, SweepResult, EchoResult)


def _fill(kind: type[Result], event: Mapping[str, Any]) -> Result:
    try:
        return kind(**{field.name: event[field.name] for field in dataclasses.fields(kind)})
    except KeyError as error:
        raise LoadError(f"the load generator's result lacks {error}") from error


def read_event(stream: IO[bytes]) -> dict[str, Any]:
    """The tool's next line; LoadError when it has ended instead."""
    line = stream.readline()
    if not line:
        raise LoadError("the load generator ended before its result; its message is above")
    return parse_event(line)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a client role sends its requests. `certificate`: None for plain HTTP."""

    port: int
    certificate: Path | None
    hosts: int
    paths: tuple[tuple[str, int], ...]
    host_pattern: str = HOST_PATTERN

    def arguments(self) -> list[str]:
        """The command-line arguments that all client roles share."""
        arguments = ["--address", f"{LOOPBACK}:{self.port}", "--hosts", str(self.hosts)]
        arguments += ["--host", self.host_pattern]
        if self.certificate is not None:
            arguments += ["--certificate", str(self.certificate)]
        for path, mark in self.paths:
            arguments += ["--path", f"{path}={mark}"]
        return arguments


@dataclass(frozen=True, slots=True)
class LoadTool:
    """The load generator's executable, and the core it runs on (None: any)."""

    path: Path
    core: int | None

    def backend(
        self, ports: Sequence[int], echo_port: int, grpc_ports: Sequence[int] = ()
    ) -> subprocess.Popen[bytes]:
        """Start the backend and wait until its ports are bound; the caller stops it."""
        command = ["backend", "--ports", _join(ports), "--echo-port", str(echo_port)]
        if grpc_ports:
            command += ["--grpc-ports", _join(grpc_ports)]
        process = self._start(command)
        if read_event(_stdout(process))["event"] != "ready":
            raise LoadError("the backend did not get ready")
        return process

    def load_command(
        self, target: Target, workload: Workload, rate_per_s: float | None, seconds: float
    ) -> list[str]:
        """The arguments of one measurement of a workload; closed loop without a rate."""
        role = "grpc-load" if workload.grpc else "load"
        command = [role, *target.arguments(), "--connections", str(workload.connections)]
        command += ["--seconds", f"{seconds:g}"]
        if workload.handshake_per_request:
            command.append("--handshake-per-request")
        if rate_per_s is not None:
            command += ["--rate", f"{rate_per_s:.3f}"]
        return command

    def measure(
        self, command: Sequence[str], on_begin: Callable[[int], None], on_end: Callable[[int], None]
    ) -> LoadResult:
        """Run one measurement; the callbacks get the tool's pid at the measured window's two ends."""
        with stopping(self._start(command)) as process:
            stdout = _stdout(process)
            for expected, callback in (("measuring", on_begin), ("measured", on_end)):
                if (said := read_event(stdout)["event"]) != expected:
                    raise LoadError(f"the load generator said `{said}` in place of `{expected}`")
                callback(process.pid)
            return parse_load_result(read_event(stdout))

    def is_answered(self, target: Target) -> bool:
        """Whether a call of gRPC is answered right now."""
        command = ["grpc-load", *target.arguments(), "--connections", "1", "--streams", "1"]
        command += ["--warmup-s", "0", "--seconds", "0.05"]
        with stopping(self._start(command, quiet=True)) as process:
            lines = _stdout(process).readlines()
        return bool(lines) and parse_load_result(parse_event(lines[-1])).answered > 0

    def sweep(self, target: Target, first_host: int, timeout_s: float) -> Sweep:
        """Begin to ask all hosts from `first_host` on; the result is read from what this gives."""
        command = ["sweep", *target.arguments(), "--first-host", str(first_host)]
        return Sweep(self._start([*command, "--timeout-s", f"{timeout_s:g}"], quiet=True))

    def until_told(self, command: Sequence[str]) -> Endless:
        """Start a role that goes on until its stdin is closed."""
        return Endless(self._start(command, stdin=subprocess.PIPE))

    def _start(
        self, arguments: Sequence[str], *, stdin: int = subprocess.DEVNULL, quiet: bool = False
    ) -> subprocess.Popen[bytes]:
        stderr = subprocess.DEVNULL if quiet else None
        command = [str(self.path), *arguments]
        return start_pinned(command, self.core, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr)


class Sweep:
    """A sweep under way; as a context manager it ends the sweep when left."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._stopping = stopping(process)

    def __enter__(self) -> Sweep:
        self._stopping.__enter__()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stopping.__exit__(None, None, None)

    def is_done(self) -> bool:
        """True when the result can be read without waiting."""
        return self._process.poll() is not None

    def result(self) -> SweepResult:
        """Wait for the end of the sweep."""
        return parse_sweep_result(read_event(_stdout(self._process)))


class Endless:
    """A load or WebSockets under way until `finish`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def wait_for(self, event: str) -> None:
        """Wait until the tool says `event`."""
        if (said := read_event(_stdout(self.process))["event"]) != event:
            raise LoadError(f"the load generator said `{said}` in place of `{event}`")

    def finish(self) -> dict[str, Any]:
        """Tell it to end; its result event."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        while (event := read_event(_stdout(self.process)))["event"] != "result":
            pass
        return event


def _join(ports: Sequence[int]) -> str:
    return ",".join(str(port) for port in ports)


def _stdout(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdout is None:
        raise LoadError("the load generator was started without a pipe")
    return process.stdout
