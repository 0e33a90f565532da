"""Unix servers of the agent: for this user alone, and quiet when they end."""

import asyncio
import stat

from zeroserve_dataplane.agent.private_sockets import start_private_server


async def echo_line(reader, writer):
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()


def test_only_this_user_may_connect(tmp_path):
    path = tmp_path / "a.sock"
    path.write_text("what was there")

    async def ask():
        server = await start_private_server(path, echo_line)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello\n")
        assert await reader.read() == b"hello\n"
        writer.close()
        server.close()

    asyncio.run(ask())


def test_a_cancelled_connection_is_no_error(tmp_path):
    reported, tasks = [], []

    async def wait_for_ever(reader, writer):
        tasks.append(asyncio.current_task())
        try:
            await reader.read()
        finally:
            writer.close()

    async def cancel():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        server = await start_private_server(tmp_path / "a.sock", wait_for_ever)
        reader, writer = await asyncio.open_unix_connection(tmp_path / "a.sock")
        while not tasks:
            await asyncio.sleep(0)
        tasks[0].cancel()
        assert await reader.read() == b""
        writer.close()
        server.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    asyncio.run(cancel())
    assert reported == []
