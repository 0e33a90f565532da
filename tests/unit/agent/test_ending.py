"""Tasks end, whatever becomes of their first cancellation."""

import asyncio
import contextlib

from zeroserve_dataplane.agent.ending import end_tasks


def test_a_task_that_takes_a_cancellation_for_something_else_ends_all_the_same():
    async def stubborn(taken):
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
            taken.append("once")
            await asyncio.sleep(3600)

    async def scenario():
        taken = []
        tasks = [asyncio.create_task(stubborn(taken)) for _ in range(2)]
        await asyncio.sleep(0)
        async with asyncio.timeout(60):
            await end_tasks(tasks)
        assert taken == ["once", "once"]
        assert all(task.cancelled() for task in tasks)

    asyncio.run(scenario())


def test_how_a_task_ends_is_not_told():
    async def failing():
        raise ValueError

    async def scenario():
        tasks = [asyncio.create_task(failing()), asyncio.create_task(asyncio.sleep(0))]
        await asyncio.sleep(0)
        await end_tasks(tasks)
        await end_tasks(())
        assert all(task.done() for task in tasks)

    asyncio.run(scenario())
