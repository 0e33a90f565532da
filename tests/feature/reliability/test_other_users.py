"""Control sockets refuse users who are not the server's: by their modes, and by who asks."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from ports import free_port
from starting import ZEROSERVE, apart, ours, started
from zeroserve_dataplane.agent.embedding import find_engine
from zeroserve_dataplane.enginelink.frames import FrameDecoder, encode_frame
from zeroserve_ir._pb import control_pb2 as pb

OTHER = 65534
TEXT = "{{\n\tadmin off\n\tauto_https off\n}}\nhttp://:{port} {{\n\trespond {answer}\n}}\n"
LISTENS = 0x10000
"""Of a socket in /proc/net/unix: __SO_ACCEPTCON."""
WORDS = {
    "admin.sock": b'{"command": "status"}\n',
    "engine.sock": encode_frame(pb.Frame(hello=pb.Hello())),
    "log.sock": b"",
    "token.sock": b"",
}
"""By sockets: what their owner would be answered to."""
PATIENCE_S = 60


def as_other_user(work, *arguments):
    """Return what `work` says in a process of another user, or the name of its error."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(OTHER, OTHER, OTHER)
            os.setresuid(OTHER, OTHER, OTHER)
            said = work(*arguments)
        except BaseException as error:
            said = type(error).__name__
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:
        said = answer.read().decode()
    os.waitpid(child, 0)
    return said


def speak(path, word):
    """Say a word to a socket; returns what is answered until the other side ends it."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(os.fspath(path))
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(word)
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                answer += piece
    return repr(answer)


def find_sockets(session):
    """Return the paths where processes of a session listen."""
    held = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getsid(int(folder.name)) == session:
                held |= {os.readlink(one) for one in (folder / "fd").iterdir()}
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    listening = [row[6:] for row in rows if len(row) > 7 and int(row[3], 16) & LISTENS]
    return {Path(path) for inode, path in listening if f"socket:[{inode}]" in held}


@pytest.fixture
def folder():
    """A folder that every user may enter."""
    made = Path(tempfile.mkdtemp(prefix="zeroserve-users-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def served(folder):
    """The sockets of a server that serves, by their names, and what loads another answer."""
    port = free_port()
    (folder / "Caddyfile").write_text(TEXT.format(port=port, answer="before"))
    command = [*ours(), "--admin", folder / "admin" / "admin.sock"]
    environment = apart(folder, TMPDIR=str(folder))
    with started(command, folder, port, environment=environment) as process:
        sockets, deadline = {}, time.monotonic() + PATIENCE_S
        # Commands are taken a moment after the port is open.
        while "admin.sock" not in sockets:
            assert time.monotonic() < deadline
            sockets = {path.name: path for path in find_sockets(os.getsid(process.pid))}

        def reload(answer):
            (folder / "Caddyfile").write_text(TEXT.format(port=port, answer=answer))
            asked = [ZEROSERVE, "reload", "--admin", sockets["admin.sock"]]
            subprocess.run(asked, cwd=folder, check=True, timeout=PATIENCE_S)
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
                return client.makefile("rb").read().rpartition(b"\r\n\r\n")[2].decode()

        yield sockets, reload


def let_in(path, top):
    """Open a socket and the folders above it to every user."""
    path.chmod(0o666)
    while (path := path.parent) != top:
        path.chmod(0o755)


def test_no_other_user_reaches_a_socket(served):
    sockets, _ = served
    assert set(sockets) == set(WORDS)
    found = {name: as_other_user(speak, path, b"") for name, path in sockets.items()}
    assert found == dict.fromkeys(WORDS, "PermissionError")


def test_another_user_who_is_let_in_is_told_nothing_and_disturbs_nobody(served, folder):
    sockets, reload = served
    for name, word in WORDS.items():
        let_in(sockets[name], folder)
        assert as_other_user(speak, sockets[name], word) == repr(b"")
    assert reload("after") == "after"


def test_another_user_takes_no_agent_s_place(folder):
    """The supervisor's own agent stays when somebody else is refused."""
    path, decoder = folder / "engine.sock", FrameDecoder()
    command = [find_engine(), "supervise", "--socket", path, "--workers", "1"]
    with started(command, folder), socket.socket(socket.AF_UNIX) as agent:
        agent.settimeout(PATIENCE_S)
        while agent.connect_ex(os.fspath(path)):
            time.sleep(0.02)
        agent.sendall(encode_frame(pb.Frame(hello=pb.Hello())))
        let_in(path, folder)
        assert as_other_user(speak, path, WORDS["engine.sock"]) == repr(b"")
        agent.sendall(encode_frame(pb.Frame(commit=pb.Commit(sequence=7, snapshot="mine"))))
        kinds = []
        while "committed" not in kinds:
            data = agent.recv(65536)
            assert data, "our agent was sent away"
            kinds += [frame.WhichOneof("frame") for frame in decoder.feed(data)]
