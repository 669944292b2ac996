"""Nodes for a resolver to search with, and a clock that need not be waited for."""

from collections.abc import AsyncIterator

import pytest
import trio.testing

from dht.node import Node, NodeSettings, open_node
from dht.testnet import Testnet, open_testnet

HOST = "127.0.0.1"


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A node that knows nobody, so that only a link can lead to peers."""
    async with open_node(NodeSettings(bind=[(HOST, 0)], bootstrap=())) as node:
        yield node


@pytest.fixture
async def testnet() -> AsyncIterator[Testnet]:
    """A small DHT; its last node is as good as any to search with."""
    async with open_testnet(8) as net:
        yield net


@pytest.fixture
def clock(autojump_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    """A clock that jumps when nothing happens for a moment, as real sockets take one."""
    autojump_clock.autojump_threshold = 0.001
    return autojump_clock
