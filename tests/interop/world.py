"""The world beyond a router: nodes at addresses of their own, some of which come later.

    python -m tests.interop.world 20 4

For `laboratory.sh`; says a line when the first nodes have joined.
"""

import sys
from contextlib import AsyncExitStack
from itertools import count

import trio

from dht.bootstrap import BootstrapHost
from dht.node import NodeSettings, open_node
from dht.ratelimit import Budget
from dht.testnet import as_bootstrap_host

LATE_S = 1.0
"""Seconds after which the others come: whoever comes from the home has met everybody by then."""


async def run_world(early: int, late: int) -> None:
    hosts: list[BootstrapHost] = []
    numbers = count()

    async def add_node(stack: AsyncExitStack) -> None:
        bind = [(f"45.0.{next(numbers)}.1", 6_881)]
        settings = NodeSettings(bind=bind, bootstrap=hosts[:1], budget=Budget.SERVER)
        node = await stack.enter_async_context(open_node(settings))
        if hosts:
            await node.wait_joined()
        hosts.extend(as_bootstrap_host(it) for it in node.endpoints.values())

    async with AsyncExitStack() as stack:
        for _ in range(early):
            await add_node(stack)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await trio.sleep(LATE_S)
        for _ in range(late):
            await add_node(stack)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(run_world, int(sys.argv[1]), int(sys.argv[2]))
