"""Caddyfiles of a corpus edited while clients ask: by `--watch`, by `reload`, and broken in between.

In: a corpus with a manifest. Out: for each Caddyfile, how many requests were answered and which failed.
Called by the command line. Rule: an answer is right when its status is that of the site as it stands and its
version is one that was served then; whatever else a client meets is a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.clients import Http2, LostError, NotTakenError, Place
from bench.guarding import require_free_port
from bench.moving import Moved, find_wild, move
from bench.pinning import start_pinned, stopping
from bench.recording import write_json
from bench.running import LOG_TAIL_CHARS, StartError
from bench.scenes import LOOPBACK

FIELD = "X-Edited"
ADDED = "edited.bench.test"
PATIENCE_S = 120.0
POLL_S = 0.02
BROKEN_S = 0.6
"""Longer than `--watch` takes to see a file."""
HOSTS_MAX = 4
"""Sites of one Caddyfile that are asked, each by three clients."""


@dataclass(slots=True)
class EditingReport:
    """One Caddyfile: requests by kind, and what failed."""

    caddyfile: str
    edits: int = 0
    answered: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `edits`."""
    parser.add_argument("corpus", type=Path, help="a directory of Caddyfiles with a manifest.json")
    parser.add_argument("--only", default="", help="Caddyfiles whose folder holds this word")
    parser.add_argument("--json", type=Path)


def run(options: argparse.Namespace, zeroserve: Path, say: Callable[[str], None]) -> int:
    """Edit each and print; 0 when no request failed."""
    reports = []
    for path, environment in find_wild(options.corpus):
        if options.only not in path.parent.name:
            continue
        moved = move(path, environment, options.port)
        with tempfile.TemporaryDirectory(prefix="zeroserve-bench-") as folder:
            report = _Editing(moved, Path(folder), zeroserve).measure(path.parent.name)
        say(f"{report.caddyfile}: {report.answered} {report.failures[:3] or ''}")
        reports.append(report)
    print(render(reports))
    write_json(options.json, reports)
    return 1 if any(report.failures for report in reports) else 0


class _Editing:
    def __init__(self, moved: Moved, folder: Path, zeroserve: Path) -> None:
        self.moved = moved
        self.zeroserve = str(zeroserve)
        self.caddyfile = folder / "Caddyfile"
        self.admin = folder / "admin.sock"
        self.places = [Place(port, host.replace("*", "any") or "any.test") for host, port in moved.hosts]
        self.lowest = self.highest = 0
        self.stop = threading.Event()

    def measure(self, name: str) -> EditingReport:
        """Serve, load, edit."""
        for port in {place.port for place in self.places}:
            require_free_port(port)
        report = EditingReport(name)
        self._write(0)
        with self._serving():
            self._wait_for(0)
            threads = [
                threading.Thread(target=self._ask_all, args=(kind, client, place, status, report))
                for place in self.places[:HOSTS_MAX]
                for status in [_Plain(place, keeps=False).ask()[0]]
                for kind, client in (
                    ("h1", _Plain(place, keeps=True)),
                    ("h1 close", _Plain(place, keeps=False)),
                    ("h2", _Streams(place)),
                )
            ]
            for thread in threads:
                thread.start()
            try:
                self._edit(report)
            finally:
                self.stop.set()
                for thread in threads:
                    thread.join()
        return report

    def _edit(self, report: EditingReport) -> None:
        """A field and a site changed by `--watch` and by `reload`, each broken once in between."""
        for version, reload in ((1, False), (2, False), (3, True), (4, True)):
            self._write(version)
            if reload and self._reload() != 0:
                report.failures.append(f"version {version} was not taken")
            self._wait_for(version)
            self.lowest = version
            self.caddyfile.write_text(self.moved.text + "}\n")
            if reload and self._reload() == 0:
                report.failures.append("a broken Caddyfile was taken")
            time.sleep(BROKEN_S)
            self._wait_for(version)
            report.edits += 2

    def _write(self, version: int) -> None:
        self.highest = version
        lines = []
        for line in self.moved.text.splitlines():
            lines.append(line)
            if line.startswith("http://"):
                lines.append(f"\theader {FIELD} {version}")
        added = f"http://{ADDED}:{self.places[0].port} {{\n\theader {FIELD} {version}\n\trespond ok\n}}\n"
        self.caddyfile.write_text("\n".join([*lines, added]))

    def _reload(self) -> int:
        command = [self.zeroserve, "reload", "--config", str(self.caddyfile), "--admin", str(self.admin)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    @contextlib.contextmanager
    def _serving(self) -> Iterator[None]:
        command = [self.zeroserve, "run", "--config", str(self.caddyfile), "--watch"]
        command += ["--admin", str(self.admin), "--workers", "1"]
        home = self.caddyfile.parent
        environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home)}
        log = home / "log"
        with log.open("wb") as out:
            process = start_pinned(
                command, None, environment=environment, directory=home, stdout=out, stderr=out
            )
            with stopping(process):
                try:
                    yield
                except StartError as error:
                    raise StartError(f"{error}: {log.read_text()[-LOG_TAIL_CHARS:]}") from error

    def _wait_for(self, version: int) -> None:
        """Until the site that is added says so; StartError when it never does."""
        added = Place(self.places[0].port, ADDED)
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                if _Plain(added, keeps=False).ask() == (200, str(version)):
                    return
            time.sleep(POLL_S)
        raise StartError(f"version {version} is never served")

    def _ask_all(self, kind: str, client: Client, place: Place, right: int, report: EditingReport) -> None:
        """Have a client ask until the end; its first failure is its last request."""
        try:
            while not self.stop.is_set():
                lowest = self.lowest
                status, version = client.ask()
                if status != right:
                    raise LostError(f"{place.host}: status {status} in place of {right}")
                if version and not lowest <= int(version) <= self.highest:
                    raise LostError(f"{place.host}: version {version} after {lowest}")
                report.answered[kind] = report.answered.get(kind, 0) + 1
        except (OSError, http.client.HTTPException, LostError, EOFError) as error:
            report.failures.append(f"{kind}: {type(error).__name__}: {error}")
        finally:
            client.close()


