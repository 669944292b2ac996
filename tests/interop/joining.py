"""Nodes of ours that enter through certain others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dht.bootstrap import BootstrapHost
from dht.node import Node, NodeSettings, open_node


@asynccontextmanager
async def node_knowing(host: str, *entry_points: BootstrapHost) -> AsyncIterator[Node]:
    """Run a node of ours that has joined through certain nodes."""
    async with open_node(NodeSettings(bind=[(host, 0)], bootstrap=entry_points)) as node:
        await node.wait_joined()
        yield node
