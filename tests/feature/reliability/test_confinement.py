"""What an engine that serves may do to its machine: nothing that its work does not need."""

import os
import re
import socket
import threading
import time
from pathlib import Path

import pytest
from conftest import CADDYFILE
from ports import free_port
from recording import Recorder
from starting import replace, serving

# docs/reliability.md has a run of 1,000.
SWAPS = int(os.environ.get("ZEROSERVE_SWAPS", "10"))
PATIENCE_S = 60
SWAPPED = """{{
	admin off
	auto_https off
}}
http://:{port} {{
	@odd path {paths}
	respond @odd "odd"
	respond "swap {number}"
}}
"""


def engine_of(session):
    """The engine's process among those of a session."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            if os.getsid(int(folder.name)) == session and command[1:2] == [b"serve"]:
                return folder
        except OSError:
            continue
    raise AssertionError("no engine runs")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """The folder in /proc of an engine that serves."""
    folder = tmp_path_factory.mktemp("confinement")
    recorder, port = Recorder(), free_port()
    (folder / "Caddyfile").write_text(CADDYFILE.format(port=port, backend=recorder.port))
    with serving(folder, port) as process:
        # An answer: whatever is given up at the start is given up by now.
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(b"GET /static HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
            assert client.makefile("rb").readline().startswith(b"HTTP/1.1 200")
        yield engine_of(os.getsid(process.pid))
    recorder.close()


def tasks(engine):
    """The status of each of its threads."""
    texts = [path.read_text() for path in sorted(engine.glob("task/*/status"))]
    assert texts
    return [dict(re.findall(r"^(\w+):\t(.*)$", text, re.MULTILINE)) for text in texts]


def test_every_thread_is_filtered_and_gains_no_privilege(engine):
    assert {(task["Seccomp"], task["NoNewPrivs"]) for task in tasks(engine)} == {("2", "1")}


def test_no_memory_is_writable_and_executable(engine):
    lines = (engine / "maps").read_text().splitlines()
    permissions = [line.split()[1] for line in lines]
    assert "r-xp" in permissions
    assert [line for line, one in zip(lines, permissions, strict=True) if "w" in one and "x" in one] == []


def test_no_program_has_a_second_mapping_that_is_writable(engine):
    """A file that is mapped executable is mapped writable nowhere in the process."""
    files = {}
    for line in (engine / "maps").read_text().splitlines():
        _, permissions, _, device, inode, *_ = line.split()
        if inode != "0":
            files.setdefault((device, inode), []).append(permissions)
    executable = [found for found in files.values() if any("x" in one for one in found)]
    assert executable
    # A private writable mapping of a binary's own data is no alias of its code.
    assert not any(one == "rw-s" for found in executable for one in found)


def test_programs_are_sealed_files_without_a_name(engine):
    mapped = [line for line in (engine / "maps").read_text().splitlines() if "memfd:" in line]
    assert mapped
    assert {line.split()[1] for line in mapped if "x" in line.split()[1]} <= {"r-xp"}


def test_it_holds_no_file_that_it_could_write_but_its_log(engine):
    writable = []
    for descriptor in (engine / "fd").iterdir():
        target = os.readlink(descriptor)
        flags = int(
            re.search(r"^flags:\s+(\d+)", (engine / f"fdinfo/{descriptor.name}").read_text(), re.M)[1], 8
        )
        if target.startswith("/") and flags & os.O_ACCMODE != os.O_RDONLY:
            writable.append(target)
    assert all(
        target.endswith("/log") or target.startswith("/dev/") or "memfd:" in target for target in writable
    )


class Sampler(threading.Thread):
    """Reads the mappings of a process at 1 kHz, or as often as it can, until told to stop."""

    def __init__(self, engine):
        super().__init__()
        self.maps = engine / "maps"
        self.stopping = threading.Event()
        self.programs, self.samples = set(), 0
        self.writable_and_executable = []

    def run(self):
        while not self.stopping.wait(0.001):
            self.samples += 1
            for line in self.maps.read_text().splitlines():
                permissions = line.split()[1]
                if "w" in permissions and "x" in permissions:
                    self.writable_and_executable.append(line)
                if "x" in permissions and "memfd:" in line:
                    self.programs.add(line.split()[4])


def answer(port):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
        return client.makefile("rb").read().rpartition(b"\r\n\r\n")[2]


def test_no_memory_is_writable_and_executable_while_programs_are_swapped(tmp_path):
    """Each swap brings code of another shape, and takes away what was there before."""
    port = free_port()

    def write(number):
        paths = " ".join(f"/{number}/{one}*" for one in range(1 + number % 7))
        text = SWAPPED.format(port=port, paths=paths, number=number)
        replace(tmp_path / "Caddyfile", text)

    write(0)
    with serving(tmp_path, port, options=("--watch",)) as process:
        assert answer(port) == b"swap 0"
        sampler = Sampler(engine_of(os.getsid(process.pid)))
        sampler.start()
        for number in range(1, SWAPS + 1):
            write(number)
            deadline = time.monotonic() + PATIENCE_S
            while answer(port) != b"swap %d" % number:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        sampler.stopping.set()
        sampler.join()
    assert sampler.samples > SWAPS and len(sampler.programs) > 1
    assert sampler.writable_and_executable == []