class Client(Protocol):
    """Asks one place for `/`."""

    def ask(self) -> tuple[int, str]:
        """A request; its answer's status and the version that it says, "" for none."""

    def close(self) -> None:
        """Let go of connections."""


class _Plain:
    """HTTP/1.1; `keeps`: one connection for all requests, until the server announces its end."""

    def __init__(self, place: Place, *, keeps: bool) -> None:
        self.place = place
        self.keeps = keeps
        self.connection = http.client.HTTPConnection(LOOPBACK, place.port, timeout=PATIENCE_S)

    def ask(self) -> tuple[int, str]:
        self.connection.request("GET", "/", headers={"Host": self.place.host})
        answer = self.connection.getresponse()
        answer.read()
        if not self.keeps:
            self.close()
        return answer.status, answer.getheader(FIELD, "")

    def close(self) -> None:
        self.connection.close()


class _Streams:
    """HTTP/2 without TLS, one connection until GOAWAY."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.runner = asyncio.Runner()
        self.connection: Http2 | None = None

    def ask(self) -> tuple[int, str]:
        return self.runner.run(self._ask())

    async def _ask(self) -> tuple[int, str]:
        while True:
            if self.connection is None or not self.connection.usable:
                self.connection = await Http2.open(self.place)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    status, _ = await self.connection.fetch("/")
            except NotTakenError:
                continue
            return int(status), ""

    def close(self) -> None:
        if self.connection is not None:
            self.runner.run(self.connection.close())
        self.runner.close()


def render(reports: list[EditingReport]) -> str:
    """The sums, and every failure."""
    kinds = sorted({kind for report in reports for kind in report.answered})
    answered = ", ".join(f"{kind} {sum(one.answered.get(kind, 0) for one in reports):,}" for kind in kinds)
    lines = [
        f"Caddyfiles: {len(reports)}, edits: {sum(report.edits for report in reports)}",
        f"answered:   {answered}",
        f"failed:     {sum(len(report.failures) for report in reports)}",
    ]
    return "\n".join([*lines, *(f"  {one.caddyfile}: {why}" for one in reports for why in one.failures)])
