"""Scenes of local discovery with libtorrent; run by `test_lsd` in a network of their own.

    python -m tests.interop.neighbours SCENE HOST

The name of a scene is that of a function here. A scene that fails says why, and the process ends
with a code other than 0.
"""

import sys
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import libtorrent as lt
import trio

from dht.keyspace import InfoHash
from dht.node import NodeSettings, open_node
from magnet.metainfo.create import create_file_info
from magnet.metainfo.info import parse_info
from magnet.metainfo.torrent import build_torrent
from magnet.resolve.report import Report
from magnet.resolve.resolver import open_resolver
from magnet.seeder import open_seeder
from magnet.sources.lsd.source import open_neighbourhood
from magnet.uri import MagnetLink, format_magnet
from tests.interop.client import open_client

CONTENT: Final = b"neighbourly " * 5_000
RAW: Final = create_file_info("neighbour.bin", [CONTENT], 16_384)

_key = parse_info(RAW).info_hash
assert _key is not None
KEY: Final[InfoHash] = _key
LINK: Final = MagnetLink(info_hash=KEY)

open_neighbour = partial(open_client, enable_lsd=True, enable_dht=False)


async def we_find_libtorrent(host: str) -> None:
    """A link with nothing but a hash is resolved by the announcement of a neighbour."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "neighbour.bin").write_bytes(CONTENT)
        async with (
            open_node(NodeSettings(bind=[(host, 0)], bootstrap=())) as node,
            open_resolver(node) as resolver,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_seed, host, Path(folder))
            resolved = await resolver.resolve(LINK, timeout_s=20, report=report)
            nursery.cancel_scope.cancel()
    assert resolved.raw_info == RAW
    assert {attempt.source for attempt in report.attempts} == {"lsd"}


async def _seed(host: str, folder: Path) -> None:
    async with open_neighbour(host) as client:
        client.add(lt.load_torrent_buffer(build_torrent(RAW)), folder)
        await trio.sleep_forever()


async def libtorrent_finds_us(host: str) -> None:
    """libtorrent gets metadata of which nobody but the neighbourhood knows where it is."""
    with tempfile.TemporaryDirectory() as folder:
        async with (
            open_neighbour(host) as client,
            open_seeder({KEY: RAW}, hosts=[host], rng=Random(1)) as seeder,
            open_neighbourhood([host], port=seeder.port, rng=Random(2)) as neighbourhood,
        ):
            with neighbourhood.serving([KEY]):
                handle = client.add(lt.parse_magnet_uri(format_magnet(LINK)), Path(folder))
                await client.wait_alert(lt.metadata_received_alert, lambda _: True)
            torrent = handle.torrent_file()
            assert torrent is not None
            assert torrent.info_section() == RAW


SCENES: Final[dict[str, Callable[[str], Awaitable[None]]]] = {
    scene.__name__: scene for scene in (we_find_libtorrent, libtorrent_finds_us)
}

if __name__ == "__main__":
    trio.run(SCENES[sys.argv[1]], sys.argv[2])
