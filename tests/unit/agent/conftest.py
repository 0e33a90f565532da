"""A supervisor as control.proto has it, in Python: keeps what is committed, refuses what a test says.

The real one is the engine's; the tests in tests/feature/node run against it. This one exists so that a test
can make an engine refuse, vanish and come back at an exact moment.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import socket
from dataclasses import dataclass, field

import pytest
from zeroserve_dataplane.agent.applying import Node
from zeroserve_dataplane.agent.images import ImageStore
from zeroserve_dataplane.agent.resolving import Resolver
from zeroserve_dataplane.agent.running import Agent
from zeroserve_dataplane.enginelink.frames import FrameDecoder, encode_frame
from zeroserve_dataplane.enginelink.images import SEALS
from zeroserve_dataplane.jit.compiling import Compiler
from zeroserve_dataplane.jit.targets import find_host_target
from zeroserve_dataplane.settings import AgentSettings
from zeroserve_ir._pb import control_pb2 as control
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.program.abi import ABI_VERSION


@dataclass
class ScriptedSupervisor:
    """Listens at `path`; `held` is what it has committed."""

    path: object
    abi: int = ABI_VERSION
    held: dict = field(default_factory=dict)
    commits: list = field(default_factory=list)
    puts: list = field(default_factory=list)
    refuse: dict = field(default_factory=dict)
    """(type, name) -> reason, for every new version."""
    refuse_once: dict = field(default_factory=dict)
    """The same, for the next commit alone."""
    shortage: str = ""
    """Why no commit is taken."""
    deaf: bool = False
    """Takes frames and answers no commit."""
    purges: list = field(default_factory=list)
    """(tenant, target), in order."""
    purges_lost: int = 0
    """The connection ends instead of so many answers."""

    async def __aenter__(self):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(self.path))
        self._socket.listen()
        self._socket.setblocking(False)
        self._connections = set()
        self._accepting = asyncio.create_task(self._accept())
        return self

    async def __aexit__(self, *_):
        self._accepting.cancel()
        self.disconnect()
        await asyncio.gather(self._accepting, *self._connections, return_exceptions=True)
        self._socket.close()
        os.unlink(self.path)

    def disconnect(self):
        for connection in self._connections:
            connection.cancel()

    async def _accept(self):
        while True:
            client, _ = await asyncio.get_running_loop().sock_accept(self._socket)
            task = asyncio.create_task(self._serve(client))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _serve(self, client):
        loop = asyncio.get_running_loop()
        with contextlib.closing(client):
            client.setblocking(False)
            retained = control.Retained(
                resources=[
                    pb.Resource(type=kind, name=name, version=version)
                    for (kind, name), version in self.held.items()
                ]
            )
            greeting = [
                control.Frame(hello=control.Hello(abi=self.abi, version="test")),
                control.Frame(state=control.EngineState(running=True, pid=1)),
                control.Frame(retained=retained),
            ]
            await loop.sock_sendall(client, b"".join(map(encode_frame, greeting)))
            decoder, staged, descriptors = FrameDecoder(), dict(self.held), []
            while True:
                ready = loop.create_future()
                loop.add_reader(client.fileno(), wake, ready)
                try:
                    await ready
                finally:
                    loop.remove_reader(client.fileno())
                data, received, _, _ = socket.recv_fds(client, 1 << 16, 8)
                descriptors += received
                if not data:
                    return
                for frame in decoder.feed(data):
                    answer = self._take(frame, staged, descriptors)
                    if answer is not None:
                        await loop.sock_sendall(client, encode_frame(control.Frame(committed=answer)))
                    if frame.WhichOneof("frame") == "purge":
                        if self.purges_lost:
                            self.purges_lost -= 1
                            return
                        self.purges.append((frame.purge.tenant, frame.purge.target))
                        await loop.sock_sendall(client, encode_frame(control.Frame(purged=control.Purged())))

    def _take(self, frame, staged, descriptors):
        kind = frame.WhichOneof("frame")
        if kind == "put":
            resource = frame.put.resource
            self.puts.append((resource.type, resource.name))
            staged[resource.type, resource.name] = resource.version
            if frame.put.descriptor:
                check_image(pb.Image.FromString(resource.payload), descriptors.pop(0))
        elif kind == "remove":
            staged.pop((frame.remove.type, frame.remove.name))
        elif kind == "commit" and not self.deaf:
            return self._commit(frame.commit, staged)
        return None

    def _commit(self, commit, staged):
        if self.shortage:
            staged.clear()
            staged.update(self.held)
            return control.Committed(sequence=commit.sequence, shortage=self.shortage)
        reasons, self.refuse_once = self.refuse | self.refuse_once, {}
        refused = [key for key in staged if key in reasons and self.held.get(key) != staged[key]]
        for key in refused:
            del staged[key]
            if key in self.held:
                staged[key] = self.held[key]
        self.held = dict(staged)
        self.commits.append(commit.snapshot)
        return control.Committed(
            sequence=commit.sequence,
            refused=[
                control.RefusedResource(type=kind, name=name, reason=reasons[kind, name])
                for kind, name in refused
            ],
        )


def check_image(image, descriptor):
    """Check what the engine checks: seals, size, digest."""
    try:
        assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & SEALS == SEALS
        content = os.pread(descriptor, image.code_bytes + 1, 0)
        assert len(content) == image.code_bytes
        assert hashlib.sha256(content).digest() == image.code_digest
    finally:
        os.close(descriptor)


def wake(future):
    if not future.done():
        future.set_result(None)


@pytest.fixture
def socket_path(tmp_path):
    return tmp_path / "engine.sock"


@pytest.fixture
def supervisor(socket_path):
    return ScriptedSupervisor(socket_path)


@pytest.fixture(scope="session")
def program_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


@pytest.fixture
def open_node(socket_path, program_cache):
    """Return a context manager that runs a node."""

    @contextlib.asynccontextmanager
    async def run():
        compiler = Compiler(program_cache, 1)
        node = Node(socket_path, "test", ImageStore(compiler, find_host_target()), Resolver())
        task = asyncio.create_task(node.run())
        try:
            yield node
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await compiler.close()

    return run


@pytest.fixture
def open_agent(tmp_path, socket_path, program_cache):
    """Return a context manager that runs an agent, by the port of its operator."""

    @contextlib.asynccontextmanager
    async def run(operator_port):
        settings = AgentSettings(
            operator=f"127.0.0.1:{operator_port}",
            node="node-1",
            engine_socket=socket_path,
            state_directory=tmp_path / "state",
            allow_state_on_disk=True,
            cache_directory=program_cache,
            credentials_directory=None,
            metrics_address="127.0.0.1",
            metrics_port=0,
        )
        agent = Agent(settings)
        task = asyncio.create_task(agent.run())
        try:
            yield agent
        finally:
            agent.stop.set()
            await task

    return run
