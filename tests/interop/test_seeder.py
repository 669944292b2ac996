"""libtorrent fetches from our seeder, which it finds through our nodes and in no other way."""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import libtorrent as lt
import pytest

from dht.keyspace import InfoHash
from dht.testnet import Testnet
from magnet.metainfo.info import Version
from magnet.metainfo.torrent import parse_torrent
from magnet.seeder import Seeder, open_seeder
from magnet.uri import MagnetLink, format_magnet
from tests.interop.client import PATIENCE_S, TCP_ONLY, Client, open_client

pytestmark = pytest.mark.interop

MakeTorrent = Callable[[Version], bytes]

PRIVATE = b"d6:lengthi5e4:name6:secret12:piece lengthi16384e6:pieces20:%b7:privatei1ee" % bytes(20)


@asynccontextmanager
async def announced(
    testnet: Testnet, host: str, link: MagnetLink, raw: bytes
) -> AsyncIterator[Seeder]:
    """Serve metadata, and announce that under every key of the link."""
    keys = link.swarm_keys()
    async with open_seeder(dict.fromkeys(keys, raw), hosts=[host], rng=Random(1)) as seeder:
        for key in keys:
            assert await testnet.nodes[0].announce(key, seeder.port)
        yield seeder


async def fetch(
    client: Client, link: MagnetLink, folder: Path, *, timeout_s: float = PATIENCE_S
) -> bytes:
    """Let libtorrent resolve a link; return the info dictionary that it got."""
    await client.wait_joined()
    handle = client.add(lt.parse_magnet_uri(format_magnet(link)), folder)
    await client.wait_alert(lt.metadata_received_alert, lambda _: True, timeout_s=timeout_s)
    torrent = handle.torrent_file()
    assert torrent is not None
    return torrent.info_section()


def link_of(torrent: bytes) -> tuple[MagnetLink, bytes]:
    """Return the link to a .torrent, and its info dictionary."""
    parsed = parse_torrent(torrent)
    info = parsed.info
    return MagnetLink(info_hash=info.info_hash, info_hash_v2=info.info_hash_v2), parsed.raw_info


@pytest.mark.slow
async def test_private_metadata_is_kept_back(host: str, testnet: Testnet, tmp_path: Path) -> None:
    link = MagnetLink(info_hash=InfoHash(hashlib.sha1(PRIVATE).digest()))
    async with (
        announced(testnet, host, link, PRIVATE) as seeder,
        open_client(host, testnet.entry_points(1), **TCP_ONLY) as client,
    ):
        with pytest.raises(AssertionError, match="no metadata_received_alert"):
            await fetch(client, link, tmp_path, timeout_s=0.5)
        assert seeder.statistics().accepted >= 1
        assert seeder.statistics().pieces_served == 0


@pytest.mark.parametrize("version", Version, ids=lambda version: version.value)
async def test_libtorrent_gets_the_metadata(
    host: str, testnet: Testnet, make_torrent: MakeTorrent, version: Version, tmp_path: Path
) -> None:
    link, raw = link_of(make_torrent(version))
    async with (
        announced(testnet, host, link, raw) as seeder,
        open_client(host, testnet.entry_points(1), **TCP_ONLY) as client,
    ):
        assert await fetch(client, link, tmp_path) == raw
        assert seeder.statistics().failed == 0


@pytest.mark.slow
async def test_libtorrent_as_it_comes_gets_the_metadata(
    testnet: Testnet, host: str, make_torrent: MakeTorrent, tmp_path: Path
) -> None:
    """By its defaults: uTP first, where nobody answers, then TCP."""
    link, raw = link_of(make_torrent(Version.V1))
    async with (
        announced(testnet, host, link, raw),
        open_client(host, testnet.entry_points(1)) as client,
    ):
        assert await fetch(client, link, tmp_path) == raw
