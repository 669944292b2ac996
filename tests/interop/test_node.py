"""Nodes of ours and libtorrent's in one DHT, each asking the other."""

import pytest

from dht.contact import Family, endpoint
from dht.keyspace import InfoHash
from dht.node import Node
from tests.interop.client import Client, until
from tests.interop.joining import node_knowing

pytestmark = pytest.mark.interop

KEY = InfoHash(b"\x5a" * 20)
PORT = 6_881


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
