"""A torrent in the hands of libtorrent, with our DHT as the only way to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import libtorrent as lt

from dht.testnet import Testnet
from magnet.uri import MagnetLink, parse_magnet
from tests.interop.client import open_client, until


@asynccontextmanager
async def seeded(
    host: str, testnet: Testnet, torrent: bytes, content: Path, **settings: int
) -> AsyncIterator[MagnetLink]:
    """Let libtorrent seed a torrent and announce it; give the link that libtorrent makes of it."""
    async with open_client(host, testnet.entry_points(), **settings) as client:
        await client.wait_joined()
        parameters = lt.load_torrent_buffer(torrent)
        client.add(parameters, content.parent)
        link = parse_magnet(lt.make_magnet_uri(parameters))
        await until(lambda: most_swarms(testnet) == len(link.swarm_keys()))
        yield link


def most_swarms(testnet: Testnet) -> int:
    """Return for how many info-hashes some node has been told of a peer."""
    return max(
        engine.swarms for node in testnet.nodes for engine in node.statistics().engines.values()
    )
