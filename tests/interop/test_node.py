"""Nodes of ours and libtorrent's in one DHT, each asking the other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dht.bootstrap import BootstrapHost
from dht.contact import Family, endpoint
from dht.keyspace import InfoHash
from dht.node import Node, NodeSettings, open_node
from tests.interop.client import Client, open_client, until

pytestmark = pytest.mark.interop

KEY = InfoHash(b"\x5a" * 20)
PORT = 6_881


@asynccontextmanager
async def node_knowing(host: str, *entry_points: BootstrapHost) -> AsyncIterator[Node]:
    """Run a node of ours that has joined through certain nodes."""
    async with open_node(NodeSettings(bind=[(host, 0)], bootstrap=entry_points)) as node:
        await node.wait_joined()
        yield node


@pytest.fixture
async def client(host: str) -> AsyncIterator[Client]:
    """A client that knows nobody."""
    async with open_client(host) as client:
        yield client


@pytest.fixture
async def node(client: Client, host: str) -> AsyncIterator[Node]:
    """A node of ours; it and the client know each other and nobody else."""
    async with node_knowing(host, client.as_bootstrap_host()) as node:
        ping = await node.ping(client.endpoint)
        assert ping.sender is not None
        (at,) = node.endpoints.values()
        await client.meet(at, ping.sender.id)
        yield node


async def peers_found(node: Node) -> list[bytes]:
    """Search for peers of the key to the end."""
    with node.find_peers(KEY) as peers:
        return [peer async for peer in peers]


async def test_key_that_nobody_announced_has_no_peers(node: Node) -> None:
    assert await peers_found(node) == []


async def test_find_node_finds_it_and_the_nodes_it_knows(
    client: Client, node: Node, host: str, family: Family
) -> None:
    async with node_knowing(host, client.as_bootstrap_host()) as other:
        found = {contact.endpoint for contact in await other.find_node(node.ids[family])}
    assert found >= {client.endpoint, node.endpoints[family]}


async def test_it_keeps_what_we_announce(client: Client, node: Node, host: str) -> None:
    holders = await node.announce(KEY, PORT)
    assert [holder.endpoint for holder in holders] == [client.endpoint]
    async with node_knowing(host, client.as_bootstrap_host()) as other:
        assert endpoint(host, PORT) in await peers_found(other)
    assert endpoint(host, PORT) in await client.get_peers(KEY)


async def test_we_keep_what_it_announces(
    client: Client, node: Node, host: str, family: Family
) -> None:
    client.announce(KEY, PORT)
    await until(lambda: node.statistics().engines[family].swarms == 1)
    assert await peers_found(node) == [endpoint(host, PORT)]
