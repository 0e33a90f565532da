"""The admin socket: one line in, one line out, for the same user alone."""

import asyncio
import json

import pytest
from zeroserve_dataplane.agent.administering import AdminServer
from zeroserve_dataplane.agent.commanding import AdminError, send_command


async def status(command):
    return {"asked": dict(command)}


async def fail(command):
    raise ValueError("line 3 is wrong")


HANDLERS = {"status": status, "reload": fail}


async def ask(socket, command):
    return await asyncio.to_thread(send_command, socket, command)


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario, 60))


def test_a_command_is_answered(tmp_path):
    async def scenario():
        async with AdminServer(tmp_path / "admin.sock", HANDLERS):
            answer = await asyncio.to_thread(
                send_command, tmp_path / "admin.sock", {"command": "status", "x": 1}
            )
        assert answer == {"ok": True, "asked": {"command": "status", "x": 1}}

    run(scenario())


def test_a_command_that_fails_says_why_and_the_server_goes_on(tmp_path):
    async def scenario():
        async with AdminServer(tmp_path / "admin.sock", HANDLERS):
            for _ in range(2):
                answer = await ask(tmp_path / "admin.sock", {"command": "reload"})
                assert answer == {"ok": False, "error": "line 3 is wrong"}

    run(scenario())


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"1", b'{"command": "no"}', b'{"command": []}', b"\xff"])
def test_what_is_no_command_is_refused(tmp_path, line):
    async def scenario():
        async with AdminServer(tmp_path / "admin.sock", HANDLERS):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "admin.sock")
            writer.write(line + b"\n")
            answer = json.loads(await reader.readline())
            writer.close()
        assert answer == {"ok": False, "error": "commands are reload, status"}

    run(scenario())


def test_the_socket_is_for_its_owner_alone_and_goes_with_the_server(tmp_path):
    path = tmp_path / "admin.sock"

    async def scenario():
        async with AdminServer(path, HANDLERS):
            assert path.stat().st_mode & 0o777 == 0o600
        assert not path.exists()

    run(scenario())


def test_a_second_server_leaves_the_first_one_alone(tmp_path):
    async def scenario():
        async with AdminServer(tmp_path / "admin.sock", HANDLERS):
            with pytest.raises(AdminError, match="another zeroserve"):
                async with AdminServer(tmp_path / "admin.sock", HANDLERS):
                    pass
            assert (await ask(tmp_path / "admin.sock", {"command": "status"}))["ok"]

    run(scenario())


def test_a_socket_left_by_a_killed_server_is_replaced(tmp_path):
    async def scenario():
        path = tmp_path / "admin.sock"
        server = await asyncio.start_unix_server(lambda *_: None, path)
        server.close()
        path.touch()
        async with AdminServer(path, HANDLERS):
            assert (await ask(path, {"command": "status"}))["ok"]

    run(scenario())


def test_nobody_there_is_said_so(tmp_path):
    async def scenario():
        with pytest.raises(AdminError, match="no zeroserve answers"):
            await ask(tmp_path / "admin.sock", {"command": "status"})

    run(scenario())
