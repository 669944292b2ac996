"""A small DHT of ours on each loopback address, and torrents for a client to seed."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import libtorrent as lt
import pytest

from dht.contact import Family
from dht.node import Node
from dht.testnet import LOOPBACK, Testnet, open_testnet
from magnet.metainfo.info import Version
from tests.interop.client import Client, open_client
from tests.interop.joining import node_knowing

NODES = 8
"""Enough for K neighbours of every key, and for libtorrent to call itself bootstrapped."""

FILES = 300
"""With names of 60 bytes this makes metadata of two pieces or more."""

_FLAGS = {
    Version.V1: lt.create_torrent.v1_only,
    Version.V2: lt.create_torrent.v2_only,
    Version.HYBRID: 0,
}


@pytest.fixture(params=Family, ids=lambda family: LOOPBACK[family])
def family(request: pytest.FixtureRequest) -> Family:
    """Each test runs on 127.0.0.1 and on ::1."""
    chosen: Family = request.param
    return chosen


@pytest.fixture
def host(family: Family) -> str:
    """The loopback address."""
    return LOOPBACK[family]


@pytest.fixture
async def testnet(family: Family) -> AsyncIterator[Testnet]:
    """A DHT of our own nodes."""
    async with open_testnet(NODES, [family]) as net:
        yield net


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


@pytest.fixture(scope="session")
def content(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files."""
    folder = tmp_path_factory.mktemp("seeded") / "Käse und Brot"
    folder.mkdir()
    for number in range(FILES):
        name = f"{number:03} {'long name ' * 5}.bin"
        (folder / name).write_bytes(number.to_bytes(2) * (number + 1))
    # Longer than a piece, so that v2 has a piece layer.
    (folder / "large.bin").write_bytes(bytes(range(256)) * 256)
    return folder


@pytest.fixture(scope="session")
def make_torrent(content: Path) -> Callable[[Version], bytes]:
    """Let libtorrent make a .torrent for the content."""

    def make(version: Version) -> bytes:
        files = lt.list_files(str(content))
        torrent = lt.create_torrent(files, 16_384, _FLAGS[version])
        lt.set_piece_hashes(torrent, str(content.parent))
        return lt.bencode(torrent.generate())

    return make
