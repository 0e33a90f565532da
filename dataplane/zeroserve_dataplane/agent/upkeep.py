"""What a node does between changes: better images, fresh addresses, another try of what was refused.

In: a `Node`. Out: nothing; runs until cancelled. Who calls: the agent and the embedded node. Rule: none of it
touches traffic but by a commit, and none of it delays a change: each step gives way to `apply`.
"""

from __future__ import annotations

import asyncio
import logging
import random

from zeroserve_dataplane.agent.applying import Node

logger = logging.getLogger(__name__)

OPTIMISE_AFTER_S = 1.0
"""Quiet after a change before its programs are compiled again: changes come in bursts."""
OPTIMISE_LATEST = 30
"""Seconds of changes without a quiet one after which it is done all the same."""
RETRY_REFUSED_S = 30.0
STAPLE_S = 5.0
"""Between two looks at which certificates want an OCSP response: new ones are served without one so long."""


async def keep_up(node: Node) -> None:
    """Run all upkeep until cancelled."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_optimise(node), name="optimising")
        group.create_task(_refresh_names(node), name="resolving")
        group.create_task(_retry_refused(node), name="retrying")
        group.create_task(_staple(node), name="stapling")
        group.create_task(node.apply_health(), name="applying health")


async def _optimise(node: Node) -> None:
    done = noticed = ""
    busy = 0
    while True:
        await asyncio.sleep(OPTIMISE_AFTER_S)
        version = node.state.served_version
        if version == done or not node.state.ready:
            continue
        if version != noticed and busy < OPTIMISE_LATEST:
            noticed, busy = version, busy + 1
            continue
        count = await node.optimise()
        if count:
            logger.info("%d programs optimised", count)
        busy = 0
        if node.images.tiers["fast"] == 0:
            done = version


async def _refresh_names(node: Node) -> None:
    while True:
        await asyncio.sleep(node.refresh_s * random.uniform(0.8, 1.2))
        if await node.refresh_names():
            logger.info("addresses of upstreams changed")


async def _retry_refused(node: Node) -> None:
    while True:
        await asyncio.sleep(RETRY_REFUSED_S)
        await node.retry_refused()


async def _staple(node: Node) -> None:
    while True:
        await asyncio.sleep(STAPLE_S * random.uniform(0.8, 1.2))
        if node.state.ready:
            await node.refresh_staples()
